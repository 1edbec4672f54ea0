//! Enrol; never scanned is not healthy; refused at the host; connected.

use super::policy::{ALLOWED, CRITICAL, TELEMETRY, WARNING};
use super::stage::{GATEWAY_NAME, LIMIT, Stage};
use super::timeline::Timeline;
use super::traffic;
use crate::feeds::{CRITICAL_CVE, FIXED_CURL, VULNERABLE_CURL};
use crate::net::until;
use crate::wire::Kind;
use anyhow::{Context, Result, ensure};
use postern_api::ConnectionState;
use postern_api::state::{Origin, TunnelStatus};
use serde_json::Value;

/// Everything that would be a packet of the tunnel.
pub const TUNNEL_KINDS: &[Kind] = &[Kind::Ike, Kind::Esp, Kind::EspInUdp, Kind::NatKeepalive];

/// Returns the status of `RA-VPN`.
///
/// # Errors
/// When the service does not answer or does not know it.
pub fn ra_vpn(stage: &Stage) -> Result<TunnelStatus> {
    let status = stage.endpoint.status()?;
    let found = status.tunnels.into_iter().find(|tunnel| tunnel.name.as_received() == "RA-VPN");
    found.context("the endpoint does not know RA-VPN")
}

/// Waits until `postern posture tags` says that of a tag.
///
/// # Errors
/// When it does not within the limit.
pub fn await_tag(stage: &Stage, tag: &str, presence: &str) -> Result<()> {
    let mut last = String::new();
    until(&format!("tag {tag:?} {presence}"), LIMIT, || {
        last = stage.endpoint.expect(0, &["posture", "tags", "--json"])?;
        let report: Value = serde_json::from_str(last.trim())?;
        let tags = report["tags"].as_array().context("no list of tags")?;
        let found = tags.iter().any(|entry| {
            entry["presence"] == presence && entry["name"].as_str().is_some_and(|name| name.eq_ignore_ascii_case(tag))
        });
        Ok(found.then_some(()))
    })
    .with_context(|| format!("{last}\n{}", stage.endpoint.log()))
}

/// The administrator invites; the endpoint enrols, reports, and is given the tunnel.
pub fn enrol(stage: &mut Stage, timeline: &mut Timeline) -> Result<()> {
    // The colleague of the article's list enrols first.
    stage.enrol(&stage.second)?;
    let invitation = stage.enrol(&stage.endpoint)?;
    timeline.say(&format!("invitation {}…", invitation.chars().take(44).collect::<String>()));
    let managed = until("the tunnel RA-VPN from EMS", LIMIT, || Ok(ra_vpn(stage).ok()))?;
    ensure!(managed.origin == Origin::Managed, "RA-VPN is not shown as managed: {managed:?}");
    await_tag(stage, TELEMETRY, "present")?;
    let tags = stage.endpoint.expect(0, &["posture", "tags"])?;
    ensure!(tags.contains(TELEMETRY), "postern posture tags does not show {TELEMETRY:?}:\n{tags}");
    timeline.say("$ postern posture tags");
    timeline.quote(&tags);
    Ok(())
}

/// A tunnel that prohibits a critical vulnerability, on an endpoint that was never scanned.
pub fn unknown(stage: &mut Stage, timeline: &mut Timeline) -> Result<()> {
    let mark = stage.tap.count();
    let said = stage.connect(13)?;
    ensure!(said.contains("TagsUnknown") && said.contains(CRITICAL), "{said}");
    stage.tap.none_of(mark, TUNNEL_KINDS)?;
    timeline.say("$ postern connect RA-VPN   (exit 13)");
    timeline.quote(&said);
    Ok(())
}

