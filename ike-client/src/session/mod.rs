//! The IKE SA and its CHILD SAs: from the first message to the last.
//!
//! A [`Session`] is one connection to one gateway. It holds no socket, clock, file or random
//! source: they are handed in. The driver
//!
//! 1. feeds it: [`Session::handle_datagram`], [`Session::handle_timeout`],
//!    [`Session::handle_response`], and the commands ([`Session::close`], ...);
//! 2. then empties it, each until it gives nothing: [`Session::poll_event`] first, since a CHILD SA
//!    must be installed before the peer hears that it may use it, then [`Session::poll_request`]
//!    and [`Session::poll_transmit`];
//! 3. then sleeps until [`Session::poll_timeout`] or the next input.
//!
//! What must never happen here: an EAP answer before the gateway has proven itself; an algorithm
//! that was not offered; an established SA changed by a message that is not protected by it.
//!
//! | module | holds |
//! |---|---|
//! | [`configuration`] | what a session is told beforehand |
//! | [`request`] | what it asks for, and the answers |
//! | [`event`], [`cause`] | what it tells |
//! | [`output`] | datagrams, sockets, timers, counters |
//! | [`key_table`] | the keys, for who may look into a capture |
//! | [`trace`] | the conversation log |
//! | [`resume`] | tickets, and how a session comes back by one |
//! | [`redirect`] | where a gateway sends this client |
//! | `state`, `context` | the states, named for what is awaited, and what they share |
//! | `candidates` | several answers to the first message, until one of them is proven |
//! | `init`, `nat`, `auth`, `eap`, `config`, `closing` | IKE_SA_INIT, IKE_AUTH, the last exchange |
//! | `established` and below | an SA that stands: liveness, renewal, deletion, loss, moving, and when to prove oneself again |
//! | `continuity` | what a session may do to go on |
//! | `ike_sa`, `child`, `proposal`, `selectors`, `payloads` | what those work with |

mod auth;
mod candidates;
pub mod cause;
mod child;
mod closing;
mod config;
pub mod configuration;
mod context;
mod continuity;
mod eap;
mod established;
pub mod event;
mod ike_sa;
mod init;
mod intermediate;
pub mod key_table;
mod nat;
pub mod output;
mod payloads;
mod ppk;
mod proposal;
pub mod redirect;
pub mod request;
pub mod resume;
mod selectors;
mod state;
#[cfg(test)]
mod tests;
pub mod trace;

pub use cause::{CloseCause, CloseReason, DistrustReason, LikelyCause, Retry, SaKind};
pub use configuration::{
    ClientAuthentication, Configuration, Continuity, Extensions, GatewayAuthentication, Lifetime, PostQuantumKey,
    VirtualAddresses,
};
pub use event::{ChildInstalled, Established, Event, Nat, OutboundFrom, Warning};
pub use key_table::{KeyLine, KeyTable};
pub use output::{Counters, LocalSocket, TimerName, Transmit};
pub use redirect::RedirectTarget;
pub use request::{Answer, Request, RequestId};
pub use resume::Ticket;
pub use trace::TraceRecord;

use crate::esp::EspSpi;
use crate::random::Random;
use crate::time::Timestamp;
use crate::wire::Message;
use context::Context;
use resume::AwaitingResumeResponse;
use state::State;
use std::net::{IpAddr, SocketAddr};

/// One connection to one gateway: see the [module](self).
pub struct Session {
    context: Context,
    state: State,
}

/// No question of that number stands: it was answered, it lapsed, or it never was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no question of number {} stands", .0.0)]
pub struct UnknownRequest(pub RequestId);

impl Session {
    /// Starts a connection from `local` to `remote`; the first datagram is queued at once.
    ///
    /// `local` must be the address from which datagrams to `remote` really leave, with the port of
    /// the socket that is used first: NAT detection covers it. `unix_now` is the wall clock's time
    /// in seconds since 1970, by which certificates are judged.
    pub fn new(
        configuration: Configuration,
        random: Box<dyn Random>,
        local: SocketAddr,
        remote: SocketAddr,
        now: Timestamp,
        unix_now: u64,
    ) -> Self {
        let mut context = Context::new(configuration, random, (local, remote), now, unix_now);
        let state = init::from_the_start(&mut context, now);
        Self { context, state }
    }

