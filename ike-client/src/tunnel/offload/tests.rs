//! Packets joined and taken apart again must be what they were.

use super::headers::{GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, NEEDS_CHECKSUM, Shape, VIRTIO_LENGTH, put, u16_at, u32_at};
use super::*;
use proptest::prelude::*;
use std::ops::Range;

/// A TCP or UDP packet with right checksums.
fn packet(ipv6: bool, udp: bool, id: u16, sequence: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = if ipv6 {
        let mut packet = vec![0x60, 0, 0, 0, 0, 0, if udp { 17 } else { 6 }, 64];
        packet.extend((1..=32).collect::<Vec<u8>>());
        packet
    } else {
        let mut packet = hex::decode("450000000000400040060000").unwrap();
        packet[9] = if udp { 17 } else { 6 };
        packet.extend([10, 0, 0, 1, 10, 0, 0, 2]);
        put(&mut packet, 4, &id.to_be_bytes());
        packet
    };
    let ip = packet.len();
    if udp {
        packet.extend([0x12, 0x34, 0x56, 0x78, 0, 0, 0, 0]);
    } else {
        packet.extend([0x12, 0x34, 0x56, 0x78]);
        packet.extend(sequence.to_be_bytes());
        packet.extend([0, 0, 0, 9, 0x60, flags, 0xff, 0xff, 0, 0, 0, 0, 1, 1, 1, 1]);
    }
    packet.extend(payload);
    let total = packet.len();
    let shape = Shape::read(&packet).unwrap();
    shape.write_length(&mut packet, total);
    if udp {
        put(&mut packet, ip + 4, &u16::try_from(total - ip).unwrap().to_be_bytes());
    }
    let partial = shape.pseudo_header(&packet, total - ip);
    let sum = checksum::finish(checksum::sum(&packet[ip..], partial));
    put(&mut packet, ip + shape.checksum_offset(), &sum.to_be_bytes());
    packet
}

impl Segments for Vec<Vec<u8>> {
    fn place(&mut self, length: usize) -> Option<&mut [u8]> {
        self.push(vec![0xee; length]);
        self.last_mut().map(Vec::as_mut_slice)
    }
}

fn taken_apart(header: VirtioHeader, whole: &[u8]) -> Result<Vec<Vec<u8>>, SplitError> {
    let mut segments: Vec<Vec<u8>> = Vec::new();
    split(header, whole, &mut segments).map(|()| segments)
}

/// What would be written to the device for these packets.
fn joined(packets: &[Vec<u8>], joins: Joins) -> Vec<(VirtioHeader, Vec<u8>)> {
    let mut buffer = Vec::new();
    let ranges: Vec<Range<usize>> = packets
        .iter()
        .map(|packet| {
            let start = buffer.len();
            buffer.extend(packet);
            start..buffer.len()
        })
        .collect();
    let mut coalescer = Coalescer::default();
    let mut written = Vec::new();
    coalescer.group(&buffer, &ranges, joins);
    coalescer.deliver(&mut buffer, |buffer, delivery| {
        let mut whole = buffer[delivery.first].to_vec();
        delivery.rest.iter().for_each(|range| whole.extend(&buffer[range.clone()]));
        written.push((VirtioHeader::read(&delivery.header).unwrap().0, whole));
    });
    written
}

pub(in crate::tunnel) fn stream(ipv6: bool, sizes: &[usize], last_flags: u8) -> Vec<Vec<u8>> {
    let mut sequence = 0xffff_f000;
    let last = sizes.len() - 1;
    let at = |(index, size): (usize, &usize)| {
        let flags = if index == last { last_flags } else { 0x10 };
        let payload: Vec<u8> = (0..*size).map(|octet| u8::try_from((octet + index) % 251).unwrap()).collect();
        let packet = packet(ipv6, false, 100 + u16::try_from(index).unwrap(), sequence, flags, &payload);
        sequence = sequence.wrapping_add(u32::try_from(*size).unwrap());
        packet
    };
    sizes.iter().enumerate().map(at).collect()
}

