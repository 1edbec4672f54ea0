//! The checks themselves: path, time, use, key, names.

use super::chain::{self, Chain};
use super::known::KnownAnswer;
use super::names::Names;
use super::revocation::{Evidence, Inquiry, Link, RevocationPolicy, Status};
use super::signed::algorithms;
use super::{CertificateError, ExpectedIdentity, Trust, VerifiedGateway};
use crate::auth::der::{Reader, tag};
use crate::auth::distinguished_name::DistinguishedName;
use crate::auth::identity::Identity;
use crate::auth::signature::PublicKey;
use crate::wire;
use ring::digest;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use std::time::Duration;
use webpki::{
    EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter, KeyUsage, RequiredEkuNotFoundContext,
};
use x509_parser::der_parser::oid::Oid;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Checks the gateway's certificate for `presented`, the identity it claims in IDr, at `unix_now`.
///
/// In this order: readable; under an anchor or pinned, in time and for this use; not revoked; for the expected
/// identity and for the presented one. With [`RevocationPolicy::Hard`] and [`Revocation::inquire`] a certificate of
/// which nothing is known yet still passes, with what is to be asked; it is checked again with the answers.
///
/// [`Revocation::inquire`]: super::Revocation::inquire
///
/// # Errors
/// See [`CertificateError`].
pub fn verify_gateway(
    payloads: &[wire::Certificate],
    trust: &Trust<'_>,
    presented: &Identity,
    unix_now: u64,
) -> Result<VerifiedGateway, CertificateError> {
    let chain = chain::read(payloads)?;
    let leaf = parse(&chain.leaf)?;
    let names = Names::read(&leaf)?;
    let key_info = leaf.tbs_certificate.subject_pki.raw;
    let spki_sha256: [u8; 32] =
        digest::digest(&digest::SHA256, key_info).as_ref().try_into().map_err(|_| CertificateError::NothingTrusted)?;

    if trust.anchors.is_empty() && trust.pins.is_empty() {
        return Err(CertificateError::NothingTrusted);
    }
    if !trust.pins.is_empty() && !trust.pins.contains(&spki_sha256) {
        return Err(CertificateError::PinMismatch { presented: hexadecimal(&spki_sha256) });
    }
    let pinned_alone = trust.anchors.is_empty();
    let unsettled = if pinned_alone {
        in_time(&leaf, unix_now)?;
        Vec::new()
    } else {
        let links = path(&chain, &leaf, trust, unix_now)?;
        key_usage(&leaf)?;
        revocation(&links, &chain, trust, unix_now)?
    };
    let public_key =
        PublicKey::from_info(key_info).map_err(|error| CertificateError::UnacceptableKey(error.to_string()))?;
    identity(&names, trust.expected, presented, pinned_alone)?;

    Ok(VerifiedGateway {
        public_key,
        spki_sha256,
        subject: names.subject().map(ToString::to_string).unwrap_or_default(),
        not_after: seconds(leaf.validity().not_after.timestamp()),
        unsettled,
    })
}

/// Returns what of [`Revocation::fetched`] is believed of the certificates on the gateway's path and stands for a
/// while, whatever it says: worth knowing the next time.
///
/// [`Revocation::fetched`]: super::Revocation::fetched
pub fn learnt(payloads: &[wire::Certificate], trust: &Trust<'_>, unix_now: u64) -> Vec<KnownAnswer> {
    let learn = || {
        let chain = chain::read(payloads)?;
        let leaf = parse(&chain.leaf)?;
        let links = path(&chain, &leaf, trust, unix_now)?;
        let mut evidence = Evidence::read(trust.revocation, &[], &[])?;
        for link in &links {
            evidence.status(link, unix_now)?;
        }
        Ok::<_, CertificateError>(evidence.learnt())
    };
    learn().unwrap_or_default()
}

/// Reads one certificate, whole.
pub(super) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, CertificateError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(CertificateError::Malformed("bytes follow it".to_owned())),
        Err(error) => Err(CertificateError::Malformed(error.to_string())),
    }
}

