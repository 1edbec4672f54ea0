//! When a change was made.

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::time::{SystemTime, UNIX_EPOCH};

/// A moment, in the clock of people and in the one of measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Milliseconds since 1970.
    pub unix_milliseconds: u64,
    /// CLOCK_BOOTTIME in nanoseconds: comparable between the processes of one machine.
    pub boottime_nanoseconds: u64,
}

impl Stamp {
    /// Returns the present.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let boottime = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(std::time::Duration::ZERO, Into::into);
        Self {
            unix_milliseconds: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            boottime_nanoseconds: u64::try_from(boottime.as_nanos()).unwrap_or(u64::MAX),
        }
    }

    /// Returns the seconds since the machine's start.
    pub const fn boot_seconds(self) -> u64 {
        self.boottime_nanoseconds / 1_000_000_000
    }

    /// Returns the seconds since 1970.
    pub const fn unix_seconds(self) -> u64 {
        self.unix_milliseconds / 1000
    }
}
