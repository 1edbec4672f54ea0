//! Time as a value.
//!
//! The core never reads a clock: whoever drives it hands in a [`Timestamp`]. It counts from a
//! start that the driver chooses and keeps counting while the machine is suspended
//! (CLOCK_BOOTTIME on Linux), because security associations and posture tags age in suspend too.

use serde::{Deserialize, Serialize};
use std::ops::Add;
use std::time::Duration;

/// A moment, as the time since the driver's start (on Linux: since boot, suspend included).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(Duration);

impl Timestamp {
    /// The driver's start.
    pub const ZERO: Self = Self(Duration::ZERO);

    /// Makes the moment that lies `since_start` after the driver's start.
    pub const fn from_start(since_start: Duration) -> Self {
        Self(since_start)
    }

    /// Returns the time since the driver's start.
    pub const fn since_start(self) -> Duration {
        self.0
    }

    /// Returns the time that has passed since `earlier`; zero when `earlier` lies ahead.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(later))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_neither_wraps_nor_goes_below_zero() {
        let late = Timestamp::from_start(Duration::MAX);
        assert_eq!(late + Duration::from_secs(1), late);
        assert_eq!(Timestamp::ZERO.saturating_since(late), Duration::ZERO);
    }
}
