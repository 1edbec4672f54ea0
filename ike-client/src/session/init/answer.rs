//! A whole answer to IKE_SA_INIT: what the gateway chose is checked, and the keys are derived.

use super::{AwaitingInitResponse, Hints, Negotiated};
use crate::crypto::keys::{IkeKeys, IkeSpis, Nonces, Side};
use crate::crypto::suite::IkeSuite;
use crate::session::cause::CloseCause;
use crate::session::context::Context;
use crate::session::event::Nat;
use crate::session::ike_sa::{IkeSa, Spis};
use crate::session::output::LocalSocket;
use crate::session::payloads::Payloads;
use crate::session::{intermediate, nat, ppk, proposal};
use crate::wire::{self, Message, Proposal, ResponderSpi};

/// The payloads that a whole answer must have.
pub(super) struct Answer<'a> {
    datagram: &'a [u8],
    message: &'a Message,
    proposals: &'a [Proposal],
    key_exchange: &'a wire::KeyExchange,
    nonce: &'a [u8],
}

impl<'a> Answer<'a> {
    /// Reads a message; none when it is not a whole answer.
    pub(super) fn of(datagram: &'a [u8], message: &'a Message) -> Option<Self> {
        let payloads = Payloads(&message.payloads);
        let (proposals, key_exchange, nonce) = (payloads.proposals()?, payloads.key_exchange()?, payloads.nonce()?);
        let named = message.header.responder_spi != ResponderSpi::ZERO;
        named.then_some(Self { datagram, message, proposals, key_exchange, nonce })
    }
}

impl AwaitingInitResponse {
    /// Checks what the gateway chose and derives the keys. The attempt stays as it is: there may be
    /// other answers.
    pub(super) fn accept(&self, answer: &Answer<'_>, context: &Context) -> Result<Box<Negotiated>, CloseCause> {
        let spis = Spis::of(&answer.message.header);
        let payloads = Payloads(&answer.message.payloads);
        let (suite, place) = self.check(answer, context)?;
        let nat = match nat::detect(payloads.notifies(), spis.initiator, spis.responder, &self.path) {
            Some(nat) => nat,
            None if self.path.socket == LocalSocket::Encapsulated => Nat::default(),
            None => return Err(CloseCause::PeerIncompatible { what: "ESP outside UDP".to_owned() }),
        };
        let hints = Hints::of(suite, Some(nat), payloads);
        intermediate::check(&suite, payloads)?;
        let ppk = ppk::agreed(&context.configuration, payloads)?;
        let other_group = || CloseCause::misbehaved("the key exchange is of another group than the chosen proposal");
        let attempt = self.attempts.get(place).ok_or_else(other_group)?;
        let shared = attempt.exchange.agree(&answer.key_exchange.data);
        let shared = shared.map_err(|error| CloseCause::misbehaved(error.to_string()))?;
        let nonces = Nonces { initiator: &self.nonce, responder: answer.nonce };
        let ends = IkeSpis { initiator: spis.initiator.to_bytes(), responder: spis.responder.to_bytes() };
        let keys = IkeKeys::derive(&suite, &shared, nonces, ends);
        let keys = keys.map_err(|error| CloseCause::misbehaved(error.to_string()))?;
        Ok(Box::new(Negotiated {
            first_sk_d: keys.sk_d.clone(),
            sa: IkeSa::new(spis, Side::Initiator, suite, keys, (1, 0), hints.fragmentation)?,
            initiator_nonce: self.nonce.clone(),
            responder_nonce: answer.nonce.to_vec(),
            request: attempt.request.clone(),
            responses: vec![answer.datagram.to_vec()],
            announced: hints.announced.clone(),
            childless: hints.childless,
            several_authentications: hints.several_authentications,
            hints,
            nat,
            ppk,
            negotiation_ends: self.negotiation_ends,
        }))
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
