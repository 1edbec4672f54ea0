//! Published packets, packets made by other code, and properties.

use super::selector::{Selector, Selectors};
use super::*;
use crate::crypto::cipher::Cipher;
use crate::crypto::keys::DirectionKeys;
use crate::crypto::suite::EspSuite;
use crate::crypto::{Secret, protect::CipherError};
use proptest::prelude::*;
use std::net::IpAddr;
use std::sync::Arc;

const SUITES: [&str; 15] = [
    "aes128gcm16-noesn",
    "aes256gcm16-esn",
    "chacha20poly1305-esn",
    "chacha20poly1305-noesn",
    "aes128-sha256-noesn",
    "aes256-sha384-esn",
    "aes256-sha512-noesn",
    "aes192-sha1-esn",
    "aes128ctr-sha256-noesn",
    "aes256ctr-aesxcbc-esn",
    "aes256-aescmac-noesn",
    "aes192gcm16-esn",
    "aes256gcm12-noesn",
    "aes128gcm8-esn",
    "aes128gcm16iiv-esn",
];

fn everything() -> Arc<Selectors> {
    let range = |first: &str, last: &str| {
        Selector::addresses(first.parse::<IpAddr>().unwrap()..=last.parse::<IpAddr>().unwrap())
    };
    let all = vec![range("0.0.0.0", "255.255.255.255"), range("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")];
    Arc::new(Selectors { local: all.clone(), remote: all })
}

fn keys(suite: &EspSuite) -> DirectionKeys {
    DirectionKeys {
        encryption: Secret::new((0..).take(suite.encryption.key_material_length()).collect()),
        integrity: Secret::new((64..).take(suite.integrity.map_or(0, |integrity| integrity.key_length())).collect()),
    }
}

fn pair(suite: &str, spi: u32) -> (OutboundSa, InboundSa) {
    let suite: EspSuite = suite.parse().unwrap();
    (
        OutboundSa::new(EspSpi(spi), &suite, &keys(&suite), everything()).unwrap(),
        InboundSa::new(EspSpi(spi), &suite, &keys(&suite), everything(), WindowSize::default()).unwrap(),
    )
}

/// A UDP packet over IPv4 from 10.0.0.1 to 10.0.0.2, `length` octets in all.
fn ipv4(length: usize) -> Vec<u8> {
    let mut packet = hex::decode("4500001c00010000401100000a0000010a0000021234567800080000").unwrap();
    packet.resize(length.max(28), 0x33);
    let total = u16::try_from(packet.len()).unwrap().to_be_bytes();
    packet[2..4].copy_from_slice(&total);
    packet
}

fn seal(sa: &OutboundSa, inner: &[u8]) -> Result<Vec<u8>, SealError> {
    let mut buffer = vec![0xee; 9000];
    buffer[sa.header_length()..sa.header_length() + inner.len()].copy_from_slice(inner);
    let length = sa.seal_in_place(&mut buffer, inner.len())?;
    buffer.truncate(length);
    Ok(buffer)
}

fn open(sa: &InboundSa, packet: &[u8]) -> Result<Vec<u8>, OpenError> {
    let mut buffer = packet.to_vec();
    match sa.open_in_place(&mut buffer)? {
        Opened::Packet(_, range) => Ok(buffer[range].to_vec()),
        Opened::Dummy => Ok(Vec::new()),
    }
}

#[test]
fn a_chacha20_poly1305_packet_opens_as_in_rfc_7634_appendix_a() {
    let suite: EspSuite = "chacha20poly1305".parse().unwrap();
    let key = hex::decode("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3").unwrap();
    let keys = DirectionKeys { encryption: Secret::new(key), integrity: Secret::default() };
    let sa = InboundSa::new(EspSpi(0x0102_0304), &suite, &keys, everything(), WindowSize::default()).unwrap();
    let packet = hex::decode(concat!(
        "01020304000000051011121314151617",
        "24039428b97f417e3c13753a4f05087b67c352e6a7fab1b982d466ef407ae5c614ee8099d52844eb61aa95dfab4c02f7",
        "2aa71e7c4c4f64c9befe2facc638e8f3cbec163fac469b502773f6fb94e664da9165b82829f641e0",
        "76aaa8266b7fb0f7b11b369907e1ad43"
    ))
    .unwrap();
    assert_eq!(
        hex::encode(open(&sa, &packet).unwrap()),
        concat!(
            "45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec100007362708090a0b0c0d0e0f10111213",
            "1415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f3031323334353637"
        )
    );
    assert_eq!(open(&sa, &packet), Err(OpenError::Replayed));
}

