//! The gateway's proof of itself, and the token that only a verified proof yields.
//!
//! [`GatewayProven`] is what an [`eap::Peer`](super::eap::Peer) is made from. Without it there is no peer and so
//! no EAP answer, not even Identity: a rogue gateway learns neither the user's name nor anything derived from
//! the password (RFC 7296 §2.16: the responder authenticates first).

use super::certificate::{self, CertificateError, Trust, VerifiedGateway};
use super::eap::MutualLogin;
use super::identity::{Identity, IdentityError};
use super::psk;
use super::signature::{SignatureError, SignaturePolicy, SignatureScheme};
use crate::crypto::prf::Prf;
use crate::wire::{self, AuthenticationMethod};
use subtle::ConstantTimeEq;

/// What the gateway says of itself in its first IKE_AUTH response.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// IDr.
    pub identity: &'a wire::Identification,
    /// AUTH.
    pub authentication: &'a wire::Authentication,
    /// CERT payloads in the order they came.
    pub certificates: &'a [wire::Certificate],
    /// The responder's [`signed_octets`](super::octets::signed_octets), computed with IDr as it came.
    pub octets: &'a [u8],
}

/// Witness that the gateway proved who it is. Only the functions of this module make one.
#[derive(Debug)]
pub struct GatewayProven {
    identity: Identity,
    by: ProvenBy,
}

/// How the gateway proved who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProvenBy {
    /// It knows the pre-shared key, as does every other holder of it.
    PreSharedKey,
    /// It holds the keys of the session that is resumed, in which it had proven itself.
    Resumption,
    /// It holds the private key of a certificate that passed.
    Certificate {
        /// The certificate.
        gateway: Box<VerifiedGateway>,
        /// How it signed; [`SignatureScheme::RsaSha1`] deserves a warning.
        scheme: SignatureScheme,
    },
    /// The login proved it, and nothing else did (RFC 5998).
    Login,
}

/// The gateway did not prove to be the configured one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayRejected {
    /// IDr cannot be read.
    #[error("the gateway's identity cannot be read: {0}")]
    IdentityUnreadable(#[from] IdentityError),
    /// IDr is not the configured one.
    #[error("the gateway calls itself '{presented}', not '{expected}'")]
    IdentityMismatch {
        /// Who it was to be.
        expected: String,
        /// Who it says it is.
        presented: String,
    },
    /// AUTH is by another kind of method than configured.
    #[error("the gateway authenticates by method {method}, which this tunnel does not accept")]
    MethodNotAccepted {
        /// The AUTH payload's method.
        method: u8,
    },
    /// AUTH does not fit the pre-shared key: keys differ, or the gateway is not the one.
    #[error("the gateway does not know the pre-shared key")]
    SharedKeyMismatch,
    /// Its certificate is not accepted.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Its signature is not accepted.
    #[error("the gateway's proof is not accepted: {0}")]
    Signature(SignatureError),
}

impl GatewayProven {
    /// Returns who the gateway is: its IDr.
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Returns how it was proven.
    pub const fn by(&self) -> &ProvenBy {
        &self.by
    }
}

/// Checks a gateway that proves itself by `psk`. Without an `expected` identity any IDr will do: the key is the proof.
///
/// # Errors
/// See [`GatewayRejected`].
pub fn prove_by_psk(
    claim: &Claim<'_>,
    prf: Prf,
    psk: &[u8],
    expected: Option<&Identity>,
) -> Result<GatewayProven, GatewayRejected> {
    let identity = Identity::try_from(claim.identity)?;
    let AuthenticationMethod(method) = claim.authentication.method;
    if claim.authentication.method != AuthenticationMethod::SHARED_KEY {
        return Err(GatewayRejected::MethodNotAccepted { method });
    }
    if let Some(expected) = expected.filter(|expected| !expected.matches(&identity)) {
        return Err(GatewayRejected::IdentityMismatch {
            expected: expected.to_string(),
            presented: identity.to_string(),
        });
    }
    if !psk::verify(prf, psk, claim.octets, &claim.authentication.data) {
        return Err(GatewayRejected::SharedKeyMismatch);
    }
    Ok(GatewayProven { identity, by: ProvenBy::PreSharedKey })
}

/// Checks a gateway that resumes the session in which it had proven to be `expected` (RFC 5723 §5.1):
/// AUTH is `prf(SK_pr, octets)`.
///
/// # Errors
/// See [`GatewayRejected`].
pub fn prove_by_resumption(
    claim: &Claim<'_>,
    prf: Prf,
    sk_pr: &[u8],
    expected: &Identity,
) -> Result<GatewayProven, GatewayRejected> {
    let identity = Identity::try_from(claim.identity)?;
    let AuthenticationMethod(method) = claim.authentication.method;
    if claim.authentication.method != AuthenticationMethod::SHARED_KEY {
        return Err(GatewayRejected::MethodNotAccepted { method });
    }
    if !expected.matches(&identity) {
        let (expected, presented) = (expected.to_string(), identity.to_string());
        return Err(GatewayRejected::IdentityMismatch { expected, presented });
    }
    let right = prf.compute(sk_pr, &[claim.octets]);
    if !bool::from(right.expose().ct_eq(&claim.authentication.data)) {
        return Err(GatewayRejected::SharedKeyMismatch);
    }
    Ok(GatewayProven { identity, by: ProvenBy::Resumption })
}

