//! What must not be on the open wire.

use crate::client::{Client, OUTSIDE_V6, PROTECTED, VIRTUAL, VIRTUAL_V6, block_on, full, split};
use anyhow::{Context, Result, ensure};
use lab::net::{shell, until};
use lab::wire::Packet;
use postern_agent::network::Block;
use postern_agent::network::plan::{Places, Plan, plan};
use postern_agent::network::step::Purpose;
use postern_agent::platform;
use socket2::{Domain, Socket, Type};
use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

const MARK: u32 = 0x506f;

/// A UDP socket, sent from as the kernel routes it.
fn socket(bound: Option<&str>, marked: bool, device: Option<&str>, v6: bool) -> Result<Socket> {
    let socket = Socket::new(if v6 { Domain::IPV6 } else { Domain::IPV4 }, Type::DGRAM, None)?;
    if marked {
        socket.set_mark(MARK)?;
    }
    if let Some(device) = device {
        socket.bind_device(Some(device.as_bytes()))?;
    }
    if let Some(address) = bound {
        socket.bind(&SocketAddr::new(address.parse()?, 0).into())?;
    }
    Ok(socket)
}

fn send(socket: &Socket, to: &str) -> std::io::Result<usize> {
    let to: IpAddr = to.parse().map_err(std::io::Error::other)?;
    socket.send_to(b"should this be on the wire?", &SocketAddr::new(to, 9).into())
}

/// Sends a packet that may leave and waits until the tap has seen it: whatever was sent before
/// has then passed the tap as well, if it ever will.
fn flush(client: &Client, mark: usize) -> Result<Vec<Packet>> {
    let to: IpAddr = "10.99.0.1".parse()?;
    let probe = socket(None, true, None, false)?;
    send(&probe, "10.99.0.1")?;
    until("the last packet on the open wire", Duration::from_secs(10), || {
        let seen = client.wire.since(mark);
        Ok(seen.iter().any(|packet| packet.destination == Some(to)).then_some(seen))
    })
}

fn nothing_to(client: &Client, mark: usize, addresses: &[&str]) -> Result<()> {
    for packet in flush(client, mark)? {
        for address in addresses {
            let address: IpAddr = address.parse()?;
            ensure!(
                packet.destination != Some(address) && packet.source != Some(address),
                "{address} is on the open wire: {packet:?}"
            );
        }
    }
    Ok(())
}

pub fn lan_routes_lead_nowhere() -> Result<()> {
    let client = Client::new()?;
    block_on(async { client.settle(&client.plan(&full()).await?).await })?;
    // What a DHCP server with option 121, or a LAN with other people's addresses, puts there.
    shell("ip route add 10.98.0.0/25 via 10.99.0.1; ip route add 198.51.100.9/32 via 10.99.0.1 metric 1")?;
    let mark = client.wire.count();
    send(&socket(None, false, None, false)?, PROTECTED)?;
    send(&socket(None, false, None, false)?, "198.51.100.9")?;
    nothing_to(&client, mark, &[PROTECTED, "198.51.100.9"])?;
    lab::ping::once(&client.inside, VIRTUAL.parse()?, Duration::from_secs(5)).context("the tunnel itself")?;
    let marked = shell("ip route get 10.99.0.1 mark 0x506f")?;
    ensure!(marked.contains("dev eth0"), "{marked}");
    let unmarked = shell("ip route get 10.99.0.1")?;
    ensure!(unmarked.contains("dev postern0"), "only our own sockets reach the gateway outside: {unmarked}");
    Ok(())
}

pub fn crash_uncovers_block() -> Result<()> {
    let client = Client::new()?;
    for block in [Block::ProhibitRoutes, Block::Firewall] {
        block_on(async { client.settle(&client.plan(&split(block)?).await?).await })?;
        client.lose_device()?;
        let mark = client.wire.count();
        // Routes are not asked for a socket that is bound to a device; only the firewall is.
        let devices: &[_] = if block == Block::Firewall { &[None, Some("eth0")] } else { &[None] };
        for &device in devices {
            let error = send(&socket(None, false, device, false)?, PROTECTED).err();
            ensure!(
                error.as_ref().is_some_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied),
                "a socket bound to {device:?} was told {error:?}"
            );
        }
        send(&socket(None, false, None, false)?, "198.51.100.9").context("what was never protected")?;
        nothing_to(&client, mark, &[PROTECTED])?;
        block_on(client.settle(&Plan::default()))?;
        send(&socket(None, false, None, false)?, PROTECTED).context("after the dismissal")?;
        client.make_device()?;
    }
    Ok(())
}

