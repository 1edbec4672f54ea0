//! Both sides, time, and what a driver does.

use super::Happening;
use super::invariants::Invariants;
use super::network::{Datagram, End, GATEWAY, Network};
use crate::gateway::plane::Plane;
use crate::gateway::responder::Now;
use crate::gateway::settings::{Credentials, Settings};
use crate::gateway::{Event as GatewayEvent, Path, Responder};
use ike_client::crypto::Secret;
use ike_client::esp::{EspSpi, InboundSa, OutboundSa};
use ike_client::random::SeededRandom;
use ike_client::session::{Answer, CloseCause, Configuration, Event, LocalSocket, Session};
use ike_client::time::Timestamp;
use ike_client::transport::{Packet, udp};
use ike_client::wire::{Delete, ExchangeType, Flags, Header, Message, Notify, NotifyType, Payload};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

const UNIX_NOW: u64 = 1_790_000_000;
const CORPORATE: Ipv4Addr = Ipv4Addr::new(10, 98, 0, 1);
/// A host that is no part of what was agreed: the gateway's client has no address in it.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 9);
/// How long both sides have once the network is good again: the longest that a request is repeated,
/// the longest that a lost gateway is believed in, and a new start.
const HEALING: Duration = Duration::from_secs(240);
/// Datagrams that are kept to be sent again.
const KEPT: usize = 64;

/// Everything.
pub struct World {
    clock: Timestamp,
    seed: u64,
    client: Session,
    gateway: Responder,
    plane: Plane,
    network: Network,
    invariants: Invariants,
    children: Vec<(OutboundSa, InboundSa)>,
    address: Option<Ipv4Addr>,
    /// The session had a CHILD SA before.
    had_child: bool,
    seen: Vec<Datagram>,
    /// Packets that came through, each way.
    delivered: [u32; 2],
    /// What this scenario has led to, by name.
    pub came_up: BTreeSet<&'static str>,
}

impl World {
    /// Makes both sides and a good network.
    pub fn new(seed: u64) -> Self {
        let clock = Timestamp::from_start(Duration::from_secs(1000));
        let network = Network::new(seed);
        let client = session(&network, seed, clock);
        Self {
            clock,
            seed,
            client,
            gateway: gateway(seed),
            plane: Plane::default(),
            network,
            invariants: Invariants::default(),
            children: Vec::new(),
            address: None,
            had_child: false,
            seen: Vec::new(),
            delivered: [0, 0],
            came_up: BTreeSet::new(),
        }
    }

    const fn now(&self) -> Now {
        Now { clock: self.clock, unix: UNIX_NOW }
    }