/// Checks a gateway that proves itself by a certificate, at `unix_now` (seconds since 1970).
///
/// The certificate comes first, so that the user reads "expired" rather than "wrong signature".
///
/// # Errors
/// See [`GatewayRejected`].
pub fn prove_by_certificate(
    claim: &Claim<'_>,
    trust: &Trust<'_>,
    signatures: &SignaturePolicy<'_>,
    unix_now: u64,
) -> Result<GatewayProven, GatewayRejected> {
    let identity = Identity::try_from(claim.identity)?;
    let AuthenticationMethod(method) = claim.authentication.method;
    if claim.authentication.method == AuthenticationMethod::SHARED_KEY {
        return Err(GatewayRejected::MethodNotAccepted { method });
    }
    let gateway = certificate::verify_gateway(claim.certificates, trust, &identity, unix_now)?;
    let scheme =
        gateway.public_key.verify(method, &claim.authentication.data, claim.octets, signatures).map_err(|error| {
            match error {
                SignatureError::MethodNotAccepted(method) => GatewayRejected::MethodNotAccepted { method },
                other => GatewayRejected::Signature(other),
            }
        })?;
    Ok(GatewayProven { identity, by: ProvenBy::Certificate { gateway: Box::new(gateway), scheme } })
}

/// Takes a gateway for proven by a login that proved both sides to each other (RFC 5998). Its IDr must be `expected`;
/// what ties it to the login is the AUTH payload under the login's key, which is still to be checked.
///
/// # Errors
/// [`GatewayRejected::IdentityMismatch`].
pub fn prove_by_login(
    identity: Identity,
    expected: &Identity,
    _login: MutualLogin,
) -> Result<GatewayProven, GatewayRejected> {
    if !expected.matches(&identity) {
        return Err(GatewayRejected::IdentityMismatch {
            expected: expected.to_string(),
            presented: identity.to_string(),
        });
    }
    Ok(GatewayProven { identity, by: ProvenBy::Login })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::transform::PseudoRandomFunction;

    fn prf() -> Prf {
        Prf::new(PseudoRandomFunction::HmacSha256)
    }

    fn authentication(method: AuthenticationMethod, data: Vec<u8>) -> wire::Authentication {
        wire::Authentication { method, data }
    }

    fn try_psk(
        name: &wire::Identification,
        authentication: &wire::Authentication,
        expected: Option<&str>,
    ) -> Result<GatewayProven, GatewayRejected> {
        let claim = Claim { identity: name, authentication, certificates: &[], octets: b"octets" };
        let expected: Option<Identity> = expected.map(|text| text.parse().unwrap());
        prove_by_psk(&claim, prf(), b"psk", expected.as_ref())
    }

    #[test]
    fn whoever_knows_the_key_is_the_gateway_by_the_name_that_it_gives() {
        let good = authentication(AuthenticationMethod::SHARED_KEY, psk::compute(prf(), b"psk", b"octets"));
        let name = wire::Identification::fqdn("vpn.example.com");
        for expected in [None, Some("VPN.example.com")] {
            let proven = try_psk(&name, &good, expected).unwrap();
            assert_eq!(proven.identity().to_string(), "vpn.example.com");
            assert_eq!(proven.by(), &ProvenBy::PreSharedKey);
        }
    }

    #[test]
    fn another_key_another_method_or_another_name_proves_nothing() {
        let good = authentication(AuthenticationMethod::SHARED_KEY, psk::compute(prf(), b"psk", b"octets"));
        let name = wire::Identification::fqdn("vpn.example.com");
        let other_key = authentication(AuthenticationMethod::SHARED_KEY, psk::compute(prf(), b"pwned", b"octets"));
        assert_eq!(try_psk(&name, &other_key, None).unwrap_err(), GatewayRejected::SharedKeyMismatch);
        let empty = authentication(AuthenticationMethod::SHARED_KEY, vec![]);
        assert_eq!(try_psk(&name, &empty, None).unwrap_err(), GatewayRejected::SharedKeyMismatch);
        let none = authentication(AuthenticationMethod::NULL, good.data.clone());
        assert_eq!(try_psk(&name, &none, None).unwrap_err(), GatewayRejected::MethodNotAccepted { method: 13 });
        assert_eq!(
            try_psk(&name, &good, Some("gate.example.com")).unwrap_err(),
            GatewayRejected::IdentityMismatch {
                expected: "gate.example.com".into(),
                presented: "vpn.example.com".into()
            }
        );
        let unreadable = wire::Identification::new(wire::IdentificationType::FQDN, b"a\0b".to_vec());
        assert!(matches!(try_psk(&unreadable, &good, None), Err(GatewayRejected::IdentityUnreadable(_))));
    }
}
