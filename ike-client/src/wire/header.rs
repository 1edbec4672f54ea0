//! The IKE header (RFC 7296 §3.1).

use super::error::{DecodeError, DecodeErrorKind};
use super::open::open_enum;
use super::payload::PayloadType;
use super::reader::Reader;
use serde::{Deserialize, Serialize};

/// The length of the IKE header in bytes.
pub const HEADER_LENGTH: usize = 28;

macro_rules! ike_spi {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The value of an SPI that has not been chosen yet.
            pub const ZERO: Self = Self(0);

            /// Returns the eight bytes as they stand on the wire.
            pub const fn to_bytes(self) -> [u8; 8] {
                self.0.to_be_bytes()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(out, "{:016x}", self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(out, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

ike_spi! {
    /// The IKE SA's SPI that the original initiator chose.
    InitiatorSpi
}
ike_spi! {
    /// The IKE SA's SPI that the original responder chose; zero in the first request.
    ResponderSpi
}

/// The SPI of an ESP or AH security association.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChildSpi(pub u32);

impl std::fmt::Display for ChildSpi {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{:08x}", self.0)
    }
}

impl std::fmt::Debug for ChildSpi {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "ChildSpi({self})")
    }
}

open_enum! {
    /// What a message is part of (RFC 7296 §3.1).
    pub struct ExchangeType(u8) {
        /// The first exchange: suites, key exchange, nonces.
        IKE_SA_INIT = 34 => "IKE_SA_INIT",
        /// Authentication and the first CHILD SA.
        IKE_AUTH = 35 => "IKE_AUTH",
        /// Further CHILD SAs and every rekeying.
        CREATE_CHILD_SA = 36 => "CREATE_CHILD_SA",
        /// Deletion, liveness, notifications.
        INFORMATIONAL = 37 => "INFORMATIONAL",
        /// Session resumption (RFC 5723).
        IKE_SESSION_RESUME = 38 => "IKE_SESSION_RESUME",
        /// Exchanges between IKE_SA_INIT and IKE_AUTH (RFC 9242).
        IKE_INTERMEDIATE = 43 => "IKE_INTERMEDIATE",
        /// Further key exchanges of a rekeying (RFC 9370).
        IKE_FOLLOWUP_KE = 44 => "IKE_FOLLOWUP_KE",
    }
}

/// The version octet: major in the upper half, minor in the lower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Version(pub u8);

impl Version {
    /// IKE 2.0.
    pub const IKE_2: Self = Self(0x20);

    /// Returns the major version.
    pub const fn major(self) -> u8 {
        self.0 >> 4
    }
}

/// The header's flags. Reserved bits are kept, so that a message encodes back to its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Flags(pub u8);

impl Flags {
    /// Set by the original initiator of the IKE SA.
    pub const INITIATOR: Self = Self(0x08);
    /// The sender could speak a higher major version.
    pub const VERSION: Self = Self(0x10);
    /// The message answers a request with the same message id.
    pub const RESPONSE: Self = Self(0x20);

    /// Returns the flags that have `initiator` and `response` as said.
    pub const fn new(initiator: bool, response: bool) -> Self {
        Self((if initiator { Self::INITIATOR.0 } else { 0 }) | (if response { Self::RESPONSE.0 } else { 0 }))
    }

    /// Tells whether all of `flags` are set.
    pub const fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Tells whether the sender is the original initiator.
    pub const fn is_initiator(self) -> bool {
        self.contains(Self::INITIATOR)
    }

    /// Tells whether the message is a response.
    pub const fn is_response(self) -> bool {
        self.contains(Self::RESPONSE)
    }
}

/// The IKE header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The original initiator's SPI.
    pub initiator_spi: InitiatorSpi,
    /// The original responder's SPI.
    pub responder_spi: ResponderSpi,
    /// The type of the first payload; set from the payloads when a [`Message`](super::Message) is encoded.
    pub next_payload: PayloadType,
    /// The version octet.
    pub version: Version,
    /// The exchange.
    pub exchange: ExchangeType,
    /// The flags.
    pub flags: Flags,
    /// The message id.
    pub message_id: u32,
    /// The length of the whole message, header included; set when a [`Message`](super::Message) is encoded.
    pub length: u32,
}

impl Header {
    /// Makes a header of version 2.0 whose next payload and length encoding will fill in.
    pub const fn new(
        initiator_spi: InitiatorSpi,
        responder_spi: ResponderSpi,
        exchange: ExchangeType,
        flags: Flags,
        message_id: u32,
    ) -> Self {
        Self {
            initiator_spi,
            responder_spi,
            next_payload: PayloadType::NONE,
            version: Version::IKE_2,
            exchange,
            flags,
            message_id,
            length: 0,
        }
    }

    /// Reads the header at the start of `bytes`, whatever follows it.
    ///
    /// # Errors
    /// When the bytes are too few, the major version is not 2, or the length field is not the
    /// length of `bytes`. The fields of a message with another version mean nothing to us.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes, None);
        Self::read(&mut reader)
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let total = reader.remaining();
        let initiator_spi = InitiatorSpi(reader.u64()?);
        let responder_spi = ResponderSpi(reader.u64()?);
        let next_payload = PayloadType(reader.u8()?);
        let version = Version(reader.u8()?);
        if version.major() != 2 {
            return Err(reader.error(DecodeErrorKind::UnsupportedVersion(version.major())));
        }
        let exchange = ExchangeType(reader.u8()?);
        let flags = Flags(reader.u8()?);
        let message_id = reader.u32()?;
        let length = reader.u32()?;
        if usize::try_from(length) != Ok(total) {
            let stated = usize::try_from(length).unwrap_or(usize::MAX);
            return Err(reader.error(DecodeErrorKind::BadLength { stated, reason: "the datagram has another length" }));
        }
        Ok(Self { initiator_spi, responder_spi, next_payload, version, exchange, flags, message_id, length })
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.initiator_spi.to_bytes());
        out.extend_from_slice(&self.responder_spi.to_bytes());
        out.extend_from_slice(&[self.next_payload.0, self.version.0, self.exchange.0, self.flags.0]);
        out.extend_from_slice(&self.message_id.to_be_bytes());
        out.extend_from_slice(&self.length.to_be_bytes());
    }
}
