//! What binds IKE_INTERMEDIATE exchanges into AUTH (RFC 9242 §3.3).
//!
//! ```text
//! IntAuth_i1 = prf(SK_pi1, A | P)      IntAuth_iN = prf(SK_piN, IntAuth_iN-1 | A | P)     and so for r
//! IntAuth    = IntAuth_iN | IntAuth_rN | message id of the first IKE_AUTH
//! ```
//! A is the header and the generic header of SK, P the payloads inside; the lengths count neither
//! vector nor padding nor ICV, and fragments count as the message they make. SK_piN and SK_prN are
//! the keys that the N-th exchange was protected with.

use crate::crypto::Secret;
use crate::crypto::keys::IkeKeys;
use crate::wire::{HEADER_LENGTH, Header, PAYLOAD_HEADER_LENGTH, PayloadType};

/// The IKE_INTERMEDIATE messages of one IKE SA so far, boiled down.
#[derive(Debug, Default)]
pub struct IntermediateTranscript {
    initiator: Option<Secret>,
    responder: Option<Secret>,
    last: u32,
}

impl IntermediateTranscript {
    /// Takes a whole message in, by the keys that protected it. `first_payload` and `content` are
    /// what stands inside SK.
    pub fn note(&mut self, keys: &IkeKeys, header: &Header, first_payload: PayloadType, content: &[u8]) {
        let inside = PAYLOAD_HEADER_LENGTH.saturating_add(content.len());
        let length = u32::try_from(HEADER_LENGTH.saturating_add(inside)).unwrap_or(u32::MAX);
        let header = Header { next_payload: PayloadType::ENCRYPTED, length, ..*header };
        let mut associated = Vec::with_capacity(HEADER_LENGTH + PAYLOAD_HEADER_LENGTH);
        header.write(&mut associated);
        associated.extend_from_slice(&[first_payload.0, 0]);
        associated.extend_from_slice(&u16::try_from(inside).unwrap_or(u16::MAX).to_be_bytes());
        let (chain, key) = match header.flags.is_initiator() {
            true => (&mut self.initiator, &keys.sk_pi),
            false => (&mut self.responder, &keys.sk_pr),
        };
        let before = chain.as_ref().map_or(&[][..], Secret::expose);
        let value = keys.prf.compute(key.expose(), &[before, &associated, content]);
        *chain = Some(value);
        self.last = header.message_id;
    }

    /// Returns IntAuth, which AUTH covers behind everything else; nothing where there was no such
    /// exchange.
    pub fn octets(&self) -> Vec<u8> {
        match (&self.initiator, &self.responder) {
            (Some(initiator), Some(responder)) => {
                let first_auth = self.last.saturating_add(1).to_be_bytes();
                [initiator.expose(), responder.expose(), &first_auth].concat()
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::keys::{IkeSpis, Nonces};
    use crate::wire::{ExchangeType, Flags, InitiatorSpi, ResponderSpi};

    #[test]
    fn the_octets_are_those_of_another_implementation() {
        // Python's hmac over the formulas of RFC 9242 §3.3.2, with the keys of `crypto::keys`' tests.
        let (ni, nr): (Vec<u8>, Vec<u8>) = ((0..32).collect(), (100..132).collect());
        let spis = IkeSpis { initiator: [1, 2, 3, 4, 5, 6, 7, 8], responder: [11, 12, 13, 14, 15, 16, 17, 18] };
        let suite = "aes256gcm16-prfsha256-x25519".parse().unwrap();
        let shared = Secret::new((0..32_u8).map(|i| i.wrapping_mul(7)).collect());
        let keys = IkeKeys::derive(&suite, &shared, Nonces { initiator: &ni, responder: &nr }, spis).unwrap();
        let header = |response: bool, message_id| {
            let spis = (InitiatorSpi(u64::from_be_bytes(spis.initiator)), u64::from_be_bytes(spis.responder));
            let flags = Flags::new(!response, response);
            Header::new(spis.0, ResponderSpi(spis.1), ExchangeType::IKE_INTERMEDIATE, flags, message_id)
        };
        let key_exchange = PayloadType::KEY_EXCHANGE;
        let mut transcript = IntermediateTranscript::default();
        assert!(transcript.octets().is_empty());
        transcript.note(&keys, &header(false, 1), key_exchange, b"first request");
        transcript.note(&keys, &header(true, 1), key_exchange, b"first response");
        assert_eq!(
            hex::encode(transcript.octets()),
            concat!(
                "63b3d29c2e297a321fcbd4e7c0c731f99f966ae5082e538d0794a25c87da50a0",
                "dab468ebe5d3c86fb8084e98f7f6eece50ac4974cfe4ceaf81529aea3138cec600000002",
            )
        );
        transcript.note(&keys, &header(false, 2), key_exchange, b"");
        transcript.note(&keys, &header(true, 2), PayloadType::NONE, b"second response");
        assert_eq!(
            hex::encode(transcript.octets()),
            concat!(
                "f0a418c973fdc546ca8aaf21eab7c1386d075482a9584d36555c60c808d2632b",
                "2a7de843bf3f7d325e4c54e023e4bc2e14ff201d072aee99cd2f4f0695af5f2100000003",
            )
        );
    }
}