/// Test cases of RFC 4106's author (draft-mcgrew-gcm-test-01): key, salt, ESN or not, 64-bit
/// sequence number, packet, text with its trailer. Their next headers are not those of tunnel
/// mode, so they are opened below the check of the inner packet.
#[test]
fn aes_gcm_packets_open_as_published() {
    for (key, salt, esn, sequence, packet, text) in [
        (
            "4c80cdefbb5d10da906ac73c3613a634",
            "2e443b68",
            true,
            0x8765_4321_0000_0000_u64,
            concat!(
                "00004321000000004956ed7e3b244cfe",
                "fecf537e729d5b07dc30df528dd22b768d1b98736696a6fd348509fa13ceac34cfa2436f14a3f3cf65925bf1f4a13c5d",
                "15b21e1884f5ff6247aeabb786b93bce61bc17d768fd9732459018148f6cbe722fd04796562dfdb4"
            ),
            concat!(
                "45000048699a000080114db7c0a80102c0a801010a9bf15638d301000001000000000000045f736970045f7564700373",
                "69700963796265726369747902646b000021000101020201"
            ),
        ),
        (
            "feffe9928665731c6d6a8f9467308308",
            "cafebabe",
            false,
            10,
            concat!(
                "0000a5f80000000afacedbaddecaf888",
                "deb22cd9b07c72c16e3a65beeb8df304a5a5897d33ae530f1ba76d5d114d2a5c3de81827c10e9a4f51330d0eec416642",
                "cfbb85a5b47e48a4ec3b9ba95d918bd183b70d3aa8bc6ee4c309e9d85a41ad4a"
            ),
            concat!(
                "4500003e698f000080114dccc0a80102c0a801010a980035002a2343b2d0010000010000000000000373697009637962",
                "65726369747902646b00000100010001"
            ),
        ),
        (
            "6c6567616c697a656d6172696a75616e61616e64646f69746265666f72656961",
            "7475726e",
            true,
            u64::MAX,
            concat!(
                "796b6963ffffffff333021696765746d",
                "f97ab2aa356d8edce17644ac8c78e25dd24dedbb29ebf1b64a274b39b49c3a864cd3d78ca4ae68a32b42458fb57dbe82",
                "1dcc63b9d0937ba2945f669368661a329fb4c053"
            ),
            concat!(
                "45000030da3a00008001df3bc0a80005c0a800010800c6cd0200070061626364",
                "65666768696a6b6c6d6e6f707172737401020201"
            ),
        ),
    ] {
        let encryption = if key.len() == 32 { "aes128gcm16" } else { "aes256gcm16" };
        let suite: EspSuite = encryption.parse().unwrap();
        let material = hex::decode([key, salt].concat()).unwrap();
        let cipher = Cipher::new(suite.encryption, None, &material, &[]).unwrap();
        let mut packet = hex::decode(packet).unwrap();
        let (header, rest) = packet.split_at_mut(HEADER);
        let (iv, sealed) = rest.split_at_mut(8);
        let spi = u32::from_be_bytes(header[..4].try_into().unwrap());
        let extended = outbound::extended_header(EspSpi(spi), sequence);
        let opened = cipher.open(iv, outbound::associated(esn, header, &extended), sealed).unwrap();
        assert_eq!(hex::encode(opened), text);
    }
}

/// AES-256-CBC by openssl, HMAC by Python; with ESN the high half (1) is in the ICV alone.
#[test]
fn cbc_packets_open_as_openssl_and_python_made_them() {
    let inner = ipv4(28);
    let body = concat!(
        "1122334400000005a0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
        "29dfe026d040805ac3c1b7bb2f2749a83d032bc1f7cde2e91211da25db063435"
    );
    let packet = hex::decode([body, "3255e0e8c37f38675e095f84ffb3a6cd"].concat()).unwrap();
    let (_, sa) = pair("aes256-sha256-noesn", 0x1122_3344);
    assert_eq!(open(&sa, &packet).unwrap(), inner);

    let packet = hex::decode([body, "3279198cfe2a2f6856da94cd04f54a8d366bd7ec6ab58d55"].concat()).unwrap();
    let (out, sa) = pair("aes256-sha384-esn", 0x1122_3344);
    assert_eq!(open(&sa, &packet), Err(OpenError::Cipher(CipherError::AuthenticationFailed)), "high half 0");
    // In two steps: a receiver takes a jump of half the space or more for an old packet.
    for sequence in [0x8000_0000, 0xffff_fff0] {
        out.skip_to(sequence);
        open(&sa, &seal(&out, &inner).unwrap()).unwrap();
    }
    assert_eq!(open(&sa, &packet).unwrap(), inner, "the low half wrapped: high half 1");
}

