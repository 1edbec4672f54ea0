//! Session resumption (RFC 5723): a tunnel that was lost comes back without asking anybody anything.
//!
//! ```text
//! HDR(A,0), N(TICKET_OPAQUE), Ni -->     (IKE_SESSION_RESUME)
//!                                  <-- HDR(A,B), Nr
//! HDR, SK{IDi, AUTH, [CP], SA, TSi, TSr} -->
//!                                  <-- HDR, SK{IDr, AUTH, [CP], SA, TSi, TSr}
//! ```
//! SKEYSEED = prf(SK_d (old), "Resumption" | Ni | Nr), and both AUTH values are prf(SK_p, octets):
//! who can make them held the keys of the session that the ticket is of, in which both sides had
//! proven themselves. A ticket is used once, whether it leads anywhere or not. Whatever goes wrong
//! before the gateway has proven itself, nothing of it protected, leads to a negotiation from the
//! start. A refusal of the ticket, which anybody on the path can send, is held back for a moment; every
//! whole answer is a candidate, and one that says nothing more does not outweigh a refusal.

use super::candidates::Candidates;
use super::cause::CloseCause;
use super::configuration::Configuration;
use super::context::{Context, Path};
use super::ike_sa::{IkeSa, Spis};
use super::init::{Hints, Negotiated, from_the_start};
use super::nat;
use super::output::{LocalSocket, TimerName};
use super::payloads::Payloads;
use super::ppk::Ppk;
use super::state::State;
use crate::auth::Identity;
use crate::auth::signature::SignatureHashes;
use crate::crypto::Secret;
use crate::crypto::keys::{IkeKeys, IkeSpis, Nonces, Side};
use crate::crypto::suite::IkeSuite;
use crate::exchange::window::Due;
use crate::exchange::{OutgoingWindow, RetransmissionPolicy};
use crate::time::Timestamp;
use crate::wire::{ExchangeType, Flags, Header, InitiatorSpi, Message, Notify, NotifyType, Payload, ResponderSpi};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The longest ticket that is kept.
const MAXIMUM_TICKET: usize = 4096;
/// The longest time that a ticket is kept, whatever the gateway says.
const LONGEST_LIFETIME: Duration = Duration::from_secs(8 * 3600);
/// A gateway that does not answer a ticket at once is asked from the start.
const PATIENCE: RetransmissionPolicy = RetransmissionPolicy {
    initial: Duration::from_millis(500),
    growth_percent: 200,
    maximum: Duration::from_secs(1),
    repetitions: 1,
};

/// How long a better answer is waited for after one that refuses the ticket.
const REFUSAL_HOLD: Duration = Duration::from_millis(300);
/// From how many whole answers keys are derived.
const MAXIMUM_ANSWERS: u8 = 16;

/// What it takes to resume a session, once. Holds a key: whoever keeps it keeps it from others, and
/// destroys it when the session must not be resumed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ticket {
    /// What the gateway gave, which only it can read.
    opaque: Vec<u8>,
    /// Until when it is good.
    expires: Timestamp,
    suite: IkeSuite,
    #[serde(with = "super::request::secret_octets")]
    sk_d: Secret,
    /// Whether a post-quantum pre-shared key is in that key (RFC 8784).
    post_quantum: bool,
    identity: Identity,
    gateway_identity: Identity,
}

impl Ticket {
    /// Reads TICKET_LT_OPAQUE: the lifetime in seconds, then the ticket.
    pub(super) fn read(
        payloads: Payloads<'_>,
        negotiated: &Negotiated,
        (identity, gateway_identity): (Identity, Identity),
        now: Timestamp,
    ) -> Option<Self> {
        let notify = payloads.notify(NotifyType::TICKET_LT_OPAQUE)?;
        let (lifetime, opaque) = notify.data.split_at_checked(4)?;
        let lifetime = Duration::from_secs(u64::from(u32::from_be_bytes(<[u8; 4]>::try_from(lifetime).ok()?)));
        if opaque.is_empty() || opaque.len() > MAXIMUM_TICKET || lifetime.is_zero() {
            return None;
        }
        Some(Self {
            opaque: opaque.to_vec(),
            expires: now + lifetime.min(LONGEST_LIFETIME),
            suite: negotiated.sa.suite,
            sk_d: negotiated.sa.keys.sk_d().clone(),
            post_quantum: matches!(negotiated.ppk, Ppk::InUse),
            identity,
            gateway_identity,
        })
    }

