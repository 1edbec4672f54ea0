//! SK and SKF payloads: seal and open, whole or in fragments (RFC 7296 §3.14, RFC 7383 §2.5).

use super::reassembly::Fragment;
use crate::crypto::keys::{IkeKeys, Side};
use crate::crypto::protect::{ProtectError, SkCipher};
use crate::random::Random;
use crate::wire::{
    DecodeError, EncodeError, Encrypted, EncryptedFragment, HEADER_LENGTH, Header, Message, PAYLOAD_HEADER_LENGTH,
    Payload, PayloadType, encode_chain,
};
use zeroize::Zeroizing;

/// What a fragment's number and total take.
const FRAGMENT_NUMBERS: usize = 4;

/// The ciphers of both directions of an IKE SA.
#[derive(Debug)]
pub struct Protection {
    outbound: SkCipher,
    inbound: SkCipher,
}

/// Why a message was not sealed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// A payload has no encoding, or the message becomes too long.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The cipher or its randomness failed.
    #[error(transparent)]
    Protect(#[from] ProtectError),
    /// More fragments than the message format can count.
    #[error("the message needs too many fragments")]
    TooManyFragments,
}

/// Why a message was not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It is not an IKE message.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// It is not exactly one SK or SKF payload.
    #[error("the message is not protected")]
    NotProtected,
    /// Its integrity check failed, or what was inside is not whole.
    #[error(transparent)]
    Protect(#[from] ProtectError),
}

/// The authentic content of one datagram.
#[derive(Debug)]
pub enum Opened {
    /// A whole message.
    Whole {
        /// The type of the first payload inside.
        first_payload: PayloadType,
        /// The payload chain.
        content: Zeroizing<Vec<u8>>,
    },
    /// A part of one.
    Fragment(Fragment),
}

impl Protection {
    /// Makes the ciphers of the side that we are.
    ///
    /// # Errors
    /// [`ProtectError`] when the suite's transforms do not go together.
    pub fn new(keys: &IkeKeys, side: Side) -> Result<Self, ProtectError> {
        let peer = match side {
            Side::Initiator => Side::Responder,
            Side::Responder => Side::Initiator,
        };
        Ok(Self { outbound: keys.cipher(side)?, inbound: keys.cipher(peer)? })
    }

    /// Seals `payloads` into one message, or into several of at most `largest` octets each when the
    /// peer takes fragments and one would be longer.
    ///
    /// # Errors
    /// See [`SealError`].
    pub fn seal(
        &mut self,
        random: &mut dyn Random,
        header: Header,
        payloads: &[Payload],
        largest: Option<usize>,
    ) -> Result<Vec<Vec<u8>>, SealError> {
        let (first, content) = encode_chain(payloads)?;
        let content = Zeroizing::new(content);
        let whole = HEADER_LENGTH + PAYLOAD_HEADER_LENGTH + self.outbound.body_length(content.len());
        match largest {
            Some(largest) if whole > largest => self.seal_fragments(random, header, first, &content, largest),
            _ => Ok(vec![self.seal_one(random, header, &content, |body| {
                Payload::Encrypted(Encrypted { first_inner: first, body })
            })?]),
        }
    }

    fn seal_fragments(
        &mut self,
        random: &mut dyn Random,
        header: Header,
        first: PayloadType,
        content: &[u8],
        largest: usize,
    ) -> Result<Vec<Vec<u8>>, SealError> {
        let room = largest.saturating_sub(HEADER_LENGTH + PAYLOAD_HEADER_LENGTH + FRAGMENT_NUMBERS);
        let room = self.outbound.plaintext_room(room);
        if room == 0 {
            return Err(SealError::TooManyFragments);
        }
        let total = u16::try_from(content.len().div_ceil(room)).map_err(|_| SealError::TooManyFragments)?;
        let mut datagrams = Vec::with_capacity(usize::from(total));
        for (number, part) in (1..=total).zip(content.chunks(room)) {
            let first_inner = if number == 1 { first } else { PayloadType::NONE };
            datagrams.push(self.seal_one(random, header, part, |body| {
                Payload::EncryptedFragment(EncryptedFragment { first_inner, number, total, body })
            })?);
        }
        Ok(datagrams)
    }

    /// Seals `content` behind the octets that `payload` puts in front of its body.
    fn seal_one(
        &mut self,
        random: &mut dyn Random,
        header: Header,
        content: &[u8],
        payload: impl Fn(Vec<u8>) -> Payload,
    ) -> Result<Vec<u8>, SealError> {
        // The lengths are authenticated too: a body of the right length first, the real one after.
        let length = self.outbound.body_length(content.len());
        let mut message = Message::new(header, vec![payload(vec![0; length])]).encode()?;
        let start = message.len().saturating_sub(length);
        let (associated, body) = message.split_at_mut(start);
        let sealed = self.outbound.seal(random, associated, content)?;
        body.copy_from_slice(&sealed);
        Ok(message)
    }

