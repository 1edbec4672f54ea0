//! Noticing that time has passed without us: suspend, SIGSTOP, a starved machine.

use ike_client::Timestamp;
use std::time::Duration;

/// How often the service looks at the clock while packets pass, or may soon.
pub const BEAT: Duration = Duration::from_secs(1);
/// How often it does so while nothing passes.
pub const RESTING_BEAT: Duration = Duration::from_secs(5);
/// How late a look may come and still be taken for one of a busy machine.
const LATE: Duration = Duration::from_secs(2);
/// How long the engine may move packets after a renewal. Longer than a gap that is forgiven then,
/// shorter than any loop: whatever sleeps longer finds the lease lapsed.
pub const LEASE: Duration = Duration::from_secs(5);

/// Compares a clock that goes on in suspend with the beats that should have come.
#[derive(Clone, Copy, Debug)]
pub struct WakeDetector {
    last: Timestamp,
    /// When the next beat is to come, after the last.
    expected: Duration,
}

impl WakeDetector {
    /// Begins at a moment.
    pub const fn new(now: Timestamp) -> Self {
        Self { last: now, expected: BEAT }
    }

    /// Takes a beat, after which another is to come within `next`; returns how long the service was
    /// away, where it was.
    pub fn beat(&mut self, now: Timestamp, next: Duration) -> Option<Duration> {
        let passed = now.saturating_since(self.last);
        let away = passed > self.expected + LATE;
        (self.last, self.expected) = (now, next);
        away.then_some(passed)
    }
}

/// What time it is, by the machine's clock and by the time that has passed since EMS said, under its
/// signature, what time it was. A clock that is turned back does not make knowledge younger; one that is
/// turned forward makes it older until it is set right.
#[derive(Clone, Copy, Debug, Default)]
pub struct SteadyClock {
    /// A moment known to have passed, seconds since 1970, and when it was learnt.
    anchor: Option<(u64, Timestamp)>,
}

impl SteadyClock {
    /// Takes a moment that has passed for certain.
    pub fn learn(&mut self, unix: u64, now: Timestamp) {
        if unix > self.least(now) {
            self.anchor = Some((unix, now));
        }
    }

    /// Returns the time, seconds since 1970, when the machine's clock says `wall`.
    pub fn reading(&self, wall: u64, now: Timestamp) -> u64 {
        wall.max(self.least(now))
    }

    fn least(&self, now: Timestamp) -> u64 {
        self.anchor.map_or(0, |(unix, learnt)| unix.saturating_add(now.saturating_since(learnt).as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_turned_back_does_not_stop_time_and_one_turned_forward_is_believed_while_it_says_so() {
        const DAY: u64 = 86_400;
        let (told, learnt) = (1_800_000_000, Timestamp::ZERO + Duration::from_secs(50));
        let mut clock = SteadyClock::default();
        assert_eq!(clock.reading(7, learnt), 7, "nobody else knows the time");
        clock.learn(told, learnt);
        let hour = learnt + Duration::from_secs(3_600);
        for (wall, reading) in [
            (told + 3_600, told + 3_600),
            (told + 3_600 - DAY, told + 3_600),
            (0, told + 3_600),
            (told + 3_600 + DAY, told + 3_600 + DAY),
        ] {
            assert_eq!(clock.reading(wall, hour), reading, "{wall}");
        }
        assert_eq!(clock.reading(told + 3_600, hour), told + 3_600, "and forgotten once it is set right");
        clock.learn(told - DAY, hour);
        assert_eq!(clock.reading(0, hour), told + 3_600, "an older document tells nothing of the time");
    }

    #[test]
    fn a_gap_is_noticed_once_and_a_late_beat_is_not_one() {
        let mut detector = WakeDetector::new(Timestamp::ZERO);
        let mut now = Timestamp::ZERO + Duration::from_secs(1);
        assert_eq!(detector.beat(now, BEAT), None);
        now = now + Duration::from_millis(2900);
        assert_eq!(detector.beat(now, BEAT), None);
        now = now + Duration::from_secs(60);
        assert_eq!(detector.beat(now, BEAT), Some(Duration::from_secs(60)));
        now = now + BEAT;
        assert_eq!(detector.beat(now, RESTING_BEAT), None);
        now = now + RESTING_BEAT + Duration::from_secs(1);
        assert_eq!(detector.beat(now, BEAT), None, "none sooner was to come");
        now = now + RESTING_BEAT;
        assert_eq!(detector.beat(now, BEAT), Some(RESTING_BEAT), "one sooner was to come");
        assert!(LEASE > BEAT + LATE, "a gap that is forgiven ends no lease");
    }
}