    /// Tells whether it is still good.
    pub fn is_good(&self, now: Timestamp) -> bool {
        now < self.expires
    }

    /// Tells whether what it resumes is as good as the configuration demands now.
    pub(super) fn suffices(&self, configuration: &Configuration) -> bool {
        let required = configuration.ppk.as_ref().is_some_and(|ppk| ppk.required);
        configuration.ike_suites.contains(&self.suite) && (self.post_quantum || !required)
    }

    /// Returns the identity that the gateway proved when it gave the ticket.
    pub const fn gateway_identity(&self) -> &Identity {
        &self.gateway_identity
    }
}

/// Awaits responses to IKE_SESSION_RESUME.
pub(super) struct AwaitingResumeResponse {
    spi: InitiatorSpi,
    nonce: Vec<u8>,
    path: Path,
    request: Vec<u8>,
    window: OutgoingWindow,
    ticket: Ticket,
    answers: u8,
    /// Set once the ticket was refused: when that counts.
    refused: Option<Timestamp>,
    negotiation_ends: Timestamp,
}

/// It is to be negotiated from the start.
#[derive(Debug)]
pub(super) struct NotResumed;

/// What a response brought.
pub(super) struct Resumed {
    /// The keys.
    pub negotiated: Box<Negotiated>,
    /// Who both sides are by the ticket: this one and the gateway.
    pub identities: (Identity, Identity),
    /// Whether what follows goes by the socket that ESP travels on.
    pub floats: bool,
}

impl AwaitingResumeResponse {
    /// Sends the ticket.
    pub(super) fn start(ticket: Ticket, context: &mut Context, now: Timestamp) -> Result<State, CloseCause> {
        if !ticket.is_good(now) || !ticket.suffices(&context.configuration) {
            return Ok(from_the_start(context, now));
        }
        let spi = InitiatorSpi(context.ike_spi()?);
        let nonce = context.nonce()?;
        let mut disguise = [0; 20];
        context.random.fill(&mut disguise)?;
        let disguise = context.configuration.force_encapsulation.then_some(disguise);
        let mut payloads = vec![
            Payload::Nonce(nonce.clone()),
            Payload::Notify(Notify::new(NotifyType::TICKET_OPAQUE, ticket.opaque.clone())),
        ];
        let detection = nat::notifies(spi, ResponderSpi::ZERO, &context.path, disguise);
        payloads.extend(detection.into_iter().map(Payload::Notify));
        payloads.push(Payload::Notify(Notify::new(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED, Vec::new())));
        let header = Header::new(spi, ResponderSpi::ZERO, ExchangeType::IKE_SESSION_RESUME, Flags::new(true, false), 0);
        let request = Message::new(header, payloads).encode()?;
        context.send(&request);
        let mut window = OutgoingWindow::new(0);
        window.sent(vec![request.clone()], PATIENCE, now);
        let negotiation_ends = now + context.configuration.negotiation_limit;
        let path = context.path;
        let (answers, refused) = (0, None);
        let awaiting = Self { spi, nonce, path, request, window, ticket, answers, refused, negotiation_ends };
        Ok(Candidates::of_resumption(awaiting))
    }

    /// Returns the SPI by which responses are known.
    pub(super) const fn spi(&self) -> InitiatorSpi {
        self.spi
    }

    /// Returns the path that responses come by.
    pub(super) const fn path(&self) -> &Path {
        &self.path
    }

    /// Sends the ticket once more, out of turn.
    pub(super) fn repeat(&self, context: &mut Context) {
        context.send_by(&self.path, &self.request);
    }

    /// Returns every moment at which [`Self::handle_timeout`] has something to do.
    pub(super) fn timers(&self, with_candidates: bool) -> Vec<(Timestamp, TimerName)> {
        if with_candidates {
            return Vec::new();
        }
        let repetition = self.window.deadline().map(|at| (at, TimerName::Retransmission));
        repetition.into_iter().chain(self.refused.map(|at| (at, TimerName::Refusal))).collect()
    }

