//! When a thread of the data plane lets more packets come before it takes those that are there.
//!
//! Guessed from what came before: where packets come so thick, one by one, that a moment's patience
//! brings many of them for the price of one. It is what a network card does when it moderates its
//! interrupts, and left to it where it hands over many at once anyway. Patience that brings nothing is
//! given up for a while: whoever waits for each answer before he asks again is not made to wait longer.

use std::ops::AddAssign;
use std::time::{Duration, Instant};

/// How long patience lasts at least and at most. With the timer's own slack it is somewhat longer.
const SHORTEST: Duration = Duration::from_micros(100);
const LONGEST: Duration = Duration::from_micros(300);
/// How many packets it should bring.
const ENOUGH: u32 = 32;
/// How long is looked at before the next is judged by it.
const WINDOW: Duration = Duration::from_millis(2);
/// Packets of a window from which on patience brings several at a time.
const THICK: usize = 24;
/// Packets a look from which on there is little to be won: patience does not begin.
const MANY: usize = 16;
/// Packets a look that patience must bring; it ends where it does not.
const SOME: usize = 4;
/// Windows for which it is not tried again then.
const PAUSE: u32 = 64;

/// What a look brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// The messages of the system, each of which may be several packets that it has joined.
    pub messages: usize,
    /// The packets.
    pub packets: usize,
    /// Their octets.
    pub octets: usize,
}

impl AddAssign for Look {
    fn add_assign(&mut self, other: Self) {
        self.messages += other.messages;
        self.packets += other.packets;
        self.octets += other.octets;
    }
}

/// What has been sent in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// The packets.
    pub packets: u64,
    /// Their octets.
    pub octets: u64,
}

/// Guesses whether to let more packets come before those that are there are taken.
#[derive(Debug, Default)]
pub struct Patience {
    began: Option<Instant>,
    looks: usize,
    window: Look,
    /// What had been sent when the window began.
    sent: Sent,
    span: Option<Duration>,
    /// The windows that must pass before it is tried again.
    pause: u32,
}

impl Patience {
    /// Takes what a look brought, and what has been sent in all.
    pub fn note(&mut self, look: Look, sent: Sent, now: Instant) {
        self.looks += 1;
        self.window += look;
        let Some(began) = self.began else { return self.begin(sent, now) };
        let passed = now.saturating_duration_since(began);
        if passed < WINDOW {
            return;
        }
        let windows = passed.as_nanos() / WINDOW.as_nanos();
        let windows = u32::try_from(windows).unwrap_or(u32::MAX).max(1);
        let Look { messages, packets, .. } = self.window;
        let thick = packets / usize::try_from(windows).unwrap_or(usize::MAX) >= THICK;
        // What the system has joined it joins without patience too.
        let singly = packets < messages * 2;
        let brought = |least: usize| packets >= self.looks * least;
        self.pause = self.pause.saturating_sub(windows);
        let holds = match self.span {
            Some(_) if !brought(SOME) => {
                self.pause = PAUSE;
                false
            }
            Some(_) => thick && singly,
            None => thick && singly && !brought(MANY) && self.pause == 0 && !self.is_in_turn(sent),
        };
        self.span = holds.then(|| {
            let each = passed / u32::try_from(packets).unwrap_or(u32::MAX).max(1);
            (each * ENOUGH).clamp(SHORTEST, LONGEST)
        });
        self.begin(sent, now);
    }

    /// Returns how long to wait first, if at all.
    pub const fn span(&self) -> Option<Duration> {
        self.span
    }

    /// Tells whether one goes out for each that comes in, and is no smaller or larger by far: somebody
    /// asks and somebody answers. Data and what it is acknowledged by differ.
    fn is_in_turn(&self, sent: Sent) -> bool {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let (packets, octets) = (count(self.window.packets), count(self.window.octets));
        let Sent { packets: answers, octets: answered } = Sent {
            packets: sent.packets.saturating_sub(self.sent.packets),
            octets: sent.octets.saturating_sub(self.sent.octets),
        };
        let as_many = answers >= packets - packets / 4 && answers <= packets + packets / 4;
        // Octets a packet, compared without dividing.
        let (a, b) = (octets.saturating_mul(answers), answered.saturating_mul(packets));
        as_many && a / 4 <= b && b / 4 <= a
    }

