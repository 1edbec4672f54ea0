//! Packets in batches: many packets, one buffer, no allocation once it is made.
//!
//! Outbound packets lie one behind the other as they will lie on the wire, so that a run of equal
//! sizes leaves by one system call. Inbound datagrams lie where the kernel put them.

use super::encapsulation::Layout;
use super::pace::Look;
use std::ops::Range;

/// The most packets an outbound batch holds: a super-packet cut to small segments fits.
const OUTBOUND_PACKETS: usize = 1024;
/// The buffer of an outbound batch in octets.
const OUTBOUND_OCTETS: usize = 256 * 1024;
/// After so many packets no further super-packet is begun: they should leave soon.
const ENOUGH_PACKETS: usize = 64;
/// After so many octets no further super-packet is begun.
const ENOUGH_OCTETS: usize = 64 * 1024;
/// The most octets that one call may send: a UDP datagram's worth.
const RUN_OCTETS: usize = 65_000;
/// The longest IP packet.
pub const MAX_PACKET: usize = 65_535;
/// The place of one message: as much as it may have, and a little more, so that the beginnings of messages
/// do not all fall into the same few places of the processor's cache.
pub const SLOT: usize = MAX_PACKET + 1 + 1536;

/// Packets on their way out.
#[derive(Debug)]
pub struct OutboundBatch {
    buffer: Box<[u8]>,
    used: usize,
    layout: Layout,
    packets: Vec<OutboundPacket>,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
pub struct OutboundPacket {
    /// Where it starts in the buffer, headroom included.
    start: usize,
    /// The octets of the inner packet.
    pub inner: usize,
    /// The octets it will have when sealed.
    sealed: usize,
    /// The traffic class of the inner packet, which the outer header takes over: its differentiated
    /// services (RFC 4301 §5.1.2.1) and its congestion mark (RFC 6040).
    class: u8,
    /// Whether it was sealed and may leave.
    pub ready: bool,
}

/// Packets of one size and class that leave by one call.
#[derive(Debug, PartialEq, Eq)]
pub struct Run<'a> {
    /// Their octets, one behind the other; the last may be shorter.
    pub contents: &'a [u8],
    /// The size of each.
    pub segment: usize,
    /// The traffic class of the outer header.
    pub class: u8,
    /// How many they are.
    pub packets: usize,
    /// The octets of the inner packets.
    pub inner_octets: usize,
}

impl OutboundBatch {
    /// Makes an empty batch.
    pub fn new() -> Self {
        Self {
            buffer: vec![0; OUTBOUND_OCTETS].into_boxed_slice(),
            used: 0,
            layout: Layout::default(),
            packets: Vec::with_capacity(OUTBOUND_PACKETS),
        }
    }

    /// Empties the batch; packets will be laid out as `layout` says.
    pub fn start(&mut self, layout: Layout) {
        self.used = 0;
        self.layout = layout;
        self.packets.clear();
    }

    /// Returns the layout that the packets have.
    pub const fn layout(&self) -> Layout {
        self.layout
    }

    /// Returns whether the batch holds nothing.
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Returns the number of packets.
    pub fn packets(&self) -> usize {
        self.packets.len()
    }

    /// Returns whether a batch that has begun should still take `packets` packets of at most
    /// `inner` octets.
    pub fn should_take(&self, packets: usize, inner: usize) -> bool {
        self.packets.len() + packets <= ENOUGH_PACKETS
            && self.used + packets * self.layout.sealed_length(inner) <= ENOUGH_OCTETS
    }

    /// Returns whether what is there should leave before another super-packet is read: reading one
    /// that must wait would only drive this one out of the processor's cache.
    pub fn is_half_full(&self) -> bool {
        self.used >= ENOUGH_OCTETS / 2 || self.packets.len() >= ENOUGH_PACKETS
    }

    /// Makes room for a packet of `inner` octets and lends it to be written; none: it does not fit.
    /// `class` is its traffic class.
    pub fn push(&mut self, inner: usize, class: u8) -> Option<&mut [u8]> {
        let sealed = self.layout.sealed_length(inner);
        if self.packets.len() >= OUTBOUND_PACKETS || self.used + sealed > OUTBOUND_OCTETS {
            return None;
        }
        let start = self.used;
        let place = start + self.layout.headroom;
        let room = self.buffer.get_mut(place..place + inner)?;
        self.used = start + sealed;
        self.packets.push(OutboundPacket { start, inner, sealed, class, ready: false });
        Some(room)
    }

