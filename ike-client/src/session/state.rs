//! The states of a session, each named for what is awaited.
//!
//! A state is consumed by what happens to it and gives the next one. What the states share is in
//! the [`Context`].

use super::auth::{
    AwaitingAuthResponse, AwaitingFinalAuth, AwaitingPreSharedKey, AwaitingResumedAuth, AwaitingRevocation,
    AwaitingSecondExchange, AwaitingSignature,
};
use super::candidates::Candidates;
use super::cause::{CloseCause, CloseReason};
use super::closing::{self, Closing};
use super::context::{Context, Question};
use super::eap::{AwaitingCredential, AwaitingEapMessage};
use super::established::EstablishedSa;
use super::event::Event;
use super::ike_sa::{IkeSa, Received, Spis};
use super::init::Negotiated;
use super::intermediate::AwaitingIntermediateResponse;
use super::output::TimerName;
use super::ppk::AwaitingPpk;
use super::request::{Answer, RequestId};
use crate::esp::EspSpi;
use crate::time::Timestamp;
use crate::wire::{DecodeError, Message, Payload, PayloadType};

/// Where a session stands.
pub(super) enum State {
    /// The first message was sent; nobody who answered it has proven anything yet.
    Candidates(Box<Candidates>),
    /// An additional key exchange was sent.
    AwaitingIntermediateResponse(Box<AwaitingIntermediateResponse>),
    /// The post-quantum pre-shared key was asked for.
    AwaitingPpk(Box<AwaitingPpk>),
    /// The only IKE_AUTH of a resumed session was sent.
    AwaitingResumedAuth(Box<AwaitingResumedAuth>),
    /// The pre-shared key was asked for.
    AwaitingPreSharedKey(Box<AwaitingPreSharedKey>),
    /// A signature by the own key was asked for.
    AwaitingSignature(Box<AwaitingSignature>),
    /// The first IKE_AUTH was sent.
    AwaitingAuthResponse(Box<AwaitingAuthResponse>),
    /// Those were asked who know whether the gateway's certificate was revoked.
    AwaitingRevocation(Box<AwaitingRevocation>),
    /// IDi of the second exchange of authentication was sent.
    AwaitingSecondExchange(Box<AwaitingSecondExchange>),
    /// An EAP answer was sent.
    AwaitingEapMessage(Box<AwaitingEapMessage>),
    /// An EAP identity or password was asked for.
    AwaitingCredential(Box<AwaitingCredential>),
    /// EAP succeeded and the AUTH that comes from it was sent.
    AwaitingFinalAuth(Box<AwaitingFinalAuth>),
    /// The IKE SA stands.
    Established(Box<EstablishedSa>),
    /// It is over; the peer has not yet confirmed that it knows.
    Closing(Box<Closing>),
    /// It is over.
    Closed,
}

impl State {
    /// Ends the session without a word to the peer.
    pub(super) fn closed(cause: CloseCause, context: &mut Context) -> Self {
        context.tell(Event::Closed { cause });
        Self::Closed
    }

