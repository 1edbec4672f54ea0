//! Who the gateway is.

use crate::auth::certificate::{self, ExpectedIdentity, Fetched, KnownAnswer, Revocation, Trust};
use crate::auth::gateway::{self, Claim};
use crate::auth::signature::{SignatureHashes, SignaturePolicy};
use crate::auth::{GatewayProven, GatewayRejected};
use crate::crypto::Secret;
use crate::session::cause::{CloseCause, DistrustReason};
use crate::session::configuration::GatewayAuthentication;
use crate::session::context::Context;
use crate::session::init::Negotiated;
use crate::session::payloads::Payloads;
use crate::time::Timestamp;

/// Checks who the gateway is; `fetched` is what those said who were asked about revocation.
pub(super) fn verify(
    negotiated: &Negotiated,
    psk: Option<&Secret>,
    payloads: Payloads<'_>,
    fetched: Option<Fetched>,
    context: &Context,
    now: Timestamp,
) -> Result<GatewayProven, CloseCause> {
    let missing = || CloseCause::GatewayNotTrusted { why: DistrustReason::ProofMissing };
    let identity = payloads.responder_identity().ok_or_else(missing)?;
    let authentication = payloads.authentication().ok_or_else(missing)?;
    let certificates: Vec<_> = payloads.certificates().cloned().collect();
    let octets = negotiated.gateway_octets(identity);
    let configuration = &context.configuration;
    let expected = configuration.remote_identity.as_ref();
    let proven = match (&configuration.gateway_auth, psk) {
        (GatewayAuthentication::PreSharedKey, Some(psk)) => first_proof(&octets, |octets| {
            let claim = Claim { identity, authentication, certificates: &certificates, octets };
            gateway::prove_by_psk(&claim, negotiated.sa.keys.prf, psk.expose(), expected)
        }),
        // Where the login is the proof, a response without EAP proves nothing.
        (GatewayAuthentication::PreSharedKey, None) | (GatewayAuthentication::Eap, _) => return Err(missing()),
        (GatewayAuthentication::Certificate { anchors, spki_pins, allow_rsa_sha1, revocation }, _) => {
            let dialled = ExpectedIdentity::Host(&configuration.gateway_name);
            let expected = expected.map_or(dialled, ExpectedIdentity::Profile);
            let revocation = Revocation { fetched, ..revocation.clone() };
            let trust = Trust { anchors, pins: spki_pins, revocation: &revocation, expected };
            let signatures = SignaturePolicy {
                announced_by_us: &SignatureHashes::ours(),
                announced_by_gateway: &negotiated.announced,
                allow_rsa_sha1: *allow_rsa_sha1,
            };
            first_proof(&octets, |octets| {
                let claim = Claim { identity, authentication, certificates: &certificates, octets };
                gateway::prove_by_certificate(&claim, &trust, &signatures, context.unix(now))
            })
        }
    };
    let proven = proven.ok_or_else(missing)?;
    proven.map_err(|rejected| CloseCause::GatewayNotTrusted { why: rejected.into() })
}

/// Returns the proof by one of the first messages that may be the gateway's, or why the first of them proves nothing.
/// None where there is none.
pub(super) fn first_proof(
    octets: &[Vec<u8>],
    prove: impl Fn(&[u8]) -> Result<GatewayProven, GatewayRejected>,
) -> Option<Result<GatewayProven, GatewayRejected>> {
    let (first, others) = octets.split_first()?;
    Some(prove(first).or_else(|rejected| others.iter().find_map(|octets| prove(octets).ok()).ok_or(rejected)))
}

/// Returns what of `fetched` is believed of the gateway's certificates and is worth knowing the next time. To be
/// called for a gateway that has proven to hold its certificate's key.
pub(super) fn learnt(payloads: Payloads<'_>, fetched: &Fetched, context: &Context, now: Timestamp) -> Vec<KnownAnswer> {
    let GatewayAuthentication::Certificate { anchors, revocation, .. } = &context.configuration.gateway_auth else {
        return Vec::new();
    };
    let certificates: Vec<_> = payloads.certificates().cloned().collect();
    let revocation = Revocation { policy: revocation.policy, fetched: Some(fetched.clone()), ..Revocation::default() };
    // Neither pins nor names play a part in whether the authority is believed.
    let expected = ExpectedIdentity::Host(&context.configuration.gateway_name);
    let trust = Trust { anchors, pins: &[], revocation: &revocation, expected };
    certificate::learnt(&certificates, &trust, context.unix(now))
}

impl From<GatewayRejected> for DistrustReason {
    fn from(rejected: GatewayRejected) -> Self {
        match rejected {
            GatewayRejected::IdentityMismatch { presented, .. } => Self::IdentityMismatch { presented },
            GatewayRejected::MethodNotAccepted { method } => Self::MethodNotAccepted { method },
            GatewayRejected::Certificate(error) => Self::Certificate { error: error.to_string() },
            GatewayRejected::IdentityUnreadable(error) => Self::Certificate { error: error.to_string() },
            _ => Self::ProofWrong,
        }
    }
}
