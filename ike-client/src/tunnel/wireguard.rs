//! WireGuard as an [`Encapsulation`], through boringtun.
//!
//! boringtun does handshakes and cryptography; what it leaves undone or does wrong is mended here:
//!
//! | boringtun | here |
//! |---|---|
//! | keeps packets while there is no session, and sends them past the gate | a few are held for a moment, and go through it |
//! | leaves the padding to sixteen octets out | packets are padded before it sees them |
//! | owes the peer a keepalive ten seconds after its data, and forgets it where question and answer fall between two ticks of its clock; the peer then takes the session for dead and makes another, again and again | keepalives, the persistent ones too, are counted here |
//! | counts silence from the last packet heard, so that the first packet after a pause looks unanswered at once | its clock stands still for a moment then |
//! | gives a peer up for good after nine idle minutes | only one that does not answer is lost |

use super::batch::{InboundBatch, MAX_PACKET, OutboundBatch};
use super::clock;
use super::ecn;
use super::encapsulation::{Encapsulation, EncapsulationEvent, Layout};
use super::tally::{Tally, add};
use crate::Timestamp;
use crate::esp::selector::{Direction, Selectors};
use boringtun::noise::errors::WireGuardError;
use boringtun::noise::{Tunn, TunnResult};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Type, receiver and counter in front of a data message.
const HEADER: usize = 16;
/// The tag behind it.
const TAG: usize = 16;
/// What the inner packet is padded to.
const PADDING: usize = 16;
/// How a packet lies in a data message.
pub const LAYOUT: Layout = Layout { headroom: HEADER, inside: 0, alignment: PADDING, trailer: TAG };
/// The first octet of a handshake initiation.
const INITIATION: u8 = 1;
/// How often boringtun looks at its timers while something happens.
const TICK: Duration = Duration::from_millis(250);
/// The same while nothing happens.
const IDLE_TICK: Duration = Duration::from_secs(10);
/// How long after the last packet something still happens.
const ACTIVE: Duration = Duration::from_secs(30);
/// How long the first answer after a pause may take before boringtun looks.
const ANSWER: Duration = Duration::from_secs(1);
/// The pause that this is about: less than what boringtun takes for the peer's silence.
const PAUSE: Duration = Duration::from_secs(10);
/// KEEPALIVE_TIMEOUT of the protocol: data is answered within this, if by nothing else.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// REKEY_AFTER_TIME of the protocol.
const REKEY: Duration = Duration::from_secs(120);
/// REJECT_AFTER_TIME of the protocol.
const REJECT: Duration = Duration::from_secs(180);
/// Handshake messages that may wait to be sent.
const MOST_EVENTS: usize = 32;
/// The packets held for a session that is being made.
const MOST_HELD: usize = 32;
/// How long they are held.
const HELD: Duration = Duration::from_secs(2);

/// One peer.
pub struct WireGuardEncapsulation {
    state: Mutex<State>,
    selectors: Selectors,
}

struct State {
    tunn: Tunn,
    scratch: Box<[u8]>,
    plain: Box<[u8]>,
    events: VecDeque<EncapsulationEvent>,
    /// When boringtun looks at its timers next.
    next_tick: Timestamp,
    /// Whether that moment has come nearer since it was asked for.
    sooner: bool,
    /// How often something is sent though there is nothing to send.
    persistent: Option<Duration>,
    /// When the session began that packets are sealed with.
    session: Option<Timestamp>,
    last_sent: Timestamp,
    last_heard: Timestamp,
    /// The first data that nothing was sent after.
    owed: Option<Timestamp>,
    /// Whether a packet was sent since something was heard.
    asked: bool,
    /// The first of the handshakes that the peer has not answered.
    unanswered: Option<Timestamp>,
    /// Packets that wait for a session, and since when each does.
    held: VecDeque<(Timestamp, Vec<u8>)>,
}

impl WireGuardEncapsulation {
    /// Makes the peer. `tunn` must send no persistent keepalives of its own: `persistent` says how often
    /// something is sent though there is nothing to send. `selectors` hold our addresses and what the
    /// peer may send from.
    pub fn new(tunn: Tunn, persistent: Option<Duration>, selectors: Selectors) -> Self {
        let now = clock::now();
        let state = State {
            tunn,
            scratch: vec![0; MAX_PACKET + HEADER + PADDING + TAG].into(),
            plain: vec![0; MAX_PACKET + PADDING].into(),
            events: VecDeque::new(),
            next_tick: now,
            sooner: false,
            persistent,
            session: None,
            last_sent: now,
            last_heard: now,
            owed: None,
            asked: false,
            unanswered: None,
            held: VecDeque::new(),
        };
        Self { state: Mutex::new(state), selectors }
    }

    /// Starts a handshake. Does nothing while one is going on, unless `anew` is wanted: to another
    /// address of the peer.
    pub fn initiate(&self, anew: bool) {
        self.state().initiate(anew, clock::now());
    }

