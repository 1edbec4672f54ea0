//! What goes wrong has the name that the client can know, an exit code and a next step.

use crate::gateways::{
    CERTIFICATE_TUNNEL, PSK_SECRETS, PSK_TUNNEL, certificate_gateway, certificate_secrets, psk_gateway,
};
use crate::room::Play;
use anyhow::{Context, Result, ensure};
use lab::libreswan::Settings;
use lab::pki::{KeyKind, Pki};
use lab::roadwarrior::work;
use postern_api::FaultName;

/// Connects and expects to be refused, with that exit code and that name where they are given;
/// nothing may be left behind.
pub fn refused(
    settings: &Settings,
    tunnel: &str,
    secrets: &[(&str, &str)],
    wanted: Option<(i32, FaultName)>,
) -> Result<()> {
    let play = Play::new(settings)?;
    let endpoint = play.endpoint(tunnel, secrets)?;
    let (code, stdout, stderr) = endpoint.postern(&["connect", "work"])?;
    let said = stdout + &stderr;
    let fault = work(&endpoint)?.last_fault.with_context(|| format!("not refused: {said}\n{}", play.gateway.log()))?;
    ensure!(code != 0 && said.contains(fault.name.as_str()) && said.contains("Next: "), "exit {code}: {said}");
    if let Some(wanted) = wanted {
        ensure!((code, fault.name) == wanted, "exit {code}: {fault}\n{}", play.gateway.log());
    }
    ensure!(play.gateway.established()? == 0, "{}", play.gateway.log());
    play.leave(endpoint)
}

pub fn wrong_psk() -> Result<()> {
    let secrets = [("psk", "another key than the gateway's")];
    refused(&psk_gateway(&[]), PSK_TUNNEL, &secrets, Some((4, FaultName::AuthenticationFailed)))
}

pub fn unknown_identity() -> Result<()> {
    let tunnel = PSK_TUNNEL.replace("psk@example.test", "mallory@example.test");
    refused(&psk_gateway(&[]), &tunnel, PSK_SECRETS, Some((4, FaultName::AuthenticationFailed)))
}

pub fn wrong_identity() -> Result<()> {
    let tunnel = PSK_TUNNEL.replace("[auth]", "gateway_identity = \"other.example.test\"\n[auth]");
    let play = Play::new(&psk_gateway(&[]))?;
    let endpoint = play.endpoint(&tunnel, PSK_SECRETS)?;
    let (code, stdout, stderr) = endpoint.postern(&["connect", "work"])?;
    // The client names whom it wants (IDr); this gateway may answer that it is nobody of that name
    // instead of telling who it is.
    ensure!(matches!(code, 4 | 14), "exit {code}: {stdout}{stderr}\n{}", play.gateway.log());
    play.leave(endpoint)
}

pub fn no_common_suite() -> Result<()> {
    let settings = psk_gateway(&[("ike", "aes_gcm128-sha2_512;dh16")]);
    refused(&settings, PSK_TUNNEL, PSK_SECRETS, Some((15, FaultName::ProposalMismatch)))
}

pub fn untrusted_authority() -> Result<()> {
    let pki = Pki::new(KeyKind::EcdsaP256)?;
    let (_, gateway) = pki.untrusted_gateway()?;
    let settings = certificate_gateway(&pki, &gateway, &[("authby", "ecdsa"), ("rightca", "%any")]);
    refused(&settings, CERTIFICATE_TUNNEL, &certificate_secrets(&pki), Some((14, FaultName::GatewayNotTrusted)))
}

pub fn other_name() -> Result<()> {
    let pki = Pki::new(KeyKind::EcdsaP256)?;
    let settings =
        certificate_gateway(&pki, &pki.other_gateway()?, &[("authby", "ecdsa"), ("leftid", "@other.example.test")]);
    let tunnel = CERTIFICATE_TUNNEL;
    refused(&settings, tunnel, &certificate_secrets(&pki), Some((14, FaultName::GatewayNotTrusted)))
}
