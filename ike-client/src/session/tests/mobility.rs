//! MOBIKE (RFC 4555): moves of this side, other addresses of the gateway, and forged ones.

use super::*;
use crate::wire::{ExchangeType, Flags, Header, InitiatorSpi, Message, Notify, NotifyType, ResponderSpi};
use std::net::IpAddr;

fn status(kind: NotifyType, data: &[u8]) -> Payload {
    Payload::Notify(Notify::new(kind, data.to_vec()))
}

/// A pair whose gateway says that it supports MOBIKE, and this beside.
fn mobile(beside: &[Payload]) -> Pair {
    let extra = [&[status(NotifyType::MOBIKE_SUPPORTED, &[])], beside].concat();
    let pair = Pair::with(configuration(), Behaviour { extra, ..Behaviour::default() });
    assert!(pair.client.can_move());
    pair
}

const NEW_HOME: &str = "203.0.113.5:4500";

/// Opens a request of the client and returns the data of its notifies of that kind.
fn notifies(pair: &mut Pair, request: &[u8], kind: NotifyType) -> Vec<Vec<u8>> {
    let received = pair.open_at_gateway(request);
    let ike_sa::Received::Request { payloads: Ok(payloads), .. } = received else { panic!("{received:?}") };
    let of_kind = |payload: &Payload| match payload {
        Payload::Notify(notify) if notify.notify_type == kind => Some(notify.data.clone()),
        _ => None,
    };
    payloads.iter().filter_map(of_kind).collect()
}

/// Returns a good answer to a request that tells a move: the token, and hashes that see no NAT.
fn good_answer(pair: &mut Pair, request: &[u8]) -> Vec<Payload> {
    let cookie = notifies(pair, request, NotifyType::COOKIE2).remove(0);
    let spis = Message::decode(request).unwrap().header;
    let path = context::Path {
        local: pair.client.context.path.remote,
        remote: pair.client.context.path.local,
        socket: LocalSocket::Encapsulated,
    };
    let detection = nat::notifies(spis.initiator_spi, spis.responder_spi, &path, None);
    detection.into_iter().map(Payload::Notify).chain([status(NotifyType::COOKIE2, &cookie)]).collect()
}

fn moves(pair: &Pair) -> Vec<(SocketAddr, SocketAddr)> {
    let moved = |event: &Event| match event {
        Event::Moved { local, gateway, .. } => Some((*local, *gateway)),
        _ => None,
    };
    pair.told.iter().filter_map(moved).collect()
}

#[test]
fn a_gateway_without_it_is_not_asked_to_follow() {
    let mut pair = Pair::new();
    assert!(!pair.client.can_move());
    pair.client.move_to(address(NEW_HOME), pair.client.remote(), pair.now);
    assert_eq!(sent(&mut pair.client), Vec::<Vec<u8>>::new());
    pair.assert_sound();
}

#[test]
fn the_gateway_is_told_of_a_move_and_its_answer_makes_it_count() {
    let mut pair = mobile(&[]);
    let gateway = pair.client.remote();
    pair.client.move_to(address(NEW_HOME), gateway, pair.now);
    // HDR, SK{N(UPDATE_SA_ADDRESSES), N(NAT_DETECTION_*), N(COOKIE2)} -->
    let request = sent_one(&mut pair.client);
    let answer = good_answer(&mut pair, &request);
    assert_eq!(moves(&pair), []);
    //      <-- HDR, SK{N(NAT_DETECTION_*), N(COOKIE2)}
    pair.answer_by_hand(&request, &answer);
    assert_eq!(moves(&pair), [(address(NEW_HOME), gateway)]);
    assert!(pair.client.poll_timeout().is_none_or(|(_, name)| name != TimerName::Keepalive), "no NAT here");
    pair.assert_sound();
}

#[test]
fn a_nat_in_front_of_the_new_place_is_kept_open() {
    let mut pair = mobile(&[]);
    pair.client.move_to(address("10.0.0.5:4500"), pair.client.remote(), pair.now);
    let request = sent_one(&mut pair.client);
    let mut answer = good_answer(&mut pair, &request);
    if let Payload::Notify(seen_from) = &mut answer[1] {
        seen_from.data = vec![1; 20];
    }
    pair.answer_by_hand(&request, &answer);
    let (due, name) = pair.client.poll_timeout().unwrap();
    assert_eq!((due, name), (pair.now + Duration::from_secs(20), TimerName::Keepalive));
}

#[test]
fn a_request_under_way_goes_on_at_the_new_place_before_the_gateway_is_told() {
    let mut pair = mobile(&[]);
    pair.client.check_liveness(pair.now);
    let question = sent_one(&mut pair.client);
    pair.client.move_to(address(NEW_HOME), pair.client.remote(), pair.now);
    assert_eq!(sent_one(&mut pair.client), question, "the very octets, on the new path");
    pair.give_gateway(&question);
    let answer = sent_one(&mut pair.gateway);
    pair.give_client(&answer);
    let request = sent_one(&mut pair.client);
    let answer = good_answer(&mut pair, &request);
    pair.answer_by_hand(&request, &answer);
    assert_eq!(moves(&pair).len(), 1);
}

