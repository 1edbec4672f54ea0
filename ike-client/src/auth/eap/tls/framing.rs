//! How TLS travels in EAP: flags, lengths, fragments (RFC 5216 §3.1, §3.2; the same for TTLS, RFC 5281 §9.1).

/// Octets of TLS in one packet of ours: what fits a RADIUS attribute chain and an Ethernet frame on the way.
const FRAGMENT: usize = 1000;
/// The largest message that is put together, and the most fragments that it may come in.
const MAX_MESSAGE: usize = 64 * 1024;
const MAX_FRAGMENTS: usize = 100;

const LENGTH_INCLUDED: u8 = 0x80;
const MORE_FRAGMENTS: u8 = 0x40;
const START: u8 = 0x20;
/// TTLS: the version; in EAP-TLS these bits are reserved and ignored.
const VERSION: u8 = 0x07;

/// An answer without TLS in it: "got it, go on".
pub(in crate::auth::eap) const ACKNOWLEDGEMENT: [u8; 1] = [0];

/// What is wrong with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// Without flags, or cut within the length.
    #[error("a TLS packet of {0} octets")]
    TooShort(usize),
    /// A message that is longer than it says or than anyone needs, or in more pieces.
    #[error("a TLS message that is larger than it says, or than any login needs")]
    TooLarge,
    /// A message that is shorter than it says.
    #[error("a TLS message of {present} octets that says {said}")]
    Length {
        /// What the first fragment says.
        said: usize,
        /// What came.
        present: usize,
    },
    /// A fragment without content that is not the last one.
    #[error("an empty TLS fragment that is not the last one")]
    Empty,
    /// A TTLS version that is not 0.
    #[error("TTLS version {0}")]
    Version(u8),
}

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::auth::eap) enum Received {
    /// The server's start.
    Start,
    /// A whole message; empty when the server acknowledges a fragment of ours.
    Message(Vec<u8>),
    /// A part of one: to be acknowledged.
    Part,
}

/// Both directions of one conversation.
#[derive(Default)]
pub(in crate::auth::eap) struct Framing {
    versioned: bool,
    inbound: Vec<u8>,
    fragments: usize,
    said: Option<usize>,
    outbound: Vec<u8>,
    sent: usize,
}

impl Framing {
    /// `versioned` where the low bits of the flags are a version (TTLS), which must be 0.
    pub(in crate::auth::eap) fn new(versioned: bool) -> Self {
        Self { versioned, ..Self::default() }
    }

