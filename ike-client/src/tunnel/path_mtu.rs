//! The search for the largest packet that the path takes (RFC 8899), as a machine without a clock.
//!
//! ```text
//! the largest that the first hop takes ── arrives ──▶ settled; looked after while packets move
//!        │                                                ▲        │ stalled, or due
//!        └── lost three times: a black hole               │        ▼
//!               │                                         │   the size in use ── arrives ──▶ settled
//!               ▼                                         │        │ lost three times
//!        the base at once; does it arrive? ── no ──▶ the floor at once
//!               │                                         │
//!               └──────────── halving upwards ────────────┘
//! ```
//! Nothing but answers that the gateway has protected moves the size: what ICMP says of it is not
//! believed, so nobody on the way can make packets small by a word alone. Nothing is asked while
//! nothing moves. Sizes are those of inner packets.

use crate::time::Timestamp;
use std::time::Duration;

/// How often the size in use is tried before it counts as too large: MAX_PROBES of RFC 8899 §5.1.2.
const ATTEMPTS: u8 = 3;
/// The same for a larger size, which will be tried again.
const ATTEMPTS_UPWARDS: u8 = 2;
/// While packets move the size in use is confirmed this often: CONFIRMATION_TIMER of RFC 8899 §5.1.1.
const CONFIRMATION: Duration = Duration::from_secs(60);
/// A stalled transfer is a sign to ask at once, unless it was asked so lately.
const HASTE: Duration = Duration::from_secs(4);
/// When a larger size is tried after one was lost, the first time and at most: PMTU_RAISE_TIMER of
/// RFC 8899 §5.1.1. The wait doubles each time it was in vain.
const RAISE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(600));
/// What nearly every path takes: BASE_PLPMTU of RFC 8899 §5.1.2, chosen so that what IPv6 wants inside fits.
const BASE: u16 = 1280;
/// After a size was found too large this is precise enough.
const STEP: u16 = 8;
/// How long an answer may take at all; then the question counts as lost.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the packets of the last moments say about the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// Nothing moved.
    Idle,
    /// Packets moved.
    Flow,
    /// Packets moved, and then hardly any.
    Stall,
}

/// The search on one path.
#[derive(Debug)]
pub struct Search {
    /// The smallest size.
    floor: u16,
    /// The largest size that the first hop takes.
    ceiling: u16,
    /// What is in use.
    found: Found,
    /// From when on a larger size is tried, and how long it is waited before that the next time.
    raise: (Timestamp, Duration),
    state: State,
}

/// What is to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The largest inner packet.
    pub size: u16,
    /// Whether one of that size goes through in one piece, as far as is known.
    pub whole: bool,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// A question is to be asked at this moment.
    Waiting { since: Timestamp, question: Question },
    /// A question is on its way.
    Asking { until: Timestamp, question: Question },
    /// The size has been known since then.
    Settled { since: Timestamp },
}

/// Which size is in question, how often it was asked for, and what it lies between.
#[derive(Clone, Copy, Debug)]
struct Question {
    size: u16,
    attempt: u8,
    /// A size that fits, or the floor.
    low: u16,
    /// The largest that may fit.
    high: u16,
    /// Whether that size is in use: when it is lost, so is everything of that size.
    in_use: bool,
}

impl Question {
    /// Asks whether the size in use fits.
    const fn confirming(size: u16, floor: u16) -> Self {
        Self { size, attempt: 1, low: floor, high: size, in_use: true }
    }
}

impl Search {
    /// Begins at `now`. `ceiling` is what the first hop takes, and the size in use until something else
    /// is known; `floor` is the size that is never gone below.
    pub fn begin(floor: u16, ceiling: u16, now: Timestamp) -> Self {
        let ceiling = ceiling.max(floor);
        let state = State::Waiting { since: now, question: Question::confirming(ceiling, floor) };
        Self { floor, ceiling, found: Found { size: ceiling, whole: true }, raise: (now, RAISE.0), state }
    }

    /// Begins anew: the path is another one.
    pub fn restart(&mut self, ceiling: u16, now: Timestamp) {
        *self = Self::begin(self.floor, ceiling, now);
    }

    /// Returns what is in use.
    pub const fn found(&self) -> Found {
        self.found
    }

    /// Returns when [`Self::poll`] wants to be called.
    pub const fn next_due(&self) -> Option<Timestamp> {
        match self.state {
            State::Waiting { since: at, .. } | State::Asking { until: at, .. } => Some(at),
            State::Settled { .. } => None,
        }
    }

