//! The TCP carrier: a relay speaks RFC 9329 in front of strongSwan, which knows only UDP.

use crate::gateways::{PSK, PSK_TUNNEL, psk_gateway};
use anyhow::{Context, Result, ensure};
use lab::net::{Running, until};
use lab::relay::{End, Held, Relay};
use lab::roadwarrior::{CORPORATE, LIMIT, Network, connect, nothing_is_left, transfer, wait_for, work};
use lab::strongswan::Gateway;
use lab::wire::{Kind, Tap};
use postern_api::ConnectionState;
use std::process::Stdio;

/// INFORMATIONAL (RFC 7296 §3.1).
const INFORMATIONAL: Held = Held::Ike(37);
const SILENCE: &str = "UDP seems blocked here, trying TCP";

/// A road warrior's network whose gateway has a relay in front.
pub fn network() -> Result<(Network, Gateway, Relay)> {
    let network = Network::new()?;
    network.gateway.shell("ip address add 10.99.0.3/24 dev wan0")?;
    network.client.shell("ip route add default via 10.99.0.2")?;
    let gateway = network.strongswan(&psk_gateway())?;
    let relay =
        Relay::start(&network.gateway, "10.99.0.2:443".parse()?, "10.99.0.3:0".parse()?, "10.99.0.2:4500".parse()?)?;
    Ok((network, gateway, relay))
}

pub fn tunnel(carrier: &str) -> String {
    format!("{PSK_TUNNEL}\n[carrier]\nkind = \"{carrier}\"\n")
}

/// Has the gateway's network drop all UDP that comes from outside.
fn drop_udp(network: &Network) -> Result<()> {
    network
        .gateway
        .shell(
            "nft 'add table inet block; add chain inet block c { type filter hook input priority 0; }
             add rule inet block c iifname wan0 meta l4proto udp counter drop'",
        )
        .map(drop)
}

fn no_datagrams(tap: &Tap, mark: usize) -> Result<()> {
    tap.none_of(mark, &[Kind::Ike, Kind::EspInUdp, Kind::Esp, Kind::NatKeepalive])
}

pub fn only_tcp() -> Result<()> {
    let (network, _gateway, relay) = network()?;
    let endpoint = network.endpoint(&tunnel("tcp"), &[("psk", PSK)])?;
    let tap = Tap::open(&network.client, "wan0")?;
    let given = connect(&endpoint)?;
    ensure!(given.carrier == "tcp", "{given:?}");
    transfer(&network, CORPORATE.parse()?, 20)?;
    no_datagrams(&tap, 0)?;
    ensure!(relay.connections() == [End::Open], "{:?}", relay.connections());
    endpoint.expect(0, &["disconnect", "work"])?;
    nothing_is_left(&network)
}

pub fn auto_without_udp() -> Result<()> {
    let (network, _gateway, relay) = network()?;
    drop_udp(&network)?;
    let endpoint = network.endpoint(&tunnel("auto"), &[("psk", PSK)])?;
    let tap = Tap::open(&network.client, "wan0")?;
    let said = endpoint.expect(0, &["connect", "work"])?;
    ensure!(said.contains(SILENCE), "{said}");
    ensure!(work(&endpoint)?.established.context("not up")?.carrier == "tcp");
    ensure!(tap.packets().iter().any(|packet| packet.kind == Kind::Ike), "UDP was not tried first");
    transfer(&network, CORPORATE.parse()?, 5)?;
    endpoint.expect(0, &["disconnect", "work"])?;
    // On the same network TCP is now the first, and nothing is waited for.
    let mark = tap.count();
    let said = endpoint.expect(0, &["connect", "work"])?;
    ensure!(!said.contains(SILENCE), "{said}");
    ensure!(work(&endpoint)?.established.context("not up")?.carrier == "tcp");
    no_datagrams(&tap, mark)?;
    ensure!(relay.records().iter().any(|record| record.held == Held::Esp));
    Ok(())
}

pub fn auto_with_udp() -> Result<()> {
    let (network, _gateway, relay) = network()?;
    let endpoint = network.endpoint(&tunnel("auto"), &[("psk", PSK)])?;
    let given = connect(&endpoint)?;
    ensure!(given.carrier == "udp", "{given:?}");
    lab::ping::once(&network.client, CORPORATE.parse()?, LIMIT)?;
    ensure!(relay.connections().is_empty(), "a gateway that answers by UDP is not disturbed by TCP");
    Ok(())
}

pub fn cut_in_mid_transfer() -> Result<()> {
    let (network, gateway, relay) = network()?;
    let endpoint = network.endpoint(&tunnel("tcp"), &[("psk", PSK)])?;
    connect(&endpoint)?;
    let esp = || relay.records().iter().filter(|record| record.held == Held::Esp).count();
    std::thread::scope(|scope| -> Result<()> {
        let moving = scope.spawn(|| transfer(&network, CORPORATE.parse()?, 40));
        for cut in 1..=2 {
            let mark = esp();
            until("data on the stream", LIMIT, || Ok((esp() > mark + 500).then_some(())))?;
            relay.cut();
            until("another stream", LIMIT, || Ok((relay.connections().len() > cut).then_some(())))
                .with_context(|| endpoint.log())?;
        }
        moving.join().map_err(|_| anyhow::anyhow!("the transfer panicked"))?
    })?;
    for connection in 2..=3 {
        let first = relay.held(connection).first().copied();
        ensure!(matches!(first, Some(Held::Ike(_))), "stream {connection} begins with {first:?}");
    }
    ensure!(work(&endpoint)?.state == ConnectionState::Connected);
    ensure!(gateway.established()? == 1, "{}", gateway.swanctl(&["--list-sas"])?);
    Ok(())
}

