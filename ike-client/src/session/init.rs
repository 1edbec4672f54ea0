//! IKE_SA_INIT (RFC 7296 §1.2, §2.6, §2.7): the request, for as long as an answer to it may come.
//!
//! Nothing here is protected yet, so anybody on the path may have sent what comes in. Every whole
//! answer is therefore only a candidate ([`candidates`](super::candidates) goes on with each), a
//! [refusal](refusals) only a hint, and a [cookie](cookies) is returned after a moment in which the
//! request without it may still be answered. An attempt in another group leaves the earlier ones
//! open: whichever the gateway answers is gone on with, and AUTH covers that very request, so a forged
//! wish for another group costs nothing. All that an attempt can be made to do is bounded.

mod answer;
pub(super) mod cookies;
pub(super) mod refusals;

use super::candidates::Candidates;
use super::cause::{CloseCause, SaKind};
use super::context::{Context, Path};
use super::event::Nat;
use super::ike_sa::IkeSa;
use super::output::TimerName;
use super::payloads::Payloads;
use super::ppk::{self, Ppk};
use super::state::State;
use super::{intermediate, nat, proposal, redirect};
use crate::auth::signature::SignatureHashes;
use crate::crypto::Secret;
use crate::crypto::hash::Digest;
use crate::crypto::kex::{KeyExchange, KeyExchangeError};
use crate::crypto::keys::Nonces;
use crate::crypto::suite::IkeSuite;
use crate::crypto::transform::Group;
use crate::exchange::OutgoingWindow;
use crate::exchange::window::Due;
use crate::time::Timestamp;
use crate::wire::{
    self, ExchangeType, Flags, Header, InitiatorSpi, KeyExchangeGroup, Message, Notify, NotifyType, Payload,
    ResponderSpi,
};
use answer::Answer;
use cookies::Cookies;
use refusals::{Refusals, Verdict};

/// In how many groups the request goes out.
const MAXIMUM_ATTEMPTS: usize = 4;
/// How many answers that lead to the same keys are held against the gateway's AUTH.
const MAXIMUM_COPIES: usize = 4;
/// From how many whole answers a key is derived, which is what they cost.
const MAXIMUM_ANSWERS: u8 = 16;

/// Awaits responses to IKE_SA_INIT.
pub(super) struct AwaitingInitResponse {
    spi: InitiatorSpi,
    nonce: Vec<u8>,
    /// The path that the request goes by; what follows it may float to another port.
    path: Path,
    /// One for each group that was tried, the last one last.
    attempts: Vec<Attempt>,
    window: OutgoingWindow,
    cookies: Cookies,
    refusals: Refusals,
    /// Whole answers so far.
    answers: u8,
    disguise: Option<[u8; 20]>,
    negotiation_ends: Timestamp,
}

/// A request in one group.
struct Attempt {
    exchange: KeyExchange,
    /// The request as it was last sent: AUTH will cover it.
    request: Vec<u8>,
}

/// What IKE_SA_INIT brought.
pub(super) struct Negotiated {
    pub sa: IkeSa,
    /// SK_d as it first was: a post-quantum key and additional key exchanges change it.
    pub first_sk_d: Secret,
    pub initiator_nonce: Vec<u8>,
    pub responder_nonce: Vec<u8>,
    /// The first message of this side, as AUTH covers it.
    pub request: Vec<u8>,
    /// The first message of the gateway, as its AUTH covers it. Where somebody has sent a copy of it that leads to the
    /// same keys, one of these.
    pub responses: Vec<Vec<u8>>,
    /// What it said beside the keys.
    pub hints: Hints,
    /// What the gateway can check in method 14.
    pub announced: SignatureHashes,
    /// Whether the gateway can do without a CHILD SA at first (RFC 6023).
    pub childless: bool,
    /// Whether the gateway can authenticate in several exchanges (RFC 4739).
    pub several_authentications: bool,
    pub nat: Nat,
    pub ppk: Ppk,
    pub negotiation_ends: Timestamp,
}

/// What an answer says that no key comes from, and that this side acts on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hints {
    pub suite: IkeSuite,
    pub announced: SignatureHashes,
    pub fragmentation: bool,
    pub childless: bool,
    pub several_authentications: bool,
    pub post_quantum_key: bool,
    pub nat: Option<Nat>,
}

