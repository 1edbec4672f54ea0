//! EAP-TLS against a server that is not strongSwan's, as the only proof of both sides (RFC 5998).

use crate::gateways::{certificate_gateway, certificate_secrets};
use crate::refusals::refused;
use anyhow::Result;
use lab::pki::{KeyKind, Pki};
use postern_api::FaultName;

const TUNNEL: &str = r#"
gateway = "vpn.example.test"
gateway_auth = "eap"
gateway_ca_files = ["@/ca.pem"]
[auth]
kind = "eap"
eap_methods = ["tls"]
identity = "alice@example.test"
user = "alice@example.test"
certificate_file = "@/alice.pem"
key_file = "@/alice.key"
"#;

/// libreswan 4.10 takes part in TLS 1.3 and ends it with EAP-Success, without the octet by which the
/// server says under its keys that nothing more follows (RFC 9190 §2.5). Anybody could have sent that
/// success: the client does not believe it.
pub fn without_confirmation() -> Result<()> {
    let pki = Pki::new(KeyKind::Rsa2048)?;
    let changes = [("leftauth", "eaponly"), ("leftautheap", "tls"), ("rightauth", "eaponly"), ("rightautheap", "tls")];
    let settings = certificate_gateway(&pki, &pki.gateway, &changes);
    refused(&settings, TUNNEL, &certificate_secrets(&pki), Some((14, FaultName::GatewayNotTrusted)))
}