/// The scan finds a critical vulnerability; nothing of the tunnel reaches the wire.
pub fn refused(stage: &mut Stage, timeline: &mut Timeline) -> Result<()> {
    let scan = stage.endpoint.expect(0, &["scan"])?;
    ensure!(scan.contains(CRITICAL_CVE), "the scan does not name {CRITICAL_CVE}:\n{scan}");
    timeline.say("$ postern scan");
    timeline.quote(&scan);
    await_tag(stage, CRITICAL, "present")?;
    let (mark, asked) = (stage.tap.count(), stage.resolver.asked(GATEWAY_NAME));
    let said = stage.connect(3)?;
    timeline.say("$ postern connect RA-VPN   (exit 3)");
    timeline.quote(&said);
    ensure!(said.starts_with(WARNING), "the administrator's words do not come first, verbatim:\n{said}");
    for word in [CRITICAL, "curl", VULNERABLE_CURL, CRITICAL_CVE, FIXED_CURL, "HostCheckFailed", "Next: "] {
        ensure!(said.contains(word), "{word:?} is not told:\n{said}");
    }
    stage.tap.none_of(mark, TUNNEL_KINDS)?;
    let carrier = stage
        .tap
        .since(mark)
        .into_iter()
        .find(|packet| packet.kind == Kind::TcpCarrier && packet.destination == "203.0.113.2".parse().ok());
    ensure!(carrier.is_none(), "a TCP carrier packet: {carrier:?}");
    ensure!(stage.resolver.asked(GATEWAY_NAME) == asked, "the gateway's name was looked up");
    let log = stage.gateway_log()?;
    ensure!(log.is_empty(), "the gateway's log is not empty:\n{log}");
    until("the refusal as an event at EMS", LIMIT, || {
        let events = stage.administer(&["list-events"])?.to_string();
        Ok((events.contains("RA-VPN") && events.contains("HostCheckFailed")).then_some(()))
    })?;
    timeline
        .say("on the wire: no IKE, no ESP, no TCP carrier, no look-up; the gateway's log is empty; EMS has the event");
    Ok(())
}

/// The package is upgraded, the scan clears the tag, the tunnel comes up and carries traffic.
pub fn connected(stage: &mut Stage, timeline: &mut Timeline) -> Result<()> {
    stage.install_packages(false)?;
    stage.endpoint.expect(0, &["scan"])?;
    await_tag(stage, CRITICAL, "absent")?;
    stage.administer(&["set-tag", &stage.endpoint_identifier()?, ALLOWED])?;
    let mark = stage.tap.count();
    let said = stage.connect(0)?;
    timeline.say("$ postern connect RA-VPN   (exit 0)");
    timeline.quote(&said);
    let given = ra_vpn(stage)?.established.context("no address was given")?;
    ensure!(given.addresses.iter().any(|address| address.to_string().starts_with("10.97.0.")), "{given:?}");
    let resolver = stage.client.shell("cat /etc/resolv.conf")?;
    ensure!(resolver.contains("10.98.0.53"), "{resolver}");
    // EMS is reached past the tunnel by marked sockets; its address is let past for nobody.
    let rules = stage.client.shell("ip rule")?;
    ensure!(rules.contains("20591") && !rules.contains("198.51.100.5"), "{rules}");
    let took = crate::ping::once(&stage.client, "10.98.0.1".parse()?, LIMIT)?;
    traffic::fetch(&stage.client, 5_000_000)?;
    timeline.say(&format!("ping {} µs; 5 MB over HTTP, every byte checked", took.as_micros()));
    let strange: Vec<_> = stage
        .tap
        .since(mark)
        .into_iter()
        .filter(|packet| {
            let ems = "198.51.100.5".parse().ok();
            let ours = TUNNEL_KINDS.contains(&packet.kind) || matches!(packet.kind, Kind::Neighbour | Kind::Dns);
            !ours && packet.source != ems && packet.destination != ems
        })
        .take(3)
        .collect();
    ensure!(strange.is_empty(), "not IKE and not ESP on the wire: {strange:?}");
    ensure!(ra_vpn(stage)?.state == ConnectionState::Connected);
    Ok(())
}
