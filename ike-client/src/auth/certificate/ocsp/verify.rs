//! Whether a response is believed: who has signed it, what it answers, and when.

use super::response::{Responder, Response, Standing, Statement};
use super::{OcspError, key_hash};
use crate::auth::certificate::revocation::{Link, SKEW, Status};
use crate::auth::certificate::signed::{algorithms, is_signed_by};
use ring::digest;
use rustls_pki_types::{CertificateDer, UnixTime};
use std::time::Duration;
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::prelude::{FromDer, X509Certificate};

/// id-kp-OCSPSigning.
const OCSP_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 9];
/// How old a statement may be that does not say when the next one comes.
const MAX_AGE: u64 = 24 * 3600;

impl Response<'_> {
    /// Returns what the response says of the link's certificate; nothing where it does not speak of it.
    ///
    /// With `nonce`, a nonce within the response must be this one; one that has none was made beforehand, as many
    /// responders do (RFC 5019 §4), and its times must do.
    ///
    /// That a certificate was revoked is believed also of a response that has run out: it does not become good again.
    pub(in super::super) fn says(
        &self,
        link: &Link<'_>,
        nonce: Option<&[u8]>,
        now: u64,
    ) -> Result<Option<Status>, OcspError> {
        let statements: Vec<_> = self.statements_of(link).collect();
        if statements.is_empty() {
            return Ok(None);
        }
        if let (Some(asked), Some(answered)) = (nonce, self.nonce)
            && asked != answered
        {
            return Err(OcspError::OtherNonce);
        }
        self.verify(link, now)?;
        if statements.iter().any(|statement| statement.standing == Standing::Revoked) {
            return Ok(Some(Status::Revoked));
        }
        if statements.iter().any(|statement| statement.standing == Standing::Unknown) {
            return Err(OcspError::Unknown);
        }
        let current = |statement: &Statement<'_>| {
            let until = statement.next_update.unwrap_or_else(|| statement.this_update.saturating_add(MAX_AGE));
            statement.this_update <= now.saturating_add(SKEW) && now <= until.saturating_add(SKEW)
        };
        if statements.into_iter().all(current) { Ok(Some(Status::Good)) } else { Err(OcspError::Outdated) }
    }

    /// Returns when the next word on the link's certificate comes, in seconds since 1970; none where the response does
    /// not say.
    pub(in super::super) fn next_update(&self, link: &Link<'_>) -> Option<u64> {
        let mut next: Option<u64> = None;
        for statement in self.statements_of(link) {
            let update = statement.next_update?;
            next = Some(next.map_or(update, |next| next.min(update)));
        }
        next
    }

    fn statements_of(&self, link: &Link<'_>) -> impl Iterator<Item = &Statement<'_>> {
        self.statements.iter().filter(|statement| statement.certificate.names(&link.certificate, &link.issuer))
    }

    /// Checks the signature, by the issuer itself or by one whom it has made a responder.
    fn verify(&self, link: &Link<'_>, now: u64) -> Result<(), OcspError> {
        if self.is_by(&link.issuer) {
            return self.is_signed_by(&link.issuer_der);
        }
        let delegate = self.certificates.iter().find(|der| {
            X509Certificate::from_der(der).is_ok_and(|(_, certificate)| self.is_by(&certificate))
                && is_delegate(der, link, now)
        });
        let delegate = delegate.ok_or(OcspError::ResponderNotAuthorised)?;
        self.is_signed_by(&CertificateDer::from(*delegate))
    }

    /// Tells whether `certificate` is the one whom the response names as its signer.
    fn is_by(&self, certificate: &X509Certificate<'_>) -> bool {
        match self.responder {
            Responder::Name(name) => certificate.subject().as_raw() == name,
            Responder::Key(hash) => key_hash(certificate, &digest::SHA1_FOR_LEGACY_USE_ONLY).as_ref() == hash,
        }
    }

    fn is_signed_by(&self, signer: &CertificateDer<'_>) -> Result<(), OcspError> {
        let signed = is_signed_by(signer, self.algorithm, self.signed, self.signature);
        if signed { Ok(()) } else { Err(OcspError::BadSignature) }
    }
}

/// Tells whether the link's issuer itself, and nobody between, has issued `der` for this use.
fn is_delegate(der: &[u8], link: &Link<'_>, now: u64) -> bool {
    let der = CertificateDer::from(der);
    let Ok(anchor) = webpki::anchor_from_trusted_cert(&link.issuer_der) else { return false };
    let Ok(certificate) = EndEntityCert::try_from(&der) else { return false };
    let time = UnixTime::since_unix_epoch(Duration::from_secs(now));
    let purpose = KeyUsage::required(OCSP_SIGNING);
    certificate.verify_for_usage(&algorithms(), &[anchor], &[], time, purpose, None, None).is_ok()
}