/// A laptop that moves gets a new gateway while the tunnel or its block stands; whoever sets it
/// (with the device or without) must not be told that it is invalid, nor be led into the tunnel.
pub fn new_gateways_are_valid() -> Result<()> {
    let client = Client::new()?;
    for block in [Block::Open, Block::ProhibitRoutes, Block::Firewall] {
        block_on(async {
            let settings = postern_agent::network::TunnelNetworkSettings { block, ..full() };
            let plan = client.plan(&settings).await?;
            client.settle(&plan).await?;
            let change = || {
                shell(
                    "ip route replace default via 10.99.0.1
                     ip route | grep -q '^default via 10.99.0.1 dev eth0'
                     ip route del default
                     ip route add default via 10.99.0.1 dev eth0
                     ip -6 route del default
                     ip -6 route add default via fd99::1 dev eth0",
                )
            };
            change().with_context(|| format!("{block:?}: while the tunnel stands"))?;
            client.settle(&plan.keeping(&[Purpose::Guard, Purpose::Block])).await?;
            change().with_context(|| format!("{block:?}: after the tunnel"))?;
            client.settle(&Plan::default()).await
        })?;
    }
    Ok(())
}

pub fn ipv6_does_not_leak() -> Result<()> {
    let client = Client::new()?;
    shell(&format!("ping -6 -c 1 -W 10 {OUTSIDE_V6}")).context("before the tunnel")?;
    for block in [Block::Open, Block::ProhibitRoutes, Block::Firewall] {
        let mut settings = full();
        settings.block = block;
        block_on(async { client.settle(&client.plan(&settings).await?).await })?;
        let mark = client.wire.count();
        let error = send(&socket(None, false, None, true)?, OUTSIDE_V6).err();
        ensure!(
            error.as_ref().is_some_and(|error| error.kind() == std::io::ErrorKind::HostUnreachable),
            "{block:?}: programs should fall back at once, but were told {error:?}"
        );
        nothing_to(&client, mark, &[OUTSIDE_V6])?;
        block_on(client.settle(&Plan::default()))?;
    }
    Ok(())
}

pub fn bound_sockets_stay() -> Result<()> {
    let client = Client::new()?;
    shell("ping -6 -c 1 -W 10 fd99::1")?;
    let mut granted = client.granted()?;
    granted.addresses.push(VIRTUAL_V6.parse()?);
    granted.networks = vec!["10.98.0.0/24".parse()?, "2001:db8::/64".parse()?];
    let settings = postern_agent::network::TunnelNetworkSettings { block: Block::Open, ..full() };
    block_on(async {
        let plan = plan(&granted, &settings, &Places::default(), &platform::capabilities().await)?;
        client.settle(&plan).await?;
        // Sockets that live on when the tunnel is gone; one of them with our own mark, which
        // policy rules let pass, one bound to the open device, which routes do not decide.
        let sockets = [
            socket(Some(VIRTUAL), false, None, false)?,
            socket(Some(VIRTUAL), true, None, false)?,
            socket(Some(VIRTUAL), false, Some("eth0"), false)?,
            socket(Some(VIRTUAL_V6), false, None, true)?,
            socket(Some(VIRTUAL_V6), true, None, true)?,
            socket(Some(VIRTUAL_V6), false, Some("eth0"), true)?,
        ];
        let try_all = |moment: &str| -> Result<()> {
            let mark = client.wire.count();
            for (number, socket) in sockets.iter().enumerate() {
                for to in if number < 3 { ["10.98.0.10", "198.51.100.9"] } else { [OUTSIDE_V6, "fd99::1"] } {
                    // Refused or dropped: both are well, only the wire counts.
                    let _ = send(socket, to);
                }
            }
            nothing_to(&client, mark, &[VIRTUAL, VIRTUAL_V6, PROTECTED]).with_context(|| moment.to_owned())
        };
        try_all("while the tunnel stands")?;
        client.settle(&plan.keeping(&[Purpose::Guard, Purpose::Block])).await?;
        try_all("after the tunnel")?;
        client.lose_device()?;
        try_all("after the device")
    })
}

