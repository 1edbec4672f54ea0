//! The wire between the two, and the client's side of everything.

use crate::gateway::plane::Plane;
use crate::gateway::responder::Now;
use crate::gateway::settings::{ClientAuth, Credentials, GatewayAuth, Settings};
use crate::gateway::{Event, Path, Responder, Transmit, log};
use ike_client::auth::PrivateKey;
use ike_client::crypto::Secret;
use ike_client::esp::{InboundSa, Opened, OutboundSa};
use ike_client::random::SeededRandom;
use ike_client::session::{
    Answer, ClientAuthentication, CloseCause, Configuration, Established, Event as ClientEvent, GatewayAuthentication,
    LocalSocket, Request, Session, Ticket,
};
use ike_client::time::Timestamp;
use ike_client::transport::{Packet, udp};
use ike_client::wire::{ExchangeType, Header};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

pub(super) const CLIENT: [u8; 4] = [192, 0, 2, 10];
pub(super) const GATEWAY: [u8; 4] = [192, 0, 2, 1];
pub(super) const CORPORATE: [u8; 4] = [10, 98, 0, 1];
/// A date within the validity of rcgen's certificates.
pub(super) const UNIX_NOW: u64 = 1_790_000_000;

/// A message on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub to_gateway: bool,
    pub exchange: ExchangeType,
    pub message_id: u32,
    pub response: bool,
}

/// What a wire does with the messages on it: true lets a message through.
type Filter = Box<dyn FnMut(&Seen) -> bool>;

/// Both ends and what lies between.
pub(super) struct Wiring {
    pub client: Session,
    pub gateway: Responder,
    pub plane: Plane,
    pub clock: Timestamp,
    pub seen: Vec<Seen>,
    pub filter: Filter,
    pub established: Option<Established>,
    pub closed: Option<CloseCause>,
    pub log: Vec<String>,
    pub children: Vec<(OutboundSa, InboundSa)>,
    pub asked: Vec<&'static str>,
    /// The code of the second factor.
    pub code: &'static str,
    /// The last ticket that the client was given.
    pub ticket: Option<Ticket>,
    credentials: Answers,
}

/// Returns the two ends of the first exchange, the client's first.
pub(super) fn ends() -> (SocketAddr, SocketAddr) {
    (SocketAddr::from((CLIENT, 500)), SocketAddr::from((GATEWAY, 500)))
}

/// What the person at the client knows.
#[derive(Default)]
pub(super) struct Answers {
    pub psk: &'static str,
    pub password: &'static str,
    pub key: Option<PrivateKey>,
}

/// A gateway by PSK whose users bring EAP: the FortiGate habit.
pub(super) fn settings() -> Settings {
    toml::from_str(
        r#"
        identity = "fqdn:vpn.example.test"
        gateway_auth = { method = "psk" }
        client_auth = { method = "eap" }
        psk = "correct horse battery"
        users = { alice = "Passw0rd" }
        pool_first = "10.97.0.2"
        pool_last = "10.97.0.3"
        dns = ["10.98.0.53"]
        domains = ["corp.test"]
        networks = ["10.98.0.0/24"]
        "#,
    )
    .unwrap()
}

pub(super) fn configuration() -> Configuration {
    serde_json::from_value(serde_json::json!({
        "gateway_name": "vpn.example.test",
        "gateway_auth": { "method": "pre-shared-key" },
        "client_auth": { "method": "eap", "identity": "alice" },
        "ike_suites": ["aes256gcm16-prfsha384-ecp384", "aes256gcm16-prfsha256-x25519"],
        "esp_suites": ["aes256gcm16-ecp384-noesn", "aes256gcm16-noesn"],
    }))
    .unwrap()
}

impl Wiring {
    /// The FortiGate habit with the right secrets.
    pub(super) fn new(settings: Settings) -> Self {
        let answers = Answers { psk: "correct horse battery", password: "Passw0rd", key: None };
        Self::with(settings, Credentials::default(), configuration(), answers)
    }

    pub(super) fn with(
        settings: Settings,
        credentials: Credentials,
        configuration: Configuration,
        answers: Answers,
    ) -> Self {
        let clock = Timestamp::from_start(Duration::from_secs(1000));
        let gateway = Responder::new(settings, credentials, Box::new(SeededRandom::new(2))).unwrap();
        let port = if configuration.start_encapsulated { 4500 } else { 500 };
        let (local, remote) = (SocketAddr::from((CLIENT, port)), SocketAddr::from((GATEWAY, port)));
        let client = Session::new(configuration, Box::new(SeededRandom::new(1)), local, remote, clock, UNIX_NOW);
        Self {
            client,
            gateway,
            plane: Plane::default(),
            clock,
            seen: Vec::new(),
            filter: Box::new(|_| true),
            established: None,
            closed: None,
            log: Vec::new(),
            children: Vec::new(),
            asked: Vec::new(),
            code: "123456",
            ticket: None,
            credentials: answers,
        }
    }

