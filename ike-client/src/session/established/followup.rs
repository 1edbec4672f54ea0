//! IKE_FOLLOWUP_KE: the additional key exchanges of an SA that is renewed or made (RFC 9370 §2.2.4).
//!
//! ```text
//! CREATE_CHILD_SA:  SA, Ni, KEi, ...   <--   SA, Nr, KEr, ..., N(ADDITIONAL_KEY_EXCHANGE)(link 1)
//! IKE_FOLLOWUP_KE:  KEi(1), N(link 1)  <--   KEr(1), N(link 2)
//! IKE_FOLLOWUP_KE:  KEi(2), N(link 2)  <--   KEr(2)
//! ```
//! The SA is made once the last of them is done, out of all the secrets; until then nothing has
//! changed. On the own side the answer to CREATE_CHILD_SA waits here; on the peer's side one such
//! negotiation is remembered, and another takes its place.
//!
//! When both sides renew one SA at once, the lowest of the four nonces of the two CREATE_CHILD_SA
//! exchanges names the one that goes, as where an exchange is all there is; but since nothing was made
//! yet, whoever began it just stops. A renewal that is asked for when the own one is past
//! CREATE_CHILD_SA is put off by TEMPORARY_FAILURE.

use super::{Ending, EstablishedSa, Operation, Reply, Task, Then, Which};
use crate::crypto::Secret;
use crate::crypto::kex::{self, KeyExchange, KeyExchangeError};
use crate::crypto::keys::{Nonces, Side};
use crate::crypto::suite::{AdditionalExchanges, IkeSuite};
use crate::crypto::transform::Group;
use crate::esp::EspSpi;
use crate::session::cause::{CloseCause, SaKind};
use crate::session::child::{Agreed, Standing};
use crate::session::context::Context;
use crate::session::ike_sa::Spis;
use crate::session::intermediate::groups;
use crate::session::payloads::Payloads;
use crate::session::proposal;
use crate::time::Timestamp;
use crate::wire::{self, ExchangeType, KeyExchangeGroup, Notify, NotifyType, Payload};
use std::collections::VecDeque;

/// The length of the links that this side gives out.
const LINK_LENGTH: usize = 8;

/// The own negotiation that goes on.
pub(super) struct Followup {
    /// What CREATE_CHILD_SA was for.
    original: Task,
    /// Its answer.
    answer: Vec<Payload>,
    secrets: Vec<Secret>,
    exchange: KeyExchange,
    left: VecDeque<Group>,
}

impl Followup {
    /// Returns what CREATE_CHILD_SA was for.
    pub(super) const fn original(&self) -> &Task {
        &self.original
    }
}

/// The peer's negotiation that goes on.
pub(super) struct Pending {
    link: Vec<u8>,
    made: Unmade,
    /// Ni and Nr.
    nonces: [Vec<u8>; 2],
    secrets: Vec<Secret>,
    left: VecDeque<Group>,
}

/// What the peer's negotiation will make.
pub(super) enum Unmade {
    /// A CHILD SA in place of another or of none; with its first secret.
    Child(Option<EspSpi>, Agreed, Option<Secret>),
    /// An IKE SA; with its first secret.
    Ike(Spis, IkeSuite, Secret),
}

/// Checks that there is a secret for each additional exchange.
pub(super) fn complete(additional: AdditionalExchanges, secrets: &[Secret]) -> Result<(), CloseCause> {
    if additional.iter().count() == secrets.len() {
        return Ok(());
    }
    Err(CloseCause::misbehaved("an additional key exchange was left out"))
}

impl EstablishedSa {
    /// Looks whether the answer to CREATE_CHILD_SA asks for more exchanges, and starts them. Gives
    /// the task back when it does not.
    pub(super) fn follow_up(
        &mut self,
        which: Which,
        task: Task,
        payloads: Payloads<'_>,
        context: &mut Context,
        now: Timestamp,
    ) -> Result<Option<Task>, CloseCause> {
        let Some(additional) = chosen_additional(&task, payloads) else { return Ok(Some(task)) };
        let link = link(payloads)?;
        if which != Which::Current {
            return Err(CloseCause::misbehaved("it goes on with an exchange on an IKE SA that it replaced"));
        }
        if is_beaten(&task, payloads) {
            self.stop_renewal(&task, context, now)?;
            return Ok(None);
        }
        // The peer's renewal of the same SA, if there is one, is the one that goes.
        self.pending = None;
        let answer = payloads.0.to_vec();
        self.ask_further(task, answer, Vec::new(), groups(additional), link, context, now)?;
        Ok(None)
    }