proptest! {
    #[test]
    fn a_stream_is_joined_to_one_and_taken_apart_to_itself(
        ipv6: bool, push: bool, count in 1_usize..40, size in 1_usize..1400, last in 1_usize..1400,
    ) {
        let mut sizes = vec![size; count];
        sizes.push(last.min(size));
        let packets = stream(ipv6, &sizes, if push { 0x18 } else { 0x10 });
        let whole = joined(&packets, Joins::ALL);
        prop_assert_eq!(whole.len(), 1);
        let (header, whole) = &whole[0];
        prop_assert_eq!(header.gso_type, if ipv6 { GSO_TCPV6 } else { GSO_TCPV4 });
        prop_assert_eq!(taken_apart(*header, whole).unwrap(), packets);
    }

    #[test]
    fn hostile_super_packets_never_panic(
        mut octets in proptest::collection::vec(any::<u8>(), 0..200), family in prop_oneof![Just(0x45_u8), Just(0x60), any::<u8>()],
        protocol in prop_oneof![Just(6_u8), Just(17), any::<u8>()],
    ) {
        put(&mut octets, VIRTIO_LENGTH, &[family]);
        put(&mut octets, VIRTIO_LENGTH + if family == 0x60 { 6 } else { 9 }, &[protocol]);
        if let Some((header, packet)) = VirtioHeader::read(&octets) {
            let _ = taken_apart(header, packet);
            let _ = joined(&[packet.to_vec(), packet.to_vec()], Joins::ALL);
        }
    }
}

#[test]
fn udp_segments_become_datagrams_of_their_own() {
    let payload: Vec<u8> = (0..250).collect();
    for ipv6 in [false, true] {
        let whole = packet(ipv6, true, 5, 0, 0, &payload);
        let header = VirtioHeader { gso_type: GSO_UDP_L4, gso_size: 100, ..VirtioHeader::default() };
        let segments = taken_apart(header, &whole).unwrap();
        let expected: Vec<_> =
            payload.chunks(100).zip(5..).map(|(part, id)| packet(ipv6, true, id, 0, 0, part)).collect();
        assert_eq!(segments, expected);
    }
}

#[test]
fn flags_of_a_super_packet_go_to_the_segment_they_belong_to() {
    // CWR, PSH, FIN, ACK.
    let whole = packet(false, false, 1, 1000, 0x80 | 0x19, &[7; 300]);
    let header = VirtioHeader { gso_type: GSO_TCPV4 | 0x80, gso_size: 100, ..VirtioHeader::default() };
    let segments = taken_apart(header, &whole).unwrap();
    let seen: Vec<_> = segments.iter().map(|segment| (segment[33], u32_at(segment, 24), u16_at(segment, 4))).collect();
    assert_eq!(seen, [(0x90, Some(1000), Some(1)), (0x10, Some(1100), Some(2)), (0x19, Some(1200), Some(3))]);
}

#[test]
fn a_partial_checksum_is_completed() {
    for udp in [false, true] {
        let right = packet(false, udp, 1, 1, 0x10, b"payload");
        let shape = Shape::read(&right).unwrap();
        let mut partial = right.clone();
        let sum = checksum::fold(shape.pseudo_header(&right, right.len() - shape.ip));
        put(&mut partial, shape.ip + shape.checksum_offset(), &sum.to_be_bytes());
        let header = VirtioHeader {
            flags: NEEDS_CHECKSUM,
            checksum_start: 20,
            checksum_offset: u16::try_from(shape.checksum_offset()).unwrap(),
            ..VirtioHeader::default()
        };
        assert_eq!(taken_apart(header, &partial).unwrap(), [right]);
    }
}

#[test]
fn what_does_not_belong_together_is_not_joined() {
    let base = stream(false, &[100, 100], 0x10);
    let alone = |second: Vec<u8>| assert_eq!(joined(&[base[0].clone(), second], Joins::ALL).len(), 2);
    alone(packet(false, false, 101, 0xffff_f065, 0x10, &[1; 100])); // a gap
    alone(packet(false, false, 105, 0xffff_f064, 0x10, &[1; 100])); // the identification jumps
    alone(packet(false, false, 101, 0xffff_f064, 0x11, &[1; 100])); // FIN
    alone(packet(false, false, 101, 0xffff_f064, 0x10, &[1; 101])); // longer than the first
    alone(packet(false, true, 101, 0, 0, &[1; 100])); // UDP beside TCP
    let mut wrong = base[1].clone();
    *wrong.last_mut().unwrap() ^= 1;
    alone(wrong); // a wrong checksum stays visible
    let mut acknowledges = packet(false, false, 101, 0xffff_f064, 0x10, &[1; 100]);
    acknowledges[31] = 77;
    alone(acknowledges);
    assert_eq!(joined(&base, Joins::ALL).len(), 1);
    let apart = joined(&base, Joins::NONE);
    assert_eq!(apart.iter().map(|(_, packet)| packet.clone()).collect::<Vec<_>>(), base);
    assert!(apart.iter().all(|(header, _)| *header == VirtioHeader::default()));
}

