//! Post-quantum pre-shared keys (RFC 8784): known, unknown and absent, required and optional.

use crate::carries::no_ping_lost;
use crate::fragments::{SIDES, TUNNEL};
use crate::gateways::{EAP_SIDES, EAP_TUNNEL, PSK, PSK_TUNNEL, certificate_gateway, psk_gateway};
use crate::refusals::refused;
use anyhow::{Context, Result, ensure};
use lab::net::until;
use lab::pki::{KeyKind, Pki};
use lab::roadwarrior::{CORPORATE, LIMIT, Network, connect, transfer};
use lab::strongswan::Settings;
use postern_api::FaultName;

const KEY: &str = "a post-quantum pre-shared key that is long enough for anybody";

/// The gateway, with that key under that name if any.
fn gateway(name: Option<&str>, required: bool) -> Settings {
    with_key(psk_gateway(), name, required)
}

fn with_key(mut settings: Settings, name: Option<&str>, required: bool) -> Settings {
    if let Some(name) = name {
        let required = if required { "yes" } else { "no" };
        let named = format!("version = 2\n ppk_required = {required}\n");
        settings.connections = settings.connections.replace("version = 2\n", &named);
        settings.secrets.push_str(&format!("\nppk-one {{ id-1 = {name}\n secret = \"{KEY}\" }}"));
    }
    settings
}

/// The tunnel, with the key that the endpoint has.
fn tunnel(base: &str, required: bool) -> String {
    format!("{base}ppk_id = \"ppk@example.test\"\nppk_file = \"@/ppk\"\nppk_required = {required}\n")
}

const SECRETS: [(&str, &str); 2] = [("psk", PSK), ("ppk", KEY)];

fn in_use(required: bool) -> Result<()> {
    let network = Network::new()?;
    let gateway = network.strongswan(&gateway(Some("ppk@example.test"), required))?;
    let endpoint = network.endpoint(&tunnel(PSK_TUNNEL, required), &SECRETS)?;
    let given = connect(&endpoint).with_context(|| gateway.log())?;
    ensure!(given.warnings.is_empty(), "{given:?}");
    ensure!(gateway.log().contains("using PPK for PPK_ID 'ppk@example.test'"), "{}", gateway.log());
    transfer(&network, CORPORATE.parse()?, 3)?;
    no_ping_lost(&network, || {
        gateway.swanctl(&["--rekey", "--child", "net"])?;
        gateway.swanctl(&["--rekey", "--ike", "psk"])?;
        until("a renewed IKE SA", LIMIT, || Ok(gateway.log().contains("rekeyed between").then_some(())))
    })
    .with_context(|| endpoint.log())
}

pub fn required_by_both() -> Result<()> {
    in_use(true)
}

pub fn optional_for_both() -> Result<()> {
    in_use(false)
}

/// Comes up without the key, under a standing warning.
fn without(settings: &Settings) -> Result<()> {
    let network = Network::new()?;
    let gateway = network.strongswan(settings)?;
    let endpoint = network.endpoint(&tunnel(PSK_TUNNEL, false), &SECRETS)?;
    let given = connect(&endpoint).with_context(|| gateway.log())?;
    ensure!(format!("{:?}", given.warnings).contains("post-quantum"), "{given:?}");
    transfer(&network, CORPORATE.parse()?, 1)
}

pub fn optional_and_unknown() -> Result<()> {
    without(&gateway(Some("another@example.test"), false))
}

pub fn optional_and_absent() -> Result<()> {
    without(&gateway(None, false))
}

pub fn required_and_unknown() -> Result<()> {
    let network = Network::new()?;
    let _gateway = network.strongswan(&gateway(Some("another@example.test"), false))?;
    refused(&network, &tunnel(PSK_TUNNEL, true), &SECRETS, 4, FaultName::AuthenticationFailed)
}

pub fn required_and_absent() -> Result<()> {
    let network = Network::new()?;
    let gateway = network.strongswan(&gateway(None, false))?;
    let endpoint = network.endpoint(&tunnel(PSK_TUNNEL, true), &SECRETS)?;
    // Depending on its version it does not speak of such keys, or speaks of them and has none.
    let (code, stdout, stderr) = endpoint.postern(&["connect", "work"])?;
    ensure!(matches!(code, 4 | 15), "exit {code}: {stdout}{stderr}\n{}", gateway.log());
    ensure!(gateway.established()? == 0, "{}", gateway.log());
    Ok(())
}

pub fn wrong_key() -> Result<()> {
    let network = Network::new()?;
    let _gateway = network.strongswan(&gateway(Some("ppk@example.test"), true))?;
    let secrets = [("psk", PSK), ("ppk", "another key than the gateway's")];
    refused(&network, &tunnel(PSK_TUNNEL, true), &secrets, 4, FaultName::AuthenticationFailed)
}

pub fn required_by_the_gateway_alone() -> Result<()> {
    let network = Network::new()?;
    let gateway = network.strongswan(&gateway(Some("ppk@example.test"), true))?;
    let endpoint = network.endpoint(PSK_TUNNEL, &[("psk", PSK)])?;
    let (code, stdout, stderr) = endpoint.postern(&["connect", "work"])?;
    ensure!(code != 0 && gateway.established()? == 0, "exit {code}: {stdout}{stderr}");
    Ok(())
}

pub fn with_eap() -> Result<()> {
    let network = Network::new()?;
    let pki = Pki::new(KeyKind::EcdsaP256)?;
    let settings = certificate_gateway(&pki, &pki.gateway, EAP_SIDES, false);
    let gateway = network.strongswan(&with_key(settings, Some("ppk@example.test"), true))?;
    let secrets = [("ca.pem", &*pki.authority.certificate().pem), ("password", "Passw0rd"), ("ppk", KEY)];
    let endpoint = network.endpoint(&tunnel(EAP_TUNNEL, true), &secrets)?;
    connect(&endpoint).with_context(|| gateway.log())?;
    ensure!(gateway.log().contains("using PPK for PPK_ID 'ppk@example.test'"), "{}", gateway.log());
    transfer(&network, CORPORATE.parse()?, 3)
}

/// Beside certificates the client signs twice, with the key and without (RFC 8784 §3): the gateway
/// takes the one that it can judge.
pub fn optional_with_certificates() -> Result<()> {
    for (number, known) in [true, false].into_iter().enumerate() {
        let network = Network::new_numbered(number)?;
        let pki = Pki::new(KeyKind::EcdsaP256)?;
        let settings = certificate_gateway(&pki, &pki.gateway, SIDES, false);
        let name = if known { "ppk@example.test" } else { "another@example.test" };
        let gateway = network.strongswan(&with_key(settings, Some(name), false))?;
        let secrets = [
            ("ca.pem", &*pki.authority.certificate().pem),
            ("alice.pem", &pki.user.certificate.pem),
            ("alice.key", &pki.user.key_pem),
            ("ppk", KEY),
        ];
        let endpoint = network.endpoint(&tunnel(TUNNEL, false), &secrets)?;
        let given = connect(&endpoint).with_context(|| gateway.log())?;
        let used = gateway.log().contains("using PPK for PPK_ID 'ppk@example.test'");
        ensure!(used == known, "{}", gateway.log());
        ensure!(format!("{:?}", given.warnings).contains("post-quantum") != known, "{given:?}");
        transfer(&network, CORPORATE.parse()?, 1)?;
    }
    Ok(())
}
