//! One end of our WireGuard with keys that everybody knows: handshakes, and our data plane behind them, to
//! measure it. Both ends are started alike, on opposite sides; side `a` begins.
//!
//! ```text
//! lab-wireguard LOCAL:PORT PEER:PORT DEVICE MTU wireguard a|b
//! ```
//! Nothing that matters may travel here.

use anyhow::{Result, bail};
use boringtun::noise::Tunn;
use boringtun::x25519::{PublicKey, StaticSecret};
use ike_client::esp::selector::{Selector, Selectors};
use ike_client::tunnel::device::Device;
use ike_client::tunnel::encapsulation::{Encapsulation, EncapsulationEvent};
use ike_client::tunnel::gate::Gate;
use ike_client::tunnel::link::Link;
use ike_client::tunnel::plane::{DataPlane, FromPlane};
use ike_client::tunnel::wireguard::WireGuardEncapsulation;
use ike_client::tunnel::{clock, socket, tally::Tally};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// How long the lease runs: nothing here would renew it in time to be measured.
const LEASE: Duration = Duration::from_secs(24 * 60 * 60);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [local, peer, device, mtu, _, side] = arguments.as_slice() else {
        bail!("usage: lab-wireguard LOCAL:PORT PEER:PORT DEVICE MTU wireguard a|b");
    };
    let (local, peer): (SocketAddr, SocketAddr) = (local.parse()?, peer.parse()?);
    let begins = side == "a";
    let (own, other) = if begins { (1, 2) } else { (2, 1) };
    let secret = |octet: u8| StaticSecret::from([octet; 32]);
    let tunn = Tunn::new(secret(own), PublicKey::from(&secret(other)), None, None, own.into(), None);
    let everywhere = |first: &str, last: &str| -> Result<Selector> {
        Ok(Selector::addresses(first.parse::<IpAddr>()?..=last.parse::<IpAddr>()?))
    };
    let all =
        vec![everywhere("0.0.0.0", "255.255.255.255")?, everywhere("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")?];
    let wireguard = Arc::new(WireGuardEncapsulation::new(tunn, None, Selectors { local: all.clone(), remote: all }));
    if begins {
        wireguard.initiate(false);
    }
    let device = Device::create(device, mtu.parse()?)?;
    let socket = socket::bound(local, peer, 0)?;
    let link = Arc::new(Link::udp(socket.try_clone()?, peer)?);
    let (gate, tally) = (Arc::new(Gate::new()), Arc::new(Tally::default()));
    gate.grant(clock::now() + LEASE);
    let (plane, mut told) = DataPlane::start(&device, link, Arc::clone(&wireguard) as _, gate, Arc::clone(&tally))?;
    loop {
        while let Some(event) = wireguard.poll_event() {
            match event {
                EncapsulationEvent::Transmit(message) => drop(socket.send_to(&message, peer)?),
                EncapsulationEvent::SessionUp => plane.send_held(),
                _ => {}
            }
        }
        let due = wireguard.poll_timeout().map_or(LEASE, |due| due.saturating_since(clock::now()));
        match tokio::time::timeout(due, told.recv()).await {
            Ok(Some(word @ (FromPlane::DeviceFailed(_) | FromPlane::LinkFailed(_)))) => {
                bail!("{word:?}; {:?}", tally.read())
            }
            Ok(_) => {}
            Err(_) => wireguard.handle_timeout(clock::now()),
        }
    }
}
