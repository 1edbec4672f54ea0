//! Certificates on one side or both.

use crate::gateways::{EAP_SIDES, EAP_TUNNEL, certificate_gateway};
use anyhow::{Context, Result, ensure};
use lab::pki::{KeyKind, Pki};
use lab::roadwarrior::{CORPORATE, LIMIT, Network, connect, transfer};
use lab::strongswan::Gateway;

pub fn certificate_and_eap() -> Result<()> {
    let network = Network::new()?;
    let pki = Pki::new(KeyKind::Rsa2048)?;
    let _gateway = network.strongswan(&certificate_gateway(&pki, &pki.gateway, EAP_SIDES, false))?;
    let secrets = [("ca.pem", &*pki.authority.certificate().pem), ("password", "Passw0rd")];
    let endpoint = network.endpoint(EAP_TUNNEL, &secrets)?;
    let given = connect(&endpoint)?;
    ensure!(given.warnings.is_empty(), "{given:?}");
    lab::ping::once(&network.client, CORPORATE.parse()?, LIMIT)?;
    transfer(&network, CORPORATE.parse()?, 50)
}

/// Both sides prove themselves by certificates of one kind; `by` is how charon's log calls the way.
fn certificates(kind: KeyKind, classic: bool, by: &str) -> Result<()> {
    let network = Network::new()?;
    let pki = Pki::new(kind)?;
    let sides = "send_cert = always\nlocal { auth = pubkey\n certs = gateway.crt\n id = vpn.example.test }\n\
         remote { auth = pubkey\n id = alice@example.test }";
    let gateway = network.strongswan(&certificate_gateway(&pki, &pki.gateway, sides, classic))?;
    let secrets = [
        ("ca.pem", &*pki.authority.certificate().pem),
        ("alice.pem", &*pki.user.certificate.pem),
        ("alice.key", &*pki.user.key_pem),
    ];
    let endpoint = network.endpoint(TUNNEL, &secrets)?;
    connect(&endpoint).with_context(|| gateway.log())?;
    let log = gateway.log();
    let ours = format!("authentication of 'alice@example.test' with {by} successful");
    ensure!(log.contains(&ours), "charon does not say {ours:?}:\n{log}");
    let theirs = format!("authentication of 'vpn.example.test' (myself) with {by} successful");
    ensure!(log.contains(&theirs), "charon does not say {theirs:?}:\n{log}");
    transfer(&network, CORPORATE.parse()?, 50)
}

pub fn rsa_method_1() -> Result<()> {
    certificates(KeyKind::Rsa2048, true, "RSA signature")
}

pub fn rsa_rfc_7427() -> Result<()> {
    certificates(KeyKind::Rsa2048, false, "RSA_EMSA_PKCS1_SHA2_256")
}

/// The gateway takes nothing but PSS from the client; a client that signs by PKCS#1 is refused.
pub fn rsa_pss() -> Result<()> {
    let network = Network::new()?;
    let pki = Pki::new(KeyKind::Rsa2048)?;
    let gateway = network.strongswan(&certificate_gateway(&pki, &pki.gateway, PSS_SIDES, false))?;
    let secrets = [
        ("ca.pem", &*pki.authority.certificate().pem),
        ("alice.pem", &*pki.user.certificate.pem),
        ("alice.key", &*pki.user.key_pem),
    ];
    let endpoint = network.endpoint(&format!("{TUNNEL}rsa_signature = \"pss\"\n"), &secrets)?;
    connect(&endpoint).with_context(|| gateway.log())?;
    signed_by_pss(&gateway)?;
    endpoint.expect(0, &["disconnect", "work"])?;
    let (code, ..) = {
        let folder = endpoint.path("config");
        let plain = TUNNEL.replace("\"@/", &format!("\"{}/", folder.display()));
        endpoint.configure("tunnels.d/work.toml", &plain)?;
        endpoint.postern(&["connect", "work"])?
    };
    ensure!(code == 4, "the gateway takes PKCS#1 too: {code}\n{}", gateway.log());
    Ok(())
}

/// What a client by certificate is to look like to a gateway that wants RSA-PSS.
pub const PSS_SIDES: &str = "send_cert = always\nlocal { auth = pubkey\n certs = gateway.crt\n id = vpn.example.test }\n\
     remote { auth = ike:rsa/pss-sha256\n id = alice@example.test }";

/// A client by certificate.
pub const TUNNEL: &str = "gateway = \"vpn.example.test\"\ngateway_ca_files = [\"@/ca.pem\"]\n[auth]\n\
     kind = \"certificate\"\nidentity = \"alice@example.test\"\ncertificate_file = \"@/alice.pem\"\n\
     key_file = \"@/alice.key\"\n";

/// The gateway's log says that the client signed by PSS.
pub fn signed_by_pss(gateway: &Gateway) -> Result<()> {
    let log = gateway.log();
    let ours = "authentication of 'alice@example.test' with RSA_EMSA_PSS_SHA2_256";
    ensure!(log.lines().any(|line| line.contains(ours) && line.contains("successful")), "{log}");
    Ok(())
}

pub fn p256_method_9() -> Result<()> {
    certificates(KeyKind::EcdsaP256, true, "ECDSA-256 signature")
}

pub fn p256_rfc_7427() -> Result<()> {
    certificates(KeyKind::EcdsaP256, false, "ECDSA_WITH_SHA256_DER")
}

pub fn p384_method_10() -> Result<()> {
    certificates(KeyKind::EcdsaP384, true, "ECDSA-384 signature")
}

pub fn p384_rfc_7427() -> Result<()> {
    certificates(KeyKind::EcdsaP384, false, "ECDSA_WITH_SHA384_DER")
}