#[test]
fn every_suite_opens_what_it_sealed_at_every_length() {
    for suite in SUITES {
        let (out, sa) = pair(suite, 7);
        for length in (28..160).chain([1380, 1400, 8000]) {
            let inner = ipv4(length);
            let sealed = seal(&out, &inner).unwrap();
            assert_eq!(sealed.len(), out.sealed_length(length), "{suite} {length}");
            assert_eq!(open(&sa, &sealed).unwrap(), inner, "{suite} {length}");
            assert!(out.inner_room(sealed.len()) >= length);
            assert!(out.sealed_length(out.inner_room(sealed.len())) <= sealed.len());
        }
    }
}

/// RFC 8750 §4: nothing changes but that the vector is not sent. The explicit one is the sequence
/// number here as well, so the rest of the packet must be the same.
#[test]
fn an_implicit_iv_saves_eight_octets_and_changes_nothing_else() {
    for (explicit, implicit) in [
        ("aes128gcm16-noesn", "aes128gcm16iiv-noesn"),
        ("aes256gcm16-esn", "aes256gcm16iiv-esn"),
        ("chacha20poly1305-esn", "chacha20poly1305iiv-esn"),
    ] {
        let (explicit, _) = pair(explicit, 7);
        let (implicit, sa) = pair(implicit, 7);
        for sequence in [1, 0xffff_fffe] {
            explicit.skip_to(sequence);
            implicit.skip_to(sequence);
            let inner = ipv4(100);
            let (long, short) = (seal(&explicit, &inner).unwrap(), seal(&implicit, &inner).unwrap());
            assert_eq!([&long[..HEADER], &long[HEADER + 8..]].concat(), short);
            // A jump of half the space would be taken for an old packet.
            if sequence == 1 {
                assert_eq!(open(&sa, &short).unwrap(), inner);
            }
        }
    }
}

#[test]
fn a_changed_bit_is_noticed_and_does_not_move_the_window() {
    for suite in SUITES {
        let (out, sa) = pair(suite, 7);
        let sealed = seal(&out, &ipv4(60)).unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 0x80;
            assert!(open(&sa, &changed).is_err(), "{suite} octet {at}");
        }
        assert_eq!(sa.highest_sequence(), 0);
        for cut in 0..sealed.len() {
            assert!(open(&sa, &sealed[..cut]).is_err());
        }
        assert!(open(&sa, &sealed).is_ok());
    }
}

#[test]
fn sequence_numbers_end_and_never_wrap() {
    let (out, sa) = pair("aes256gcm16-noesn", 7);
    out.skip_to(u64::from(u32::MAX));
    assert!(out.is_nearly_exhausted());
    let last = seal(&out, &ipv4(40)).unwrap();
    assert_eq!(last[4..8], [0xff; 4]);
    assert!(open(&sa, &last).is_ok());
    for _ in 0..3 {
        assert_eq!(seal(&out, &ipv4(40)), Err(SealError::SequenceExhausted));
    }

    let (out, sa) = pair("aes256gcm16-esn", 7);
    out.skip_to(1 << 31);
    assert!(open(&sa, &seal(&out, &ipv4(40)).unwrap()).is_ok());
    out.skip_to(u64::from(u32::MAX));
    for _ in 0..4 {
        assert!(open(&sa, &seal(&out, &ipv4(40)).unwrap()).is_ok());
    }
    assert_eq!(sa.highest_sequence(), 0x1_0000_0002);
}

/// Seals what [`OutboundSa`] would refuse, as a peer that holds the keys could.
fn hostile(suite: &str, text: &[u8]) -> (InboundSa, Vec<u8>) {
    let (_, sa) = pair(suite, 7);
    let suite: EspSuite = suite.parse().unwrap();
    let keys = keys(&suite);
    let cipher =
        Cipher::new(suite.encryption, suite.integrity, keys.encryption.expose(), keys.integrity.expose()).unwrap();
    let header = [0, 0, 0, 7, 0, 0, 0, 1];
    let iv = vec![9; suite.encryption.iv_length()];
    let (mut body, mut icv) = (text.to_vec(), vec![0; cipher.icv_length()]);
    let extended = outbound::extended_header(EspSpi(7), 1);
    cipher.seal(&iv, outbound::associated(suite.esn, &header, &extended), &mut body, &mut icv).unwrap();
    (sa, [&header[..], &iv, &body, &icv].concat())
}

