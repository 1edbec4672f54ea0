//! What a response says (RFC 6960 §4.2), read and not yet believed.

use super::{CertificateId, MAX_OCTETS, NONCE, OcspError};
use crate::auth::der::{Reader, tag};
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

/// id-pkix-ocsp-basic.
const BASIC: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 48, 1, 1];
/// The most certificates, and statements on certificates, in one response.
const MAX_CERTIFICATES: usize = 8;
const MAX_STATEMENTS: usize = 64;

/// A response of the only type that is in use.
#[derive(Debug)]
pub(in super::super) struct Response<'a> {
    /// What is signed.
    pub(super) signed: &'a [u8],
    /// The content of the signature's AlgorithmIdentifier.
    pub(super) algorithm: &'a [u8],
    pub(super) signature: &'a [u8],
    pub(super) responder: Responder<'a>,
    pub(super) statements: Vec<Statement<'a>>,
    pub(super) nonce: Option<&'a [u8]>,
    /// Certificates that came along, DER.
    pub(super) certificates: Vec<&'a [u8]>,
}

/// Who says that it has signed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Responder<'a> {
    /// Whose subject is this Name, DER.
    Name(&'a [u8]),
    /// The SHA-1 of whose key is this.
    Key(&'a [u8]),
}

/// What is said of one certificate.
#[derive(Debug)]
pub(super) struct Statement<'a> {
    pub(super) certificate: CertificateId<'a>,
    pub(super) standing: Standing,
    /// Seconds since 1970.
    pub(super) this_update: u64,
    pub(super) next_update: Option<u64>,
}

/// How a certificate stands with its authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Good,
    Revoked,
    Unknown,
}

impl<'a> Response<'a> {
    /// Reads an OCSPResponse.
    pub(in super::super) fn read(der: &'a [u8]) -> Result<Self, OcspError> {
        if der.len() > MAX_OCTETS {
            return Err(OcspError::Malformed);
        }
        let mut outer = Reader::new(der);
        let mut response = outer.enter(tag::SEQUENCE).ok_or(OcspError::Malformed)?;
        outer.finish().ok_or(OcspError::Malformed)?;
        match response.content(tag::ENUMERATED) {
            Some([0]) => {}
            Some([status]) => return Err(OcspError::NotSuccessful(*status)),
            _ => return Err(OcspError::Malformed),
        }
        Self::read_bytes(response).ok_or(OcspError::Malformed)
    }

    fn read_bytes(mut response: Reader<'a>) -> Option<Self> {
        let mut explicit = response.enter(0xa0)?;
        response.finish()?;
        let mut bytes = explicit.enter(tag::SEQUENCE)?;
        explicit.finish()?;
        if bytes.content(tag::OBJECT_IDENTIFIER)? != BASIC {
            return None;
        }
        let mut octets = Reader::new(bytes.content(tag::OCTET_STRING)?);
        bytes.finish()?;
        let mut basic = octets.enter(tag::SEQUENCE)?;
        octets.finish()?;

        let signed = basic.whole(tag::SEQUENCE)?;
        let algorithm = basic.content(tag::SEQUENCE)?;
        let signature = basic.bits()?;
        let certificates = match basic.optional(0xa0)? {
            Some(explicit) => certificates(explicit)?,
            None => Vec::new(),
        };
        basic.finish()?;

        let mut data = Reader::new(signed).enter(tag::SEQUENCE)?;
        // Version 1 is the default and the only one; DER leaves it out, some write it.
        if let Some(version) = data.optional(0xa0)?
            && version != [tag::INTEGER, 1, 0]
        {
            return None;
        }
        let responder = match data.element()? {
            (0xa1, name) => Responder::Name(name),
            (0xa2, key) => Responder::Key(Reader::new(key).content(tag::OCTET_STRING)?),
            _ => return None,
        };
        time(&mut data)?;
        let statements = statements(data.enter(tag::SEQUENCE)?)?;
        let nonce = match data.optional(0xa1)? {
            Some(explicit) => extensions(explicit)?,
            None => None,
        };
        data.finish()?;
        Some(Self { signed, algorithm, signature, responder, statements, nonce, certificates })
    }
}

fn certificates(explicit: &[u8]) -> Option<Vec<&[u8]>> {
    let mut outer = Reader::new(explicit);
    let mut list = outer.enter(tag::SEQUENCE)?;
    outer.finish()?;
    let mut certificates = Vec::new();
    while !list.is_empty() {
        if certificates.len() == MAX_CERTIFICATES {
            return None;
        }
        certificates.push(list.whole(tag::SEQUENCE)?);
    }
    Some(certificates)
}

fn statements(mut list: Reader<'_>) -> Option<Vec<Statement<'_>>> {
    let mut statements = Vec::new();
    while !list.is_empty() {
        if statements.len() == MAX_STATEMENTS {
            return None;
        }
        let mut single = list.enter(tag::SEQUENCE)?;
        let certificate = CertificateId::read(&mut single)?;
        let standing = match single.element()? {
            (0x80, []) => Standing::Good,
            (0xa1, revoked) => {
                time(&mut Reader::new(revoked))?;
                Standing::Revoked
            }
            (0x82, []) => Standing::Unknown,
            _ => return None,
        };
        let this_update = time(&mut single)?;
        let next_update = match single.optional(0xa0)? {
            Some(explicit) => Some(time(&mut Reader::new(explicit))?),
            None => None,
        };
        if let Some(explicit) = single.optional(0xa1)? {
            extensions(explicit)?;
        }
        single.finish()?;
        statements.push(Statement { certificate, standing, this_update, next_update });
    }
    Some(statements)
}

/// Reads extensions and returns the nonce if it is among them. One that is critical and unknown makes the whole
/// unusable (RFC 6960 §4.4).
fn extensions(explicit: &[u8]) -> Option<Option<&[u8]>> {
    let mut outer = Reader::new(explicit);
    let mut list = outer.enter(tag::SEQUENCE)?;
    outer.finish()?;
    let mut nonce = None;
    while !list.is_empty() {
        let mut extension = list.enter(tag::SEQUENCE)?;
        let identifier = extension.content(tag::OBJECT_IDENTIFIER)?;
        let critical = extension.optional(tag::BOOLEAN)?.is_some_and(|value| value != [0]);
        let value = extension.content(tag::OCTET_STRING)?;
        extension.finish()?;
        match identifier {
            NONCE => nonce = Some(Reader::new(value).content(tag::OCTET_STRING)?),
            _ if critical => return None,
            _ => {}
        }
    }
    Some(nonce)
}

/// Takes a GeneralizedTime, in seconds since 1970.
fn time(reader: &mut Reader<'_>) -> Option<u64> {
    let der = reader.whole(tag::GENERALIZED_TIME)?;
    let (_, time) = ASN1Time::from_der(der).ok()?;
    u64::try_from(time.timestamp()).ok()
}
