//! The lab itself: before it proves anything about Postern, it is shown to measure what it says.

use anyhow::{Context, Result, ensure};
use lab::http::CorporateServer;
use lab::net::{Host, until, wire};
use lab::scenario::{self, Scenario};
use lab::wire::{Kind, Tap};
use std::process::ExitCode;
use std::time::Duration;

const SCENARIOS: &[Scenario] = &[
    ("lab: a tap sees a ping and says which way it went", tap_sees_ping),
    ("lab: a ping tells an answer from silence", ping_tells_silence),
    ("lab: the resolver answers what it knows and counts what it is asked", resolver_counts),
    ("lab: user-mode Linux boots with ESP in its kernel and strongSwan on it", uml_boots),
    ("lab: the corporate server gives bytes and takes them with checksums", corporate_server),
];

fn main() -> ExitCode {
    scenario::main(SCENARIOS)
}

fn two_hosts() -> Result<(Host, Host)> {
    let (left, right) = (Host::new("left")?, Host::new("right")?);
    wire((&left, "l0", "10.99.0.1/24 fd99::1/64"), (&right, "r0", "10.99.0.2/24 fd99::2/64"))?;
    Ok((left, right))
}

fn tap_sees_ping() -> Result<()> {
    let (left, right) = two_hosts()?;
    let tap = Tap::open(&right, "r0")?;
    left.shell("ping -c 1 -W 5 10.99.0.2")?;
    let seen = until("request and answer on the tap", Duration::from_secs(5), || {
        let packets: Vec<_> = tap.packets().into_iter().filter(|packet| packet.kind == Kind::Other).collect();
        Ok((packets.len() >= 2).then_some(packets))
    })?;
    ensure!(!seen[0].outgoing && seen[0].source == Some("10.99.0.1".parse()?), "{seen:?}");
    ensure!(seen[1].outgoing && seen[1].destination == Some("10.99.0.1".parse()?), "{seen:?}");
    tap.none_of(0, &[Kind::Ike, Kind::Esp, Kind::EspInUdp, Kind::TcpCarrier, Kind::Dns])
}

fn ping_tells_silence() -> Result<()> {
    let (left, right) = two_hosts()?;
    lab::ping::once(&left, "10.99.0.2".parse()?, Duration::from_secs(5))?;
    lab::ping::once(&left, "fd99::2".parse()?, Duration::from_secs(5))?;
    right.shell("nft 'add table inet t; add chain inet t c { type filter hook input priority 0; policy drop; }'")?;
    ensure!(lab::ping::once(&left, "10.99.0.2".parse()?, Duration::from_millis(300)).is_err());
    Ok(())
}

fn resolver_counts() -> Result<()> {
    let (left, right) = two_hosts()?;
    let names = [("vpn.example.test", "10.99.0.7".parse()?)];
    let resolver = lab::dns::Resolver::start(&right, "10.99.0.2:53".parse()?, &names)?;
    left.etc("resolv.conf", "nameserver 10.99.0.2\n")?;
    let found = left.shell("getent ahostsv4 vpn.example.test")?;
    ensure!(found.contains("10.99.0.7"), "{found}");
    ensure!(resolver.asked("vpn.example.test") > 0 && resolver.asked("elsewhere.example.test") == 0);
    ensure!(left.shell("getent ahostsv4 elsewhere.example.test").is_err());
    Ok(())
}

fn uml_boots() -> Result<()> {
    let network = lab::roadwarrior::Network::new()?;
    let folder = network.folder.join("uml");
    let gateway = lab::uml::Gateway::start(&network.gateway, &folder, &lab::strongswan::Settings::default())?;
    lab::ping::once(&network.client, "10.99.0.2".parse()?, Duration::from_secs(10))?;
    let plugins = gateway.shell("swanctl --stats --uri unix:///run/charon.vici; ls /sys/module")?;
    ensure!(plugins.contains("kernel-netlink") && plugins.contains("esp4"), "{plugins}");
    ensure!(!plugins.contains("kernel-libipsec"), "{plugins}");
    Ok(())
}

fn corporate_server() -> Result<()> {
    let (left, right) = two_hosts()?;
    let _server = CorporateServer::start(&right, &["10.99.0.2:80".parse()?, "[fd99::2]:80".parse()?])?;
    let expected = hex_digest(&lab::http::fixed_bytes(65_536).repeat(2)[..100_000]);
    for address in ["10.99.0.2", "[fd99::2]"] {
        let fetched = left.shell(&format!("curl -sS -m 10 http://{address}/bytes/100000 | sha256sum"))?;
        ensure!(fetched.starts_with(&expected), "{fetched} is not {expected}");
        let sent = left.shell(&format!("head -c 1000 /dev/zero | curl -sS -m 10 -T - http://{address}/sink"))?;
        let zeros = hex_digest(&[0; 1000]);
        ensure!(sent.trim() == format!("1000 {zeros}"), "{sent}");
    }
    Ok(())
}

fn hex_digest(bytes: &[u8]) -> String {
    lab::wire::digest_of(bytes).context("digesting").map(|(digest, _)| digest).unwrap_or_default()
}
