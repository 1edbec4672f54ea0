//! IKE_SA_INIT (RFC 7296 §1.2, §2.6, §2.7).
//!
//! Nothing here is protected yet, so anybody on the path may have sent what comes in. A refusal
//! therefore only starts a grace of [`REFUSAL_GRACE`] in which a better answer still counts, and
//! the answers that ask for another attempt are followed a bounded number of times. An attempt in
//! another group leaves the earlier ones open: whichever the gateway answers is gone on with, and
//! AUTH covers that very request, so a forged wish for another group costs nothing. A key exchange
//! value that cannot be used burns the secret it was tried with; the next attempt is a new one, under
//! a new SPI.

use super::cause::{CloseCause, SaKind};
use super::context::Context;
use super::event::Nat;
use super::ike_sa::{IkeSa, Spis};
use super::output::LocalSocket;
use super::payloads::Payloads;
use super::ppk::{self, Ppk};
use super::state::State;
use super::{intermediate, nat, proposal, redirect};
use crate::auth::signature::SignatureHashes;
use crate::crypto::kex::{KeyExchange, KeyExchangeError};
use crate::crypto::keys::{IkeKeys, IkeSpis, Nonces, Side};
use crate::crypto::suite::IkeSuite;
use crate::crypto::transform::Group;
use crate::exchange::OutgoingWindow;
use crate::exchange::window::Due;
use crate::time::Timestamp;
use crate::wire::{
    self, ExchangeType, Flags, Header, InitiatorSpi, KeyExchangeGroup, Message, Notify, NotifyType, Payload, Proposal,
    ResponderSpi,
};
use std::time::Duration;

/// How long a better answer is waited for after an unprotected refusal.
pub(super) const REFUSAL_GRACE: Duration = Duration::from_secs(2);

/// How many cookies are returned before the gateway is taken for one that never has enough.
const MAXIMUM_COOKIES: u8 = 3;

/// How many key exchange values that cannot be used lead to a new attempt.
const MAXIMUM_BAD_VALUES: u8 = 2;

/// Awaits the response to IKE_SA_INIT.
pub(super) struct AwaitingInitResponse {
    spi: InitiatorSpi,
    nonce: Vec<u8>,
    /// One for each group that was tried, the last one last.
    attempts: Vec<Attempt>,
    window: OutgoingWindow,
    cookie: Option<Vec<u8>>,
    cookies: u8,
    bad_values: u8,
    disguise: Option<[u8; 20]>,
    refusal: Option<(CloseCause, Timestamp)>,
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
    pub initiator_nonce: Vec<u8>,
    pub responder_nonce: Vec<u8>,
    /// The first message of this side, as AUTH covers it.
    pub request: Vec<u8>,
    /// The first message of the gateway, as its AUTH covers it.
    pub response: Vec<u8>,
    /// What the gateway can check in method 14.
    pub announced: SignatureHashes,
    /// Whether the gateway can do without a CHILD SA at first (RFC 6023).
    pub childless: bool,
    pub nat: Nat,
    pub ppk: Ppk,
    pub negotiation_ends: Timestamp,
}

impl Negotiated {
    /// Returns the nonces for key derivation.
    pub(super) fn nonces(&self) -> Nonces<'_> {
        Nonces { initiator: &self.initiator_nonce, responder: &self.responder_nonce }
    }
}

/// The payloads that a response must have.
struct Answer<'a> {
    proposals: &'a [Proposal],
    key_exchange: &'a wire::KeyExchange,
    nonce: &'a [u8],
}

/// Begins from the start, on the path in use.
pub(super) fn from_the_start(context: &mut Context, now: Timestamp) -> State {
    match AwaitingInitResponse::start(context, now) {
        Ok(state) => State::AwaitingInitResponse(Box::new(state)),
        Err(cause) => State::closed(cause, context),
    }
}

