//! Two peers back to back, messages handed over one by one.

use super::*;
use crate::esp::selector::Selector;
use boringtun::x25519::{PublicKey, StaticSecret};

/// A packet over IPv4 from `from` to `to` with 40 octets of content.
fn packet(from: [u8; 4], to: [u8; 4]) -> Vec<u8> {
    let mut packet = vec![0; 60];
    packet[0] = 0x45;
    packet[1] = 0xb8;
    packet[3] = 60;
    packet[9] = 17;
    packet[12..16].copy_from_slice(&from);
    packet[16..20].copy_from_slice(&to);
    packet
}

const LEFT: [u8; 4] = [10, 0, 0, 1];
const RIGHT: [u8; 4] = [10, 0, 0, 2];

fn peers(persistent: Option<Duration>) -> (WireGuardEncapsulation, WireGuardEncapsulation) {
    let (left, right) = (StaticSecret::from([1; 32]), StaticSecret::from([2; 32]));
    let (left_public, right_public) = (PublicKey::from(&left), PublicKey::from(&right));
    let only = |octets: [u8; 4]| {
        let address = std::net::IpAddr::from(octets);
        vec![Selector::addresses(address..=address)]
    };
    let tunn = |own, other, index| Tunn::new(own, other, Some([3; 32]), None, index, None);
    (
        WireGuardEncapsulation::new(
            tunn(left, right_public, 1),
            persistent,
            Selectors { local: only(LEFT), remote: only(RIGHT) },
        ),
        WireGuardEncapsulation::new(
            tunn(right, left_public, 2),
            None,
            Selectors { local: only(RIGHT), remote: only(LEFT) },
        ),
    )
}

fn sent(peer: &WireGuardEncapsulation) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| peer.poll_event())
        .filter_map(|event| match event {
            EncapsulationEvent::Transmit(message) => Some(message),
            _ => None,
        })
        .collect()
}

/// Opens a datagram and returns the inner packets that came of it.
fn open(peer: &WireGuardEncapsulation, datagram: &[u8], tally: &Tally) -> Vec<Vec<u8>> {
    let mut batch = InboundBatch::new(1);
    batch.start();
    batch.buffer[..datagram.len()].copy_from_slice(datagram);
    batch.push(0, datagram.len(), datagram.len(), 0);
    peer.open(&mut batch, tally, &mut |_| {});
    let (buffer, ranges) = batch.opened();
    ranges.iter().map(|range| buffer[range.clone()].to_vec()).collect()
}

/// Seals packets and returns what leaves, with its traffic class.
fn seal(peer: &WireGuardEncapsulation, packets: &[Vec<u8>], tally: &Tally) -> Vec<(Vec<u8>, u8)> {
    let mut batch = OutboundBatch::new();
    batch.start(peer.layout().unwrap());
    for packet in packets {
        batch.push(packet.len(), ecn::class(packet)).unwrap().copy_from_slice(packet);
    }
    peer.seal(&mut batch, tally);
    leaving(&batch)
}

fn leaving(batch: &OutboundBatch) -> Vec<(Vec<u8>, u8)> {
    let mut out = Vec::new();
    let taken = batch.runs::<()>(1, |run| {
        out.push((run.contents.to_vec(), run.class));
        Ok(())
    });
    assert_eq!(taken, Ok(()));
    out
}

/// Hands messages over until nobody has any.
fn shake_hands(left: &WireGuardEncapsulation, right: &WireGuardEncapsulation) {
    let tally = Tally::default();
    left.initiate(false);
    for _ in 0..4 {
        sent(left).iter().for_each(|message| drop(open(right, message, &tally)));
        sent(right).iter().for_each(|message| drop(open(left, message, &tally)));
    }
    assert_eq!(tally.read().unauthenticated + tally.read().dropped_inbound, 0);
}

#[test]
fn packets_are_padded_and_opened_and_their_class_does_not_show() {
    let ((left, right), tally) = (peers(None), Tally::default());
    shake_hands(&left, &right);
    let packet = packet(LEFT, RIGHT);
    let [(sealed, class)] = &seal(&left, std::slice::from_ref(&packet), &tally)[..] else { panic!("one leaves") };
    assert_eq!((sealed.len(), *class), (16 + 64 + 16, 0));
    assert_eq!(open(&right, sealed, &tally), [packet]);
    assert!(open(&right, sealed, &tally).is_empty());
    assert_eq!(tally.read().replayed, 1);
    let mut forged = seal(&left, &[self::packet(LEFT, RIGHT)], &tally).remove(0).0;
    forged[20] ^= 1;
    assert!(open(&right, &forged, &tally).is_empty());
    assert_eq!(tally.read().unauthenticated, 1);
}

