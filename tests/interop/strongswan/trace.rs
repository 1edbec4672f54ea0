//! The conversation log: every message by its names, and no secret in it.

use crate::gateways::{HABIT_TUNNEL, PSK, PSK_TUNNEL, habit_gateway, psk_gateway};
use anyhow::{Context, Result, ensure};
use lab::net::{Running, until};
use lab::roadwarrior::{LIMIT, Network};
use nix::sys::signal::Signal;
use std::os::unix::fs::PermissionsExt;

/// Fails unless `log` has lines with these words, in this order.
fn in_order(log: &str, words: &[&str]) -> Result<()> {
    let mut rest = log;
    for word in words {
        let at = rest.find(word).with_context(|| format!("no {word:?} where it belongs:\n{log}"))?;
        rest = rest.get(at + word.len()..).unwrap_or_default();
    }
    Ok(())
}

pub fn conversation_is_told_without_secrets() -> Result<()> {
    let network = Network::new()?;
    let _gateway = network.strongswan(&habit_gateway())?;
    let password = "Passw0rd";
    let endpoint = network.endpoint(HABIT_TUNNEL, &[("psk", PSK), ("password", password)])?;
    let said = endpoint.expect(0, &["connect", "work", "--trace", "-"])?;
    in_order(
        &said,
        &[
            "--> IKE_SA_INIT request 0, ",
            "octets: HDR, SA(",
            "KE(",
            "Ni(",
            "N(NAT_DETECTION_SOURCE_IP)(28)",
            "; then retransmission in ",
            "<-- IKE_SA_INIT response 0, ",
            "Nr(",
            "--> IKE_AUTH request 1, ",
            "HDR, SK {IDi(",
            "<-- IKE_AUTH response 1, ",
            "AUTH(",
            "EAP(",
            "--> IKE_AUTH request 2, ",
            "HDR, SK {EAP(",
            "<-- IKE_AUTH response ",
            "CP(CFG_REPLY)(",
            "TSi(24), TSr(",
            "work: connected",
        ],
    )?;
    // What the log must not hold: secrets, and who it is that logs in.
    for secret in [PSK, password, "alice", "forti@example.test", &hex::encode(PSK), &hex::encode(password)] {
        ensure!(!said.contains(secret), "the log holds {secret:?}:\n{said}");
    }
    Ok(())
}

pub fn conversation_goes_on_in_a_file() -> Result<()> {
    let network = Network::new()?;
    let gateway = network.strongswan(&psk_gateway())?;
    let endpoint = network.endpoint(PSK_TUNNEL, &[("psk", PSK)])?;
    let file = network.folder.join("conversation");
    let path = file.to_string_lossy().into_owned();
    let mut command = endpoint.command(&["connect", "work", "--foreground", "--trace", &path])?;
    let mut running = Running::start("postern connect", command.stdout(std::process::Stdio::null()))?;
    let log = || std::fs::read_to_string(&file).unwrap_or_default();
    until("the tunnel in the log", LIMIT, || Ok(log().contains("<-- IKE_AUTH response 1").then_some(())))?;
    until("the gateway's SA", LIMIT, || Ok((gateway.established()? == 1).then_some(())))?;
    ensure!(std::fs::metadata(&file)?.permissions().mode() & 0o077 == 0, "others can read the log");
    gateway.swanctl(&["--rekey", "--child", "net"])?;
    until("the renewal in the log", LIMIT, || {
        let log = log();
        let renewal = log.split("<-- CREATE_CHILD_SA request").nth(1);
        Ok(renewal
            .is_some_and(|rest| rest.contains("N(REKEY_SA)(") && rest.contains("--> CREATE_CHILD_SA response"))
            .then_some(()))
    })
    .with_context(log)?;
    running.signal(Signal::SIGINT)?;
    running.wait(LIMIT)?;
    Ok(())
}
