//! IKE_INTERMEDIATE (RFC 9242): the additional key exchanges of a new IKE SA (RFC 9370 §2.2.2).
//!
//! ```text
//! HDR, SK{KEi(n)} -->      <-- HDR, SK{KEr(n)}       for each additional exchange of the suite
//! ```
//! The keys change after each of them, and AUTH covers all of them: what is taken out or put in on
//! the way is found before anything is trusted. Big values travel in fragments, since this exchange
//! is protected already.

use super::auth;
use super::cause::{CloseCause, SaKind};
use super::closing;
use super::configuration::Configuration;
use super::context::Context;
use super::init::{Negotiated, generate};
use super::payloads::Payloads;
use super::state::State;
use crate::crypto::kex::KeyExchange;
use crate::crypto::keys::IkeSpis;
use crate::crypto::suite::{AdditionalExchanges, IkeSuite};
use crate::crypto::transform::Group;
use crate::time::Timestamp;
use crate::wire::{self, ExchangeType, KeyExchangeGroup, Notify, NotifyType, Payload};
use std::collections::VecDeque;

/// Awaits the response to IKE_INTERMEDIATE.
pub(super) struct AwaitingIntermediateResponse {
    pub negotiated: Box<Negotiated>,
    exchange: KeyExchange,
    /// What follows.
    left: VecDeque<Group>,
}

/// Returns N(INTERMEDIATE_EXCHANGE_SUPPORTED) when a suite that is offered needs it.
pub(super) fn announcement(configuration: &Configuration) -> Option<Payload> {
    let needed = configuration.ike_suites.iter().any(|suite| !suite.additional.is_empty());
    needed.then(|| Payload::Notify(Notify::new(NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED, Vec::new())))
}

/// Checks that the gateway can do what it chose.
pub(super) fn check(suite: &IkeSuite, payloads: Payloads<'_>) -> Result<(), CloseCause> {
    if suite.additional.is_empty() || payloads.notify(NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED).is_some() {
        return Ok(());
    }
    Err(CloseCause::misbehaved("it chose additional key exchanges and has no exchange for them"))
}

/// Does the additional key exchanges of the suite, if any, and then goes on with IKE_AUTH.
pub(super) fn begin(negotiated: Box<Negotiated>, context: &mut Context, now: Timestamp) -> State {
    let left = groups(negotiated.sa.suite.additional);
    next(negotiated, left, context, now)
}

/// Returns the additional exchanges in their order.
pub(super) fn groups(additional: AdditionalExchanges) -> VecDeque<Group> {
    additional.iter().map(|(_, group)| group).collect()
}

fn next(mut negotiated: Box<Negotiated>, mut left: VecDeque<Group>, context: &mut Context, now: Timestamp) -> State {
    let Some(group) = left.pop_front() else { return auth::begin(negotiated, context, now) };
    let sent = generate(group, context).and_then(|exchange| {
        let group = KeyExchangeGroup(group.id());
        let payload = Payload::KeyExchange(wire::KeyExchange { group, data: exchange.public().to_vec() });
        negotiated.sa.request(ExchangeType::IKE_INTERMEDIATE, &[payload], context, now)?;
        Ok(exchange)
    });
    match sent {
        Ok(exchange) => {
            let state = AwaitingIntermediateResponse { negotiated, exchange, left };
            State::AwaitingIntermediateResponse(Box::new(state))
        }
        Err(cause) => closing::farewell(negotiated.sa, cause, context, now),
    }
}

impl AwaitingIntermediateResponse {
    pub(super) fn respond(self, payloads: &[Payload], context: &mut Context, now: Timestamp) -> State {
        let Self { mut negotiated, exchange, left } = self;
        let payloads = Payloads(payloads);
        if let Some(notify) = payloads.error() {
            return State::closed(CloseCause::of_refusal(notify, SaKind::Ike, &[]), context);
        }
        match renew(&mut negotiated, exchange, payloads) {
            Ok(()) => next(negotiated, left, context, now),
            Err(cause) => closing::farewell(negotiated.sa, cause, context, now),
        }
    }
}

/// Takes the gateway's value, and the keys that come of it into use.
fn renew(negotiated: &mut Negotiated, exchange: KeyExchange, payloads: Payloads<'_>) -> Result<(), CloseCause> {
    let group = KeyExchangeGroup(exchange.group().id());
    let theirs = payloads
        .key_exchange()
        .filter(|theirs| theirs.group == group)
        .ok_or_else(|| CloseCause::misbehaved("its additional key exchange is missing or of another method"))?;
    let shared = exchange.agree(&theirs.data).map_err(|error| CloseCause::misbehaved(error.to_string()))?;
    let spis = negotiated.sa.spis;
    let spis = IkeSpis { initiator: spis.initiator.to_bytes(), responder: spis.responder.to_bytes() };
    // RFC 9370 §2.2.2: as for a renewed SA, but with the nonces and SPIs of this one.
    let keys = negotiated.sa.keys.rekey(&negotiated.sa.suite, &shared, negotiated.nonces(), spis)?;
    negotiated.sa.renew_keys(keys)
}