    fn fresh_seed(&mut self) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.seed
    }

    /// Lets one thing happen.
    pub fn let_happen(&mut self, happening: Happening) {
        match happening {
            Happening::Wait(tenths) => self.pass(Duration::from_millis(100 * u64::from(tenths))),
            Happening::Loss(loss) => self.network.loss = loss,
            Happening::Repetition(repetition) => self.network.repetition = repetition,
            Happening::Delay(hundredths) => self.network.delay = Duration::from_millis(10 * u64::from(hundredths)),
            Happening::Size(tens) => self.network.largest = 10 * usize::from(tens).max(20),
            Happening::Rebind => self.network.rebind(),
            Happening::Move(place) => {
                self.network.relocate(place);
                let (local, remote) = ((self.network.inside, 4500).into(), self.client.remote());
                self.client.move_to(local, remote, self.clock);
            }
            Happening::RekeyChild => self.client.rekey_child(self.clock),
            Happening::RekeyIke => self.client.rekey_ike(self.clock),
            Happening::AskGateway => self.client.check_liveness(self.clock),
            Happening::AskClient => self.gateway.check_liveness(self.now()),
            Happening::Restart => {
                self.gateway = gateway(self.fresh_seed());
                self.plane = Plane::default();
            }
            Happening::Sleep(how) => {
                self.network.drop_all();
                self.clock = self.clock + Duration::from_secs(4 * u64::from(how));
            }
            Happening::Ping => self.ping(),
            Happening::Inject(how) => self.inject(how),
            Happening::Forge(how) => self.forge(how),
        }
        self.pass(Duration::from_millis(1));
    }

    /// Lets time pass for both, to each timer and each arrival exactly.
    ///
    /// # Panics
    /// When an invariant does not hold.
    pub fn pass(&mut self, time: Duration) {
        let end = self.clock + time;
        for _ in 0..200_000 {
            self.settle();
            let timers = self.client.poll_timeout().map(|(at, _)| at).into_iter().chain(self.gateway.poll_timeout());
            let next = timers.chain(self.network.next()).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                self.clock = end;
                return;
            };
            self.clock = next.max(self.clock);
            for datagram in self.network.arrived(self.clock) {
                self.deliver(datagram);
                self.settle();
            }
            self.client.handle_timeout(self.clock);
            self.gateway.handle_timeout(self.now());
            self.settle();
            Invariants::look_at(&mut self.client, self.clock);
        }
        panic!("the two never come to rest");
    }

    /// Empties both sides as a driver does.
    fn settle(&mut self) {
        loop {
            while let Some(event) = self.client.poll_event() {
                self.hear(event);
            }
            while let Some((id, _, _)) = self.client.poll_request() {
                let secret = Secret::from(b"correct horse battery".as_slice());
                self.client.handle_response(id, Answer::Secret { secret }, self.clock).expect("it was asked");
            }
            while let Some(event) = self.gateway.poll_event() {
                match event {
                    GatewayEvent::ChildInstalled(child) => self.plane.install(*child),
                    GatewayEvent::ChildRetired { inbound } => self.plane.retire(inbound),
                    GatewayEvent::Log(_) => {}
                }
            }
            if let Some(transmit) = self.client.poll_transmit() {
                let (port, bytes) = match transmit.socket {
                    LocalSocket::Ike => (500, transmit.bytes.clone()),
                    LocalSocket::Encapsulated => match udp::demultiplex(&transmit.bytes) {
                        Ok(Packet::Ike(message)) => (4500, message.to_vec()),
                        _ => continue,
                    },
                };
                self.invariants.ike_sent(&bytes);
                self.keep(End::Gateway, &bytes);
                self.network.from_client(port, transmit.destination, bytes, self.clock);
            } else if let Some(transmit) = self.gateway.poll_transmit() {
                self.invariants.ike_sent(&transmit.message);
                self.keep(End::Client, &transmit.message);
                let Path { local, remote } = transmit.path;
                self.network.from_gateway(local, remote, transmit.message, self.clock);
            } else {
                return;
            }
        }
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Established(established) => {
                let address = established.addresses.first().map(|network| network.addr());
                self.address = address.and_then(|address| match address {
                    IpAddr::V4(address) => Some(address),
                    IpAddr::V6(_) => None,
                });
            }
            Event::ChildInstalled(child) => {
                if child.replaces.is_some() {
                    self.came_up.insert("child renewed");
                } else if self.address.is_some() && self.had_child {
                    self.came_up.insert("child lost");
                }
                self.had_child = true;
                self.invariants.installed(child.inbound.spi(), child.outbound.spi());
                self.children.push((child.outbound, child.inbound));
            }
            Event::ChildRetired { inbound, .. } => {
                self.invariants.retired(inbound);
                self.children.retain(|(_, one)| one.spi() != inbound);
            }
            Event::Closed { cause } => {
                self.came_up.insert(match cause {
                    CloseCause::GatewayRestarted => "restarted",
                    CloseCause::GatewayLost => "silent",
                    CloseCause::NoAnswer => "unheard",
                    CloseCause::Expired => "expired",
                    _ => "closed",
                });
                self.had_child = false;
                self.invariants.ended();
                self.children.clear();
            }
            Event::Moved { .. } => drop(self.came_up.insert("moved")),
            Event::IkeRekeyed { .. } => drop(self.came_up.insert("ike renewed")),
            _ => {}
        }
    }

    fn deliver(&mut self, datagram: Datagram) {
        let Datagram { to, source, destination, mut bytes } = datagram;
        let is_ike = Header::decode(&bytes).is_ok();
        let path = Path { local: destination, remote: source };
        match to {
            End::Client if is_ike => self.client.handle_datagram(&bytes, source, self.clock),
            End::Gateway if is_ike => self.gateway.handle_datagram(&bytes, path, self.now()),
            End::Client => {
                let spi = bytes.first_chunk().map(|spi| EspSpi(u32::from_be_bytes(*spi)));
                let entry = self.children.iter().find(|(_, inbound)| Some(inbound.spi()) == spi);
                if entry.is_some_and(|(_, inbound)| inbound.open_in_place(&mut bytes).is_ok()) {
                    self.client.note_inbound_traffic(self.clock);
                    self.delivered[0] += 1;
                }
            }
            End::Gateway => {
                if let Some((_, moved)) = self.plane.open(&mut bytes, path) {
                    moved.into_iter().for_each(|from| self.gateway.moved(from, path));
                    self.delivered[1] += 1;
                }
            }
        }
    }

    /// Sends a packet each way, and tries to send what was not agreed.
    fn ping(&mut self) {
        let Some(own) = self.address else { return };
        if let Some((outbound, _)) = self.children.last() {
            let seal = |from: Ipv4Addr, to: Ipv4Addr| {
                let inner = packet(from, to);
                let mut buffer = vec![0; outbound.sealed_length(inner.len())];
                let start = outbound.header_length();
                buffer.get_mut(start..start + inner.len())?.copy_from_slice(&inner);
                outbound.seal_in_place(&mut buffer, inner.len()).ok().map(|length| buffer[..length].to_vec())
            };
            assert!(seal(ELSEWHERE, CORPORATE).is_none(), "a packet outside the policy was sealed");
            if let Some(bytes) = seal(own, CORPORATE) {
                self.invariants.esp_sent(&bytes);
                self.network.from_client(4500, (GATEWAY, 4500).into(), bytes, self.clock);
            }
        }
        let mut buffer = vec![0; 500];
        if let Some((length, path)) = self.plane.seal(&packet(CORPORATE, own), &mut buffer) {
            buffer.truncate(length);
            self.network.from_gateway(path.local, path.remote, buffer, self.clock);
        }
    }

    fn keep(&mut self, to: End, bytes: &[u8]) {
        let (source, destination) = match to {
            End::Client => ((GATEWAY, 4500), (Ipv4Addr::UNSPECIFIED, 0)),
            End::Gateway => ((Ipv4Addr::new(203, 0, 113, 66), 4500), (GATEWAY, 4500)),
        };
        if self.seen.len() == KEPT {
            self.seen.remove(0);
        }
        self.seen.push(Datagram { to, source: source.into(), destination: destination.into(), bytes: bytes.to_vec() });
    }

    /// Sends something once more, as it was, changed, or back to whom it came from.
    fn inject(&mut self, how: u8) {
        let place = usize::from(how / 4) % self.seen.len().max(1);
        let Some(mut datagram) = self.seen.get(place).cloned() else { return };
        match how % 4 {
            0 => {}
            1 => datagram.to = if datagram.to == End::Client { End::Gateway } else { End::Client },
            more => {
                let at = usize::from(how) * usize::from(more) % datagram.bytes.len().max(1);
                if let Some(octet) = datagram.bytes.get_mut(at) {
                    *octet ^= 1 << (how % 8);
                }
            }
        }
        self.throw(datagram.to, datagram.bytes);
    }

    /// Sends an unprotected message under the SPIs in use.
    fn forge(&mut self, how: u8) {
        let Some(real) = self.seen.last() else { return };
        let Ok(header) = Header::decode(&real.bytes) else { return };
        let notify = |kind| Payload::Notify(Notify::new(kind, vec![how; usize::from(how % 33)]));
        let payload = match how % 10 {
            0 => Payload::Delete(Delete::IkeSa),
            1 => notify(NotifyType::AUTHENTICATION_FAILED),
            2 => notify(NotifyType::NO_PROPOSAL_CHOSEN),
            3 => notify(NotifyType::INVALID_IKE_SPI),
            4 => notify(NotifyType::INVALID_KE_PAYLOAD),
            5 => notify(NotifyType::COOKIE),
            6 => notify(NotifyType::REDIRECT),
            7 => notify(NotifyType::UPDATE_SA_ADDRESSES),
            8 => notify(NotifyType::QUICK_CRASH_DETECTION),
            _ => notify(NotifyType::INVALID_SYNTAX),
        };
        let exchange = if how < 128 { ExchangeType::INFORMATIONAL } else { header.exchange };
        let flags = Flags::new(false, !how.is_multiple_of(3));
        let header = Header::new(header.initiator_spi, header.responder_spi, exchange, flags, header.message_id);
        if let Ok(bytes) = Message::new(header, vec![payload]).encode() {
            self.throw(End::Client, bytes);
        }
    }

    /// Hands bytes to one side as if they came from the other.
    fn throw(&mut self, to: End, bytes: Vec<u8>) {
        let datagram = match to {
            // A stranger who knows the mapping: it is on the path.
            End::Client => {
                self.client.handle_datagram(&bytes, self.client.remote(), self.clock);
                return;
            }
            End::Gateway => {
                Datagram { to, source: ([203, 0, 113, 66], 4500).into(), destination: (GATEWAY, 4500).into(), bytes }
            }
        };
        self.network.inject(datagram, self.clock);
    }

    /// Makes the network good, and expects a tunnel that carries packets both ways.
    ///
    /// # Panics
    /// When there is none.
    pub fn heal(&mut self) {
        self.network.heal();
        self.pass(HEALING);
        let made_anew = self.client.is_closed();
        self.came_up.insert(if made_anew { "made anew" } else { "survived" });
        if made_anew {
            // As the owner does: another one, for which the gateway forgets the old.
            let seed = self.fresh_seed();
            self.client = session(&self.network, seed, self.clock);
            self.pass(Duration::from_secs(30));
        }
        let state = self.client.state_name();
        assert_eq!(state, "established", "the network is good, the session is not");
        self.pass(Duration::from_secs(70));
        assert_eq!(self.invariants.children(), 1, "one CHILD SA is what a tunnel has");
        // The gateway learns where the client is from what it says.
        let before = self.delivered;
        self.ping();
        self.pass(Duration::from_secs(1));
        self.ping();
        self.pass(Duration::from_secs(1));
        assert_eq!(self.delivered[1] - before[1], 2, "the client's packets arrive");
        assert!(self.delivered[0] > before[0], "the gateway's packets arrive");
    }
}

