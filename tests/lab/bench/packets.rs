//! Packets and an SA to move them through the packet path without a network.

use anyhow::{Context, Result};
use ike_client::crypto::Secret;
use ike_client::crypto::keys::DirectionKeys;
use ike_client::crypto::suite::EspSuite;
use ike_client::crypto::transform::Integrity;
use ike_client::esp::selector::{Selector, Selectors};
use ike_client::esp::{EspSpi, InboundSa, OutboundSa, WindowSize};
use ike_client::tunnel::batch::OutboundBatch;
use ike_client::tunnel::esp::EspEncapsulation;
use ike_client::tunnel::offload::headers::{GSO_TCPV4, NEEDS_CHECKSUM, VirtioHeader};
use ike_client::tunnel::offload::{Segments, checksum};
use std::sync::Arc;

/// Segments of the super-packet, and the payload of each.
pub const SEGMENTS: usize = 24;
/// The payload of a segment.
pub const SEGMENT: usize = 1360;

/// Makes an SA whose ends are the same, so that it opens what it sealed.
///
/// # Errors
/// When there is no such suite.
pub fn esp(suite: &str) -> Result<EspEncapsulation> {
    let suite: EspSuite = suite.parse().with_context(|| suite.to_owned())?;
    let octets = |length: usize| Secret::new(vec![7; length]);
    let keys = DirectionKeys {
        encryption: octets(suite.encryption.key_material_length()),
        integrity: octets(suite.integrity.map_or(0, Integrity::key_length)),
    };
    let all = vec![Selector::addresses("0.0.0.0".parse()?..="255.255.255.255".parse()?)];
    let selectors = Arc::new(Selectors { local: all.clone(), remote: all });
    let outbound = OutboundSa::new(EspSpi(0x1000), &suite, &keys, Arc::clone(&selectors))?;
    let inbound = InboundSa::new(EspSpi(0x1000), &suite, &keys, selectors, WindowSize::default())?;
    let esp = EspEncapsulation::default();
    esp.install(outbound, inbound, false);
    Ok(esp)
}

/// Makes a TCP super-packet as the device hands it over.
pub fn super_packet() -> (VirtioHeader, Vec<u8>) {
    let mut packet = vec![0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    packet.extend([0x30, 0x39, 0, 80, 0, 0, 0, 1, 0, 0, 0, 9, 0x50, 0x10, 0x7f, 0xff, 0, 0, 0, 0]);
    packet.extend((0..SEGMENTS * SEGMENT).map(|octet| (octet % 251) as u8));
    let total = packet.len() as u16;
    packet[2..4].copy_from_slice(&total.to_be_bytes());
    let sum = checksum::finish(checksum::sum(&packet[..20], 0));
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    let partial = checksum::fold(checksum::pseudo_header(&packet[12..20], 6, packet.len() - 20));
    packet[36..38].copy_from_slice(&partial.to_be_bytes());
    let header = VirtioHeader {
        flags: NEEDS_CHECKSUM,
        gso_type: GSO_TCPV4,
        header_length: 40,
        gso_size: SEGMENT as u16,
        checksum_start: 20,
        checksum_offset: 16,
    };
    (header, packet)
}

/// Lets a super-packet be cut into a batch.
#[derive(Debug)]
pub struct Filling<'a>(pub &'a mut OutboundBatch);

impl Segments for Filling<'_> {
    fn place(&mut self, length: usize) -> Option<&mut [u8]> {
        self.0.push(length, 0)
    }
}