pub fn teardown_on_compliance() -> Result<()> {
    let (network, gateway, relay) = network()?;
    let marker = network.folder.join("not-allowed");
    let tags = format!(
        "[tags]\nsource = \"local\"\nprohibited = [\"marked\"]\n[[tags.rules]]\nname = \"marked\"\ntag = \"marked\"\n\
         [[tags.rules.systems.linux.rules]]\nid = 1\ntype = \"file\"\npath = {marker:?}\n"
    );
    let endpoint = network.endpoint(&format!("{}{tags}", tunnel("tcp")), &[("psk", PSK)])?;
    connect(&endpoint)?;
    // A gateway that does not read: the client's system holds what it cannot send.
    let upload = "curl -sS --max-time 100 -T /dev/zero http://10.98.0.1/sink";
    let mut curl = network.client.command("sh");
    let _upload = Running::start("curl", curl.args(["-c", upload]).stdout(Stdio::null()).stderr(Stdio::null()))?;
    let esp = || relay.records().iter().filter(|record| record.held == Held::Esp).count();
    until("data on the stream", LIMIT, || Ok((esp() > 500).then_some(())))?;
    let tap = Tap::open(&network.client, "wan0")?;
    std::fs::write(&marker, "")?;
    wait_for(&endpoint, ConnectionState::Blocked)?;
    until("the gateway's SA to go", LIMIT, || Ok((gateway.established()? == 0).then_some(())))
        .with_context(|| endpoint.log())?;
    // The stream that held packets was aborted, not closed: what was unsent was forgotten. What
    // came after it is the Delete, on a stream of its own.
    ensure!(relay.connections().first() == Some(&End::Reset), "{:?}", relay.connections());
    let last = relay.connections().len();
    ensure!(last >= 2, "{:?}", relay.connections());
    let records = relay.records();
    // The relay may still be reading what had reached it of the first stream.
    let after: Vec<_> = records.iter().filter(|record| record.connection != 1).collect();
    ensure!(!after.is_empty() && after.iter().all(|record| record.held == INFORMATIONAL), "{after:?}");
    ensure!(gateway.log().contains("received DELETE for IKE_SA"), "{}", gateway.log());
    let mark = tap.count();
    ensure!(lab::ping::once(&network.client, CORPORATE.parse()?, std::time::Duration::from_millis(300)).is_err());
    tap.none_of(mark, &[Kind::TcpCarrier, Kind::Other])
}

pub fn no_stream() -> Result<()> {
    let network = Network::new()?;
    let endpoint = network.endpoint(&tunnel("tcp"), &[("psk", PSK)])?;
    let said = endpoint.expect(5, &["connect", "work"])?;
    ensure!(said.contains("GatewayUnreachable"), "{said}");
    Ok(())
}

pub fn second_gateway() -> Result<()> {
    let network = Network::new()?;
    let gateway = network.strongswan(&psk_gateway())?;
    let two = PSK_TUNNEL.replace("\"vpn.example.test\"", "[\"silent.example.test\", \"vpn.example.test\"]");
    let endpoint = network.endpoint(&two, &[("psk", PSK)])?;
    let given = connect(&endpoint)?;
    ensure!(given.gateway.starts_with("10.99.0.2"), "{given:?}");
    ensure!(gateway.established()? == 1);
    // A gateway that answers and refuses is not passed over: another would be a way round it.
    endpoint.expect(0, &["disconnect", "work"])?;
    Ok(())
}

pub fn both_families() -> Result<()> {
    let network = Network::new()?;
    let _gateway = network.strongswan(&psk_gateway())?;
    network.client.etc("hosts", "127.0.0.1 localhost\nfd99::2 vpn.example.test\n10.99.0.2 vpn.example.test\n")?;
    network.gateway.shell(
        "nft 'add table inet block; add chain inet block c { type filter hook input priority 0; }
         add rule inet block c meta nfproto ipv6 meta l4proto udp drop'",
    )?;
    let endpoint = network.endpoint(PSK_TUNNEL, &[("psk", PSK)])?;
    let given = connect(&endpoint)?;
    ensure!(given.gateway.starts_with("10.99.0.2"), "the family that answers carries: {given:?}");
    endpoint.expect(0, &["disconnect", "work"])?;
    network.gateway.shell(
        "nft flush ruleset; nft 'add table inet block; add chain inet block c { type filter hook input priority 0; }
         add rule inet block c meta nfproto ipv4 meta l4proto udp drop'",
    )?;
    let given = connect(&endpoint)?;
    ensure!(given.gateway.starts_with("[fd99::2]"), "the family that answers carries: {given:?}");
    lab::ping::once(&network.client, CORPORATE.parse()?, LIMIT).map(drop)
}
