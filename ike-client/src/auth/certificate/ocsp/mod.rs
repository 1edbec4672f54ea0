//! OCSP (RFC 6960): one certificate, and what a responder says of it.
//!
//! A response comes within the gateway's CERT payloads (RFC 4806), from the profile, or from the responder that a
//! certificate names, and is looked at only when the certificate's path has led to an anchor. Its signer is the
//! authority itself or one whom that very authority has made a responder (RFC 6960 §4.2.2.2); no other one is
//! believed, and no responder is trusted for its own sake.
//!
//! Whether the responder's own certificate was taken back is not asked: it lives as briefly as its authority wants
//! (RFC 6960 §4.2.2.2.1 leaves that to the client).

#[cfg(test)]
pub(crate) mod making;
mod response;
#[cfg(test)]
mod tests;
mod verify;

pub(super) use response::Response;

use crate::auth::der::{Reader, element, tag};
use ring::digest::{self, Algorithm};
use x509_parser::prelude::X509Certificate;

/// The longest response that is looked at, in octets.
pub(super) const MAX_OCTETS: usize = 64 * 1024;

/// Hash algorithms by which a certificate's issuer may be named, by the content of their object identifiers.
const HASHES: [(&[u8], &Algorithm); 4] = [
    (&[0x2b, 14, 3, 2, 26], &digest::SHA1_FOR_LEGACY_USE_ONLY),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1], &digest::SHA256),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2], &digest::SHA384),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3], &digest::SHA512),
];

/// id-pkix-ocsp-nonce.
const NONCE: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 48, 1, 2];

/// Why a response says nothing that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum OcspError {
    #[error("an OCSP response is malformed")]
    Malformed,
    #[error("an OCSP responder refused to answer (status {0})")]
    NotSuccessful(u8),
    #[error("an OCSP response is signed by nobody who may speak for the authority")]
    ResponderNotAuthorised,
    #[error("the signature of an OCSP response is wrong")]
    BadSignature,
    #[error("an OCSP response answers another question than the one that was asked")]
    OtherNonce,
    #[error("an OCSP response is out of date")]
    Outdated,
    #[error("an OCSP responder does not know the certificate")]
    Unknown,
}

/// Returns an OCSPRequest in DER that asks for `certificate`, issued by `issuer`.
///
/// The issuer is named by SHA-1, the only hash that every responder knows (RFC 5019 §2.1.1): it finds the question's
/// subject and protects nothing. What protects is the responder's signature.
pub(super) fn request(certificate: &X509Certificate<'_>, issuer: &X509Certificate<'_>, nonce: &[u8]) -> Vec<u8> {
    let [(sha1, hash), ..] = HASHES;
    let algorithm = [element(tag::OBJECT_IDENTIFIER, sha1), element(tag::NULL, &[])].concat();
    let identifier = [
        element(tag::SEQUENCE, &algorithm),
        element(tag::OCTET_STRING, name_hash(certificate, hash).as_ref()),
        element(tag::OCTET_STRING, key_hash(issuer, hash).as_ref()),
        element(tag::INTEGER, certificate.raw_serial()),
    ]
    .concat();
    let single = element(tag::SEQUENCE, &element(tag::SEQUENCE, &identifier));
    let nonce =
        [element(tag::OBJECT_IDENTIFIER, NONCE), element(tag::OCTET_STRING, &element(tag::OCTET_STRING, nonce))]
            .concat();
    let extensions = element(tag::SEQUENCE, &element(tag::SEQUENCE, &nonce));
    let to_be_signed = [element(tag::SEQUENCE, &single), element(0xa2, &extensions)].concat();
    element(tag::SEQUENCE, &element(tag::SEQUENCE, &to_be_signed))
}

fn name_hash(certificate: &X509Certificate<'_>, hash: &'static Algorithm) -> digest::Digest {
    digest::digest(hash, certificate.issuer().as_raw())
}

fn key_hash(issuer: &X509Certificate<'_>, hash: &'static Algorithm) -> digest::Digest {
    digest::digest(hash, &issuer.tbs_certificate.subject_pki.subject_public_key.data)
}

/// Which certificate a response speaks of.
#[derive(Clone, Copy, Debug)]
struct CertificateId<'a> {
    hash: &'a [u8],
    issuer_name: &'a [u8],
    issuer_key: &'a [u8],
    serial: &'a [u8],
}

impl<'a> CertificateId<'a> {
    fn read(reader: &mut Reader<'a>) -> Option<Self> {
        let mut id = reader.enter(tag::SEQUENCE)?;
        let hash = id.enter(tag::SEQUENCE)?.content(tag::OBJECT_IDENTIFIER)?;
        let [issuer_name, issuer_key] = [id.content(tag::OCTET_STRING)?, id.content(tag::OCTET_STRING)?];
        let serial = id.content(tag::INTEGER)?;
        id.finish()?;
        Some(Self { hash, issuer_name, issuer_key, serial })
    }

    /// Tells whether it is `certificate`, which `issuer` has issued.
    fn names(&self, certificate: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> bool {
        let known = HASHES.iter().find(|(identifier, _)| *identifier == self.hash);
        known.is_some_and(|(_, hash)| {
            self.serial == certificate.raw_serial()
                && self.issuer_name == name_hash(certificate, hash).as_ref()
                && self.issuer_key == key_hash(issuer, hash).as_ref()
        })
    }
}
