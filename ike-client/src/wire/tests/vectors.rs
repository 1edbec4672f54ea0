//! Messages written down byte by byte.

use crate::wire::*;

fn chain(first: PayloadType, hexadecimal: &str) -> Result<Vec<Payload>, DecodeError> {
    decode_chain(first, &hex::decode(hexadecimal.replace(char::is_whitespace, "")).unwrap())
}

/// Decodes one payload without a next one, and checks that it encodes back.
fn one(payload_type: PayloadType, hexadecimal: &str) -> Payload {
    let bytes = hex::decode(hexadecimal.replace(char::is_whitespace, "")).unwrap();
    let mut payloads = decode_chain(payload_type, &bytes).unwrap();
    assert_eq!(encode_chain(&payloads).unwrap(), (payload_type, bytes));
    assert_eq!(payloads.len(), 1);
    payloads.pop().unwrap()
}

fn error(payload_type: PayloadType, hexadecimal: &str) -> DecodeError {
    chain(payload_type, hexadecimal).unwrap_err()
}

/// HDR(0x1122334455667788/0, IKE_SA_INIT, I, MID 0), SA, KE, Ni, N(NATD_S)
const INIT: &str = "
    1122334455667788 0000000000000000 21 20 22 08 00000000 000000b8
    22 00 0030  00 00 002c 01 01 00 04
        03 00 000c 01 00 0014 800e0100
        03 00 0008 02 00 0006
        03 00 0008 04 00 0013
        00 00 0008 04 00 001f
    28 00 0028  001f 0000 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f
    29 00 0024  202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f
    2b 00 001c  00 00 4004 00112233445566778899aabbccddeeff00112233
    00 00 0004";

#[test]
fn an_ike_sa_init_request_reads_as_what_it_says() {
    let bytes = hex::decode(INIT.replace(char::is_whitespace, "")).unwrap();
    let message = Message::decode(&bytes).unwrap();
    assert_eq!(message.header.initiator_spi, InitiatorSpi(0x1122_3344_5566_7788));
    assert_eq!(message.header.responder_spi, ResponderSpi::ZERO);
    assert_eq!(message.header.exchange, ExchangeType::IKE_SA_INIT);
    assert!(message.header.flags.is_initiator() && !message.header.flags.is_response());
    let proposal = Proposal {
        number: 1,
        protocol: ProtocolId::IKE,
        spi: vec![],
        transforms: vec![
            Transform::encryption(Encryption::AES_GCM_16, Some(256)),
            Transform::prf(PseudoRandomFunction::HMAC_SHA2_384),
            Transform::key_exchange(KeyExchangeGroup::ECP_256),
            Transform::key_exchange(KeyExchangeGroup::CURVE25519),
        ],
    };
    assert_eq!(message.payloads[0], Payload::SecurityAssociation(vec![proposal]));
    let Payload::KeyExchange(key_exchange) = &message.payloads[1] else { panic!() };
    assert_eq!((key_exchange.group, key_exchange.data.len()), (KeyExchangeGroup::CURVE25519, 32));
    assert!(matches!(&message.payloads[2], Payload::Nonce(nonce) if nonce.len() == 32));
    assert_eq!(message.notifies().next().unwrap().notify_type, NotifyType::NAT_DETECTION_SOURCE_IP);
    assert_eq!(message.payloads[4], Payload::VendorId(vec![]));
    assert_eq!(message.encode().unwrap(), bytes);
}

#[test]
fn an_answer_of_another_major_version_is_refused_by_its_version() {
    let mut bytes = hex::decode(INIT.replace(char::is_whitespace, "")).unwrap();
    bytes[17] = 0x10;
    assert_eq!(Message::decode(&bytes).unwrap_err().kind, DecodeErrorKind::UnsupportedVersion(1));
    bytes[17] = 0x21;
    assert_eq!(Message::decode(&bytes).unwrap().encode().unwrap(), bytes, "a higher minor version is fine");
}

#[test]
fn a_length_that_is_not_the_datagrams_is_refused() {
    let mut bytes = hex::decode(INIT.replace(char::is_whitespace, "")).unwrap();
    bytes.push(0);
    let error = Message::decode(&bytes).unwrap_err();
    assert_eq!(error.payload, None);
    assert_eq!(
        error.to_string(),
        "IKE header at offset 28: length field says 184, but the datagram has another length"
    );
}

