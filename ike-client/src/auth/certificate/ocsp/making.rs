//! Makes OCSP responses for tests, good and bad ones.

use crate::auth::der::{element, tag};
use rcgen::{KeyPair, SigningKey};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

/// ecdsa-with-SHA256.
const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];

/// What a response is to say.
pub(crate) struct Making<'a> {
    pub(crate) certificate: &'a [u8],
    pub(crate) issuer: &'a [u8],
    /// CertStatus, DER.
    pub(crate) status: Vec<u8>,
    pub(crate) this_update: u64,
    pub(crate) next_update: Option<u64>,
    pub(crate) nonce: Option<&'a [u8]>,
    /// The certificate of the one who signs; sent along unless it is the issuer's.
    pub(crate) responder: &'a [u8],
    pub(crate) named_by_key: bool,
}

/// CertStatus good.
pub(crate) fn good() -> Vec<u8> {
    element(0x80, &[])
}

/// CertStatus revoked.
pub(crate) fn revoked() -> Vec<u8> {
    element(0xa1, &time(1_780_000_000))
}

/// CertStatus unknown.
pub(crate) fn unknown() -> Vec<u8> {
    element(0x82, &[])
}

fn time(unix: u64) -> Vec<u8> {
    let time = ASN1Time::from_timestamp(i64::try_from(unix).unwrap()).unwrap().to_datetime();
    let text = format!(
        "{:04}{:02}{:02}{:02}{:02}{:02}Z",
        time.year(),
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    );
    element(tag::GENERALIZED_TIME, text.as_bytes())
}

impl Making<'_> {
    /// Returns the OCSPResponse, signed by `key`.
    pub(crate) fn sign(&self, key: &KeyPair) -> Vec<u8> {
        let [certificate, issuer, responder] =
            [self.certificate, self.issuer, self.responder].map(|der| X509Certificate::from_der(der).unwrap().1);
        let sha1 = |octets: &[u8]| digest(&SHA1_FOR_LEGACY_USE_ONLY, octets).as_ref().to_vec();
        let key_of =
            |certificate: &X509Certificate<'_>| sha1(&certificate.tbs_certificate.subject_pki.subject_public_key.data);
        let hash = [element(tag::OBJECT_IDENTIFIER, &[0x2b, 14, 3, 2, 26]), element(tag::NULL, &[])].concat();
        let id = [
            element(tag::SEQUENCE, &hash),
            element(tag::OCTET_STRING, &sha1(certificate.issuer().as_raw())),
            element(tag::OCTET_STRING, &key_of(&issuer)),
            element(tag::INTEGER, certificate.raw_serial()),
        ]
        .concat();
        let next = self.next_update.map(|next| element(0xa0, &time(next))).unwrap_or_default();
        let single = [element(tag::SEQUENCE, &id), self.status.clone(), time(self.this_update), next].concat();
        let name = if self.named_by_key {
            element(0xa2, &element(tag::OCTET_STRING, &key_of(&responder)))
        } else {
            element(0xa1, responder.subject().as_raw())
        };
        let nonce = self.nonce.map(|nonce| {
            let value = element(tag::OCTET_STRING, &element(tag::OCTET_STRING, nonce));
            let extension = [element(tag::OBJECT_IDENTIFIER, super::NONCE), value].concat();
            element(0xa1, &element(tag::SEQUENCE, &element(tag::SEQUENCE, &extension)))
        });
        let single = element(tag::SEQUENCE, &element(tag::SEQUENCE, &single));
        let data = [name, time(self.this_update), single, nonce.unwrap_or_default()].concat();
        let signed = element(tag::SEQUENCE, &data);
        let algorithm = element(tag::SEQUENCE, &element(tag::OBJECT_IDENTIFIER, ECDSA_SHA256));
        let signature = [&[0], key.sign(&signed).unwrap().as_slice()].concat();
        let along = if self.responder == self.issuer {
            Vec::new()
        } else {
            element(0xa0, &element(tag::SEQUENCE, self.responder))
        };
        let basic = [signed, algorithm, element(tag::BIT_STRING, &signature), along].concat();
        let bytes = [
            element(tag::OBJECT_IDENTIFIER, &[0x2b, 6, 1, 5, 5, 7, 48, 1, 1]),
            element(tag::OCTET_STRING, &element(tag::SEQUENCE, &basic)),
        ]
        .concat();
        let bytes = element(0xa0, &element(tag::SEQUENCE, &bytes));
        element(tag::SEQUENCE, &[element(tag::ENUMERATED, &[0]), bytes].concat())
    }
}