    /// Starts as [`Self::new`] does, but by a ticket of an earlier session with the same gateway
    /// (RFC 5723): nobody is asked for anything. When the gateway does not take it, the session is
    /// negotiated from the start.
    pub fn resume(
        configuration: Configuration,
        ticket: Ticket,
        random: Box<dyn Random>,
        (local, remote): (SocketAddr, SocketAddr),
        now: Timestamp,
        unix_now: u64,
    ) -> Self {
        let mut context = Context::new(configuration, random, (local, remote), now, unix_now);
        let state = match AwaitingResumeResponse::start(ticket, &mut context, now) {
            Ok(state) => state,
            Err(cause) => State::closed(cause, &mut context),
        };
        Self { context, state }
    }

    /// Takes one datagram from `from` that carries an IKE message: without non-ESP marker, as
    /// [`transport::udp::demultiplex`](crate::transport::udp::demultiplex) gives it.
    ///
    /// Anything that is not the message that is awaited is dropped and counted
    /// ([`Self::counters`]); nothing that is not authentic changes an SA.
    pub fn handle_datagram(&mut self, datagram: &[u8], from: SocketAddr, now: Timestamp) {
        let Ok(message) = Message::decode(datagram) else {
            self.context.counters.malformed += 1;
            return;
        };
        // Before there are keys the address is all that tells a gateway from a passer-by. After
        // that the keys do, and a NAT may have moved the gateway's port.
        let known = from.ip() == self.context.path.remote.ip() || self.context.alternatives.contains(&from.ip());
        if !known || (!self.has_keys() && from != self.context.path.remote) {
            self.context.counters.foreign += 1;
            return;
        }
        self.context.trace.received_open(&message, datagram.len());
        self.context.from = from;
        self.step(|state, context| state.receive(datagram, &message, context, now));
    }

