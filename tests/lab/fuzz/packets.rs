//! Fuzz targets below the session: fragments that come together, ESP and what is inside.

use ike_client::crypto::Secret;
use ike_client::crypto::keys::DirectionKeys;
use ike_client::crypto::suite::EspSuite;
use ike_client::esp::selector::{Selector, Selectors};
use ike_client::esp::{EspSpi, InboundSa, Opened, WindowSize};
use ike_client::exchange::reassembly::{Fragment, MAXIMUM_OCTETS, Placed, Reassembly};
use ike_client::time::Timestamp;
use ike_client::wire::PayloadType;
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use std::net::IpAddr;
use std::sync::Arc;

const SPI: [u8; 4] = [0, 0, 0x12, 0x34];
const KEY: [u8; 16] = [7; 16];
const SALT: [u8; 4] = [8; 4];

/// Opens ESP packets, each behind two octets of length and one that says whether it comes as it is
/// or properly sealed around whatever the bytes are. What opens must lie in the buffer and within
/// the selectors, and must not open a second time.
///
/// # Panics
/// When it does not.
pub fn esp(bytes: &[u8]) {
    let suite: EspSuite = "aes128gcm16-noesn".parse().expect("a suite");
    let keys =
        DirectionKeys { encryption: Secret::new([&KEY[..], &SALT].concat()), integrity: Secret::new(Vec::new()) };
    let within = |text: &str| text.parse::<IpAddr>().expect("an address");
    let selectors = Selectors {
        local: vec![Selector::addresses(within("10.0.0.0")..=within("10.255.255.255"))],
        remote: vec![Selector::addresses(within("0.0.0.0")..=within("255.255.255.255"))],
    };
    let inbound =
        InboundSa::new(EspSpi(u32::from_be_bytes(SPI)), &suite, &keys, Arc::new(selectors), WindowSize::default());
    let inbound = inbound.expect("keys that fit");
    let mut rest = bytes;
    let mut sequence = 0_u32;
    while let Some((&[kind, high, low], after)) = rest.split_first_chunk::<3>() {
        let length = usize::from(u16::from_be_bytes([high, low])).min(after.len());
        let (packet, after) = after.split_at(length);
        rest = after;
        sequence += 1;
        let packet = if kind & 1 == 0 { packet.to_vec() } else { sealed(sequence, packet) };
        let mut first = packet.clone();
        if let Ok(opened) = inbound.open_in_place(&mut first) {
            if let Opened::Packet(_, range) = opened {
                let inner = first.get(range).expect("the inner packet lies in the buffer");
                assert_eq!(inner.get(16), Some(&10), "a packet for somebody else");
            }
            assert!(inbound.open_in_place(&mut packet.clone()).is_err(), "a packet that opens twice");
        }
    }
}

/// Seals any bytes as the end of an ESP packet (RFC 4106), padding and next header being theirs.
fn sealed(sequence: u32, inside: &[u8]) -> Vec<u8> {
    let head = [SPI, sequence.to_be_bytes()].concat();
    let iv = u64::from(sequence).to_be_bytes();
    let nonce: [u8; 12] = [&SALT[..], &iv].concat().try_into().expect("12 octets");
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &KEY).expect("16 octets"));
    let mut body = inside.to_vec();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(&head), &mut body)
        .expect("short enough");
    [head.as_slice(), &iv, &body].concat()
}

/// Puts fragments together: number, total, message id, length, content. What becomes whole is
/// bounded, and nothing becomes whole unless every piece was there.
///
/// # Panics
/// When that does not hold.
pub fn fragments(bytes: &[u8]) {
    let mut reassembly = Reassembly::default();
    let mut rest = bytes;
    let mut seen = Vec::new();
    while let Some((&[number, total, message_id, length], after)) = rest.split_first_chunk::<4>() {
        let (content, after) = after.split_at(usize::from(length).min(after.len()));
        rest = after;
        let repeated = usize::from(message_id & 3) * 64 + 1;
        let message_id = u32::from(message_id & 3);
        let key = (message_id, u16::from(number), u16::from(total));
        seen.push(key);
        let fragment = Fragment {
            message_id,
            number: key.1,
            total: key.2,
            first_payload: PayloadType(number),
            content: content.repeat(repeated).into(),
        };
        if let Placed::Complete(whole) = reassembly.place(fragment, Timestamp::ZERO) {
            assert!(whole.content.len() <= MAXIMUM_OCTETS, "{} octets", whole.content.len());
            let all = (1..=key.2).all(|number| seen.contains(&(message_id, number, key.2)));
            assert!(all, "whole without all of its pieces");
            assert_eq!(reassembly.deadline(), None, "what is whole is still kept");
        }
    }
}