    /// Lends each inner packet, before any is sealed.
    pub fn inner_each(&mut self, mut change: impl FnMut(&mut [u8])) {
        for packet in &self.packets {
            let place = packet.start + self.layout.headroom;
            if let Some(inner) = self.buffer.get_mut(place..place + packet.inner) {
                change(inner);
            }
        }
    }

    /// Hands each packet with its room to `seal`, which says whether it may leave.
    pub fn seal_each(&mut self, mut seal: impl FnMut(&mut [u8], usize) -> bool) {
        for packet in &mut self.packets {
            packet.ready = self
                .buffer
                .get_mut(packet.start..packet.start + packet.sealed)
                .is_some_and(|room| seal(room, packet.inner));
        }
    }

    /// Leaves nothing of the packets' traffic class outside but the congestion mark.
    pub fn hide_services(&mut self) {
        for packet in &mut self.packets {
            packet.class &= 0b11;
        }
    }

    /// Returns each sealed packet, and how many octets the inner one has.
    pub fn sealed(&self) -> impl Iterator<Item = (&[u8], usize)> {
        self.packets.iter().filter(|packet| packet.ready).filter_map(|packet| {
            self.buffer.get(packet.start..packet.start + packet.sealed).map(|octets| (octets, packet.inner))
        })
    }

    /// Calls `send` for each run of sealed packets of one size and class.
    pub fn runs<E>(&self, most: usize, mut send: impl FnMut(Run<'_>) -> Result<(), E>) -> Result<(), E> {
        let mut rest = self.packets.as_slice();
        while let Some(first) = rest.first() {
            if !first.ready {
                rest = rest.get(1..).unwrap_or_default();
                continue;
            }
            let mut count = 1;
            let mut last = first;
            while let Some(next) = rest.get(count) {
                let joins = next.ready
                    && next.class == first.class
                    && last.sealed == first.sealed
                    && next.sealed <= first.sealed;
                if !joins || count >= most || (count + 1) * first.sealed > RUN_OCTETS {
                    break;
                }
                last = next;
                count += 1;
            }
            let (run, after) = rest.split_at(count);
            rest = after;
            let contents = self.buffer.get(first.start..last.start + last.sealed).unwrap_or_default();
            let inner_octets = run.iter().map(|packet| packet.inner).sum();
            send(Run { contents, segment: first.sealed, class: first.class, packets: count, inner_octets })?;
        }
        Ok(())
    }
}

impl Default for OutboundBatch {
    fn default() -> Self {
        Self::new()
    }
}

/// Datagrams on their way in, and the inner packets they were opened to.
#[derive(Debug)]
pub struct InboundBatch {
    /// What the kernel wrote, one slot of [`SLOT`] octets a message.
    pub buffer: Box<[u8]>,
    datagrams: Vec<(Range<usize>, u8)>,
    opened: Vec<Range<usize>>,
    brought: Look,
}

impl InboundBatch {
    /// Makes an empty batch of `slots` messages of at most [`MAX_PACKET`] octets each.
    pub fn new(slots: usize) -> Self {
        Self {
            buffer: vec![0; slots * SLOT].into_boxed_slice(),
            datagrams: Vec::with_capacity(slots * 64),
            opened: Vec::with_capacity(slots * 64),
            brought: Look::default(),
        }
    }

    /// Empties the batch.
    pub fn start(&mut self) {
        self.datagrams.clear();
        self.opened.clear();
        self.brought = Look::default();
    }

    /// Adds the datagrams of one message: `length` octets in slot `slot`, `stride` each.
    pub fn push(&mut self, slot: usize, length: usize, stride: usize, ecn: u8) {
        let base = slot * SLOT;
        let (length, stride) = (length.min(SLOT), stride.max(1));
        self.brought.messages += 1;
        self.brought.octets += length;
        let mut at = 0;
        while at < length {
            let end = (at + stride).min(length);
            self.datagrams.push((base + at..base + end, ecn));
            self.brought.packets += 1;
            at = end;
        }
    }

    /// Adds the packet that lies at `range`.
    pub fn push_at(&mut self, range: Range<usize>) {
        self.brought.messages += 1;
        self.brought.octets += range.len();
        self.brought.packets += 1;
        self.datagrams.push((range, 0));
    }

