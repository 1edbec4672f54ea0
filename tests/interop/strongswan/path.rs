//! A path whose middle takes less than its ends, and changes while data moves:
//!
//! ```text
//! client ──── near ──(narrow)── far ──── gateway ──── corporate
//! ```
//! A router that speaks says by ICMP what it takes, and cuts packets of IPv4 that may be cut. One that is
//! silent says nothing, and lets no fragment pass either: a black hole.

use crate::gateways::{PSK, PSK_TUNNEL, psk_gateway};
use anyhow::{Context, Result, ensure};
use lab::client::Endpoint;
use lab::http::fixed_bytes;
use lab::net::{Host, Running, until, wire};
use lab::roadwarrior::{CORPORATE, LIMIT, Network, connect, transfer, work};
use lab::strongswan::Gateway;
use lab::wire::{Kind, Tap, digest_of};
use postern_api::ConnectionState;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;

/// The first hop's size less IP, UDP and ESP would be more; this is the most that is chosen unasked.
const WIDEST: u16 = 1400;
/// IP, UDP and ESP around a packet that fills a path of IPv4; IPv6's header has twenty octets more.
const AROUND: u16 = 20 + 8 + 16 + 2 + 16;

/// The road warrior's network with two routers between client and gateway.
struct Way {
    network: Network,
    near: Host,
    far: Host,
    ipv6: bool,
}

impl Way {
    fn new(ipv6: bool) -> Result<Self> {
        let network = Network::new()?;
        let (near, far) = (Host::new("near")?, Host::new("far")?);
        network.client.shell("ip link del wan0")?;
        let (client, gateway) = (&network.client, &network.gateway);
        wire((client, "wan0", "10.99.0.1/24 fd99::1/64"), (&near, "left", "10.99.0.254/24 fd99::fe/64"))?;
        wire((&near, "right", "10.99.5.1/24 fd99:5::1/64"), (&far, "left", "10.99.5.2/24 fd99:5::2/64"))?;
        wire((&far, "right", "10.99.1.254/24 fd99:1::fe/64"), (gateway, "wan0", "10.99.1.2/24 fd99:1::2/64"))?;
        for (host, routes) in [
            (client, "ip route add 10.99.0.2 via 10.99.0.254; ip -6 route add fd99::2 via fd99::fe"),
            (&near, "ip route add 10.99.0.2 via 10.99.5.2; ip -6 route add fd99::2 via fd99:5::2"),
            (
                &far,
                "ip route add 10.99.0.2 via 10.99.1.2; ip route add 10.99.0.0/24 via 10.99.5.1
                 ip -6 route add fd99::2 via fd99:1::2; ip -6 route add fd99::/64 via fd99:5::1",
            ),
            (
                gateway,
                "ip address add 10.99.0.2 dev lo; ip route add 10.99.0.0/24 via 10.99.1.254
                 ip -6 address add fd99::2 dev lo nodad; ip -6 route add fd99::/64 via fd99:1::fe",
            ),
        ] {
            host.shell(&format!(
                "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding\n{routes}"
            ))?;
        }
        let hosts = if ipv6 { "fd99::2 vpn.example.test\n" } else { "10.99.0.2 vpn.example.test\n" };
        client.etc("hosts", &format!("127.0.0.1 localhost\n{hosts}"))?;
        Ok(Self { network, near, far, ipv6 })
    }

    /// Says nothing from now on, and lets no fragment pass.
    fn silence(&self) -> Result<()> {
        for host in [&self.near, &self.far] {
            host.shell(
                "nft 'table inet silent {
                    chain out { type filter hook output priority 0;
                        ip protocol icmp drop; icmpv6 type packet-too-big drop; };
                    chain in { type filter hook prerouting priority -450;
                        ip frag-off & 0x3fff != 0 drop; exthdr frag exists drop; }; }'",
            )?;
        }
        Ok(())
    }

    /// Makes the middle take packets of that size.
    fn takes(&self, size: u16) -> Result<()> {
        self.near.shell(&format!("ip link set right mtu {size}"))?;
        self.far.shell(&format!("ip link set left mtu {size}")).map(drop)
    }

    /// Starts gateway and endpoint, and connects.
    fn connected(&self, settings: &str) -> Result<(Gateway, Endpoint)> {
        let gateway = self.network.strongswan(&psk_gateway())?;
        let endpoint = self.network.endpoint(&format!("{PSK_TUNNEL}{settings}"), &[("psk", PSK)])?;
        connect(&endpoint).with_context(|| gateway.log())?;
        Ok((gateway, endpoint))
    }

    /// Waits until the device has the size that fits.
    fn fits(&self, path: u16) -> Result<()> {
        let most = (path - AROUND - if self.ipv6 { 20 } else { 0 }).min(WIDEST);
        let fits = |mtu: u16| mtu <= most && most - mtu < 12;
        until(&format!("the size that fits {path}"), LIMIT, || Ok(fits(device_mtu(&self.network)?).then_some(())))
    }
}

