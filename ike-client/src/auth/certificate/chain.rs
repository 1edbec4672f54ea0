//! CERT and CERTREQ payloads: which certificates came, and which authorities we ask for.

use super::CertificateError;
use crate::wire;
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The most certificates and octets of them that are looked at.
const MAX_COUNT: usize = 12;
const MAX_OCTETS: usize = 64 * 1024;

/// The certificates of the peer: its own first (RFC 7296 §3.6), then what helps to build a path.
pub(super) struct Chain<'a> {
    pub leaf: CertificateDer<'a>,
    pub intermediates: Vec<CertificateDer<'a>>,
    /// Revocation lists that came along.
    pub lists: Vec<&'a [u8]>,
    /// OCSP responses that came along (RFC 4806).
    pub responses: Vec<&'a [u8]>,
}

/// Sorts CERT payloads. A certificate that is to be fetched from somewhere is refused.
pub(super) fn read(payloads: &[wire::Certificate]) -> Result<Chain<'_>, CertificateError> {
    let octets = payloads.iter().map(|payload| payload.data.len()).sum();
    if payloads.len() > MAX_COUNT || octets > MAX_OCTETS {
        return Err(CertificateError::TooMany { count: payloads.len(), octets });
    }
    let (mut certificates, mut lists, mut responses) = (Vec::new(), Vec::new(), Vec::new());
    for payload in payloads {
        match payload.encoding {
            wire::CertificateEncoding::X509_SIGNATURE => {
                certificates.push(CertificateDer::from(payload.data.as_slice()))
            }
            wire::CertificateEncoding::CRL => lists.push(payload.data.as_slice()),
            wire::CertificateEncoding::OCSP => responses.push(payload.data.as_slice()),
            wire::CertificateEncoding::HASH_AND_URL | wire::CertificateEncoding::HASH_AND_URL_BUNDLE => {
                return Err(CertificateError::HashAndUrl);
            }
            other => return Err(CertificateError::UnsupportedEncoding(other.0)),
        }
    }
    let mut certificates = certificates.into_iter();
    let leaf = certificates.next().ok_or(CertificateError::Missing)?;
    Ok(Chain { leaf, intermediates: certificates.collect(), lists, responses })
}

/// Returns the CERTREQ payload that asks for certificates under `anchors` (DER): SHA-1 of each authority's
/// subjectPublicKeyInfo, one after the other (RFC 7296 §3.7).
///
/// Without anchors, when pins stand in their place, the list is empty: a gateway that sends its certificate only
/// when asked then still sends it.
///
/// # Errors
/// [`CertificateError::AnchorUnusable`] names the anchor that is not a certificate.
pub fn request(anchors: &[Vec<u8>]) -> Result<wire::CertificateRequest, CertificateError> {
    let mut authorities = Vec::new();
    for (index, anchor) in anchors.iter().enumerate() {
        let (_, certificate) = X509Certificate::from_der(anchor)
            .map_err(|error| CertificateError::AnchorUnusable { number: index + 1, reason: error.to_string() })?;
        let key = certificate.tbs_certificate.subject_pki.raw;
        authorities.extend_from_slice(ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, key).as_ref());
    }
    Ok(wire::CertificateRequest { encoding: wire::CertificateEncoding::X509_SIGNATURE, authorities })
}

/// Returns the CERTREQ payload that asks for OCSP responses (RFC 4806 §3.1). It names no responder: one that the
/// authority has made is as good as any.
pub fn request_ocsp() -> wire::CertificateRequest {
    wire::CertificateRequest { encoding: wire::CertificateEncoding::OCSP, authorities: Vec::new() }
}

/// Returns the CERT payloads of the own `chain` (DER, own certificate first).
pub fn payloads(chain: &[Vec<u8>]) -> Vec<wire::Certificate> {
    let encoding = wire::CertificateEncoding::X509_SIGNATURE;
    chain.iter().map(|der| wire::Certificate { encoding, data: der.clone() }).collect()
}
