//! Certificates on one side or both.

use crate::gateways::{EAP_SIDES, EAP_TUNNEL, certificate_gateway};
use anyhow::{Context, Result, ensure};
use lab::pki::{KeyKind, Pki};
use lab::roadwarrior::{CORPORATE, LIMIT, Network, connect, transfer};

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
    let tunnel = "gateway = \"vpn.example.test\"\ngateway_ca_files = [\"@/ca.pem\"]\n[auth]\nkind = \"certificate\"\n\
         identity = \"alice@example.test\"\ncertificate_file = \"@/alice.pem\"\nkey_file = \"@/alice.key\"\n";
    let secrets = [
        ("ca.pem", &*pki.authority.certificate().pem),
        ("alice.pem", &*pki.user.certificate.pem),
        ("alice.key", &*pki.user.key_pem),
    ];
    let endpoint = network.endpoint(tunnel, &secrets)?;
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
