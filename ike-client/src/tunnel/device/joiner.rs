//! Opened packets on their way into the device: joined where they belong to one stream, and one by
//! one from the moment on that the device refuses what it offered to take.
//!
//! Some kernels answer joined packets with EINVAL although they announced the offload. Nothing is
//! lost by that: what was refused is cut again and written as it came.

use crate::tunnel::batch::{InboundBatch, MAX_PACKET};
use crate::tunnel::offload::coalesce::Delivery;
use crate::tunnel::offload::headers::GSO_UDP_L4;
use crate::tunnel::offload::{Coalescer, Joins, Segments, VirtioHeader, split};
use crate::tunnel::tally::{Tally, add};
use std::io::{self, IoSlice};
use std::ops::Range;

/// As many parts as the coalescer joins, and the header.
const PARTS: usize = 66;

/// Joins, and remembers whether the device takes it.
#[derive(Debug)]
pub struct Joiner {
    coalescer: Coalescer,
    /// What the device has not refused yet.
    joins: Joins,
}

impl Default for Joiner {
    fn default() -> Self {
        Self { coalescer: Coalescer::default(), joins: Joins::ALL }
    }
}

impl Joiner {
    /// Writes the opened packets by `write`, which is handed the parts of one write.
    pub fn deliver(
        &mut self,
        batch: &mut InboundBatch,
        tally: &Tally,
        mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<()>,
    ) {
        let Self { coalescer, joins } = self;
        let (buffer, ranges) = batch.opened();
        coalescer.group(buffer, ranges, *joins);
        coalescer.deliver(buffer, |buffer, delivery| {
            let octets = delivery.first.len() + delivery.rest.iter().map(Range::len).sum::<usize>();
            match gather(buffer, &delivery, &mut write) {
                Ok(()) => {
                    add(&tally.packets_received, delivery.packets);
                    add(&tally.bytes_received, octets);
                }
                Err(error) if delivery.packets > 1 && error.raw_os_error() == Some(libc::EINVAL) => {
                    let passed = singly(buffer, &delivery, tally, &mut write);
                    // Where single packets fail too, joining was not the fault.
                    if passed {
                        give_up(joins, &delivery);
                    }
                }
                Err(_) => add(&tally.dropped_inbound, delivery.packets),
            }
        });
    }
}

/// Joins the kind of packets of a delivery no more.
fn give_up(joins: &mut Joins, delivery: &Delivery<'_>) {
    let is_flow = VirtioHeader::read(&delivery.header).is_some_and(|(header, _)| header.gso_type == GSO_UDP_L4);
    let (joined, what) =
        if is_flow { (&mut joins.datagrams, "datagrams") } else { (&mut joins.streams, "packets of a stream") };
    if std::mem::replace(joined, false) {
        tracing::info!("the device refuses joined {what}; writing them one by one from now on");
    }
}

