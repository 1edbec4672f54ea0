//! Several answers to the first message (RFC 7296 §2.4).
//!
//! Whoever sees the first message can answer it before the gateway does, and nothing tells the answers
//! apart until one of them proves who it is. So each whole answer is gone on with as a session of its
//! own, side by side, up to [`MAXIMUM`] at a time: the first one whose gateway is [proven](State::is_proven) is
//! the session from then on, and the others are forgotten. One that fails is no more than a hint as to
//! why, as long as others are under way or the gateway's own answer may still be on its way.
//!
//! Questions to the owner that are the same for all candidates are put once.

use super::auth;
use super::cause::{CloseCause, CloseReason};
use super::context::Context;
use super::event::Event;
use super::ike_sa::Spis;
use super::init::{AwaitingInitResponse, Negotiated, from_the_start};
use super::intermediate;
use super::output::TimerName;
use super::request::{Answer, Request, RequestId};
use super::resume::{AwaitingResumeResponse, NotResumed, Resumed};
use super::state::State;
use crate::crypto::hash::Digest;
use crate::esp::EspSpi;
use crate::time::Timestamp;
use crate::wire::{ExchangeType, Message};
use std::time::Duration;

/// How many candidates are under way at a time that have answered so far. One that does not answer the first message to
/// it takes nobody's place, and goes on: how many whole answers there may be in all is bounded too.
const MAXIMUM: usize = 4;
/// How long after the first whole answer another one is waited for, when all so far have failed.
pub(super) const LATER_ANSWER: Duration = Duration::from_secs(1);
/// How many answers are known again when they come a second time.
const KNOWN: usize = 32;

/// See the module's description.
pub(super) struct Candidates {
    opening: Opening,
    under_way: Vec<State>,
    /// Digests of the whole answers so far.
    known: Vec<Vec<u8>>,
    /// Until when another answer is waited for; set by the first one.
    later_answers_until: Option<Timestamp>,
    /// Why candidates failed, the last one last, with what is left to be said to it.
    failure: Option<(CloseCause, State)>,
    /// Whether no signature was given to one. What it announced decides whether the own key can sign, and anybody may
    /// have announced that.
    unsigned: bool,
    /// What the keys of each answer so far are known by.
    keys: Vec<Vec<u8>>,
    /// Questions that stand, and answers that were given.
    asked: Vec<(RequestId, Request)>,
    given: Vec<(Request, Answer)>,
}

/// What an answer brought.
enum Brought {
    Negotiated(Box<Negotiated>),
    Resumed(Resumed),
}

impl Brought {
    fn negotiated(&self) -> &Negotiated {
        match self {
            Self::Negotiated(negotiated) => negotiated,
            Self::Resumed(resumed) => &resumed.negotiated,
        }
    }
}

/// The first message, which stays open to answers.
enum Opening {
    Init(AwaitingInitResponse),
    Resumption(AwaitingResumeResponse),
}

impl Candidates {
    /// Starts without candidates, after IKE_SA_INIT was sent.
    pub(super) fn of_init(awaiting: AwaitingInitResponse) -> State {
        Self::of(Opening::Init(awaiting))
    }

    /// Starts without candidates, after a ticket was sent.
    pub(super) fn of_resumption(awaiting: AwaitingResumeResponse) -> State {
        Self::of(Opening::Resumption(awaiting))
    }

    fn of(opening: Opening) -> State {
        State::Candidates(Box::new(Self {
            opening,
            under_way: Vec::new(),
            known: Vec::new(),
            later_answers_until: None,
            failure: None,
            unsigned: false,
            keys: Vec::new(),
            asked: Vec::new(),
            given: Vec::new(),
        }))
    }

    /// Tells whether there was an answer that led to keys.
    pub(super) const fn have_keys(&self) -> bool {
        self.later_answers_until.is_some()
    }

    /// Returns the SPI of the CHILD SA that the only candidate has asked for: of several all but one are forgers.
    pub(super) fn expected_child(&self) -> Option<EspSpi> {
        match &*self.under_way {
            [candidate] => candidate.expected_child(),
            _ => None,
        }
    }

