//! A network between two sessions, in virtual time: loss, delay, reordering, repetition.
//!
//! The simulator sleeps exactly until the earliest of the next delivery and what both sides'
//! `poll_timeout` says. A timer that lies therefore shows: one that comes too late stalls the
//! exchange, and one that comes without anything to do is noticed as a session that wants to be
//! woken at a moment that has passed.

use super::*;

pub(super) struct Network {
    random: SeededRandom,
    /// In percent of the messages.
    pub loss: u8,
    /// In percent of the messages.
    pub repetition: u8,
    /// The longest one-way delay; the shortest is a tenth of it.
    pub delay: Duration,
    /// What is under way: when it arrives, at which end, and the message.
    under_way: Vec<(Timestamp, End, Vec<u8>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Client,
    Gateway,
}

impl Network {
    pub(super) fn new(seed: u64) -> Self {
        let (loss, repetition, delay) = (0, 0, Duration::from_millis(100));
        Self { random: SeededRandom::new(seed), loss, repetition, delay, under_way: Vec::new() }
    }

    fn percent(&mut self) -> u8 {
        let mut octet = [0];
        self.random.fill(&mut octet).unwrap();
        u8::try_from(u16::from(octet[0]) * 100 / 256).unwrap()
    }

    fn carry(&mut self, message: Vec<u8>, to: End, now: Timestamp) {
        if self.percent() < self.loss {
            return;
        }
        let copies = if self.percent() < self.repetition { 2 } else { 1 };
        for _ in 0..copies {
            let delay = self.delay * (10 + u32::from(self.percent()) * 9 / 10) / 100;
            self.under_way.push((now + delay, to, message.clone()));
        }
    }

    /// Lets both sides go on for that long.
    pub(super) fn run(&mut self, pair: &mut Pair, time: Duration) {
        let end = pair.now + time;
        for _ in 0..100_000 {
            for message in sent(&mut pair.client) {
                self.carry(message, End::Gateway, pair.now);
            }
            for message in sent(&mut pair.gateway) {
                self.carry(message, End::Client, pair.now);
            }
            let arrival = self.under_way.iter().map(|(moment, _, _)| *moment).min();
            let timers = [&pair.client, &pair.gateway].map(|session| session.poll_timeout().map(|(moment, _)| moment));
            for moment in timers.into_iter().flatten() {
                assert!(moment > pair.now, "a timer of {moment:?} at {:?}", pair.now);
            }
            let next = timers.into_iter().flatten().chain(arrival).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                pair.now = end;
                return;
            };
            pair.now = next;
            let (due, later) = self.under_way.drain(..).partition(|(moment, _, _)| *moment <= next);
            self.under_way = later;
            let due: Vec<(Timestamp, End, Vec<u8>)> = due;
            for (_, to, message) in due {
                match to {
                    End::Client => pair.give_client(&message),
                    End::Gateway => pair.give_gateway(&message),
                }
            }
            pair.client.handle_timeout(next);
            pair.gateway.handle_timeout(next);
            pair.note();
        }
        panic!("the parties never come to rest");
    }
}
