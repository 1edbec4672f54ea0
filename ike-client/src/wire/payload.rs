//! Payloads and the chain that links them (RFC 7296 §3.2).

use super::configuration::Configuration;
use super::credential::{Authentication, Certificate, CertificateRequest};
use super::delete::Delete;
use super::error::{DecodeError, DecodeErrorKind, EncodeError};
use super::identification::Identification;
use super::notify::Notify;
use super::open::open_enum;
use super::proposal::{Proposal, read_proposals, write_proposals};
use super::reader::{Reader, patch_length};
use super::traffic_selector::{TrafficSelector, read_selectors, write_selectors};
use super::transform::KeyExchangeGroup;

/// The most payloads that are taken from one message or encrypted body.
pub const MAX_PAYLOADS: usize = 96;

/// The length of the generic payload header in bytes.
pub const PAYLOAD_HEADER_LENGTH: usize = 4;

/// Nonces have 16 to 256 bytes (RFC 7296 §3.9).
pub const NONCE_LENGTHS: std::ops::RangeInclusive<usize> = 16..=256;

const CRITICAL: u8 = 0x80;

open_enum! {
    /// The kinds of payload.
    pub struct PayloadType(u8) {
        /// No next payload.
        NONE = 0 => "none",
        /// Security Association.
        SECURITY_ASSOCIATION = 33 => "SA",
        /// Key Exchange.
        KEY_EXCHANGE = 34 => "KE",
        /// Identification, initiator's.
        IDENTIFICATION_INITIATOR = 35 => "IDi",
        /// Identification, responder's.
        IDENTIFICATION_RESPONDER = 36 => "IDr",
        /// Certificate.
        CERTIFICATE = 37 => "CERT",
        /// Certificate Request.
        CERTIFICATE_REQUEST = 38 => "CERTREQ",
        /// Authentication.
        AUTHENTICATION = 39 => "AUTH",
        /// Nonce.
        NONCE = 40 => "Nonce",
        /// Notify.
        NOTIFY = 41 => "N",
        /// Delete.
        DELETE = 42 => "D",
        /// Vendor ID.
        VENDOR_ID = 43 => "V",
        /// Traffic selectors of the initiator's side.
        TRAFFIC_SELECTORS_INITIATOR = 44 => "TSi",
        /// Traffic selectors of the responder's side.
        TRAFFIC_SELECTORS_RESPONDER = 45 => "TSr",
        /// Encrypted and authenticated.
        ENCRYPTED = 46 => "SK",
        /// Configuration.
        CONFIGURATION = 47 => "CP",
        /// Extensible Authentication.
        EAP = 48 => "EAP",
        /// Encrypted and authenticated fragment (RFC 7383).
        ENCRYPTED_FRAGMENT = 53 => "SKF",
    }
}

/// A Key Exchange payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyExchange {
    /// The method.
    pub group: KeyExchangeGroup,
    /// The sender's public value.
    pub data: Vec<u8>,
}

/// An Encrypted payload, still sealed. It is always the last of its message, so the associated
/// data of an AEAD is the message without `body`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encrypted {
    /// The type of the first payload inside.
    pub first_inner: PayloadType,
    /// IV, ciphertext and ICV.
    pub body: Vec<u8>,
}

/// One fragment of an encrypted message (RFC 7383), still sealed; last of its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncryptedFragment {
    /// In fragment 1 the type of the first payload inside; zero in the others.
    pub first_inner: PayloadType,
    /// This fragment's number, counted from 1.
    pub number: u16,
    /// How many fragments the message has.
    pub total: u16,
    /// IV, ciphertext and ICV.
    pub body: Vec<u8>,
}

/// One payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// SA: what is offered or was chosen.
    SecurityAssociation(Vec<Proposal>),
    /// KE.
    KeyExchange(KeyExchange),
    /// IDi.
    IdentificationInitiator(Identification),
    /// IDr.
    IdentificationResponder(Identification),
    /// CERT.
    Certificate(Certificate),
    /// CERTREQ.
    CertificateRequest(CertificateRequest),
    /// AUTH.
    Authentication(Authentication),
    /// Ni or Nr.
    Nonce(Vec<u8>),
    /// N.
    Notify(Notify),
    /// D.
    Delete(Delete),
    /// V.
    VendorId(Vec<u8>),
    /// TSi.
    TrafficSelectorsInitiator(Vec<TrafficSelector>),
    /// TSr.
    TrafficSelectorsResponder(Vec<TrafficSelector>),
    /// SK.
    Encrypted(Encrypted),
    /// SKF.
    EncryptedFragment(EncryptedFragment),
    /// CP.
    Configuration(Configuration),
    /// EAP: the whole EAP packet, code to data.
    Eap(Vec<u8>),
    /// A payload that this codec does not know and may be skipped.
    Unknown {
        /// Its type.
        payload_type: PayloadType,
        /// The critical flag; never set in a decoded payload, which is an error then.
        critical: bool,
        /// Its body.
        body: Vec<u8>,
    },
}

