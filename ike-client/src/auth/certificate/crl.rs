//! What a revocation list says of one certificate (RFC 5280 §5, §6.3).

use super::revocation::{Link, SKEW, Status};
use super::signed::is_signed_by;
use crate::auth::der::{Reader, tag};
use webpki::{BorrowedCertRevocationList, CertRevocationList};
use x509_parser::extensions::{DistributionPointName, GeneralName, ParsedExtension};
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

/// Why a list says nothing that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CrlError {
    #[error("a revocation list is malformed: {0}")]
    Malformed(String),
    #[error("the signature of a revocation list is wrong")]
    BadSignature,
    #[error("a revocation list is signed by a key that may not sign one")]
    NotForLists,
    #[error("a revocation list is out of date")]
    Outdated,
}

/// A list that was read and is not yet believed. Delta and indirect lists, and lists for some reasons only, are
/// not read.
pub(super) struct List<'a> {
    list: CertRevocationList<'a>,
    signed: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
    issuer: &'a [u8],
    this_update: u64,
    next_update: u64,
}

impl<'a> List<'a> {
    pub(super) fn read(der: &'a [u8]) -> Result<Self, CrlError> {
        let list = BorrowedCertRevocationList::from_der(der).map_err(|error| CrlError::Malformed(error.to_string()))?;
        Self::read_frame(der, list.into()).ok_or_else(|| CrlError::Malformed("its frame cannot be read".to_owned()))
    }

    fn read_frame(der: &'a [u8], list: CertRevocationList<'a>) -> Option<Self> {
        let mut outer = Reader::new(der).enter(tag::SEQUENCE)?;
        let signed = outer.whole(tag::SEQUENCE)?;
        let algorithm = outer.content(tag::SEQUENCE)?;
        let signature = outer.bits()?;
        outer.finish()?;
        let mut body = Reader::new(signed).enter(tag::SEQUENCE)?;
        body.content(tag::INTEGER)?;
        body.content(tag::SEQUENCE)?;
        let issuer = body.whole(tag::SEQUENCE)?;
        let [this_update, next_update] = [time(&mut body)?, time(&mut body)?];
        Some(Self { list, signed, algorithm, signature, issuer, this_update, next_update })
    }

    /// Returns when the next list comes, in seconds since 1970.
    pub(super) const fn next_update(&self) -> u64 {
        self.next_update
    }

    /// Returns what the list says of the link's certificate; nothing where it is another authority's or for others.
    ///
    /// That a certificate was revoked is believed also of a list that has run out.
    pub(super) fn says(&self, link: &Link<'_>, now: u64) -> Result<Option<Status>, CrlError> {
        if self.issuer != link.certificate.issuer().as_raw() || !self.is_for(&link.certificate) {
            return Ok(None);
        }
        if !is_signed_by(&link.issuer_der, self.algorithm, self.signed, self.signature) {
            return Err(CrlError::BadSignature);
        }
        let usage = link.issuer.key_usage().map_err(|_| CrlError::NotForLists)?;
        if usage.is_some_and(|usage| !usage.value.crl_sign()) {
            return Err(CrlError::NotForLists);
        }
        let found = self.list.find_serial(link.certificate.raw_serial());
        match found.map_err(|error| CrlError::Malformed(error.to_string()))? {
            Some(_) => Ok(Some(Status::Revoked)),
            None if self.this_update <= now.saturating_add(SKEW) && now < self.next_update => Ok(Some(Status::Good)),
            None => Err(CrlError::Outdated),
        }
    }

    /// Tells whether `certificate` is in the list's scope (RFC 5280 §5.2.5).
    fn is_for(&self, certificate: &X509Certificate<'_>) -> bool {
        let Some(scope) = self.list.issuing_distribution_point() else { return true };
        // The path builder's reader gives the extension's content, with the outer sequence or without.
        let mut reader = Reader::new(scope);
        let mut scope = match reader.peek() {
            Some(tag::SEQUENCE) => match reader.enter(tag::SEQUENCE) {
                Some(inner) => inner,
                None => return false,
            },
            _ => reader,
        };
        let points = distribution_points(certificate);
        while !scope.is_empty() {
            let fits = match scope.element() {
                Some((0xa0, name)) => full_names(name)
                    .is_some_and(|names| names.iter().any(|name| points.iter().any(|point| point.as_bytes() == *name))),
                Some((0x81, only_users)) => only_users == [0] || !certificate.is_ca(),
                Some((0x82, only_authorities)) => only_authorities == [0] || certificate.is_ca(),
                _ => false,
            };
            if !fits {
                return false;
            }
        }
        true
    }
}

/// Returns the URIs of a DistributionPointName that is a fullName.
fn full_names(name: &[u8]) -> Option<Vec<&[u8]>> {
    let mut names = Reader::new(name).enter(0xa0)?;
    let mut uris = Vec::new();
    while !names.is_empty() {
        if let (0x86, uri) = names.element()? {
            uris.push(uri);
        }
    }
    Some(uris)
}

/// Returns the URIs at which a certificate's revocation lists lie (RFC 5280 §4.2.1.13).
pub(super) fn distribution_points<'a>(certificate: &'a X509Certificate<'_>) -> Vec<&'a str> {
    let mut uris = Vec::new();
    for extension in certificate.extensions() {
        let ParsedExtension::CRLDistributionPoints(points) = extension.parsed_extension() else { continue };
        for point in points.iter() {
            // A point for some reasons only, or signed by somebody else, answers another question.
            if point.reasons.is_some() || point.crl_issuer.is_some() {
                continue;
            }
            let Some(DistributionPointName::FullName(names)) = &point.distribution_point else { continue };
            uris.extend(names.iter().filter_map(|name| match name {
                GeneralName::URI(uri) => Some(*uri),
                _ => None,
            }));
        }
    }
    uris
}

/// Takes a UTCTime or GeneralizedTime, in seconds since 1970.
fn time(reader: &mut Reader<'_>) -> Option<u64> {
    let der = reader.whole(reader.peek()?)?;
    let (_, time) = ASN1Time::from_der(der).ok()?;
    u64::try_from(time.timestamp()).ok()
}