fn device_mtu(network: &Network) -> Result<u16> {
    let shown = network.client.shell("cat /sys/class/net/postern0/mtu")?;
    shown.trim().parse().with_context(|| shown.clone())
}

/// A download, or an upload, that goes on beside what the scenario does.
struct Transfer {
    running: Running,
    size: usize,
    into: std::path::PathBuf,
}

impl Transfer {
    fn start(network: &Network, name: &str, arguments: &[&str], size: usize) -> Result<Self> {
        let into = network.folder.join(name);
        let mut command = network.client.command("curl");
        // At a rate that makes it last, so that something can happen meanwhile.
        command.args(["-sS", "--max-time", "100", "--limit-rate", "1500k"]).args(arguments);
        command.stdout(Stdio::from(std::fs::File::create(&into)?));
        Ok(Self { running: Running::start(name, &mut command)?, size, into })
    }

    fn download(network: &Network, size: usize) -> Result<Self> {
        Self::start(network, "down", &[&format!("http://{CORPORATE}/bytes/{size}")], size)
    }

    fn upload(network: &Network, size: usize) -> Result<Self> {
        let source = network.folder.join("source");
        let mut file = std::fs::File::create(&source)?;
        let chunk = fixed_bytes(65_536);
        for at in (0..size).step_by(chunk.len()) {
            file.write_all(chunk.get(..chunk.len().min(size - at)).unwrap_or_default())?;
        }
        Self::start(network, "up", &["-T", &source.to_string_lossy(), &format!("http://{CORPORATE}/sink")], size)
    }

    /// Waits for its end, and compares what arrived.
    fn finish(mut self, network: &Network) -> Result<()> {
        let status = self.running.wait(Duration::from_secs(90))?;
        ensure!(status.success(), "the transfer failed: {status}");
        let came = std::fs::read(&self.into)?;
        if came.len() == self.size {
            let chunk = fixed_bytes(65_536);
            ensure!(came.chunks(chunk.len()).all(|part| chunk.starts_with(part)), "other octets than were sent");
            return Ok(());
        }
        let (digest, _) = digest_of(std::fs::File::open(network.folder.join("source"))?)?;
        ensure!(came == format!("{} {digest}\n", self.size).as_bytes(), "other octets than were sent");
        Ok(())
    }
}

/// The middle becomes narrow while data moves both ways, and may become wide again.
fn falls(ipv6: bool, silent: bool, rises: bool) -> Result<()> {
    let way = Way::new(ipv6)?;
    if silent {
        way.silence()?;
    }
    let network = &way.network;
    let (gateway, endpoint) = way.connected("")?;
    way.fits(1500)?;
    // Much more than what buffers on the way hold when nothing moves.
    let down = Transfer::download(network, 6_000_000)?;
    let up = Transfer::upload(network, 6_000_000)?;
    until("data on its way", LIMIT, || Ok((std::fs::metadata(&down.into)?.len() > 1_000_000).then_some(())))?;
    way.takes(1400)?;
    (|| {
        if silent || ipv6 {
            // What is too large is gone until it is smaller; a router of IPv4 that speaks cuts it.
            way.fits(1400)?;
        }
        down.finish(network)?;
        up.finish(network)?;
        if rises {
            let _more = Transfer::download(network, 60_000_000)?;
            way.takes(1500)?;
            way.fits(1500)?;
        }
        transfer(network, CORPORATE.parse()?, 2)
    })()
    .with_context(|| endpoint.log())?;
    ensure!(work(&endpoint)?.state == ConnectionState::Connected);
    ensure!(gateway.established()? == 1, "{}", gateway.swanctl(&["--list-sas"])?);
    Ok(())
}

pub fn black_hole_over_ipv4() -> Result<()> {
    falls(false, true, true)
}

pub fn black_hole_over_ipv6() -> Result<()> {
    falls(true, true, false)
}

pub fn spoken_over_ipv4() -> Result<()> {
    falls(false, false, false)
}

pub fn spoken_over_ipv6() -> Result<()> {
    falls(true, false, false)
}

/// A black hole that is narrower than all that IPv6 has, from the start; nothing is set by hand.
pub fn narrow_from_the_start() -> Result<()> {
    let way = Way::new(false)?;
    way.silence()?;
    way.takes(1000)?;
    let (_gateway, endpoint) = way.connected("")?;
    way.fits(1000).with_context(|| endpoint.log())?;
    // The gateway's device knows nothing of the path; connections are made to fit by this side.
    transfer(&way.network, CORPORATE.parse()?, 2).with_context(|| endpoint.log())
}