    fn begin(&mut self, sent: Sent, now: Instant) {
        (self.began, self.looks, self.window, self.sent) = (Some(now), 0, Look::default(), sent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn micros(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    /// How packets come.
    #[derive(Clone, Copy)]
    enum Source {
        /// So many at a time, each time after so long, as one message of the system or as many.
        Stream { each: usize, joined: bool, every: Duration },
        /// One, so long after the last one was taken.
        Answer { after: Duration },
    }

    /// What comes, and what is sent for a hundred packets that come: packets, and their octets.
    #[derive(Clone, Copy)]
    struct Traffic {
        source: Source,
        octets: usize,
        sent: u64,
        sent_octets: u64,
    }

    const DATA: Traffic = Traffic {
        source: Source::Stream { each: 1, joined: false, every: micros(25) },
        octets: 1440,
        sent: 0,
        sent_octets: 60,
    };

    /// Lets packets come for so long, and looks at them as patience says; returns for what share of the
    /// looks it held, how long it lasts in the end, and how many packets a look brought in the last tenth.
    fn looked(
        patience: &mut Patience,
        traffic: Traffic,
        start: Instant,
        span: Duration,
    ) -> (f64, Option<Duration>, f64) {
        let (mut now, end) = (start, start + span);
        let (mut next, mut received) = (start, 0_u64);
        let (mut looks, mut held, mut late) = (0_u32, 0_u32, (0_u32, 0_usize));
        while now < end {
            now = next.max(now);
            now += patience.span().unwrap_or_default();
            let mut look = Look::default();
            match traffic.source {
                Source::Stream { each, joined, every } => {
                    while next <= now {
                        look.messages += if joined { 1 } else { each };
                        look.packets += each;
                        next += every;
                    }
                }
                Source::Answer { after } => {
                    look = Look { messages: 1, packets: 1, octets: 0 };
                    next = now + after;
                }
            }
            look.octets = look.packets * traffic.octets;
            received += look.packets as u64;
            looks += 1;
            held += u32::from(patience.span().is_some());
            if now > end - span / 10 {
                late = (late.0 + 1, late.1 + look.packets);
            }
            let packets = received * traffic.sent / 100;
            patience.note(look, Sent { packets, octets: packets * traffic.sent_octets }, now);
        }
        (f64::from(held) / f64::from(looks), patience.span(), late.1 as f64 / f64::from(late.0))
    }

    fn after_a_second(traffic: Traffic) -> (f64, Option<Duration>, f64) {
        looked(&mut Patience::default(), traffic, Instant::now(), Duration::from_secs(1))
    }

    fn every(each: usize, joined: bool, gap: u64) -> Source {
        Source::Stream { each, joined, every: micros(gap) }
    }

    #[test]
    fn patience_holds_where_packets_come_thick_and_one_by_one_and_brings_many_of_them() {
        // A stream that nobody has joined, and what one is acknowledged by: one for each or for two packets.
        let acknowledgements = Traffic { octets: 100, sent: 200, sent_octets: 1360, ..DATA };
        for traffic in [DATA, acknowledgements, Traffic { sent: 100, ..acknowledgements }] {
            for (gap, least) in [(8, 12.0), (16, 18.0), (25, 12.0), (60, 5.0)] {
                let (held, span, brought) = after_a_second(Traffic { source: every(1, false, gap), ..traffic });
                assert!(held > 0.9 && brought >= least, "{gap} us: held {held}, brought {brought}");
                assert!(span.is_some_and(|span| (SHORTEST..=LONGEST).contains(&span)), "{span:?}");
            }
        }
    }

    #[test]
    fn it_does_not_begin_where_there_is_nothing_to_be_won() {
        for (what, source) in [
            ("now and then one", every(1, false, 2000)),
            ("too thin for several to come", every(1, false, 150)),
            ("many at a time already", every(20, false, 300)),
            ("joined by the system", every(40, true, 100)),
            ("joined a little by the system", every(2, true, 25)),
        ] {
            let (held, ..) = after_a_second(Traffic { source, ..DATA });
            assert!(held == 0.0, "{what}: {held}");
        }
        let (held, ..) = after_a_second(Traffic { sent: 100, sent_octets: 1400, ..DATA });
        assert!(held == 0.0, "questions and answers in turn: {held}");
    }

    #[test]
    fn where_it_brings_nothing_it_is_given_up_for_a_while() {
        // A small question for each large answer looks like data and its acknowledgements.
        let traffic = Traffic { source: Source::Answer { after: micros(60) }, sent: 100, ..DATA };
        let (held, ..) = after_a_second(traffic);
        assert!(held > 0.0 && held < 0.02, "{held}");
    }

    #[test]
    fn it_ends_when_packets_come_joined_and_after_a_silence() {
        let (mut patience, start) = (Patience::default(), Instant::now());
        assert!(looked(&mut patience, DATA, start, 20 * WINDOW).1.is_some());
        let joined = Traffic { source: every(45, true, 150), ..DATA };
        assert!(looked(&mut patience, joined, start + 20 * WINDOW, 20 * WINDOW).1.is_none());
        assert!(looked(&mut patience, DATA, start + 40 * WINDOW, 20 * WINDOW).1.is_some());
        patience.note(Look { messages: 1, packets: 1, octets: 1440 }, Sent::default(), start + 1000 * WINDOW);
        assert!(patience.span().is_none());
    }
}