impl Hints {
    /// Reads them.
    pub(super) fn of(suite: IkeSuite, nat: Option<Nat>, payloads: Payloads<'_>) -> Self {
        let says = |kind| payloads.notify(kind).is_some();
        let announced = payloads
            .notify(NotifyType::SIGNATURE_HASH_ALGORITHMS)
            .and_then(|notify| SignatureHashes::decode(&notify.data).ok())
            .unwrap_or_default();
        Self {
            suite,
            announced,
            fragmentation: says(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED),
            childless: says(NotifyType::CHILDLESS_IKEV2_SUPPORTED),
            several_authentications: says(NotifyType::MULTIPLE_AUTH_SUPPORTED),
            post_quantum_key: says(NotifyType::USE_PPK),
            nat,
        }
    }
}

impl Negotiated {
    /// Returns what the keys are known by: two answers that share it must not be gone on with side by side. The suite
    /// is no part of it, since two ciphers may make the same stream of one key.
    pub(super) fn known_by(&self) -> Vec<u8> {
        let spi = self.sa.spis.responder.to_bytes();
        let length = self.responder_nonce.len().to_be_bytes();
        let parts: [&[u8]; 4] = [&spi, &length, &self.responder_nonce, self.first_sk_d.expose()];
        Digest::Sha256.of(&parts).as_ref().to_vec()
    }

    /// Notes that the gateway may have sent that answer instead, which leads to the same keys. One that says something
    /// else is left out: what it says was not acted on.
    pub(super) fn may_also_be(&mut self, other: &Self) {
        if self.hints == other.hints && self.responses.len() < MAXIMUM_COPIES {
            self.responses.extend(other.responses.iter().cloned());
        }
    }

    /// Returns the nonces for key derivation.
    pub(super) fn nonces(&self) -> Nonces<'_> {
        Nonces { initiator: &self.initiator_nonce, responder: &self.responder_nonce }
    }
}

/// Begins from the start, on the path in use.
pub(super) fn from_the_start(context: &mut Context, now: Timestamp) -> State {
    match AwaitingInitResponse::start(context, now) {
        Ok(awaiting) => Candidates::of_init(awaiting),
        Err(cause) => State::closed(cause, context),
    }
}

impl AwaitingInitResponse {
    /// Sends the first message.
    fn start(context: &mut Context, now: Timestamp) -> Result<Self, CloseCause> {
        let configuration = &context.configuration;
        let nothing = match configuration.require_post_quantum {
            true => "no IKE suite with a post-quantum key exchange, which require_post_quantum asks for",
            false => "no IKE suite",
        };
        let first = configuration.ike_suites.first();
        let group = first.ok_or_else(|| CloseCause::unusable(nothing))?.group;
        let disguise = if context.configuration.force_encapsulation {
            let mut octets = [0; 20];
            context.random.fill(&mut octets)?;
            Some(octets)
        } else {
            None
        };
        let mut awaiting = Self {
            spi: InitiatorSpi(context.ike_spi()?),
            nonce: context.nonce()?,
            path: context.path,
            attempts: vec![Attempt { exchange: generate(group, context)?, request: Vec::new() }],
            window: OutgoingWindow::new(0),
            cookies: Cookies::default(),
            refusals: Refusals::default(),
            answers: 0,
            disguise,
            negotiation_ends: now + context.configuration.negotiation_limit,
        };
        awaiting.send(0, context, now)?;
        Ok(awaiting)
    }

    /// Sends the requests of the attempts from that place on as the fields now say, and starts the
    /// repetition of all.
    fn send(&mut self, from: usize, context: &mut Context, now: Timestamp) -> Result<(), CloseCause> {
        for place in from..self.attempts.len() {
            self.write(place, context)?;
        }
        let requests: Vec<_> = self.attempts.iter().map(|attempt| attempt.request.clone()).collect();
        requests.iter().skip(from).for_each(|request| context.send_by(&self.path, request));
        self.refusals.sent();
        // An attempt that was asked for anew is still message 0 (RFC 7296 §2.6).
        self.window = OutgoingWindow::new(0);
        self.window.sent(requests, context.configuration.retransmission, now);
        Ok(())
    }

