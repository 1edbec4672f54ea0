use super::samples;
use crate::wire::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn a_message_survives_the_wire_and_encodes_to_the_same_bytes(message in samples::message()) {
        let bytes = message.encode().unwrap();
        let decoded = Message::decode(&bytes).unwrap();
        prop_assert_eq!(&decoded.payloads, &message.payloads);
        prop_assert_eq!(decoded.header.length as usize, bytes.len());
        prop_assert_eq!(decoded.encode().unwrap(), bytes);
    }

    #[test]
    fn whatever_decodes_from_noise_means_the_same_after_encoding(bytes in proptest::collection::vec(any::<u8>(), 0..200), first in 33u8..54) {
        if let Ok(payloads) = decode_chain(PayloadType(first), &bytes) {
            let (first, encoded) = encode_chain(&payloads).unwrap();
            prop_assert_eq!(decode_chain(first, &encoded).unwrap(), payloads);
        }
    }

    #[test]
    fn an_identity_survives_as_text(identity in samples::identification()) {
        let text = identity.to_string();
        prop_assert_eq!(text.parse::<Identification>().unwrap(), identity, "{}", text);
    }

    #[test]
    fn a_selector_survives_json(selector in samples::selector()) {
        let json = serde_json::to_string(&selector).unwrap();
        prop_assert_eq!(serde_json::from_str::<TrafficSelector>(&json).unwrap(), selector);
    }
}
