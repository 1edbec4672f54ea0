//! Fuzz targets: functions that take any bytes and must neither panic nor contradict themselves.
//!
//! A target's corpus lies in `tests/fuzz/corpus/NAME/`. The test `fuzz` replays it on every run;
//! `tests/soak fuzz` searches for new inputs with libFuzzer (the crate in `tests/fuzz/`, outside the
//! workspace).

pub mod auth;
pub mod ems;
pub mod packets;
pub mod profile;
pub mod session;

use crate::gateway::responder::Now;
use crate::gateway::settings::Credentials;
use crate::gateway::{Path, Responder, Settings};
use ike_client::random::SeededRandom;
use ike_client::transport::{tcp, udp};
use ike_client::wire::{Message, PayloadType, decode_chain, encode_chain};

/// A fuzz target.
pub type Target = fn(&[u8]);

/// Every target under the name of its corpus folder.
pub const TARGETS: &[(&str, Target)] = &[
    ("wire", wire),
    ("chain", chain),
    ("tcp", tcp_stream),
    ("udp", udp_datagram),
    ("invitation", ems::invitation),
    ("push", ems::push),
    ("document", ems::document),
    ("identity", auth::identity),
    ("certificate", auth::certificate),
    ("signature", auth::signature),
    ("eap", auth::eap),
    ("fragments", packets::fragments),
    ("esp", packets::esp),
    ("session", session::session),
    ("machine", crate::simulation::run),
    ("gateway", gateway),
    ("profile", profile::import),
];

/// Decodes a message; what decodes must encode, and then mean the same.
///
/// # Panics
/// When it does not.
pub fn wire(bytes: &[u8]) {
    if let Ok(message) = Message::decode(bytes) {
        let encoded = message.encode().expect("what was decoded can be encoded");
        let again = Message::decode(&encoded).expect("what was encoded can be decoded");
        assert_eq!(again.payloads, message.payloads);
    }
}

/// Decodes the inside of an encrypted payload: the first byte is the first payload's type.
///
/// # Panics
/// When what decodes does not mean the same after encoding.
pub fn chain(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else { return };
    if let Ok(payloads) = decode_chain(PayloadType(*first), bytes) {
        let (first, encoded) = encode_chain(&payloads).expect("what was decoded can be encoded");
        assert_eq!(decode_chain(first, &encoded).as_ref(), Ok(&payloads));
    }
}

/// Cuts a TCP stream into records; the first byte says how many bytes arrive at a time. The pieces
/// must not matter.
///
/// # Panics
/// When they do.
pub fn tcp_stream(bytes: &[u8]) {
    let Some((piece, stream)) = bytes.split_first() else { return };
    let mut whole = tcp::Deframer::for_responder();
    let mut pieces = tcp::Deframer::for_responder();
    let at_once = whole.push(stream);
    let mut records = Vec::new();
    let piecewise = stream
        .chunks(usize::from(*piece).max(1))
        .try_for_each(|chunk| pieces.push(chunk).map(|more| records.extend(more)));
    assert_eq!(at_once.as_ref().err(), piecewise.as_ref().err());
    if let Ok(at_once) = at_once {
        for record in &at_once {
            let _ = tcp::packet(record);
        }
        assert_eq!(at_once, records);
    }
}

/// Tells what a datagram on port 4500 carries, and reads the IKE message in it.
///
/// # Panics
/// When the codec contradicts itself.
pub fn udp_datagram(bytes: &[u8]) {
    if let Ok(ike_client::transport::Packet::Ike(message)) = udp::demultiplex(bytes) {
        wire(message);
    }
}

/// Hands a datagram to the lab gateway, twice: the repetition must get the octets of the first
/// answer, and whoever has no keys must not make it hold more than one half-open SA.
///
/// # Panics
/// When it does not.
pub fn gateway(bytes: &[u8]) {
    let settings = Settings::for_fuzzing();
    let random = Box::new(SeededRandom::new(1));
    let mut gateway = Responder::new(settings, Credentials::default(), random).expect("a seed never runs dry");
    let path = Path { local: ([192, 0, 2, 1], 500).into(), remote: ([192, 0, 2, 2], 500).into() };
    let mut answers = || {
        gateway.handle_datagram(bytes, path, Now::default());
        std::iter::from_fn(|| gateway.poll_transmit()).collect::<Vec<_>>()
    };
    let first = answers();
    assert_eq!(answers(), first);
    assert!(gateway.sa_count() <= 1);
}