    /// Verifies and opens one datagram whose header is `message`'s.
    ///
    /// # Errors
    /// See [`OpenError`]. Nothing was decrypted unless the integrity check had passed.
    pub fn open(&self, datagram: &[u8], message: &Message) -> Result<Opened, OpenError> {
        match message.payloads.as_slice() {
            [Payload::Encrypted(encrypted)] => {
                let content = self.inbound.open(before(datagram, &encrypted.body), &encrypted.body)?;
                Ok(Opened::Whole { first_payload: encrypted.first_inner, content })
            }
            [Payload::EncryptedFragment(fragment)] => {
                let content = self.inbound.open(before(datagram, &fragment.body), &fragment.body)?;
                Ok(Opened::Fragment(Fragment {
                    message_id: message.header.message_id,
                    number: fragment.number,
                    total: fragment.total,
                    first_payload: fragment.first_inner,
                    content,
                }))
            }
            _ => Err(OpenError::NotProtected),
        }
    }
}

/// Returns what stands in front of the body, which ends the datagram.
fn before<'a>(datagram: &'a [u8], body: &[u8]) -> &'a [u8] {
    datagram.get(..datagram.len().saturating_sub(body.len())).unwrap_or(&[])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::kex::SharedSecret;
    use crate::crypto::keys::{IkeSpis, Nonces};
    use crate::exchange::reassembly::{Placed, Reassembly};
    use crate::random::SeededRandom;
    use crate::time::Timestamp;
    use crate::wire::{ExchangeType, Flags, InitiatorSpi, ResponderSpi, decode_chain};

    fn pair(suite: &str) -> (Protection, Protection) {
        let keys = IkeKeys::derive(
            &suite.parse().unwrap(),
            &SharedSecret::new(vec![7; 32]),
            Nonces { initiator: &[1; 32], responder: &[2; 32] },
            IkeSpis { initiator: [3; 8], responder: [4; 8] },
        )
        .unwrap();
        (Protection::new(&keys, Side::Initiator).unwrap(), Protection::new(&keys, Side::Responder).unwrap())
    }

    fn header() -> Header {
        let flags = Flags::new(true, false);
        Header::new(InitiatorSpi(3), ResponderSpi(4), ExchangeType::IKE_AUTH, flags, 1)
    }

    const SUITES: [&str; 3] =
        ["aes256gcm16-prfsha384-ecp384", "aes256-sha256-modp2048", "chacha20poly1305-prfsha256-x25519"];

    #[test]
    fn what_one_side_seals_the_other_opens() {
        for suite in SUITES {
            let (mut ours, theirs) = pair(suite);
            let payloads = vec![Payload::Nonce(vec![9; 40]), Payload::VendorId(vec![8; 3])];
            let sealed = ours.seal(&mut SeededRandom::new(1), header(), &payloads, Some(1200)).unwrap();
            let [datagram] = sealed.as_slice() else { panic!("one datagram was enough") };
            let message = Message::decode(datagram).unwrap();
            let Opened::Whole { first_payload, content } = theirs.open(datagram, &message).unwrap() else {
                panic!("it was whole")
            };
            assert_eq!(decode_chain(first_payload, &content).unwrap(), payloads);
        }
    }

    #[test]
    fn every_changed_octet_is_noticed() {
        for suite in SUITES {
            let (mut ours, theirs) = pair(suite);
            let sealed =
                ours.seal(&mut SeededRandom::new(1), header(), &[Payload::VendorId(vec![8; 3])], None).unwrap();
            for at in 0..sealed[0].len() {
                let mut datagram = sealed[0].clone();
                datagram[at] ^= 1;
                if let Ok(message) = Message::decode(&datagram) {
                    assert!(theirs.open(&datagram, &message).is_err(), "octet {at} of {suite}");
                }
            }
        }
    }

    #[test]
    fn a_long_message_is_cut_into_fragments_that_fit_and_come_together_again() {
        for suite in SUITES {
            let (mut ours, theirs) = pair(suite);
            let payloads = vec![Payload::VendorId((0..=255).cycle().take(3000).collect())];
            let sealed = ours.seal(&mut SeededRandom::new(1), header(), &payloads, Some(600)).unwrap();
            assert!(sealed.len() > 5);
            assert!(sealed.iter().all(|datagram| datagram.len() <= 600));
            let mut reassembly = Reassembly::default();
            let mut whole = None;
            for datagram in sealed.iter().rev() {
                let message = Message::decode(datagram).unwrap();
                let Opened::Fragment(fragment) = theirs.open(datagram, &message).unwrap() else { panic!("fragment") };
                if let Placed::Complete(complete) = reassembly.place(fragment, Timestamp::ZERO) {
                    whole = Some(complete);
                }
            }
            let whole = whole.unwrap();
            assert_eq!(decode_chain(whole.first_payload, &whole.content).unwrap(), payloads);
        }
    }

    #[test]
    fn payloads_beside_the_protected_one_make_the_message_unprotected() {
        let (mut ours, theirs) = pair(SUITES[0]);
        let sealed = ours.seal(&mut SeededRandom::new(1), header(), &[Payload::VendorId(vec![8; 3])], None).unwrap();
        let mut message = Message::decode(&sealed[0]).unwrap();
        message.payloads.insert(0, Payload::VendorId(vec![1]));
        let datagram = message.encode().unwrap();
        assert_eq!(theirs.open(&datagram, &message).err(), Some(OpenError::NotProtected));
    }
}