    /// Lets the peer know at once where we are by now.
    pub fn announce(&self) {
        let (mut state, now) = (self.state(), clock::now());
        if state.session.is_some() { state.send_keepalive(now) } else { state.initiate(false, now) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Keeps what boringtun wants sent or says. Returns whether it may have more of that.
    fn note(&mut self, result: Noted, now: Timestamp) -> bool {
        match result {
            Noted::Send(message) => {
                self.last_sent = now;
                self.owed = None;
                if message.first() == Some(&INITIATION) {
                    self.unanswered.get_or_insert(now);
                }
                if self.events.len() < MOST_EVENTS {
                    self.events.push_back(EncapsulationEvent::Transmit(message));
                }
                true
            }
            Noted::Expired => {
                // Without a question a peer that says nothing is none that is lost.
                if self.unanswered.take().is_some() {
                    self.events.push_back(EncapsulationEvent::PeerLost);
                }
                false
            }
            Noted::Nothing => false,
        }
    }

    fn initiate(&mut self, anew: bool, now: Timestamp) {
        let noted = Noted::from(self.tunn.format_handshake_initiation(&mut self.scratch, anew));
        self.note(noted, now);
        self.tick_by(now + TICK);
    }

    fn send_keepalive(&mut self, now: Timestamp) {
        let noted = Noted::from(self.tunn.encapsulate(&[], &mut self.scratch));
        self.note(noted, now);
    }

    /// Has boringtun look at its timers.
    fn tick(&mut self, now: Timestamp) {
        let noted = Noted::from(self.tunn.update_timers(&mut self.scratch));
        self.note(noted, now);
        self.look_for_session(now);
        let active = self.unanswered.is_some() || now.saturating_since(self.last_sent.max(self.last_heard)) < ACTIVE;
        self.next_tick = now + if active { TICK } else { IDLE_TICK };
    }

    /// Has boringtun look at `at` at the latest.
    fn tick_by(&mut self, at: Timestamp) {
        if at < self.next_tick {
            self.next_tick = at;
            self.sooner = true;
        }
    }

    /// Notes that the first session came, or that another one did.
    fn look_for_session(&mut self, now: Timestamp) {
        // What boringtun says is as exact as its ticks.
        let began = self.tunn.time_since_last_handshake();
        let began = began.map(|age| Timestamp::from_start(now.since_start().saturating_sub(age)));
        let is_new = match (self.session, began) {
            (None, Some(_)) => true,
            (Some(old), Some(new)) => new.saturating_since(old) > TICK / 2,
            _ => false,
        };
        if is_new {
            self.unanswered = None;
            self.events.push_back(EncapsulationEvent::SessionUp);
        }
        if is_new || began.is_none() {
            self.session = began;
        }
    }

    /// Notes that something is sent on the session.
    fn asks(&mut self, now: Timestamp) {
        let after_pause = !self.asked && now.saturating_since(self.last_heard) >= PAUSE;
        if after_pause {
            self.next_tick = now + ANSWER;
            self.sooner = true;
        } else {
            self.tick_by(now + TICK);
        }
        self.asked = true;
        self.last_sent = now;
        self.owed = None;
    }

    /// Notes that the peer was heard.
    fn hears(&mut self, now: Timestamp, data: bool) {
        self.asked = false;
        self.last_heard = now;
        self.unanswered = None;
        if data {
            self.owed.get_or_insert(now);
        }
        self.tick_by(now + TICK);
    }

    /// Returns when a keepalive is to be sent.
    fn keepalive_due(&self) -> Option<Timestamp> {
        let owed = self.owed.map(|since| since + KEEPALIVE);
        let persistent = self.persistent.map(|interval| self.last_sent + interval);
        [owed, persistent].into_iter().flatten().min()
    }

    fn open(&mut self, datagram: &mut [u8], now: Timestamp) -> Result<Option<Range<usize>>, WireGuardError> {
        let noted = match self.tunn.decapsulate(None, datagram, &mut self.scratch) {
            TunnResult::WriteToTunnelV4(packet, _) | TunnResult::WriteToTunnelV6(packet, _) => {
                // Opened elsewhere; brought back to where the datagram lay.
                let length = packet.len();
                datagram.get_mut(..length).ok_or(WireGuardError::InvalidPacket)?.copy_from_slice(packet);
                self.hears(now, true);
                return Ok(Some(0..length));
            }
            TunnResult::Err(error) => return Err(error),
            result => Noted::from(result),
        };
        self.hears(now, false);
        let mut again = self.note(noted, now);
        while again {
            let noted = Noted::from(self.tunn.decapsulate(None, &[], &mut self.scratch));
            again = self.note(noted, now);
        }
        self.look_for_session(now);
        Ok(None)
    }

    /// Holds packets for the session that is being made; returns how many there was no room for.
    fn hold(&mut self, batch: &mut OutboundBatch, now: Timestamp) -> usize {
        self.held.retain(|(since, _)| now.saturating_since(*since) < HELD);
        let mut dropped = 0;
        batch.seal_each(|room, inner| {
            match room.get(HEADER..HEADER + inner) {
                Some(packet) if self.held.len() < MOST_HELD => self.held.push_back((now, packet.to_vec())),
                _ => dropped += 1,
            }
            false
        });
        dropped
    }
}

/// What boringtun says, free of its buffer.
enum Noted {
    Send(Vec<u8>),
    Expired,
    Nothing,
}

impl From<TunnResult<'_>> for Noted {
    fn from(result: TunnResult<'_>) -> Self {
        match result {
            TunnResult::WriteToNetwork(message) => Self::Send(message.to_vec()),
            TunnResult::Err(WireGuardError::ConnectionExpired) => Self::Expired,
            _ => Self::Nothing,
        }
    }
}

impl Encapsulation for WireGuardEncapsulation {
    fn layout(&self) -> Option<Layout> {
        Some(LAYOUT)
    }