/// The gateway must be who it was to be, and who it says it is. A pinned key needs no name; then only what
/// the profile asks of IDr counts.
fn identity(
    names: &Names,
    expected: ExpectedIdentity<'_>,
    presented: &Identity,
    pinned_alone: bool,
) -> Result<(), CertificateError> {
    let wanted = &expected.identity();
    if matches!(expected, ExpectedIdentity::Profile(_)) && !wanted.matches(presented) {
        return Err(CertificateError::mismatch(wanted, vec![presented.to_string()]));
    }
    if pinned_alone {
        return Ok(());
    }
    match [wanted, presented].into_iter().find(|identity| !names.cover(identity)) {
        Some(uncovered) => Err(CertificateError::mismatch(uncovered, names.listed())),
        None => Ok(()),
    }
}

/// Builds the path and returns it from the leaf up: each certificate with the one above it.
fn path<'a>(
    chain: &'a Chain<'_>,
    leaf: &X509Certificate<'_>,
    trust: &'a Trust<'_>,
    unix_now: u64,
) -> Result<Vec<Link<'a>>, CertificateError> {
    let anchors: Vec<CertificateDer<'a>> =
        trust.anchors.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    let mut trusted: Vec<TrustAnchor<'_>> = Vec::new();
    for (index, anchor) in anchors.iter().enumerate() {
        let unusable = |reason: String| CertificateError::AnchorUnusable { number: index + 1, reason };
        trusted.push(webpki::anchor_from_trusted_cert(anchor).map_err(|error| unusable(error.to_string()))?);
    }
    let end_entity = EndEntityCert::try_from(&chain.leaf).map_err(|error| explain(error, leaf))?;
    let time = UnixTime::since_unix_epoch(Duration::from_secs(unix_now));
    let found = end_entity
        .verify_for_usage(&algorithms(), &trusted, &chain.intermediates, time, GatewayPurpose, None, None)
        .map_err(|error| explain(error, leaf))?;
    // webpki takes anchors as timeless; an authority whose own certificate has run out vouches for nobody here.
    let used = trusted.iter().position(|anchor| anchor == found.anchor());
    let anchor = used.and_then(|index| trust.anchors.get(index)).ok_or(CertificateError::NothingTrusted)?;
    in_time(&parse(anchor)?, unix_now)?;

    let between = found.intermediate_certificates().map(|certificate| {
        chain.intermediates.iter().map(|der| der.as_ref()).find(|der| *der == certificate.der().as_ref())
    });
    let path: Option<Vec<&'a [u8]>> =
        std::iter::once(Some(chain.leaf.as_ref())).chain(between).chain([Some(anchor.as_slice())]).collect();
    let path = path.ok_or(CertificateError::NothingTrusted)?;
    let link = |(certificate, issuer): (&&'a [u8], &&'a [u8])| {
        Ok(Link {
            certificate: parse(certificate)?,
            certificate_der: CertificateDer::from(*certificate),
            issuer: parse(issuer)?,
            issuer_der: CertificateDer::from(*issuer),
        })
    };
    path.iter().zip(path.iter().skip(1)).map(link).collect()
}

