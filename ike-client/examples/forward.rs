//! One end of a tunnel with fixed keys and without IKE: the data plane alone, to measure it or to
//! stand in for a gateway's. Both ends are started with the same suite and opposite sides.
//!
//! ```text
//! forward LOCAL:PORT PEER:PORT DEVICE MTU SUITE a|b
//! ```
//! The keys are known to everybody: nothing that matters may travel here.

use ike_client::crypto::Secret;
use ike_client::crypto::keys::DirectionKeys;
use ike_client::crypto::suite::EspSuite;
use ike_client::crypto::transform::Integrity;
use ike_client::esp::selector::{Selector, Selectors};
use ike_client::esp::{EspSpi, InboundSa, OutboundSa, WindowSize};
use ike_client::tunnel::device::Device;
use ike_client::tunnel::esp::EspEncapsulation;
use ike_client::tunnel::gate::Gate;
use ike_client::tunnel::link::Link;
use ike_client::tunnel::plane::DataPlane;
use ike_client::tunnel::{clock, tally::Tally};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [local, peer, device, mtu, suite, side] = arguments.as_slice() else {
        return Err("usage: forward LOCAL:PORT PEER:PORT DEVICE MTU SUITE a|b".into());
    };
    let (local, peer): (SocketAddr, SocketAddr) = (local.parse()?, peer.parse()?);
    let suite: EspSuite = suite.parse()?;
    let (ours, theirs) = if side == "a" { (0x1000_0001, 0x1000_0002) } else { (0x1000_0002, 0x1000_0001) };
    let everywhere = |first: &str, last: &str| -> Result<Selector, std::net::AddrParseError> {
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
    let socket: UdpSocket = ike_client::tunnel::socket::bound(local, peer, 0)?;
    let (gate, tally) = (Arc::new(Gate::new()), Arc::new(Tally::default()));
    let (_plane, mut told) = DataPlane::start(
        &device,
        Arc::new(Link::udp(socket, peer)?),
        Arc::new(esp),
        Arc::clone(&gate),
        Arc::clone(&tally),
    )?;
    loop {
        gate.grant(clock::now() + Duration::from_secs(5));
        std::thread::sleep(Duration::from_secs(1));
        if let Ok(failure) = told.try_recv() {
            return Err(format!("{failure:?}; {:?}", tally.read()).into());
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
