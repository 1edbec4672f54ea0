//! Renewal of a CHILD SA, from either side (RFC 7296 §1.3.3, §2.8, §2.8.1).
//!
//! ```text
//! request:  N(REKEY_SA) SA Ni [KEi] TSi TSr        response:  SA Nr [KEr] TSi TSr
//! ```
//! When both sides renew the same SA at once there are two new ones. Of the four nonces the lowest
//! names the exchange whose SA goes: the side that started it deletes it, and the other side
//! deletes the SA that was renewed.

use super::followup::{Unmade, complete};
use super::{Ending, EstablishedSa, Operation, RETIREMENT, Reply, Task, Which};
use crate::crypto::Secret;
use crate::crypto::kex::{KeyExchange, KeyExchangeError};
use crate::crypto::keys::{Nonces, Side};
use crate::crypto::suite::EspSuite;
use crate::crypto::transform::Group;
use crate::esp::EspSpi;
use crate::session::cause::CloseCause;
use crate::session::child::{Agreed, ChildOffer, Standing, esp_spi};
use crate::session::context::Context;
use crate::session::payloads::Payloads;
use crate::session::proposal;
use crate::session::selectors::Ends;
use crate::time::Timestamp;
use crate::wire::{self, ExchangeType, KeyExchangeGroup, Notify, NotifyType, Payload, ProtocolId};

/// How many CHILD SAs there are at a time, replaced ones too; a peer that makes more of them has to wait until some
/// are gone.
const MAXIMUM_CHILDREN: usize = 8;

/// The own renewal that is under way.
pub(super) struct ChildRekey {
    /// The CHILD SA that is renewed.
    pub replaces: EspSpi,
    pub offer: ChildOffer,
    nonce: Vec<u8>,
    exchange: Option<KeyExchange>,
    /// The group of another attempt, after INVALID_KE_PAYLOAD.
    again_with: Option<Group>,
    /// The secrets of the additional key exchanges, once they are done.
    pub additional: Vec<Secret>,
    /// The peer's renewal of the same SA, answered meanwhile.
    collision: Option<Collision>,
    /// The lower nonce of the peer's renewal of the same SA in several steps, answered meanwhile.
    rival: Option<Vec<u8>>,
}

impl ChildRekey {
    /// Tells whether the peer's renewal in several steps goes on and the own one stops (RFC 9370
    /// §2.2.4), once the peer's nonce is here.
    pub(super) fn is_beaten(&self, theirs: &[u8]) -> bool {
        self.rival.as_ref().is_some_and(|rival| self.nonce.as_slice().min(theirs) < rival.as_slice())
    }

    /// Tells whether the peer's renewal of that SA in several steps was answered meanwhile.
    pub(super) fn has_rival(&self, replaces: Option<EspSpi>) -> bool {
        self.rival.is_some() && Some(self.replaces) == replaces
    }
}

struct Collision {
    /// The CHILD SA that the peer's renewal made.
    inbound: EspSpi,
    /// The lower nonce of the peer's exchange.
    lowest: Vec<u8>,
}

impl EstablishedSa {
    /// Asks for the renewal of a CHILD SA, if it still is in use.
    pub(super) fn start_rekey_child(
        &mut self,
        inbound: EspSpi,
        group: Option<Group>,
        context: &mut Context,
        now: Timestamp,
    ) -> Result<Option<Task>, CloseCause> {
        let Some(child) = self.child(inbound).filter(|child| child.standing == Standing::InUse) else {
            return Ok(None);
        };
        child.rekey = None;
        let ends = child.ends.clone();
        let suites = context.configuration.esp_suites.clone();
        let offer = ChildOffer { inbound: context.esp_spi()?, suites, ends };
        let nonce = context.nonce()?;
        let chosen = group.or_else(|| offer.suites.first().and_then(|suite| suite.group));
        let exchange = chosen.map(|group| generate(group, context)).transpose()?;
        let mut payloads = vec![Payload::Notify(Notify {
            protocol: ProtocolId::ESP,
            spi: inbound.0.to_be_bytes().to_vec(),
            notify_type: NotifyType::REKEY_SA,
            data: Vec::new(),
        })];
        let [proposals, initiator, responder] = offer.payloads();
        payloads.extend([proposals, Payload::Nonce(nonce.clone())]);
        payloads.extend(exchange.as_ref().map(key_exchange));
        payloads.extend([initiator, responder]);
        self.current.sa.request(ExchangeType::CREATE_CHILD_SA, &payloads, context, now)?;
        let again_with = group;
        let rekey = ChildRekey {
            replaces: inbound,
            offer,
            nonce,
            exchange,
            again_with,
            additional: Vec::new(),
            collision: None,
            rival: None,
        };
        Ok(Some(Task::RekeyChild(Box::new(rekey))))
    }

