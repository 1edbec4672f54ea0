//! IKEv2 messages as bytes and as typed values (RFC 7296 §3, RFC 7383 §2.5).
//!
//! In go the bytes of one message, out comes a [`Message`]; and the other way round. What was
//! decoded encodes back to the same bytes as long as reserved fields were zero, known payloads
//! were not marked critical, and every traffic selector had a type that we know: reserved fields
//! are ignored on receipt, as the RFC wants.
//!
//! Everything a peer can choose is bounded before anything is allocated for it, numbers that we do
//! not know survive as numbers, and an error names the payload and the offset. An unknown payload
//! is kept, unless it is marked critical: that is an error that carries its type.
//!
//! Nothing here decrypts, verifies, or judges whether a message fits the state it arrives in.
//!
//! | module | holds |
//! |---|---|
//! | [`header`] | the IKE header, SPIs, exchange types |
//! | [`payload`] | the payload enum and the chain |
//! | [`proposal`], [`transform`] | SA payloads and the numbers in them |
//! | [`identification`], [`credential`] | IDi, IDr, CERT, CERTREQ, AUTH |
//! | [`notify`], [`delete`] | N, D |
//! | [`traffic_selector`], [`configuration`] | TSi, TSr, CP |
//! | [`error`] | what can be wrong |

pub mod configuration;
pub mod credential;
pub mod delete;
pub mod error;
pub mod header;
pub mod identification;
pub mod notify;
mod open;
pub mod payload;
pub mod proposal;
mod reader;
#[cfg(test)]
mod tests;
pub mod traffic_selector;
pub mod transform;

pub use configuration::{Configuration, ConfigurationAttribute, ConfigurationAttributeType, ConfigurationType};
pub use credential::{Authentication, AuthenticationMethod, Certificate, CertificateEncoding, CertificateRequest};
pub use delete::Delete;
pub use error::{DecodeError, DecodeErrorKind, EncodeError};
pub use header::{ChildSpi, ExchangeType, Flags, HEADER_LENGTH, Header, InitiatorSpi, ResponderSpi, Version};
pub use identification::{Identification, IdentificationType};
pub use notify::{Notify, NotifyType};
pub use payload::{
    Encrypted, EncryptedFragment, KeyExchange, PAYLOAD_HEADER_LENGTH, Payload, PayloadType, decode_chain, encode_chain,
};
pub use proposal::{Attribute, Proposal, ProtocolId, Transform};
pub use traffic_selector::TrafficSelector;
pub use transform::{
    Encryption, ExtendedSequenceNumbers, Integrity, KeyExchangeGroup, PseudoRandomFunction, TransformType,
};

use reader::Reader;

/// The longest message that is taken or made: what one UDP datagram can carry.
pub const MAX_MESSAGE_LENGTH: usize = 65_535;

/// One IKE message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The header. Its next-payload and length fields follow from the payloads when encoding.
    pub header: Header,
    /// The payloads, in the order of the wire.
    pub payloads: Vec<Payload>,
}

impl Message {
    /// Makes a message.
    pub const fn new(header: Header, payloads: Vec<Payload>) -> Self {
        Self { header, payloads }
    }

    /// Reads one whole message, without the non-ESP marker.
    ///
    /// # Errors
    /// When the bytes are not exactly one well-formed message of IKE version 2.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes, None);
        if bytes.len() > MAX_MESSAGE_LENGTH {
            return Err(reader.error(DecodeErrorKind::TooMany { what: "bytes", limit: MAX_MESSAGE_LENGTH }));
        }
        let header = Header::read(&mut reader)?;
        let payloads = payload::read_chain(header.next_payload, reader)?;
        Ok(Self { header, payloads })
    }

    /// Writes the message, without the non-ESP marker.
    ///
    /// # Errors
    /// When a part does not fit its length field, or a sealed payload is not the last.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut out = Vec::new();
        self.header.write(&mut out);
        let next_payload = payload::write_chain(&self.payloads, &mut out)?;
        if out.len() > MAX_MESSAGE_LENGTH {
            let length = out.len();
            return Err(EncodeError::TooLong { what: "message", length, limit: MAX_MESSAGE_LENGTH });
        }
        let length = reader::fit("message", out.len(), MAX_MESSAGE_LENGTH)?;
        let mut head = Vec::with_capacity(HEADER_LENGTH);
        Header { next_payload, length, ..self.header }.write(&mut head);
        for (target, source) in out.iter_mut().zip(head) {
            *target = source;
        }
        Ok(out)
    }

    /// Returns the message's notifies, in the order of the wire.
    pub fn notifies(&self) -> impl Iterator<Item = &Notify> {
        self.payloads.iter().filter_map(|payload| match payload {
            Payload::Notify(notify) => Some(notify),
            _ => None,
        })
    }
}
