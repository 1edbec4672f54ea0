//! Torn down three times while a download runs, and enforcement switched off.

use super::opening::{await_tag, ra_vpn};
use super::policy::{ALLOWED, CRITICAL, NETWORK, WARNING};
use super::stage::{LIMIT, Stage};
use super::timeline::Timeline;
use super::traffic::{self, Download, blocked_here};
use crate::net::until;
use crate::wire::boottime_ns;
use anyhow::{Context, Result, bail, ensure};
use postern_api::{ConnectionState, FaultName};
use serde_json::Value;

/// Lines that others write while the tunnel is up; a teardown must leave them.
const FOREIGN: &str = "ip route add 192.0.2.0/24 via 10.0.3.1; \
     nft add table inet foreign; \
     echo 'options timeout:7 # somebody else wrote this' >> /etc/resolv.conf";

/// The vulnerable version comes back: a prohibited tag is gained.
pub fn vulnerable_again(stage: &mut Stage, timeline: &mut Timeline) -> Result<()> {
    tear_down(stage, timeline, |stage| {
        stage.install_packages(true)?;
        stage.endpoint.expect(0, &["scan"])?;
        Ok(boottime_ns())
    })?;
    ensure!(blocked_here(&stage.client)?, "what the tunnel protected may leave in the clear");
    timeline.say("after_loss = block_protected_prefixes: the corporate network is blocked until dismissed");
    stage.endpoint.expect(0, &["disconnect", "RA-VPN"])?;
    ours_are_gone(stage)?;
    stage.install_packages(false)?;
    stage.endpoint.expect(0, &["scan"])?;
    await_tag(stage, CRITICAL, "absent")
}

/// The administrator takes back the tag that the tunnel asks for.
pub fn allowed_lost(stage: &mut Stage, timeline: &mut Timeline) -> Result<()> {
    stage.profile.allowed = vec![ALLOWED];
    stage.profile.after_loss = "restore";
    stage.set_profile()?;
    await_tag(stage, ALLOWED, "present")?;
    stage.connect(0)?;
    tear_down(stage, timeline, |stage| {
        let answer = stage.administer(&["unset-tag", &stage.endpoint_identifier()?, ALLOWED])?;
        moment(&answer)
    })?;
    ensure!(!blocked_here(&stage.client)?, "after_loss = restore, and yet the network is blocked");
    ours_are_gone(stage)?;
    timeline.say("after_loss = restore: nothing is blocked, nothing of ours is left");
    stage.profile.allowed.clear();
    stage.profile.after_loss = "block_protected_prefixes";
    stage.set_profile()?;
    Ok(())
}

/// The administrator prohibits a tag that the endpoint carries.
pub fn prohibition_added(stage: &mut Stage, timeline: &mut Timeline) -> Result<()> {
    await_tag(stage, NETWORK, "present")?;
    stage.connect(0)?;
    tear_down(stage, timeline, |stage| {
        stage.profile.prohibited = vec![CRITICAL, NETWORK];
        moment(&stage.set_profile()?)
    })?;
    ensure!(blocked_here(&stage.client)?, "what the tunnel protected may leave in the clear");
    stage.endpoint.expect(0, &["disconnect", "RA-VPN"])?;
    ours_are_gone(stage)
}

/// `Enable Secure Remote Access` off: the same endpoint connects, and it is said.
pub fn switched_off(stage: &mut Stage, timeline: &mut Timeline) -> Result<()> {
    stage.connect(3).context("prohibited while it is on")?;
    stage.profile.secure_remote_access = false;
    stage.set_profile()?;
    until("the profile without enforcement", LIMIT, || {
        let standing = ra_vpn(stage)?.posture;
        Ok((standing == postern_api::state::PostureStanding::NotEnforced).then_some(()))
    })?;
    let said = stage.connect(0)?;
    ensure!(said.contains("posture not enforced"), "{said}");
    timeline.quote(&said);
    stage.endpoint.expect(0, &["disconnect", "RA-VPN"])?;
    stage.profile.prohibited = vec![CRITICAL];
    stage.set_profile()?;
    Ok(())
}