/// Writes one delivery.
fn gather(
    buffer: &[u8],
    delivery: &Delivery<'_>,
    write: &mut impl FnMut(&[IoSlice<'_>]) -> io::Result<()>,
) -> io::Result<()> {
    let mut parts = [IoSlice::new(&[]); PARTS];
    let ranges = std::iter::once(&delivery.first).chain(delivery.rest);
    let octets = std::iter::once(&delivery.header[..]).chain(ranges.filter_map(|range| buffer.get(range.clone())));
    let mut count = 0;
    for (part, octets) in parts.iter_mut().zip(octets) {
        *part = IoSlice::new(octets);
        count += 1;
    }
    write(parts.get(..count).unwrap_or_default())
}

/// Cuts a delivery again and writes its packets; returns whether the device took any.
fn singly(
    buffer: &[u8],
    delivery: &Delivery<'_>,
    tally: &Tally,
    write: &mut impl FnMut(&[IoSlice<'_>]) -> io::Result<()>,
) -> bool {
    // This happens once in a device's life: it may allocate.
    let mut whole = Vec::with_capacity(MAX_PACKET);
    for range in std::iter::once(&delivery.first).chain(delivery.rest) {
        whole.extend_from_slice(buffer.get(range.clone()).unwrap_or_default());
    }
    let mut apart = Apart::default();
    let header = VirtioHeader::read(&delivery.header).map_or_else(VirtioHeader::default, |(header, _)| header);
    if split(header, &whole, &mut apart).is_err() {
        add(&tally.dropped_inbound, delivery.packets);
        return false;
    }
    let plain = VirtioHeader::default().to_bytes();
    let mut passed = false;
    for packet in &apart.packets {
        match write(&[IoSlice::new(&plain), IoSlice::new(packet)]) {
            Ok(()) => {
                passed = true;
                add(&tally.packets_received, 1);
                add(&tally.bytes_received, packet.len());
            }
            Err(_) => add(&tally.dropped_inbound, 1),
        }
    }
    passed
}

/// The packets of a delivery, each by itself.
#[derive(Default)]
struct Apart {
    packets: Vec<Vec<u8>>,
}

impl Segments for Apart {
    fn place(&mut self, length: usize) -> Option<&mut [u8]> {
        self.packets.push(vec![0; length]);
        self.packets.last_mut().map(Vec::as_mut_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::offload::tests::stream;

    /// A batch that holds these packets as if they had just been opened.
    fn opened(packets: &[Vec<u8>]) -> InboundBatch {
        let mut batch = InboundBatch::new(1);
        batch.start();
        let mut at = 0;
        for packet in packets {
            batch.buffer[at..at + packet.len()].copy_from_slice(packet);
            batch.push_at(at..at + packet.len());
            at += packet.len();
        }
        batch.open_each(|packet, _| Some(0..packet.len()));
        batch
    }

    /// Writes a stream of `packets` packets to a device that does as `takes` says; returns what arrived.
    fn written(
        joiner: &mut Joiner,
        packets: &[Vec<u8>],
        tally: &Tally,
        takes: impl Fn(&VirtioHeader) -> io::Result<()>,
    ) -> Vec<Vec<u8>> {
        let mut arrived = Vec::new();
        joiner.deliver(&mut opened(packets), tally, |parts| {
            let octets: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
            let (header, packet) = VirtioHeader::read(&octets).unwrap();
            takes(&header)?;
            arrived.push(packet.to_vec());
            Ok(())
        });
        arrived
    }

    #[test]
    fn a_device_that_refuses_joined_packets_loses_none_and_is_not_asked_again() {
        let (mut joiner, tally) = (Joiner::default(), Tally::default());
        let invalid = || io::Error::from_raw_os_error(libc::EINVAL);
        for ipv6 in [false, true] {
            let packets = stream(ipv6, &[1000, 1000, 1000, 400], 0x18);
            let single = |header: &VirtioHeader| if header.gso_type == 0 { Ok(()) } else { Err(invalid()) };
            assert_eq!(written(&mut joiner, &packets, &tally, single), packets);
        }
        assert_eq!(joiner.joins, Joins { streams: false, datagrams: true });
        let counters = tally.read();
        assert_eq!((counters.packets_received, counters.dropped_inbound), (8, 0));
        let packets = stream(false, &[1000, 1000], 0x10);
        let again = written(&mut joiner, &packets, &tally, |header| {
            assert_eq!(header.gso_type, 0, "asked again");
            Ok(())
        });
        assert_eq!(again, packets);
    }

    #[test]
    fn another_failure_of_the_device_does_not_end_joining() {
        let (mut joiner, tally) = (Joiner::default(), Tally::default());
        let packets = stream(false, &[1000, 1000, 1000], 0x10);
        for code in [libc::ENOBUFS, libc::EINVAL] {
            let failing = |_: &VirtioHeader| Err(io::Error::from_raw_os_error(code));
            assert!(written(&mut joiner, &packets, &tally, failing).is_empty());
        }
        assert_eq!(tally.read().dropped_inbound, 6);
        assert_eq!(written(&mut joiner, &packets, &tally, |_| Ok(())).len(), 1, "joined as before");
    }
}
