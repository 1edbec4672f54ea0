//! Who sends to this host by TCP through the tunnel, so that they can be told to send less at a time.
//!
//! When the path has become narrower without a word, what comes from the other end is lost before anybody
//! inside the tunnel could say "too big", and a download stands still for good. This side notices by its own
//! search and says it in the place of the hop that swallows the packets: by ICMP, through the tunnel, to those
//! whose segments this host has acknowledged of late. What is quoted is the next segment of each, as far as
//! it is known from the acknowledgement, for only that is believed (RFC 5927 §4.1).

use super::offload::checksum;
use std::ops::Range;

/// The most senders that are remembered; a later one takes the place of one before.
const SEATS: usize = 64;
/// A pure acknowledgement is no longer than this: both headers with all the options they have room for.
pub const ACKNOWLEDGEMENT: usize = 120;
/// The IANA number of TCP.
const TCP: u8 = 6;
/// TCP's flags: SYN and RST are none of a transfer, ACK says what comes next.
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// One sender, as its segments to this host look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sender {
    ipv6: bool,
    /// Its address and this host's, at full length or at the length of IPv4.
    remote: [u8; 16],
    local: [u8; 16],
    /// Its port, then this host's.
    ports: [u8; 4],
    /// The sequence number of its next segment.
    next: [u8; 4],
}

/// The senders of late.
#[derive(Debug)]
pub struct Senders {
    seats: Box<[Option<Sender>; SEATS]>,
}

impl Default for Senders {
    fn default() -> Self {
        Self { seats: Box::new([None; SEATS]) }
    }
}

impl Senders {
    /// Takes note of a packet that leaves this host.
    pub fn note(&mut self, packet: &[u8]) {
        if packet.len() > ACKNOWLEDGEMENT {
            return;
        }
        if let Some(sender) = Sender::acknowledged_by(packet)
            && let Some(seat) = self.seats.get_mut(sender.seat())
        {
            *seat = Some(sender);
        }
    }

    /// Returns the packets that tell each of them that the path takes `mtu` octets.
    pub fn too_big(&self, mtu: u16) -> impl Iterator<Item = Vec<u8>> {
        // Whoever speaks IPv6 is told nothing below what IPv6 relies on (RFC 8200 §5).
        let told = move |sender: &&Sender| !sender.ipv6 || mtu >= 1280;
        self.seats.iter().flatten().filter(told).map(move |sender| sender.too_big(mtu))
    }
}

impl Sender {
    /// Reads an acknowledgement.
    fn acknowledged_by(packet: &[u8]) -> Option<Self> {
        let first = *packet.first()?;
        let (ipv6, ip, protocol, source, destination) = match first >> 4 {
            // A later fragment has no TCP header.
            4 if *packet.get(6)? & 0x1f == 0 && *packet.get(7)? == 0 => {
                (false, usize::from(first & 0x0f) * 4, *packet.get(9)?, 12..16, 16..20)
            }
            6 => (true, 40, *packet.get(6)?, 8..24, 24..40),
            _ => return None,
        };
        let tcp = packet.get(ip..).filter(|_| protocol == TCP && ip >= 20)?;
        let flags = *tcp.get(13)?;
        if flags & ACK == 0 || flags & (SYN | RST) != 0 {
            return None;
        }
        let address = |place: Range<usize>| {
            let mut octets = [0; 16];
            let found = packet.get(place)?;
            octets.get_mut(..found.len())?.copy_from_slice(found);
            Some(octets)
        };
        let [own_high, own_low, its_high, its_low] = *tcp.first_chunk::<4>()?;
        Some(Self {
            ipv6,
            remote: address(destination)?,
            local: address(source)?,
            ports: [its_high, its_low, own_high, own_low],
            next: *tcp.get(8..)?.first_chunk()?,
        })
    }

    fn seat(&self) -> usize {
        let mixed = self
            .remote
            .iter()
            .chain(&self.ports)
            .fold(0x811c_9dc5_u32, |mixed, octet| (mixed ^ u32::from(*octet)).wrapping_mul(0x0100_0193));
        usize::try_from(mixed >> 16).map_or(0, |mixed| mixed % SEATS)
    }

    /// Makes "too big" about its next segment.
    fn too_big(&self, mtu: u16) -> Vec<u8> {
        // The quoted segment was one octet too long, as far as this side can know.
        let length = mtu.saturating_add(1);
        let mut quoted = self.header(length, TCP, &self.remote, &self.local);
        quoted.extend(self.ports);
        quoted.extend(self.next);
        // Type, code, checksum, and the size in the last two octets (RFC 1191 §4) or in all four (RFC 4443 §3.2).
        let [high, low] = mtu.to_be_bytes();
        let kind: [u8; 2] = if self.ipv6 { [2, 0] } else { [3, 4] };
        let mut message = [kind[0], kind[1], 0, 0, 0, 0, high, low].to_vec();
        message.extend(quoted);
        let protocol = if self.ipv6 { 58 } else { 1 };
        let ip = if self.ipv6 { 40 } else { 20 };
        let total = u16::try_from(ip + message.len()).unwrap_or(u16::MAX);
        let mut packet = self.header(total, protocol, &self.local, &self.remote);
        let partial = if self.ipv6 {
            let addresses = [self.local, self.remote].concat();
            checksum::pseudo_header(&addresses, protocol, message.len())
        } else {
            0
        };
        let sum = checksum::finish(checksum::sum(&message, partial));
        if let Some(place) = message.get_mut(2..4) {
            place.copy_from_slice(&sum.to_be_bytes());
        }
        packet.extend(message);
        packet
    }

