//! Bytes that were changed, cut or lengthened never make the codec panic, and never make it
//! accept what it cannot write back.

use super::samples;
use crate::wire::*;
use proptest::prelude::*;

fn swallow(bytes: &[u8]) {
    if let Ok(message) = Message::decode(bytes) {
        let encoded = message.encode().unwrap();
        assert_eq!(Message::decode(&encoded).unwrap().payloads, message.payloads);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_byte_may_take_any_of_some_wrong_values(message in samples::message()) {
        let bytes = message.encode().unwrap();
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff, bytes[at].wrapping_add(1), bytes[at].wrapping_sub(1)] {
                let mut changed = bytes.clone();
                changed[at] = value;
                swallow(&changed);
            }
        }
    }

    #[test]
    fn every_cut_is_an_error_even_when_the_header_owns_up_to_it(message in samples::message()) {
        let bytes = message.encode().unwrap();
        for end in 0..bytes.len() {
            let mut cut = bytes[..end].to_vec();
            prop_assert!(Message::decode(&cut).is_err());
            if let Some(length) = cut.get_mut(24..28) {
                length.copy_from_slice(&u32::try_from(end).unwrap().to_be_bytes());
            }
            swallow(&cut);
        }
    }

    #[test]
    fn noise_behind_a_header_is_survived(noise in proptest::collection::vec(any::<u8>(), 0..400), next in any::<u8>()) {
        let header = Header::new(InitiatorSpi(1), ResponderSpi(2), ExchangeType::IKE_AUTH, Flags::default(), 1);
        let mut bytes = Message::new(header, vec![]).encode().unwrap();
        bytes.extend_from_slice(&noise);
        bytes[16] = next;
        let length = u32::try_from(bytes.len()).unwrap();
        bytes[24..28].copy_from_slice(&length.to_be_bytes());
        swallow(&bytes);
    }
}

#[test]
fn more_than_a_datagram_is_refused_before_it_is_read() {
    let error = Message::decode(&vec![0; MAX_MESSAGE_LENGTH + 1]).unwrap_err();
    assert_eq!(error.kind, DecodeErrorKind::TooMany { what: "bytes", limit: MAX_MESSAGE_LENGTH });
}
