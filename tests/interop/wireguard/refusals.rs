//! Where a WireGuard tunnel does not come up, or may not stay.

use crate::Lab;
use anyhow::{Result, ensure};
use lab::net::{Running, until};
use lab::roadwarrior::{CORPORATE, LIMIT, connect, nothing_is_left, wait_for};
use lab::wire::{Kind, Tap, boottime_ns};
use lab::wireguard::KeyPair;
use postern_api::ConnectionState;
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
    ensure!(code == 16 && (stdout.clone() + &stderr).contains("mode 644"), "{code}: {stdout}{stderr}");
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
