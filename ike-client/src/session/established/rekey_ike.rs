//! Renewal of the IKE SA, from either side (RFC 7296 §1.3.2, §2.8, §2.8.2, §2.25.2).
//!
//! ```text
//! request:  SA Ni KEi        response:  SA Nr KEr
//! ```
//! The CHILD SAs move to the new IKE SA. When both sides renew at once there are two new IKE SAs;
//! the lowest of the four nonces names the exchange whose SA goes, as with CHILD SAs. Until the own
//! response is here the peer's new SA stands beside the current one as a candidate.

use super::crash::CrashToken;
use super::followup::{Unmade, complete};
use super::rekey_child::{generate, key_exchange, wanted_group};
use super::{
    Ending, EstablishedSa, IkeLifetime, Line, Operation, Other, OtherStanding, RETIREMENT, Reply, Task, Then, Which,
};
use crate::crypto::Secret;
use crate::crypto::kex::KeyExchange;
use crate::crypto::keys::{IkeSpis, Nonces, Side};
use crate::crypto::suite::IkeSuite;
use crate::crypto::transform::Group;
use crate::session::cause::CloseCause;
use crate::session::context::Context;
use crate::session::event::Event;
use crate::session::ike_sa::{IkeSa, Spis};
use crate::session::payloads::Payloads;
use crate::session::proposal::{self, ChoiceError};
use crate::time::Timestamp;
use crate::wire::{ExchangeType, InitiatorSpi, Notify, NotifyType, Payload, ResponderSpi};

/// How many IKE SAs there are beside the current one. Each is there for a moment; a peer that makes more of them
/// meanwhile has to wait.
const MAXIMUM_OTHERS: usize = 4;

/// The own renewal that is under way.
pub(super) struct IkeRekey {
    spi: InitiatorSpi,
    nonce: Vec<u8>,
    exchange: KeyExchange,
    pub suites: Vec<IkeSuite>,
    /// The secrets of the additional key exchanges, once they are done.
    pub additional: Vec<Secret>,
    /// The group of another attempt, after INVALID_KE_PAYLOAD.
    again_with: Option<Group>,
    /// The lower nonce of the peer's renewal in several steps, answered meanwhile.
    rival: Option<Vec<u8>>,
}

impl IkeRekey {
    /// Tells whether the peer's renewal in several steps goes on and the own one stops (RFC 9370
    /// §2.2.4), once the peer's nonce is here.
    pub(super) fn is_beaten(&self, theirs: &[u8]) -> bool {
        self.rival.as_ref().is_some_and(|rival| self.nonce.as_slice().min(theirs) < rival.as_slice())
    }

    /// Tells whether the peer's renewal in several steps was answered meanwhile.
    pub(super) const fn has_rival(&self) -> bool {
        self.rival.is_some()
    }
}

impl EstablishedSa {
    /// Asks for the renewal of the current IKE SA.
    pub(super) fn start_rekey_ike(
        &mut self,
        group: Option<Group>,
        context: &mut Context,
        now: Timestamp,
    ) -> Result<Option<Task>, CloseCause> {
        self.ike_rekey = None;
        let suites = context.configuration.ike_suites.clone();
        let first = suites.first().ok_or_else(|| CloseCause::unusable("no IKE suite"))?.group;
        let spi = InitiatorSpi(context.ike_spi()?);
        let nonce = context.nonce()?;
        let exchange = generate(group.unwrap_or(first), context)?;
        let payloads = [
            Payload::SecurityAssociation(proposal::offer(&suites, &spi.to_bytes())),
            Payload::Nonce(nonce.clone()),
            key_exchange(&exchange),
        ];
        self.current.sa.request(ExchangeType::CREATE_CHILD_SA, &payloads, context, now)?;
        let rekey = IkeRekey { spi, nonce, exchange, suites, additional: Vec::new(), again_with: group, rival: None };
        Ok(Some(Task::RekeyIke(Box::new(rekey))))
    }

