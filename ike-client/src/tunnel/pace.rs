//! When a thread of the data plane lets more packets come before it takes those that are there.
//!
//! Guessed from what came before: where packets come so thick, one by one, that a moment's patience
//! brings several of them for the price of one. It is what a network card does when it moderates its
//! interrupts, and left to it where it hands over many at once anyway.

use std::time::{Duration, Instant};

/// How long patience lasts. With the timer's own slack it is somewhat longer.
pub const PATIENCE: Duration = Duration::from_micros(100);
/// How long is looked at before the next is judged by it.
const WINDOW: Duration = Duration::from_millis(2);
/// Packets of a window from which on patience brings several at a time.
const THICK: usize = 24;
/// Packets a look from which on they do not come one by one: patience does not begin.
const SOME: usize = 4;
/// Packets a look from which on there is nothing to be won: patience ends.
const MANY: usize = 16;

/// Guesses whether to let more packets come before those that are there are taken.
#[derive(Debug, Default)]
pub struct Patience {
    began: Option<Instant>,
    looks: usize,
    packets: usize,
    /// What had been sent when the window began.
    sent: u64,
    holds: bool,
}

impl Patience {
    /// Takes what a look brought, and how many packets have been sent in all.
    ///
    /// Where one goes out for each that comes in, somebody asks and somebody answers: who waits for an
    /// answer is not made to wait longer.
    pub fn note(&mut self, packets: usize, sent: u64, now: Instant) {
        self.looks += 1;
        self.packets += packets;
        let Some(began) = self.began else { return self.begin(sent, now) };
        let passed = now.saturating_duration_since(began);
        if passed < WINDOW {
            return;
        }
        let answered = usize::try_from(sent.saturating_sub(self.sent)).unwrap_or(usize::MAX);
        let in_turn = answered >= self.packets - self.packets / 4 && answered <= self.packets + self.packets / 4;
        let windows = usize::try_from(passed.as_nanos() / WINDOW.as_nanos()).unwrap_or(usize::MAX);
        let thick = self.packets / windows.max(1) >= THICK;
        let most = if self.holds { MANY } else { SOME };
        self.holds = thick && self.packets < self.looks * most && !in_turn;
        self.begin(sent, now);
    }

    /// Returns whether to wait for [`PATIENCE`] first.
    pub const fn holds(&self) -> bool {
        self.holds
    }

    const fn begin(&mut self, sent: u64, now: Instant) {
        (self.began, self.looks, self.packets, self.sent) = (Some(now), 0, 0, sent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(each: usize, every: Duration, answers: u64) -> bool {
        goes_on(&mut Patience::default(), Instant::now(), each, every, answers)
    }

    /// Lets `each` packets come every `every` for twenty windows while `answers` of a hundred are sent;
    /// returns whether patience holds in the end.
    fn goes_on(patience: &mut Patience, mut now: Instant, each: usize, every: Duration, answers: u64) -> bool {
        let mut received = 0_u64;
        let end = now + 20 * WINDOW;
        while now < end {
            received += each as u64;
            patience.note(each, received * answers / 100, now);
            now += every;
        }
        patience.holds()
    }

    #[test]
    fn patience_holds_where_packets_come_thick_and_one_by_one() {
        let micros = Duration::from_micros;
        assert!(holds(1, micros(25), 0), "a stream that nobody has joined");
        assert!(holds(1, micros(25), 50), "and what it is acknowledged by");
        assert!(!holds(5, micros(120), 50), "joined here and there already");
        let (mut patience, start) = (Patience::default(), Instant::now());
        assert!(goes_on(&mut patience, start, 1, micros(25), 0));
        assert!(goes_on(&mut patience, start + 20 * WINDOW, 6, micros(150), 0), "what patience brings does not end it");
        assert!(!goes_on(&mut patience, start + 40 * WINDOW, 45, micros(150), 0));
        assert!(!holds(1, micros(25), 100), "questions and answers in turn");
        assert!(!holds(1, micros(2_000), 0), "now and then one");
        assert!(!holds(1, micros(150), 50), "too thin for several to come");
        assert!(!holds(45, micros(100), 2), "many at once already");
    }

    #[test]
    fn after_a_silence_patience_is_over() {
        let (mut patience, start) = (Patience::default(), Instant::now());
        let at = |micros| start + Duration::from_micros(micros);
        (0..400).for_each(|packet| patience.note(1, 0, at(packet * 20)));
        assert!(patience.holds());
        patience.note(1, 0, at(1_000_000));
        assert!(!patience.holds());
    }
}