    /// Makes an IP header of a packet of `total` octets.
    fn header(&self, total: u16, protocol: u8, source: &[u8; 16], destination: &[u8; 16]) -> Vec<u8> {
        const HOPS: u8 = 64;
        if self.ipv6 {
            let [high, low] = total.saturating_sub(40).to_be_bytes();
            let mut header = vec![0x60, 0, 0, 0, high, low, protocol, HOPS];
            header.extend(source);
            header.extend(destination);
            return header;
        }
        let [high, low] = total.to_be_bytes();
        // Not to be fragmented: what "too big" is said of.
        let mut header = vec![0x45, 0, high, low, 0, 0, 0x40, 0, HOPS, protocol, 0, 0];
        header.extend(source.iter().take(4));
        header.extend(destination.iter().take(4));
        let sum = checksum::finish(checksum::sum(&header, 0));
        if let Some(place) = header.get_mut(10..12) {
            place.copy_from_slice(&sum.to_be_bytes());
        }
        header
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is quoted of the TCP header: the ports and the sequence number (RFC 792).
    const QUOTED: usize = 8;

    /// An acknowledgement of `next` from port 50000 + `port` to port 80.
    fn acknowledgement(ipv6: bool, port: u16, flags: u8, next: u32) -> Vec<u8> {
        let mut packet = if ipv6 {
            let mut header = vec![0x60, 0, 0, 0, 0, 32, TCP, 64];
            header.extend([0xfd, 0x97, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
            header.extend([0xfd, 0x98, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
            header
        } else {
            vec![0x45, 0, 0, 52, 7, 7, 0x40, 0, 64, TCP, 0, 0, 10, 97, 0, 2, 10, 98, 0, 1]
        };
        packet.extend((50_000 + port).to_be_bytes());
        packet.extend([0, 80, 1, 2, 3, 4]);
        packet.extend(next.to_be_bytes());
        packet.extend([0x80, flags, 0xff, 0xff, 0, 0, 0, 0, 1, 1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0]);
        packet
    }

    #[test]
    fn each_sender_is_told_about_its_next_segment() {
        let mut senders = Senders::default();
        senders.note(&acknowledgement(false, 1, ACK, 1000));
        senders.note(&acknowledgement(false, 1, ACK, 0xdead_beef));
        let told: Vec<_> = senders.too_big(1280).collect();
        let [told] = told.as_slice() else { panic!("one sender: {told:?}") };
        assert_eq!(told.len(), 20 + 8 + 20 + QUOTED);
        assert_eq!(told[..4], [0x45, 0, 0, 56]);
        assert_eq!(told[9], 1);
        assert_eq!(told[12..20], [10, 97, 0, 2, 10, 98, 0, 1], "from this host to the sender");
        assert_eq!(told[20..22], [3, 4]);
        assert_eq!(told[26..28], 1280_u16.to_be_bytes());
        assert_eq!(told[30..32], 1281_u16.to_be_bytes());
        assert_eq!(told[40..48], [10, 98, 0, 1, 10, 97, 0, 2], "what is quoted came the other way");
        assert_eq!(told[48..52], [0, 80, 0xc3, 0x51]);
        assert_eq!(told[52..56], 0xdead_beef_u32.to_be_bytes());
        for header in [&told[..20], &told[28..48], &told[20..]] {
            assert_eq!(checksum::fold(checksum::sum(header, 0)), 0xffff, "the checksum is right");
        }
    }

    #[test]
    fn by_ipv6_too_but_nothing_below_what_it_relies_on() {
        let mut senders = Senders::default();
        senders.note(&acknowledgement(true, 1, ACK, 77));
        assert_eq!(senders.too_big(1279).count(), 0);
        let told = senders.too_big(1300).next().unwrap();
        assert_eq!((told.len(), told[6]), (40 + 8 + 40 + QUOTED, 58));
        assert_eq!(told[4..6], 56_u16.to_be_bytes());
        assert_eq!((&told[40..42], &told[44..48]), (&[2, 0][..], &1300_u32.to_be_bytes()[..]));
        assert_eq!(told[52..54], (1301_u16 - 40).to_be_bytes());
        let partial = checksum::pseudo_header(&told[8..40], 58, told.len() - 40);
        assert_eq!(checksum::fold(checksum::sum(&told[40..], partial)), 0xffff, "the checksum is right");
    }

    #[test]
    fn what_acknowledges_nothing_is_passed_over_and_the_table_is_bounded() {
        let mut senders = Senders::default();
        senders.note(&acknowledgement(false, 1, SYN | ACK, 1));
        senders.note(&acknowledgement(false, 1, RST | ACK, 1));
        senders.note(&acknowledgement(false, 1, 0, 1));
        let mut fragment = acknowledgement(false, 1, ACK, 1);
        fragment[7] = 3;
        senders.note(&fragment);
        let mut datagram = acknowledgement(false, 1, ACK, 1);
        datagram[9] = 17;
        senders.note(&datagram);
        for length in 0..40 {
            senders.note(&acknowledgement(false, 1, ACK, 1)[..length.min(33)]);
            senders.note(&acknowledgement(true, 1, ACK, 1)[..length]);
        }
        assert_eq!(senders.too_big(1280).count(), 0);
        for port in 0..2000 {
            senders.note(&acknowledgement(port % 2 == 0, port, ACK, 1));
        }
        let told = senders.too_big(1280).count();
        assert!((SEATS / 2..=SEATS).contains(&told), "{told}");
    }
}