    /// Takes the response to the own renewal.
    pub(super) fn ike_rekeyed(
        &mut self,
        rekey: IkeRekey,
        payloads: Payloads<'_>,
        context: &mut Context,
        now: Timestamp,
    ) -> Result<(), Ending> {
        if let Some(notify) = payloads.error() {
            return Ok(self.ike_rekey_refused(&rekey, notify, context, now)?);
        }
        let IkeRekey { spi, nonce, exchange, suites, additional, .. } = rekey;
        let missing = || CloseCause::misbehaved("a payload is missing in the answer to the IKE SA's renewal");
        let theirs = payloads.nonce().ok_or_else(missing)?;
        let public = payloads.key_exchange().ok_or_else(missing)?;
        let (suite, peer_spi) = proposal::chosen(&suites, payloads.proposals().ok_or_else(missing)?)
            .map_err(|error| CloseCause::misbehaved(error.to_string()))?;
        let bad_spi = || CloseCause::misbehaved(ChoiceError::BadSpi.to_string());
        let responder = ike_spi(peer_spi).map(ResponderSpi).ok_or_else(bad_spi)?;
        if suite.group != exchange.group() || public.group.0 != suite.group.id() {
            return Err(CloseCause::misbehaved("the key exchange does not fit the chosen proposal").into());
        }
        let spis = Spis { initiator: spi, responder };
        let nonces = Nonces { initiator: &nonce, responder: theirs };
        complete(suite.additional, &additional)?;
        let shared = exchange.agree(&public.data).map_err(|error| CloseCause::misbehaved(error.to_string()))?;
        let sa = self.renewed(spis, Side::Initiator, suite, &shared, &additional, nonces)?;
        let lowest = nonce.as_slice().min(theirs);
        match self.take_candidate() {
            Some((candidate, of_candidate)) if lowest < of_candidate.as_slice() => {
                // The own one is the one too many; the peer deletes the old one.
                self.adopt(candidate, context, now)?;
                let standing = OtherStanding::Replaced { until: now + RETIREMENT };
                self.delete_other(Other { line: Line { sa, task: None }, standing }, context, now)?;
            }
            candidate => {
                self.adopt(Line { sa, task: None }, context, now)?;
                self.crash_token = CrashToken::read(payloads);
                if let Some(old) = self.others.pop() {
                    self.delete_other(old, context, now)?;
                }
                let standing = OtherStanding::Replaced { until: now + RETIREMENT };
                self.others.extend(candidate.map(|(line, _)| Other { line, standing }));
            }
        }
        Ok(())
    }

    fn ike_rekey_refused(
        &mut self,
        rekey: &IkeRekey,
        notify: &Notify,
        context: &mut Context,
        now: Timestamp,
    ) -> Result<(), CloseCause> {
        if let Some((candidate, _)) = self.take_candidate() {
            return self.adopt(candidate, context, now);
        }
        let offered = |group: &Group| rekey.suites.iter().any(|suite| suite.group == *group);
        match wanted_group(notify).filter(offered) {
            Some(group) if notify.notify_type == NotifyType::INVALID_KE_PAYLOAD && rekey.again_with.is_none() => {
                self.current.task = self.start_rekey_ike(Some(group), context, now)?;
                Ok(())
            }
            _ => self.postpone(Operation::RekeyIke, Some(notify), context, now),
        }
    }

    /// Answers the peer's renewal of the IKE SA.
    pub(super) fn answer_rekey_ike(
        &mut self,
        which: Which,
        payloads: Payloads<'_>,
        context: &mut Context,
    ) -> Result<Reply, CloseCause> {
        let busy = matches!(
            self.task(),
            Some(Task::CreateChild(_) | Task::RekeyChild(_) | Task::DeleteChild(_) | Task::Followup(_))
        );
        let has_candidate = self.others.iter().any(Other::is_candidate);
        if which != Which::Current || busy || has_candidate || self.others.len() >= MAXIMUM_OTHERS {
            return Ok(NotifyType::TEMPORARY_FAILURE.into());
        }
        let (Some(proposals), Some(theirs), Some(public)) =
            (payloads.proposals(), payloads.nonce(), payloads.key_exchange())
        else {
            return Ok(NotifyType::INVALID_SYNTAX.into());
        };
        let Some(selection) = proposal::select(&context.configuration.ike_suites, proposals) else {
            return Ok(NotifyType::NO_PROPOSAL_CHOSEN.into());
        };
        let suite = selection.suite;
        if public.group.0 != suite.group.id() {
            let data = suite.group.id().to_be_bytes().to_vec();
            return Ok(Notify::new(NotifyType::INVALID_KE_PAYLOAD, data).into());
        }
        let Some(initiator) = ike_spi(&selection.peer_spi).map(InitiatorSpi) else {
            return Ok(NotifyType::INVALID_SYNTAX.into());
        };
        let responder = ResponderSpi(context.ike_spi()?);
        let nonce = context.nonce()?;
        let exchange = generate(suite.group, context)?;
        let own_public = key_exchange(&exchange);
        let nonces = Nonces { initiator: theirs, responder: &nonce };
        let spis = Spis { initiator, responder };
        let Ok(shared) = exchange.agree(&public.data) else {
            return Ok(NotifyType::INVALID_SYNTAX.into());
        };
        if !suite.additional.is_empty() {
            match &mut self.current.task {
                Some(Task::RekeyIke(own)) => own.rival = Some(nonce.as_slice().min(theirs).to_vec()),
                Some(task) if task.is_about_sas() => return Ok(NotifyType::TEMPORARY_FAILURE.into()),
                _ => {}
            }
            let answer = Payload::SecurityAssociation(selection.answer(&responder.to_bytes()));
            let mut reply = vec![answer, Payload::Nonce(nonce.clone()), own_public];
            reply.push(self.remember(Unmade::Ike(spis, suite, shared), [theirs.to_vec(), nonce], context)?);
            return Ok(reply.into());
        }
        let sa = self.renewed(spis, Side::Responder, suite, &shared, &[], nonces)?;
        let lowest = nonce.as_slice().min(theirs).to_vec();
        let answer = Payload::SecurityAssociation(selection.answer(&responder.to_bytes()));
        let payloads = vec![answer, Payload::Nonce(nonce), own_public];
        Ok(Reply { payloads, then: Then::NewIkeSa(Box::new(sa), lowest) })
    }

