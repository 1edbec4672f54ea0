//! Whether a certificate was taken back: by revocation lists (RFC 5280 §5) that are at hand.
//!
//! Lists come with the profile or with the gateway's CERT payloads (RFC 7296 §3.6); each must be signed by the
//! authority that issued the certificate, and must not have run out. Nothing is fetched, and OCSP is not known yet:
//! [`RevocationPolicy::Hard`] therefore needs a list for every certificate below the anchor.

use super::CertificateError;
use serde::{Deserialize, Serialize};
use webpki::{BorrowedCertRevocationList, CertRevocationList};

/// The most lists, and octets of them, that are looked at.
const MAX_LISTS: usize = 16;
const MAX_OCTETS: usize = 16 * 1024 * 1024;

/// What is known of revoked certificates, and how much of it is demanded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Revocation {
    /// How much is demanded.
    pub policy: RevocationPolicy,
    /// Revocation lists of the profile, DER.
    pub lists: Vec<Vec<u8>>,
}

/// How much must be known of a certificate before it is accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RevocationPolicy {
    /// Lists are not looked at.
    Off,
    /// A certificate that a list names is refused; one of which nothing is known is accepted, and so is a list that
    /// has run out, as far as it goes.
    #[default]
    Soft,
    /// A certificate is accepted only when a list of its authority that has not run out leaves it out.
    Hard,
}

/// Reads the lists of the profile and those that came with the certificates. What comes from the gateway and cannot be
/// read is passed over under [`RevocationPolicy::Soft`], since it was free not to send it.
pub(super) fn read<'a>(
    revocation: &'a Revocation,
    sent: &'a [&'a [u8]],
) -> Result<Vec<CertRevocationList<'a>>, CertificateError> {
    let mut lists = Vec::new();
    if revocation.policy == RevocationPolicy::Off {
        return Ok(lists);
    }
    let own = revocation.lists.iter().map(Vec::as_slice);
    let octets: usize = own.clone().chain(sent.iter().copied()).map(<[u8]>::len).sum();
    if revocation.lists.len().saturating_add(sent.len()) > MAX_LISTS || octets > MAX_OCTETS {
        return Err(CertificateError::RevocationUnusable("more than anyone needs".to_owned()));
    }
    for der in own {
        let list = BorrowedCertRevocationList::from_der(der)
            .map_err(|error| CertificateError::RevocationUnusable(error.to_string()))?;
        lists.push(list.into());
    }
    lists.extend(sent.iter().filter_map(|der| BorrowedCertRevocationList::from_der(der).ok()).map(Into::into));
    Ok(lists)
}
