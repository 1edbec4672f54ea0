//! Additional key exchanges (RFC 9370): over IKE_INTERMEDIATE for a new IKE SA (RFC 9242), over
//! IKE_FOLLOWUP_KE for what is renewed on it.

use super::child::{PreparedChild, PreparedIke};
use super::init::InitExchange;
use super::responder::Context;
use super::sa::{Answer, Fate, IkeSa, State, notify};
use ike_client::crypto::kex::{SharedSecret, respond};
use ike_client::crypto::keys::{IkeKeys, IkeSpis, Nonces};
use ike_client::crypto::suite::AdditionalExchanges;
use ike_client::crypto::transform::Group;
use ike_client::wire::{KeyExchange, KeyExchangeGroup, Notify, NotifyType, Payload};
use std::collections::VecDeque;

/// A renewal that waits for its additional key exchanges.
pub(super) struct Pending {
    link: Vec<u8>,
    made: Prepared,
    nonces: [Vec<u8>; 2],
    secrets: Vec<SharedSecret>,
    left: VecDeque<Group>,
}

/// What a renewal will make.
pub(super) enum Prepared {
    Child(PreparedChild),
    Ike(PreparedIke),
}

/// Returns the additional exchanges in their order.
pub(super) fn groups(additional: AdditionalExchanges) -> VecDeque<Group> {
    additional.iter().map(|(_, group)| group).collect()
}

impl IkeSa {
    /// Answers IKE_INTERMEDIATE: the keys that come of it count from the next message on.
    pub(super) fn intermediate(&mut self, payloads: &[Payload], context: &mut Context<'_>) -> Answer {
        let State::AwaitingAuth(init) = &mut self.state else { return Answer::Silence };
        let Some(group) = init.additional.pop_front() else { return Answer::Silence };
        let Some((answer, shared)) = exchange(group, payloads, context) else {
            return Answer::Reply(vec![notify(NotifyType::INVALID_SYNTAX)], Fate::Ends);
        };
        let InitExchange { initiator_nonce, responder_nonce, .. } = init.as_ref();
        let nonces = Nonces { initiator: initiator_nonce, responder: responder_nonce };
        let spis = IkeSpis { initiator: self.initiator_spi.to_bytes(), responder: self.responder_spi.to_bytes() };
        let Ok(keys) = self.keys.rekey(&self.suite, &shared, nonces, spis) else { return Answer::Silence };
        self.next_keys = Some(keys);
        Answer::Reply(vec![answer], Fate::Stays)
    }

    /// Keeps a renewal back and returns the link for its next request.
    pub(super) fn keep_back(
        &mut self,
        made: Prepared,
        additional: AdditionalExchanges,
        nonces: [Vec<u8>; 2],
        context: &mut Context<'_>,
    ) -> Result<Payload, NotifyType> {
        let link = fresh_link(context)?;
        self.pending =
            Some(Box::new(Pending { link: link.clone(), made, nonces, secrets: Vec::new(), left: groups(additional) }));
        Ok(Payload::Notify(Notify::new(NotifyType::ADDITIONAL_KEY_EXCHANGE, link)))
    }

    /// Answers IKE_FOLLOWUP_KE.
    pub(super) fn followup(&mut self, payloads: &[Payload], context: &mut Context<'_>) -> Answer {
        match self.follow(payloads, context) {
            Ok(answer) => answer,
            Err(refusal) => Answer::Reply(vec![notify(refusal)], Fate::Stays),
        }
    }

    fn follow(&mut self, payloads: &[Payload], context: &mut Context<'_>) -> Result<Answer, NotifyType> {
        let named = payloads.iter().find_map(|payload| match payload {
            Payload::Notify(n) if n.notify_type == NotifyType::ADDITIONAL_KEY_EXCHANGE => Some(&n.data),
            _ => None,
        });
        let pending = self.pending.take_if(|pending| Some(&pending.link) == named);
        let mut pending = pending.ok_or(NotifyType::STATE_NOT_FOUND)?;
        let group = pending.left.pop_front().ok_or(NotifyType::INVALID_SYNTAX)?;
        let (answer, shared) = exchange(group, payloads, context).ok_or(NotifyType::INVALID_SYNTAX)?;
        pending.secrets.push(shared);
        if !pending.left.is_empty() {
            pending.link = fresh_link(context)?;
            let link = Payload::Notify(Notify::new(NotifyType::ADDITIONAL_KEY_EXCHANGE, pending.link.clone()));
            self.pending = Some(pending);
            return Ok(Answer::Reply(vec![answer, link], Fate::Stays));
        }
        let Pending { made, nonces: [initiator, responder], secrets, .. } = *pending;
        let nonces = Nonces { initiator: &initiator, responder: &responder };
        match made {
            Prepared::Child(child) => {
                let child = self.finish_child(child, &secrets, nonces, context)?;
                self.children.push(child);
                Ok(Answer::Reply(vec![answer], Fate::Stays))
            }
            Prepared::Ike(ike) => {
                let successor = self.finish_ike(ike, &secrets, nonces)?;
                Ok(Answer::Reply(vec![answer], Fate::HandsOver(Box::new(successor))))
            }
        }
    }

    /// Takes the keys of an additional key exchange into use, once its answer is sealed.
    pub(super) fn turn_keys(&mut self) {
        if let Some(keys) = self.next_keys.take() {
            self.use_keys(keys);
        }
    }

    fn use_keys(&mut self, keys: IkeKeys) {
        if let Ok(protection) = ike_client::exchange::Protection::new(&keys, Self::SIDE) {
            (self.protection, self.keys) = (protection, keys);
        }
    }
}

/// Answers the client's value in that group.
fn exchange(group: Group, payloads: &[Payload], context: &mut Context<'_>) -> Option<(Payload, SharedSecret)> {
    let theirs = payloads.iter().find_map(|payload| match payload {
        Payload::KeyExchange(theirs) if theirs.group.0 == group.id() => Some(theirs),
        _ => None,
    })?;
    let (data, shared) = respond(group, &theirs.data, context.random).ok()?;
    Some((Payload::KeyExchange(KeyExchange { group: KeyExchangeGroup(group.id()), data }), shared))
}

fn fresh_link(context: &mut Context<'_>) -> Result<Vec<u8>, NotifyType> {
    let mut link = vec![0; 8];
    context.random.fill(&mut link).map_err(|_| NotifyType::TEMPORARY_FAILURE)?;
    Ok(link)
}
