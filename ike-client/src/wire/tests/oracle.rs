//! The crate `ipsec-parser`, written by others, reads what we write and must see the same.
//!
//! It miscounts AUTH, N, V and D (it takes a body's length for its payload's, or forgets reserved
//! bytes), so those are left to the vectors.

use super::samples;
use crate::wire::*;
use ipsec_parser::{IkeV2Payload, IkeV2PayloadContent as Theirs, parse_ikev2_header, parse_ikev2_payload_list};
use proptest::prelude::*;
use std::net::IpAddr;

proptest! {
    #[test]
    fn a_second_parser_sees_the_same_message(message in samples::plain_message()) {
        let bytes = message.encode().unwrap();
        let (rest, header) = parse_ikev2_header(&bytes).unwrap();
        prop_assert_eq!(header.init_spi, message.header.initiator_spi.0);
        prop_assert_eq!(header.resp_spi, message.header.responder_spi.0);
        prop_assert_eq!(header.exch_type.0, message.header.exchange.0);
        prop_assert_eq!((header.maj_ver, header.min_ver), (2, 0));
        prop_assert_eq!(header.flags, message.header.flags.0);
        prop_assert_eq!(header.msg_id, message.header.message_id);
        prop_assert_eq!(header.length as usize, bytes.len());
        let (rest, list) = parse_ikev2_payload_list(rest, header.next_payload).unwrap();
        prop_assert!(rest.is_empty());
        let list = list.unwrap();
        // Their list starts with a placeholder that holds the first type.
        let theirs: Vec<_> = list.iter().skip(1).map(translate).collect();
        prop_assert_eq!(theirs, message.payloads);
    }
}

fn translate(payload: &IkeV2Payload<'_>) -> Payload {
    match &payload.content {
        Theirs::SA(proposals) => Payload::SecurityAssociation(proposals.iter().map(proposal).collect()),
        Theirs::KE(ke) => {
            Payload::KeyExchange(KeyExchange { group: KeyExchangeGroup(ke.dh_group.0), data: ke.kex_data.to_vec() })
        }
        Theirs::IDi(id) => Payload::IdentificationInitiator(Identification::new(
            IdentificationType(id.id_type.0),
            id.ident_data.to_vec(),
        )),
        Theirs::IDr(id) => Payload::IdentificationResponder(Identification::new(
            IdentificationType(id.id_type.0),
            id.ident_data.to_vec(),
        )),
        Theirs::Certificate(certificate) => Payload::Certificate(Certificate {
            encoding: CertificateEncoding(certificate.cert_encoding.0),
            data: certificate.cert_data.to_vec(),
        }),
        Theirs::CertificateRequest(request) => Payload::CertificateRequest(CertificateRequest {
            encoding: CertificateEncoding(request.cert_encoding.0),
            authorities: request.ca_data.to_vec(),
        }),
        Theirs::Nonce(nonce) => Payload::Nonce(nonce.nonce_data.to_vec()),
        Theirs::TSi(selectors) => Payload::TrafficSelectorsInitiator(selectors.ts.iter().map(selector).collect()),
        Theirs::TSr(selectors) => Payload::TrafficSelectorsResponder(selectors.ts.iter().map(selector).collect()),
        other => panic!("the second parser sees {other:?}"),
    }
}

fn proposal(theirs: &ipsec_parser::IkeV2Proposal<'_>) -> Proposal {
    let transforms = theirs.transforms.iter().map(|transform| Transform {
        transform_type: TransformType(transform.transform_type.0),
        id: transform.transform_id,
        attributes: attributes(transform.attributes.unwrap_or_default()),
    });
    Proposal {
        number: theirs.proposal_num,
        protocol: ProtocolId(theirs.protocol_id.0),
        spi: theirs.spi.unwrap_or_default().to_vec(),
        transforms: transforms.collect(),
    }
}

/// The second parser leaves attributes as bytes.
fn attributes(mut rest: &[u8]) -> Vec<Attribute> {
    let mut attributes = Vec::new();
    while let [a, b, c, d, after @ ..] = rest {
        let (kind, value) = (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]));
        if kind & 0x8000 != 0 {
            attributes.push(Attribute::Short { kind: kind & 0x7fff, value });
            rest = after;
        } else {
            let (value, after) = after.split_at(usize::from(value));
            attributes.push(Attribute::Long { kind, value: value.to_vec() });
            rest = after;
        }
    }
    attributes
}

fn selector(theirs: &ipsec_parser::TrafficSelector<'_>) -> TrafficSelector {
    let address = |bytes: &[u8]| match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).unwrap()),
        _ => IpAddr::from(<[u8; 16]>::try_from(bytes).unwrap()),
    };
    TrafficSelector {
        protocol: theirs.ip_proto_id,
        ports: theirs.start_port..=theirs.end_port,
        addresses: address(theirs.start_addr)..=address(theirs.end_addr),
    }
}
