//! A tunnel by WireGuard: the second engine, behind the same gate, lease and order of ending.
//!
//! WireGuard has no farewell: once the data plane is shut the tunnel has ended.

use super::traffic::Traffic;
use super::{End, Owner, look_up};
use crate::crypto::Secret;
use crate::esp::selector::{Selector, Selectors};
use crate::session::CloseCause;
use crate::tunnel::alarm::Alarm;
use crate::tunnel::clock;
use crate::tunnel::control::{
    Carrier, Command, EndCause, EstablishedTunnel, Event, Progress, Protection, WireGuardConfiguration,
};
use crate::tunnel::device::Device;
use crate::tunnel::encapsulation::{Encapsulation, EncapsulationEvent};
use crate::tunnel::established;
use crate::tunnel::link::Link;
use crate::tunnel::plane::FromPlane;
use crate::tunnel::socket::{self, Sockets};
use crate::tunnel::wireguard::WireGuardEncapsulation;
use crate::{Random, SystemRandom, Timestamp};
use boringtun::noise::Tunn;
use boringtun::x25519::{PublicKey, StaticSecret};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use zeroize::Zeroizing;

/// How long the first handshake may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Shakes hands with the peer, then moves packets until told to stop.
pub async fn connect(
    tunnel: &WireGuardConfiguration,
    private_key: &Secret,
    preshared_key: Option<&Secret>,
    commands: &mut mpsc::Receiver<Command>,
    owner: &mut Owner,
) -> End {
    let peer = match peer(tunnel, private_key, preshared_key) {
        Ok(peer) => Arc::new(peer),
        Err(what) => return CloseCause::ConfigurationUnusable { what: what.to_owned() }.into(),
    };
    let gateway = match look_up((&tunnel.gateway, tunnel.port, tunnel.family), commands, owner).await {
        Ok(gateways) => gateways.first().copied(),
        Err(cause) => return cause.into(),
    };
    let Some(gateway) = gateway else { return CloseCause::NoAnswer.into() };
    owner.outbox.put(Event::Progress { step: Progress::Contacting { gateway } });
    match Engine::new(tunnel, gateway, peer, owner) {
        Ok(engine) => engine.run(commands, owner).await,
        Err(error) => EndCause::Network { error: error.to_string() }.into(),
    }
}

fn peer(
    tunnel: &WireGuardConfiguration,
    private_key: &Secret,
    preshared_key: Option<&Secret>,
) -> Result<WireGuardEncapsulation, &'static str> {
    let array = |secret: &Secret| <[u8; 32]>::try_from(secret.expose()).map(Zeroizing::new);
    let private = array(private_key).map_err(|_| "the private key does not have 32 octets")?;
    let preshared = preshared_key.map(array).transpose().map_err(|_| "the pre-shared key does not have 32 octets")?;
    let mut index = [0; 4];
    SystemRandom.fill(&mut index).map_err(|_| "the operating system has no randomness")?;
    let tunn = Tunn::new(
        StaticSecret::from(*private),
        PublicKey::from(tunnel.peer_public_key),
        preshared.map(|key| *key),
        tunnel.keepalive_seconds,
        // boringtun keeps the lower eight bits for itself.
        u32::from_ne_bytes(index) >> 8,
        None,
    );
    let selectors = |networks: &[ipnet::IpNet]| {
        networks.iter().map(|network| Selector::addresses(network.network()..=network.broadcast())).collect()
    };
    let own: Vec<_> = tunnel.addresses.iter().map(|network| ipnet::IpNet::from(network.addr())).collect();
    Ok(WireGuardEncapsulation::new(tunn, Selectors { local: selectors(&own), remote: selectors(&tunnel.networks) }))
}

struct Engine<'a> {
    tunnel: &'a WireGuardConfiguration,
    gateway: SocketAddr,
    sockets: Sockets,
    /// The socket while the data plane does not have it.
    early: Option<UdpSocket>,
    alarm: Alarm,
    traffic: Traffic,
    peer: Arc<WireGuardEncapsulation>,
    /// Until when the first handshake must be done.
    patience: Option<Timestamp>,
    ended: Option<EndCause>,
}

enum Woken {
    Command(Option<Command>),
    Readable,
    Plane(FromPlane),
    Alarm,
    Delivered,
}

impl<'a> Engine<'a> {
    fn new(
        tunnel: &'a WireGuardConfiguration,
        gateway: SocketAddr,
        peer: Arc<WireGuardEncapsulation>,
        owner: &Owner,
    ) -> io::Result<Self> {
        let sockets = socket::open(gateway, tunnel.firewall_mark)?;
        let early = Some(UdpSocket::from_std(sockets.encapsulated.try_clone()?)?);
        Ok(Self {
            tunnel,
            gateway,
            sockets,
            early,
            alarm: Alarm::new()?,
            traffic: Traffic::new(owner.lease),
            peer,
            patience: Some(clock::now() + PATIENCE),
            ended: None,
        })
    }

