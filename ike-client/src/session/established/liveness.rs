//! Is the peer there? (RFC 7296 §2.4)
//!
//! A peer that is silent is asked by an empty INFORMATIONAL; the repetition of that request decides
//! whether it is given up. A message that is not protected proves nothing, but may prompt the
//! question, seldom enough that nobody can make this side a source of traffic.

use super::{EstablishedSa, Operation, Task};
use crate::exchange::RetransmissionPolicy;
use crate::session::cause::CloseCause;
use crate::session::context::Context;
use crate::session::state::State;
use crate::time::Timestamp;
use crate::wire::{ExchangeType, Message, Notify, NotifyType};
use std::time::Duration;

/// How the question is repeated. A peer that has been silent anyway is given up sooner than one that
/// is asked for something: after 20 s, in which seven questions stayed unanswered.
const QUESTION: RetransmissionPolicy = RetransmissionPolicy {
    initial: Duration::from_secs(1),
    growth_percent: 150,
    maximum: Duration::from_secs(4),
    repetitions: 6,
};

/// Unprotected messages prompt no more than one question in this time.
const PROMPT_INTERVAL: Duration = Duration::from_secs(10);

impl EstablishedSa {
    pub(super) fn start_liveness(&mut self, context: &mut Context, now: Timestamp) -> Result<Option<Task>, CloseCause> {
        self.current.sa.request_with(QUESTION, ExchangeType::INFORMATIONAL, &[], context, now)?;
        Ok(Some(Task::Liveness))
    }

    /// Returns when silence becomes a question; none while any response is awaited anyway.
    pub(super) fn silence(&self, context: &Context) -> Option<Timestamp> {
        let asked = self.current.sa.is_waiting() || self.queue.contains(&Operation::Liveness);
        context.configuration.liveness_interval.filter(|_| !asked).map(|interval| self.last_heard + interval)
    }

    /// Takes a message that names no SA of ours. INVALID_SPI comes outside of any (RFC 7296 §1.5); when
    /// it names what we send on, it is a hint.
    pub(super) fn of_no_sa(mut self: Box<Self>, message: &Message, context: &mut Context, now: Timestamp) -> State {
        context.counters.foreign += 1;
        let unknown = |notify: &Notify| notify.notify_type == NotifyType::INVALID_SPI;
        let hinted = message.header.exchange == ExchangeType::INFORMATIONAL
            && message.notifies().any(|notify| unknown(notify) && self.named_by(&notify.data).is_some());
        if !hinted {
            return State::Established(self);
        }
        self.prompt(now);
        self.proceed(Ok(()), context, now)
    }

    /// Takes note of an unprotected message.
    pub(super) fn prompt(&mut self, now: Timestamp) {
        let lately = self.prompted.is_some_and(|moment| now < moment + PROMPT_INTERVAL);
        if !lately && !self.current.sa.is_waiting() {
            self.prompted = Some(now);
            self.enqueue(Operation::Liveness);
        }
    }

    /// Asks when the silence has become too long, and keeps the NAT's mapping.
    pub(super) fn keep_alive(&mut self, context: &mut Context, now: Timestamp) {
        if self.silence(context).is_some_and(|moment| moment <= now) {
            self.enqueue(Operation::Liveness);
        }
        if self.keepalive.is_some_and(|moment| moment <= now) {
            context.send_keepalive();
            self.keepalive = context.configuration.keepalive_interval.map(|interval| now + interval);
        }
    }
}
