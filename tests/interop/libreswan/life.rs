//! Rekeys, deletion and liveness.

use crate::gateways::{PSK_SECRETS, PSK_TUNNEL, psk_gateway};
use crate::room::Play;
use anyhow::{Context, Result, bail, ensure};
use lab::client::Endpoint;
use lab::net::until;
use lab::ping::Series;
use lab::roadwarrior::{CORPORATE, LIMIT, connect, wait_for, work};
use lab::wire::{Kind, Packet, Tap};
use postern_api::{ConnectionState, FaultName};
use std::time::Duration;

/// Runs a ping through the tunnel while `disturb` works, and fails when one is lost.
fn no_ping_is_lost(play: &Play, endpoint: &Endpoint, disturb: impl FnOnce() -> Result<()>) -> Result<()> {
    lab::ping::once(&play.network.client, CORPORATE.parse()?, LIMIT)?;
    let tap = Tap::open(&play.network.client, "wan0")?;
    let series = Series::start(&play.network.client, CORPORATE.parse()?, Duration::from_millis(10))?;
    disturb()?;
    let mark = series.answered();
    until("pings after the disturbance", LIMIT, || Ok((series.answered() > mark + 50).then_some(())))?;
    let tally = series.finish()?;
    // Late is not lost: now and then the guest's device holds a packet, in whatever it does, until the next one comes.
    if tally.sent != tally.answered {
        // What the wire, either side's kernel and ours know of it.
        let theirs = play.guest.shell("grep -v '[[:space:]]0$' /proc/net/xfrm_stat; ip -s link show vec0")?;
        let ours = endpoint.expect(0, &["status", "--json"])?;
        bail!("pings were lost: {tally:?}\n{}\n{theirs}\n{ours}", silence(&tap.packets()));
    }
    Ok(())
}

/// Returns what was on the wire before and after the longest silence, a line each.
fn silence(packets: &[Packet]) -> String {
    let pause = |place: &usize| packets[*place].boottime_ns - packets[*place - 1].boottime_ns;
    let longest = (1..packets.len()).max_by_key(pause).unwrap_or_default();
    let around = longest.saturating_sub(16)..packets.len().min(longest + 8);
    let line = |packet: &Packet| {
        let way = if packet.outgoing { "out" } else { "in " };
        let milliseconds = packet.boottime_ns / 1_000_000;
        format!("{milliseconds} ms {way} {:?} {} octets, exchange {:?}\n", packet.kind, packet.length, packet.exchange)
    };
    packets[around].iter().map(line).collect()
}

pub fn rekeyed_by_gateway() -> Result<()> {
    let play = Play::new(&psk_gateway(&[]))?;
    play.connected(PSK_TUNNEL, PSK_SECRETS, |endpoint, _| {
        no_ping_is_lost(&play, endpoint, || {
            for _ in 0..2 {
                for (command, words) in [("--rekey-ipsec", "rekeyed Child SA"), ("--rekey-ike", "rekeyed IKE SA")] {
                    let mark = play.gateway.log().len();
                    play.gateway.whack(&format!("{command} --name work"))?;
                    play.gateway.says(words, mark)?;
                }
            }
            Ok(())
        })?;
        // What a renewal has just replaced may still be there.
        until("one IKE SA", LIMIT, || Ok((play.gateway.established()? == 1).then_some(())))?;
        ensure!(work(endpoint)?.state == ConnectionState::Connected);
        Ok(())
    })
}

pub fn rekeyed_by_client() -> Result<()> {
    let play = Play::new(&psk_gateway(&[]))?;
    let tunnel = format!("{PSK_TUNNEL}\n[proposals]\nike_lifetime = \"9s\"\nesp_lifetime = \"4s\"\n");
    play.connected(&tunnel, PSK_SECRETS, |endpoint, _| {
        // As responder pluto puts a new SA into its kernel before it answers: what the gateway sends in between
        // arrives before the keys, and is kept for them.
        no_ping_is_lost(&play, endpoint, || {
            let log = || play.gateway.log();
            until("two rekeyed IKE SAs and three CHILD SAs", LIMIT, || {
                let ike = log().matches("responder rekeyed IKE SA").count() >= 2;
                let child = log().matches("responder rekeyed Child SA").count() >= 3;
                Ok((ike && child).then_some(()))
            })
        })?;
        // What a renewal has just replaced may still be there.
        until("one IKE SA", LIMIT, || Ok((play.gateway.established()? == 1).then_some(())))?;
        Ok(())
    })
}

pub fn deleted_by_client() -> Result<()> {
    let play = Play::new(&psk_gateway(&[]))?;
    play.connected(PSK_TUNNEL, PSK_SECRETS, |endpoint, _| {
        ensure!(play.gateway.established()? == 1);
        endpoint.expect(0, &["down", "work"])?;
        until("the gateway's SA to go", LIMIT, || Ok((play.gateway.established()? == 0).then_some(())))
    })
}

pub fn deleted_by_gateway() -> Result<()> {
    let play = Play::new(&psk_gateway(&[]))?;
    play.connected(PSK_TUNNEL, PSK_SECRETS, |endpoint, _| {
        play.gateway.whack("--terminate --name work")?;
        let fault = wait_for(endpoint, ConnectionState::Disconnected)?.last_fault;
        let fault = fault.context("no fault says why it ended")?;
        ensure!(fault.name == FaultName::ClosedByGateway, "{fault}");
        Ok(())
    })
}

pub fn gateway_dead() -> Result<()> {
    let play = Play::new(&psk_gateway(&[]))?;
    let tunnel = format!("{PSK_TUNNEL}\n[carrier]\nliveness = \"1s\"\n");
    play.connected(&tunnel, PSK_SECRETS, |endpoint, _| {
        play.guest.shell("kill -STOP $(cat /run/pluto/pluto.pid)")?;
        let fault = wait_for(endpoint, ConnectionState::Disconnected)?.last_fault;
        let fault = fault.context("no fault says why it ended")?;
        ensure!(fault.name == FaultName::GatewayLost, "{fault}");
        Ok(())
    })
}

pub fn liveness_answered() -> Result<()> {
    let play = Play::new(&psk_gateway(&[("dpddelay", "1"), ("retransmit-timeout", "4s")]))?;
    let endpoint = play.endpoint(PSK_TUNNEL, PSK_SECRETS)?;
    connect(&endpoint)?;
    let tap = Tap::open(&play.network.client, "wan0")?;
    // INFORMATIONAL is exchange type 37 (RFC 7296 §3.1). Longer than the gateway would wait.
    let asked = || tap.packets().iter().filter(|packet| !packet.outgoing && packet.exchange == Some(37)).count();
    until("six liveness checks", LIMIT, || Ok((asked() >= 6).then_some(()))).with_context(|| play.gateway.log())?;
    ensure!(play.gateway.established()? == 1, "{}", play.gateway.log());
    tap.none_of(0, &[Kind::Other])?;
    lab::ping::once(&play.network.client, CORPORATE.parse()?, LIMIT)?;
    // Without answers the gateway gives the client up.
    play.network.client.shell(
        "nft 'add table inet deaf; add chain inet deaf in { type filter hook input priority 0; }; \
         add rule inet deaf in ip saddr 10.99.0.2 drop'",
    )?;
    let gone = until("the gateway to give up", LIMIT, || Ok((play.gateway.established()? == 0).then_some(())));
    play.network.client.shell("nft delete table inet deaf")?;
    gone.with_context(|| play.gateway.log())?;
    play.leave(endpoint)
}
