//! Sockets that outlive the tunnel, and what they can still send.

use crate::hostile_link::Router;
use crate::{PSK, TUNNEL, gateway, known_by};
use anyhow::{Context, Result, ensure};
use lab::client::Endpoint;
use lab::net::until;
use lab::roadwarrior::{CORPORATE, LIMIT, Network, connect, nothing_is_left, wait_for};
use lab::strongswan::{Gateway, Settings};
use lab::wire::{Packet, Tap};
use postern_api::ConnectionState;
use socket2::{Domain, Socket, Type};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

const CORPORATE_V6: &str = "fd98::1";
/// Somewhere behind the default route that no tunnel ever protected.
const ELSEWHERE: &str = "198.51.100.77";
const ELSEWHERE_V6: &str = "2001:db8::77";

/// An endpoint in a tunnel of both families, and programs that hold its addresses.
struct Stage {
    network: Network,
    endpoint: Endpoint,
    tap: Tap,
    marker: PathBuf,
    inside: Vec<IpAddr>,
    left_over: Vec<(String, Socket)>,
    _gateway: Gateway,
}

impl Stage {
    fn new(after_loss: &str) -> Result<Self> {
        let network = Network::new()?;
        let both = gateway();
        let connections = both.connections.replace("pools = p4", "pools = p4, p6");
        let connections = connections.replace("local_ts = 10.98.0.0/24", "local_ts = 10.98.0.0/24, fd98::/64");
        let gateway = network.strongswan(&Settings { connections, ..both })?;
        // Whatever is let out in the clear has a way to go, and neighbours to be handed to.
        network.client.shell(
            "ip route add default via 10.99.0.2; ip -6 route add default via fd99::2
             ping -c 1 -W 10 10.99.0.2; ping -6 -c 1 -W 10 fd99::2",
        )?;
        let marker = network.folder.join("marker");
        std::fs::write(&marker, "this device is known\n")?;
        let tunnel = format!("after_loss = \"{after_loss}\"\n{TUNNEL}[network]\nipv6 = true\n{}", known_by(&marker));
        let endpoint = network.endpoint(&tunnel, &[("psk", PSK)])?;
        let inside = connect(&endpoint)?.addresses;
        ensure!(inside.len() == 2, "an address of each family: {inside:?}");
        let tap = Tap::open(&network.client, "wan0")?;
        let left_over = network.client.inside(|| sockets(&inside))?;
        Ok(Self { network, endpoint, tap, marker, inside, left_over, _gateway: gateway })
    }

    /// Starts the service again and waits until it tells whoever waits for it (the network, at boot)
    /// that it is ready.
    fn restart(&mut self) -> Result<()> {
        let ready = |endpoint: &Endpoint| endpoint.log().matches("service::start: ready").count();
        let before = ready(&self.endpoint);
        self.endpoint.start()?;
        until("the service to be ready", LIMIT, || Ok((ready(&self.endpoint) > before).then_some(())))
    }

    fn lose_compliance(&self) -> Result<()> {
        lab::roadwarrior::lose_compliance(&self.endpoint, &self.marker)
    }

    /// Everybody sends; returns what was on the wire until a packet that may always leave.
    fn everybody_sends(&self) -> Result<Vec<Packet>> {
        let mark = self.tap.count();
        for (_, socket) in &self.left_over {
            let v6 = socket.local_addr()?.is_ipv6();
            for to in if v6 { [CORPORATE_V6, ELSEWHERE_V6] } else { [CORPORATE, ELSEWHERE] } {
                // Refused or dropped: both are well, only the wire counts.
                let _ = socket.send_to(b"should this be on the wire?", &SocketAddr::new(to.parse()?, 9).into());
            }
        }
        let last: IpAddr = "10.99.0.2".parse()?;
        self.network.client.inside(|| {
            let probe = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
            probe.send_to(b"the last one, of a length of its own", &SocketAddr::new(last, 9).into())?;
            Ok(())
        })?;
        until("the last packet on the wire", LIMIT, || {
            let seen = self.tap.since(mark);
            let passed = seen.iter().any(|packet| packet.destination == Some(last) && is_plain(packet));
            Ok(passed.then_some(seen))
        })
    }

    /// Nothing has a source of the tunnel, and, where it is protected, nothing is for its networks.
    fn silence(&self, moment: &str, protected: bool) -> Result<()> {
        let corporate: [IpAddr; 2] = [CORPORATE.parse()?, CORPORATE_V6.parse()?];
        let leaked = self.everybody_sends()?.into_iter().find(|packet| {
            packet.source.is_some_and(|at| self.inside.contains(&at))
                || protected && packet.destination.is_some_and(|at| corporate.contains(&at))
        });
        ensure!(leaked.is_none(), "{moment}: on the wire in the clear: {leaked:?}\n{}", self.endpoint.log());
        Ok(())
    }
}