#[test]
fn a_second_move_while_the_first_is_told_is_told_after_it() {
    let mut pair = mobile(&[]);
    pair.client.move_to(address(NEW_HOME), pair.client.remote(), pair.now);
    let first = sent_one(&mut pair.client);
    let answer = good_answer(&mut pair, &first);
    pair.client.move_to(address("203.0.113.6:4500"), pair.client.remote(), pair.now);
    assert_eq!(sent_one(&mut pair.client), first);
    pair.answer_by_hand(&first, &answer);
    assert_eq!(moves(&pair), [], "where this side was is of no interest");
    let second = sent_one(&mut pair.client);
    let answer = good_answer(&mut pair, &second);
    pair.answer_by_hand(&second, &answer);
    assert_eq!(moves(&pair), [(address("203.0.113.6:4500"), pair.client.remote())]);
}

#[test]
fn a_move_that_is_told_while_the_gateway_renews_the_ike_sa_is_told_on_the_new_one() {
    let mut pair = mobile(&[]);
    let gateway = pair.client.remote();
    pair.client.move_to(address(NEW_HOME), gateway, pair.now);
    // HDR, SK{N(UPDATE_SA_ADDRESSES), ...} --> lost
    sent_one(&mut pair.client);
    // <-- HDR, SK{SA, Ni, KEi}   HDR, SK{SA, Nr, KEr} -->
    pair.gateway.rekey_ike(pair.now);
    let renewal = sent_one(&mut pair.gateway);
    pair.give_client(&renewal);
    // ... and on the SA that it makes: HDR, SK{N(UPDATE_SA_ADDRESSES), ...} -->
    let [answer, update] = <[_; 2]>::try_from(sent(&mut pair.client)).unwrap();
    pair.give_gateway(&answer);
    let said = good_answer(&mut pair, &update);
    pair.answer_by_hand(&update, &said);
    assert_eq!(moves(&pair), [(address(NEW_HOME), gateway)]);
    assert!(pair.client.poll_timeout().is_none_or(|(_, name)| name != TimerName::Keepalive), "no NAT here");
    pair.settle();
    pair.assert_sound();
}

#[test]
fn a_question_on_a_replaced_ike_sa_is_answered_by_the_hashes_of_that_sa() {
    let mut pair = mobile(&[]);
    let State::Established(state) = &mut pair.gateway.state else { panic!("not established") };
    let spis = state.current_sa_mut().spis;
    // <-- HDR, SK{N(NAT_DETECTION_SOURCE_IP)}, which is late
    let asked = [status(NotifyType::NAT_DETECTION_SOURCE_IP, &[1; 20])];
    let late = send_raw(&mut pair.gateway, ExchangeType::INFORMATIONAL, &asked, pair.now).remove(0);
    pair.client.rekey_ike(pair.now);
    let renewal = sent_one(&mut pair.client);
    pair.give_gateway(&renewal);
    let answer = sent_one(&mut pair.gateway);
    pair.give_client(&answer);
    sent(&mut pair.client);
    pair.give_client(&late);
    let answer = sent_one(&mut pair.client);
    let State::Established(state) = &mut pair.gateway.state else { panic!("not established") };
    let replaced = state.replaced_sa_for_test().unwrap();
    let message = Message::decode(&answer).unwrap();
    let received = replaced.receive(&answer, &message, &mut pair.gateway.context, pair.now);
    let ike_sa::Received::Response { payloads: Ok(payloads) } = received else { panic!("{received:?}") };
    // The other hash is disguised.
    let [_, destination] = nat::notifies(spis.initiator, spis.responder, &pair.client.context.path, None);
    assert!(payloads.contains(&Payload::Notify(destination)), "{payloads:?}");
}

#[test]
fn a_refused_move_and_a_wrong_token_end_the_session() {
    for (answer, cause) in [
        (status(NotifyType::UNACCEPTABLE_ADDRESSES, &[]), CloseCause::AddressChangeRefused),
        (status(NotifyType::UNEXPECTED_NAT_DETECTED, &[]), CloseCause::AddressChangeRefused),
        (
            status(NotifyType::COOKIE2, &[0; 16]),
            CloseCause::PeerMisbehaved { what: "it returned another token than it was sent".into() },
        ),
    ] {
        let mut pair = mobile(&[]);
        pair.client.move_to(address(NEW_HOME), pair.client.remote(), pair.now);
        let request = sent_one(&mut pair.client);
        pair.answer_by_hand(&request, &[answer]);
        assert_eq!(pair.closed[0], Some(cause));
    }
}

#[test]
fn the_gateways_token_is_returned_and_its_wish_to_move_us_is_refused() {
    let mut pair = mobile(&[]);
    let before = pair.client.remote();
    let token = status(NotifyType::COOKIE2, &[7; 24]);
    assert_eq!(pair.inform_client(std::slice::from_ref(&token)), [token]);
    let wish = status(NotifyType::UPDATE_SA_ADDRESSES, &[]);
    assert_eq!(pair.inform_client(&[wish]), [status(NotifyType::UNACCEPTABLE_ADDRESSES, &[])]);
    assert_eq!((pair.client.remote(), moves(&pair)), (before, vec![]));
    pair.assert_sound();
}

