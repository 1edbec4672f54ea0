//! Explicit congestion notification through the tunnel (RFC 6040, which RFC 7296 §2.24 builds on).

/// The "congestion experienced" mark.
const CE: u8 = 0b11;

/// The mark of a sender that can do more than the usual with marks (RFC 9331).
const ECT_1: u8 = 0b01;
/// The mark of any other sender that understands marks.
const ECT_0: u8 = 0b10;

/// Reads the traffic class of an IP packet: differentiated services, then the congestion bits.
pub fn class(packet: &[u8]) -> u8 {
    match packet {
        [first, second, ..] if first >> 4 == 4 => *second,
        [first, second, ..] => first << 4 | second >> 4,
        _ => 0,
    }
}

/// Reads the congestion bits of an IP packet.
pub fn of(packet: &[u8]) -> u8 {
    class(packet) & 0b11
}

/// Brings the outer header's mark into the inner packet (RFC 6040 §4.2). Returns false where the packet must be
/// dropped: congestion was marked on the way, and the inner packet cannot say so.
pub fn decapsulate(outer: u8, inner: &mut [u8]) -> bool {
    match (outer & 0b11, of(inner)) {
        (CE, 0) => return false,
        (CE, ECT_0 | ECT_1) => set(inner, CE),
        (ECT_1, ECT_0) => set(inner, ECT_1),
        _ => {}
    }
    true
}

fn set(packet: &mut [u8], mark: u8) {
    match packet {
        [first, class, rest @ ..] if *first >> 4 == 4 => {
            let old = u16::from_be_bytes([*first, *class]);
            *class = *class & !CE | mark;
            let new = u16::from_be_bytes([*first, *class]);
            // The checksum lies at octet 10 of the header, 8 behind the first two.
            if let Some([high, low]) = rest.get_mut(8..10) {
                let sum = u32::from(!u16::from_be_bytes([*high, *low])) + u32::from(!old) + u32::from(new);
                let folded = (sum & 0xffff) + (sum >> 16);
                let folded = (folded & 0xffff) + (folded >> 16);
                let [a, b] = u16::try_from(folded).map_or([0, 0], |sum| (!sum).to_be_bytes());
                (*high, *low) = (a, b);
            }
        }
        [_, class, ..] => *class = *class & !(CE << 4) | mark << 4,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::offload::checksum;

    fn ipv4(ecn: u8) -> Vec<u8> {
        let mut packet = hex::decode("4500001c00010000401100000a0000010a0000021234567800080000").unwrap();
        packet[1] = 0b1000 | ecn;
        let sum = checksum::finish(checksum::sum(&packet[..20], 0)).to_be_bytes();
        packet[10..12].copy_from_slice(&sum);
        packet
    }

    #[test]
    fn a_mark_on_the_way_is_brought_inside_and_the_header_stays_whole() {
        for inner in [1, 2, 3] {
            let mut packet = ipv4(inner);
            assert!(decapsulate(CE, &mut packet));
            assert_eq!(of(&packet), CE);
            assert_eq!(checksum::finish(checksum::sum(&packet[..20], 0)), 0, "the header checksum holds");
        }
        let mut six = vec![0x60, 0x20, 0, 0];
        assert!(decapsulate(CE, &mut six));
        assert_eq!(of(&six), CE);
    }

    #[test]
    fn every_pair_of_marks_is_combined_as_the_table_says() {
        // RFC 6040 §4.2, figure 4: by inner mark, then by outer mark; none: dropped.
        let table = [
            [Some(0), Some(0), Some(0), None],
            [Some(1), Some(1), Some(1), Some(3)],
            [Some(2), Some(1), Some(2), Some(3)],
            [Some(3), Some(3), Some(3), Some(3)],
        ];
        for (inner, row) in (0_u8..).zip(table) {
            for (outer, expected) in (0_u8..).zip(row) {
                let mut four = ipv4(inner);
                let mut six = vec![0x6b, 0x80 | inner << 4, 0, 0];
                for packet in [&mut four, &mut six] {
                    let passed = decapsulate(outer, packet);
                    assert_eq!(passed.then(|| of(packet)), expected, "inner {inner:02b}, outer {outer:02b}");
                }
                assert_eq!(checksum::finish(checksum::sum(&four[..20], 0)), 0, "the header checksum holds");
                assert_eq!(class(&six) >> 2, 0b10_1110, "differentiated services stay as they are");
            }
        }
    }

    #[test]
    fn a_mark_that_the_packet_cannot_carry_drops_it_and_without_a_mark_nothing_changes() {
        assert!(!decapsulate(CE, &mut ipv4(0)));
        for outer in 0..3 {
            let mut packet = ipv4(1);
            assert!(decapsulate(outer, &mut packet));
            assert_eq!(packet, ipv4(1));
        }
    }
}