    /// Writes the request of an attempt.
    fn write(&mut self, place: usize, context: &Context) -> Result<(), CloseCause> {
        let Some(attempt) = self.attempts.get_mut(place) else { return Ok(()) };
        let mut payloads = Vec::new();
        if let Some(cookie) = self.cookies.current() {
            payloads.push(Payload::Notify(Notify::new(NotifyType::COOKIE, cookie.clone())));
        }
        payloads.push(Payload::SecurityAssociation(proposal::offer(&context.configuration.ike_suites, &[])));
        let group = KeyExchangeGroup(attempt.exchange.group().id());
        payloads.push(Payload::KeyExchange(wire::KeyExchange { group, data: attempt.exchange.public().to_vec() }));
        payloads.push(Payload::Nonce(self.nonce.clone()));
        payloads.extend(context.configuration.extensions.vendor_ids.iter().cloned().map(Payload::VendorId));
        let detection = nat::notifies(self.spi, ResponderSpi::ZERO, &self.path, self.disguise);
        payloads.extend(detection.into_iter().map(Payload::Notify));
        let status = [
            (NotifyType::IKEV2_FRAGMENTATION_SUPPORTED, Vec::new()),
            (NotifyType::SIGNATURE_HASH_ALGORITHMS, SignatureHashes::ours().encode()),
        ];
        let continuity = &context.configuration.continuity;
        let redirect = match &continuity.redirected_from {
            Some(from) => Some((NotifyType::REDIRECTED_FROM, from.encode())),
            None => continuity.follow_redirects.then_some((NotifyType::REDIRECT_SUPPORTED, Vec::new())),
        };
        let status = status.into_iter().chain(redirect);
        payloads.extend(status.map(|(kind, data)| Payload::Notify(Notify::new(kind, data))));
        payloads.extend(ppk::announcement(&context.configuration));
        payloads.extend(intermediate::announcement(&context.configuration));
        let flags = Flags::new(true, false);
        let header = Header::new(self.spi, ResponderSpi::ZERO, ExchangeType::IKE_SA_INIT, flags, 0);
        attempt.request = Message::new(header, payloads).encode()?;
        Ok(())
    }

    /// Sends all requests once more, out of turn: the gateway's real answer may have been lost.
    pub(super) fn repeat(&mut self, context: &mut Context) {
        self.refusals.sent();
        self.attempts.iter().for_each(|attempt| context.send_by(&self.path, &attempt.request));
    }

    /// Returns the SPI by which responses are known.
    pub(super) const fn spi(&self) -> InitiatorSpi {
        self.spi
    }

    /// Returns the path that responses come by.
    pub(super) const fn path(&self) -> &Path {
        &self.path
    }

    /// Returns every moment at which [`Self::handle_timeout`] has something to do. With candidates under
    /// way the request is repeated with theirs, and silence is theirs too.
    pub(super) fn timers(&self, with_candidates: bool) -> Vec<(Timestamp, TimerName)> {
        let mut timers = Vec::new();
        timers.extend(self.cookies.deadline().map(|at| (at, TimerName::Cookie)));
        if !with_candidates {
            timers.extend(self.window.deadline().map(|at| (at, TimerName::Retransmission)));
            timers.extend(self.refusals.deadline().map(|at| (at, TimerName::Refusal)));
            timers.push((self.negotiation_ends, TimerName::Negotiation));
        }
        timers
    }

    /// Does what is due.
    ///
    /// # Errors
    /// Why the attempt is over.
    pub(super) fn handle_timeout(
        &mut self,
        with_candidates: bool,
        context: &mut Context,
        now: Timestamp,
    ) -> Result<(), CloseCause> {
        if self.cookies.due(now) {
            self.send(0, context, now)?;
        }
        if with_candidates {
            return Ok(());
        }
        match self.refusals.due(now) {
            Verdict::Nothing => {}
            Verdict::AskAgain => {
                context.counters.retransmitted += 1;
                self.window.restart(now);
                self.repeat(context);
            }
            Verdict::Believed(cause) => return Err(cause),
        }
        if self.negotiation_ends <= now {
            return Err(self.unanswered());
        }
        match self.window.due(now) {
            Due::Nothing => {}
            Due::Repeat(datagrams) => {
                context.counters.retransmitted += 1;
                self.refusals.sent();
                datagrams.iter().for_each(|datagram| context.send_by(&self.path, datagram));
            }
            Due::GivenUp => return Err(self.unanswered()),
        }
        Ok(())
    }

