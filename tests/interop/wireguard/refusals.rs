//! Where a WireGuard tunnel does not come up, or may not stay.

use crate::Lab;
use anyhow::{Context, Result, ensure};
use lab::hostile::MemoryWatch;
use lab::net::{Running, until};
use lab::roadwarrior::{CORPORATE, LIMIT, connect, nothing_is_left, wait_for};
use lab::wire::{Kind, Tap, boottime_ns};
use lab::wireguard::KeyPair;
use postern_api::ConnectionState;
use std::net::{SocketAddr, UdpSocket};
use std::process::Stdio;
use std::time::Duration;

pub fn wrong_keys() -> Result<()> {
    let lab = Lab::new(None)?;
    let strange = KeyPair::new()?;
    let endpoint = lab.network.endpoint(&lab.tunnel(), &[("key", &strange.private)])?;
    let said = endpoint.expect(5, &["connect", "work", "--timeout", "2"])?;
    ensure!(said.contains("GatewayUnreachable") && said.contains("a key is not the one it knows"), "{said}");
    ensure!(said.contains("compare the public keys on both sides"), "{said}");
    let other_peer = lab.tunnel().replace(&lab.server.public, &strange.public);
    let folder = endpoint.path("config");
    endpoint.configure("tunnels.d/other.toml", &other_peer.replace("\"@/", &format!("\"{}/", folder.display())))?;
    endpoint.configure("key", &lab.own.private)?;
    until("the service to see the other tunnel", LIMIT, || {
        Ok(endpoint.expect(0, &["tunnel", "list"])?.contains("other").then_some(()))
    })?;
    let said = endpoint.expect(5, &["connect", "other", "--timeout", "2"])?;
    ensure!(said.contains("GatewayUnreachable"), "{said}");
    ensure!(!said.contains(&lab.own.private) && !endpoint.log().contains(&lab.own.private));
    connect(&endpoint)?;
    endpoint.expect(0, &["disconnect", "work"])?;
    nothing_is_left(&lab.network)
}

pub fn open_key_file() -> Result<()> {
    let lab = Lab::new(None)?;
    let endpoint = lab.network.endpoint(&lab.tunnel(), &[("key", &lab.own.private)])?;
    let file = endpoint.path("config/key");
    lab::net::shell(&format!("chmod 644 {}", file.display()))?;
    let (code, stdout, stderr) = endpoint.postern(&["connect", "work"])?;
    ensure!(code == 9 && (stdout.clone() + &stderr).contains("mode 644"), "{code}: {stdout}{stderr}");
    ensure!(lab.peer.handshakes() == (0, 0), "{}", lab.peer.log());
    Ok(())
}

pub fn teardown_on_compliance() -> Result<()> {
    let lab = Lab::new(None)?;
    let network = &lab.network;
    let marker = network.folder.join("not-allowed");
    let tags = format!(
        "[tags]\nsource = \"local\"\nprohibited = [\"marked\"]\n[[tags.rules]]\nname = \"marked\"\ntag = \"marked\"\n\
         [[tags.rules.systems.linux.rules]]\nid = 1\ntype = \"file\"\npath = {marker:?}\n"
    );
    let tunnel = lab.tunnel().replace("[network]", "keepalive = \"1s\"\n[network]") + &tags;
    let endpoint = network.endpoint(&tunnel, &[("key", &lab.own.private)])?;
    connect(&endpoint)?;
    let tap = Tap::open(&network.client, "wan0")?;
    let upload = "curl -sS --max-time 100 -T /dev/zero http://10.98.0.1/sink";
    let mut curl = network.client.command("sh");
    let _upload = Running::start("curl", curl.args(["-c", upload]).stdout(Stdio::null()).stderr(Stdio::null()))?;
    until("data on the wire", LIMIT, || Ok((tap.count() > 500).then_some(())))?;
    std::fs::write(&marker, "")?;
    wait_for(&endpoint, ConnectionState::Blocked)?;
    let told = boottime_ns();
    // Longer than a keepalive, a handshake and a retransmission of TCP would wait.
    let mark = tap.count();
    ensure!(lab::ping::once(&network.client, CORPORATE.parse()?, Duration::from_secs(2)).is_err());
    let late = tap
        .packets()
        .into_iter()
        .find(|packet| packet.outgoing && packet.boottime_ns > told && packet.kind == Kind::WireGuard);
    ensure!(late.is_none(), "a packet after the teardown was told: {late:?}");
    tap.none_of(mark, &[Kind::WireGuard, Kind::Other])?;
    // And while the cause lasts it stays away.
    let said = endpoint.expect(3, &["connect", "work"])?;
    ensure!(said.contains("marked"), "{said}");
    tap.none_of(mark, &[Kind::WireGuard, Kind::Other])
}

/// Messages of each kind with their lengths: initiation, response, cookie, and data that is none.
const FORGED: [(u8, usize); 5] = [(1, 148), (2, 92), (3, 64), (4, 1452), (9, 700)];

pub fn flood() -> Result<()> {
    let lab = Lab::new(None)?;
    let endpoint = lab.network.endpoint(&lab.tunnel(), &[("key", &lab.own.private)])?;
    connect(&endpoint)?;
    lab::ping::once(&lab.network.client, CORPORATE.parse()?, LIMIT)?;
    let client: SocketAddr = lab.peer.endpoint()?.parse()?;
    let watch = MemoryWatch::start(endpoint.network_process()?)?;
    lab.network.gateway.inside(|| {
        // The peer's address, as whoever can forge it would use.
        let socket = UdpSocket::bind("10.99.0.2:0").context("the peer's address")?;
        for (round, (kind, length)) in (0_u32..60_000).zip(FORGED.into_iter().cycle()) {
            let mut message = vec![0x5a; length];
            message[..8].copy_from_slice(&[kind, 0, 0, 0, 1, 0, 0, 0]);
            message[8..12].copy_from_slice(&round.to_le_bytes());
            // What the network drops is no part of this.
            let _ = socket.send_to(&message, client);
        }
        Ok(())
    })?;
    lab::ping::once(&lab.network.client, CORPORATE.parse()?, LIMIT)?;
    let gained = watch.gained()?;
    ensure!(gained < 16_000, "the network process has grown by {gained} kB");
    ensure!(lab.peer.handshakes() == (1, 0), "{}", lab.peer.log());
    Ok(())
}
