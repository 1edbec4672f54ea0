//! The gateway's answers: its proof, and with EAP the one after the login.

use super::establish::establish;
use super::verification::verify;
use super::{revocation, second};
use crate::auth::eap::EapKey;
use crate::auth::gateway::ProvenBy;
use crate::auth::signature::SignatureScheme;
use crate::auth::{GatewayProven, Identity, psk};
use crate::crypto::Secret;
use crate::session::cause::{CloseCause, DistrustReason, LikelyCause, SaKind};
use crate::session::child::FirstChild;
use crate::session::configuration::{ClientAuthentication, GatewayAuthentication};
use crate::session::context::Context;
use crate::session::event::Warning;
use crate::session::init::Negotiated;
use crate::session::payloads::Payloads;
use crate::session::ppk::Ppk;
use crate::session::redirect::{self, RedirectTarget};
use crate::session::state::State;
use crate::session::{closing, eap};
use crate::time::Timestamp;
use crate::wire::{AuthenticationMethod, Identification, Payload};

/// Awaits the response to the first IKE_AUTH.
pub(in crate::session) struct AwaitingAuthResponse {
    pub negotiated: Box<Negotiated>,
    pub(super) psk: Option<Secret>,
    pub(super) identity: Identification,
    pub offer: FirstChild,
    pub(super) warnings: Vec<Warning>,
}

/// Awaits the response to the AUTH that came out of EAP.
pub(in crate::session) struct AwaitingFinalAuth {
    pub negotiated: Box<Negotiated>,
    pub proven: GatewayProven,
    pub offer: FirstChild,
    pub warnings: Vec<Warning>,
    /// The key that both AUTH payloads come from.
    pub key: EapKey,
    /// The identity that the gateway's second AUTH covers.
    pub gateway: Option<Identification>,
}

impl AwaitingAuthResponse {
    /// Takes the response: `IDr, [CERT, ...] AUTH`, then EAP or `[CP] SA TSi TSr`.
    pub(in crate::session) fn respond(self, payloads: &[Payload], context: &mut Context, now: Timestamp) -> State {
        let Self { mut negotiated, psk, identity, offer, warnings } = self;
        let raw = payloads;
        let payloads = Payloads(payloads);
        if payloads.authentication().is_none()
            && let Some(notify) = payloads.error()
        {
            let cause = CloseCause::of_refusal(notify, SaKind::Child, &likely(&negotiated, context));
            return State::closed(cause, context);
        }
        let by_login = context.configuration.gateway_auth == GatewayAuthentication::Eap;
        if let (true, Some(idr), Some(packet)) = (by_login, payloads.responder_identity(), payloads.eap()) {
            let standing = match Identity::try_from(idr) {
                Ok(identity) => eap::Standing::ByLogin(identity),
                Err(error) => {
                    let cause = CloseCause::misbehaved(error.to_string());
                    return closing::farewell(negotiated.sa, cause, context, now);
                }
            };
            let gateway = Some(idr.clone());
            let round = eap::Round { standing, offer, warnings, identity, gateway };
            return eap::begin(negotiated, round, packet, context, now);
        }
        // With EAP the gateway's first AUTH is made without the post-quantum key (RFC 8784 §4).
        let settled = match &context.configuration.client_auth {
            ClientAuthentication::Eap { .. } => Ok(()),
            _ => negotiated.settle_ppk(&context.configuration, payloads),
        };
        if let Err(cause) = settled {
            return closing::farewell(negotiated.sa, cause, context, now);
        }
        let proven = match verify(&negotiated, psk.as_ref(), payloads, None, context, now) {
            Ok(proven) => proven,
            Err(cause) => return closing::farewell(negotiated.sa, cause, context, now),
        };
        context.gateway_proven = true;
        let state = Self { negotiated, psk, identity, offer, warnings };
        match revocation::to_ask(&proven, context) {
            Ok(Some(inquiry)) => inquiry.ask(state, raw, context, now),
            Ok(None) => state.go_on(proven, payloads, context, now),
            Err(cause) => closing::farewell(state.negotiated.sa, cause, context, now),
        }
    }