    /// Takes note of how packets move.
    pub fn note(&mut self, sign: Sign, now: Timestamp) {
        let State::Settled { since } = self.state else { return };
        if sign == Sign::Idle {
            return;
        }
        let Found { size, whole } = self.found;
        let patience = if sign == Sign::Stall { HASTE } else { CONFIRMATION };
        let question = if now >= since + patience {
            Question::confirming(size, self.floor)
        } else if self.raise.0 <= now && (size < self.ceiling || !whole) {
            Question { size: self.ceiling, attempt: 1, low: size, high: self.ceiling, in_use: false }
        } else {
            return;
        };
        self.state = State::Waiting { since: now, question };
    }

    /// Returns the size that is to be asked for at `now`, if any.
    pub fn poll(&mut self, now: Timestamp) -> Option<u16> {
        if let State::Asking { until, question } = self.state
            && until <= now
        {
            self.judge(question, false, now);
        }
        match self.state {
            State::Waiting { since, question } if since <= now => {
                self.state = State::Asking { until: now + PATIENCE, question };
                Some(question.size)
            }
            _ => None,
        }
    }

    /// Takes the answer to the question on its way; returns what to use from now on where that is
    /// another than before.
    pub fn answered(&mut self, arrived: bool, now: Timestamp) -> Option<Found> {
        let State::Asking { question, .. } = self.state else { return None };
        let before = self.found;
        self.judge(question, arrived, now);
        Some(self.found).filter(|found| *found != before)
    }

    fn judge(&mut self, mut question: Question, arrived: bool, now: Timestamp) {
        let attempts = if question.in_use { ATTEMPTS } else { ATTEMPTS_UPWARDS };
        if !arrived && question.attempt < attempts {
            question.attempt += 1;
            self.state = State::Waiting { since: now, question };
            return;
        }
        question.attempt = 1;
        let in_use = std::mem::replace(&mut question.in_use, false);
        if arrived {
            if in_use && question.high == question.size {
                self.found.whole = true;
                self.state = State::Settled { since: now };
                return;
            }
            question.low = question.size;
            self.found = Found { size: question.size, whole: true };
        } else if question.size <= self.floor {
            // The rest is left to the fragments of IP.
            self.found = Found { size: self.floor, whole: false };
            question.high = self.floor;
        } else {
            question.high = question.size - 1;
            if in_use {
                // Nothing is known to fit: what nearly always does, at once, then the smallest.
                let base = BASE.clamp(self.floor, self.ceiling);
                question.size = if question.size > base { base } else { self.floor };
                question.in_use = true;
                self.found = Found { size: question.size, whole: true };
                self.raise.1 = RAISE.0;
            }
        }
        let room = question.high.saturating_sub(question.low);
        if question.in_use {
            self.state = State::Waiting { since: now, question };
        } else if room >= STEP {
            question.size = question.high - room / 2;
            self.state = State::Waiting { since: now, question };
        } else {
            self.raise = (now + self.raise.1, (self.raise.1 * 2).min(RAISE.1));
            self.state = State::Settled { since: now };
        }
    }
}

/// What the sums of the data plane said at the last look, and what moved before it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pulse {
    sums: Sums,
    sent: u64,
    received: u64,
}

/// Sums of packets and of their octets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sums {
    /// Packets sent.
    pub packets_sent: u64,
    /// Their octets.
    pub bytes_sent: u64,
    /// Packets received.
    pub packets_received: u64,
    /// Their octets.
    pub bytes_received: u64,
}

/// Fewer octets between two looks are no transfer.
const TRANSFER: u64 = 16 * 1024;
/// A transfer that falls to this part of what it was has stalled, or is over.
const STALLED: u64 = 8;
/// Packets of this size are full ones.
const FULL: u64 = 500;

impl Pulse {
    /// Compares the sums with those of the last look.
    pub fn look(&mut self, sums: Sums) -> Sign {
        let before = std::mem::replace(&mut self.sums, sums);
        let sent = sums.bytes_sent.saturating_sub(before.bytes_sent);
        let received = sums.bytes_received.saturating_sub(before.bytes_received);
        let packets = sums.packets_sent.saturating_sub(before.packets_sent);
        let heard = sums.packets_received != before.packets_received;
        let fell = |before: u64, now: u64| before >= TRANSFER && now < before / STALLED;
        let unanswered = packets > 0 && !heard && sent / packets >= FULL;
        let stalled = fell(self.sent, sent) || fell(self.received, received) || unanswered;
        (self.sent, self.received) = (sent, received);
        if stalled {
            Sign::Stall
        } else if sent + received >= TRANSFER {
            Sign::Flow
        } else {
            Sign::Idle
        }
    }
}

#[cfg(test)]
mod tests;