    async fn run(mut self, commands: &mut mpsc::Receiver<Command>, owner: &mut Owner) -> End {
        self.peer.initiate();
        loop {
            self.settle(owner);
            if let Some(cause) = self.ended.take() {
                self.traffic.stop(&mut owner.outbox);
                return End { cause, device: self.traffic.take_device() };
            }
            let due = [self.peer.poll_timeout(), self.traffic.next_due(), self.patience].into_iter().flatten().min();
            let woken = tokio::select! {
                biased;
                command = commands.recv() => Woken::Command(command),
                () = readable(self.early.as_ref()) => Woken::Readable,
                told = self.traffic.told() => Woken::Plane(told),
                _ = self.alarm.until(due) => Woken::Alarm,
                () = owner.outbox.deliver() => Woken::Delivered,
            };
            match woken {
                Woken::Command(command) => self.obey(command, owner),
                Woken::Readable => self.receive(),
                Woken::Plane(FromPlane::DeviceFailed(error)) => {
                    let device = self.tunnel.device.clone();
                    self.ended = Some(EndCause::Device { device, error: error.to_string() });
                }
                Woken::Plane(FromPlane::LinkFailed(error)) => {
                    self.ended = Some(EndCause::Network { error: error.to_string() });
                }
                Woken::Plane(FromPlane::Ike(_) | FromPlane::Told) | Woken::Alarm | Woken::Delivered => {}
            }
            let now = clock::now();
            if self.peer.poll_timeout().is_some_and(|at| at <= now) {
                self.peer.handle_timeout(now);
            }
            self.traffic.do_what_is_due(now, &mut owner.outbox);
            if self.patience.is_some_and(|at| at <= now) {
                self.ended.get_or_insert(CloseCause::NoAnswer.into());
            }
        }
    }

    fn obey(&mut self, command: Option<Command>, owner: &mut Owner) {
        match command {
            None => self.ended = Some(EndCause::OwnerGone),
            Some(Command::Stop { reason }) => self.ended = Some(CloseCause::Requested { reason }.into()),
            Some(command @ (Command::GrantLease { .. } | Command::RevokeLease)) => {
                owner.lease.hear(&command);
                self.traffic.hear(&command);
            }
            Some(Command::RekeyIke | Command::RekeyChild | Command::Liveness) => self.peer.initiate(),
            Some(Command::Start { .. } | Command::StartWireGuard { .. } | Command::Answer { .. }) => {
                tracing::warn!("a command that does not belong here is ignored");
            }
        }
    }

    /// Takes handshake messages while there is no data plane to do so.
    fn receive(&self) {
        let mut batch = crate::tunnel::batch::InboundBatch::new(1);
        while let Some(socket) = &self.early {
            batch.start();
            match socket.try_recv_from(&mut batch.buffer) {
                Ok((length, from)) if from.ip() == self.gateway.ip() => batch.push(0, length, length, 0),
                Ok(_) => continue,
                Err(_) => return,
            }
            // Data that comes before the device stands is opened and lost: there is nowhere to put it.
            self.peer.open(&mut batch, &self.traffic.tally(), &mut |_| {});
        }
    }

    fn settle(&mut self, owner: &mut Owner) {
        while let Some(event) = self.peer.poll_event() {
            match event {
                EncapsulationEvent::Transmit(message) => {
                    if let Err(error) = self.sockets.encapsulated.send_to(&message, self.gateway) {
                        tracing::debug!(%error, "a handshake message could not be sent");
                    }
                }
                EncapsulationEvent::SessionUp => {
                    self.patience = None;
                    if !self.traffic.is_running() && self.ended.is_none() {
                        self.bring_up(owner);
                    }
                }
                EncapsulationEvent::PeerLost if self.traffic.is_running() => {
                    self.ended.get_or_insert(CloseCause::GatewayLost.into());
                }
                EncapsulationEvent::PeerLost | EncapsulationEvent::RenewalDue => {}
            }
        }
    }

    fn bring_up(&mut self, owner: &mut Owner) {
        let layout = self.peer.layout().unwrap_or_default();
        let room = self.sockets.path_mtu.saturating_sub(if self.gateway.is_ipv4() { 28 } else { 48 });
        let mtu = self.tunnel.mtu.unwrap_or_else(|| established::mtu(room, layout));
        let device = match Device::create(&self.tunnel.device, mtu) {
            Ok(device) => device,
            Err(error) => {
                let device = self.tunnel.device.clone();
                self.ended = Some(EndCause::Device { device, error: error.to_string() });
                return;
            }
        };
        let tunnel = EstablishedTunnel {
            gateway: self.gateway,
            local: self.sockets.encapsulated.local_addr().unwrap_or(self.sockets.local),
            carrier: Carrier::Udp,
            behind_nat: false,
            gateway_identity: hex(&self.tunnel.peer_public_key),
            addresses: self.tunnel.addresses.clone(),
            dns: self.tunnel.dns.clone(),
            domains: self.tunnel.domains.clone(),
            remote_selectors: Vec::new(),
            networks: self.tunnel.networks.clone(),
            mtu,
            device: device.name().to_owned(),
            device_index: device.index(),
            protection: Protection::WireGuard,
            warnings: Vec::new(),
        };
        self.early = None;
        let started =
            self.sockets.encapsulated.try_clone().and_then(|socket| Link::udp(socket, self.gateway)).and_then(|link| {
                self.traffic.start(device, Arc::new(link), Arc::clone(&self.peer) as Arc<dyn Encapsulation>)
            });
        match started {
            Ok(()) => {
                owner.outbox.put(Event::Progress { step: Progress::Authenticated });
                owner.outbox.put(Event::Established { tunnel: Box::new(tunnel) });
            }
            Err(error) => self.ended = Some(EndCause::Network { error: error.to_string() }),
        }
    }
}

async fn readable(socket: Option<&UdpSocket>) {
    match socket {
        Some(socket) => drop(socket.readable().await),
        None => std::future::pending().await,
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
