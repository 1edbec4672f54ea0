//! IKE_AUTH of a resumed session (RFC 5723 §5.1).

use super::establish::establish;
use super::own::OwnProof;
use super::request::{first_request, warnings};
use super::verification::first_proof;
use crate::auth::gateway::{self, Claim};
use crate::auth::{GatewayRejected, Identity};
use crate::session::cause::{CloseCause, DistrustReason, LikelyCause, SaKind};
use crate::session::child::FirstChild;
use crate::session::closing;
use crate::session::context::Context;
use crate::session::init::Negotiated;
use crate::session::payloads::Payloads;
use crate::session::state::State;
use crate::time::Timestamp;
use crate::wire::{Authentication, AuthenticationMethod, ExchangeType, Identification, Payload};

/// Awaits the response to the only IKE_AUTH of a resumed session.
pub(in crate::session) struct AwaitingResumedAuth {
    pub negotiated: Box<Negotiated>,
    pub offer: FirstChild,
    gateway: Identity,
}

/// Starts with what IKE_SESSION_RESUME brought: both sides prove that they hold the keys of the session
/// that is resumed (RFC 5723 §5.1).
pub(in crate::session) fn resume(
    mut negotiated: Box<Negotiated>,
    (identity, gateway): (Identity, Identity),
    context: &mut Context,
    now: Timestamp,
) -> State {
    let own = Identification::from(&identity);
    let keys = &negotiated.sa.keys;
    let data = keys.prf.compute(keys.sk_pi.expose(), &[&negotiated.own_octets(&own)]).expose().to_vec();
    let authentication = Authentication { method: AuthenticationMethod::SHARED_KEY, data };
    let own_proof = Some(OwnProof { authentication, without_ppk: None });
    let sent = first_request(&negotiated, &own, own_proof, context).and_then(|(payloads, offer)| {
        negotiated.sa.request(ExchangeType::IKE_AUTH, &payloads, context, now)?;
        Ok(offer)
    });
    match sent {
        Ok(offer) => {
            context.identity = Some(identity);
            State::AwaitingResumedAuth(Box::new(AwaitingResumedAuth { negotiated, offer, gateway }))
        }
        Err(cause) => closing::farewell(negotiated.sa, cause, context, now),
    }
}

impl AwaitingResumedAuth {
    /// Takes the response: `IDr AUTH [CP] SA TSi TSr`.
    pub(in crate::session) fn respond(self, payloads: &[Payload], context: &mut Context, now: Timestamp) -> State {
        let Self { negotiated, offer, gateway } = self;
        let payloads = Payloads(payloads);
        let (Some(theirs), Some(authentication)) = (payloads.responder_identity(), payloads.authentication()) else {
            let cause = match payloads.error() {
                Some(notify) => CloseCause::of_refusal(notify, SaKind::Child, &[LikelyCause::IdentityUnknown]),
                None => CloseCause::GatewayNotTrusted { why: DistrustReason::ProofMissing },
            };
            return closing::farewell(negotiated.sa, cause, context, now);
        };
        let octets = negotiated.gateway_octets(theirs);
        let keys = &negotiated.sa.keys;
        let proof = first_proof(&octets, |octets| {
            let claim = Claim { identity: theirs, authentication, certificates: &[], octets };
            gateway::prove_by_resumption(&claim, keys.prf, keys.sk_pr.expose(), &gateway)
        });
        match proof.unwrap_or(Err(GatewayRejected::SharedKeyMismatch)) {
            Ok(proven) => {
                context.gateway_proven = true;
                let warnings = warnings(context, None);
                establish(negotiated, &proven, offer, warnings, payloads, context, now)
            }
            Err(rejected) => {
                let cause = CloseCause::GatewayNotTrusted { why: rejected.into() };
                closing::farewell(negotiated.sa, cause, context, now)
            }
        }
    }
}
