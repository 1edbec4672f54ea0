//! What every state of a session shares: configuration, randomness, path, and the queues out.

use super::cause::CloseCause;
use super::configuration::Configuration;
use super::event::Event;
use super::key_table::Disclosure;
use super::output::{Counters, LocalSocket, Transmit};
use super::request::{Request, RequestId};
use super::trace::Trace;
use crate::auth::Identity;
use crate::random::Random;
use crate::time::Timestamp;
use crate::transport::udp;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

/// Nonces of 32 octets: half the key size of the strongest function, and more (RFC 7296 §2.10).
const NONCE_LENGTH: usize = 32;

/// The two ends of the path, and which of the own sockets is in use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path {
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub socket: LocalSocket,
}

/// A question that was put, and until when it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    pub id: RequestId,
    pub asked: Timestamp,
    pub deadline: Timestamp,
}

/// See the module's description.
pub(super) struct Context {
    pub configuration: Configuration,
    pub random: Box<dyn Random>,
    pub path: Path,
    pub counters: Counters,
    /// Where the datagram that is being looked at came from.
    pub from: SocketAddr,
    /// Set by whoever has just verified the gateway's proof, whatever then comes of it.
    pub gateway_proven: bool,
    /// IDi, once it was sent.
    pub identity: Option<Identity>,
    /// Other addresses that the gateway, once proven, said it can be reached at.
    pub alternatives: Vec<IpAddr>,
    /// The transmits that wait to be polled.
    pub transmits: VecDeque<Transmit>,
    /// The events that wait to be polled.
    pub events: VecDeque<Event>,
    /// The requests that wait to be polled.
    pub requests: VecDeque<(RequestId, Request, Timestamp)>,
    /// The conversation log.
    pub trace: Trace,
    /// The keys, for who asked for them.
    pub disclosure: Disclosure,
    pub(super) next_request: u64,
    started: Timestamp,
    unix_at_start: u64,
}