#[test]
fn a_push_ends_a_group() {
    let mut packets = stream(true, &[50, 50], 0x18);
    let sequence = 0xffff_f000_u32.wrapping_add(100);
    packets.push(packet(true, false, 102, sequence, 0x10, &[1; 50]));
    assert_eq!(joined(&packets, Joins::ALL).len(), 2);
}

/// Datagrams of one flow whose identifications count up from 100.
fn flow(ipv6: bool, sizes: &[usize]) -> Vec<Vec<u8>> {
    let payload = |size: usize| (0..size).map(|octet| u8::try_from(octet % 251).unwrap()).collect::<Vec<u8>>();
    sizes.iter().zip(100..).map(|(size, id)| packet(ipv6, true, id, 0, 0, &payload(*size))).collect()
}

/// The same datagrams, which must not be fragmented and all say the same identification.
fn unfragmented(packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let change = |packet: &Vec<u8>| {
        let mut packet = packet.clone();
        put(&mut packet, 4, &[0, 0, 0x40, 0]);
        let (shape, total) = (Shape::read(&packet).unwrap(), packet.len());
        shape.write_length(&mut packet, total);
        packet
    };
    packets.iter().map(change).collect()
}

proptest! {
    #[test]
    fn a_flow_is_joined_to_one_and_taken_apart_to_itself(
        ipv6: bool, count in 1_usize..40, size in 1_usize..1400, last in 1_usize..1400,
    ) {
        let mut sizes = vec![size; count];
        sizes.push(last.min(size));
        let packets = flow(ipv6, &sizes);
        let whole = joined(&packets, Joins::ALL);
        prop_assert_eq!(whole.len(), 1);
        prop_assert_eq!(whole[0].0.gso_type, GSO_UDP_L4);
        prop_assert_eq!(taken_apart(whole[0].0, &whole[0].1).unwrap(), packets);
    }
}

#[test]
fn datagrams_that_do_not_belong_together_are_not_joined() {
    let base = flow(false, &[100, 100]);
    let alone = |second: Vec<u8>| assert_eq!(joined(&[base[0].clone(), second], Joins::ALL).len(), 2);
    alone(packet(false, true, 105, 0, 0, &[1; 100])); // the identification jumps
    alone(packet(false, true, 101, 0, 0, &[1; 101])); // longer than the first
    alone(packet(false, true, 101, 0, 0, &[])); // nothing in it
    let mut wrong = base[1].clone();
    wrong[60] ^= 1;
    alone(wrong); // a wrong checksum stays visible
    let mut unsummed = base[1].clone();
    put(&mut unsummed, 26, &[0, 0]);
    alone(unsummed); // none would become one
    let mut padded = base[1].clone();
    padded.push(0);
    alone(padded); // more than its length says
    assert_eq!(joined(&base, Joins::ALL).len(), 1);
    assert_eq!(joined(&base, Joins { streams: true, datagrams: false }).len(), 2);
    // One that is shorter is the last.
    assert_eq!(joined(&flow(false, &[100, 50, 50]), Joins::ALL).len(), 2);
}

#[test]
fn identifications_that_say_nothing_keep_nothing_apart() {
    let whole = joined(&unfragmented(&flow(false, &[100, 100, 100])), Joins::ALL);
    assert_eq!(whole.len(), 1);
    let mixed = [unfragmented(&flow(false, &[100])), flow(false, &[100])].concat();
    assert_eq!(joined(&mixed, Joins::ALL).len(), 2, "one of them may be fragmented");
}
