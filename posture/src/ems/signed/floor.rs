//! What is known to have been reached, and is never gone back behind.

use super::{Binding, CLOCK_TOLERANCE_SECONDS, Refusal};
use crate::ems::protocol::{DocumentKind, Have};
use serde::{Deserialize, Serialize};

/// The floor below which nothing is believed. Kept on disk. Counters and policy version never fall;
/// the clock is set right by a document that is newer than any before, since that one says itself
/// what time it is: a machine whose clock was wrong once is not locked out until then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Floor {
    /// The counters of the newest documents seen.
    pub counters: Have,
    /// The newest policy version seen.
    pub policy_version: u64,
    /// The latest moment known to have passed, seconds since 1970.
    pub clock_unix: u64,
}

impl Floor {
    /// Refuses a clock that stands before a moment that has passed.
    pub const fn check_clock(&self, now_unix: u64) -> Result<(), Refusal> {
        if now_unix.saturating_add(CLOCK_TOLERANCE_SECONDS) < self.clock_unix {
            return Err(Refusal::ClockTurnedBack { seconds: self.clock_unix - now_unix });
        }
        Ok(())
    }

    /// Raises the floor to a verified document and to the present.
    pub fn raise(&mut self, binding: &Binding, now_unix: u64) {
        let counter = match binding.kind {
            DocumentKind::Profile => &mut self.counters.profile,
            DocumentKind::Rules => &mut self.counters.rules,
            DocumentKind::Tags => &mut self.counters.tags,
        };
        let is_newest = binding.counter > *counter;
        *counter = (*counter).max(binding.counter);
        self.policy_version = self.policy_version.max(binding.policy_version);
        let known = if is_newest { 0 } else { self.clock_unix };
        self.clock_unix = known.max(binding.issued_unix).max(now_unix);
    }
}