impl Payload {
    /// Returns the payload's type.
    pub const fn payload_type(&self) -> PayloadType {
        match self {
            Self::SecurityAssociation(_) => PayloadType::SECURITY_ASSOCIATION,
            Self::KeyExchange(_) => PayloadType::KEY_EXCHANGE,
            Self::IdentificationInitiator(_) => PayloadType::IDENTIFICATION_INITIATOR,
            Self::IdentificationResponder(_) => PayloadType::IDENTIFICATION_RESPONDER,
            Self::Certificate(_) => PayloadType::CERTIFICATE,
            Self::CertificateRequest(_) => PayloadType::CERTIFICATE_REQUEST,
            Self::Authentication(_) => PayloadType::AUTHENTICATION,
            Self::Nonce(_) => PayloadType::NONCE,
            Self::Notify(_) => PayloadType::NOTIFY,
            Self::Delete(_) => PayloadType::DELETE,
            Self::VendorId(_) => PayloadType::VENDOR_ID,
            Self::TrafficSelectorsInitiator(_) => PayloadType::TRAFFIC_SELECTORS_INITIATOR,
            Self::TrafficSelectorsResponder(_) => PayloadType::TRAFFIC_SELECTORS_RESPONDER,
            Self::Encrypted(_) => PayloadType::ENCRYPTED,
            Self::EncryptedFragment(_) => PayloadType::ENCRYPTED_FRAGMENT,
            Self::Configuration(_) => PayloadType::CONFIGURATION,
            Self::Eap(_) => PayloadType::EAP,
            Self::Unknown { payload_type, .. } => *payload_type,
        }
    }

    fn read(payload_type: PayloadType, next: PayloadType, body: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match payload_type {
            PayloadType::SECURITY_ASSOCIATION => Self::SecurityAssociation(read_proposals(body)?),
            PayloadType::KEY_EXCHANGE => {
                let group = KeyExchangeGroup(body.u16()?);
                body.take(2)?;
                Self::KeyExchange(KeyExchange { group, data: body.rest().to_vec() })
            }
            PayloadType::IDENTIFICATION_INITIATOR => Self::IdentificationInitiator(Identification::read(body)?),
            PayloadType::IDENTIFICATION_RESPONDER => Self::IdentificationResponder(Identification::read(body)?),
            PayloadType::CERTIFICATE => Self::Certificate(Certificate::read(body)?),
            PayloadType::CERTIFICATE_REQUEST => Self::CertificateRequest(CertificateRequest::read(body)?),
            PayloadType::AUTHENTICATION => Self::Authentication(Authentication::read(body)?),
            PayloadType::NONCE => {
                let stated = body.remaining();
                if !NONCE_LENGTHS.contains(&stated) {
                    let reason = "a nonce has 16 to 256 bytes";
                    return Err(body.error(DecodeErrorKind::BadLength { stated, reason }));
                }
                Self::Nonce(body.rest().to_vec())
            }
            PayloadType::NOTIFY => Self::Notify(Notify::read(body)?),
            PayloadType::DELETE => Self::Delete(Delete::read(body)?),
            PayloadType::VENDOR_ID => Self::VendorId(body.rest().to_vec()),
            PayloadType::TRAFFIC_SELECTORS_INITIATOR => Self::TrafficSelectorsInitiator(read_selectors(body)?),
            PayloadType::TRAFFIC_SELECTORS_RESPONDER => Self::TrafficSelectorsResponder(read_selectors(body)?),
            PayloadType::ENCRYPTED => Self::Encrypted(Encrypted { first_inner: next, body: body.rest().to_vec() }),
            PayloadType::ENCRYPTED_FRAGMENT => Self::EncryptedFragment(EncryptedFragment::read(next, body)?),
            PayloadType::CONFIGURATION => Self::Configuration(Configuration::read(body)?),
            PayloadType::EAP => Self::Eap(body.rest().to_vec()),
            _ => Self::Unknown { payload_type, critical: false, body: body.rest().to_vec() },
        })
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            Self::SecurityAssociation(proposals) => write_proposals(proposals, out)?,
            Self::KeyExchange(key_exchange) => {
                out.extend_from_slice(&key_exchange.group.0.to_be_bytes());
                out.extend_from_slice(&[0; 2]);
                out.extend_from_slice(&key_exchange.data);
            }
            Self::IdentificationInitiator(identity) | Self::IdentificationResponder(identity) => identity.write(out),
            Self::Certificate(certificate) => certificate.write(out),
            Self::CertificateRequest(request) => request.write(out),
            Self::Authentication(authentication) => authentication.write(out),
            Self::Nonce(nonce) => {
                if !NONCE_LENGTHS.contains(&nonce.len()) {
                    return Err(EncodeError::TooLong {
                        what: "nonce",
                        length: nonce.len(),
                        limit: *NONCE_LENGTHS.end(),
                    });
                }
                out.extend_from_slice(nonce);
            }
            Self::Notify(notify) => notify.write(out)?,
            Self::Delete(delete) => delete.write(out)?,
            Self::TrafficSelectorsInitiator(selectors) | Self::TrafficSelectorsResponder(selectors) => {
                write_selectors(selectors, out)?;
            }
            Self::EncryptedFragment(fragment) => {
                out.extend_from_slice(&fragment.number.to_be_bytes());
                out.extend_from_slice(&fragment.total.to_be_bytes());
                out.extend_from_slice(&fragment.body);
            }
            Self::Configuration(configuration) => configuration.write(out)?,
            Self::Encrypted(Encrypted { body, .. })
            | Self::VendorId(body)
            | Self::Eap(body)
            | Self::Unknown { body, .. } => out.extend_from_slice(body),
        }
        Ok(())
    }

    /// Returns what the next-payload field of a sealed payload says: its first inner type.
    const fn sealed_inner(&self) -> Option<PayloadType> {
        match self {
            Self::Encrypted(encrypted) => Some(encrypted.first_inner),
            Self::EncryptedFragment(fragment) => Some(fragment.first_inner),
            _ => None,
        }
    }
}

