//! What can be wrong with bytes from a peer, and with values that do not fit on the wire.

use super::payload::PayloadType;

/// Bytes that are not the IKE message they claim to be: where, and what was wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} at offset {offset}: {kind}", Place(*payload))]
pub struct DecodeError {
    /// The payload that was being read; `None` for the IKE header.
    pub payload: Option<PayloadType>,
    /// Where reading stopped, counted in bytes from the start of what was handed in.
    pub offset: usize,
    /// What was wrong there.
    pub kind: DecodeErrorKind,
}

impl DecodeError {
    /// Returns the type of the payload that we do not know and the peer marked critical, if that
    /// is the error: the answer is then `UNSUPPORTED_CRITICAL_PAYLOAD` (RFC 7296 §2.5).
    pub const fn unsupported_critical_payload(&self) -> Option<PayloadType> {
        match self.kind {
            DecodeErrorKind::UnsupportedCriticalPayload(payload) => Some(payload),
            _ => None,
        }
    }
}

/// The kinds of [`DecodeError`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeErrorKind {
    /// The bytes end before the field does.
    #[error("truncated: {needed} bytes needed, {available} there")]
    Truncated {
        /// Bytes that the field needs.
        needed: usize,
        /// Bytes that are left.
        available: usize,
    },
    /// A length field contradicts its surroundings.
    #[error("length field says {stated}, but {reason}")]
    BadLength {
        /// The value of the length field.
        stated: usize,
        /// What it contradicts.
        reason: &'static str,
    },
    /// Bytes are left over where the structure has ended.
    #[error("{0} bytes left over")]
    TrailingBytes(usize),
    /// The major version is not 2 (answer: `INVALID_MAJOR_VERSION`).
    #[error("major version {0} is not 2")]
    UnsupportedVersion(u8),
    /// More elements than this codec takes from one message.
    #[error("more than {limit} {what}")]
    TooMany {
        /// What there was too much of.
        what: &'static str,
        /// The most that is taken.
        limit: usize,
    },
    /// A field has a value that RFC 7296 does not allow there.
    #[error("{field} has the forbidden value {value}")]
    BadValue {
        /// Which field.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// A payload type that we do not know carries the critical flag.
    #[error("unsupported critical payload {}", .0.0)]
    UnsupportedCriticalPayload(PayloadType),
}

/// A value that has no encoding.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A part is longer, or has more elements, than its length field can say.
    #[error("{what}: {length} does not fit (at most {limit})")]
    TooLong {
        /// Which part.
        what: &'static str,
        /// Its length or count.
        length: usize,
        /// The most that fits.
        limit: usize,
    },
    /// An encrypted payload is not the last one of its message.
    #[error("an encrypted payload must be the last payload")]
    EncryptedNotLast,
    /// A selector's ends are addresses of different families.
    #[error("a traffic selector's addresses are of different families")]
    MixedAddressFamilies,
    /// A field's value is not allowed on the wire.
    #[error("{field} has the forbidden value {value}")]
    BadValue {
        /// Which field.
        field: &'static str,
        /// Its value.
        value: u64,
    },
}

struct Place(Option<PayloadType>);

impl std::fmt::Display for Place {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(payload) => write!(out, "payload {payload}"),
            None => out.write_str("IKE header"),
        }
    }
}