    /// Tells whether the ticket was refused, and nothing better came for a moment.
    pub(super) fn is_refused(&self, now: Timestamp) -> bool {
        self.refused.is_some_and(|counts| counts <= now)
    }

    /// Does what is due.
    ///
    /// # Errors
    /// When the ticket leads nowhere.
    pub(super) fn handle_timeout(
        &mut self,
        with_candidates: bool,
        context: &mut Context,
        now: Timestamp,
    ) -> Result<(), NotResumed> {
        if with_candidates {
            return Ok(());
        }
        if self.is_refused(now) {
            return Err(NotResumed);
        }
        match self.window.due(now) {
            Due::Nothing => Ok(()),
            Due::Repeat(datagrams) => {
                context.counters.retransmitted += 1;
                datagrams.iter().for_each(|datagram| context.send_by(&self.path, datagram));
                Ok(())
            }
            Due::GivenUp => Err(NotResumed),
        }
    }

    /// Takes a message whose initiator SPI is ours; returns what a whole answer brought.
    ///
    /// # Errors
    /// Why the session is over, which is never the message's doing.
    pub(super) fn receive(
        &mut self,
        datagram: &[u8],
        message: &Message,
        context: &mut Context,
        now: Timestamp,
    ) -> Result<Option<Resumed>, CloseCause> {
        let header = &message.header;
        let fits = header.exchange == ExchangeType::IKE_SESSION_RESUME
            && header.flags.is_response()
            && !header.flags.is_initiator()
            && header.message_id == 0;
        if !fits || self.answers >= MAXIMUM_ANSWERS {
            context.counters.unexpected += 1;
            return Ok(None);
        }
        let payloads = Payloads(&message.payloads);
        let refused = payloads.error().is_some() || payloads.notify(NotifyType::TICKET_NACK).is_some();
        let nonce = payloads.nonce().filter(|nonce| (16..=256).contains(&nonce.len()) && !refused);
        let (Some(nonce), true) = (nonce, header.responder_spi != ResponderSpi::ZERO) else {
            self.refused = self.refused.or(Some(now + REFUSAL_HOLD));
            return Ok(None);
        };
        self.answers += 1;
        self.resumed(nonce, datagram, message).map(Some)
    }

    fn resumed(&self, theirs: &[u8], datagram: &[u8], message: &Message) -> Result<Resumed, CloseCause> {
        let spis = Spis::of(&message.header);
        let payloads = Payloads(&message.payloads);
        let nat = nat::detect(payloads.notifies(), spis.initiator, spis.responder, &self.path);
        let floats = nat.is_some() || self.path.socket == LocalSocket::Encapsulated;
        let ticket = &self.ticket;
        let nonces = Nonces { initiator: &self.nonce, responder: theirs };
        let ends = IkeSpis { initiator: spis.initiator.to_bytes(), responder: spis.responder.to_bytes() };
        let keys = IkeKeys::resume(&ticket.suite, &ticket.sk_d, nonces, ends)?;
        let hints = Hints::of(ticket.suite, nat, payloads);
        let first_sk_d = keys.sk_d.clone();
        let sa = IkeSa::new(spis, Side::Initiator, ticket.suite, keys, (1, 0), hints.fragmentation)?;
        let negotiated = Negotiated {
            sa,
            first_sk_d,
            initiator_nonce: self.nonce.clone(),
            responder_nonce: theirs.to_vec(),
            request: self.request.clone(),
            responses: vec![datagram.to_vec()],
            announced: SignatureHashes::default(),
            ppk: if ticket.post_quantum { Ppk::InUse } else { Ppk::Unused },
            several_authentications: false,
            childless: hints.childless,
            hints,
            nat: nat.unwrap_or_default(),
            negotiation_ends: self.negotiation_ends,
        };
        Ok(Resumed {
            negotiated: Box::new(negotiated),
            identities: (ticket.identity.clone(), ticket.gateway_identity.clone()),
            floats,
        })
    }
}