/// Refuses a path with a revoked certificate, and returns what is still to be asked.
fn revocation(
    links: &[Link<'_>],
    chain: &Chain<'_>,
    trust: &Trust<'_>,
    unix_now: u64,
) -> Result<Vec<Inquiry>, CertificateError> {
    let revocation = trust.revocation;
    if revocation.policy == RevocationPolicy::Off {
        return Ok(Vec::new());
    }
    let mut evidence = Evidence::read(revocation, &chain.lists, &chain.responses)?;
    let mut unsettled = Vec::new();
    // An anchor that the peer shows as its own certificate has nobody above it who could take it back.
    for link in links.iter().filter(|link| link.certificate_der != link.issuer_der) {
        match evidence.status(link, unix_now)? {
            Some(Status::Revoked) => return Err(CertificateError::Revoked),
            Some(Status::Good) => {}
            None => unsettled.push(link.inquiry()),
        }
    }
    let may_ask = revocation.inquire && revocation.fetched.is_none();
    let hopeless = || unsettled.iter().any(|inquiry: &Inquiry| inquiry.sources(&[]).is_empty());
    if revocation.policy == RevocationPolicy::Hard && !unsettled.is_empty() && (!may_ask || hopeless()) {
        return Err(CertificateError::RevocationUnknown { problems: evidence.problems() });
    }
    Ok(unsettled)
}

fn in_time(certificate: &X509Certificate<'_>, now: u64) -> Result<(), CertificateError> {
    let validity = certificate.validity();
    let (not_before, not_after) = (seconds(validity.not_before.timestamp()), seconds(validity.not_after.timestamp()));
    match now {
        now if now < not_before => Err(CertificateError::NotYetValid { not_before, now }),
        now if now > not_after => Err(CertificateError::Expired { not_after, now }),
        _ => Ok(()),
    }
}

/// If key usage is restricted, signing must be left (RFC 4945 §5.1.3.2).
fn key_usage(leaf: &X509Certificate<'_>) -> Result<(), CertificateError> {
    let usage = leaf.key_usage().map_err(|_| CertificateError::Malformed("its key usage cannot be read".to_owned()))?;
    match usage {
        Some(usage) if !usage.value.digital_signature() && !usage.value.non_repudiation() => {
            Err(CertificateError::WrongUse("its key usage does not include digital signatures".to_owned()))
        }
        _ => Ok(()),
    }
}

/// Extended key usage, if present, must name one of these.
struct GatewayPurpose;

const PURPOSES: [&[u8]; 4] = [
    &[0x2b, 6, 1, 5, 5, 7, 3, 1],  // id-kp-serverAuth
    &[0x2b, 6, 1, 5, 5, 7, 3, 17], // id-kp-ipsecIKE (RFC 4945)
    &[0x2b, 6, 1, 5, 5, 8, 2, 2],  // iKEIntermediate
    &[0x55, 0x1d, 0x25, 0],        // anyExtendedKeyUsage
];

impl ExtendedKeyUsageValidator for GatewayPurpose {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        let mut present = Vec::new();
        for purpose in purposes {
            let purpose = purpose?;
            if PURPOSES.iter().any(|accepted| purpose == KeyPurposeId::new(accepted)) {
                return Ok(());
            }
            present.push(purpose.to_decoded_oid());
        }
        if present.is_empty() {
            return Ok(());
        }
        let context = RequiredEkuNotFoundContext { required: KeyUsage::server_auth(), present };
        Err(webpki::Error::RequiredEkuNotFoundContext(context))
    }
}

/// Says in our words what the path builder found.
fn explain(error: webpki::Error, leaf: &X509Certificate<'_>) -> CertificateError {
    use CertificateError as C;
    use webpki::Error as E;
    match error {
        E::CertExpired { time, not_after } => C::Expired { not_after: not_after.as_secs(), now: time.as_secs() },
        E::CertNotValidYet { time, not_before } => {
            C::NotYetValid { not_before: not_before.as_secs(), now: time.as_secs() }
        }
        E::UnknownIssuer => C::UnknownIssuer { issuer: issuer(leaf) },
        E::CaUsedAsEndEntity => C::AuthorityAsGateway,
        E::RequiredEkuNotFoundContext(_) | E::EmptyEkuExtension => {
            C::WrongUse("its extended key usage is neither serverAuth nor ipsecIKE".to_owned())
        }
        E::InvalidSignatureForPublicKey => C::BadSignature,
        E::UnsupportedSignatureAlgorithmContext(context) => {
            C::WeakSignature(algorithm_name(&context.signature_algorithm_id))
        }
        E::UnsupportedSignatureAlgorithmForPublicKeyContext(context) => {
            C::WeakSignature(algorithm_name(&context.signature_algorithm_id))
        }
        E::SignatureAlgorithmMismatch => C::BadSignature,
        E::EndEntityUsedAsCa
        | E::NameConstraintViolation
        | E::PathLenConstraintViolated
        | E::CertDistrusted
        | E::UnsupportedCriticalExtension
        | E::MaximumPathBuildCallsExceeded
        | E::MaximumPathDepthExceeded
        | E::MaximumSignatureChecksExceeded
        | E::MaximumNameConstraintComparisonsExceeded => C::PathUnacceptable(error.to_string()),
        other => C::Malformed(other.to_string()),
    }
}

/// Reads the object identifier out of an AlgorithmIdentifier's content.
fn algorithm_name(identifier: &[u8]) -> String {
    match Reader::new(identifier).content(tag::OBJECT_IDENTIFIER) {
        Some(oid) => Oid::new(oid.into()).to_id_string(),
        None => "unreadable".to_owned(),
    }
}

fn issuer(leaf: &X509Certificate<'_>) -> String {
    DistinguishedName::from_der(leaf.issuer().as_raw())
        .map_or_else(|_| "(unreadable)".to_owned(), |name| name.to_string())
}

/// A moment before 1970 is taken for 1970.
fn seconds(timestamp: i64) -> u64 {
    u64::try_from(timestamp).unwrap_or(0)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
