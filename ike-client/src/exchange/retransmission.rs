//! When a request is repeated, and when it is given up (RFC 7296 §2.1, §2.4).
//!
//! The waiting time after transmission *n* (counted from 0) is `initial × factorⁿ`, at most
//! `maximum`. With the default numbers a request goes out six times within 31 s and is given up
//! after 63 s.

use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The numbers of the repetition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetransmissionPolicy {
    /// Waiting time after the first transmission.
    pub initial: Duration,
    /// By what each waiting time grows, in percent: 200 doubles it.
    pub growth_percent: u32,
    /// No waiting time is longer.
    pub maximum: Duration,
    /// How many times the request is repeated before it is given up.
    pub repetitions: u32,
}

impl Default for RetransmissionPolicy {
    fn default() -> Self {
        Self { initial: Duration::from_secs(1), growth_percent: 200, maximum: Duration::from_secs(32), repetitions: 5 }
    }
}

impl RetransmissionPolicy {
    /// Returns the waiting time after the transmission of that number, counted from 0.
    pub fn wait_after(&self, transmission: u32) -> Duration {
        let mut wait = self.initial.min(self.maximum);
        for _ in 0..transmission {
            if wait >= self.maximum {
                break;
            }
            wait = (wait.saturating_mul(self.growth_percent) / 100).min(self.maximum);
        }
        wait
    }
}

/// The repetition of one request.
#[derive(Clone, Copy, Debug)]
pub struct Retransmitter {
    policy: RetransmissionPolicy,
    transmissions: u32,
    deadline: Timestamp,
}

/// What a [`Retransmitter`] wants done when its deadline has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repetition {
    /// Nothing: the deadline lies ahead.
    NotYet,
    /// The request is to be sent again.
    Again,
    /// The request is to be given up.
    GivenUp,
}

impl Retransmitter {
    /// Starts with the first transmission, at `now`.
    pub fn start(policy: RetransmissionPolicy, now: Timestamp) -> Self {
        Self { policy, transmissions: 1, deadline: now + policy.wait_after(0) }
    }

    /// Starts anew with the same numbers.
    pub fn restart(&mut self, now: Timestamp) {
        *self = Self::start(self.policy, now);
    }

    /// Returns when [`Self::advance`] wants to be called.
    pub const fn deadline(&self) -> Timestamp {
        self.deadline
    }

    /// Tells how often the request went out.
    pub const fn transmissions(&self) -> u32 {
        self.transmissions
    }

    /// Tells what is due at `now`, and counts it as done.
    #[must_use]
    pub fn advance(&mut self, now: Timestamp) -> Repetition {
        if now < self.deadline {
            return Repetition::NotYet;
        }
        if self.transmissions > self.policy.repetitions {
            return Repetition::GivenUp;
        }
        self.deadline = now + self.policy.wait_after(self.transmissions);
        self.transmissions += 1;
        Repetition::Again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_times_double_up_to_the_maximum() {
        let policy = RetransmissionPolicy::default();
        let waits: Vec<u64> = (0..8).map(|transmission| policy.wait_after(transmission).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 32, 32]);
    }

    #[test]
    fn a_request_goes_out_once_and_five_times_again_and_is_then_given_up() {
        let mut retransmitter = Retransmitter::start(RetransmissionPolicy::default(), Timestamp::ZERO);
        let mut sent = vec![0];
        loop {
            let now = retransmitter.deadline();
            match retransmitter.advance(now) {
                Repetition::Again => sent.push(now.since_start().as_secs()),
                Repetition::GivenUp => {
                    assert_eq!(now.since_start().as_secs(), 63);
                    break;
                }
                Repetition::NotYet => panic!("woken at the deadline, nothing was due"),
            }
        }
        assert_eq!(sent, [0, 1, 3, 7, 15, 31]);
    }

    #[test]
    fn before_its_deadline_nothing_is_due() {
        let mut retransmitter = Retransmitter::start(RetransmissionPolicy::default(), Timestamp::ZERO);
        let early = Timestamp::from_start(Duration::from_millis(999));
        assert_eq!(retransmitter.advance(early), Repetition::NotYet);
        assert_eq!(retransmitter.transmissions(), 1);
    }
}
