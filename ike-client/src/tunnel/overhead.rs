//! What lies around a sealed packet on its way, to the octet.
//!
//! | carrier | outside of the sealed packet |
//! |---|---|
//! | UDP (RFC 3948, WireGuard) | IP header, UDP header |
//! | TCP (RFC 9329) | IP header, TCP header with timestamps, the record's length |
//!
//! Inside of it the suite decides: see [`Layout`](super::encapsulation::Layout).

use super::control::Carrier;

/// The UDP header (RFC 768).
const UDP: usize = 8;
/// The TCP header with the timestamps option, padded (RFC 9293 §3.1, RFC 7323 §3.2).
const TCP: usize = 20 + 12;
/// A record's length field (RFC 9329 §3).
const RECORD: usize = 2;

/// Returns the octets outside of a sealed packet, the outer IP header included.
pub const fn outside(carrier: Carrier, ipv4: bool) -> usize {
    let ip = if ipv4 { 20 } else { 40 };
    match carrier {
        Carrier::Udp => ip + UDP,
        Carrier::Tcp { .. } => ip + TCP + RECORD,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Secret;
    use crate::crypto::keys::DirectionKeys;
    use crate::crypto::suite::EspSuite;
    use crate::esp::selector::{Selector, Selectors};
    use crate::esp::{EspSpi, InboundSa, OutboundSa, WindowSize};
    use crate::tunnel::batch::OutboundBatch;
    use crate::tunnel::encapsulation::{Encapsulation, Layout};
    use crate::tunnel::esp::EspEncapsulation;
    use crate::tunnel::tally::Tally;
    use crate::tunnel::{established, wireguard};
    use std::sync::Arc;

    /// Suites, and what each adds to an inner packet of 1400 octets: header and IV, padding to its
    /// block with two octets of trailer, ICV.
    const SUITES: [(&str, usize); 13] = [
        ("aes128gcm16-noesn", 8 + 8 + 4 + 16),
        ("aes256gcm16-noesn", 8 + 8 + 4 + 16),
        ("aes256gcm16-esn", 8 + 8 + 4 + 16),
        ("aes256gcm12-noesn", 8 + 8 + 4 + 12),
        ("aes256gcm8-noesn", 8 + 8 + 4 + 8),
        ("aes256gcm16iiv-noesn", 8 + 4 + 16),
        ("chacha20poly1305-noesn", 8 + 8 + 4 + 16),
        ("chacha20poly1305iiv-noesn", 8 + 4 + 16),
        ("aes256-sha256-noesn", 8 + 16 + 8 + 16),
        ("aes128-sha1-noesn", 8 + 16 + 8 + 12),
        ("aes256-sha512-noesn", 8 + 16 + 8 + 32),
        ("aes256ctr-sha256-noesn", 8 + 8 + 4 + 16),
        ("aes128-aesxcbc-noesn", 8 + 16 + 8 + 12),
    ];

    fn esp(suite: &str) -> EspEncapsulation {
        let suite: EspSuite = suite.parse().unwrap();
        let keys = DirectionKeys {
            encryption: Secret::new(vec![7; suite.encryption.key_material_length()]),
            integrity: Secret::new(vec![9; suite.integrity.map_or(0, |integrity| integrity.key_length())]),
        };
        let all = vec![Selector::addresses("0.0.0.0".parse().unwrap()..="255.255.255.255".parse().unwrap())];
        let selectors = Arc::new(Selectors { local: all.clone(), remote: all });
        let outbound = OutboundSa::new(EspSpi(0x1000), &suite, &keys, Arc::clone(&selectors)).unwrap();
        let inbound = InboundSa::new(EspSpi(0x1000), &suite, &keys, selectors, WindowSize::default()).unwrap();
        let esp = EspEncapsulation::default();
        esp.install(outbound, inbound, false);
        esp
    }

    /// Seals a packet of that size and returns how long it became.
    fn sealed(encapsulation: &dyn Encapsulation, inner: usize) -> usize {
        let mut packet = vec![0; inner];
        packet[0] = 0x45;
        packet[2..4].copy_from_slice(&u16::try_from(inner).unwrap().to_be_bytes());
        packet[9] = 17;
        let mut batch = OutboundBatch::new();
        batch.start(encapsulation.layout().unwrap());
        batch.push(inner, 0).unwrap().copy_from_slice(&packet);
        encapsulation.seal(&mut batch, &Tally::default());
        let lengths: Vec<usize> = batch.sealed().map(|(octets, _)| octets.len()).collect();
        assert_eq!(lengths.len(), 1, "it was sealed");
        lengths[0]
    }

    #[test]
    fn every_suite_adds_what_the_table_says_and_what_is_computed_beforehand() {
        for (suite, overhead) in SUITES {
            let esp = esp(suite);
            let layout = esp.layout().unwrap();
            assert_eq!(sealed(&esp, 1400), 1400 + overhead, "{suite}");
            for inner in (20..1500).chain([9000]) {
                assert_eq!(sealed(&esp, inner), layout.sealed_length(inner), "{suite}, {inner}");
            }
        }
    }

    #[test]
    fn the_largest_packet_fills_the_first_hop_and_no_octet_more() {
        let layouts = SUITES.iter().map(|(suite, _)| esp(suite).layout().unwrap()).chain([wireguard::LAYOUT]);
        for layout in layouts {
            for (carrier, ipv4) in [Carrier::Udp, Carrier::Tcp { port: 443 }]
                .into_iter()
                .flat_map(|carrier| [(carrier, true), (carrier, false)])
            {
                // Below, the dearest suite over TCP and IPv6 would leave less than IPv6 must have inside.
                for first_hop in 1426..1500 {
                    let around = outside(carrier, ipv4);
                    let mtu = established::mtu(first_hop - around, layout, 1280);
                    let whole = |inner: u16| layout.sealed_length(inner.into()) + around;
                    assert!(whole(mtu) <= first_hop, "{layout:?} {carrier:?} {first_hop}");
                    assert!(mtu == 1400 || whole(mtu + 1) > first_hop, "{layout:?} {carrier:?} {first_hop}");
                }
            }
        }
    }

    #[test]
    fn carriers_add_their_headers() {
        let tcp = Carrier::Tcp { port: 443 };
        assert_eq!([outside(Carrier::Udp, true), outside(Carrier::Udp, false)], [28, 48]);
        assert_eq!([outside(tcp, true), outside(tcp, false)], [54, 74]);
        assert_eq!(wireguard::LAYOUT, Layout { headroom: 16, inside: 0, alignment: 16, trailer: 16 });
    }
}
