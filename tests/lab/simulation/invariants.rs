//! What must hold whatever happens.

use ike_client::esp::EspSpi;
use ike_client::session::Session;
use ike_client::time::Timestamp;
use ike_client::wire::{Header, Message, Payload};
use std::collections::HashMap;

/// Octets of the explicit initialization vector of AES-GCM, in IKE (RFC 5282 §3.1) and in ESP
/// (RFC 4106 §3.1).
const VECTOR: usize = 8;
/// An ESP packet's SPI and sequence number.
const ESP_HEADER: usize = 8;

/// What was seen so far.
#[derive(Debug, Default)]
pub struct Invariants {
    /// The vectors under each key: SPIs and direction of an IKE SA, and the datagram they were in.
    ike: HashMap<(u64, u64, bool, [u8; VECTOR]), Vec<u8>>,
    /// The vectors under each ESP key.
    esp: HashMap<(EspSpi, [u8; VECTOR]), u32>,
    /// CHILD SAs that are installed on the client, in the order in which they came.
    children: Vec<(EspSpi, EspSpi)>,
}

impl Invariants {
    /// Looks at an IKE message on the wire: under one key no vector comes twice, unless it is the
    /// very same datagram once more.
    ///
    /// # Panics
    /// When one does.
    pub fn ike_sent(&mut self, bytes: &[u8]) {
        let message = Message::decode(bytes).expect("what is sent can be read");
        let body = match message.payloads.as_slice() {
            [Payload::Encrypted(sealed)] => &sealed.body,
            [Payload::EncryptedFragment(sealed)] => &sealed.body,
            _ => return,
        };
        let Header { initiator_spi, responder_spi, flags, .. } = message.header;
        let vector = *body.first_chunk::<VECTOR>().expect("a sealed body begins with its vector");
        let key = (initiator_spi.0, responder_spi.0, flags.is_initiator(), vector);
        let before = self.ike.entry(key).or_insert_with(|| bytes.to_vec());
        assert_eq!(before, bytes, "one vector for two messages");
    }

    /// Looks at an ESP packet on the wire.
    ///
    /// # Panics
    /// When its key has sealed with that vector before.
    pub fn esp_sent(&mut self, bytes: &[u8]) {
        let spi = EspSpi(u32::from_be_bytes(*bytes.first_chunk().expect("an SPI")));
        let vector = bytes.get(ESP_HEADER..).and_then(|rest| rest.first_chunk()).expect("a vector");
        let times = self.esp.entry((spi, *vector)).or_default();
        *times += 1;
        assert_eq!(*times, 1, "one vector for two packets");
    }

    /// Notes a CHILD SA of the client.
    ///
    /// # Panics
    /// When its SPI is in use already.
    pub fn installed(&mut self, inbound: EspSpi, outbound: EspSpi) {
        let known = |(one, other): &(EspSpi, EspSpi)| *one == inbound || *other == outbound;
        assert!(!self.children.iter().any(known), "an SPI is used twice");
        self.children.push((inbound, outbound));
        // The one in use, the one that it replaces, and what a collision brings.
        assert!(self.children.len() <= 3, "CHILD SAs pile up: {:?}", self.children);
    }

    /// Notes the end of one.
    ///
    /// # Panics
    /// When it never was.
    pub fn retired(&mut self, inbound: EspSpi) {
        let place = self.children.iter().position(|(one, _)| *one == inbound);
        self.children.remove(place.expect("retired what was installed"));
    }

    /// Notes the end of a session, with all its CHILD SAs.
    pub fn ended(&mut self) {
        self.children.clear();
    }

    /// Returns how many CHILD SAs the client has.
    pub fn children(&self) -> usize {
        self.children.len()
    }

    /// Looks at a session that has been driven up to `now`.
    ///
    /// # Panics
    /// When it wants to be called for what lies behind, or says something after its end.
    pub fn look_at(session: &mut Session, now: Timestamp) {
        if let Some((due, name)) = session.poll_timeout() {
            assert!(due > now, "the timer {name:?} stands still");
        }
        if session.is_finished() {
            assert!(session.poll_transmit().is_none(), "it speaks after its end");
            assert!(session.poll_event().is_none(), "it tells something after its end");
            assert!(session.poll_request().is_none(), "it asks after its end");
            assert_eq!(session.poll_timeout(), None);
        }
    }
}
