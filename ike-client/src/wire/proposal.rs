//! The Security Association payload: proposals, transforms, attributes (RFC 7296 §3.3).

use super::error::{DecodeError, DecodeErrorKind, EncodeError};
use super::open::open_enum;
use super::reader::{Reader, fit, patch_length};
use super::transform::{
    Encryption, ExtendedSequenceNumbers, Integrity, KeyExchangeGroup, PseudoRandomFunction, TransformType,
};

/// The most proposals that are taken from one payload.
pub const MAX_PROPOSALS: usize = 64;
/// The most transforms that are taken from one proposal (the count field allows no more either).
pub const MAX_TRANSFORMS: usize = 255;
/// The most attributes that are taken from one transform.
pub const MAX_ATTRIBUTES: usize = 8;

const LAST: u8 = 0;
const MORE_PROPOSALS: u8 = 2;
const MORE_TRANSFORMS: u8 = 3;
const ATTRIBUTE_IS_SHORT: u16 = 0x8000;

open_enum! {
    /// The protocol that a proposal, a notify or a deletion is about.
    pub struct ProtocolId(u8) {
        /// None: a notify that concerns no particular SA.
        NONE = 0 => "NONE",
        /// IKE.
        IKE = 1 => "IKE",
        /// AH.
        AH = 2 => "AH",
        /// ESP.
        ESP = 3 => "ESP",
    }
}

/// One proposal: a protocol, its SPI, and transforms to choose from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The proposal's number; offers count from 1, an answer repeats the chosen one.
    pub number: u8,
    /// The protocol.
    pub protocol: ProtocolId,
    /// The sender's SPI: empty for an initial IKE SA, 8 bytes when an IKE SA is rekeyed, 4 for ESP.
    pub spi: Vec<u8>,
    /// The transforms, in the order of the wire.
    pub transforms: Vec<Transform>,
}

impl Proposal {
    /// Returns the transforms of one type, in the order of the wire.
    pub fn of_type(&self, transform_type: TransformType) -> impl Iterator<Item = &Transform> {
        self.transforms.iter().filter(move |transform| transform.transform_type == transform_type)
    }
}

/// One transform: a type, a number in that type's registry, attributes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Transform {
    /// What is chosen.
    pub transform_type: TransformType,
    /// The choice.
    pub id: u16,
    /// The attributes; only the key length is in use.
    pub attributes: Vec<Attribute>,
}

impl Transform {
    /// Makes an encryption transform; `key_bits` only for ciphers with more than one key length.
    pub fn encryption(id: Encryption, key_bits: Option<u16>) -> Self {
        let attributes = key_bits.map(|bits| Attribute::Short { kind: Attribute::KEY_LENGTH, value: bits });
        Self { transform_type: TransformType::ENCRYPTION, id: id.0, attributes: attributes.into_iter().collect() }
    }

    /// Makes a pseudo-random function transform.
    pub const fn prf(id: PseudoRandomFunction) -> Self {
        Self { transform_type: TransformType::PSEUDO_RANDOM_FUNCTION, id: id.0, attributes: Vec::new() }
    }

    /// Makes an integrity transform.
    pub const fn integrity(id: Integrity) -> Self {
        Self { transform_type: TransformType::INTEGRITY, id: id.0, attributes: Vec::new() }
    }

    /// Makes a key exchange transform.
    pub const fn key_exchange(id: KeyExchangeGroup) -> Self {
        Self { transform_type: TransformType::KEY_EXCHANGE, id: id.0, attributes: Vec::new() }
    }

    /// Makes the transform of an additional key exchange at its place from 1 to 7 (RFC 9370 §2.2.1).
    pub const fn additional_key_exchange(place: u8, id: KeyExchangeGroup) -> Self {
        let transform_type =
            TransformType(TransformType::ADDITIONAL_KEY_EXCHANGE_1.0.saturating_add(place).saturating_sub(1));
        Self { transform_type, id: id.0, attributes: Vec::new() }
    }

    /// Makes an extended-sequence-number transform.
    pub const fn extended_sequence_numbers(id: ExtendedSequenceNumbers) -> Self {
        Self { transform_type: TransformType::EXTENDED_SEQUENCE_NUMBERS, id: id.0, attributes: Vec::new() }
    }

    /// Returns the key length attribute in bits.
    pub fn key_length(&self) -> Option<u16> {
        self.attributes.iter().find_map(|attribute| match attribute {
            Attribute::Short { kind: Attribute::KEY_LENGTH, value } => Some(*value),
            _ => None,
        })
    }
}

/// A transform attribute in one of its two encodings.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Attribute {
    /// Type and a value of two bytes.
    Short {
        /// The attribute's type, below 0x8000.
        kind: u16,
        /// Its value.
        value: u16,
    },
    /// Type, length, and a value of that many bytes.
    Long {
        /// The attribute's type, below 0x8000.
        kind: u16,
        /// Its value.
        value: Vec<u8>,
    },
}

impl Attribute {
    /// The key length in bits, the only attribute that RFC 7296 defines.
    pub const KEY_LENGTH: u16 = 14;
}