/// Returns the moment of a change at EMS, on the clock of the tap.
fn moment(answer: &Value) -> Result<u64> {
    answer["boottime_nanoseconds"].as_u64().with_context(|| format!("EMS told no moment: {answer}"))
}

/// Has a download under way, makes the change, and asserts what the wire and the endpoint show.
fn tear_down(stage: &mut Stage, timeline: &mut Timeline, change: impl FnOnce(&mut Stage) -> Result<u64>) -> Result<()> {
    let inside = ra_vpn(stage)?.established.context("RA-VPN is not connected")?.addresses;
    stage.client.shell(FOREIGN)?;
    let download = Download::start(&stage.client)?;
    let begin = stage.tap.count();
    let changed = change(stage)?;
    let lost = until("the tunnel's end", LIMIT, || {
        let tunnel = ra_vpn(stage)?;
        let over = !matches!(tunnel.state, ConnectionState::Connected | ConnectionState::Disconnecting);
        Ok(over.then_some(tunnel))
    })
    .with_context(|| stage.endpoint.log())?;
    // The status says that it is over: from here on the tunnel must be silent.
    let mark = stage.tap.count();
    let received = download.received();
    let fault = lost.last_fault.context("the status does not say why")?;
    ensure!(fault.name == FaultName::ComplianceLost, "{fault}");
    ensure!(fault.warning.as_ref().is_some_and(|warning| warning.as_received() == WARNING), "{fault:?}");
    let said = stage.endpoint.expect(0, &["status"])?;
    ensure!(said.contains("ComplianceLost"), "{said}");
    timeline.quote(&format!("{}\n{fault}", fault.warning.clone().unwrap_or_default()));

    let during = stage.tap.since(begin);
    let last = traffic::last_packet_of_tunnel(&during, &inside).context("the download was not on the wire")?;
    if last > changed {
        timeline.measure("change_to_last_packet", (last - changed) / 1_000_000);
    } else {
        timeline.measure("change_to_last_packet", 0);
    }
    ensure!(last < changed + 1_000_000_000, "packets left {} ms after the change", (last - changed) / 1_000_000);
    // Whatever an open socket or a new one tries, nothing of the tunnel leaves any more.
    for _ in 0..5 {
        let _refused = crate::ping::once(&stage.client, "10.98.0.1".parse()?, std::time::Duration::from_millis(20));
    }
    traffic::silent_since(&stage.tap, mark, &inside)?;
    ensure!(download.received() <= received + 4_000_000, "the download goes on");
    for (what, line) in [
        ("a route", "ip route show 192.0.2.0/24 | grep -q 10.0.3.1"),
        ("a firewall table", "nft list table inet foreign"),
        ("a resolver line", "grep -q 'somebody else wrote this' /etc/resolv.conf"),
    ] {
        stage.client.shell(line).with_context(|| format!("{what} of somebody else is gone"))?;
    }
    stage.client.shell(
        "ip route del 192.0.2.0/24; nft delete table inet foreign; \
         grep -v 'somebody else' /etc/resolv.conf > /run/resolv.keep; cat /run/resolv.keep > /etc/resolv.conf",
    )?;
    stage.servers_run()
}

/// Fails when routes, rules, firewall or resolver entries of ours are left.
fn ours_are_gone(stage: &Stage) -> Result<()> {
    let state =
        stage.client.shell("ip rule; ip route show table all; ip -o link; nft list ruleset; cat /etc/resolv.conf")?;
    for word in ["postern", "20591", "10.97.0.", "10.98.0.", "prohibit", "unreachable", "tun"] {
        if let Some(line) = state.lines().find(|line| line.contains(word)) {
            bail!("left behind: {line:?}\n{state}");
        }
    }
    ensure!(state.contains("nameserver 10.0.3.1"), "the network's own resolver is gone:\n{state}");
    Ok(())
}
