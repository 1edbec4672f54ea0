//! The clock that goes on while the machine sleeps.
//!
//! Linux: CLOCK_BOOTTIME. macOS: CLOCK_MONOTONIC, which counts sleep there. Windows: the tick
//! count, which does too. All processes of one boot read the same value, so a moment can be handed
//! from one to another.

use crate::Timestamp;
use std::time::Duration;

/// Reads the clock.
pub fn now() -> Timestamp {
    Timestamp::from_start(since_boot())
}

#[cfg(unix)]
fn since_boot() -> Duration {
    use nix::time::{ClockId, clock_gettime};

    #[cfg(any(target_os = "linux", target_os = "android"))]
    const CLOCK: ClockId = ClockId::CLOCK_BOOTTIME;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const CLOCK: ClockId = ClockId::CLOCK_MONOTONIC;

    // The clock is there on every supported kernel, and reading it cannot fail otherwise. Should
    // it: the far future lets every lease lapse.
    clock_gettime(CLOCK).map_or(Duration::MAX, Duration::from)
}

#[cfg(windows)]
fn since_boot() -> Duration {
    unsafe extern "system" {
        safe fn GetTickCount64() -> u64;
    }
    Duration::from_millis(GetTickCount64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_goes_on() {
        let before = now();
        std::thread::sleep(Duration::from_millis(20));
        assert!(now().saturating_since(before) >= Duration::from_millis(15));
    }
}