#[test]
fn identities_of_every_kind_read_as_text() {
    for (body, text) in [
        ("01 000000 0a000001", "ipv4:10.0.0.1"),
        ("02 000000 76706e2e6578616d706c652e74657374", "fqdn:vpn.example.test"),
        ("03 000000 614062", "rfc822:a@b"),
        ("05 000000 fd000000000000000000000000000001", "ipv6:fd00::1"),
        ("09 000000 3000", "dn:0x3000"),
        ("0b 000000 6e6f6465", "key-id:node"),
        ("0b 000000 00ff", "key-id:0x00ff"),
        ("02 000000 1b5b", "fqdn:0x1b5b"),
        ("01 000000 0a0000", "ipv4:0x0a0000"),
        ("c8 000000 ", "type-200:0x"),
    ] {
        let length = hex::decode(body.replace(' ', "")).unwrap().len() + 4;
        let payload = one(PayloadType::IDENTIFICATION_INITIATOR, &format!("00 00 {length:04x} {body}"));
        let Payload::IdentificationInitiator(identity) = payload else { panic!() };
        assert_eq!(identity.to_string(), text);
        assert_eq!(text.parse::<Identification>().unwrap(), identity);
        assert_eq!(serde_json::to_string(&identity).unwrap(), format!("\"{text}\""));
    }
}

#[test]
fn the_body_that_auth_covers_keeps_the_reserved_bytes_but_comparison_does_not() {
    let payload = one(PayloadType::IDENTIFICATION_RESPONDER, "00 00 0009 02 abcdef 61");
    let Payload::IdentificationResponder(identity) = payload else { panic!() };
    assert_eq!(identity.body(), [2, 0xab, 0xcd, 0xef, 0x61]);
    assert_eq!(identity, Identification::fqdn("a"));
}

#[test]
fn text_that_names_no_identity_is_refused() {
    for text in ["vpn.example.test", "ipv4:host", "dn:CN=x", "type-300:0x", "key-id:0xf", "ipv6:10.0.0.1"] {
        assert!(text.parse::<Identification>().is_err(), "{text}");
    }
}

#[test]
fn deletions_name_the_ike_sa_or_child_sas() {
    assert_eq!(one(PayloadType::DELETE, "00 00 0008 01 00 0000"), Payload::Delete(Delete::IkeSa));
    let children = Delete::ChildSas { protocol: ProtocolId::ESP, spis: vec![ChildSpi(0x01020304), ChildSpi(5)] };
    assert_eq!(one(PayloadType::DELETE, "00 00 0010 03 04 0002 01020304 00000005"), Payload::Delete(children));
    for wrong in ["00 00 000c 01 04 0001 01020304", "00 00 0008 03 00 0000", "00 00 0008 07 04 0000"] {
        assert!(matches!(error(PayloadType::DELETE, wrong).kind, DecodeErrorKind::BadValue { .. }), "{wrong}");
    }
    assert_eq!(
        error(PayloadType::DELETE, "00 00 000c 03 04 0002 01020304").to_string(),
        "payload D at offset 12: truncated: 4 bytes needed, 0 there"
    );
}

#[test]
fn a_notify_carries_its_spi_and_data() {
    let notify =
        Notify { protocol: ProtocolId::ESP, spi: vec![1, 2, 3, 4], notify_type: NotifyType::REKEY_SA, data: vec![9] };
    assert_eq!(one(PayloadType::NOTIFY, "00 00 000d 03 04 4009 01020304 09"), Payload::Notify(notify));
    assert!(NotifyType::AUTHENTICATION_FAILED.is_error() && !NotifyType::COOKIE.is_error());
    assert!(NotifyType::LAB_TAG_CHECK_FAILED.is_error(), "a refusal is an error");
    const { assert!(NotifyType::LAB_TAG_CHECK_FAILED.0 >= 8192, "and a private one") };
}

