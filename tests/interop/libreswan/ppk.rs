//! Post-quantum pre-shared keys (RFC 8784): known to both, to one, or different.

use crate::gateways::{PSK, PSK_SECRETS, PSK_TUNNEL, psk_gateway};
use crate::refusals::refused;
use crate::room::Play;
use anyhow::{Result, ensure};
use lab::libreswan::Settings;
use lab::roadwarrior::{CORPORATE, transfer};
use postern_api::FaultName;

const KEY: &str = "a key that no quantum computer finds by itself";

/// The gateway with the key `lab-ppk`; `wish` is libreswan's word for how much it wants one.
fn gateway(wish: &str, key: &str) -> Settings {
    let mut settings = psk_gateway(&[("ppk", wish)]);
    settings.secrets += &format!("@vpn.example.test psk@example.test : PPKS \"lab-ppk\" \"{key}\"\n");
    settings
}

fn tunnel(required: bool) -> String {
    let wish = if required { "" } else { "ppk_required = false\n" };
    format!("{PSK_TUNNEL}ppk_id = \"lab-ppk\"\nppk_file = \"@/ppk\"\n{wish}")
}

const SECRETS: &[(&str, &str)] = &[("psk", PSK), ("ppk", KEY)];

pub fn known() -> Result<()> {
    let play = Play::new(&gateway("insist", KEY))?;
    play.connected(&tunnel(true), SECRETS, |_, given| {
        let log = play.gateway.log();
        ensure!(log.contains("PPK AUTH calculated as responder"), "pluto does not say that it used the key:\n{log}");
        ensure!(!given.warnings.iter().any(|warning| warning.as_received().contains("quantum")), "{given:?}");
        transfer(play.network, CORPORATE.parse()?, 5)?;
        // The keys of the next IKE SA come from those that the key was mixed into.
        for (command, words) in [("--rekey-ike", "rekeyed IKE SA"), ("--rekey-ipsec", "rekeyed Child SA")] {
            let mark = log.len();
            play.gateway.whack(&format!("{command} --name work"))?;
            play.gateway.says(words, mark)?;
        }
        transfer(play.network, CORPORATE.parse()?, 5)
    })
}

pub fn absent_and_optional() -> Result<()> {
    let play = Play::new(&psk_gateway(&[("ppk", "no")]))?;
    play.connected(&tunnel(false), SECRETS, |_, given| {
        ensure!(!given.warnings.is_empty(), "a tunnel without the key that was hoped for is a standing warning");
        transfer(play.network, CORPORATE.parse()?, 5)
    })
}

pub fn absent_and_required() -> Result<()> {
    refused(&psk_gateway(&[("ppk", "no")]), &tunnel(true), SECRETS, None)
}

pub fn different() -> Result<()> {
    refused(&gateway("insist", "another key"), &tunnel(true), SECRETS, Some((4, FaultName::AuthenticationFailed)))
}

pub fn missing_here() -> Result<()> {
    refused(&gateway("insist", KEY), PSK_TUNNEL, PSK_SECRETS, None)
}