impl EncryptedFragment {
    fn read(first_inner: PayloadType, body: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let at = body.clone();
        let number = body.u16()?;
        let total = body.u16()?;
        if number == 0 || number > total {
            return Err(at.error(DecodeErrorKind::BadValue { field: "fragment number", value: u64::from(number) }));
        }
        Ok(Self { first_inner, number, total, body: body.rest().to_vec() })
    }
}

/// Reads the payloads that start with type `first`, for example the inside of an Encrypted payload.
///
/// # Errors
/// When a payload is malformed, bytes are left over, there are more than [`MAX_PAYLOADS`], or a
/// payload of unknown type is marked critical.
pub fn decode_chain(first: PayloadType, bytes: &[u8]) -> Result<Vec<Payload>, DecodeError> {
    read_chain(first, Reader::new(bytes, Some(first)))
}

pub(crate) fn read_chain(first: PayloadType, mut reader: Reader<'_>) -> Result<Vec<Payload>, DecodeError> {
    let mut payloads = Vec::new();
    let mut payload_type = first;
    while payload_type != PayloadType::NONE {
        reader = reader.within(payload_type);
        if payloads.len() >= MAX_PAYLOADS {
            return Err(reader.error(DecodeErrorKind::TooMany { what: "payloads", limit: MAX_PAYLOADS }));
        }
        let at = reader.clone();
        let next = PayloadType(reader.u8()?);
        let flags = reader.u8()?;
        let stated = usize::from(reader.u16()?);
        let Some(length) = stated.checked_sub(PAYLOAD_HEADER_LENGTH) else {
            return Err(at.error(DecodeErrorKind::BadLength { stated, reason: "the payload header is longer" }));
        };
        // The critical flag of a payload that we know is ignored (RFC 7296 §2.5).
        if flags & CRITICAL != 0 && payload_type.name().is_none() {
            return Err(at.error(DecodeErrorKind::UnsupportedCriticalPayload(payload_type)));
        }
        let mut body = reader.split(length)?;
        let payload = Payload::read(payload_type, next, &mut body)?;
        body.finish()?;
        payload_type = if payload.sealed_inner().is_some() { PayloadType::NONE } else { next };
        payloads.push(payload);
    }
    reader.finish()?;
    Ok(payloads)
}

/// Writes payloads one after the other, linked; returns the type of the first and the bytes.
///
/// # Errors
/// When a part does not fit its length field, or a sealed payload is not the last.
pub fn encode_chain(payloads: &[Payload]) -> Result<(PayloadType, Vec<u8>), EncodeError> {
    let mut out = Vec::new();
    let first = write_chain(payloads, &mut out)?;
    Ok((first, out))
}

pub(crate) fn write_chain(payloads: &[Payload], out: &mut Vec<u8>) -> Result<PayloadType, EncodeError> {
    let mut following = payloads.iter().skip(1);
    for payload in payloads {
        let next = following.next().map(Payload::payload_type);
        let next = match (payload.sealed_inner(), next) {
            (Some(_), Some(_)) => return Err(EncodeError::EncryptedNotLast),
            (Some(inner), None) => inner,
            (None, next) => next.unwrap_or(PayloadType::NONE),
        };
        let flags = if matches!(payload, Payload::Unknown { critical: true, .. }) { CRITICAL } else { 0 };
        let start = out.len();
        out.extend_from_slice(&[next.0, flags, 0, 0]);
        payload.write(out)?;
        patch_length(out, start.saturating_add(2), start, "payload")?;
    }
    Ok(payloads.first().map_or(PayloadType::NONE, Payload::payload_type))
}
