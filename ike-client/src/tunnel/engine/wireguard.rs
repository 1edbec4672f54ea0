//! A tunnel by WireGuard: the second engine, behind the same gate, lease and order of ending.
//!
//! WireGuard has no farewell: once the data plane is shut the tunnel has ended.

use super::traffic::Traffic;
use super::{End, Owner, look_up};
use crate::crypto::Secret;
use crate::esp::selector::{Selector, Selectors};
use crate::session::{Answer, CloseCause, Request, RequestId, SaKind};
use crate::tunnel::alarm::Alarm;
use crate::tunnel::clock;
use crate::tunnel::control::{
    Carrier, Command, EndCause, EstablishedTunnel, Event, Progress, Protection, WireGuardConfiguration,
};
use crate::tunnel::device::Device;
use crate::tunnel::encapsulation::{Encapsulation, EncapsulationEvent};
use crate::tunnel::established;
use crate::tunnel::link::Link;
use crate::tunnel::overhead;
use crate::tunnel::plane::FromPlane;
use crate::tunnel::socket::{self, Sockets};
use crate::tunnel::wireguard::WireGuardEncapsulation;
use crate::{Random, SystemRandom, Timestamp};
use boringtun::noise::Tunn;
use boringtun::x25519::{PublicKey, StaticSecret};
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use zeroize::Zeroizing;

/// How long one address of the peer has for its answer before the next is tried.
const TURN: Duration = Duration::from_secs(5);
/// How often it is looked whether the way to the peer begins at another address by now.
const LOOK: Duration = Duration::from_secs(2);

/// The length of a key.
const KEY: usize = 32;

/// Asks for the keys, shakes hands with the peer, then moves packets until told to stop.
pub async fn connect(
    tunnel: &WireGuardConfiguration,
    commands: &mut mpsc::Receiver<Command>,
    owner: &mut Owner,
) -> End {
    let peer = match keys(tunnel, commands, owner).await.and_then(|(private, shared)| peer(tunnel, private, shared)) {
        Ok(peer) => Arc::new(peer),
        Err(cause) => return cause.into(),
    };
    let gateways = match look_up((&tunnel.gateway, tunnel.port, tunnel.family), commands, owner).await {
        Ok(gateways) => gateways,
        Err(cause) => return cause.into(),
    };
    match Engine::new(tunnel, gateways, peer, owner) {
        Ok(Some(engine)) => engine.run(commands, owner).await,
        Ok(None) => EndCause::PeerSilent.into(),
        Err(error) => EndCause::Network { error: error.to_string() }.into(),
    }
}

type Key = Zeroizing<[u8; KEY]>;

async fn keys(
    tunnel: &WireGuardConfiguration,
    commands: &mut mpsc::Receiver<Command>,
    owner: &mut Owner,
) -> Result<(Key, Option<Key>), EndCause> {
    let private = ask(RequestId(1), Request::PrivateKey, tunnel.answer_limit, commands, owner).await?;
    let private = key(&private).ok_or_else(|| unusable("the private key is none of WireGuard"))?;
    if !tunnel.preshared_key {
        return Ok((private, None));
    }
    let shared = ask(RequestId(2), Request::PreSharedKey, tunnel.answer_limit, commands, owner).await?;
    let shared = key(&shared).ok_or_else(|| unusable("the pre-shared key is none of WireGuard"))?;
    Ok((private, Some(shared)))
}

/// Asks for a secret and waits for it, the owner's other words heard meanwhile.
async fn ask(
    id: RequestId,
    request: Request,
    within: Duration,
    commands: &mut mpsc::Receiver<Command>,
    owner: &mut Owner,
) -> Result<Secret, EndCause> {
    let alarm = Alarm::new().map_err(|error| EndCause::Network { error: error.to_string() })?;
    let deadline = clock::now() + within;
    owner.outbox.put(Event::Request { id, request, within });
    loop {
        let command = tokio::select! {
            command = commands.recv() => command,
            _ = alarm.until(Some(deadline)) => return Err(CloseCause::InputTimedOut.into()),
            () = owner.outbox.deliver() => continue,
        };
        match command {
            Some(Command::Answer { id: answered, answer }) if answered == id => {
                return match answer {
                    Answer::Secret { secret } => Ok(secret),
                    Answer::Refused { because } => Err(CloseCause::InputRefused { because }.into()),
                    _ => Err(unusable("the answer is no secret")),
                };
            }
            Some(Command::Stop { reason }) => return Err(CloseCause::Requested { reason }.into()),
            Some(command) => owner.lease.hear(&command),
            None => return Err(EndCause::OwnerGone),
        }
    }
}

fn unusable(what: &str) -> EndCause {
    CloseCause::ConfigurationUnusable { what: what.to_owned() }.into()
}