#[test]
fn an_authenticated_packet_must_still_hold_what_it_claims() {
    let trailer = |inner: &[u8], pad: usize, claimed: u8, next: u8| {
        let mut text = inner.to_vec();
        text.resize(inner.len() + pad, 1);
        text.extend([claimed, next]);
        text
    };
    let inner = ipv4(30);
    for (text, expected) in [
        (trailer(&inner, 0, 0, 4), Ok(inner.clone())),
        (trailer(&inner, 16, 16, 4), Ok(inner.clone())),
        // Padding for confidentiality, not counted in the pad length.
        (trailer(&inner, 300, 0, 4), Ok(inner.clone())),
        (trailer(&inner, 2, 2, 59), Ok(Vec::new())),
        (trailer(&[], 0, 0, 59), Ok(Vec::new())),
        (trailer(&inner, 0, 200, 4), Err(OpenError::MalformedInner)),
        (trailer(&inner, 0, 0, 41), Err(OpenError::MalformedInner)),
        (trailer(&inner, 0, 0, 6), Err(OpenError::MalformedInner)),
        (trailer(&inner[..29], 0, 0, 4), Err(OpenError::MalformedInner)),
        (trailer(&[], 2, 2, 4), Err(OpenError::MalformedInner)),
    ] {
        let (sa, packet) = hostile("aes128gcm16-noesn", &text);
        assert_eq!(open(&sa, &packet), expected);
    }
}

#[test]
fn inner_packets_outside_the_selectors_pass_in_neither_direction() {
    let suite: EspSuite = "aes128gcm16".parse().unwrap();
    let one = |address: &str| {
        let address: IpAddr = address.parse().unwrap();
        Selector::addresses(address..=address)
    };
    let ours = Arc::new(Selectors { local: vec![one("10.0.0.1")], remote: vec![one("10.0.0.2")] });
    let theirs = Arc::new(Selectors { local: vec![one("10.0.0.2")], remote: vec![one("10.0.0.1")] });
    let out = OutboundSa::new(EspSpi(7), &suite, &keys(&suite), Arc::clone(&ours)).unwrap();
    let inward = |selectors| InboundSa::new(EspSpi(7), &suite, &keys(&suite), selectors, WindowSize::new(64)).unwrap();
    let sealed = seal(&out, &ipv4(40)).unwrap();
    assert!(open(&inward(theirs), &sealed).is_ok());
    assert_eq!(open(&inward(ours), &sealed), Err(OpenError::OutsideSelectors));
    let mut spoofed = ipv4(40);
    spoofed[15] = 9;
    assert_eq!(seal(&out, &spoofed), Err(SealError::OutsideSelectors));
    assert_eq!(out.packets(), 1, "a refused packet takes no sequence number");
}

/// What RFC 4303 asks of a window, kept as the whole history.
#[derive(Default)]
struct NaiveWindow {
    seen: std::collections::HashSet<u64>,
    highest: u64,
}

impl NaiveWindow {
    fn is_fresh(&self, sequence: u64, size: u64) -> bool {
        sequence != 0 && !self.seen.contains(&sequence) && sequence + size > self.highest
    }

    fn mark(&mut self, sequence: u64) {
        self.seen.insert(sequence);
        self.highest = self.highest.max(sequence);
    }
}

proptest! {
    #[test]
    fn the_window_decides_as_the_whole_history_would(
        size in 64_usize..2000,
        start in prop_oneof![Just(0_u64), Just((1_u64 << 32) - 700), any::<u32>().prop_map(u64::from)],
        steps in proptest::collection::vec((prop_oneof![-2500_i64..2500, -70_i64..70, -9000_i64..9000], any::<bool>()), 1..400),
    ) {
        let size = WindowSize::new(size);
        let (mut window, mut naive) = (ReplayWindow::new(size), NaiveWindow::default());
        let mut at = start;
        for (step, authentic) in steps {
            at = at.saturating_add_signed(step);
            let fresh = naive.is_fresh(at, size.packets() as u64);
            prop_assert_eq!(window.is_fresh(at), fresh, "sequence {}", at);
            if fresh && authentic {
                naive.mark(at);
                window.mark(at);
            }
            prop_assert_eq!(window.highest(), naive.highest);
        }
    }

    #[test]
    fn the_high_half_is_found_within_the_window_and_half_the_space_ahead(
        highest in 1_u64..(1 << 40),
        offset in -1023_i64..(1 << 31),
    ) {
        let mut window = ReplayWindow::new(WindowSize::new(1024));
        window.mark(highest);
        let sequence = highest.saturating_add_signed(offset).max(1);
        let low = u32::try_from(sequence & 0xffff_ffff).unwrap();
        prop_assert_eq!(window.extend(low), Some(sequence));
    }

    #[test]
    fn opening_hostile_octets_never_panics(packet in proptest::collection::vec(any::<u8>(), 0..200)) {
        for suite in SUITES {
            let (_, sa) = pair(suite, 7);
            let mut with_spi = packet.clone();
            if let Some(spi) = with_spi.get_mut(..4) {
                spi.copy_from_slice(&[0, 0, 0, 7]);
            }
            prop_assert!(open(&sa, &with_spi).is_err());
            prop_assert!(open(&sa, &packet).is_err());
        }
    }
}