    /// Names what is awaited, for logs.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Candidates(candidates) => candidates.name(),
            Self::AwaitingIntermediateResponse(_) => "awaiting-intermediate-response",
            Self::AwaitingPpk(_) => "awaiting-ppk",
            Self::AwaitingResumedAuth(_) => "awaiting-resumed-auth",
            Self::AwaitingPreSharedKey(_) => "awaiting-pre-shared-key",
            Self::AwaitingSignature(_) => "awaiting-signature",
            Self::AwaitingAuthResponse(_) => "awaiting-auth-response",
            Self::AwaitingRevocation(_) => "awaiting-revocation",
            Self::AwaitingSecondExchange(_) => "awaiting-second-exchange",
            Self::AwaitingEapMessage(_) => "awaiting-eap-message",
            Self::AwaitingCredential(_) => "awaiting-credential",
            Self::AwaitingFinalAuth(_) => "awaiting-final-auth",
            Self::Established(_) => "established",
            Self::Closing(_) => "closing",
            Self::Closed => "closed",
        }
    }

    /// Takes a datagram that is an IKE message.
    pub(super) fn receive(self, datagram: &[u8], message: &Message, context: &mut Context, now: Timestamp) -> Self {
        match self {
            Self::Candidates(candidates) => candidates.receive(datagram, message, context, now),
            Self::Established(state) => state.receive(datagram, message, context, now),
            Self::Closing(state) => state.receive(datagram, message, context, now),
            Self::Closed => Self::Closed,
            mut half_open => {
                let Some(negotiated) = half_open.negotiated_mut() else { return half_open };
                if Spis::of(&message.header) != negotiated.sa.spis {
                    context.counters.foreign += 1;
                    return half_open;
                }
                match negotiated.sa.receive(datagram, message, context, now) {
                    Received::Response { payloads } => half_open.respond(payloads, context, now),
                    Received::Request { .. } => {
                        // Nobody may ask for anything before both sides are authenticated.
                        context.counters.unexpected += 1;
                        half_open
                    }
                    Received::Nothing => half_open,
                }
            }
        }
    }

    /// Takes the response to an IKE_AUTH request.
    fn respond(self, payloads: Result<Vec<Payload>, DecodeError>, context: &mut Context, now: Timestamp) -> Self {
        let payloads = match payloads {
            Ok(payloads) => payloads,
            Err(error) => {
                let cause = match error.unsupported_critical_payload() {
                    Some(PayloadType(kind)) => CloseCause::PeerIncompatible { what: format!("payload {kind}") },
                    None => CloseCause::misbehaved(error.to_string()),
                };
                return self.farewell(cause, context, now);
            }
        };
        match self {
            Self::AwaitingIntermediateResponse(state) => state.respond(&payloads, context, now),
            Self::AwaitingAuthResponse(state) => state.respond(&payloads, context, now),
            Self::AwaitingSecondExchange(state) => state.respond(&payloads, context, now),
            Self::AwaitingEapMessage(state) => state.respond(&payloads, context, now),
            Self::AwaitingFinalAuth(state) => state.respond(&payloads, context, now),
            Self::AwaitingResumedAuth(state) => state.respond(&payloads, context, now),
            other => other,
        }
    }

    /// Tells whether a question under that number stands.
    pub(super) fn asks(&self, id: RequestId) -> bool {
        match self {
            Self::Candidates(candidates) => candidates.ask(id),
            state => state.question().is_some_and(|question| question.id == id),
        }
    }

    /// Takes the answer to the question under that number, which stands.
    pub(super) fn answered(self, id: RequestId, answer: Answer, context: &mut Context, now: Timestamp) -> Self {
        match self {
            Self::Candidates(candidates) => candidates.answer(id, answer, context, now),
            state => state.answer(answer, context, now),
        }
    }

    /// Takes the answer to the question that stands.
    pub(super) fn answer(self, answer: Answer, context: &mut Context, now: Timestamp) -> Self {
        if let (Answer::Refused { because }, false) = (&answer, matches!(self, Self::AwaitingRevocation(_))) {
            let because = because.clone();
            let cause = match &self {
                Self::AwaitingCredential(state) => state.unanswered(because),
                _ => CloseCause::InputRefused { because },
            };
            return self.farewell(cause, context, now);
        }
        let mut state = self;
        if let (Some(question), Some(negotiated)) = (state.question(), state.negotiated_mut()) {
            // The time a person takes is not the gateway's.
            negotiated.negotiation_ends = negotiated.negotiation_ends + now.saturating_since(question.asked);
        }
        match state {
            Self::AwaitingPpk(state) => state.answer(answer, context, now),
            Self::AwaitingPreSharedKey(state) => state.answer(answer, context, now),
            Self::AwaitingSignature(state) => state.answer(answer, context, now),
            Self::AwaitingRevocation(state) => state.answer(answer, context, now),
            Self::AwaitingCredential(state) => state.answer(answer, context, now),
            other => other,
        }
    }

    /// Tells whether the gateway has proven itself: what is asked of it or sent to it from here on is
    /// not for anybody else.
    pub(super) fn is_proven(&self) -> bool {
        match self {
            Self::AwaitingEapMessage(state) => state.is_proven(),
            Self::AwaitingCredential(state) => state.is_proven(),
            // The last: it has, and refused what was offered, so that it is tried from the start.
            Self::AwaitingRevocation(_) | Self::AwaitingSecondExchange(_) => true,
            Self::AwaitingFinalAuth(_) | Self::Established(_) | Self::Candidates(_) => true,
            _ => false,
        }
    }

    /// Returns the SPIs of the one IKE SA that there is, half-open or ending.
    pub(super) fn spis(&self) -> Option<Spis> {
        match self {
            Self::Closing(closing) => Some(closing.spis()),
            state => state.negotiated().map(|negotiated| negotiated.sa.spis),
        }
    }

    /// Tells whether nobody answers: what was sent on the half-open IKE SA had to be repeated and waits still.
    pub(super) fn is_unanswered(&self) -> bool {
        self.negotiated().is_some_and(|negotiated| negotiated.sa.is_waiting() && negotiated.sa.was_repeated())
    }

    /// Returns the question that stands.
    pub(super) fn question(&self) -> Option<Question> {
        match self {
            Self::AwaitingPpk(state) => Some(state.question),
            Self::AwaitingPreSharedKey(state) => Some(state.question),
            Self::AwaitingSignature(state) => Some(state.question),
            Self::AwaitingRevocation(state) => Some(state.question),
            Self::AwaitingCredential(state) => Some(state.question),
            _ => None,
        }
    }

    /// Returns the SPI of the CHILD SA that the gateway may have made and that is not made here yet.
    pub(super) fn expected_child(&self) -> Option<EspSpi> {
        match self {
            Self::Candidates(candidates) => candidates.expected_child(),
            Self::AwaitingAuthResponse(state) => state.offer.expected(),
            // The gateway has made it, and those who are asked may take seconds.
            Self::AwaitingRevocation(state) => state.state.offer.expected(),
            Self::AwaitingFinalAuth(state) => state.offer.expected(),
            Self::AwaitingResumedAuth(state) => state.offer.expected(),
            Self::Established(state) => state.expected_child(),
            _ => None,
        }
    }

    fn negotiated(&self) -> Option<&Negotiated> {
        match self {
            Self::AwaitingIntermediateResponse(state) => Some(&state.negotiated),
            Self::AwaitingPpk(state) => Some(&state.negotiated),
            Self::AwaitingPreSharedKey(state) => Some(&state.negotiated),
            Self::AwaitingSignature(state) => Some(&state.negotiated),
            Self::AwaitingAuthResponse(state) => Some(&state.negotiated),
            Self::AwaitingRevocation(state) => Some(&state.state.negotiated),
            Self::AwaitingSecondExchange(state) => Some(&state.negotiated),
            Self::AwaitingEapMessage(state) => Some(&state.negotiated),
            Self::AwaitingCredential(state) => Some(&state.negotiated),
            Self::AwaitingFinalAuth(state) => Some(&state.negotiated),
            Self::AwaitingResumedAuth(state) => Some(&state.negotiated),
            _ => None,
        }
    }

    /// Returns what IKE_SA_INIT brought, while the IKE SA is half-open.
    pub(super) fn negotiated_mut(&mut self) -> Option<&mut Negotiated> {
        match self {
            Self::AwaitingIntermediateResponse(state) => Some(&mut state.negotiated),
            Self::AwaitingPpk(state) => Some(&mut state.negotiated),
            Self::AwaitingPreSharedKey(state) => Some(&mut state.negotiated),
            Self::AwaitingSignature(state) => Some(&mut state.negotiated),
            Self::AwaitingAuthResponse(state) => Some(&mut state.negotiated),
            Self::AwaitingRevocation(state) => Some(&mut state.state.negotiated),
            Self::AwaitingSecondExchange(state) => Some(&mut state.negotiated),
            Self::AwaitingEapMessage(state) => Some(&mut state.negotiated),
            Self::AwaitingCredential(state) => Some(&mut state.negotiated),
            Self::AwaitingFinalAuth(state) => Some(&mut state.negotiated),
            Self::AwaitingResumedAuth(state) => Some(&mut state.negotiated),
            _ => None,
        }
    }

    /// Takes the half-open IKE SA out of the state.
    fn into_sa(self) -> Option<IkeSa> {
        let negotiated = match self {
            Self::AwaitingIntermediateResponse(state) => state.negotiated,
            Self::AwaitingPpk(state) => state.negotiated,
            Self::AwaitingPreSharedKey(state) => state.negotiated,
            Self::AwaitingSignature(state) => state.negotiated,
            Self::AwaitingAuthResponse(state) => state.negotiated,
            Self::AwaitingRevocation(state) => state.state.negotiated,
            Self::AwaitingSecondExchange(state) => state.negotiated,
            Self::AwaitingEapMessage(state) => state.negotiated,
            Self::AwaitingCredential(state) => state.negotiated,
            Self::AwaitingFinalAuth(state) => state.negotiated,
            Self::AwaitingResumedAuth(state) => state.negotiated,
            Self::Established(state) => return Some(state.into_current_sa()),
            _ => return None,
        };
        Some(negotiated.sa)
    }

    /// Returns every moment at which [`Self::handle_timeout`] has something to do.
    pub(super) fn timers(&self, context: &Context) -> Vec<(Timestamp, TimerName)> {
        let mut timers = Vec::new();
        let mut add = |moment: Option<Timestamp>, name| timers.extend(moment.map(|moment| (moment, name)));
        match self {
            Self::Candidates(candidates) => return candidates.timers(context),
            Self::Established(state) => return state.timers(context),
            Self::Closing(state) => add(state.retransmission(), TimerName::Retransmission),
            Self::Closed => {}
            half_open => {
                if let Some(question) = half_open.question() {
                    add(Some(question.deadline), TimerName::Answer);
                } else if let Some(negotiated) = half_open.negotiated() {
                    add(Some(negotiated.negotiation_ends), TimerName::Negotiation);
                }
                if let Some(negotiated) = half_open.negotiated() {
                    add(negotiated.sa.retransmission(), TimerName::Retransmission);
                    add(negotiated.sa.reassembly(), TimerName::Reassembly);
                }
            }
        }
        timers
    }

    /// Does what is due.
    pub(super) fn handle_timeout(self, context: &mut Context, now: Timestamp) -> Self {
        match self {
            Self::Candidates(candidates) => candidates.handle_timeout(context, now),
            Self::Established(state) => state.handle_timeout(context, now),
            Self::Closing(state) => state.handle_timeout(context, now),
            Self::Closed => Self::Closed,
            mut half_open => {
                match half_open.question() {
                    Some(question) if question.deadline <= now => {
                        return half_open.farewell(CloseCause::InputTimedOut, context, now);
                    }
                    Some(_) => {}
                    None => {
                        if half_open.negotiated().is_some_and(|negotiated| negotiated.negotiation_ends <= now) {
                            return half_open.farewell(CloseCause::NoAnswer, context, now);
                        }
                    }
                }
                let alive = match half_open.negotiated_mut() {
                    Some(negotiated) => negotiated.sa.handle_timeout(context, now),
                    None => true,
                };
                if alive { half_open } else { Self::closed(CloseCause::NoAnswer, context) }
            }
        }
    }

    /// Ends the session on its owner's wish.
    pub(super) fn close(self, reason: CloseReason, context: &mut Context, now: Timestamp) -> Self {
        match self {
            Self::Closing(_) | Self::Closed => self,
            Self::Candidates(candidates) => candidates.close(reason, context, now),
            other => other.farewell(CloseCause::Requested { reason }, context, now),
        }
    }

    /// Ends the session, telling the peer so when there is an IKE SA to tell it by.
    pub(super) fn farewell(self, cause: CloseCause, context: &mut Context, now: Timestamp) -> Self {
        match self.into_sa() {
            Some(sa) => closing::farewell(sa, cause, context, now),
            None => Self::closed(cause, context),
        }
    }
}
