//! What lies around a packet, measured on the wire: between two ends of our packet path with fixed keys.

use anyhow::{Context, Result, ensure};
use lab::client::program;
use lab::net::{Host, Running, until, wire};
use lab::wire::{Kind, Tap};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(20);

/// Suites, and what the RFCs put around a packet: octets in front (SPI, sequence number, IV), what packet
/// and trailer are padded to, octets behind (ICV).
const SUITES: [(&str, usize, usize, usize); 5] = [
    ("aes256gcm16-noesn", 8 + 8, 4, 16),
    ("chacha20poly1305-noesn", 8 + 8, 4, 16),
    ("aes256gcm16iiv-noesn", 8, 4, 16),
    ("aes256-sha256-noesn", 8 + 16, 16, 16),
    ("aes128-sha1-noesn", 8 + 16, 16, 12),
];
/// Inner packets: small, and around the edges of blocks.
const INNER: [usize; 5] = [84, 1000, 1001, 1387, 1400];

pub fn on_the_wire() -> Result<()> {
    let (near, far) = (Host::new("near")?, Host::new("far")?);
    wire((&near, "wan0", "10.99.0.1/24 fd99::1/64"), (&far, "wan0", "10.99.0.2/24 fd99::2/64"))?;
    for ipv6 in [false, true] {
        // The outer header, then UDP's; or TCP's with timestamps, and the length of RFC 9329 §3.
        let ip = if ipv6 { 40 } else { 20 };
        for (carrier, kind, outside) in [("udp", Kind::EspInUdp, ip + 8), ("tcp", Kind::TcpCarrier, ip + 32 + 2)] {
            for (suite, front, block, behind) in SUITES {
                let lengths = measure(&near, &far, ipv6, carrier, kind, suite)
                    .with_context(|| format!("{suite} over {carrier}, IPv6: {ipv6}"))?;
                let expected =
                    INNER.map(|inner| outside + front + (inner + 2).next_multiple_of(block) + behind).to_vec();
                ensure!(lengths == expected, "{suite} over {carrier}, IPv6 {ipv6}: {lengths:?}, not {expected:?}");
            }
        }
    }
    Ok(())
}

/// Sends a packet of each size through a tunnel, and returns how long the outer ones were.
fn measure(near: &Host, far: &Host, ipv6: bool, carrier: &str, kind: Kind, suite: &str) -> Result<Vec<usize>> {
    let [own, peer] = if ipv6 { ["[fd99::1]:4500", "[fd99::2]:4500"] } else { ["10.99.0.1:4500", "10.99.0.2:4500"] };
    let mut running = Vec::new();
    for (host, local, remote, side, inner) in [(far, peer, own, "b", "10.98.0.1"), (near, own, peer, "a", "10.98.0.2")]
    {
        let mut command = host.command(program("lab-forward")?);
        command.args([local, remote, "tun0", "1400", suite, side, carrier]);
        running.push(Running::start("lab-forward", &mut command)?);
        until("the device", LIMIT, || {
            Ok(host.shell(&format!("ip address add {inner}/24 dev tun0 2>/dev/null; ip link set tun0 up")).ok())
        })?;
    }
    until("an answer", LIMIT, || {
        Ok(lab::ping::once(near, "10.98.0.1".parse()?, Duration::from_millis(200)).is_ok().then_some(()))
    })?;
    let tap = Tap::open(near, "wan0")?;
    let mut lengths = Vec::new();
    for inner in INNER {
        let mark = tap.count();
        near.shell(&format!("ping -c 1 -W 5 -M do -s {} 10.98.0.1", inner - 28))?;
        let longest = until("the packet on the wire", LIMIT, || {
            let packets = tap.since(mark);
            Ok(packets.iter().filter(|packet| packet.outgoing && packet.kind == kind).map(|packet| packet.length).max())
        })?;
        lengths.push(longest);
    }
    drop(running);
    until("the devices to go", LIMIT, || Ok(near.shell("ip link show tun0 2>/dev/null").is_err().then_some(())))?;
    until("the devices to go", LIMIT, || Ok(far.shell("ip link show tun0 2>/dev/null").is_err().then_some(())))?;
    Ok(lengths)
}
