//! WireGuard as an [`Encapsulation`], through boringtun.
//!
//! boringtun keeps packets for later while there is no session, and would send them when one
//! comes, past the gate; so nothing is handed to it until there is one. It also leaves out the
//! padding to sixteen octets that the protocol asks for, so packets are padded before it sees them.

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
/// How often boringtun wants to look at its timers.
const TICK: Duration = Duration::from_millis(250);
/// Handshake messages that may wait to be sent.
const MOST_EVENTS: usize = 32;

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
    next_tick: Timestamp,
    up: bool,
}

impl WireGuardEncapsulation {
    /// Makes the peer. `selectors` hold our addresses and what the peer may send from.
    pub fn new(tunn: Tunn, selectors: Selectors) -> Self {
        let state = State {
            tunn,
            scratch: vec![0; MAX_PACKET + HEADER + PADDING + TAG].into(),
            plain: vec![0; MAX_PACKET + PADDING].into(),
            events: VecDeque::new(),
            next_tick: clock::now(),
            up: false,
        };
        Self { state: Mutex::new(state), selectors }
    }

    /// Starts a handshake, unless one is going on.
    pub fn initiate(&self) {
        let mut state = self.state();
        let State { tunn, scratch, events, .. } = &mut *state;
        note(events, tunn.format_handshake_initiation(scratch, false));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps what boringtun wants sent or says.
fn note(events: &mut VecDeque<EncapsulationEvent>, result: TunnResult<'_>) -> bool {
    if events.len() >= MOST_EVENTS {
        return false;
    }
    match result {
        TunnResult::WriteToNetwork(message) => {
            events.push_back(EncapsulationEvent::Transmit(message.to_vec()));
            true
        }
        TunnResult::Err(WireGuardError::ConnectionExpired) => {
            events.push_back(EncapsulationEvent::PeerLost);
            false
        }
        _ => false,
    }
}

impl State {
    /// Notes that the first session came, or that another one did.
    fn look_for_session(&mut self) {
        let up = self.tunn.time_since_last_handshake().is_some();
        if up && !self.up {
            self.events.push_back(EncapsulationEvent::SessionUp);
        }
        self.up = up;
    }

    fn open(&mut self, datagram: &mut [u8]) -> Result<Option<Range<usize>>, WireGuardError> {
        let length = match self.tunn.decapsulate(None, datagram, &mut self.scratch) {
            TunnResult::WriteToTunnelV4(packet, _) | TunnResult::WriteToTunnelV6(packet, _) => {
                // Opened elsewhere; brought back to where the datagram lay.
                let length = packet.len();
                datagram.get_mut(..length).ok_or(WireGuardError::InvalidPacket)?.copy_from_slice(packet);
                length
            }
            TunnResult::Err(error) => return Err(error),
            result => {
                let mut again = note(&mut self.events, result);
                while again {
                    again = note(&mut self.events, self.tunn.decapsulate(None, &[], &mut self.scratch));
                }
                self.look_for_session();
                return Ok(None);
            }
        };
        Ok(Some(0..length))
    }
}

impl Encapsulation for WireGuardEncapsulation {
    fn layout(&self) -> Option<Layout> {
        Some(Layout { headroom: HEADER, inside: 0, alignment: PADDING, trailer: TAG })
    }

    fn seal(&self, batch: &mut OutboundBatch, tally: &Tally) {
        let mut state = self.state();
        state.look_for_session();
        if !state.up {
            let State { tunn, scratch, events, .. } = &mut *state;
            note(events, tunn.format_handshake_initiation(scratch, false));
            add(&tally.dropped_outbound, batch.packets());
            return;
        }
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
        let mut state = self.state();
        batch.open_each(|datagram, mark| {
            let range = match state.open(datagram) {
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

    fn poll_timeout(&self) -> Option<Timestamp> {
        Some(self.state().next_tick)
    }

    fn handle_timeout(&self, now: Timestamp) {
        let mut state = self.state();
        state.next_tick = now + TICK;
        let State { tunn, scratch, events, .. } = &mut *state;
        note(events, tunn.update_timers(scratch));
        state.look_for_session();
    }

    fn has_event(&self) -> bool {
        !self.state().events.is_empty()
    }

    fn poll_event(&self) -> Option<EncapsulationEvent> {
        self.state().events.pop_front()
    }
}
