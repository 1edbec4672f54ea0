//! The headers that offload reads: virtio's, IP's, TCP's and UDP's.

use super::checksum;

/// The length of the virtio header in octets.
pub const VIRTIO_LENGTH: usize = 10;

/// The transport checksum is partial: it holds the pseudo-header's sum.
pub const NEEDS_CHECKSUM: u8 = 1;
/// One packet.
pub const GSO_NONE: u8 = 0;
/// TCP over IPv4.
pub const GSO_TCPV4: u8 = 1;
/// TCP over IPv6.
pub const GSO_TCPV6: u8 = 4;
/// UDP, each segment a datagram of its own.
pub const GSO_UDP_L4: u8 = 5;
/// TCP with congestion marks beside one of the above.
pub const GSO_ECN: u8 = 0x80;

/// The IANA number of TCP.
pub const TCP: u8 = 6;
/// The IANA number of UDP.
pub const UDP: u8 = 17;

/// `struct virtio_net_hdr`, in the machine's own byte order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VirtioHeader {
    /// [`NEEDS_CHECKSUM`] and others.
    pub flags: u8,
    /// One of the `GSO_*` kinds.
    pub gso_type: u8,
    /// The length of all headers.
    pub header_length: u16,
    /// The payload of each segment.
    pub gso_size: u16,
    /// Where the transport header starts.
    pub checksum_start: u16,
    /// Where in it the checksum lies.
    pub checksum_offset: u16,
}

impl VirtioHeader {
    /// Reads the header off the front.
    pub fn read(octets: &[u8]) -> Option<(Self, &[u8])> {
        let (head, rest) = octets.split_first_chunk::<VIRTIO_LENGTH>()?;
        let [flags, gso_type, a, b, c, d, e, f, g, h] = *head;
        let header = Self {
            flags,
            gso_type,
            header_length: u16::from_ne_bytes([a, b]),
            gso_size: u16::from_ne_bytes([c, d]),
            checksum_start: u16::from_ne_bytes([e, f]),
            checksum_offset: u16::from_ne_bytes([g, h]),
        };
        Some((header, rest))
    }

    /// Writes the header.
    pub const fn to_bytes(self) -> [u8; VIRTIO_LENGTH] {
        let [a, b] = self.header_length.to_ne_bytes();
        let [c, d] = self.gso_size.to_ne_bytes();
        let [e, f] = self.checksum_start.to_ne_bytes();
        let [g, h] = self.checksum_offset.to_ne_bytes();
        [self.flags, self.gso_type, a, b, c, d, e, f, g, h]
    }
}

/// Where the parts of a TCP or UDP packet lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Whether it is IPv6.
    pub ipv6: bool,
    /// TCP or UDP.
    pub protocol: u8,
    /// The length of the IP header, with IPv6's extension headers.
    pub ip: usize,
    /// The length of IP and transport header together.
    pub headers: usize,
}

impl Shape {
    /// Reads the shape of a TCP or UDP packet without IPv6 extension headers. None for others.
    pub fn read(packet: &[u8]) -> Option<Self> {
        let first = *packet.first()?;
        let (ipv6, ip, protocol) = match first >> 4 {
            4 => (false, usize::from(first & 0x0f) * 4, *packet.get(9)?),
            6 => (true, 40, *packet.get(6)?),
            _ => return None,
        };
        if ip < 20 {
            return None;
        }
        let transport = match protocol {
            TCP => usize::from(*packet.get(ip + 12)? >> 4) * 4,
            UDP => 8,
            _ => return None,
        };
        if protocol == TCP && transport < 20 {
            return None;
        }
        let headers = ip + transport;
        (packet.len() >= headers).then_some(Self { ipv6, protocol, ip, headers })
    }

    /// Reads the shape of a packet whose transport header begins where the system says, extension
    /// headers in between or not.
    pub fn read_at(packet: &[u8], protocol: u8, ip: usize) -> Option<Self> {
        let first = *packet.first()?;
        let ipv6 = first >> 4 == 6;
        let least = if ipv6 { 40 } else { usize::from(first & 0x0f) * 4 };
        let fits = if ipv6 { ip >= least } else { first >> 4 == 4 && least >= 20 && ip == least };
        let stated = if ipv6 { *packet.get(6)? } else { *packet.get(9)? };
        // Without extension headers the packet itself names its transport.
        if !fits || (ip == least && stated != protocol) {
            return None;
        }
        let transport = if protocol == TCP { usize::from(*packet.get(ip + 12)? >> 4) * 4 } else { 8 };
        if protocol == TCP && transport < 20 {
            return None;
        }
        let headers = ip + transport;
        (packet.len() >= headers).then_some(Self { ipv6, protocol, ip, headers })
    }

    /// Returns where in the transport header the checksum lies.
    pub const fn checksum_offset(self) -> usize {
        if self.protocol == TCP { 16 } else { 6 }
    }

    /// Sums the pseudo-header for `length` octets of transport header and payload.
    pub fn pseudo_header(self, packet: &[u8], length: usize) -> u64 {
        let addresses = if self.ipv6 { packet.get(8..40) } else { packet.get(12..20) };
        checksum::pseudo_header(addresses.unwrap_or_default(), self.protocol, length)
    }

    /// Writes the length of the packet, and for IPv4 the header's checksum.
    pub fn write_length(self, packet: &mut [u8], total: usize) {
        let stated = if self.ipv6 { total.saturating_sub(40) } else { total };
        let octets = u16::try_from(stated).unwrap_or(u16::MAX).to_be_bytes();
        put(packet, if self.ipv6 { 4 } else { 2 }, &octets);
        if !self.ipv6 {
            put(packet, 10, &[0, 0]);
            let sum = checksum::sum(packet.get(..self.ip).unwrap_or_default(), 0);
            put(packet, 10, &checksum::finish(sum).to_be_bytes());
        }
    }
}

/// Writes `octets` at `at`; nothing where they do not fit.
pub fn put(packet: &mut [u8], at: usize, octets: &[u8]) {
    if let Some(place) = packet.get_mut(at..at + octets.len()) {
        place.copy_from_slice(octets);
    }
}

/// Reads two octets.
pub fn u16_at(packet: &[u8], at: usize) -> Option<u16> {
    packet.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes)
}

/// Reads four octets.
pub fn u32_at(packet: &[u8], at: usize) -> Option<u32> {
    packet.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}