    /// Leaves a renewal to the peer, and looks later whether it came about.
    fn stop_renewal(&mut self, task: &Task, context: &mut Context, now: Timestamp) -> Result<(), CloseCause> {
        let operation = match task {
            Task::RekeyChild(rekey) => Operation::RekeyChild(rekey.replaces),
            Task::RekeyIke(_) => {
                if let Some((candidate, _)) = self.take_candidate() {
                    return self.adopt(candidate, context, now);
                }
                Operation::RekeyIke
            }
            _ => return Ok(()),
        };
        let wait = super::REFUSED_WAIT + context.part_of(super::REFUSED_WAIT)?;
        self.later.push((now + wait, operation));
        Ok(())
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of a Followup, of which one is made here")]
    fn ask_further(
        &mut self,
        original: Task,
        answer: Vec<Payload>,
        secrets: Vec<Secret>,
        mut left: VecDeque<Group>,
        link: Vec<u8>,
        context: &mut Context,
        now: Timestamp,
    ) -> Result<(), CloseCause> {
        let group =
            left.pop_front().ok_or_else(|| CloseCause::misbehaved("it wants more key exchanges than chosen"))?;
        let exchange = super::rekey_child::generate(group, context)?;
        let link = Notify::new(NotifyType::ADDITIONAL_KEY_EXCHANGE, link);
        let payloads = [super::rekey_child::key_exchange(&exchange), Payload::Notify(link)];
        self.current.sa.request(ExchangeType::IKE_FOLLOWUP_KE, &payloads, context, now)?;
        let followup = Followup { original, answer, secrets, exchange, left };
        self.current.task = Some(Task::Followup(Box::new(followup)));
        Ok(())
    }

    /// Takes the response to IKE_FOLLOWUP_KE.
    pub(super) fn followed_up(
        &mut self,
        followup: Followup,
        payloads: Payloads<'_>,
        context: &mut Context,
        now: Timestamp,
    ) -> Result<(), Ending> {
        let Followup { original, answer, mut secrets, exchange, left } = followup;
        if let Some(notify) = payloads.error() {
            // Nothing has changed: as if the first request had been refused.
            return match original {
                Task::RekeyChild(rekey) => {
                    Ok(self.postpone(Operation::RekeyChild(rekey.replaces), Some(notify), context, now)?)
                }
                Task::RekeyIke(_) => Ok(self.postpone(Operation::RekeyIke, Some(notify), context, now)?),
                _ => Err(CloseCause::of_refusal(notify, SaKind::Child, &[]).into()),
            };
        }
        let group = KeyExchangeGroup(exchange.group().id());
        let theirs = payloads.key_exchange().filter(|theirs| theirs.group == group);
        let theirs = theirs.ok_or_else(|| CloseCause::misbehaved("an additional key exchange is missing"))?;
        let shared = exchange.agree(&theirs.data).map_err(|error| CloseCause::misbehaved(error.to_string()))?;
        secrets.push(shared);
        if !left.is_empty() {
            let link = link(payloads)?;
            return Ok(self.ask_further(original, answer, secrets, left, link, context, now)?);
        }
        let payloads = Payloads(&answer);
        match original {
            Task::CreateChild(mut creation) => {
                creation.additional = secrets;
                self.child_created(*creation, payloads, context, now)
            }
            Task::RekeyChild(mut rekey) => {
                rekey.additional = secrets;
                self.child_rekeyed(*rekey, payloads, context, now)
            }
            Task::RekeyIke(mut rekey) => {
                rekey.additional = secrets;
                self.ike_rekeyed(*rekey, payloads, context, now)
            }
            _ => Ok(()),
        }
    }

    /// Remembers the peer's negotiation and returns the link for its next request.
    pub(super) fn remember(
        &mut self,
        made: Unmade,
        nonces: [Vec<u8>; 2],
        context: &mut Context,
    ) -> Result<Payload, CloseCause> {
        let additional = match &made {
            Unmade::Child(_, agreed, _) => agreed.suite.additional,
            Unmade::Ike(_, suite, _) => suite.additional,
        };
        let link = fresh_link(context)?;
        let left = groups(additional);
        self.pending = Some(Box::new(Pending { link: link.clone(), made, nonces, secrets: Vec::new(), left }));
        Ok(Payload::Notify(Notify::new(NotifyType::ADDITIONAL_KEY_EXCHANGE, link)))
    }

    /// Answers the peer's IKE_FOLLOWUP_KE.
    pub(super) fn answer_followup(
        &mut self,
        which: Which,
        payloads: Payloads<'_>,
        context: &mut Context,
        now: Timestamp,
    ) -> Result<Reply, CloseCause> {
        let named = payloads.notify(NotifyType::ADDITIONAL_KEY_EXCHANGE).map(|notify| &notify.data);
        let Some(mut pending) = self.pending.take_if(|pending| Some(&pending.link) == named) else {
            return Ok(NotifyType::STATE_NOT_FOUND.into());
        };
        let (Some(group), Some(theirs)) = (pending.left.pop_front(), payloads.key_exchange()) else {
            return Ok(NotifyType::INVALID_SYNTAX.into());
        };
        if which != Which::Current || theirs.group.0 != group.id() {
            return Ok(NotifyType::INVALID_SYNTAX.into());
        }
        let (public, shared) = match kex::respond(group, &theirs.data, context.random.as_mut()) {
            Ok(answer) => answer,
            Err(KeyExchangeError::Random(_)) => return Err(CloseCause::RandomUnavailable),
            Err(_) => return Ok(NotifyType::INVALID_SYNTAX.into()),
        };
        pending.secrets.push(shared);
        let group = KeyExchangeGroup(group.id());
        let mut reply = vec![Payload::KeyExchange(wire::KeyExchange { group, data: public })];
        if !pending.left.is_empty() {
            pending.link = fresh_link(context)?;
            reply.push(Payload::Notify(Notify::new(NotifyType::ADDITIONAL_KEY_EXCHANGE, pending.link.clone())));
            self.pending = Some(pending);
            return Ok(reply.into());
        }
        self.finish(*pending, reply, context, now)
    }

    /// Makes what the peer's negotiation was for.
    fn finish(
        &mut self,
        pending: Pending,
        reply: Vec<Payload>,
        context: &mut Context,
        now: Timestamp,
    ) -> Result<Reply, CloseCause> {
        let Pending { made, nonces: [initiator, responder], secrets, .. } = pending;
        let nonces = Nonces { initiator: &initiator, responder: &responder };
        match made {
            Unmade::Child(replaces, agreed, shared) => {
                let gone = |inbound| !self.children.iter().any(|child| is_in_use(child, inbound));
                // The peer may know already that its renewal is the one that goes on.
                let rival = matches!(self.task(), Some(Task::RekeyChild(own)) if own.has_rival(replaces));
                let busy = self.task().is_some_and(Task::is_about_sas) && !rival;
                if busy || replaces.is_some_and(gone) {
                    return Ok(NotifyType::TEMPORARY_FAILURE.into());
                }
                let keys = self.current.sa.keys.child_with(&agreed.suite, shared.as_ref(), &secrets, nonces)?;
                let child = agreed.to_child(context, now)?;
                agreed.install(&keys, Side::Responder, replaces, context)?;
                self.take_in(child, now);
                if let Some(replaces) = replaces {
                    self.mark_replaced(replaces, now);
                }
                Ok(reply.into())
            }
            Unmade::Ike(spis, suite, shared) => {
                let rival = matches!(self.task(), Some(Task::RekeyIke(own)) if own.has_rival());
                if self.task().is_some_and(Task::is_about_sas) && !rival {
                    return Ok(NotifyType::TEMPORARY_FAILURE.into());
                }
                let sa = self.renewed(spis, Side::Responder, suite, &shared, &secrets, nonces)?;
                let lowest = initiator.min(responder);
                Ok(Reply { payloads: reply, then: Then::NewIkeSa(Box::new(sa), lowest) })
            }
        }
    }
}

fn is_in_use(child: &crate::session::child::ChildSa, inbound: EspSpi) -> bool {
    child.inbound == inbound && child.standing == Standing::InUse
}

/// Returns the additional exchanges of the suite that the answer to that task chose, if any.
fn chosen_additional(task: &Task, payloads: Payloads<'_>) -> Option<AdditionalExchanges> {
    if payloads.error().is_some() {
        return None;
    }
    let proposals = payloads.proposals()?;
    let additional = match task {
        Task::CreateChild(creation) => proposal::chosen(&creation.offer.suites, proposals).ok()?.0.additional,
        Task::RekeyChild(rekey) => proposal::chosen(&rekey.offer.suites, proposals).ok()?.0.additional,
        Task::RekeyIke(rekey) => proposal::chosen(&rekey.suites, proposals).ok()?.0.additional,
        _ => return None,
    };
    (!additional.is_empty()).then_some(additional)
}

/// Tells whether the own renewal meets one of the peer's and is the one that goes.
fn is_beaten(task: &Task, payloads: Payloads<'_>) -> bool {
    let Some(theirs) = payloads.nonce() else { return false };
    match task {
        Task::RekeyChild(rekey) => rekey.is_beaten(theirs),
        Task::RekeyIke(rekey) => rekey.is_beaten(theirs),
        _ => false,
    }
}

fn link(payloads: Payloads<'_>) -> Result<Vec<u8>, CloseCause> {
    let notify = payloads.notify(NotifyType::ADDITIONAL_KEY_EXCHANGE);
    notify
        .map(|notify| notify.data.clone())
        .ok_or_else(|| CloseCause::misbehaved("an additional key exchange has no link"))
}

fn fresh_link(context: &mut Context) -> Result<Vec<u8>, CloseCause> {
    let mut link = vec![0; LINK_LENGTH];
    context.random.fill(&mut link)?;
    Ok(link)
}
