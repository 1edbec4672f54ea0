//! Why a gateway's certificate is not accepted.

use crate::auth::identity::Identity;
use x509_parser::time::ASN1Time;

/// Why a gateway's certificate is not accepted. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The gateway sent no certificate.
    #[error("the gateway sent no certificate")]
    Missing,
    /// More or larger certificates than anyone needs.
    #[error("the gateway sent {count} certificates of {octets} octets together")]
    TooMany {
        /// How many.
        count: usize,
        /// Their sizes added up.
        octets: usize,
    },
    /// A CERT payload of a kind that is not an X.509 certificate itself.
    #[error("certificate encoding {0} is not supported")]
    UnsupportedEncoding(u8),
    /// A CERT payload that says where the certificate lies: fetching from an address that an unproven
    /// peer chose is refused.
    #[error("the gateway sent the address of its certificate instead of the certificate")]
    HashAndUrl,
    /// Not a well-formed X.509 v3 certificate.
    #[error("the gateway's certificate is malformed: {0}")]
    Malformed(String),
    /// Validity is over.
    #[error("the gateway's certificate, or one above it, ran out on {}", moment(*not_after))]
    Expired {
        /// When it ended.
        not_after: u64,
        /// What was taken for now.
        now: u64,
    },
    /// Validity has not begun, or this machine's clock is wrong.
    #[error("the gateway's certificate, or one above it, is valid only from {}; this machine takes it for {}", moment(*not_before), moment(*now))]
    NotYetValid {
        /// When it begins.
        not_before: u64,
        /// What was taken for now.
        now: u64,
    },
    /// Its authority has taken it back.
    #[error("the gateway's certificate, or one above it, was revoked by its authority")]
    Revoked,
    /// The profile demands to know whether it was taken back, and nothing that is at hand says so.
    #[error("nothing that is valid now says whether the gateway's certificate was revoked{}", behind(problems))]
    RevocationUnknown {
        /// Why what came is of no use, in words; empty when nothing came.
        problems: String,
    },
    /// A revocation list cannot be used.
    #[error("a revocation list cannot be used: {0}")]
    RevocationUnusable(String),
    /// No path leads to a trust anchor.
    #[error("the gateway's certificate was issued by '{issuer}', which no configured authority vouches for")]
    UnknownIssuer {
        /// The issuer that the leaf names.
        issuer: String,
    },
    /// There is neither an anchor nor a pin to trust.
    #[error("no certificate authority and no key pin is configured for this gateway")]
    NothingTrusted,
    /// An anchor of the configuration cannot be read.
    #[error("configured certificate authority number {number} cannot be used: {reason}")]
    AnchorUnusable {
        /// Which one, from 1.
        number: usize,
        /// Why.
        reason: String,
    },
    /// The certificate is good, but for somebody else.
    #[error("the certificate is for {}, not for '{expected}'", list(presented))]
    IdentityMismatch {
        /// Who the gateway was to be: from the profile, the dialled name, or IDr.
        expected: String,
        /// Every name that the certificate carries, the subject last.
        presented: Vec<String>,
    },
    /// The key is not a pinned one.
    #[error("the gateway's key {presented} is not the pinned one")]
    PinMismatch {
        /// SHA-256 of its subjectPublicKeyInfo in hexadecimal.
        presented: String,
    },
    /// An authority's certificate is used as the gateway's own: good only when its key is pinned.
    #[error("the gateway presents a certificate authority's certificate as its own; pin its key to accept it")]
    AuthorityAsGateway,
    /// Extended key usage or key usage leaves this use out.
    #[error("the gateway's certificate is not for this use: {0}")]
    WrongUse(String),
    /// A signature in the path is wrong.
    #[error("a signature on the gateway's certificate is wrong")]
    BadSignature,
    /// A signature in the path is by an algorithm that is too weak or unknown (SHA-1, MD5).
    #[error("the gateway's certificate, or one above it, is signed by an algorithm that is not accepted: {0}")]
    WeakSignature(String),
    /// The key is of a kind or size that is not accepted.
    #[error("the gateway's key is not accepted: {0}")]
    UnacceptableKey(String),
    /// A path constraint is violated.
    #[error("the path to the certificate authority is not acceptable: {0}")]
    PathUnacceptable(String),
}

impl CertificateError {
    pub(super) fn mismatch(expected: &Identity, presented: Vec<String>) -> Self {
        Self::IdentityMismatch { expected: expected.to_string(), presented }
    }
}

fn behind(problems: &str) -> String {
    if problems.is_empty() { String::new() } else { format!(": {problems}") }
}

/// Writes seconds since 1970 as a date that people read.
fn moment(unix: u64) -> String {
    let time = i64::try_from(unix).ok().and_then(|seconds| ASN1Time::from_timestamp(seconds).ok());
    time.map_or_else(|| format!("second {unix} since 1970"), |time| time.to_string())
}

fn list(names: &[String]) -> String {
    match names {
        [] => "nobody".to_owned(),
        names => names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_for_people() {
        let expired = CertificateError::Expired { not_after: 1_767_225_600, now: 1_782_864_000 };
        assert_eq!(
            expired.to_string(),
            "the gateway's certificate, or one above it, ran out on Jan  1 00:00:00 2026 +00:00"
        );
        assert_eq!(moment(u64::MAX), "second 18446744073709551615 since 1970");
    }
}
