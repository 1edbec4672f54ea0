//! Which inner packets a CHILD SA may carry (RFC 7296 §2.9, RFC 4301 §4.4.1).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

/// One traffic selector: a protocol (0 for any), ports and addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// The IANA protocol number; 0 stands for any.
    pub protocol: u8,
    /// The ports; everything from 0 to 65535 stands for any.
    pub ports: RangeInclusive<u16>,
    /// The addresses, both ends of one family.
    pub addresses: RangeInclusive<IpAddr>,
}

/// The selectors of both ends of a CHILD SA.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selectors {
    /// Ours: the source of what we send.
    pub local: Vec<Selector>,
    /// The peer's: the destination of what we send.
    pub remote: Vec<Selector>,
}

/// The way of a packet as seen from us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From us to the peer.
    Outbound,
    /// From the peer to us.
    Inbound,
}

impl Selector {
    /// Selects everything between two addresses.
    pub fn addresses(addresses: RangeInclusive<IpAddr>) -> Self {
        Self { protocol: 0, ports: 0..=u16::MAX, addresses }
    }

    fn admits(&self, address: IpAddr, protocol: u8, port: Option<u16>) -> bool {
        let any_port = *self.ports.start() == 0 && *self.ports.end() == u16::MAX;
        self.addresses.start().is_ipv4() == address.is_ipv4()
            && self.addresses.contains(&address)
            && (self.protocol == 0 || self.protocol == protocol)
            && (any_port || port.is_some_and(|port| self.ports.contains(&port)))
    }
}

impl From<&crate::wire::TrafficSelector> for Selector {
    fn from(selector: &crate::wire::TrafficSelector) -> Self {
        Self { protocol: selector.protocol, ports: selector.ports.clone(), addresses: selector.addresses.clone() }
    }
}

impl Selectors {
    /// Returns whether an inner packet may pass. A packet that is no whole IP header does not.
    pub fn admit(&self, direction: Direction, packet: &[u8]) -> bool {
        let Some(ends) = Ends::read(packet) else { return false };
        let (local, remote) = match direction {
            Direction::Outbound => ((ends.source, ends.source_port), (ends.destination, ends.destination_port)),
            Direction::Inbound => ((ends.destination, ends.destination_port), (ends.source, ends.source_port)),
        };
        self.local.iter().any(|selector| selector.admits(local.0, ends.protocol, local.1))
            && self.remote.iter().any(|selector| selector.admits(remote.0, ends.protocol, remote.1))
    }
}

/// What selectors look at in a packet.
struct Ends {
    protocol: u8,
    source: IpAddr,
    destination: IpAddr,
    source_port: Option<u16>,
    destination_port: Option<u16>,
}

impl Ends {
    fn read(packet: &[u8]) -> Option<Self> {
        let first = *packet.first()?;
        let (protocol, source, destination, transport, fragment): (_, IpAddr, IpAddr, _, _) = match first >> 4 {
            4 => {
                let header = usize::from(first & 0x0f) * 4;
                let source: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
                let destination: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
                let offset = u16::from_be_bytes(packet.get(6..8)?.try_into().ok()?) & 0x1fff;
                if header < 20 {
                    return None;
                }
                (
                    *packet.get(9)?,
                    Ipv4Addr::from(source).into(),
                    Ipv4Addr::from(destination).into(),
                    packet.get(header..)?,
                    offset != 0,
                )
            }
            6 => {
                let source: [u8; 16] = packet.get(8..24)?.try_into().ok()?;
                let destination: [u8; 16] = packet.get(24..40)?.try_into().ok()?;
                // Extension headers are not walked: such a packet matches by protocol "any" alone.
                (
                    *packet.get(6)?,
                    Ipv6Addr::from(source).into(),
                    Ipv6Addr::from(destination).into(),
                    packet.get(40..)?,
                    false,
                )
            }
            _ => return None,
        };
        // TCP, UDP, DCCP, SCTP and UDP-Lite begin with both ports; a later fragment has none.
        let has_ports = !fragment && matches!(protocol, 6 | 17 | 33 | 132 | 136);
        let port = |at: usize| -> Option<u16> {
            let octets = transport.get(at..at + 2)?.try_into().ok()?;
            has_ports.then(|| u16::from_be_bytes(octets))
        };
        let (source_port, destination_port) = (port(0), port(2));
        Some(Self { protocol, source, destination, source_port, destination_port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(protocol: u8, ports: RangeInclusive<u16>, first: &str, last: &str) -> Selector {
        Selector { protocol, ports, addresses: first.parse().unwrap()..=last.parse().unwrap() }
    }

    /// IPv4 from 10.0.0.1:4660 to 10.0.0.2:22136.
    fn packet(protocol: u8) -> Vec<u8> {
        let mut packet = hex::decode("4500001c00010000401100000a0000010a0000021234567800080000").unwrap();
        packet[9] = protocol;
        packet
    }

    fn outbound(remote: Selector, packet: &[u8]) -> bool {
        let local = vec![selector(0, 0..=65535, "10.0.0.0", "10.0.0.255")];
        Selectors { local, remote: vec![remote] }.admit(Direction::Outbound, packet)
    }

    #[test]
    fn protocol_and_ports_count_where_the_selector_names_them() {
        let to = |protocol, ports| selector(protocol, ports, "10.0.0.2", "10.0.0.2");
        assert!(outbound(to(0, 0..=65535), &packet(1)));
        assert!(outbound(to(17, 22136..=22136), &packet(17)));
        assert!(!outbound(to(17, 22137..=65535), &packet(17)));
        assert!(!outbound(to(6, 0..=65535), &packet(17)));
        let mut fragment = packet(17);
        fragment[7] = 1;
        assert!(!outbound(to(17, 22136..=22136), &fragment), "a later fragment shows no port");
        assert!(outbound(to(17, 0..=65535), &fragment));
    }

    #[test]
    fn families_do_not_mix_and_cut_packets_do_not_pass() {
        let six = selector(0, 0..=65535, "::", "ffff::");
        assert!(!outbound(six, &packet(17)));
        let all = selector(0, 0..=65535, "0.0.0.0", "255.255.255.255");
        for cut in 0..20 {
            assert!(!outbound(all.clone(), &packet(17)[..cut]));
        }
    }
}