    /// Hands messages over until nothing is on its way any more.
    pub(super) fn settle(&mut self) {
        loop {
            self.take_events();
            self.answer_questions();
            if let Some(transmit) = self.client.poll_transmit() {
                self.hand_to_gateway(&transmit);
            } else if let Some(transmit) = self.gateway.poll_transmit() {
                self.hand_to_client(&transmit);
            } else {
                return;
            }
        }
    }

    /// Lets timers fire one by one, and settles after each, until `done` or an hour has passed.
    pub(super) fn wait_for(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let limit = self.clock + Duration::from_secs(3600);
        self.settle();
        while !done(self) {
            let next =
                self.client.poll_timeout().map(|(at, _)| at).into_iter().chain(self.gateway.poll_timeout()).min();
            let next = next.unwrap_or_else(|| panic!("no timer leads to this: {what}"));
            assert!(next < limit, "in an hour this did not happen: {what}");
            self.clock = next.max(self.clock);
            self.client.handle_timeout(self.clock);
            self.gateway.handle_timeout(self.now());
            self.settle();
        }
    }

    pub(super) const fn now(&self) -> Now {
        Now { clock: self.clock, unix: UNIX_NOW }
    }

    fn hand_to_gateway(&mut self, transmit: &ike_client::session::Transmit) {
        let (message, port) = match transmit.socket {
            LocalSocket::Ike => (transmit.bytes.as_slice(), 500),
            LocalSocket::Encapsulated => match udp::demultiplex(&transmit.bytes).unwrap() {
                Packet::Ike(message) => (message, 4500),
                Packet::Esp(_) | Packet::Keepalive => return,
            },
        };
        assert_eq!(transmit.destination.port(), port);
        if self.passes(message, true) {
            let path = Path { local: (GATEWAY, port).into(), remote: (CLIENT, port).into() };
            self.gateway.handle_datagram(message, path, self.now());
        }
    }

    fn hand_to_client(&mut self, transmit: &Transmit) {
        assert_eq!(transmit.path.remote.ip(), std::net::IpAddr::from(CLIENT));
        if self.passes(&transmit.message, false) {
            self.client.handle_datagram(&transmit.message, transmit.path.local, self.clock);
        }
    }

    fn passes(&mut self, message: &[u8], to_gateway: bool) -> bool {
        let header = Header::decode(message).unwrap();
        let seen = Seen {
            to_gateway,
            exchange: header.exchange,
            message_id: header.message_id,
            response: header.flags.is_response(),
        };
        self.seen.push(seen);
        (self.filter)(&seen)
    }

    fn answer_questions(&mut self) {
        while let Some((id, request, _)) = self.client.poll_request() {
            let secret = |text: &str| Answer::Secret { secret: Secret::from(text.as_bytes()) };
            let (name, answer) = match request {
                Request::PreSharedKey => ("psk", secret(self.credentials.psk)),
                Request::EapPassword { .. } => ("password", secret(self.credentials.password)),
                Request::EapCode { .. } => ("code", secret(self.code)),
                Request::EapIdentity { .. } => ("identity", Answer::Text { text: "alice".into() }),
                Request::Sign { octets, announced } => {
                    let key = self.credentials.key.as_ref().unwrap();
                    let mut random = SeededRandom::new(3);
                    let signed = ike_client::auth::signature::sign(key, &announced, &octets, &mut random).unwrap();
                    ("signature", Answer::Signature { method: signed.scheme.method(), data: signed.data })
                }
                other => panic!("the client asks for {other:?}"),
            };
            self.asked.push(name);
            self.client.handle_response(id, answer, self.clock).unwrap();
        }
    }

    fn take_events(&mut self) {
        while let Some(event) = self.client.poll_event() {
            match event {
                ClientEvent::Established(established) => self.established = Some(*established),
                ClientEvent::ChildInstalled(child) => self.children.push((child.outbound, child.inbound)),
                ClientEvent::ChildRetired { inbound, .. } => self.children.retain(|(_, one)| one.spi() != inbound),
                ClientEvent::Closed { cause } => self.closed = Some(cause),
                ClientEvent::Ticket(ticket) => self.ticket = Some(*ticket),
                _ => {}
            }
        }
        while let Some(event) = self.gateway.poll_event() {
            match event {
                Event::ChildInstalled(child) => self.plane.install(*child),
                Event::ChildRetired { inbound } => self.plane.retire(inbound),
                Event::Log(event) => self.log.push(log::line(&event, "RA-VPN", jiff::Timestamp::UNIX_EPOCH)),
            }
        }
    }