pub(crate) fn read_proposals(reader: &mut Reader<'_>) -> Result<Vec<Proposal>, DecodeError> {
    let mut proposals = Vec::new();
    let mut more = true;
    while more {
        if proposals.len() >= MAX_PROPOSALS {
            return Err(reader.error(DecodeErrorKind::TooMany { what: "proposals", limit: MAX_PROPOSALS }));
        }
        more = read_more(reader, MORE_PROPOSALS, "last substructure of a proposal")?;
        reader.u8()?;
        let mut body = read_body(reader, 4, "a proposal's header is longer")?;
        let number = body.u8()?;
        let protocol = ProtocolId(body.u8()?);
        let spi_size = body.u8()?;
        let count = body.u8()?;
        let spi = body.take(usize::from(spi_size))?.to_vec();
        let transforms = read_transforms(&mut body, count)?;
        proposals.push(Proposal { number, protocol, spi, transforms });
    }
    reader.finish()?;
    Ok(proposals)
}

fn read_transforms(reader: &mut Reader<'_>, count: u8) -> Result<Vec<Transform>, DecodeError> {
    let mut transforms = Vec::new();
    for left in (0..count).rev() {
        let more = read_more(reader, MORE_TRANSFORMS, "last substructure of a transform")?;
        if more != (left > 0) {
            let value = u64::from(count);
            return Err(reader.error(DecodeErrorKind::BadValue { field: "number of transforms", value }));
        }
        reader.u8()?;
        let mut body = read_body(reader, 4, "a transform's header is longer")?;
        let transform_type = TransformType(body.u8()?);
        body.u8()?;
        let id = body.u16()?;
        let mut attributes = Vec::new();
        while !body.is_empty() {
            if attributes.len() >= MAX_ATTRIBUTES {
                return Err(body.error(DecodeErrorKind::TooMany { what: "attributes", limit: MAX_ATTRIBUTES }));
            }
            attributes.push(read_attribute(&mut body)?);
        }
        transforms.push(Transform { transform_type, id, attributes });
    }
    reader.finish()?;
    Ok(transforms)
}

fn read_attribute(reader: &mut Reader<'_>) -> Result<Attribute, DecodeError> {
    let kind = reader.u16()?;
    let value = reader.u16()?;
    if kind & ATTRIBUTE_IS_SHORT != 0 {
        return Ok(Attribute::Short { kind: kind & !ATTRIBUTE_IS_SHORT, value });
    }
    Ok(Attribute::Long { kind, value: reader.take(usize::from(value))?.to_vec() })
}

fn read_more(reader: &mut Reader<'_>, more: u8, field: &'static str) -> Result<bool, DecodeError> {
    let at = reader.clone();
    match reader.u8()? {
        LAST => Ok(false),
        value if value == more => Ok(true),
        value => Err(at.error(DecodeErrorKind::BadValue { field, value: u64::from(value) })),
    }
}

/// Reads a length that counts the two bytes before it and itself, and cuts off what it spans.
fn read_body<'a>(reader: &mut Reader<'a>, least: usize, reason: &'static str) -> Result<Reader<'a>, DecodeError> {
    let at = reader.clone();
    let stated = usize::from(reader.u16()?);
    match stated.checked_sub(4) {
        Some(length) if length >= least => reader.split(length),
        _ => Err(at.error(DecodeErrorKind::BadLength { stated, reason })),
    }
}

pub(crate) fn write_proposals(proposals: &[Proposal], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    if proposals.is_empty() {
        return Err(EncodeError::BadValue { field: "number of proposals", value: 0 });
    }
    for (index, proposal) in proposals.iter().enumerate() {
        let start = out.len();
        let last = index.saturating_add(1) == proposals.len();
        out.extend_from_slice(&[if last { LAST } else { MORE_PROPOSALS }, 0, 0, 0]);
        out.extend_from_slice(&[proposal.number, proposal.protocol.0]);
        out.push(fit("proposal SPI", proposal.spi.len(), 255)?);
        out.push(fit("number of transforms", proposal.transforms.len(), MAX_TRANSFORMS)?);
        out.extend_from_slice(&proposal.spi);
        for (index, transform) in proposal.transforms.iter().enumerate() {
            let last = index.saturating_add(1) == proposal.transforms.len();
            write_transform(transform, last, out)?;
        }
        patch_length(out, start.saturating_add(2), start, "proposal")?;
    }
    Ok(())
}

fn write_transform(transform: &Transform, last: bool, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let start = out.len();
    out.extend_from_slice(&[if last { LAST } else { MORE_TRANSFORMS }, 0, 0, 0]);
    out.extend_from_slice(&[transform.transform_type.0, 0]);
    out.extend_from_slice(&transform.id.to_be_bytes());
    for attribute in &transform.attributes {
        let (Attribute::Short { kind, .. } | Attribute::Long { kind, .. }) = attribute;
        if kind & ATTRIBUTE_IS_SHORT != 0 {
            return Err(EncodeError::BadValue { field: "attribute type", value: u64::from(*kind) });
        }
        match attribute {
            Attribute::Short { kind, value } => {
                out.extend_from_slice(&(kind | ATTRIBUTE_IS_SHORT).to_be_bytes());
                out.extend_from_slice(&value.to_be_bytes());
            }
            Attribute::Long { kind, value } => {
                out.extend_from_slice(&kind.to_be_bytes());
                let length: u16 = fit("attribute", value.len(), usize::from(u16::MAX))?;
                out.extend_from_slice(&length.to_be_bytes());
                out.extend_from_slice(value);
            }
        }
    }
    patch_length(out, start.saturating_add(2), start, "transform")
}