    /// Does what is due at `now`. Calling it early does no harm.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.step(|state, context| state.handle_timeout(context, now));
    }

    /// Answers the question of that number.
    ///
    /// # Errors
    /// [`UnknownRequest`] when no such question stands (any more); the answer is dropped and wiped.
    pub fn handle_response(&mut self, id: RequestId, answer: Answer, now: Timestamp) -> Result<(), UnknownRequest> {
        if !self.state.asks(id) {
            return Err(UnknownRequest(id));
        }
        self.step(|state, context| state.answered(id, answer, context, now));
        Ok(())
    }

    /// Notes that an authentic ESP packet of the gateway came: it lives.
    pub fn note_inbound_traffic(&mut self, now: Timestamp) {
        if let State::Established(state) = &mut self.state {
            state.note_inbound_traffic(now);
        }
    }

    /// Ends the session: [`Event::Closed`] and, where there is an IKE SA, its Delete are queued.
    /// The Delete is repeated a few times as long as the session is driven on.
    pub fn close(&mut self, reason: CloseReason, now: Timestamp) {
        self.step(|state, context| state.close(reason, context, now));
    }

    /// Renews the IKE SA now; nothing happens before it is established.
    pub fn rekey_ike(&mut self, now: Timestamp) {
        self.established(|state, context| state.rekey_ike(context, now));
    }

    /// Renews the CHILD SA now; nothing happens before it is established.
    pub fn rekey_child(&mut self, now: Timestamp) {
        self.established(|state, context| state.rekey_child(context, now));
    }

    /// Asks the gateway whether it lives, unless a response of it is awaited anyway.
    pub fn check_liveness(&mut self, now: Timestamp) {
        self.established(|state, context| state.check_liveness(context, now));
    }

    /// Asks by a datagram of `size` octets whether the path takes one of that size; [`Event::Probed`]
    /// tells. Nothing happens before the session is established.
    pub fn probe_path(&mut self, size: usize, now: Timestamp) {
        self.established(|state, context| state.probe_path(size, context, now));
    }

    /// Tells whether the gateway follows this session to another address (RFC 4555).
    pub const fn can_move(&self) -> bool {
        match &self.state {
            State::Established(state) => state.can_move(),
            _ => false,
        }
    }

    /// Goes on between these two addresses, since the ones in use are gone or another path is better:
    /// what is under way goes on there, and the gateway is told. [`Event::Moved`] says when it knows.
    ///
    /// `local` is the address and port of the socket that ESP travels on too. Nothing happens when
    /// [`Self::can_move`] says no: then the tunnel has to be made anew.
    pub fn move_to(&mut self, local: SocketAddr, remote: SocketAddr, now: Timestamp) {
        if self.can_move() {
            self.context.path.local = local;
            self.context.path.remote = remote;
            self.established(|state, context| state.moved(context, now));
        }
    }

    /// Numbers the questions from `first` on, so that those of two sessions can be told apart.
    #[must_use]
    pub const fn asking_from(mut self, first: RequestId) -> Self {
        self.context.next_request = first.0;
        self
    }

    /// Returns the next datagram to send; call until there is none.
    #[must_use]
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.context.transmits.pop_front()
    }

    /// Returns the next thing that happened; call until there is none.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.context.events.pop_front()
    }

    /// Returns the next question and until when it can be answered; call until there is none.
    #[must_use]
    pub fn poll_request(&mut self) -> Option<(RequestId, Request, Timestamp)> {
        self.context.requests.pop_front()
    }

    /// Switches the conversation log on; what was sent already and not yet polled is noted too.
    pub fn trace(&mut self) {
        self.context.trace.switch_on();
        let prefix = |transmit: &Transmit| match transmit.socket {
            LocalSocket::Ike => 0,
            LocalSocket::Encapsulated => crate::transport::NON_ESP_MARKER.len(),
        };
        for transmit in &self.context.transmits {
            self.context.trace.sent(transmit.bytes.get(prefix(transmit)..).unwrap_or_default());
        }
    }

    /// Has every key from now on written down for [`Self::poll_keys`]. To be called before the first
    /// message is handled, and only where a person with every right on this machine asked for it: the
    /// lines open all that the session protects.
    pub fn disclose_keys(&mut self) {
        self.context.disclosure.switch_on();
    }

    /// Returns the next line of the key tables; call until there is none.
    #[must_use]
    pub fn poll_keys(&mut self) -> Option<KeyLine> {
        self.context.disclosure.poll()
    }

    /// Returns the next record of the conversation log; call until there is none.
    #[must_use]
    pub fn poll_trace(&mut self) -> Option<TraceRecord> {
        self.context.trace.poll()
    }

    /// Returns when [`Self::handle_timeout`] is due next, and what for; none when never.
    ///
    /// It holds until the next input. After [`Self::handle_timeout`] at that very moment the next
    /// one lies ahead of it.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Timestamp, TimerName)> {
        self.state.timers(&self.context).into_iter().min()
    }

    /// Returns what was dropped so far, and why.
    pub const fn counters(&self) -> Counters {
        self.context.counters
    }

    /// Returns the gateway's address and port that are in use now.
    pub const fn remote(&self) -> SocketAddr {
        self.context.path.remote
    }

    /// Returns the other addresses at which the gateway, once proven, said it can be reached (RFC 4555
    /// §3.6).
    pub fn other_addresses(&self) -> &[IpAddr] {
        &self.context.alternatives
    }

    /// Returns the SPI of the CHILD SA that the gateway was asked for, in IKE_AUTH or later, and that is not made yet
    /// here: the gateway may send on it before its answer arrives (RFC 7296 §2.8).
    pub fn expected_child(&self) -> Option<EspSpi> {
        self.state.expected_child()
    }

    /// Tells whether the gateway has answered IKE_SA_INIT in a way that led to keys, or the session
    /// is over.
    pub const fn has_keys(&self) -> bool {
        match &self.state {
            State::Candidates(candidates) => candidates.have_keys(),
            _ => true,
        }
    }

    /// Names what is awaited, for logs: `awaiting-init-response`, `established`, ...
    pub fn state_name(&self) -> &'static str {
        self.state.name()
    }

    /// Tells whether the session is over ([`Event::Closed`] was queued).
    pub const fn is_closed(&self) -> bool {
        self.state.is_closed()
    }

    /// Tells whether the session is over and not even the repetition of a Delete is left to do.
    pub const fn is_finished(&self) -> bool {
        self.state.is_finished()
    }

    fn step(&mut self, step: impl FnOnce(State, &mut Context) -> State) {
        let state = std::mem::replace(&mut self.state, State::Closed);
        self.state = step(state, &mut self.context);
        if self.state.is_closed() {
            self.context.requests.clear();
        }
    }

    fn established(&mut self, step: impl FnOnce(Box<established::EstablishedSa>, &mut Context) -> State) {
        self.step(|state, context| match state {
            State::Established(established) => step(established, context),
            other => other,
        });
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Session").field("state", &self.state.name()).finish_non_exhaustive()
    }
}