    /// Takes the response to the own renewal.
    pub(super) fn child_rekeyed(
        &mut self,
        rekey: ChildRekey,
        payloads: Payloads<'_>,
        context: &mut Context,
        now: Timestamp,
    ) -> Result<(), Ending> {
        if let Some(notify) = payloads.error() {
            return self.child_rekey_refused(&rekey, notify, context, now);
        }
        let ChildRekey { replaces, offer, nonce, exchange, additional, collision, .. } = rekey;
        let missing = || CloseCause::misbehaved("a renewal was answered without a nonce");
        let theirs = payloads.nonce().ok_or_else(missing)?;
        let agreed = offer.agreed(payloads)?;
        let shared = agree(&agreed.suite, exchange, payloads)?;
        complete(agreed.suite.additional, &additional)?;
        let nonces = Nonces { initiator: &nonce, responder: theirs };
        let keys = self.current.sa.keys.child_with(&agreed.suite, shared.as_ref(), &additional, nonces);
        let keys = keys.map_err(CloseCause::from)?;
        let mut child = agreed.to_child(context, now)?;

        let lowest = nonce.as_slice().min(theirs);
        match collision {
            Some(collision) if lowest < collision.lowest.as_slice() => {
                // The own one is the one too many: never installed, deleted at once.
                child.standing = Standing::Redundant;
                child.rekey = None;
                self.queue.push_front(Operation::DeleteChild(child.inbound));
                self.children.push(child);
            }
            collision => {
                agreed.install(&keys, Side::Initiator, Some(replaces), context)?;
                self.take_in(child, now);
                let redundant = collision.map(|collision| collision.inbound);
                for inbound in redundant.into_iter().chain([replaces]) {
                    self.mark_replaced(inbound, now);
                }
                self.queue.push_front(Operation::DeleteChild(replaces));
            }
        }
        self.require_child(now)
    }

    fn child_rekey_refused(
        &mut self,
        rekey: &ChildRekey,
        notify: &Notify,
        context: &mut Context,
        now: Timestamp,
    ) -> Result<(), Ending> {
        let in_use = self.child(rekey.replaces).is_some_and(|child| child.standing == Standing::InUse);
        if !in_use {
            // The peer's renewal of the same SA has been answered, or it is gone.
            return self.require_child(now);
        }
        match notify.notify_type {
            NotifyType::INVALID_KE_PAYLOAD if rekey.again_with.is_none() => {
                let offered = |group: &Group| rekey.offer.suites.iter().any(|suite| suite.group == Some(*group));
                let Some(group) = wanted_group(notify).filter(offered) else {
                    return Ok(self.postpone(Operation::RekeyChild(rekey.replaces), Some(notify), context, now)?);
                };
                self.current.task = self.start_rekey_child(rekey.replaces, Some(group), context, now)?;
                Ok(())
            }
            NotifyType::CHILD_SA_NOT_FOUND => {
                // The peer has lost its half: another takes its place on the same IKE SA.
                self.retire_child(rekey.replaces, context);
                self.require_child(now)
            }
            _ => Ok(self.postpone(Operation::RekeyChild(rekey.replaces), Some(notify), context, now)?),
        }
    }

    /// Answers the peer's renewal of a CHILD SA.
    pub(super) fn answer_rekey_child(
        &mut self,
        which: Which,
        rekey: &Notify,
        payloads: Payloads<'_>,
        context: &mut Context,
        now: Timestamp,
    ) -> Result<Reply, CloseCause> {
        if which != Which::Current || matches!(self.task(), Some(Task::RekeyIke(_) | Task::Followup(_))) {
            return Ok(NotifyType::TEMPORARY_FAILURE.into());
        }
        // The SPI is the one that the peer receives on.
        let child = self.children.iter().find(|child| child.outbound.0.to_be_bytes()[..] == rekey.spi);
        let Some(child) = child.filter(|_| rekey.protocol == ProtocolId::ESP) else {
            if matches!(self.task(), Some(Task::RekeyChild(_))) {
                // It may be the one whose answer is still under way to here.
                return Ok(NotifyType::TEMPORARY_FAILURE.into());
            }
            let not_found = NotifyType::CHILD_SA_NOT_FOUND;
            let spi = rekey.spi.clone();
            return Ok(Notify { protocol: rekey.protocol, spi, notify_type: not_found, data: Vec::new() }.into());
        };
        if child.standing != Standing::InUse {
            return Ok(NotifyType::TEMPORARY_FAILURE.into());
        }
        let (replaces, ends) = (child.inbound, child.ends.clone());
        self.make_child(Some(replaces), &ends, payloads, context, now)
    }

