//! Post-quantum pre-shared keys (RFC 8784).
//!
//! ```text
//! IKE_SA_INIT:  both sides N(USE_PPK)
//! IKE_AUTH:     the request with AUTH   N(PPK_IDENTITY) [N(NO_PPK_AUTH)]
//!               its response            [N(PPK_IDENTITY)]
//! ```
//! SK_d, SK_pi and SK_pr have the key mixed in, so that both AUTH payloads prove it and every CHILD
//! SA depends on it. With EAP the gateway's first AUTH comes before it can know which key is meant
//! and is made without. A gateway that goes on without the key says so under an AUTH of its own,
//! and only where the profile made the key optional was it given what it needs for that.

use super::auth;
use super::cause::CloseCause;
use super::closing;
use super::configuration::{Configuration, PostQuantumKey};
use super::context::{Context, Question};
use super::init::Negotiated;
use super::payloads::Payloads;
use super::request::{Answer, Request};
use super::state::State;
use crate::crypto::keys::MixedKeys;
use crate::time::Timestamp;
use crate::wire::{Notify, NotifyType, Payload};

/// PPK_ID_FIXED: the identity is the name of one key (RFC 8784 §5.1).
const FIXED: u8 = 2;

/// Where the negotiation of a post-quantum pre-shared key stands.
#[derive(Debug, Default)]
pub(super) enum Ppk {
    /// There is none, or the gateway does without where it may.
    #[default]
    Unused,
    /// Both sides have one; the owner was not asked for it yet.
    Agreed,
    /// The keys with and without it are both at hand: the gateway says which ones count.
    Mixed(Box<MixedKeys>),
    /// It is in the keys.
    InUse,
}

/// Awaits the post-quantum pre-shared key from the owner.
pub(super) struct AwaitingPpk {
    pub negotiated: Box<Negotiated>,
    pub question: Question,
}

/// Returns N(USE_PPK) when the profile has a key.
pub(super) fn announcement(configuration: &Configuration) -> Option<Payload> {
    configuration.ppk.as_ref().map(|_| Payload::Notify(Notify::new(NotifyType::USE_PPK, Vec::new())))
}

/// Returns what the response to IKE_SA_INIT says of it.
pub(super) fn agreed(configuration: &Configuration, payloads: Payloads<'_>) -> Result<Ppk, CloseCause> {
    match &configuration.ppk {
        Some(_) if payloads.notify(NotifyType::USE_PPK).is_some() => Ok(Ppk::Agreed),
        Some(PostQuantumKey { required: true, .. }) => Err(missing()),
        _ => Ok(Ppk::Unused),
    }
}

fn missing() -> CloseCause {
    CloseCause::ProtectionMissing { what: "a post-quantum pre-shared key".to_owned() }
}

/// Asks the owner for the key.
pub(super) fn ask(negotiated: Box<Negotiated>, context: &mut Context, now: Timestamp) -> State {
    let identity = context.configuration.ppk.as_ref().map(|ppk| ppk.identity.clone()).unwrap_or_default();
    let question = context.ask(Request::PostQuantumPreSharedKey { identity }, now);
    State::AwaitingPpk(Box::new(AwaitingPpk { negotiated, question }))
}

impl AwaitingPpk {
    pub(super) fn answer(self, answer: Answer, context: &mut Context, now: Timestamp) -> State {
        let Self { mut negotiated, .. } = self;
        let mixed = match answer {
            Answer::Secret { secret } if !secret.expose().is_empty() => {
                negotiated.sa.keys.mix(secret.expose()).map_err(CloseCause::from)
            }
            _ => Err(CloseCause::InputRefused { because: "the post-quantum pre-shared key is empty".to_owned() }),
        };
        match mixed {
            Ok(mixed) => {
                negotiated.ppk = Ppk::Mixed(Box::new(mixed));
                auth::begin(negotiated, context, now)
            }
            Err(cause) => closing::farewell(negotiated.sa, cause, context, now),
        }
    }
}

impl Negotiated {
    /// Tells whether the own AUTH is to be made a second time, without the key: the profile lets
    /// the gateway choose.
    pub(super) fn proves_twice(&self, configuration: &Configuration) -> bool {
        matches!(self.ppk, Ppk::Mixed(_)) && configuration.ppk.as_ref().is_some_and(|ppk| !ppk.required)
    }

    /// Returns the notifies beside the own AUTH; `without` is the authentication data that was made
    /// without the key.
    pub(super) fn ppk_notifies(&self, configuration: &Configuration, without: Option<Vec<u8>>) -> Vec<Payload> {
        let (Ppk::Mixed(_), Some(ppk)) = (&self.ppk, &configuration.ppk) else { return Vec::new() };
        let identity = [&[FIXED], ppk.identity.as_bytes()].concat();
        let identity = Notify::new(NotifyType::PPK_IDENTITY, identity);
        let without = without.map(|data| Notify::new(NotifyType::NO_PPK_AUTH, data));
        [Some(identity), without].into_iter().flatten().map(Payload::Notify).collect()
    }

    /// Takes what the response to the own AUTH says: from here on the keys are those that the
    /// gateway chose.
    pub(super) fn settle_ppk(
        &mut self,
        configuration: &Configuration,
        payloads: Payloads<'_>,
    ) -> Result<(), CloseCause> {
        let Ppk::Mixed(mixed) = std::mem::take(&mut self.ppk) else { return Ok(()) };
        if payloads.notify(NotifyType::PPK_IDENTITY).is_some() {
            self.sa.keys.adopt(*mixed);
            self.ppk = Ppk::InUse;
            return Ok(());
        }
        match &configuration.ppk {
            Some(PostQuantumKey { required: false, .. }) => Ok(()),
            _ => Err(missing()),
        }
    }
}