#[test]
fn selectors_of_both_families_read_as_ranges_and_unknown_ones_are_left_out() {
    let payload = one(
        PayloadType::TRAFFIC_SELECTORS_RESPONDER,
        "00 00 0040 02 000000
         07 00 0010 0000 ffff 0a620000 0a6200ff
         08 06 0028 01bb 01bb fd000000000000000000000000000000 fd00000000000000ffffffffffffffff",
    );
    let Payload::TrafficSelectorsResponder(selectors) = payload else { panic!() };
    let network = TrafficSelector::addresses("10.98.0.0".parse().unwrap(), "10.98.0.255".parse().unwrap());
    assert_eq!(selectors[0], network);
    assert!(network.contains_address("10.98.0.7".parse().unwrap()));
    assert!(!network.contains_address("fd00::1".parse().unwrap()));
    assert_eq!((selectors[1].protocol, selectors[1].ports.clone()), (6, 443..=443));
    let labelled = "00 00 001e 02 000000 0a 00 0006 abcd 07 00 0010 0000 ffff 0a620000 0a6200ff";
    let Payload::TrafficSelectorsInitiator(selectors) =
        chain(PayloadType::TRAFFIC_SELECTORS_INITIATOR, labelled).unwrap().pop().unwrap()
    else {
        panic!()
    };
    assert_eq!(selectors, [network]);
}

#[test]
fn a_configuration_reply_gives_address_dns_networks_and_domain() {
    let payload = one(
        PayloadType::CONFIGURATION,
        "00 00 0042 02 000000
         0001 0004 0a610001  0003 0004 0a620001  000d 0008 0a620000 ffffff00
         0008 0011 fd000000000000000000000000000001 40  0019 0005 636f7270 2e",
    );
    let Payload::Configuration(configuration) = payload else { panic!() };
    assert_eq!(configuration.kind, ConfigurationType::REPLY);
    let first = |kind| configuration.of_type(kind).next().unwrap();
    assert_eq!(first(ConfigurationAttributeType::INTERNAL_IP4_ADDRESS).ipv4(), Some([10, 97, 0, 1].into()));
    let subnet = first(ConfigurationAttributeType::INTERNAL_IP4_SUBNET);
    assert_eq!(subnet.ipv4_subnet(), Some(([10, 98, 0, 0].into(), [255, 255, 255, 0].into())));
    assert_eq!(subnet.ipv4(), None, "eight bytes are no single address");
    let v6 = first(ConfigurationAttributeType::INTERNAL_IP6_ADDRESS);
    assert_eq!(v6.ipv6_prefix(), Some(("fd00::1".parse().unwrap(), 64)));
    assert_eq!(first(ConfigurationAttributeType::INTERNAL_DNS_DOMAIN).text(), Some("corp."));
}

#[test]
fn sealed_payloads_end_a_message_and_name_their_first_inner_type() {
    let payload = one(PayloadType::ENCRYPTED, "23 00 0008 deadbeef");
    let expected = Encrypted { first_inner: PayloadType::IDENTIFICATION_INITIATOR, body: vec![0xde, 0xad, 0xbe, 0xef] };
    assert_eq!(payload, Payload::Encrypted(expected));
    let payload = one(PayloadType::ENCRYPTED_FRAGMENT, "00 00 000a 0002 0003 beef");
    let expected = EncryptedFragment { first_inner: PayloadType::NONE, number: 2, total: 3, body: vec![0xbe, 0xef] };
    assert_eq!(payload, Payload::EncryptedFragment(expected.clone()));
    for impossible in ["00 00 0008 0000 0003", "00 00 0008 0004 0003", "00 00 0008 0000 0000"] {
        assert!(chain(PayloadType::ENCRYPTED_FRAGMENT, impossible).is_err(), "{impossible}");
    }
    let after = [Payload::EncryptedFragment(expected), Payload::VendorId(vec![])];
    assert_eq!(encode_chain(&after), Err(EncodeError::EncryptedNotLast));
    assert_eq!(
        error(PayloadType::ENCRYPTED, "2b 00 0004 00 00 0004").kind,
        DecodeErrorKind::TrailingBytes(4),
        "nothing follows a sealed payload"
    );
}

#[test]
fn an_unknown_payload_is_kept_unless_it_is_critical() {
    let kept = Payload::Unknown { payload_type: PayloadType(200), critical: false, body: vec![7] };
    assert_eq!(one(PayloadType(200), "00 00 0005 07"), kept);
    let refused = error(PayloadType::VENDOR_ID, "c8 00 0004 00 80 0005 07");
    assert_eq!(refused.unsupported_critical_payload(), Some(PayloadType(200)));
    assert_eq!(refused.offset, 4);
    let known = chain(PayloadType::VENDOR_ID, "00 80 0005 07").unwrap();
    assert_eq!(known, [Payload::VendorId(vec![7])], "the flag means nothing on a payload that we know");
}

