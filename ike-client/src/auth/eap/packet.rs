//! The EAP packet: code, identifier, length, and for requests and responses a type (RFC 3748 §4).

/// The largest packet that is read; the methods here need a few hundred octets.
pub const MAX_LENGTH: usize = 4096;

const REQUEST: u8 = 1;
const RESPONSE: u8 = 2;
const SUCCESS: u8 = 3;
const FAILURE: u8 = 4;

/// EAP method types.
pub mod kind {
    /// Identity.
    pub const IDENTITY: u8 = 1;
    /// Notification: a text to show.
    pub const NOTIFICATION: u8 = 2;
    /// Legacy Nak: "not that method, but this one". Only in responses.
    pub const NAK: u8 = 3;
    /// Generic Token Card: a text, and an answer in the clear.
    pub const GTC: u8 = 6;
    /// TLS.
    pub const TLS: u8 = 13;
    /// Tunneled TLS.
    pub const TTLS: u8 = 21;
    /// MSCHAPv2.
    pub const MSCHAPV2: u8 = 26;
}

/// A packet from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// A request.
    Request {
        /// To be repeated in the response.
        identifier: u8,
        /// The type.
        kind: u8,
        /// What follows the type.
        data: &'a [u8],
    },
    /// Success.
    Success,
    /// FortiGate's private form of Success: five octets, the last one the type of a method that follows.
    SuccessThen {
        /// The type.
        kind: u8,
    },
    /// Failure.
    Failure,
}

/// The bytes are not a packet that a server may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// Shorter than its header, or a request without type.
    #[error("an EAP packet of {0} octets")]
    TooShort(usize),
    /// Longer than [`MAX_LENGTH`].
    #[error("an EAP packet of {0} octets, which is more than any method here needs")]
    TooLong(usize),
    /// The length field is not the payload's length.
    #[error("an EAP packet that says {said} octets in a payload of {present}")]
    Length {
        /// The field.
        said: usize,
        /// The payload.
        present: usize,
    },
    /// A response, or a code that nobody knows.
    #[error("EAP code {0} from the server")]
    Code(u8),
}

impl<'a> Packet<'a> {
    /// Reads the content of an EAP payload.
    ///
    /// # Errors
    /// See [`PacketError`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, PacketError> {
        if bytes.len() > MAX_LENGTH {
            return Err(PacketError::TooLong(bytes.len()));
        }
        let (&[code, identifier, high, low], rest) =
            bytes.split_first_chunk::<4>().ok_or(PacketError::TooShort(bytes.len()))?;
        let said = usize::from(u16::from_be_bytes([high, low]));
        if said != bytes.len() {
            return Err(PacketError::Length { said, present: bytes.len() });
        }
        match (code, rest) {
            (REQUEST, [kind, data @ ..]) => Ok(Self::Request { identifier, kind: *kind, data }),
            (REQUEST, []) => Err(PacketError::TooShort(bytes.len())),
            (SUCCESS, []) => Ok(Self::Success),
            (SUCCESS, [kind]) => Ok(Self::SuccessThen { kind: *kind }),
            (FAILURE, []) => Ok(Self::Failure),
            (SUCCESS | FAILURE, _) => Err(PacketError::Length { said, present: 4 }),
            (other, _) => Err(PacketError::Code(other)),
        }
    }
}

/// Writes a response; nothing when `data` does not fit into a packet.
pub(super) fn response(identifier: u8, kind: u8, data: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(data.len().checked_add(5)?).ok()?;
    Some([&[RESPONSE, identifier][..], &length.to_be_bytes(), &[kind], data].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_success_and_failure_are_read() {
        let request = Packet::Request { identifier: 7, kind: kind::IDENTITY, data: b"hi" };
        assert_eq!(Packet::decode(&[1, 7, 0, 7, 1, b'h', b'i']), Ok(request));
        assert_eq!(Packet::decode(&[3, 7, 0, 4]), Ok(Packet::Success));
        assert_eq!(Packet::decode(&[4, 7, 0, 4]), Ok(Packet::Failure));
        assert_eq!(Packet::decode(&[3, 7, 0, 5, 6]), Ok(Packet::SuccessThen { kind: 6 }));
    }

    #[test]
    fn lengths_and_codes_that_do_not_fit_are_refused() {
        for (bytes, error) in [
            (&[][..], PacketError::TooShort(0)),
            (&[1, 7, 0], PacketError::TooShort(3)),
            (&[1, 7, 0, 4], PacketError::TooShort(4)),
            (&[1, 7, 0, 6, 1], PacketError::Length { said: 6, present: 5 }),
            (&[1, 7, 0, 5, 1, 0], PacketError::Length { said: 5, present: 6 }),
            (&[3, 7, 0, 6, 6, 6], PacketError::Length { said: 6, present: 4 }),
            (&[4, 7, 0, 5, 6], PacketError::Length { said: 5, present: 4 }),
            (&[2, 7, 0, 5, 1], PacketError::Code(2)),
            (&[9, 7, 0, 4], PacketError::Code(9)),
            (&[0; MAX_LENGTH + 1], PacketError::TooLong(MAX_LENGTH + 1)),
        ] {
            assert_eq!(Packet::decode(bytes), Err(error));
        }
    }

    #[test]
    fn a_response_carries_the_requests_identifier() {
        assert_eq!(response(9, kind::IDENTITY, b"me"), Some(vec![2, 9, 0, 7, 1, b'm', b'e']));
        assert_eq!(response(9, kind::IDENTITY, &vec![0; 70_000]), None);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..40)) {
            if let Ok(Packet::Request { data, .. }) = Packet::decode(&bytes) {
                assert_eq!(data.len() + 5, bytes.len());
            }
        }
    }
}
