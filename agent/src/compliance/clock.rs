//! Noticing that time has passed without us: suspend, SIGSTOP, a starved machine.

use ike_client::Timestamp;
use std::time::Duration;

/// How often the service looks.
pub const BEAT: Duration = Duration::from_secs(1);
/// A gap between two looks that is no longer taken for a busy machine.
const GAP: Duration = Duration::from_secs(3);
/// How long the engine may move packets after a renewal. Longer than a gap that is forgiven,
/// shorter than any loop: whatever sleeps longer finds the lease lapsed.
pub const LEASE: Duration = Duration::from_secs(5);

/// Compares a clock that goes on in suspend with the beats that should have come.
#[derive(Clone, Copy, Debug)]
pub struct WakeDetector {
    last: Timestamp,
}

impl WakeDetector {
    /// Begins at a moment.
    pub const fn new(now: Timestamp) -> Self {
        Self { last: now }
    }

    /// Takes a beat; returns how long the service was away, where it was.
    pub fn beat(&mut self, now: Timestamp) -> Option<Duration> {
        let passed = now.saturating_since(self.last);
        self.last = now;
        (passed > GAP).then_some(passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_noticed_once_and_a_late_beat_is_not_one() {
        let mut detector = WakeDetector::new(Timestamp::ZERO);
        let mut now = Timestamp::ZERO + Duration::from_secs(1);
        assert_eq!(detector.beat(now), None);
        now = now + Duration::from_millis(2900);
        assert_eq!(detector.beat(now), None);
        now = now + Duration::from_secs(60);
        assert_eq!(detector.beat(now), Some(Duration::from_secs(60)));
        now = now + BEAT;
        assert_eq!(detector.beat(now), None);
    }
}