    /// Goes on after the peer's renewal was answered.
    pub(super) fn peer_made_ike_sa(
        &mut self,
        sa: IkeSa,
        lowest: Vec<u8>,
        context: &mut Context,
        now: Timestamp,
    ) -> Result<(), CloseCause> {
        let line = Line { sa, task: None };
        if matches!(self.task(), Some(Task::RekeyIke(_))) {
            self.others.push(Other { line, standing: OtherStanding::Candidate { lowest } });
            return Ok(());
        }
        self.adopt(line, context, now)
    }

    /// Makes an IKE SA the current one. The one before it becomes the last of the others.
    pub(super) fn adopt(&mut self, line: Line, context: &mut Context, now: Timestamp) -> Result<(), CloseCause> {
        let lifetime = IkeLifetime::draw(context, now)?;
        self.ike_rekey = Some(lifetime.rekey);
        self.ike_made = now;
        self.ike_expiry = lifetime.expiry;
        self.crash_token = CrashToken::default();
        self.queue.retain(|operation| *operation != Operation::RekeyIke);
        self.later.retain(|(_, operation)| *operation != Operation::RekeyIke);
        context.tell(Event::IkeRekeyed { suite: line.sa.suite });
        let mut line = std::mem::replace(&mut self.current, line);
        if matches!(line.task, Some(Task::UpdateAddresses(_))) {
            // Whether the gateway has heard of the move on the SA that goes is not known.
            line.task = None;
            self.plan_update();
        }
        self.others.push(Other { line, standing: OtherStanding::Replaced { until: now + RETIREMENT } });
        Ok(())
    }

    /// Takes the peer's new IKE SA out of the others.
    pub(super) fn take_candidate(&mut self) -> Option<(Line, Vec<u8>)> {
        let place = self.others.iter().position(Other::is_candidate)?;
        match self.others.remove(place) {
            Other { line, standing: OtherStanding::Candidate { lowest } } => Some((line, lowest)),
            Other { .. } => None,
        }
    }

    /// Derives the keys of the IKE SA that takes the current one's place.
    pub(super) fn renewed(
        &self,
        spis: Spis,
        side: Side,
        suite: IkeSuite,
        shared: &Secret,
        additional: &[Secret],
        nonces: Nonces<'_>,
    ) -> Result<IkeSa, CloseCause> {
        let ends = IkeSpis { initiator: spis.initiator.to_bytes(), responder: spis.responder.to_bytes() };
        let keys = self.current.sa.keys.rekey_with(&suite, shared, additional, nonces, ends)?;
        IkeSa::new(spis, side, suite, keys, (0, 0), self.current.sa.fragmentation)
    }
}

impl Other {
    const fn is_candidate(&self) -> bool {
        matches!(self.standing, OtherStanding::Candidate { .. })
    }
}

fn ike_spi(octets: &[u8]) -> Option<u64> {
    <[u8; 8]>::try_from(octets).ok().map(u64::from_be_bytes).filter(|spi| *spi != 0)
}
