//! Joining packets of one TCP stream, or datagrams of one UDP flow, before they are handed to the
//! device: what generic receive offload does, and only where it would.
//!
//! Neighbours are joined when everything but sequence number, IPv4 identification, length, PSH and
//! checksums is equal, the sequence numbers follow each other, the sizes are equal (the last may be
//! shorter), and every checksum is right: a joined packet's checksum is made anew by the kernel and
//! would hide a wrong one. Datagrams without a checksum stay alone, for they would get one.

use super::checksum;
use super::headers::{
    GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, NEEDS_CHECKSUM, Shape, TCP, UDP, VIRTIO_LENGTH, VirtioHeader, put, u16_at, u32_at,
};
use std::ops::Range;

/// The most octets a joined packet may have.
const MOST_OCTETS: usize = 65_535;
/// The most packets joined to one.
const MOST_PACKETS: usize = 64;
/// TCP's flags octet: ACK, and PSH, which may stand beside it and ends a packet.
const ACK: u8 = 0x10;
const PSH: u8 = 0x08;

/// What is joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joins {
    /// Packets of one TCP stream.
    pub streams: bool,
    /// Datagrams of one UDP flow; kernels before 6.2 take no joined ones.
    pub datagrams: bool,
}

impl Joins {
    /// Everything that can be.
    pub const ALL: Self = Self { streams: true, datagrams: true };
    /// Nothing: each packet stays alone.
    pub const NONE: Self = Self { streams: false, datagrams: false };
}

/// Joins packets; keeps its memory from batch to batch.
#[derive(Debug, Default)]
pub struct Coalescer {
    groups: Vec<Group>,
    members: Vec<Range<usize>>,
}

/// Packets that leave as one.
#[derive(Clone, Debug)]
struct Group {
    /// Where its members lie in the list.
    members: Range<usize>,
    /// The shape of its first packet; none: not to be joined with anything.
    shape: Option<Shape>,
    /// The payload of each packet but the last.
    size: usize,
    /// The octets of all.
    total: usize,
    /// The sequence number that follows; always zero in a flow of datagrams.
    next_sequence: u32,
    /// Whether nothing may be added.
    closed: bool,
}

/// One write to the device: a virtio header, then these parts of the buffer.
#[derive(Debug, PartialEq, Eq)]
pub struct Delivery<'a> {
    /// The header to write in front.
    pub header: [u8; VIRTIO_LENGTH],
    /// The first packet, its headers brought up to date.
    pub first: Range<usize>,
    /// The payloads of the others.
    pub rest: &'a [Range<usize>],
    /// How many packets these are.
    pub packets: usize,
}

impl Coalescer {
    /// Sorts the packets at `ranges` of `buffer` into groups; what `joins` leaves out stays alone.
    pub fn group(&mut self, buffer: &[u8], ranges: &[Range<usize>], joins: Joins) {
        self.groups.clear();
        self.members.clear();
        for range in ranges {
            let packet = buffer.get(range.clone()).unwrap_or_default();
            let candidate = Candidate::read(packet, joins);
            if let (Some(candidate), Some(group)) = (&candidate, self.groups.last_mut())
                && group.takes(candidate, packet, buffer, &self.members)
            {
                group.total += candidate.payload;
                group.next_sequence = candidate.next_sequence;
                group.closed = candidate.pushes || candidate.payload < group.size;
                self.members.push(range.clone());
                group.members.end = self.members.len();
                continue;
            }
            let at = self.members.len();
            self.members.push(range.clone());
            self.groups.push(Group {
                members: at..at + 1,
                shape: candidate.as_ref().map(|candidate| candidate.shape),
                size: candidate.as_ref().map_or(0, |candidate| candidate.payload),
                total: packet.len(),
                next_sequence: candidate.as_ref().map_or(0, |candidate| candidate.next_sequence),
                closed: candidate.as_ref().is_none_or(|candidate| candidate.pushes),
            });
        }
    }

