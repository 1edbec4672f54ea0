//! Certificates out of PEM, as files and tools of every system give them.

use crate::facts::CertificateFact;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// How many certificates are taken from one store.
const LIMIT: usize = 20_000;

/// Reads every certificate of `pem`, in the order of their subjects; `store` is the name under which they
/// were found. What is not one is left out: no rule can ask for it.
pub fn certificates(pem: &[u8], store: &str) -> Vec<CertificateFact> {
    let text = String::from_utf8_lossy(pem);
    let blocks = text.split(BEGIN).skip(1).filter_map(|block| block.split(END).next());
    let mut found: Vec<CertificateFact> = blocks.take(LIMIT).filter_map(|block| certificate(block, store)).collect();
    found.sort();
    found.dedup();
    found
}

fn certificate(block: &str, store: &str) -> Option<CertificateFact> {
    let packed: String = block.split_whitespace().collect();
    let der = STANDARD.decode(packed).ok()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    let unix = |seconds: i64| u64::try_from(seconds).unwrap_or(0);
    Some(CertificateFact {
        subject: common_name(certificate.subject()),
        issuer: common_name(certificate.issuer()),
        not_after_unix: unix(certificate.validity().not_after.timestamp()),
        not_before_unix: unix(certificate.validity().not_before.timestamp()),
        sha256: hex::encode(ring::digest::digest(&ring::digest::SHA256, &der)),
        store: store.to_owned(),
    })
}

fn common_name(name: &X509Name<'_>) -> String {
    name.iter_common_name().next().and_then(|name| name.as_str().ok()).unwrap_or_default().to_owned()
}
