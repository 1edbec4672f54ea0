//! Certificates of gateways: whose they are, who vouches for them, since when and until when.
//!
//! [`verify_gateway`] builds a path from the gateway's certificate to one of the configured anchors (the system's
//! store is not consulted), checks time and use, and holds the names in it against the identity that was expected
//! and the one that the gateway claims. A pin (SHA-256 of the subjectPublicKeyInfo) narrows that to certain keys;
//! pins without anchors stand in place of a path and of names, which is the only way to accept a gateway's
//! self-made certificate that is marked as an authority, or one that has nothing but a common name.
//!
//! Time comes in as a value. Nothing is fetched here: no certificate from an address that the peer names, ever; what
//! says whether a certificate was revoked is asked for by whoever owns the session ([`revocation`]).

mod chain;
mod crl;
mod error;
pub mod known;
mod names;
mod ocsp;
mod p521;
pub mod revocation;
mod signed;
#[cfg(test)]
mod tests;
mod verify;

#[cfg(test)]
pub(crate) use ocsp::making;

pub use chain::{payloads, request, request_ocsp};
pub use error::CertificateError;
pub use known::{Known, KnownAnswer};
pub use revocation::{Fetched, Inquiry, Revocation, RevocationPolicy, RevocationSource};
pub use verify::{learnt, verify_gateway};

use super::distinguished_name::DistinguishedName;
use super::identity::Identity;
use super::signature::{KeyKind, PublicKey};

/// What makes a gateway's certificate good.
#[derive(Clone, Copy, Debug)]
pub struct Trust<'a> {
    /// Authorities that may vouch for the gateway, DER. They are the only ones.
    pub anchors: &'a [Vec<u8>],
    /// SHA-256 of acceptable subjectPublicKeyInfos. With anchors, both must hold; without, the pin suffices.
    pub pins: &'a [[u8; 32]],
    /// What is known of certificates that were taken back.
    pub revocation: &'a Revocation,
    /// Who the gateway must be.
    pub expected: ExpectedIdentity<'a>,
}

/// Who the gateway must be.
#[derive(Clone, Copy, Debug)]
pub enum ExpectedIdentity<'a> {
    /// The profile names it: IDr must be it, and the certificate must be for it.
    Profile(&'a Identity),
    /// The host name or address that was dialled: the certificate must be for it, and also for whatever IDr says.
    Host(&'a str),
}

impl ExpectedIdentity<'_> {
    /// Returns it as an identity: a host that is no address is a name.
    pub fn identity(self) -> Identity {
        match self {
            Self::Profile(identity) => identity.clone(),
            Self::Host(name) => name.parse().map_or_else(|_| Identity::Fqdn(name.to_owned()), Identity::Address),
        }
    }
}

/// A gateway's certificate that passed every check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedGateway {
    /// The key that AUTH must verify with.
    pub public_key: PublicKey,
    /// SHA-256 of its subjectPublicKeyInfo.
    pub spki_sha256: [u8; 32],
    /// The subject as text; empty when there is none.
    pub subject: String,
    /// When it runs out, in seconds since 1970.
    pub not_after: u64,
    /// The certificates of its path of which nothing at hand says whether they were revoked.
    pub unsettled: Vec<Inquiry>,
}

/// Returns the kind of key in an own certificate (DER), which decides how its owner signs.
///
/// # Errors
/// [`CertificateError::Malformed`] and [`CertificateError::UnacceptableKey`].
pub fn key_kind(certificate: &[u8]) -> Result<KeyKind, CertificateError> {
    public_key(certificate).map(|key| key.kind())
}

/// Returns the key in an own certificate (DER).
///
/// # Errors
/// As [`key_kind`].
pub fn public_key(certificate: &[u8]) -> Result<PublicKey, CertificateError> {
    let certificate = verify::parse(certificate)?;
    PublicKey::from_info(certificate.tbs_certificate.subject_pki.raw)
        .map_err(|error| CertificateError::UnacceptableKey(error.to_string()))
}

/// Returns the subject of an own certificate (DER) as an identity: what IDi says when the profile names nothing.
///
/// # Errors
/// [`CertificateError::Malformed`], also for an empty subject.
pub fn subject(certificate: &[u8]) -> Result<Identity, CertificateError> {
    let certificate = verify::parse(certificate)?;
    match DistinguishedName::from_der(certificate.subject().as_raw()) {
        Ok(name) if certificate.subject().iter_rdn().next().is_some() => Ok(Identity::DistinguishedName(name)),
        _ => Err(CertificateError::Malformed("it has no subject".to_owned())),
    }
}

/// Returns true when `key_info` (a subjectPublicKeyInfo in DER) is the one in the own certificate.
///
/// # Errors
/// [`CertificateError::Malformed`].
pub fn holds_key(certificate: &[u8], key_info: &[u8]) -> Result<bool, CertificateError> {
    Ok(verify::parse(certificate)?.tbs_certificate.subject_pki.raw == key_info)
}