/// Reads a key: its octets, or text in Base64 (RFC 4648 §4) as WireGuard's tools write it.
fn key(secret: &Secret) -> Option<Key> {
    let octets = secret.expose();
    if let Ok(bare) = <[u8; KEY]>::try_from(octets) {
        return Some(Zeroizing::new(bare));
    }
    let text = octets.trim_ascii().strip_suffix(b"=")?;
    let mut key = Zeroizing::new([0; KEY]);
    let (mut bits, mut held) = (0_u32, 0);
    let mut places = key.iter_mut();
    for letter in text {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            *places.next()? = bits.checked_shr(held)?.to_le_bytes()[0];
            bits &= (1 << held) - 1;
        }
    }
    // What is left are two bits of nothing.
    (places.next().is_none() && held == 2 && bits == 0 && text.len() == 43).then_some(key)
}

fn peer(
    tunnel: &WireGuardConfiguration,
    private: Key,
    preshared: Option<Key>,
) -> Result<WireGuardEncapsulation, EndCause> {
    let mut index = [0; 4];
    SystemRandom.fill(&mut index).map_err(|_| CloseCause::RandomUnavailable)?;
    let tunn = Tunn::new(
        StaticSecret::from(*private),
        PublicKey::from(tunnel.peer_public_key),
        preshared.map(|key| *key),
        // The encapsulation counts them.
        None,
        // boringtun keeps the lower eight bits for itself.
        u32::from_ne_bytes(index) >> 8,
        None,
    );
    let selectors = |networks: &[ipnet::IpNet]| {
        networks.iter().map(|network| Selector::addresses(network.network()..=network.broadcast())).collect()
    };
    let own: Vec<_> = tunnel.addresses.iter().map(|network| ipnet::IpNet::from(network.addr())).collect();
    let persistent = tunnel.keepalive_seconds.filter(|seconds| *seconds > 0).map(u64::from).map(Duration::from_secs);
    let selectors = Selectors { local: selectors(&own), remote: selectors(&tunnel.networks) };
    Ok(WireGuardEncapsulation::new(tunn, persistent, selectors))
}