    /// Calls `deliver` for each group, with the buffer whose first packets have been brought up to
    /// date.
    pub fn deliver(&mut self, buffer: &mut [u8], mut deliver: impl FnMut(&mut [u8], Delivery<'_>)) {
        let Self { groups, members } = self;
        for group in groups.iter() {
            let Some(ranges) = members.get_mut(group.members.clone()) else { continue };
            let packets = ranges.len();
            let header = match (group.shape, packets) {
                (Some(shape), 2..) => join(shape, group, buffer, ranges),
                _ => VirtioHeader::default(),
            };
            let Some((first, rest)) = ranges.split_first() else { continue };
            deliver(buffer, Delivery { header: header.to_bytes(), first: first.clone(), rest, packets });
        }
    }
}

/// What makes a packet joinable.
struct Candidate {
    shape: Shape,
    sequence: u32,
    next_sequence: u32,
    payload: usize,
    pushes: bool,
}

impl Candidate {
    fn read(packet: &[u8], joins: Joins) -> Option<Self> {
        let shape = Shape::read(packet)?;
        // Options in the IPv4 header and fragments are left alone.
        let plain = shape.ipv6 || (shape.ip == 20 && u16_at(packet, 6)? & 0x3fff == 0);
        let payload = packet.len() - shape.headers;
        if !plain || payload == 0 {
            return None;
        }
        let (sequence, next_sequence, pushes) = match shape.protocol {
            TCP if joins.streams => {
                let flags = *packet.get(shape.ip + 13)?;
                if flags & !PSH != ACK {
                    return None;
                }
                let sequence = u32_at(packet, shape.ip + 4)?;
                (sequence, sequence.wrapping_add(u32::try_from(payload).unwrap_or(0)), flags & PSH != 0)
            }
            UDP if joins.datagrams => {
                let stated = usize::from(u16_at(packet, shape.ip + 4)?);
                if stated != packet.len() - shape.ip || u16_at(packet, shape.ip + shape.checksum_offset())? == 0 {
                    return None;
                }
                (0, 0, false)
            }
            _ => return None,
        };
        let transport = packet.get(shape.ip..)?;
        let sum = checksum::sum(transport, shape.pseudo_header(packet, transport.len()));
        if checksum::finish(sum) != 0 {
            return None;
        }
        Some(Self { shape, sequence, next_sequence, payload, pushes })
    }
}

impl Group {
    fn takes(&self, candidate: &Candidate, packet: &[u8], buffer: &[u8], members: &[Range<usize>]) -> bool {
        let first = members.get(self.members.start).and_then(|range| buffer.get(range.clone()));
        let Some(first) = first else { return false };
        !self.closed
            && self.shape == Some(candidate.shape)
            && candidate.sequence == self.next_sequence
            && candidate.payload <= self.size
            && self.total + candidate.payload <= MOST_OCTETS
            && self.members.len() < MOST_PACKETS
            && same_headers(candidate.shape, first, packet)
            && identification_follows(candidate.shape, first, packet, self.members.len())
    }
}

/// Compares everything that must be equal in two packets of one group.
fn same_headers(shape: Shape, a: &[u8], b: &[u8]) -> bool {
    let same = |range: Range<usize>| a.get(range.clone()).is_some_and(|octets| Some(octets) == b.get(range));
    let ip = if shape.ipv6 {
        // Version, class and flow; next header and hop limit; addresses.
        same(0..4) && same(6..40)
    } else {
        // Version, length, class; fragment field; lifetime and protocol; addresses.
        same(0..2) && same(6..10) && same(12..20)
    };
    let transport = shape.ip;
    if shape.protocol == UDP {
        // Ports; lengths were checked.
        return ip && same(transport..transport + 4);
    }
    // Ports; acknowledgement and length; window; options. Flags were checked, PSH may differ.
    ip && same(transport..transport + 4)
        && same(transport + 8..transport + 13)
        && same(transport + 14..transport + 16)
        && same(transport + 18..shape.headers)
}

/// The identification must count up, since the kernel will count it up when it cuts the packet again.
/// That of a datagram which must not be fragmented says nothing (RFC 6864 §4.1): where a sender writes
/// the same into all of them they are joined too, as the kernel would.
fn identification_follows(shape: Shape, first: &[u8], packet: &[u8], position: usize) -> bool {
    if shape.ipv6 {
        return true;
    }
    let (Some(a), Some(b)) = (u16_at(first, 4), u16_at(packet, 4)) else { return false };
    let step = u16::try_from(position).unwrap_or(0);
    let says_nothing = shape.protocol == UDP && u16_at(first, 6).is_some_and(|field| field & 0x4000 != 0);
    b == a.wrapping_add(step) || (says_nothing && a == b)
}

/// Brings the first packet's headers up to date for the whole group and cuts the others' off.
fn join(shape: Shape, group: &Group, buffer: &mut [u8], ranges: &mut [Range<usize>]) -> VirtioHeader {
    let flags_at = shape.ip + 13;
    let last = ranges.last().and_then(|range| buffer.get(range.start + flags_at)).copied().unwrap_or(ACK);
    if let Some(first) = ranges.first()
        && let Some(packet) = buffer.get_mut(first.clone())
    {
        let transport = group.total - shape.ip;
        if shape.protocol == UDP {
            put(packet, shape.ip + 4, &short(transport).to_be_bytes());
        } else if let Some(flags) = packet.get_mut(flags_at) {
            *flags |= last & PSH;
        }
        shape.write_length(packet, group.total);
        let partial = checksum::fold(shape.pseudo_header(packet, transport));
        put(packet, shape.ip + shape.checksum_offset(), &partial.to_be_bytes());
    }
    for range in ranges.iter_mut().skip(1) {
        range.start += shape.headers;
    }
    VirtioHeader {
        flags: NEEDS_CHECKSUM,
        gso_type: match (shape.protocol, shape.ipv6) {
            (UDP, _) => GSO_UDP_L4,
            (_, true) => GSO_TCPV6,
            (_, false) => GSO_TCPV4,
        },
        header_length: short(shape.headers),
        gso_size: short(group.size),
        checksum_start: short(shape.ip),
        checksum_offset: short(shape.checksum_offset()),
    }
}

fn short(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}