    /// Makes the CHILD SA that the peer asks for, in place of another or of none, within `ends`.
    pub(super) fn make_child(
        &mut self,
        replaces: Option<EspSpi>,
        ends: &Ends,
        payloads: Payloads<'_>,
        context: &mut Context,
        now: Timestamp,
    ) -> Result<Reply, CloseCause> {
        if self.children.len() >= MAXIMUM_CHILDREN {
            return Ok(NotifyType::TEMPORARY_FAILURE.into());
        }
        let (Some(proposals), Some(theirs)) = (payloads.proposals(), payloads.nonce()) else {
            return Ok(NotifyType::INVALID_SYNTAX.into());
        };
        let (Some(initiator), Some(responder)) = (payloads.initiator_selectors(), payloads.responder_selectors())
        else {
            return Ok(NotifyType::INVALID_SYNTAX.into());
        };
        let Some(selection) = proposal::select(&context.configuration.esp_suites, proposals) else {
            return Ok(NotifyType::NO_PROPOSAL_CHOSEN.into());
        };
        let Some(ends) = ends.common(responder, initiator) else {
            return Ok(NotifyType::TS_UNACCEPTABLE.into());
        };
        let Ok(outbound) = esp_spi(&selection.peer_spi) else {
            return Ok(NotifyType::INVALID_SYNTAX.into());
        };
        let offered_group = payloads.key_exchange().map(|exchange| exchange.group.0);
        let exchange = match selection.suite.group {
            Some(group) if offered_group != Some(group.id()) => {
                let data = group.id().to_be_bytes().to_vec();
                return Ok(Notify::new(NotifyType::INVALID_KE_PAYLOAD, data).into());
            }
            Some(group) => Some(generate(group, context)?),
            None => None,
        };
        let public = exchange.as_ref().map(key_exchange);
        let Ok(shared) = agree(&selection.suite, exchange, payloads) else {
            return Ok(NotifyType::INVALID_SYNTAX.into());
        };
        let nonce = context.nonce()?;
        if !selection.suite.additional.is_empty() {
            match &mut self.current.task {
                Some(Task::RekeyChild(own)) if Some(own.replaces) == replaces => {
                    own.rival = Some(nonce.as_slice().min(theirs).to_vec());
                }
                Some(task) if task.is_about_sas() => return Ok(NotifyType::TEMPORARY_FAILURE.into()),
                _ => {}
            }
        }
        let inbound = context.esp_spi()?;
        let agreed = Agreed { inbound, outbound, suite: selection.suite, ends };
        let mut reply = vec![Payload::SecurityAssociation(selection.answer(&inbound.0.to_be_bytes()))];
        reply.push(Payload::Nonce(nonce.clone()));
        reply.extend(public);
        reply.push(Payload::TrafficSelectorsInitiator(agreed.ends.remote.clone()));
        reply.push(Payload::TrafficSelectorsResponder(agreed.ends.local.clone()));
        if !agreed.suite.additional.is_empty() {
            let nonces = [theirs.to_vec(), nonce];
            reply.push(self.remember(Unmade::Child(replaces, agreed, shared), nonces, context)?);
            return Ok(reply.into());
        }
        let nonces = Nonces { initiator: theirs, responder: &nonce };
        let keys = self.current.sa.keys.child(&agreed.suite, shared.as_ref(), nonces)?;
        let child = agreed.to_child(context, now)?;
        agreed.install(&keys, Side::Responder, replaces, context)?;
        self.take_in(child, now);
        if let Some(replaces) = replaces {
            self.mark_replaced(replaces, now);
        }
        if let Some(Task::RekeyChild(own)) = &mut self.current.task
            && Some(own.replaces) == replaces
        {
            let lowest = nonce.as_slice().min(theirs).to_vec();
            own.collision = Some(Collision { inbound, lowest });
        }
        Ok(reply.into())
    }

    pub(super) fn mark_replaced(&mut self, inbound: EspSpi, now: Timestamp) {
        // One that was given up meanwhile stays so.
        if let Some(child) = self.child(inbound).filter(|child| child.standing == Standing::InUse) {
            child.standing = Standing::Replaced { until: now + RETIREMENT };
            child.rekey = None;
        }
    }
}

/// Returns the group that INVALID_KE_PAYLOAD names.
pub(super) fn wanted_group(notify: &Notify) -> Option<Group> {
    let octets = <[u8; 2]>::try_from(notify.data.as_slice()).ok()?;
    Group::from_id(u16::from_be_bytes(octets))
}

/// Draws a key exchange.
pub(super) fn generate(group: Group, context: &mut Context) -> Result<KeyExchange, CloseCause> {
    KeyExchange::generate(group, context.random.as_mut()).map_err(|error| match error {
        KeyExchangeError::Random(_) => CloseCause::RandomUnavailable,
        other => CloseCause::unusable(other.to_string()),
    })
}

/// Returns the KE payload of the own side.
pub(super) fn key_exchange(exchange: &KeyExchange) -> Payload {
    let group = KeyExchangeGroup(exchange.group().id());
    Payload::KeyExchange(wire::KeyExchange { group, data: exchange.public().to_vec() })
}

/// Agrees on the fresh secret that the suite asks for; none without perfect forward secrecy.
pub(super) fn agree(
    suite: &EspSuite,
    exchange: Option<KeyExchange>,
    payloads: Payloads<'_>,
) -> Result<Option<Secret>, CloseCause> {
    let Some(group) = suite.group else { return Ok(None) };
    let mismatch = || CloseCause::misbehaved("the key exchange does not fit the chosen proposal");
    let own = exchange.filter(|own| own.group() == group).ok_or_else(mismatch)?;
    let theirs = payloads.key_exchange().filter(|theirs| theirs.group.0 == group.id()).ok_or_else(mismatch)?;
    own.agree(&theirs.data).map(Some).map_err(|error| CloseCause::misbehaved(error.to_string()))
}
