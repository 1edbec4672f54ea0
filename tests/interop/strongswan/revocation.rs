//! Certificates that their authority has taken back, and that are for another use.

use crate::gateways::{EAP_SIDES, EAP_TUNNEL, certificate_gateway};
use crate::refusals::refused;
use anyhow::Result;
use lab::pki::{KeyKind, Pki};
use lab::roadwarrior::{Network, connect};
use postern_api::FaultName;

fn tunnel(policy: &str) -> String {
    let keys = format!("gateway_crl_files = [\"@/crl.pem\"]\ngateway_revocation = \"{policy}\"\n[auth]");
    EAP_TUNNEL.replace("[auth]", &keys)
}

pub fn named_by_a_list() -> Result<()> {
    let pki = Pki::new(KeyKind::EcdsaP256)?;
    let network = Network::new()?;
    let _gateway = network.strongswan(&certificate_gateway(&pki, &pki.gateway, EAP_SIDES, false))?;
    let list = pki.authority.revocation_list(&[&pki.gateway])?;
    let ca = &*pki.authority.certificate().pem;
    let secrets = [("ca.pem", ca), ("crl.pem", &*list), ("password", "Passw0rd")];
    refused(&network, &tunnel("soft"), &secrets, 14, FaultName::GatewayNotTrusted)
}

/// The list names another certificate: that is what a strict profile wants to see.
pub fn left_out_by_a_list() -> Result<()> {
    let pki = Pki::new(KeyKind::EcdsaP256)?;
    let network = Network::new()?;
    let _gateway = network.strongswan(&certificate_gateway(&pki, &pki.gateway, EAP_SIDES, false))?;
    let list = pki.authority.revocation_list(&[&pki.user])?;
    let ca = &*pki.authority.certificate().pem;
    let secrets = [("ca.pem", ca), ("crl.pem", &*list), ("password", "Passw0rd")];
    connect(&network.endpoint(&tunnel("hard"), &secrets)?).map(drop)
}

pub fn no_list_where_one_is_demanded() -> Result<()> {
    let pki = Pki::new(KeyKind::EcdsaP256)?;
    let network = Network::new()?;
    let _gateway = network.strongswan(&certificate_gateway(&pki, &pki.gateway, EAP_SIDES, false))?;
    let secrets = [("ca.pem", &*pki.authority.certificate().pem), ("password", "Passw0rd")];
    let tunnel = EAP_TUNNEL.replace("[auth]", "gateway_revocation = \"hard\"\n[auth]");
    refused(&network, &tunnel, &secrets, 14, FaultName::GatewayNotTrusted)
}

/// A user's certificate, whose extended key usage is for clients, poses as a gateway's.
pub fn for_another_use() -> Result<()> {
    let pki = Pki::new(KeyKind::EcdsaP256)?;
    let network = Network::new()?;
    let mut gateway = Pki::gateway_contents();
    gateway.common_name = "a client".to_owned();
    let credential = pki.authority.user(&gateway)?;
    let _gateway = network.strongswan(&certificate_gateway(&pki, &credential, EAP_SIDES, false))?;
    let secrets = [("ca.pem", &*pki.authority.certificate().pem), ("password", "Passw0rd")];
    refused(&network, EAP_TUNNEL, &secrets, 14, FaultName::GatewayNotTrusted)
}
