//! One end of a tunnel with fixed keys and without IKE: our data plane alone, to measure it or to
//! stand in for a gateway's. Both ends are started with the same suite and opposite sides.
//!
//! ```text
//! lab-forward LOCAL:PORT PEER:PORT DEVICE MTU SUITE a|b udp|tcp
//! ```
//! With `tcp` side `b` listens and side `a` connects. The keys are known to everybody: nothing that
//! matters may travel here.

use anyhow::{Context, Result, bail};
use ike_client::crypto::Secret;
use ike_client::crypto::keys::DirectionKeys;
use ike_client::crypto::suite::EspSuite;
use ike_client::crypto::transform::Integrity;
use ike_client::esp::selector::{Selector, Selectors};
use ike_client::esp::{EspSpi, InboundSa, OutboundSa, WindowSize};
use ike_client::tunnel::device::Device;
use ike_client::tunnel::esp::EspEncapsulation;
use ike_client::tunnel::gate::Gate;
use ike_client::tunnel::link::{Link, StreamLink};
use ike_client::tunnel::plane::{DataPlane, FromPlane};
use ike_client::tunnel::{clock, tally::Tally};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// How long the lease runs: nothing here would renew it in time to be measured.
const LEASE: Duration = Duration::from_secs(24 * 60 * 60);

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [local, peer, device, mtu, suite, side, carrier] = arguments.as_slice() else {
        bail!("usage: lab-forward LOCAL:PORT PEER:PORT DEVICE MTU SUITE a|b udp|tcp");
    };
    let (local, peer): (SocketAddr, SocketAddr) = (local.parse()?, peer.parse()?);
    let suite: EspSuite = suite.parse().with_context(|| suite.clone())?;
    let (ours, theirs) = if side == "a" { (0x1000_0001, 0x1000_0002) } else { (0x1000_0002, 0x1000_0001) };
    let everywhere = |first: &str, last: &str| -> Result<Selector> {
        Ok(Selector::addresses(first.parse::<IpAddr>()?..=last.parse::<IpAddr>()?))
    };
    let all =
        vec![everywhere("0.0.0.0", "255.255.255.255")?, everywhere("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")?];
    let selectors = Arc::new(Selectors { local: all.clone(), remote: all });
    let esp = EspEncapsulation::default();
    let outbound = OutboundSa::new(EspSpi(theirs), &suite, &keys(&suite, theirs), Arc::clone(&selectors))?;
    let inbound = InboundSa::new(EspSpi(ours), &suite, &keys(&suite, ours), selectors, WindowSize::default())?;
    esp.install(outbound, inbound, false);

    let device = Device::create(device, mtu.parse()?)?;
    let link = match carrier.as_str() {
        "udp" => Link::udp(ike_client::tunnel::socket::bound(local, peer, 0)?, peer)?,
        "tcp" => Link::Stream(StreamLink::new(stream(local, peer, side == "a")?)?),
        other => bail!("{other} is no carrier: udp or tcp"),
    };
    let (gate, tally) = (Arc::new(Gate::new()), Arc::new(Tally::default()));
    gate.grant(clock::now() + LEASE);
    let (_plane, mut told) = DataPlane::start(&device, Arc::new(link), Arc::new(esp), gate, Arc::clone(&tally))?;
    while let Some(word) = told.blocking_recv() {
        if matches!(word, FromPlane::DeviceFailed(_) | FromPlane::LinkFailed(_)) {
            bail!("{word:?}; {:?}", tally.read());
        }
    }
    Ok(())
}

/// Connects to the other end, or lets it connect; tries as long as nobody is there.
fn stream(local: SocketAddr, peer: SocketAddr, connects: bool) -> Result<TcpStream> {
    if !connects {
        let stream = TcpListener::bind(local)?.accept()?.0;
        stream.set_nodelay(true)?;
        return Ok(stream);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    loop {
        match runtime.block_on(ike_client::tunnel::socket::connect(peer, 0)) {
            Ok(stream) => return Ok(stream.into_std()?),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Keys that follow from the SPI.
fn keys(suite: &EspSuite, spi: u32) -> DirectionKeys {
    let octets = |length: usize| Secret::new(spi.to_be_bytes().into_iter().cycle().take(length).collect());
    DirectionKeys {
        encryption: octets(suite.encryption.key_material_length()),
        integrity: octets(suite.integrity.map_or(0, Integrity::key_length)),
    }
}
