//! The certificates that EMS issued: which hold, and why others no longer do.

use super::StoreError;
use posture::ems::protocol::EndpointId;
use posture::ems::signed::Fingerprint;
use serde::Serialize;

/// One certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CertificateRow {
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// Whose it is.
    pub endpoint: EndpointId,
    /// Its serial number, hexadecimal.
    pub serial: String,
    /// When it was issued, seconds since 1970.
    pub issued_unix: u64,
    /// Until when it holds, seconds since 1970.
    pub expires_unix: u64,
    /// Since when it holds no longer, seconds since 1970.
    pub ended_unix: Option<u64>,
    /// Why: `revoked`, `replaced`, `removed`.
    pub ended_because: Option<String>,
}

/// The certificates that were issued.
pub trait Certificates {
    /// Adds a certificate.
    fn add_certificate(&mut self, new: &CertificateRow) -> Result<(), StoreError>;

    /// Finds a certificate by its serial number.
    fn certificate_of_serial(&self, serial: &str) -> Result<Option<CertificateRow>, StoreError>;

    /// Lists the certificates of an endpoint, oldest first.
    fn certificates_of(&self, endpoint: &EndpointId) -> Result<Vec<CertificateRow>, StoreError>;

    /// Ends a certificate that holds.
    fn end_certificate(&mut self, fingerprint: Fingerprint, why: &str, now_unix: u64) -> Result<(), StoreError>;

    /// Makes a certificate the one of its endpoint: every other one is over, and what was signed for an
    /// earlier one is signed anew.
    fn adopt_certificate(
        &mut self,
        endpoint: &EndpointId,
        fingerprint: Fingerprint,
        now_unix: u64,
    ) -> Result<(), StoreError>;

    /// Forgets every document: all are signed anew.
    fn forget_documents(&mut self) -> Result<(), StoreError>;
}