fn session(network: &Network, seed: u64, clock: Timestamp) -> Session {
    let configuration: Configuration = serde_json::from_value(serde_json::json!({
        "gateway_name": "vpn.example.test",
        "gateway_auth": { "method": "pre-shared-key" },
        "client_auth": { "method": "pre-shared-key" },
        "ike_suites": ["aes256gcm16-prfsha256-x25519"],
        "esp_suites": ["aes256gcm16-x25519-noesn", "aes256gcm16-noesn"],
        "child_lifetime": lifetime(60, 10, 90),
        "ike_lifetime": lifetime(1500, 300, 3600),
    }))
    .expect("a configuration");
    let random = Box::new(SeededRandom::new(seed ^ 0xc11e));
    let (local, remote) = ((network.inside, 500).into(), (GATEWAY, 500).into());
    Session::new(configuration, random, local, remote, clock, UNIX_NOW)
}

fn lifetime(rekey: u64, jitter: u64, expire: u64) -> serde_json::Value {
    let seconds = |secs: u64| serde_json::json!({ "secs": secs, "nanos": 0 });
    serde_json::json!({
        "rekey_after": seconds(rekey),
        "jitter": seconds(jitter),
        "expire_after": seconds(expire),
    })
}

fn gateway(seed: u64) -> Responder {
    let mut settings: Settings = toml::from_str(
        r#"
        identity = "fqdn:vpn.example.test"
        gateway_auth = { method = "psk" }
        client_auth = { method = "psk" }
        psk = "correct horse battery"
        ike_suites = ["aes256gcm16-prfsha256-x25519"]
        esp_suites = ["aes256gcm16-x25519-noesn", "aes256gcm16-noesn"]
        pool_first = "10.97.0.2"
        pool_last = "10.97.0.9"
        fragment_size = 600
        "#,
    )
    .expect("settings");
    settings.continuity.mobility = true;
    settings.continuity.crash_secret = Some("outlives the gateway".into());
    Responder::new(settings, Credentials::default(), Box::new(SeededRandom::new(seed ^ 0x6a7e))).expect("a gateway")
}

/// An IPv4 packet with an unassigned protocol and a few bytes.
fn packet(from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 24, 0, 0, 0, 0, 64, 253, 0, 0];
    packet.extend_from_slice(&from.octets());
    packet.extend_from_slice(&to.octets());
    packet.extend_from_slice(b"ping");
    packet
}