    /// Returns why nothing came of it.
    fn unanswered(&self) -> CloseCause {
        self.refusals.likeliest().unwrap_or(CloseCause::NoAnswer)
    }

    /// Takes a message whose initiator SPI is ours; returns what a whole answer brought.
    ///
    /// # Errors
    /// Why the attempt is over, which is never the message's doing.
    pub(super) fn receive(
        &mut self,
        datagram: &[u8],
        message: &Message,
        context: &mut Context,
        now: Timestamp,
    ) -> Result<Option<Box<Negotiated>>, CloseCause> {
        let header = &message.header;
        let fits = header.exchange == ExchangeType::IKE_SA_INIT
            && header.flags.is_response()
            && !header.flags.is_initiator()
            && header.message_id == 0;
        if !fits {
            context.counters.unexpected += 1;
            return Ok(None);
        }
        let Some(answer) = Answer::of(datagram, message) else {
            self.asked_again_or_refused(message, context, now)?;
            return Ok(None);
        };
        if self.answers >= MAXIMUM_ANSWERS {
            context.counters.unexpected += 1;
            return Ok(None);
        }
        self.answers += 1;
        match self.accept(&answer, context) {
            Ok(negotiated) => Ok(Some(negotiated)),
            Err(cause) => {
                self.refusals.note(cause, now);
                Ok(None)
            }
        }
    }

    /// Follows COOKIE and INVALID_KE_PAYLOAD; takes note of a redirect (RFC 5685 §3) and of any other
    /// error.
    fn asked_again_or_refused(
        &mut self,
        message: &Message,
        context: &mut Context,
        now: Timestamp,
    ) -> Result<(), CloseCause> {
        let says = |kind: NotifyType| kind.is_error() || [NotifyType::COOKIE, NotifyType::REDIRECT].contains(&kind);
        let notify = message.notifies().find(|notify| says(notify.notify_type));
        let Some(notify) = notify else {
            context.counters.malformed += 1;
            return Ok(());
        };
        match notify.notify_type {
            NotifyType::COOKIE => {
                if !(1..=64).contains(&notify.data.len()) {
                    context.counters.malformed += 1;
                } else if self.cookies.note(&notify.data, now).is_err() {
                    self.refusals.note(CloseCause::misbehaved("it asks for one cookie after the other"), now);
                }
            }
            NotifyType::REDIRECT => {
                let follow = context.configuration.continuity.follow_redirects;
                match redirect::unprotected(notify, &self.nonce).filter(|_| follow) {
                    Some(to) => self.refusals.note(CloseCause::Redirected { to }, now),
                    None => context.counters.unexpected += 1,
                }
            }
            NotifyType::INVALID_KE_PAYLOAD => {
                let wanted = <[u8; 2]>::try_from(notify.data.as_slice()).map(u16::from_be_bytes);
                let offered = |group: &Group| context.configuration.ike_suites.iter().any(|row| row.group == *group);
                match wanted.ok().and_then(Group::from_id).filter(offered) {
                    // The group of a request that is under way: an answer to an earlier one.
                    Some(group) if self.attempt_in(group.id()).is_some() => {}
                    Some(group) if self.attempts.len() < MAXIMUM_ATTEMPTS => {
                        self.attempts.push(Attempt { exchange: generate(group, context)?, request: Vec::new() });
                        self.send(self.attempts.len() - 1, context, now)?;
                    }
                    _ => self.refusals.note(CloseCause::ProposalMismatch { sa: SaKind::Ike }, now),
                }
            }
            _ => self.refusals.note(CloseCause::of_refusal(notify, SaKind::Ike, &[]), now),
        }
        Ok(())
    }

    /// Returns the place of the attempt in that group.
    fn attempt_in(&self, group: u16) -> Option<usize> {
        self.attempts.iter().position(|attempt| attempt.exchange.group().id() == group)
    }
}

/// Draws a key exchange.
pub(super) fn generate(group: Group, context: &mut Context) -> Result<KeyExchange, CloseCause> {
    KeyExchange::generate(group, context.random.as_mut()).map_err(|error| match error {
        KeyExchangeError::Random(_) => CloseCause::RandomUnavailable,
        other => CloseCause::unusable(other.to_string()),
    })
}
