//! A CHILD SA beside none: made anew on an IKE SA that lives (RFC 7296 §1.3.1).
//!
//! ```text
//! request:  SA Ni [KEi] TSi TSr        response:  SA Nr [KEr] TSi TSr
//! ```
//! A CHILD SA can be lost although the IKE SA is well: the gateway lost its half
//! (CHILD_SA_NOT_FOUND, INVALID_SPI), deleted it at its own age limit, or it could not be renewed in
//! time. Then another is asked for, under the same offer as the first. A gateway that deletes one
//! after the other does not want the tunnel: what was lost within [`SHORT_LIVED`] is not asked for
//! again.

use super::followup::complete;
use super::rekey_child::{agree, generate, key_exchange, wanted_group};
use super::{Ending, EstablishedSa, Operation, Reply, Task, Which};
use crate::crypto::Secret;
use crate::crypto::kex::KeyExchange;
use crate::crypto::keys::{Nonces, Side};
use crate::crypto::transform::Group;
use crate::session::cause::{CloseCause, SaKind};
use crate::session::child::{ChildOffer, ChildSa, Standing};
use crate::session::context::Context;
use crate::session::event::{Event, Warning};
use crate::session::payloads::Payloads;
use crate::time::Timestamp;
use crate::wire::{ExchangeType, Notify, NotifyType, Payload};
use std::time::Duration;

/// A CHILD SA that is lost this soon after it was made is not made again.
const SHORT_LIVED: Duration = Duration::from_secs(10);
/// How long a tunnel goes on without a CHILD SA while the gateway says "not now".
const WITHOUT_CHILD: Duration = Duration::from_secs(60);

/// The own request for a CHILD SA that is under way.
pub(super) struct ChildCreation {
    pub offer: ChildOffer,
    nonce: Vec<u8>,
    exchange: Option<KeyExchange>,
    /// The group of another attempt, after INVALID_KE_PAYLOAD.
    again_with: Option<Group>,
    /// The secrets of the additional key exchanges, once they are done.
    pub additional: Vec<Secret>,
}

impl EstablishedSa {
    /// Asks for a CHILD SA, if none carries packets.
    pub(super) fn start_create_child(
        &mut self,
        group: Option<Group>,
        context: &mut Context,
        now: Timestamp,
    ) -> Result<Option<Task>, CloseCause> {
        if self.has_child() {
            return Ok(None);
        }
        let offer = ChildOffer::further(context)?;
        let nonce = context.nonce()?;
        let chosen = group.or_else(|| offer.suites.first().and_then(|suite| suite.group));
        let exchange = chosen.map(|group| generate(group, context)).transpose()?;
        let [proposals, initiator, responder] = offer.payloads();
        let mut payloads = vec![proposals, Payload::Nonce(nonce.clone())];
        payloads.extend(exchange.as_ref().map(key_exchange));
        payloads.extend([initiator, responder]);
        self.current.sa.request(ExchangeType::CREATE_CHILD_SA, &payloads, context, now)?;
        let creation = ChildCreation { offer, nonce, exchange, again_with: group, additional: Vec::new() };
        Ok(Some(Task::CreateChild(Box::new(creation))))
    }

    /// Takes the response to the own request.
    pub(super) fn child_created(
        &mut self,
        creation: ChildCreation,
        payloads: Payloads<'_>,
        context: &mut Context,
        now: Timestamp,
    ) -> Result<(), Ending> {
        if let Some(notify) = payloads.error() {
            return self.child_creation_refused(&creation, notify, context, now);
        }
        let ChildCreation { offer, nonce, exchange, additional, .. } = creation;
        let missing = || CloseCause::misbehaved("a CHILD SA was answered without a nonce");
        let theirs = payloads.nonce().ok_or_else(missing)?;
        let agreed = offer.agreed(payloads)?;
        let shared = agree(&agreed.suite, exchange, payloads)?;
        complete(agreed.suite.additional, &additional)?;
        let nonces = Nonces { initiator: &nonce, responder: theirs };
        let keys = self.current.sa.keys.child_with(&agreed.suite, shared.as_ref(), &additional, nonces);
        let keys = keys.map_err(CloseCause::from)?;
        let child = agreed.to_child(context, now)?;
        agreed.install(&keys, Side::Initiator, None, context)?;
        if agreed.suite.is_weak() {
            context.tell(Event::Warning(Warning::WeakSuite { suite: agreed.suite.to_string() }));
        }
        self.take_in(child, now);
        Ok(())
    }

    /// Answers the peer's request for a CHILD SA: one is all a tunnel has. Where there is none, the
    /// peer may be the one who makes it, within what the last one was for.
    pub(super) fn answer_create_child(
        &mut self,
        which: Which,
        payloads: Payloads<'_>,
        context: &mut Context,
        now: Timestamp,
    ) -> Result<Reply, CloseCause> {
        if self.has_child() {
            return Ok(NotifyType::NO_ADDITIONAL_SAS.into());
        }
        if which != Which::Current || self.task().is_some_and(Task::is_about_sas) {
            return Ok(NotifyType::TEMPORARY_FAILURE.into());
        }
        let ends = self.ends.clone();
        self.make_child(None, &ends, payloads, context, now)
    }

    /// Takes a CHILD SA that was installed into the list.
    pub(super) fn take_in(&mut self, child: ChildSa, now: Timestamp) {
        self.ends.clone_from(&child.ends);
        self.child_made = now;
        self.childless_since = None;
        self.children.push(child);
    }

    fn child_creation_refused(
        &mut self,
        creation: &ChildCreation,
        notify: &Notify,
        context: &mut Context,
        now: Timestamp,
    ) -> Result<(), Ending> {
        let offered = |group: &Group| creation.offer.suites.iter().any(|suite| suite.group == Some(*group));
        match notify.notify_type {
            NotifyType::INVALID_KE_PAYLOAD if creation.again_with.is_none() => {
                let group = wanted_group(notify).filter(offered);
                let group = group.ok_or(CloseCause::ProposalMismatch { sa: SaKind::Child })?;
                self.current.task = self.start_create_child(Some(group), context, now)?;
                Ok(())
            }
            NotifyType::TEMPORARY_FAILURE if self.may_wait_for_child(now) => {
                Ok(self.postpone(Operation::CreateChild, Some(notify), context, now)?)
            }
            _ => Err(CloseCause::of_refusal(notify, SaKind::Child, &[]).into()),
        }
    }

    fn may_wait_for_child(&self, now: Timestamp) -> bool {
        self.childless_since.is_some_and(|since| now < since + WITHOUT_CHILD)
    }

    /// Tells whether a CHILD SA carries packets.
    pub(super) fn has_child(&self) -> bool {
        self.children.iter().any(|child| child.standing == Standing::InUse)
    }

    /// A tunnel without a CHILD SA is none: another is asked for, unless an answer that is under way
    /// may bring one (the peer may know already which of two renewals stays), or the last one was
    /// lost as soon as it was made.
    pub(super) fn require_child(&mut self, now: Timestamp) -> Result<(), Ending> {
        let expected = matches!(self.task(), Some(Task::RekeyChild(_) | Task::CreateChild(_)));
        let planned = self.later.iter().any(|(_, operation)| *operation == Operation::CreateChild);
        if self.has_child() || expected || planned {
            return Ok(());
        }
        if now < self.child_made + SHORT_LIVED {
            return Err(CloseCause::ClosedByPeer.into());
        }
        self.childless_since.get_or_insert(now);
        self.enqueue(Operation::CreateChild);
        Ok(())
    }
}