impl Context {
    pub(super) fn new(
        mut configuration: Configuration,
        random: Box<dyn Random>,
        (local, remote): (SocketAddr, SocketAddr),
        now: Timestamp,
        unix_now: u64,
    ) -> Self {
        // What is demanded holds for what is resumed and renewed too.
        if configuration.require_post_quantum && !configuration.ppk.as_ref().is_some_and(|ppk| ppk.required) {
            configuration.ike_suites.retain(|suite| suite.additional.is_post_quantum());
        }
        let socket = if configuration.start_encapsulated { LocalSocket::Encapsulated } else { LocalSocket::Ike };
        Self {
            configuration,
            random,
            path: Path { local, remote, socket },
            counters: Counters::default(),
            from: remote,
            gateway_proven: false,
            identity: None,
            alternatives: Vec::new(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            requests: VecDeque::new(),
            trace: Trace::default(),
            disclosure: Disclosure::default(),
            next_request: 1,
            started: now,
            unix_at_start: unix_now,
        }
    }

    /// Returns the wall clock's time, in seconds since 1970.
    pub(super) fn unix(&self, now: Timestamp) -> u64 {
        self.unix_at_start.saturating_add(now.saturating_since(self.started).as_secs())
    }

    /// Queues one IKE message on the path in use.
    pub(super) fn send(&mut self, message: &[u8]) {
        self.send_to(message, self.path.remote);
    }

    /// Queues one IKE message on a path that is perhaps no longer the one in use.
    pub(super) fn send_by(&mut self, path: &Path, message: &[u8]) {
        self.transmit(message, path.remote, path.socket);
    }

    /// Queues the answer to the datagram that is being looked at: where it came from, if that is
    /// another address than the one in use (RFC 7296 §2.11).
    pub(super) fn answer(&mut self, message: &[u8]) {
        let elsewhere = self.from.ip() != self.path.remote.ip();
        self.send_to(message, if elsewhere { self.from } else { self.path.remote });
    }

    /// Queues one IKE message to all that the gateway said it can be reached at.
    pub(super) fn send_everywhere(&mut self, message: &[u8]) {
        let port = self.path.remote.port();
        let others: Vec<SocketAddr> = self.alternatives.iter().map(|address| SocketAddr::new(*address, port)).collect();
        std::iter::once(self.path.remote).chain(others).for_each(|to| self.send_to(message, to));
    }

    /// Queues one IKE message that must not be fragmented on its way.
    pub(super) fn send_whole(&mut self, message: &[u8]) {
        self.send(message);
        if let Some(last) = self.transmits.back_mut() {
            last.whole = true;
        }
    }

    fn send_to(&mut self, message: &[u8], destination: SocketAddr) {
        self.transmit(message, destination, self.path.socket);
    }

    fn transmit(&mut self, message: &[u8], destination: SocketAddr, socket: LocalSocket) {
        self.trace.sent(message);
        let bytes = match socket {
            LocalSocket::Ike => message.to_vec(),
            LocalSocket::Encapsulated => udp::mark(message),
        };
        self.transmits.push_back(Transmit { destination, socket, bytes, whole: false });
    }

    /// Returns the octets that lie in front of an IKE message on the socket in use.
    pub(super) const fn marker_length(&self) -> usize {
        match self.path.socket {
            LocalSocket::Ike => 0,
            LocalSocket::Encapsulated => crate::transport::NON_ESP_MARKER.len(),
        }
    }

    /// Queues a NAT keepalive.
    pub(super) fn send_keepalive(&mut self) {
        let Path { remote, socket, .. } = self.path;
        self.transmits.push_back(Transmit {
            destination: remote,
            socket,
            bytes: udp::KEEPALIVE.to_vec(),
            whole: false,
        });
    }

    /// Moves to the socket on which ESP travels too, and to the gateway's port for it.
    pub(super) fn float(&mut self) {
        if self.path.socket == LocalSocket::Ike {
            self.path.socket = LocalSocket::Encapsulated;
            self.path.remote.set_port(self.configuration.encapsulated_port);
        }
    }

    /// Queues an event.
    pub(super) fn tell(&mut self, event: Event) {
        self.events.push_back(event);
    }

    /// Queues a question and returns under which number it stands.
    pub(super) fn ask(&mut self, request: Request, now: Timestamp) -> Question {
        let id = RequestId(self.next_request);
        self.next_request = self.next_request.saturating_add(1);
        let deadline = now + self.configuration.answer_limit;
        self.requests.push_back((id, request, deadline));
        Question { id, asked: now, deadline }
    }

    /// Draws a nonce.
    pub(super) fn nonce(&mut self) -> Result<Vec<u8>, CloseCause> {
        let mut nonce = vec![0; NONCE_LENGTH];
        self.random.fill(&mut nonce)?;
        Ok(nonce)
    }

    /// Draws an SPI of an IKE SA, which is never zero.
    pub(super) fn ike_spi(&mut self) -> Result<u64, CloseCause> {
        loop {
            let mut octets = [0; 8];
            self.random.fill(&mut octets)?;
            match u64::from_be_bytes(octets) {
                0 => {}
                spi => return Ok(spi),
            }
        }
    }

    /// Draws an SPI of an ESP SA, above the reserved ones (RFC 4303 §2.1).
    pub(super) fn esp_spi(&mut self) -> Result<crate::esp::EspSpi, CloseCause> {
        loop {
            let mut octets = [0; 4];
            self.random.fill(&mut octets)?;
            match u32::from_be_bytes(octets) {
                0..=255 => {}
                spi => return Ok(crate::esp::EspSpi(spi)),
            }
        }
    }

    /// Draws a part of `whole`, evenly.
    pub(super) fn part_of(&mut self, whole: std::time::Duration) -> Result<std::time::Duration, CloseCause> {
        let mut octets = [0; 2];
        self.random.fill(&mut octets)?;
        Ok(whole / u32::from(u16::MAX) * u32::from(u16::from_be_bytes(octets)))
    }
}