    /// Names what is awaited.
    pub(super) fn name(&self) -> &'static str {
        match (self.under_way.last(), &self.opening) {
            (Some(candidate), _) => candidate.name(),
            (None, Opening::Init(_)) => "awaiting-init-response",
            (None, Opening::Resumption(_)) => "awaiting-resume-response",
        }
    }

    /// Tells tests how many are under way.
    #[cfg(test)]
    pub(super) const fn count(&self) -> usize {
        self.under_way.len()
    }

    /// Tells tests whether one has failed.
    #[cfg(test)]
    pub(super) const fn one_has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Takes a datagram: another answer to the first message, or what is meant for a candidate.
    pub(super) fn receive(
        mut self: Box<Self>,
        datagram: &[u8],
        message: &Message,
        context: &mut Context,
        now: Timestamp,
    ) -> State {
        let openings = [ExchangeType::IKE_SA_INIT, ExchangeType::IKE_SESSION_RESUME];
        if openings.contains(&message.header.exchange) || !self.have_keys() {
            return self.answered(datagram, message, context, now);
        }
        let spis = Spis::of(&message.header);
        if self.failure.as_ref().is_some_and(|(_, farewell)| farewell.spis() == Some(spis)) {
            self.failure = self.failure.take().map(|(cause, farewell)| {
                let farewell = farewell.receive(datagram, message, context, now);
                (cause, farewell)
            });
            // Whoever has failed may have named himself as another does.
            if !self.under_way.iter().any(|state| state.spis() == Some(spis)) {
                return State::Candidates(self);
            }
        }
        if !self.under_way.iter().any(|state| state.spis() == Some(spis)) {
            context.counters.foreign += 1;
            return State::Candidates(self);
        }
        self.drive(context, now, |state, context| match state.spis() {
            Some(theirs) if theirs == spis => state.receive(datagram, message, context, now),
            _ => state,
        })
    }

    /// Takes what claims to answer the first message.
    fn answered(
        mut self: Box<Self>,
        datagram: &[u8],
        message: &Message,
        context: &mut Context,
        now: Timestamp,
    ) -> State {
        let (spi, path) = match &self.opening {
            Opening::Init(awaiting) => (awaiting.spi(), awaiting.path()),
            Opening::Resumption(awaiting) => (awaiting.spi(), awaiting.path()),
        };
        if message.header.initiator_spi != spi || context.from != path.remote {
            context.counters.foreign += 1;
            return State::Candidates(self);
        }
        let digest = Digest::Sha256.of(&[datagram]).as_ref().to_vec();
        if self.known.contains(&digest) {
            context.counters.unexpected += 1;
            return State::Candidates(self);
        }
        if self.under_way.iter().filter(|state| !state.is_unanswered()).count() >= MAXIMUM {
            context.counters.unexpected += 1;
            return State::Candidates(self);
        }
        let brought = match &mut self.opening {
            Opening::Init(awaiting) => {
                awaiting.receive(datagram, message, context, now).map(|brought| brought.map(Brought::Negotiated))
            }
            Opening::Resumption(awaiting) => {
                awaiting.receive(datagram, message, context, now).map(|brought| brought.map(Brought::Resumed))
            }
        };
        let next = match brought {
            Ok(Some(brought)) if self.is_a_copy(brought.negotiated()) => {
                context.counters.unexpected += 1;
                Ok(None)
            }
            Ok(Some(Brought::Negotiated(negotiated))) => {
                context.float();
                Ok(Some(intermediate::begin(negotiated, context, now)))
            }
            Ok(Some(Brought::Resumed(Resumed { negotiated, identities, floats }))) => {
                if floats {
                    context.float();
                }
                Ok(Some(auth::resume(negotiated, identities, context, now)))
            }
            Ok(None) => Ok(None),
            Err(cause) => Err(cause),
        };
        match next {
            Ok(None) => State::Candidates(self),
            Ok(Some(state)) => {
                if self.known.len() < KNOWN {
                    self.known.push(digest);
                }
                self.later_answers_until.get_or_insert(now + LATER_ANSWER);
                self.under_way.push(state);
                // It may have ended at once, or have a question that was answered for another.
                self.drive(context, now, |state, _| state)
            }
            Err(cause) => State::closed(cause, context),
        }
    }

    /// Tells whether an answer leads to the keys that another one led to before, as one does of which an octet was
    /// changed that no key comes from. Nothing may be sealed with them a second time, from the first number on. Which of
    /// the two the gateway has sent its AUTH says: as long as that is awaited either will do.
    fn is_a_copy(&mut self, negotiated: &Negotiated) -> bool {
        let keys = negotiated.known_by();
        if !self.keys.contains(&keys) {
            self.keys.push(keys);
            return false;
        }
        let known = self.under_way.iter_mut().filter_map(State::negotiated_mut);
        if let Some(first) = known.into_iter().find(|first| first.known_by() == keys) {
            first.may_also_be(negotiated);
        }
        true
    }

    /// Lets each candidate take a step, and looks what became of it.
    fn drive(
        mut self: Box<Self>,
        context: &mut Context,
        now: Timestamp,
        mut step: impl FnMut(State, &mut Context) -> State,
    ) -> State {
        let candidates = std::mem::take(&mut self.under_way);
        for candidate in candidates {
            context.gateway_proven = false;
            let state = step(candidate, context);
            if state.is_proven() || context.gateway_proven {
                let question = state.question().map(|question| question.id);
                context.requests.retain(|(id, ..)| Some(*id) == question);
                return state;
            }
            if state.is_closed() {
                let cause = take_cause(context).or_else(|| self.failure.take().map(|(cause, _)| cause));
                self.failure = Some((cause.unwrap_or(CloseCause::NoAnswer), state));
            } else {
                self.under_way.push(state);
            }
        }
        self.put_questions_once(context);
        if let Some(place) = self.under_way.iter().position(|state| self.is_answered(state)) {
            return self.give_again(place, context, now);
        }
        self.conclude(context, now)
    }

    /// Ends the session when all candidates have failed and nothing better is to be expected.
    fn conclude(mut self: Box<Self>, context: &mut Context, now: Timestamp) -> State {
        let over = self.later_answers_until.is_none_or(|until| until <= now);
        match self.failure.take() {
            Some((cause, farewell)) if self.is_ours(&cause) || (self.under_way.is_empty() && over) => {
                context.requests.clear();
                if matches!(self.opening, Opening::Resumption(_)) && !self.is_ours(&cause) {
                    return from_the_start(context, now);
                }
                context.tell(Event::Closed { cause });
                farewell
            }
            failure => {
                self.failure = failure;
                State::Candidates(self)
            }
        }
    }

    /// Tells whether a candidate ended by what this side did or could not do: then no other one would do better.
    const fn is_ours(&self, cause: &CloseCause) -> bool {
        is_ours(cause) && !(self.unsigned && matches!(cause, CloseCause::InputRefused { .. }))
    }

    /// Withdraws questions that stand already for another candidate: its answer will do for all.
    fn put_questions_once(&mut self, context: &mut Context) {
        let Self { under_way, asked, given, .. } = self;
        let stands = |id| under_way.iter().any(|state| state.question().is_some_and(|question| question.id == id));
        asked.retain(|(id, _)| stands(*id));
        context.requests.retain(|(id, request, _)| {
            if !stands(*id) {
                return false;
            }
            if asked.iter().any(|(known, _)| known == id) {
                return true;
            }
            let again =
                asked.iter().any(|(_, known)| known == request) || given.iter().any(|(known, _)| known == request);
            asked.push((*id, request.clone()));
            !again
        });
    }

    fn question_of(&self, state: &State) -> Option<&Request> {
        let id = state.question()?.id;
        self.asked.iter().find(|(known, _)| *known == id).map(|(_, request)| request)
    }

    fn is_answered(&self, state: &State) -> bool {
        self.question_of(state).is_some_and(|request| self.given.iter().any(|(known, _)| known == request))
    }

    /// Gives a candidate the answer that another one got.
    fn give_again(self: Box<Self>, place: usize, context: &mut Context, now: Timestamp) -> State {
        let candidate = self.under_way.get(place);
        let request = candidate.and_then(|state| self.question_of(state)).cloned();
        let id = candidate.and_then(State::question).map(|question| question.id);
        let answer =
            self.given.iter().find(|(known, _)| Some(known) == request.as_ref()).map(|(_, answer)| answer.clone());
        match (id, answer) {
            (Some(id), Some(answer)) => self.drive(context, now, |state, context| match state.question() {
                Some(question) if question.id == id => state.answer(answer.clone(), context, now),
                _ => state,
            }),
            _ => State::Candidates(self),
        }
    }

    /// Tells whether a question under that number stands.
    pub(super) fn ask(&self, id: RequestId) -> bool {
        self.under_way.iter().any(|state| state.question().is_some_and(|question| question.id == id))
    }

    /// Takes the answer to the question under that number.
    pub(super) fn answer(
        mut self: Box<Self>,
        id: RequestId,
        answer: Answer,
        context: &mut Context,
        now: Timestamp,
    ) -> State {
        let question = self.asked.iter().find(|(known, _)| *known == id).map(|(_, request)| request.clone());
        match (question, &answer) {
            (Some(Request::Sign { .. }), Answer::Refused { .. }) => self.unsigned = true,
            (_, Answer::Refused { .. }) | (None, _) => {}
            (Some(request), answer) => self.given.push((request, answer.clone())),
        }
        self.drive(context, now, |state, context| match state.question() {
            Some(question) if question.id == id => state.answer(answer.clone(), context, now),
            _ => state,
        })
    }

    /// Returns every moment at which [`Self::handle_timeout`] has something to do.
    pub(super) fn timers(&self, context: &Context) -> Vec<(Timestamp, TimerName)> {
        let mut timers = match &self.opening {
            Opening::Init(awaiting) => awaiting.timers(self.have_keys()),
            Opening::Resumption(awaiting) => awaiting.timers(self.have_keys()),
        };
        timers.extend(self.under_way.iter().flat_map(|state| state.timers(context)));
        if let Some((_, farewell)) = &self.failure {
            timers.extend(farewell.timers(context));
            timers.extend(
                self.later_answers_until.filter(|_| self.under_way.is_empty()).map(|at| (at, TimerName::LaterAnswer)),
            );
        }
        timers
    }

    /// Does what is due.
    pub(super) fn handle_timeout(mut self: Box<Self>, context: &mut Context, now: Timestamp) -> State {
        let with_candidates = self.have_keys();
        let over = match &mut self.opening {
            Opening::Init(awaiting) => awaiting.handle_timeout(with_candidates, context, now),
            Opening::Resumption(awaiting) => match awaiting.handle_timeout(with_candidates, context, now) {
                Ok(()) => Ok(()),
                Err(NotResumed) => return from_the_start(context, now),
            },
        };
        if let Err(cause) = over {
            return State::closed(cause, context);
        }
        if let Some((cause, farewell)) = self.failure.take() {
            self.failure = Some((cause, farewell.handle_timeout(context, now)));
        }
        let before = context.counters.retransmitted;
        let next = self.drive(context, now, |state, context| state.handle_timeout(context, now));
        match next {
            State::Candidates(candidates) if !candidates.under_way.is_empty() => {
                candidates.ask_again(context.counters.retransmitted > before, context, now)
            }
            next => next,
        }
    }

    /// Asks once more when candidates had to be asked again: the gateway's own answer may have been lost. It may also
    /// have been that the ticket is none.
    fn ask_again(mut self: Box<Self>, repeated: bool, context: &mut Context, now: Timestamp) -> State {
        match &mut self.opening {
            Opening::Resumption(awaiting)
                if awaiting.is_refused(now) && self.under_way.iter().all(State::is_unanswered) =>
            {
                return from_the_start(context, now);
            }
            Opening::Init(awaiting) if repeated => awaiting.repeat(context),
            Opening::Resumption(awaiting) if repeated => awaiting.repeat(context),
            Opening::Init(_) | Opening::Resumption(_) => {}
        }
        State::Candidates(self)
    }

    /// Ends the session on its owner's wish: everybody who answered is told.
    pub(super) fn close(mut self: Box<Self>, reason: CloseReason, context: &mut Context, now: Timestamp) -> State {
        let mut last = State::Closed;
        for candidate in std::mem::take(&mut self.under_way) {
            last = candidate.close(reason, context, now);
            take_cause(context);
        }
        context.requests.clear();
        context.tell(Event::Closed { cause: CloseCause::Requested { reason } });
        last
    }
}

/// Takes the word of a candidate's end out of what is told.
fn take_cause(context: &mut Context) -> Option<CloseCause> {
    let place = context.events.iter().position(|event| matches!(event, Event::Closed { .. }))?;
    match context.events.remove(place)? {
        Event::Closed { cause } => Some(cause),
        _ => None,
    }
}

/// Tells whether a cause is what this side did or could not do.
const fn is_ours(cause: &CloseCause) -> bool {
    matches!(
        cause,
        CloseCause::ConfigurationUnusable { .. }
            | CloseCause::InputRefused { .. }
            | CloseCause::InputTimedOut
            | CloseCause::RandomUnavailable
            | CloseCause::Requested { .. }
    )
}
