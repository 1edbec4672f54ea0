//! TCP's maximum segment size, kept to what the tunnel takes (RFC 9293 §3.7.1).
//!
//! A host behind this one offers what its own network takes. Its segments would be too large for the
//! tunnel, and where nobody heeds "too big" they would be lost; so the offer is lowered in passing, in
//! both directions. Offers of this host are right from the start.

use super::checksum;
use super::headers::{Shape, TCP, put, u16_at};

/// TCP's flags octet: SYN.
const SYN: u8 = 0x02;
/// Where in the TCP header the flags lie.
const FLAGS: usize = 13;
/// Where the checksum lies.
const CHECKSUM: usize = 16;
/// The header without options.
const BARE: usize = 20;
/// The options that end the list, fill it, and name the size.
const END: u8 = 0;
const NOTHING: u8 = 1;
const MAXIMUM_SEGMENT_SIZE: u8 = 2;

/// Lowers the segment size that a SYN offers to what fits packets of `mtu` octets. Other packets stay
/// as they are.
pub fn clamp(packet: &mut [u8], mtu: u16) {
    let Some(ip) = syn(packet) else { return };
    let Some(shape) = Shape::read(packet).filter(|shape| shape.protocol == TCP) else { return };
    let most = mtu.saturating_sub(if shape.ipv6 { 60 } else { 40 });
    let mut at = ip + BARE;
    while at < shape.headers {
        let length = match packet.get(at) {
            Some(&NOTHING) => 1,
            None | Some(&END) => return,
            Some(&kind) => {
                let Some(length) = packet.get(at + 1).copied().map(usize::from).filter(|length| *length >= 2) else {
                    return;
                };
                if kind == MAXIMUM_SEGMENT_SIZE && length == 4 && at + 4 <= shape.headers {
                    lower(packet, ip, at + 2, most);
                    return;
                }
                length
            }
        };
        at += length;
    }
}

/// Returns where the TCP header begins, if the packet is the first of a TCP connection: seen at a
/// glance, for this is asked of every packet.
fn syn(packet: &[u8]) -> Option<usize> {
    let ip = match packet {
        [first, ..] if first >> 4 == 4 && *packet.get(9)? == TCP => usize::from(first & 0x0f) * 4,
        [first, ..] if first >> 4 == 6 && *packet.get(6)? == TCP => 40,
        _ => return None,
    };
    // A later fragment has no TCP header.
    if packet.first()? >> 4 == 4 && u16_at(packet, 6)? & 0x1fff != 0 {
        return None;
    }
    (packet.get(ip + FLAGS)? & SYN != 0).then_some(ip)
}

/// Writes the lower size, and what it changes of the checksum (RFC 1624).
fn lower(packet: &mut [u8], ip: usize, at: usize, most: u16) {
    let (Some(offered), Some(sum)) = (u16_at(packet, at), u16_at(packet, ip + CHECKSUM)) else { return };
    if offered <= most {
        return;
    }
    put(packet, at, &most.to_be_bytes());
    // An option may begin at an odd octet: its halves then belong to two words of the sum.
    let swapped = (at - ip) % 2 == 1;
    let word = |value: u16| if swapped { value.swap_bytes() } else { value };
    let sum = u64::from(!sum) + u64::from(!word(offered)) + u64::from(word(most));
    put(packet, ip + CHECKSUM, &checksum::finish(sum).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A TCP packet with these flags and options, its checksum right.
    fn packet(ipv6: bool, flags: u8, options: &[u8]) -> Vec<u8> {
        let header = BARE + options.len();
        let ip = if ipv6 { 40 } else { 20 };
        let mut packet = vec![0; ip + header + 5];
        if ipv6 {
            packet[0] = 0x60;
            packet[6] = TCP;
            packet[8..40].fill(0x5a);
        } else {
            packet[0] = 0x45;
            packet[9] = TCP;
            packet[12..20].fill(0x5a);
        }
        packet[ip + 12] = u8::try_from(header / 4 * 16).unwrap();
        packet[ip + FLAGS] = flags;
        packet[ip + BARE..ip + header].copy_from_slice(options);
        let shape = Shape::read(&packet).unwrap();
        let total = packet.len();
        shape.write_length(&mut packet, total);
        let partial = shape.pseudo_header(&packet, total - ip);
        let sum = checksum::finish(checksum::sum(&packet[ip..], partial));
        put(&mut packet, ip + CHECKSUM, &sum.to_be_bytes());
        packet
    }

    fn is_sound(packet: &[u8]) -> bool {
        let shape = Shape::read(packet).unwrap();
        let partial = shape.pseudo_header(packet, packet.len() - shape.ip);
        checksum::finish(checksum::sum(&packet[shape.ip..], partial)) == 0
    }

    #[test]
    fn an_offer_that_is_too_large_is_lowered_and_the_checksum_stays_right() {
        for (ipv6, expected) in [(false, 1240_u16), (true, 1220)] {
            for (before, after) in [
                (&[2_u8, 4, 0x05, 0xb4][..], 2),
                (&[1, 1, 2, 4, 0x23, 0x00, 3, 3, 7, 1, 1, 1][..], 4),
                (&[1, 2, 4, 0xff, 0xff, 4, 2, 1][..], 3),
            ] {
                for flags in [SYN, SYN | 0x10] {
                    let mut syn = packet(ipv6, flags, before);
                    assert!(is_sound(&syn));
                    clamp(&mut syn, 1280);
                    let ip = if ipv6 { 40 } else { 20 };
                    assert_eq!(u16_at(&syn, ip + BARE + after), Some(expected), "{before:?}");
                    assert!(is_sound(&syn), "{before:?}");
                }
            }
        }
    }

    #[test]
    fn everything_else_stays_as_it_is() {
        let small = packet(false, SYN, &[2, 4, 0x02, 0x18]);
        let data = packet(false, 0x10, &[2, 4, 0x05, 0xb4]);
        let none = packet(true, SYN, &[1, 1, 1, 1]);
        let broken = packet(false, SYN, &[5, 0, 2, 4]);
        let cut = packet(false, SYN, &[1, 1, 1, 2]);
        let mut fragment = packet(false, SYN, &[2, 4, 0x05, 0xb4]);
        fragment[7] = 1;
        let mut datagram = packet(false, SYN, &[2, 4, 0x05, 0xb4]);
        datagram[9] = 17;
        for original in [small, data, none, broken, cut, fragment, datagram, vec![], vec![0x45], vec![0x60; 7]] {
            let mut seen = original.clone();
            clamp(&mut seen, 1280);
            assert_eq!(seen, original);
        }
    }
}