    /// Sends a packet to the corporate host and one back, over the newest CHILD SA.
    pub(super) fn ping(&mut self) -> Result<(), &'static str> {
        let Some(established) = &self.established else { return Err("not established") };
        let [address] = established.addresses.as_slice() else { return Err("not one address") };
        let std::net::IpAddr::V4(own) = address.addr() else { return Err("not an IPv4 address") };
        let (outbound, _) = self.children.last().ok_or("no CHILD SA")?;
        let there = packet(own, CORPORATE.into());
        let mut buffer = vec![0; outbound.sealed_length(there.len())];
        let start = outbound.header_length();
        buffer[start..start + there.len()].copy_from_slice(&there);
        outbound.seal_in_place(&mut buffer, there.len()).map_err(|_| "the client cannot seal")?;
        let path = Path { local: (GATEWAY, 4500).into(), remote: (CLIENT, 4500).into() };
        let (range, _) = self.plane.open(&mut buffer, path).ok_or("the gateway cannot open")?;
        assert_eq!(buffer[range], there);

        let back = packet(CORPORATE.into(), own);
        let mut buffer = vec![0; 2000];
        let (length, path) = self.plane.seal(&back, &mut buffer).ok_or("the gateway cannot seal")?;
        assert_eq!(path.remote, SocketAddr::from((CLIENT, 4500)));
        for (_, inbound) in &self.children {
            let mut copy = buffer[..length].to_vec();
            if let Ok(Opened::Packet(_, range)) = inbound.open_in_place(&mut copy) {
                assert_eq!(copy[range], back);
                return Ok(());
            }
        }
        Err("the client cannot open")
    }

    /// Returns how often a message of this kind went over the wire.
    pub(super) fn count(&self, exchange: ExchangeType, to_gateway: bool, response: bool) -> usize {
        let alike = |seen: &&Seen| (seen.exchange, seen.to_gateway, seen.response) == (exchange, to_gateway, response);
        self.seen.iter().filter(alike).count()
    }
}

/// An IPv4 packet with an unassigned protocol and a few bytes.
fn packet(from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 24, 0, 0, 0, 0, 64, 253, 0, 0];
    packet.extend_from_slice(&from.octets());
    packet.extend_from_slice(&to.octets());
    packet.extend_from_slice(b"ping");
    packet
}

/// A certificate authority and what it has signed.
pub(super) struct Authority {
    certificate: rcgen::CertifiedIssuer<'static, rcgen::KeyPair>,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(rcgen::DnType::CommonName, "lab authority");
        let certificate = rcgen::CertifiedIssuer::self_signed(parameters, rcgen::KeyPair::generate().unwrap()).unwrap();
        Self { certificate }
    }

    pub(super) fn der(&self) -> Vec<u8> {
        self.certificate.der().to_vec()
    }

    /// Signs a certificate for `name`; returns it and its key.
    pub(super) fn issue(
        &self,
        name: rcgen::SanType,
        purpose: rcgen::ExtendedKeyUsagePurpose,
        algorithm: &'static rcgen::SignatureAlgorithm,
    ) -> (Vec<u8>, PrivateKey) {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
        parameters.subject_alt_names.push(name);
        parameters.extended_key_usages.push(purpose);
        let certificate = parameters.signed_by(&key, &self.certificate).unwrap();
        (certificate.der().to_vec(), PrivateKey::from_pem(&key.serialize_pem()).unwrap())
    }
}

/// Settings of a gateway by certificate; paths are never read here.
pub(super) fn by_certificate(client: ClientAuth) -> Settings {
    let gateway_auth = GatewayAuth::Certificate { chain: "chain.pem".into(), key: "key.pem".into() };
    Settings { gateway_auth, client_auth: client, ..settings() }
}

/// What a client believes that trusts the authority.
pub(super) fn trusting(authority: &Authority) -> GatewayAuthentication {
    GatewayAuthentication::Certificate {
        anchors: vec![authority.der()],
        spki_pins: Vec::new(),
        allow_rsa_sha1: false,
        revocation: Default::default(),
    }
}

pub(super) fn certificate_of(leaf: Vec<u8>) -> ClientAuthentication {
    ClientAuthentication::Certificate { chain: vec![leaf] }
}