#[test]
fn forged_address_changes_move_nothing() {
    let mut pair = mobile(&[status(NotifyType::ADDITIONAL_IP4_ADDRESS, &[198, 51, 100, 2])]);
    let before = pair.client.remote();
    // Unprotected notifies, under the right SPIs and under none, from everywhere.
    let State::Established(state) = &mut pair.client.state else { panic!("not established") };
    let spis = state.current_sa_mut().spis;
    for (initiator, responder) in [(spis.initiator, spis.responder), (InitiatorSpi(0), ResponderSpi::ZERO)] {
        for kind in [NotifyType::UPDATE_SA_ADDRESSES, NotifyType::ADDITIONAL_IP4_ADDRESS] {
            let header = Header::new(initiator, responder, ExchangeType::INFORMATIONAL, Flags::new(false, false), 0);
            let forged = Message::new(header, vec![status(kind, &[203, 0, 113, 66])]).encode().unwrap();
            for from in ["198.51.100.1:4500", "198.51.100.2:4500", "203.0.113.66:4500"] {
                pair.client.handle_datagram(&forged, address(from), pair.now);
            }
        }
    }
    // A real message of the gateway, from where it never said it is.
    let request = send_raw(&mut pair.gateway, ExchangeType::INFORMATIONAL, &[], pair.now).remove(0);
    pair.client.handle_datagram(&request, address("203.0.113.66:4500"), pair.now);
    assert_eq!(pair.client.remote(), before);
    assert_eq!(pair.client.context.alternatives, [address("198.51.100.2:0").ip()]);
    pair.note();
    assert_eq!(moves(&pair), []);
}

#[test]
fn a_silent_gateway_is_asked_at_its_other_addresses_and_followed_to_the_one_that_answers() {
    let mut pair = mobile(&[
        status(NotifyType::ADDITIONAL_IP4_ADDRESS, &[198, 51, 100, 2]),
        status(NotifyType::ADDITIONAL_IP4_ADDRESS, &[127, 0, 0, 1]),
        status(NotifyType::ADDITIONAL_IP4_ADDRESS, &[1, 2]),
        status(NotifyType::ADDITIONAL_IP6_ADDRESS, &[0x20; 16]),
    ]);
    assert_eq!(pair.client.context.alternatives, ["198.51.100.2".parse::<IpAddr>().unwrap()]);
    pair.client.check_liveness(pair.now);
    let question = sent_one(&mut pair.client);
    let (due, _) = pair.client.poll_timeout().unwrap();
    pair.now = due;
    pair.client.handle_timeout(due);
    let destinations: Vec<SocketAddr> =
        std::iter::from_fn(|| pair.client.poll_transmit()).map(|transmit| transmit.destination).collect();
    assert_eq!(destinations, [address("198.51.100.1:4500"), address("198.51.100.2:4500")]);
    pair.give_gateway(&question);
    let answer = sent_one(&mut pair.gateway);
    pair.client.handle_datagram(&answer, address("198.51.100.2:4500"), pair.now);
    assert_eq!(pair.client.remote(), address("198.51.100.2:4500"));
    let request = sent_one(&mut pair.client);
    let answer = good_answer(&mut pair, &request);
    pair.answer_by_hand(&request, &answer);
    assert_eq!(moves(&pair).len(), 1);
}

#[test]
fn attack_a_response_that_is_passed_on_from_another_port_moves_no_port() {
    let mut pair = mobile(&[status(NotifyType::ADDITIONAL_IP4_ADDRESS, &[198, 51, 100, 2])]);
    pair.client.check_liveness(pair.now);
    let question = sent_one(&mut pair.client);
    pair.give_gateway(&question);
    let answer = sent_one(&mut pair.gateway);
    pair.client.handle_datagram(&answer, address("198.51.100.2:53"), pair.now);
    assert_eq!(pair.client.remote(), address("198.51.100.2:4500"));
    let update = pair.client.poll_transmit().unwrap();
    assert_eq!(update.destination, address("198.51.100.2:4500"));
    pair.note();
    assert_eq!(moves(&pair), [], "nobody has answered there");
}

#[test]
fn a_list_of_addresses_replaces_the_one_before_and_has_an_end() {
    let mut pair = mobile(&[status(NotifyType::ADDITIONAL_IP4_ADDRESS, &[198, 51, 100, 2])]);
    let many: Vec<Payload> =
        (10..40).map(|last| status(NotifyType::ADDITIONAL_IP4_ADDRESS, &[198, 51, 100, last])).collect();
    pair.inform_client(&many);
    assert_eq!(pair.client.context.alternatives.len(), 8);
    pair.inform_client(&[status(NotifyType::NO_ADDITIONAL_ADDRESSES, &[])]);
    assert_eq!(pair.client.context.alternatives, Vec::<IpAddr>::new());
    pair.inform_client(&[]);
    pair.assert_sound();
}