impl AwaitingInitResponse {
    /// Sends the first message.
    pub(super) fn start(context: &mut Context, now: Timestamp) -> Result<Self, CloseCause> {
        let configuration = &mut context.configuration;
        if configuration.require_post_quantum && !configuration.ppk.as_ref().is_some_and(|ppk| ppk.required) {
            configuration.ike_suites.retain(|suite| suite.additional.is_post_quantum());
        }
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
            attempts: vec![Attempt { exchange: generate(group, context)?, request: Vec::new() }],
            window: OutgoingWindow::new(0),
            cookie: None,
            cookies: 0,
            bad_values: 0,
            disguise,
            refusal: None,
            negotiation_ends: now + context.configuration.negotiation_limit,
        };
        awaiting.send(context, now)?;
        Ok(awaiting)
    }

    /// Sends the last attempt's request as the fields now say, and starts its repetition.
    fn send(&mut self, context: &mut Context, now: Timestamp) -> Result<(), CloseCause> {
        let Some(attempt) = self.attempts.last_mut() else { return Ok(()) };
        let mut payloads = Vec::new();
        if let Some(cookie) = &self.cookie {
            payloads.push(Payload::Notify(Notify::new(NotifyType::COOKIE, cookie.clone())));
        }
        payloads.push(Payload::SecurityAssociation(proposal::offer(&context.configuration.ike_suites, &[])));
        let group = KeyExchangeGroup(attempt.exchange.group().id());
        payloads.push(Payload::KeyExchange(wire::KeyExchange { group, data: attempt.exchange.public().to_vec() }));
        payloads.push(Payload::Nonce(self.nonce.clone()));
        payloads.extend(context.configuration.extensions.vendor_ids.iter().cloned().map(Payload::VendorId));
        let detection = nat::notifies(self.spi, ResponderSpi::ZERO, &context.path, self.disguise);
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
        context.send(&attempt.request);
        // An attempt that was asked for anew is still message 0 (RFC 7296 §2.6).
        self.window = OutgoingWindow::new(0);
        self.window.sent(vec![attempt.request.clone()], context.configuration.retransmission, now);
        Ok(())
    }

    /// Returns the SPI by which responses are known.
    pub(super) const fn spi(&self) -> InitiatorSpi {
        self.spi
    }

    /// Returns when the request is repeated.
    pub(super) fn retransmission(&self) -> Option<Timestamp> {
        self.window.deadline()
    }

    /// Returns when a refusal counts.
    pub(super) fn refusal_grace(&self) -> Option<Timestamp> {
        self.refusal.as_ref().map(|(_, ends)| *ends)
    }

    /// Returns when the whole negotiation has taken too long.
    pub(super) const fn negotiation(&self) -> Timestamp {
        self.negotiation_ends
    }

    pub(super) fn handle_timeout(mut self: Box<Self>, context: &mut Context, now: Timestamp) -> State {
        if let Some((cause, ends)) = self.refusal.take() {
            if ends <= now {
                return State::closed(cause, context);
            }
            self.refusal = Some((cause, ends));
        }
        if self.negotiation_ends <= now {
            return State::closed(CloseCause::NoAnswer, context);
        }
        match self.window.due(now) {
            Due::Nothing => {}
            Due::Repeat(datagrams) => {
                context.counters.retransmitted += 1;
                datagrams.iter().for_each(|datagram| context.send(datagram));
            }
            Due::GivenUp => return State::closed(CloseCause::NoAnswer, context),
        }
        State::AwaitingInitResponse(self)
    }

    /// Takes a message whose initiator SPI is ours.
    pub(super) fn receive(
        mut self: Box<Self>,
        datagram: &[u8],
        message: &Message,
        context: &mut Context,
        now: Timestamp,
    ) -> State {
        let header = &message.header;
        let fits = header.exchange == ExchangeType::IKE_SA_INIT
            && header.flags.is_response()
            && !header.flags.is_initiator()
            && header.message_id == 0;
        if !fits {
            context.counters.unexpected += 1;
            return State::AwaitingInitResponse(self);
        }
        let outcome = match Answer::of(&message.payloads) {
            Some(answer) if header.responder_spi != ResponderSpi::ZERO => {
                return match self.accept(&answer, datagram, message, context) {
                    Ok(negotiated) => intermediate::begin(negotiated, context, now),
                    Err(Unaccepted::Answer(awaiting, cause)) => awaiting.refused(cause, now),
                    Err(Unaccepted::Value(awaiting, group, cause)) => awaiting.again(group, cause, context, now),
                    Err(Unaccepted::Session(cause)) => State::closed(cause, context),
                };
            }
            _ => self.asked_again_or_refused(message, context, now),
        };
        match outcome {
            Ok(None) => State::AwaitingInitResponse(self),
            Ok(Some(cause)) => self.refused(cause, now),
            Err(cause) => State::closed(cause, context),
        }
    }

    /// Starts anew in a group whose secret went into a value that cannot be used.
    fn again(mut self: Box<Self>, group: Group, cause: CloseCause, context: &mut Context, now: Timestamp) -> State {
        if self.bad_values >= MAXIMUM_BAD_VALUES {
            return self.refused(cause, now);
        }
        self.bad_values += 1;
        match self.start_anew(group, context, now) {
            Ok(()) => self.refused(cause, now),
            Err(cause) => State::closed(cause, context),
        }
    }

    /// Begins under a new SPI, so that what the gateway keeps under the old one does not matter.
    fn start_anew(&mut self, group: Group, context: &mut Context, now: Timestamp) -> Result<(), CloseCause> {
        self.spi = InitiatorSpi(context.ike_spi()?);
        self.nonce = context.nonce()?;
        self.cookie = None;
        self.attempts = vec![Attempt { exchange: generate(group, context)?, request: Vec::new() }];
        self.send(context, now)
    }

    /// Starts the grace of a refusal, if none is running.
    fn refused(mut self: Box<Self>, cause: CloseCause, now: Timestamp) -> State {
        if self.refusal.is_none() {
            self.refusal = Some((cause, now + REFUSAL_GRACE));
        }
        State::AwaitingInitResponse(self)
    }

    /// Follows COOKIE and INVALID_KE_PAYLOAD, reads a redirect (RFC 5685 §3); returns what any other error means.
    fn asked_again_or_refused(
        &mut self,
        message: &Message,
        context: &mut Context,
        now: Timestamp,
    ) -> Result<Option<CloseCause>, CloseCause> {
        let says = |kind: NotifyType| kind.is_error() || [NotifyType::COOKIE, NotifyType::REDIRECT].contains(&kind);
        let notify = message.notifies().find(|notify| says(notify.notify_type));
        let Some(notify) = notify else {
            context.counters.malformed += 1;
            return Ok(None);
        };
        match notify.notify_type {
            NotifyType::COOKIE => {
                if !(1..=64).contains(&notify.data.len()) {
                    context.counters.malformed += 1;
                    return Ok(None);
                }
                if self.cookies >= MAXIMUM_COOKIES {
                    return Ok(Some(CloseCause::misbehaved("it asks for one cookie after the other")));
                }
                self.cookies += 1;
                self.cookie = Some(notify.data.clone());
                self.send(context, now)?;
                Ok(None)
            }
            NotifyType::REDIRECT => {
                let follow = context.configuration.continuity.follow_redirects;
                match redirect::unprotected(notify, &self.nonce).filter(|_| follow) {
                    Some(to) => Ok(Some(CloseCause::Redirected { to })),
                    None => {
                        context.counters.unexpected += 1;
                        Ok(None)
                    }
                }
            }
            NotifyType::INVALID_KE_PAYLOAD => {
                let wanted = <[u8; 2]>::try_from(notify.data.as_slice()).map(u16::from_be_bytes);
                let offered = |group: &Group| context.configuration.ike_suites.iter().any(|row| row.group == *group);
                let group = wanted.ok().and_then(Group::from_id).filter(offered);
                match group {
                    Some(group) if self.attempt_in(group.id()).is_none() => {
                        self.attempts.push(Attempt { exchange: generate(group, context)?, request: Vec::new() });
                        self.send(context, now)?;
                        Ok(None)
                    }
                    // The group of a request that is under way: an answer to an earlier one.
                    Some(_) => Ok(None),
                    None => Ok(Some(CloseCause::ProposalMismatch { sa: SaKind::Ike })),
                }
            }
            _ => Ok(Some(CloseCause::of_refusal(notify, SaKind::Ike, &[]))),
        }
    }

    /// Takes a response that is whole, checks what the gateway chose, and derives the keys. Gives
    /// itself back with the error as long as a better answer could still be used.
    fn accept(
        mut self: Box<Self>,
        answer: &Answer<'_>,
        datagram: &[u8],
        message: &Message,
        context: &mut Context,
    ) -> Result<Box<Negotiated>, Unaccepted> {
        let spis = Spis::of(&message.header);
        let (suite, place) = match self.check(answer, context) {
            Ok(checked) => checked,
            Err(cause) => return Err(Unaccepted::Answer(self, cause)),
        };
        let nat = nat::detect(Payloads(&message.payloads).notifies(), spis.initiator, spis.responder, &context.path);
        let nat = match nat {
            Some(nat) => nat,
            None if context.path.socket == LocalSocket::Encapsulated => Nat::default(),
            None => {
                let cause = CloseCause::PeerIncompatible { what: "ESP outside UDP".to_owned() };
                return Err(Unaccepted::Answer(self, cause));
            }
        };
        let payloads = Payloads(&message.payloads);
        let announced = payloads
            .notify(NotifyType::SIGNATURE_HASH_ALGORITHMS)
            .and_then(|notify| SignatureHashes::decode(&notify.data).ok())
            .unwrap_or_default();
        let fragmentation = payloads.notify(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED).is_some();
        let childless = payloads.notify(NotifyType::CHILDLESS_IKEV2_SUPPORTED).is_some();
        let agreed = intermediate::check(&suite, payloads);
        let ppk = match agreed.and_then(|()| ppk::agreed(&context.configuration, payloads)) {
            Ok(ppk) => ppk,
            Err(cause) => return Err(Unaccepted::Answer(self, cause)),
        };
        let Attempt { exchange, request } = self.attempts.swap_remove(place);
        let shared = match exchange.agree(&answer.key_exchange.data) {
            Ok(shared) => shared,
            Err(error) => {
                return Err(Unaccepted::Value(self, suite.group, CloseCause::misbehaved(error.to_string())));
            }
        };
        let Self { nonce, negotiation_ends, .. } = *self;
        let nonces = Nonces { initiator: &nonce, responder: answer.nonce };
        let ends = IkeSpis { initiator: spis.initiator.to_bytes(), responder: spis.responder.to_bytes() };
        let keys = IkeKeys::derive(&suite, &shared, nonces, ends);
        let sa = keys
            .map_err(|error| CloseCause::misbehaved(error.to_string()))
            .and_then(|keys| IkeSa::new(spis, Side::Initiator, suite, keys, (1, 0), fragmentation))
            .map_err(Unaccepted::Session)?;
        context.float();
        Ok(Box::new(Negotiated {
            sa,
            initiator_nonce: nonce,
            responder_nonce: answer.nonce.to_vec(),
            request,
            response: datagram.to_vec(),
            announced,
            childless,
            nat,
            ppk,
            negotiation_ends,
        }))
    }

    /// Returns the place of the attempt in that group.
    fn attempt_in(&self, group: u16) -> Option<usize> {
        self.attempts.iter().position(|attempt| attempt.exchange.group().id() == group)
    }

    /// Returns the suite that was chosen, and which attempt is answered.
    fn check(&self, answer: &Answer<'_>, context: &Context) -> Result<(IkeSuite, usize), CloseCause> {
        let (suite, spi) = proposal::chosen(&context.configuration.ike_suites, answer.proposals)
            .map_err(|error| CloseCause::misbehaved(error.to_string()))?;
        if !spi.is_empty() {
            return Err(CloseCause::misbehaved(proposal::ChoiceError::BadSpi.to_string()));
        }
        let attempt = self.attempt_in(suite.group.id()).filter(|_| answer.key_exchange.group.0 == suite.group.id());
        let other = || CloseCause::misbehaved("the key exchange is of another group than the chosen proposal");
        Ok((suite, attempt.ok_or_else(other)?))
    }
}

/// Why a whole response was not gone on with.
enum Unaccepted {
    /// It is no good; a better one can still be used.
    Answer(Box<AwaitingInitResponse>, CloseCause),
    /// Its key exchange value is no good, and has used up the secret of that group.
    Value(Box<AwaitingInitResponse>, Group, CloseCause),
    /// There is nothing to go on with.
    Session(CloseCause),
}

impl<'a> Answer<'a> {
    fn of(payloads: &'a [Payload]) -> Option<Self> {
        let payloads = Payloads(payloads);
        Some(Self {
            proposals: payloads.proposals()?,
            key_exchange: payloads.key_exchange()?,
            nonce: payloads.nonce()?,
        })
    }
}

/// Draws a key exchange.
pub(super) fn generate(group: Group, context: &mut Context) -> Result<KeyExchange, CloseCause> {
    KeyExchange::generate(group, context.random.as_mut()).map_err(|error| match error {
        KeyExchangeError::Random(_) => CloseCause::RandomUnavailable,
        other => CloseCause::unusable(other.to_string()),
    })
}