fn is_plain(packet: &Packet) -> bool {
    matches!(packet.kind, lab::wire::Kind::Other)
}

/// A socket on each of the tunnel's addresses, connected ones too, and one on the open interface.
fn sockets(inside: &[IpAddr]) -> Result<Vec<(String, Socket)>> {
    let mut made = Vec::new();
    for address in inside {
        let (domain, to) = match address {
            IpAddr::V4(_) => (Domain::IPV4, CORPORATE),
            IpAddr::V6(_) => (Domain::IPV6, CORPORATE_V6),
        };
        for connected in [false, true] {
            let socket = Socket::new(domain, Type::DGRAM, None)?;
            socket.bind(&SocketAddr::new(*address, 0).into())?;
            if connected {
                socket.connect(&SocketAddr::new(to.parse()?, 9).into())?;
            }
            made.push((format!("bound to {address}, connected: {connected}"), socket));
        }
        let device = Socket::new(domain, Type::DGRAM, None)?;
        device.bind_device(Some(b"wan0"))?;
        let any: IpAddr = if address.is_ipv4() { "0.0.0.0".parse()? } else { "::".parse()? };
        device.bind(&SocketAddr::new(any, 0).into())?;
        made.push((format!("bound to wan0, as {any}"), device));
    }
    Ok(made)
}

pub fn restored() -> Result<()> {
    let mut stage = Stage::new("restore")?;
    stage.lose_compliance()?;
    stage.silence("after the loss", false)?;
    let rules = stage.network.client.shell("nft list tables; ip -6 rule")?;
    ensure!(rules.contains("postern_guard"), "the guard stands as long as somebody could send: {rules}");
    // A new life of the service finds them as well.
    stage.endpoint.kill();
    stage.restart()?;
    stage.silence("after a restart", false)?;
    stage.left_over.clear();
    until("everything to be taken back", LIMIT, || Ok(nothing_is_left(&stage.network).is_ok().then_some(())))
        .with_context(|| stage.endpoint.log())
}

pub fn blocked() -> Result<()> {
    let mut stage = Stage::new("block_protected_prefixes")?;
    stage.lose_compliance()?;
    wait_for(&stage.endpoint, ConnectionState::Blocked)?;
    stage.silence("after the loss", true)?;

    // The next hop claims what the tunnel protected.
    let router = Router {
        host: &stage.network.gateway,
        client: &stage.network.client,
        addresses: ("10.99.0.1".parse()?, "fd99::1".parse()?),
    };
    router.claims("fd98::".parse()?, CORPORATE_V6.parse()?)?;
    stage.silence("after the router's advertisement", true)?;
    router.redirects((CORPORATE.parse()?, CORPORATE_V6.parse()?), "10.99.0.3".parse()?)?;
    stage.silence("after the router's redirects", true)?;
    // Another program clears the packet filter: what is ours of it is back long before the next look.
    stage.network.client.shell("nft flush ruleset")?;
    until("the block to be back", Duration::from_secs(10), || {
        let tables = stage.network.client.shell("nft list tables")?;
        Ok((tables.contains("postern_guard") && tables.contains("postern_block")).then_some(()))
    })
    .with_context(|| stage.endpoint.log())?;
    stage.silence("after the packet filter was cleared", true)?;

    stage.endpoint.kill();
    stage.silence("while the service is dead", true)?;
    stage.restart()?;
    wait_for(&stage.endpoint, ConnectionState::Blocked)?;
    stage.silence("after a restart", true)?;

    // A boot takes rules, routes and tables with it, and has another name.
    stage.endpoint.kill();
    stage.network.client.shell(
        "nft flush ruleset; ip rule flush protocol 80; ip -6 rule flush protocol 80
         ip route flush table 20592; ip -6 route flush table 20592",
    )?;
    let open = stage.everybody_sends()?;
    let corporate: IpAddr = CORPORATE.parse()?;
    ensure!(
        open.iter().any(|packet| packet.destination == Some(corporate)),
        "this test could not see a leak: {open:?}"
    );
    let boot = stage.network.folder.join("boot_id");
    std::fs::write(&boot, "6f1d2c3b-0000-4000-8000-0123456789ab\n")?;
    lab::net::shell(&format!("mount --bind {} /proc/sys/kernel/random/boot_id", boot.display()))?;
    stage.restart()?;
    wait_for(&stage.endpoint, ConnectionState::Blocked)?;
    stage.silence("after a reboot", true)?;

    stage.endpoint.expect(0, &["disconnect", "--dismiss", "work"])?;
    let open = stage.everybody_sends()?;
    for way in [corporate, CORPORATE_V6.parse()?] {
        ensure!(open.iter().any(|packet| packet.destination == Some(way)), "dismissed, and still blocked: {open:?}");
    }
    stage.left_over.clear();
    until("everything to be taken back", LIMIT, || Ok(nothing_is_left(&stage.network).is_ok().then_some(())))
        .with_context(|| stage.endpoint.log())
}