    /// Takes the data of a request.
    pub(in crate::auth::eap) fn receive(&mut self, data: &[u8]) -> Result<Received, FramingError> {
        let (flags, mut rest) = data.split_first().ok_or(FramingError::TooShort(0))?;
        if self.versioned && flags & VERSION != 0 {
            return Err(FramingError::Version(flags & VERSION));
        }
        if flags & LENGTH_INCLUDED != 0 {
            let (length, after) = rest.split_first_chunk::<4>().ok_or(FramingError::TooShort(data.len()))?;
            let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| FramingError::TooLarge)?;
            // The length is the whole message's; a fragment that repeats it may not change it.
            if length > MAX_MESSAGE || self.said.is_some_and(|said| said != length) {
                return Err(FramingError::TooLarge);
            }
            self.said = Some(length);
            rest = after;
        }
        let more = flags & MORE_FRAGMENTS != 0;
        if flags & START != 0 && rest.is_empty() && !more && self.inbound.is_empty() {
            self.said = None;
            return Ok(Received::Start);
        }
        self.fragments += 1;
        self.inbound.extend_from_slice(rest);
        let limit = self.said.unwrap_or(MAX_MESSAGE);
        if self.inbound.len() > limit || self.fragments > MAX_FRAGMENTS {
            return Err(FramingError::TooLarge);
        }
        if more {
            return if rest.is_empty() { Err(FramingError::Empty) } else { Ok(Received::Part) };
        }
        self.fragments = 0;
        let message = std::mem::take(&mut self.inbound);
        match self.said.take() {
            Some(said) if said != message.len() => Err(FramingError::Length { said, present: message.len() }),
            _ => Ok(Received::Message(message)),
        }
    }

    /// Takes a message to send and returns the data of the first packet.
    pub(in crate::auth::eap) fn send(&mut self, message: Vec<u8>) -> Vec<u8> {
        self.outbound = message;
        self.sent = 0;
        self.next()
    }

    /// Tells whether fragments of the last message wait to be sent.
    pub(in crate::auth::eap) fn has_more(&self) -> bool {
        self.sent < self.outbound.len()
    }

    /// Returns the data of the next packet.
    pub(in crate::auth::eap) fn next(&mut self) -> Vec<u8> {
        let rest = self.outbound.get(self.sent..).unwrap_or_default();
        let part = rest.get(..FRAGMENT).unwrap_or(rest);
        let first_of_many = self.sent == 0 && rest.len() > part.len();
        let mut flags = if rest.len() > part.len() { MORE_FRAGMENTS } else { 0 };
        let mut data = Vec::new();
        if first_of_many && let Ok(length) = u32::try_from(rest.len()) {
            flags |= LENGTH_INCLUDED;
            data.extend_from_slice(&length.to_be_bytes());
        }
        data.extend_from_slice(part);
        self.sent += part.len();
        data.insert(0, flags);
        data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_travels_in_fragments_and_comes_out_whole() {
        for length in [0, 1, FRAGMENT, FRAGMENT + 1, 5 * FRAGMENT, 5 * FRAGMENT + 7] {
            let message: Vec<u8> = (0..=u8::MAX).cycle().take(length).collect();
            let (mut us, mut them) = (Framing::new(false), Framing::new(true));
            let mut data = us.send(message.clone());
            let whole = loop {
                assert!(data.len() <= FRAGMENT + 5);
                match them.receive(&data).unwrap() {
                    Received::Part => data = us.next(),
                    Received::Message(whole) => break whole,
                    Received::Start => panic!("no start"),
                }
            };
            assert_eq!(whole, message);
            assert!(!us.has_more());
        }
    }

    #[test]
    fn oversized_messages_and_floods_of_fragments_are_refused_before_they_are_kept() {
        let huge = [&[0xc0][..], &u32::try_from(MAX_MESSAGE + 1).unwrap().to_be_bytes(), b"x"].concat();
        assert_eq!(Framing::new(false).receive(&huge), Err(FramingError::TooLarge));
        // More than was said.
        let mut framing = Framing::new(false);
        assert_eq!(framing.receive(&[0xc0, 0, 0, 0, 3, 1, 2]), Ok(Received::Part));
        assert_eq!(framing.receive(&[0, 3, 4]), Err(FramingError::TooLarge));
        // Less than was said, and a length that changes.
        assert_eq!(
            Framing::new(false).receive(&[0x80, 0, 0, 0, 9, 1]),
            Err(FramingError::Length { said: 9, present: 1 })
        );
        let mut framing = Framing::new(false);
        framing.receive(&[0xc0, 0, 0, 0, 9, 1]).unwrap();
        assert_eq!(framing.receive(&[0xc0, 0, 0, 0, 8, 1]), Err(FramingError::TooLarge));
        // Fragments of one octet, for ever.
        let mut framing = Framing::new(false);
        let refused = (0..=MAX_FRAGMENTS).find_map(|_| framing.receive(&[0x40, 1]).err());
        assert_eq!(refused, Some(FramingError::TooLarge));
        // Fragments without a length that add up.
        let mut framing = Framing::new(false);
        let part = [&[0x40][..], &[7; 4000]].concat();
        let refused = (0..MAX_FRAGMENTS).find_map(|_| framing.receive(&part).err());
        assert_eq!(refused, Some(FramingError::TooLarge));
        assert!(framing.inbound.len() <= MAX_MESSAGE + part.len());
    }

    #[test]
    fn what_is_malformed_is_refused() {
        assert_eq!(Framing::new(false).receive(&[]), Err(FramingError::TooShort(0)));
        assert_eq!(Framing::new(false).receive(&[0x80, 0, 0]), Err(FramingError::TooShort(3)));
        assert_eq!(Framing::new(false).receive(&[0x40]), Err(FramingError::Empty));
        assert_eq!(Framing::new(true).receive(&[0x21]), Err(FramingError::Version(1)));
        assert_eq!(Framing::new(false).receive(&[0x21]), Ok(Received::Start));
        assert_eq!(Framing::new(false).receive(&[0xa0, 0, 0, 0, 0]), Ok(Received::Start));
    }

    proptest::proptest! {
        #[test]
        fn no_packets_make_the_reader_panic(
            packets in proptest::collection::vec(proptest::collection::vec(proptest::num::u8::ANY, 0..20), 0..20),
        ) {
            let mut framing = Framing::new(true);
            for packet in packets {
                let _ = framing.receive(&packet);
            }
        }
    }
}