    /// Goes on with a gateway that has proven itself.
    pub(super) fn go_on(
        self,
        proven: GatewayProven,
        payloads: Payloads<'_>,
        context: &mut Context,
        now: Timestamp,
    ) -> State {
        let Self { negotiated, identity, offer, mut warnings, .. } = self;
        if matches!(proven.by(), ProvenBy::Certificate { scheme: SignatureScheme::RsaSha1, .. }) {
            warnings.push(Warning::SignatureUsesSha1);
        }
        if let Some(to) = followed(payloads, context) {
            return closing::farewell(negotiated.sa, CloseCause::Redirected { to }, context, now);
        }
        if let Err(cause) = second::gateway_stops_here(payloads, context) {
            return closing::farewell(negotiated.sa, cause, context, now);
        }
        match (&context.configuration.client_auth, payloads.eap()) {
            (ClientAuthentication::Eap { .. }, Some(packet)) => {
                let gateway = payloads.responder_identity().cloned();
                let round = eap::Round { standing: eap::Standing::Proven(proven), offer, warnings, identity, gateway };
                eap::begin(negotiated, round, packet, context, now)
            }
            (ClientAuthentication::Eap { .. }, None) => {
                let cause = CloseCause::misbehaved("it lets this client in without EAP");
                closing::farewell(negotiated.sa, cause, context, now)
            }
            (ClientAuthentication::CertificateThenEap { .. }, None) => {
                let first = second::First { proven, offer, warnings, identity };
                second::begin(negotiated, first, payloads, context, now)
            }
            (_, Some(_)) => {
                // Where two exchanges were announced this one is over only with an IDi of the next.
                let cause =
                    CloseCause::PeerIncompatible { what: "EAP, for which this tunnel is not set up".to_owned() };
                closing::farewell(negotiated.sa, cause, context, now)
            }
            (_, None) => establish(negotiated, &proven, offer, warnings, payloads, context, now),
        }
    }
}

impl AwaitingFinalAuth {
    /// Takes the response: AUTH by the key that EAP made, `[CP] SA TSi TSr`.
    pub(in crate::session) fn respond(self, payloads: &[Payload], context: &mut Context, now: Timestamp) -> State {
        let Self { mut negotiated, proven, offer, warnings, key, gateway } = self;
        let payloads = Payloads(payloads);
        let Some(authentication) = payloads.authentication() else {
            let cause = match payloads.error() {
                Some(notify) => {
                    let wrong_ppk = matches!(negotiated.ppk, Ppk::Mixed(_)).then_some(LikelyCause::PostQuantumKeyWrong);
                    let likely: Vec<_> = wrong_ppk.into_iter().chain([LikelyCause::CredentialsWrong]).collect();
                    return State::closed(CloseCause::of_refusal(notify, SaKind::Child, &likely), context);
                }
                None => DistrustReason::ProofMissing,
            };
            return closing::farewell(negotiated.sa, CloseCause::GatewayNotTrusted { why: cause }, context, now);
        };
        if let Err(cause) = negotiated.settle_ppk(&context.configuration, payloads) {
            return closing::farewell(negotiated.sa, cause, context, now);
        }
        let keys = &negotiated.sa.keys;
        let key = key.secret(keys.sk_pr.expose());
        let good = authentication.method == AuthenticationMethod::SHARED_KEY
            && gateway.is_some_and(|gateway| {
                let octets = negotiated.gateway_octets(&gateway);
                octets.iter().any(|octets| psk::verify(keys.prf, key, octets, &authentication.data))
            });
        if !good {
            let why = DistrustReason::LoginKeyMissing;
            return closing::farewell(negotiated.sa, CloseCause::GatewayNotTrusted { why }, context, now);
        }
        if let Some(to) = followed(payloads, context) {
            return closing::farewell(negotiated.sa, CloseCause::Redirected { to }, context, now);
        }
        if let Err(cause) = second::gateway_stops_here(payloads, context) {
            return closing::farewell(negotiated.sa, cause, context, now);
        }
        establish(negotiated, &proven, offer, warnings, payloads, context, now)
    }
}

/// Returns where the gateway, which has proven itself, sends this client (RFC 5685 §4).
fn followed(payloads: Payloads<'_>, context: &Context) -> Option<RedirectTarget> {
    redirect::protected(payloads).filter(|_| context.configuration.continuity.follow_redirects)
}

/// Returns what to suspect behind AUTHENTICATION_FAILED in answer to the first IKE_AUTH.
fn likely(negotiated: &Negotiated, context: &Context) -> Vec<LikelyCause> {
    let mut likely = match &context.configuration.client_auth {
        ClientAuthentication::PreSharedKey => vec![LikelyCause::PreSharedKeyWrong, LikelyCause::IdentityUnknown],
        ClientAuthentication::Certificate { .. } | ClientAuthentication::CertificateThenEap { .. } => {
            vec![LikelyCause::CertificateNotAccepted, LikelyCause::IdentityUnknown]
        }
        ClientAuthentication::Eap { .. } => return vec![LikelyCause::IdentityUnknown],
    };
    if matches!(negotiated.ppk, Ppk::Mixed(_)) {
        likely.insert(0, LikelyCause::PostQuantumKeyWrong);
    }
    likely
}