#[test]
fn what_is_outside_the_allowed_addresses_passes_in_neither_direction() {
    let ((left, right), tally) = (peers(None), Tally::default());
    shake_hands(&left, &right);
    assert!(seal(&left, &[packet([10, 0, 0, 9], RIGHT), packet(LEFT, [10, 0, 0, 9])], &tally).is_empty());
    assert_eq!(tally.read().dropped_outbound, 2);
    // The other side does not look at what it sends.
    let mut loose = right;
    loose.selectors.remote.push(Selector::addresses("0.0.0.0".parse().unwrap()..="255.255.255.255".parse().unwrap()));
    let elsewhere = seal(&loose, &[packet(RIGHT, [10, 0, 0, 9])], &tally).remove(0).0;
    assert!(open(&left, &elsewhere, &tally).is_empty());
    assert_eq!(tally.read().dropped_inbound, 1);
}

#[test]
fn packets_before_the_first_session_are_held_for_a_moment_and_no_more_than_a_few() {
    let ((left, right), tally) = (peers(None), Tally::default());
    let packets = vec![packet(LEFT, RIGHT); MOST_HELD + 5];
    assert!(seal(&left, &packets, &tally).is_empty());
    assert_eq!(tally.read().dropped_outbound, 5);
    shake_hands(&left, &right);
    let mut batch = OutboundBatch::new();
    batch.start(left.layout().unwrap());
    left.restore_held(&mut batch);
    left.seal(&mut batch, &tally);
    let opened: Vec<_> = leaving(&batch).iter().flat_map(|(sealed, _)| open(&right, sealed, &tally)).collect();
    assert_eq!(opened.len(), MOST_HELD);
    batch.start(left.layout().unwrap());
    left.restore_held(&mut batch);
    assert!(batch.is_empty(), "what was given back once is gone");
}

#[test]
fn data_that_is_not_answered_by_data_is_answered_by_a_keepalive() {
    let ((left, right), tally) = (peers(None), Tally::default());
    shake_hands(&left, &right);
    // Question and answer within one tick of boringtun's clock.
    for (sealed, _) in seal(&left, &[packet(LEFT, RIGHT)], &tally) {
        assert_eq!(open(&right, &sealed, &tally).len(), 1);
    }
    for (sealed, _) in seal(&right, &[packet(RIGHT, LEFT)], &tally) {
        assert_eq!(open(&left, &sealed, &tally).len(), 1);
    }
    let due = left.state().keepalive_due().unwrap();
    assert!(due.saturating_since(clock::now()) <= KEEPALIVE);
    assert!(right.state().keepalive_due().is_none(), "the answer was data");
    left.handle_timeout(due);
    let [keepalive] = &sent(&left)[..] else { panic!("one keepalive") };
    assert_eq!(keepalive.len(), 32);
    assert!(open(&right, keepalive, &tally).is_empty());
    assert_eq!(tally.read().unauthenticated, 0);
    assert!(left.state().keepalive_due().is_none());
}

#[test]
fn persistent_keepalives_go_on_and_make_a_session_where_there_is_none() {
    let (left, _) = peers(Some(Duration::from_secs(25)));
    let due = left.state().keepalive_due().unwrap();
    left.handle_timeout(due);
    let messages = sent(&left);
    assert_eq!(messages.first().and_then(|message| message.first()), Some(&INITIATION));
    assert_eq!(left.state().keepalive_due(), Some(due + Duration::from_secs(25)));
}

#[test]
fn a_new_session_is_told_each_time() {
    let ((left, right), tally) = (peers(None), Tally::default());
    left.initiate(false);
    let ups = |peer: &WireGuardEncapsulation| {
        std::iter::from_fn(|| peer.poll_event()).filter(|event| *event == EncapsulationEvent::SessionUp).count()
    };
    let message = sent(&left).remove(0);
    open(&right, &message, &tally);
    let answer = sent(&right).remove(0);
    open(&left, &answer, &tally);
    assert_eq!(ups(&left), 1);
    assert!(open(&left, &answer, &tally).is_empty(), "an answer counts once");
    assert_eq!(ups(&left), 0);
}

#[test]
fn a_peer_with_another_key_gets_no_answer() {
    let ((left, _), (_, stranger)) = (peers(None), {
        let tunn = Tunn::new(StaticSecret::from([9; 32]), PublicKey::from([8; 32]), None, None, 7, None);
        ((), WireGuardEncapsulation::new(tunn, None, Selectors::default()))
    });
    let tally = Tally::default();
    left.initiate(false);
    let message = sent(&left).remove(0);
    open(&stranger, &message, &tally);
    assert!(sent(&stranger).is_empty());
    assert_eq!(tally.read().unauthenticated, 1);
}