struct Engine<'a> {
    tunnel: &'a WireGuardConfiguration,
    /// The address that is spoken with.
    gateway: SocketAddr,
    /// Those that are tried when it does not answer.
    others: VecDeque<SocketAddr>,
    sockets: Sockets,
    /// The socket while the data plane does not have it.
    early: Option<UdpSocket>,
    alarm: Alarm,
    traffic: Traffic,
    peer: Arc<WireGuardEncapsulation>,
    /// Until when the first handshake must be done.
    patience: Option<Timestamp>,
    /// When the next address is tried, or the way is looked at.
    look_due: Timestamp,
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
        gateways: Vec<SocketAddr>,
        peer: Arc<WireGuardEncapsulation>,
        owner: &mut Owner,
    ) -> io::Result<Option<Self>> {
        let mut others = VecDeque::from(gateways);
        let Some(gateway) = others.pop_front() else { return Ok(None) };
        owner.outbox.put(Event::Progress { step: Progress::Contacting { gateway } });
        let (sockets, early) = open(gateway, tunnel.firewall_mark)?;
        let now = clock::now();
        Ok(Some(Self {
            tunnel,
            gateway,
            others,
            sockets,
            early: Some(early),
            alarm: Alarm::new()?,
            traffic: Traffic::new(owner.lease.clone()),
            peer,
            patience: Some(now + tunnel.patience),
            look_due: now + TURN,
            ended: None,
        }))
    }

    async fn run(mut self, commands: &mut mpsc::Receiver<Command>, owner: &mut Owner) -> End {
        self.peer.initiate(false);
        loop {
            self.settle(owner);
            if let Some(cause) = self.ended.take() {
                self.traffic.stop(&mut owner.outbox);
                return End { cause, device: self.traffic.take_device() };
            }
            let due = [self.peer.poll_timeout(), self.traffic.next_due(), self.patience, Some(self.look_due)];
            let due = due.into_iter().flatten().min();
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
                Woken::Plane(FromPlane::Ike(_) | FromPlane::IkeFrom(..) | FromPlane::Told)
                | Woken::Alarm
                | Woken::Delivered => {}
            }
            let now = clock::now();
            if self.peer.poll_timeout().is_some_and(|at| at <= now) {
                self.peer.handle_timeout(now);
            }
            self.traffic.do_what_is_due(now, &mut owner.outbox);
            if self.look_due <= now {
                self.look(now, owner);
            }
            if self.patience.is_some_and(|at| at <= now) {
                self.ended.get_or_insert(EndCause::PeerSilent);
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
            Some(Command::RekeyIke | Command::RekeyChild | Command::Liveness) => self.peer.initiate(false),
            Some(
                Command::Start { .. } | Command::StartWireGuard { .. } | Command::Answer { .. } | Command::Succeed,
            ) => {
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

    /// Tries the peer's next address while none has answered; then looks where the way begins.
    fn look(&mut self, now: Timestamp, owner: &mut Owner) {
        if self.patience.is_some() {
            self.look_due = now + TURN;
            self.others.push_back(self.gateway);
            let Some(gateway) = self.others.pop_front().filter(|next| *next != self.gateway) else { return };
            match open(gateway, self.tunnel.firewall_mark) {
                Ok((sockets, early)) => {
                    owner.outbox.put(Event::Progress { step: Progress::Contacting { gateway } });
                    (self.gateway, self.sockets, self.early) = (gateway, sockets, Some(early));
                    self.peer.initiate(true);
                }
                Err(error) => tracing::debug!(%error, %gateway, "an address of the peer cannot be reached"),
            }
            return;
        }
        self.look_due = now + LOOK;
        let own = self.sockets.local.ip();
        match socket::way(self.gateway, self.tunnel.firewall_mark).map(|(source, _)| source) {
            Ok(source) if source != own => self.go_over(source),
            // Without any way silence decides, as it would with one that leads nowhere.
            _ => {}
        }
    }

    /// Goes on from another address of this machine. The peer follows whoever proves to be us.
    fn go_over(&mut self, source: IpAddr) {
        tracing::info!(%source, "the way to the peer begins at another address");
        let sockets = match socket::open(self.gateway, self.tunnel.firewall_mark) {
            Ok(sockets) => sockets,
            Err(error) => return tracing::debug!(%error, "the other address cannot be used"),
        };
        self.sockets = sockets;
        let linked = self.link().and_then(|link| self.traffic.relink(link, Arc::clone(&self.peer) as _));
        match linked {
            Ok(()) => self.peer.announce(),
            Err(error) => self.ended = Some(EndCause::Network { error: error.to_string() }),
        }
    }

    fn link(&self) -> io::Result<Arc<Link>> {
        Link::udp(self.sockets.encapsulated.try_clone()?, self.gateway).map(Arc::new)
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
                    if self.traffic.is_running() {
                        owner.outbox.put(Event::Rekeyed { sa: SaKind::Child });
                        self.traffic.send_held();
                    } else if self.ended.is_none() {
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
        let around = overhead::outside(Carrier::Udp, self.gateway.is_ipv4());
        let room = self.sockets.path_mtu.saturating_sub(around);
        let mtu = self
            .tunnel
            .mtu
            .unwrap_or_else(|| established::mtu(room, layout, established::floor(&self.tunnel.addresses)));
        let device = match Device::create(&self.tunnel.device, mtu) {
            Ok(device) => device,
            Err(error) => {
                let device = self.tunnel.device.clone();
                self.ended = Some(EndCause::Device { device, error: error.to_string() });
                return;
            }
        };
        let tunnel = EstablishedTunnel {
            other_gateways: Vec::new(),
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
        let started = self.link().and_then(|link| self.traffic.start(device, link, Arc::clone(&self.peer) as _));
        match started {
            Ok(()) => {
                owner.outbox.put(Event::Progress { step: Progress::Authenticated });
                owner.outbox.put(Event::Established { tunnel: Box::new(tunnel) });
            }
            Err(error) => self.ended = Some(EndCause::Network { error: error.to_string() }),
        }
    }
}

/// Opens the sockets to one address of the peer, and a second handle to receive by.
fn open(gateway: SocketAddr, firewall_mark: u32) -> io::Result<(Sockets, UdpSocket)> {
    let sockets = socket::open(gateway, firewall_mark)?;
    let early = UdpSocket::from_std(sockets.encapsulated.try_clone()?)?;
    Ok((sockets, early))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_octets_or_base64_and_nothing_else() {
        let octets: Vec<u8> = (0..32).map(|index| index * 8 + 7).collect();
        let text = "Bw8XHycvNz9HT1dfZ293f4ePl5+nr7e/x8/X3+fv9/8=";
        let read = |octets: &[u8]| key(&Secret::from(octets)).map(|key| key.to_vec());
        assert_eq!(read(&octets), Some(octets.clone()));
        assert_eq!(read(text.as_bytes()), Some(octets.clone()));
        assert_eq!(read(format!(" {text}\n").as_bytes()), Some(octets));
        let last_bits = text.replace("9/8=", "9/9=");
        for wrong in ["", "=", &text[1..], &text[..43], &last_bits, &text.replace('X', "-"), &format!("A{text}")] {
            assert_eq!(read(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