#[test]
fn lengths_that_lie_are_named_with_payload_and_offset() {
    for (payload_type, bytes, said) in [
        (
            PayloadType::NONCE,
            "00 00 0003",
            "payload Nonce at offset 0: length field says 3, but the payload header is longer",
        ),
        (PayloadType::NONCE, "00 00 0010 00", "payload Nonce at offset 4: truncated: 12 bytes needed, 1 there"),
        (
            PayloadType::NONCE,
            "00 00 0005 00",
            "payload Nonce at offset 4: length field says 1, but a nonce has 16 to 256 bytes",
        ),
        (PayloadType::KEY_EXCHANGE, "00 00 0006 001f", "payload KE at offset 6: truncated: 2 bytes needed, 0 there"),
        (
            PayloadType::SECURITY_ASSOCIATION,
            "00 00 000c 02 00 0008 01 01 00 00",
            "payload SA at offset 12: truncated: 1 bytes needed, 0 there",
        ),
        (
            PayloadType::SECURITY_ASSOCIATION,
            "00 00 000c 05 00 0008 01 01 00 00",
            "payload SA at offset 4: last substructure of a proposal has the forbidden value 5",
        ),
        (
            PayloadType::SECURITY_ASSOCIATION,
            "00 00 000c 00 00 0007 01 01 00 00",
            "payload SA at offset 6: length field says 7, but a proposal's header is longer",
        ),
        (
            PayloadType::SECURITY_ASSOCIATION,
            "00 00 0014 00 00 0010 01 01 00 02 00 00 0008 01 00 0014",
            "payload SA at offset 13: number of transforms has the forbidden value 2",
        ),
        (PayloadType::VENDOR_ID, "00 00 0004 00", "payload V at offset 4: 1 bytes left over"),
    ] {
        assert_eq!(error(payload_type, bytes).to_string(), said);
    }
}

#[test]
fn a_message_cannot_bring_more_payloads_proposals_or_attributes_than_the_limits() {
    let many: Vec<_> = (0..=payload::MAX_PAYLOADS).map(|_| Payload::VendorId(vec![])).collect();
    let (first, bytes) = encode_chain(&many).unwrap();
    assert!(matches!(decode_chain(first, &bytes).unwrap_err().kind, DecodeErrorKind::TooMany { what: "payloads", .. }));
    let proposal = Proposal { number: 1, protocol: ProtocolId::IKE, spi: vec![], transforms: vec![] };
    let (first, bytes) =
        encode_chain(&[Payload::SecurityAssociation(vec![proposal; proposal::MAX_PROPOSALS + 1])]).unwrap();
    assert!(matches!(
        decode_chain(first, &bytes).unwrap_err().kind,
        DecodeErrorKind::TooMany { what: "proposals", .. }
    ));
}

#[test]
fn what_has_no_encoding_is_an_error_and_never_a_wrong_length() {
    let long = Payload::VendorId(vec![0; 65_532]);
    assert!(matches!(encode_chain(&[long]), Err(EncodeError::TooLong { what: "payload", .. })));
    let mixed = TrafficSelector::addresses("10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap());
    let mixed = Payload::TrafficSelectorsInitiator(vec![mixed]);
    assert_eq!(encode_chain(&[mixed]), Err(EncodeError::MixedAddressFamilies));
    assert!(encode_chain(&[Payload::Nonce(vec![0; 15])]).is_err());
    assert!(encode_chain(&[Payload::SecurityAssociation(vec![])]).is_err());
    let halves = vec![Payload::VendorId(vec![0; 40_000]); 2];
    let header = Header::new(InitiatorSpi(1), ResponderSpi(2), ExchangeType::INFORMATIONAL, Flags::default(), 0);
    assert!(matches!(Message::new(header, halves).encode(), Err(EncodeError::TooLong { what: "message", .. })));
}

#[test]
fn numbers_print_by_name_when_they_have_one() {
    assert_eq!(format!("{} {}", NotifyType::COOKIE, NotifyType(40_000)), "COOKIE 40000");
    assert_eq!(format!("{:?} {:?}", ExchangeType::IKE_AUTH, ExchangeType(99)), "IKE_AUTH(35) ExchangeType(99)");
    assert_eq!(Transform::encryption(Encryption::AES_CBC, Some(128)).key_length(), Some(128));
    assert_eq!(Transform::integrity(Integrity::HMAC_SHA2_256_128).key_length(), None);
}
