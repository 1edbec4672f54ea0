//! Strategies that make any value the codec can carry.

use crate::wire::*;
use proptest::collection::vec;
use proptest::prelude::*;
use std::net::IpAddr;

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..=most)
}

fn attribute() -> impl Strategy<Value = Attribute> {
    let kind = 0u16..0x8000;
    prop_oneof![
        (kind.clone(), any::<u16>()).prop_map(|(kind, value)| Attribute::Short { kind, value }),
        (kind, bytes(6)).prop_map(|(kind, value)| Attribute::Long { kind, value }),
    ]
}

pub(super) fn proposal() -> impl Strategy<Value = Proposal> {
    let transform = (any::<u8>(), any::<u16>(), vec(attribute(), 0..3)).prop_map(|(kind, id, attributes)| Transform {
        transform_type: TransformType(kind),
        id,
        attributes,
    });
    (any::<u8>(), any::<u8>(), bytes(8), vec(transform, 0..6)).prop_map(|(number, protocol, spi, transforms)| {
        Proposal { number, protocol: ProtocolId(protocol), spi, transforms }
    })
}

pub(super) fn identification() -> impl Strategy<Value = Identification> {
    (any::<u8>(), bytes(24)).prop_map(|(kind, data)| Identification::new(IdentificationType(kind), data))
}

pub(super) fn selector() -> impl Strategy<Value = TrafficSelector> {
    let v4 = any::<([u8; 4], [u8; 4])>().prop_map(|(first, last)| (IpAddr::from(first), IpAddr::from(last)));
    let v6 = any::<([u8; 16], [u8; 16])>().prop_map(|(first, last)| (IpAddr::from(first), IpAddr::from(last)));
    (any::<u8>(), any::<u16>(), any::<u16>(), prop_oneof![v4, v6]).prop_map(|(protocol, low, high, (first, last))| {
        TrafficSelector { protocol, ports: low..=high, addresses: first..=last }
    })
}

fn delete() -> impl Strategy<Value = Delete> {
    let children = (prop_oneof![Just(ProtocolId::ESP), Just(ProtocolId::AH)], vec(any::<u32>(), 0..5))
        .prop_map(|(protocol, spis)| Delete::ChildSas { protocol, spis: spis.into_iter().map(ChildSpi).collect() });
    prop_oneof![Just(Delete::IkeSa), children]
}

fn configuration() -> impl Strategy<Value = Configuration> {
    let attribute = (0u16..0x8000, bytes(20))
        .prop_map(|(kind, value)| ConfigurationAttribute::new(ConfigurationAttributeType(kind), value));
    (any::<u8>(), vec(attribute, 0..6))
        .prop_map(|(kind, attributes)| Configuration { kind: ConfigurationType(kind), attributes })
}

fn notify() -> impl Strategy<Value = Notify> {
    (any::<u8>(), bytes(8), any::<u16>(), bytes(30)).prop_map(|(protocol, spi, kind, data)| Notify {
        protocol: ProtocolId(protocol),
        spi,
        notify_type: NotifyType(kind),
        data,
    })
}

/// Payloads that the second parser reads as RFC 7296 says.
pub(super) fn plain_payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        vec(proposal(), 1..4).prop_map(Payload::SecurityAssociation),
        (any::<u16>(), bytes(40))
            .prop_map(|(group, data)| Payload::KeyExchange(KeyExchange { group: KeyExchangeGroup(group), data })),
        identification().prop_map(Payload::IdentificationInitiator),
        identification().prop_map(Payload::IdentificationResponder),
        (any::<u8>(), bytes(40)).prop_map(|(encoding, data)| Payload::Certificate(Certificate {
            encoding: CertificateEncoding(encoding),
            data
        })),
        (any::<u8>(), bytes(40)).prop_map(|(encoding, authorities)| {
            Payload::CertificateRequest(CertificateRequest { encoding: CertificateEncoding(encoding), authorities })
        }),
        vec(any::<u8>(), 16..=256).prop_map(Payload::Nonce),
        vec(selector(), 1..4).prop_map(Payload::TrafficSelectorsInitiator),
        vec(selector(), 1..4).prop_map(Payload::TrafficSelectorsResponder),
    ]
}

/// Every payload that may stand anywhere in a chain.
pub(super) fn payload() -> impl Strategy<Value = Payload> {
    let unknown = (64u8.., bytes(30)).prop_map(|(kind, body)| Payload::Unknown {
        payload_type: PayloadType(kind),
        critical: false,
        body,
    });
    prop_oneof![
        10 => plain_payload(),
        1 => (any::<u8>(), bytes(40)).prop_map(|(method, data)| Payload::Authentication(Authentication {
            method: AuthenticationMethod(method),
            data
        })),
        2 => notify().prop_map(Payload::Notify),
        1 => delete().prop_map(Payload::Delete),
        1 => bytes(30).prop_map(Payload::VendorId),
        1 => configuration().prop_map(Payload::Configuration),
        1 => bytes(30).prop_map(Payload::Eap),
        1 => unknown,
    ]
}

fn sealed() -> impl Strategy<Value = Payload> {
    let whole = (any::<u8>(), bytes(60))
        .prop_map(|(first, body)| Payload::Encrypted(Encrypted { first_inner: PayloadType(first), body }));
    let fragment = (any::<u8>(), 1u16.., any::<u16>(), bytes(60)).prop_map(|(first, total, pick, body)| {
        let number = 1 + pick % total;
        Payload::EncryptedFragment(EncryptedFragment { first_inner: PayloadType(first), number, total, body })
    });
    prop_oneof![whole, fragment]
}

fn header() -> impl Strategy<Value = Header> {
    (any::<u64>(), any::<u64>(), any::<u8>(), any::<u8>(), any::<u32>()).prop_map(
        |(initiator, responder, exchange, flags, message_id)| {
            let (initiator, responder) = (InitiatorSpi(initiator), ResponderSpi(responder));
            Header::new(initiator, responder, ExchangeType(exchange), Flags(flags), message_id)
        },
    )
}

/// Any message, with or without a sealed payload at its end.
pub(super) fn message() -> impl Strategy<Value = Message> {
    (header(), vec(payload(), 0..6), proptest::option::of(sealed())).prop_map(|(header, mut payloads, sealed)| {
        payloads.extend(sealed);
        Message::new(header, payloads)
    })
}

/// A message of [`plain_payload`]s.
pub(super) fn plain_message() -> impl Strategy<Value = Message> {
    (header(), vec(plain_payload(), 1..6)).prop_map(|(header, payloads)| Message::new(header, payloads))
}