/// Everything is taken back at once, guard included, while connections over the tunnel still have
/// something to say: the kernel goes on trying to send it, from the tunnel's addresses.
pub fn connections_die_with_the_tunnel() -> Result<()> {
    let client = Client::new()?;
    // A leak must not wait for the neighbour to be found first, or it would go unseen.
    shell("ping -6 -c 1 -W 10 fd99::1")?;
    let mut granted = client.granted()?;
    granted.addresses.push(VIRTUAL_V6.parse()?);
    granted.networks = vec!["10.98.0.0/24".parse()?, "2001:db8::/64".parse()?];
    let settings = postern_agent::network::TunnelNetworkSettings { block: Block::Open, ..full() };
    block_on(async {
        let plan = plan(&granted, &settings, &Places::default(), &platform::capabilities().await)?;
        client.settle(&plan).await?;
        let server = client.inside.inside(|| Ok(TcpListener::bind("[::]:7000")?))?;
        let mut connections = Vec::new();
        let mut accepted = Vec::new();
        for to in [PROTECTED, OUTSIDE_V6] {
            let to = SocketAddr::new(to.parse()?, 7000);
            connections.push(TcpStream::connect_timeout(&to, Duration::from_secs(5)).with_context(|| to.to_string())?);
            accepted.push(server.accept()?);
        }
        client.settle(&Plan::default()).await?;
        let mark = client.wire.count();
        for mut connection in &connections {
            connection.set_nodelay(true)?;
            // Refused at once, or taken and tried: both are well, only the wire counts.
            let _ = connection.write(b"should this be on the wire?");
        }
        until("each connection that lives has tried again and again", Duration::from_secs(20), || {
            let standing = shell("ss -Htnoi state established dport = :7000")?;
            let (lives, tired) = (standing.matches("cwnd:").count(), standing.matches("backoff:").count());
            Ok((lives == tired).then_some(()))
        })?;
        nothing_to(&client, mark, &[VIRTUAL, VIRTUAL_V6])
    })
}

pub fn strangers_are_dropped() -> Result<()> {
    let client = Client::new()?;
    shell(&format!("ip -n open route add {VIRTUAL}/32 via 10.99.0.2"))?;
    block_on(async { client.settle(&client.plan(&split(Block::ProhibitRoutes)?).await?).await })?;
    // A neighbour on the link asks the tunnel's address whether it has a connection (CVE-2019-14899).
    let receiver = socket(Some(VIRTUAL), false, None, false)?;
    receiver.set_nonblocking(true)?;
    let port = receiver.local_addr()?.as_socket().context("an address")?.port();
    let from = |host: &lab::net::Host| {
        host.inside(|| {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
            socket.send_to(b"who is there", &SocketAddr::new(VIRTUAL.parse()?, port).into())?;
            Ok(())
        })
    };
    from(&client.open)?;
    until("the drop", Duration::from_secs(5), || {
        let counted = shell("nft list chain inet postern_guard arriving")?;
        Ok(counted.contains("counter packets 1 ").then_some(()))
    })?;
    from(&client.inside)?;
    let mut buffer = [std::mem::MaybeUninit::uninit(); 64];
    let sender =
        until("the packet through the tunnel", Duration::from_secs(5), || match receiver.recv_from(&mut buffer) {
            Ok((_, sender)) => Ok(sender.as_socket()),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.into()),
        })?;
    ensure!(sender.ip() == PROTECTED.parse::<IpAddr>()?, "the first packet to arrive was from {sender}");
    Ok(())
}

pub fn strict_reverse_path() -> Result<()> {
    let client = Client::new()?;
    shell("sysctl -qw net.ipv4.conf.eth0.rp_filter=1")?;
    block_on(async { client.settle(&client.plan(&full()).await?).await })?;
    let gateway = client.open.inside(|| {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
        socket.bind(&"10.99.0.1:4500".parse::<SocketAddr>()?.into())?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        Ok(std::net::UdpSocket::from(socket))
    })?;
    let ours = socket(None, true, None, false)?;
    ours.set_read_timeout(Some(Duration::from_secs(5)))?;
    ours.send_to(b"question", &"10.99.0.1:4500".parse::<SocketAddr>()?.into())?;
    let ours = std::net::UdpSocket::from(ours);
    let mut buffer = [0; 64];
    let (_, client_address) = gateway.recv_from(&mut buffer).context("the question")?;
    gateway.send_to(b"answer", client_address)?;
    let (length, _) = ours.recv_from(&mut buffer).context("the answer under rp_filter=1")?;
    ensure!(buffer.get(..length) == Some(b"answer".as_slice()));
    Ok(())
}