/// IPv6 inside wants more than the narrowest path of IPv6 has room for: packets are cut outside.
pub fn ipv6_in_the_narrowest_ipv6() -> Result<()> {
    let way = Way::new(true)?;
    way.takes(1280)?;
    let (_gateway, endpoint) = way.connected("[network]\nipv6 = true\n")?;
    let inside: IpAddr = "fd98::1".parse()?;
    until("the smallest that IPv6 allows", LIMIT, || Ok((device_mtu(&way.network)? == 1280).then_some(())))?;
    transfer(&way.network, inside, 2).with_context(|| endpoint.log())
}

/// Makes "too big" as a router in the middle would, about a datagram from the client to the gateway.
fn too_big(from: SocketAddr, to: SocketAddr, size: u16) -> Vec<u8> {
    let (own, its) = (from.port().to_be_bytes(), to.port().to_be_bytes());
    let udp = [own[0], own[1], its[0], its[1], 5, 0, 0, 0];
    let [high, low] = size.to_be_bytes();
    let mut message = match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let mut message = vec![3, 4, 0, 0, 0, 0, high, low];
            message.extend([0x45, 0, 5, 20, 0, 0, 0x40, 0, 64, 17, 0, 0]);
            message.extend(from.octets());
            message.extend(to.octets());
            message
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let mut message = vec![2, 0, 0, 0, 0, 0, high, low];
            message.extend([0x60, 0, 0, 0, 5, 0, 17, 64]);
            message.extend(from.octets());
            message.extend(to.octets());
            message
        }
        _ => Vec::new(),
    };
    message.extend(udp);
    // The kernel sums up ICMPv6 itself.
    if from.is_ipv4() {
        let words =
            message.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)));
        let mut sum: u32 = words.sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        let [high, low] = (!u16::try_from(sum).unwrap_or(0)).to_be_bytes();
        (message[2], message[3]) = (high, low);
    }
    message
}

/// Nobody's word makes packets smaller, however well he knows the tunnel's ports.
fn forged(ipv6: bool) -> Result<()> {
    let way = Way::new(ipv6)?;
    let network = &way.network;
    let (_gateway, endpoint) = way.connected("")?;
    way.fits(1500)?;
    let (own, gateway): (IpAddr, IpAddr) =
        if ipv6 { ("fd99::1".parse()?, "fd99::2".parse()?) } else { ("10.99.0.1".parse()?, "10.99.0.2".parse()?) };
    let sockets = network.client.shell("ss -Huan")?;
    let ports: Vec<u16> = sockets
        .lines()
        .filter_map(|line| line.split_whitespace().nth(3)?.rsplit(':').next()?.parse().ok())
        .filter(|port| *port > 1024)
        .collect();
    ensure!(ports.len() >= 2, "{sockets}");
    way.near.inside(|| {
        let (domain, protocol) = if ipv6 { (Domain::IPV6, Protocol::ICMPV6) } else { (Domain::IPV4, Protocol::ICMPV4) };
        let socket = Socket::new(domain, Type::RAW, Some(protocol)).context("a raw socket")?;
        for port in &ports {
            for (to, size) in [(4500, 576), (4500, 1280), (500, 576), (4500, 68), (4500, 0)] {
                let message = too_big(SocketAddr::new(own, *port), SocketAddr::new(gateway, to), size);
                socket.send_to(&message, &SocketAddr::new(own, 0).into()).context("forging")?;
            }
        }
        Ok(())
    })?;
    let heard = network.client.shell("nstat -az IcmpInDestUnreachs Icmp6InPktTooBigs")?;
    ensure!(heard.lines().any(|line| line.split_whitespace().nth(1).is_some_and(|count| count != "0")), "{heard}");
    let route = network.client.shell(&format!("ip route get {gateway}"))?;
    ensure!(!route.contains("mtu"), "the kernel believes it: {route}");
    let tap = Tap::open(&network.client, "wan0")?;
    transfer(network, CORPORATE.parse()?, 2).with_context(|| endpoint.log())?;
    ensure!(device_mtu(network)? == WIDEST);
    let longest =
        tap.packets().iter().filter(|packet| packet.outgoing && packet.kind == Kind::EspInUdp).map(|p| p.length).max();
    ensure!(longest.is_some_and(|length| length > 1400), "{longest:?}");
    let cut = network.client.shell("nstat -az IpFragCreates Ip6FragCreates")?;
    ensure!(cut.lines().skip(1).all(|line| line.split_whitespace().nth(1) == Some("0")), "{cut}");
    Ok(())
}

pub fn forged_over_ipv4() -> Result<()> {
    forged(false)
}

pub fn forged_over_ipv6() -> Result<()> {
    forged(true)
}
