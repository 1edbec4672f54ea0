//! How large a datagram the path takes: packetization layer path MTU discovery (RFC 8899) by IKE.
//!
//! The question is an INFORMATIONAL that a Vendor ID fills to the size in question; whoever does not
//! know that ID passes it over (RFC 7296 §3.12). It goes out once in one piece that nobody may
//! fragment. When no response comes it is repeated like any request, but without the filling first: the
//! gateway needs no more to answer, so a path that is too narrow costs nothing but time. (Fragments of
//! RFC 7383 would be the letter of it; strongSwan 5.9 does not take them in an INFORMATIONAL.)

use super::{EstablishedSa, Operation, Task, Which};
use crate::exchange::RetransmissionPolicy;
use crate::session::cause::CloseCause;
use crate::session::context::Context;
use crate::session::event::Event;
use crate::session::state::State;
use crate::time::Timestamp;
use std::time::Duration;

/// How the question is repeated.
const QUESTION: RetransmissionPolicy = RetransmissionPolicy {
    initial: Duration::from_secs(1),
    growth_percent: 150,
    maximum: Duration::from_secs(4),
    repetitions: 6,
};

/// PROBE_TIMER (RFC 8899 §5.1.1): how long the first question is waited for, and when it went.
///
/// An answer that comes after a repetition may be that to the repetition or, on a slow path, a late one
/// to the question itself; the next question is therefore given more time than that answer took.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProbeTimer {
    wait: Duration,
    asked: Timestamp,
}

impl ProbeTimer {
    /// Starts with the shortest wait.
    pub(super) const fn new(now: Timestamp) -> Self {
        Self { wait: QUESTION.initial, asked: now }
    }

    fn answered(&mut self, arrived: bool, now: Timestamp) {
        let taken = now.saturating_since(self.asked);
        let enough = if arrived { taken * 2 } else { taken + taken / 4 };
        self.wait = enough.clamp(QUESTION.initial, QUESTION.maximum);
    }
}

impl EstablishedSa {
    /// Asks on its owner's wish.
    pub(in crate::session) fn probe_path(
        mut self: Box<Self>,
        size: usize,
        context: &mut Context,
        now: Timestamp,
    ) -> State {
        self.enqueue(Operation::Probe(size));
        self.proceed(Ok(()), context, now)
    }

    pub(super) fn start_probe(
        &mut self,
        size: usize,
        context: &mut Context,
        now: Timestamp,
    ) -> Result<Option<Task>, CloseCause> {
        self.probe_timer.asked = now;
        let policy = RetransmissionPolicy { initial: self.probe_timer.wait, ..QUESTION };
        self.current.sa.request_filled(policy, size, context, now)?;
        Ok(Some(Task::Probe(size)))
    }

    /// Takes the response.
    pub(super) fn probed(&mut self, which: Which, size: usize, context: &mut Context, now: Timestamp) {
        let arrived = self.line(which).is_some_and(|line| !line.sa.was_repeated());
        self.probe_timer.answered(arrived, now);
        context.tell(Event::Probed { size, arrived });
    }
}