    /// Returns what was added.
    pub const fn brought(&self) -> Look {
        self.brought
    }

    /// Returns whether nothing was opened.
    pub fn is_empty(&self) -> bool {
        self.opened.is_empty()
    }

    /// Hands each datagram to `open`, which says where in it the inner packet lies, if anywhere.
    pub fn open_each(&mut self, mut open: impl FnMut(&mut [u8], u8) -> Option<Range<usize>>) {
        for (range, ecn) in &self.datagrams {
            let Some(datagram) = self.buffer.get_mut(range.clone()) else { continue };
            if let Some(inner) = open(datagram, *ecn) {
                self.opened.push(range.start + inner.start..range.start + inner.end);
            }
        }
    }

    /// Lends each inner packet.
    pub fn opened_each(&mut self, mut change: impl FnMut(&mut [u8])) {
        for range in &self.opened {
            if let Some(inner) = self.buffer.get_mut(range.clone()) {
                change(inner);
            }
        }
    }

    /// Returns the buffer and where the inner packets lie in it, in the order of arrival.
    pub fn opened(&mut self) -> (&mut [u8], &[Range<usize>]) {
        (&mut self.buffer, &self.opened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(sizes: &[(usize, u8, bool)]) -> OutboundBatch {
        let mut batch = OutboundBatch::new();
        batch.start(Layout { headroom: 16, inside: 2, alignment: 4, trailer: 16 });
        for (index, (inner, ecn, _)) in sizes.iter().enumerate() {
            batch.push(*inner, *ecn).unwrap().fill(u8::try_from(index % 251).unwrap());
        }
        let mut index = 0;
        batch.seal_each(|_, _| {
            index += 1;
            sizes[index - 1].2
        });
        batch
    }

    fn runs(batch: &OutboundBatch) -> Vec<(usize, usize, u8)> {
        let mut runs = Vec::new();
        batch
            .runs(64, |run| {
                assert_eq!(run.contents.len().div_ceil(run.segment), run.packets);
                runs.push((run.packets, run.segment, run.class));
                Ok::<_, ()>(())
            })
            .unwrap();
        runs
    }

    #[test]
    fn packets_of_one_size_and_class_leave_together_and_a_shorter_one_ends_the_run() {
        let batch =
            filled(&[(100, 0, true), (100, 0, true), (50, 0, true), (100, 0, true), (100, 2, true), (200, 2, true)]);
        assert_eq!(runs(&batch), [(3, 136, 0), (1, 136, 0), (1, 136, 2), (1, 236, 2)]);
        let batch = filled(&[(100, 0xb8, true), (100, 0xb8, true), (100, 0xba, true), (100, 0, true)]);
        assert_eq!(runs(&batch), [(2, 136, 0xb8), (1, 136, 0xba), (1, 136, 0)]);
    }

    #[test]
    fn what_was_not_sealed_does_not_leave() {
        let batch = filled(&[(100, 0, true), (100, 0, false), (100, 0, true), (100, 0, false)]);
        assert_eq!(runs(&batch), [(1, 136, 0), (1, 136, 0)]);
    }

    #[test]
    fn a_whole_super_packet_fits_and_no_call_sends_more_than_a_datagram_can_hold() {
        for inner in [200, 600, 1400, 9000] {
            let segments = MAX_PACKET.div_ceil(inner - 52);
            let batch = filled(&vec![(inner, 0, true); segments]);
            assert_eq!(runs(&batch).iter().map(|(packets, ..)| packets).sum::<usize>(), segments);
            assert!(runs(&batch).iter().all(|(packets, segment, _)| packets * segment <= 65_507 && *packets <= 64));
        }
    }

    #[test]
    fn a_message_of_many_datagrams_is_taken_apart_at_its_stride() {
        let mut batch = InboundBatch::new(2);
        batch.push(1, 25, 10, 0);
        batch.push(0, 0, 0, 0);
        assert_eq!(batch.brought(), Look { messages: 2, packets: 3, octets: 25 });
        let mut lengths = Vec::new();
        batch.open_each(|datagram, _| {
            lengths.push(datagram.len());
            (datagram.len() == 5).then_some(1..4)
        });
        assert_eq!(lengths, [10, 10, 5]);
        let (_, ranges) = batch.opened();
        assert_eq!(ranges.len(), 1);
        assert_eq!(ranges.first(), Some(&(SLOT + 21..SLOT + 24)));
    }
}