    fn seal(&self, batch: &mut OutboundBatch, tally: &Tally) {
        let (mut state, now) = (self.state(), clock::now());
        // boringtun looks at the age of a session at its ticks alone.
        if state.session.is_some_and(|began| now.saturating_since(began) >= REJECT) {
            state.tick(now);
        }
        if state.session.is_none() {
            let dropped = state.hold(batch, now);
            add(&tally.dropped_outbound, dropped);
            state.initiate(false, now);
            return;
        }
        state.asks(now);
        // WireGuard shows nobody on the way what kind of traffic there is.
        batch.hide_services();
        let State { tunn, plain, .. } = &mut *state;
        let mut dropped = 0;
        batch.seal_each(|room, inner| {
            let padded = inner.next_multiple_of(PADDING);
            let sealed = (|| {
                let packet = room.get(HEADER..HEADER + inner)?;
                let plain = plain.get_mut(..padded)?;
                let (head, padding) = plain.split_at_mut_checked(inner)?;
                head.copy_from_slice(packet);
                padding.fill(0);
                if !self.selectors.admit(Direction::Outbound, head) {
                    return None;
                }
                // boringtun wants room for a handshake in whatever it is given, and panics without.
                let mut small = [0; 160];
                let target = if room.len() >= small.len() { &mut *room } else { &mut small[..] };
                let TunnResult::WriteToNetwork(message) = tunn.encapsulate(plain, target) else { return None };
                let length = message.len();
                if room.len() < small.len() {
                    room.copy_from_slice(small.get(..length)?.get(..room.len())?);
                }
                (length == room.len()).then_some(())
            })();
            dropped += usize::from(sealed.is_none());
            sealed.is_some()
        });
        add(&tally.dropped_outbound, dropped);
    }

    fn open(&self, batch: &mut InboundBatch, tally: &Tally, _: &mut dyn FnMut(&[u8])) {
        let (mut state, now) = (self.state(), clock::now());
        batch.open_each(|datagram, mark| {
            let range = match state.open(datagram, now) {
                Ok(range) => range?,
                Err(WireGuardError::DuplicateCounter | WireGuardError::InvalidCounter) => {
                    add(&tally.replayed, 1);
                    return None;
                }
                Err(WireGuardError::InvalidAeadTag | WireGuardError::InvalidMac) => {
                    add(&tally.unauthenticated, 1);
                    return None;
                }
                Err(_) => {
                    add(&tally.dropped_inbound, 1);
                    return None;
                }
            };
            let inner = datagram.get_mut(range.clone())?;
            if !self.selectors.admit(Direction::Inbound, inner) || !ecn::decapsulate(mark, inner) {
                add(&tally.dropped_inbound, 1);
                return None;
            }
            Some(range)
        });
    }

    fn restore_held(&self, batch: &mut OutboundBatch) {
        let (mut state, now) = (self.state(), clock::now());
        for (since, packet) in std::mem::take(&mut state.held) {
            if now.saturating_since(since) < HELD
                && let Some(room) = batch.push(packet.len(), ecn::class(&packet))
            {
                room.copy_from_slice(&packet);
            }
        }
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        let mut state = self.state();
        state.sooner = false;
        state.keepalive_due().into_iter().chain([state.next_tick]).min()
    }

    fn handle_timeout(&self, now: Timestamp) {
        let mut state = self.state();
        if state.next_tick <= now {
            state.tick(now);
        }
        if state.keepalive_due().is_some_and(|at| at <= now) {
            state.owed = None;
            match state.session {
                Some(began) if now.saturating_since(began) < REKEY => state.send_keepalive(now),
                _ => {
                    state.last_sent = now;
                    state.initiate(false, now);
                }
            }
        }
    }

    fn has_event(&self) -> bool {
        let state = self.state();
        state.sooner || !state.events.is_empty()
    }

    fn poll_event(&self) -> Option<EncapsulationEvent> {
        self.state().events.pop_front()
    }
}

#[cfg(test)]
mod tests;
