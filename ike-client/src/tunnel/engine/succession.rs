//! Proving anew who both sides are, without a gap (RFC 7296 §2.8.3, RFC 4478): a second session is
//! made beside the one that stands, on the same way and for the same addresses. When it has a CHILD
//! SA it takes the place, and the first is deleted.

use super::dial;
use crate::random::SystemRandom;
use crate::session::{Answer, CloseReason, Event, Request, RequestId, Session, Transmit, UnknownRequest};
use crate::time::Timestamp;
use crate::tunnel::control::{Carrier, TunnelConfiguration};
use ipnet::IpNet;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

/// The questions of each session are numbered from a multiple of this.
const QUESTIONS: u64 = 1 << 32;

/// The sessions beside the one that stands.
pub struct Succession {
    /// The gateway's name, as it was dialled.
    name: String,
    /// How many successors there were.
    generation: u64,
    successor: Option<Session>,
    /// Whether the successor was given up and only says farewell.
    given_up: bool,
    predecessor: Option<Session>,
}

impl Succession {
    /// Makes one without sessions.
    pub const fn new(name: String) -> Self {
        Self { name, generation: 0, successor: None, given_up: false, predecessor: None }
    }

    /// Begins a successor, unless one is on its way.
    pub fn begin(
        &mut self,
        tunnel: &TunnelConfiguration,
        carrier: Carrier,
        addresses: &[IpNet],
        (local, remote): (SocketAddr, SocketAddr),
        now: Timestamp,
    ) {
        if self.successor.is_some() {
            return;
        }
        self.generation = self.generation.saturating_add(1);
        self.given_up = false;
        let mut configuration = dial::configuration(tunnel, &self.name, carrier).succeeding(addresses);
        configuration.encapsulated_port = remote.port();
        let unix_now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let session = Session::new(configuration, Box::new(SystemRandom), local, remote, now, unix_now);
        self.successor = Some(session.asking_from(RequestId(self.first_question())));
    }

    const fn first_question(&self) -> u64 {
        self.generation.saturating_mul(QUESTIONS)
    }

    /// Tells whether the successor asked that question.
    pub const fn asked(&self, id: RequestId) -> bool {
        self.successor.is_some() && id.0 >= self.first_question()
    }

    /// Answers the successor's question.
    ///
    /// # Errors
    /// When it does not stand any more.
    pub fn handle_response(&mut self, id: RequestId, answer: Answer, now: Timestamp) -> Result<(), UnknownRequest> {
        match &mut self.successor {
            Some(successor) => successor.handle_response(id, answer, now),
            None => Err(UnknownRequest(id)),
        }
    }

    /// Takes an IKE message; what is none of theirs they leave alone.
    pub fn handle_datagram(&mut self, message: &[u8], from: SocketAddr, now: Timestamp) {
        for session in self.both() {
            session.handle_datagram(message, from, now);
        }
    }

    /// Returns when [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let both = self.successor.iter().chain(&self.predecessor);
        both.filter_map(|session| session.poll_timeout().map(|(at, _)| at)).min()
    }

    /// Does what is due; forgets who is done.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        for session in self.both() {
            if session.poll_timeout().is_some_and(|(at, _)| at <= now) {
                session.handle_timeout(now);
            }
        }
    }

    /// Returns what the successor tells next; one that has ended is gone when nothing is left.
    pub fn poll_successor(&mut self) -> Option<Event> {
        let event = self.successor.as_mut()?.poll_event();
        if event.is_none() && self.successor.as_ref().is_some_and(Session::is_finished) {
            self.predecessor = self.successor.take();
        }
        event
    }

    /// Returns what the predecessor tells next.
    pub fn poll_predecessor(&mut self) -> Option<Event> {
        self.predecessor.as_mut()?.poll_event()
    }

    /// Returns the next question of the successor.
    pub fn poll_request(&mut self) -> Option<(RequestId, Request, Timestamp)> {
        self.successor.as_mut()?.poll_request()
    }

    /// Returns what either wants sent; a predecessor that has nothing more to do is gone then.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        let transmit = self.both().find_map(Session::poll_transmit);
        if transmit.is_none() && self.predecessor.as_ref().is_some_and(Session::is_finished) {
            self.predecessor = None;
        }
        transmit
    }

    /// Tells whether the successor may take the place.
    pub const fn may_take_over(&self) -> bool {
        self.successor.is_some() && !self.given_up
    }

    /// Lets the successor take the place of `session`, which is deleted.
    pub fn take_over(&mut self, session: &mut Session, now: Timestamp) {
        if let Some(successor) = self.successor.take() {
            let mut predecessor = std::mem::replace(session, successor);
            predecessor.close(CloseReason::Reconnect, now);
            self.predecessor = Some(predecessor);
        }
    }

    /// Ends the successor alone.
    pub fn give_up(&mut self, reason: CloseReason, now: Timestamp) {
        self.given_up = true;
        if let Some(successor) = &mut self.successor {
            successor.close(reason, now);
        }
    }

    /// Ends both.
    pub fn close(&mut self, reason: CloseReason, now: Timestamp) {
        for session in self.both() {
            session.close(reason, now);
        }
    }

    fn both(&mut self) -> impl Iterator<Item = &mut Session> {
        self.successor.iter_mut().chain(&mut self.predecessor)
    }
}
