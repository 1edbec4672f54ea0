//! The last exchange: the peer is told that the IKE SA is gone, and why (RFC 7296 §1.4.1, §2.21.2).

use super::cause::CloseCause;
use super::context::Context;
use super::ike_sa::{IkeSa, Received, Spis};
use super::state::State;
use crate::exchange::RetransmissionPolicy;
use crate::time::Timestamp;
use crate::wire::{Delete, ExchangeType, Message, Notify, NotifyType, Payload};
use std::time::Duration;

/// The Delete goes out three times within 1.5 s at most; nobody waits longer for its confirmation.
const FAREWELL: RetransmissionPolicy = RetransmissionPolicy {
    initial: Duration::from_millis(500),
    growth_percent: 200,
    maximum: Duration::from_secs(1),
    repetitions: 2,
};

/// Awaits the confirmation of the Delete. The session is over already: a driver may drop it.
pub(super) struct Closing {
    sa: IkeSa,
}

/// Sends the Delete, with the notify that belongs to the cause, and ends the session.
pub(super) fn farewell(mut sa: IkeSa, cause: CloseCause, context: &mut Context, now: Timestamp) -> State {
    let reason = cause.notify().map(|kind| Payload::Notify(Notify::new(kind, Vec::new())));
    let payloads: Vec<Payload> = reason.into_iter().chain([Payload::Delete(Delete::IkeSa)]).collect();
    sa.abandon_request(context);
    // Whether it could be said or not, the session ends.
    let said = sa.request_with(FAREWELL, ExchangeType::INFORMATIONAL, &payloads, context, now);
    let closed = State::closed(cause, context);
    if said.is_ok() && sa.is_waiting() { State::Closing(Box::new(Closing { sa })) } else { closed }
}

impl Closing {
    pub(super) fn receive(
        mut self: Box<Self>,
        datagram: &[u8],
        message: &Message,
        context: &mut Context,
        now: Timestamp,
    ) -> State {
        if Spis::of(&message.header) != self.sa.spis {
            context.counters.foreign += 1;
            return State::Closing(self);
        }
        match self.sa.receive(datagram, message, context, now) {
            Received::Response { .. } => State::Closed,
            Received::Request { message_id, exchange, datagram, payloads: Ok(payloads) }
                if payloads.iter().any(|payload| matches!(payload, Payload::Delete(Delete::IkeSa))) =>
            {
                // Both delete at once: the peer is answered as usual (RFC 7296 §2.25.2).
                match self.sa.respond((message_id, exchange), &datagram, &[], context) {
                    Ok(()) | Err(_) => State::Closed,
                }
            }
            Received::Request { message_id, exchange: ExchangeType::CREATE_CHILD_SA, datagram, .. } => {
                // Not on an SA that is being deleted (RFC 7296 §2.25.2).
                let request = (message_id, ExchangeType::CREATE_CHILD_SA);
                let refusal = [Payload::Notify(Notify::new(NotifyType::TEMPORARY_FAILURE, Vec::new()))];
                match self.sa.respond(request, &datagram, &refusal, context) {
                    Ok(()) => State::Closing(self),
                    Err(_) => State::Closed,
                }
            }
            Received::Request { .. } | Received::Nothing => State::Closing(self),
        }
    }

    /// Returns the SPIs of the IKE SA that ends.
    pub(super) const fn spis(&self) -> Spis {
        self.sa.spis
    }

    pub(super) fn retransmission(&self) -> Option<Timestamp> {
        self.sa.retransmission()
    }

    pub(super) fn handle_timeout(mut self: Box<Self>, context: &mut Context, now: Timestamp) -> State {
        if self.sa.handle_timeout(context, now) { State::Closing(self) } else { State::Closed }
    }
}

impl State {
    /// Tells whether the session is over and nothing is left to be sent.
    pub(super) const fn is_finished(&self) -> bool {
        matches!(self, Self::Closed)
    }

    /// Tells whether the session is over.
    pub(super) const fn is_closed(&self) -> bool {
        matches!(self, Self::Closed | Self::Closing(_))
    }
}
