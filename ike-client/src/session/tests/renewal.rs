//! Renewal, deletion and liveness of an SA that stands, from either side.

use super::*;
use crate::wire::{ExchangeType, Message, Notify, NotifyType, TrafficSelector};

fn exchange_type(message: &[u8]) -> ExchangeType {
    Message::decode(message).unwrap().header.exchange
}

/// Suites whose renewals bring a fresh secret.
fn with_forward_secrecy() -> Configuration {
    Configuration { esp_suites: vec!["aes256gcm16-x25519".parse().unwrap()], ..configuration() }
}

#[test]
fn either_side_renews_the_child_sa_with_and_without_forward_secrecy() {
    for configuration in [configuration(), with_forward_secrecy()] {
        for by_client in [true, false] {
            let mut pair = Pair::with(configuration.clone(), Behaviour::default());
            let before = pair.children.clone();
            // HDR, SK{N(REKEY_SA), SA, Ni, [KEi,] TSi, TSr} -->
            //      <-- HDR, SK{SA, Nr, [KEr,] TSi, TSr}
            // HDR, SK{D} -->   <-- HDR, SK{D}
            let side = if by_client { &mut pair.client } else { &mut pair.gateway };
            side.rekey_child(pair.now);
            pair.settle();
            assert_ne!(pair.children, before);
            pair.assert_sound();
        }
    }
}

#[test]
fn the_side_that_answered_waits_with_sending_until_the_other_is_ready() {
    let mut pair = Pair::new();
    pair.gateway.rekey_child(pair.now);
    let request = sent_one(&mut pair.gateway);
    pair.client.handle_datagram(&request, pair.client.remote(), pair.now);
    let Some(Event::ChildInstalled(child)) = pair.client.poll_event() else { panic!("installed") };
    assert_eq!(child.outbound_from, OutboundFrom::FirstInbound);
    assert_eq!(child.replaces, Some(pair.children[0][0]));
    assert_eq!(
        child.local_selectors,
        [crate::wire::TrafficSelector::addresses("10.9.0.7".parse().unwrap(), "10.9.0.7".parse().unwrap())]
    );
}

#[test]
fn either_side_renews_the_ike_sa_again_and_again() {
    let mut pair = Pair::new();
    for round in 0..6 {
        let children = pair.children.clone();
        // HDR, SK{SA, Ni, KEi} -->   <-- HDR, SK{SA, Nr, KEr}
        // HDR, SK{D} -->   <-- HDR, SK{}
        let side = if round % 3 == 0 { &mut pair.client } else { &mut pair.gateway };
        side.rekey_ike(pair.now);
        pair.settle();
        assert_eq!(pair.children, children, "the CHILD SAs move along");
        pair.assert_sound();
        pair.client.rekey_child(pair.now);
        pair.settle();
        pair.assert_sound();
    }
}

#[test]
fn a_renewal_in_a_group_that_the_peer_does_not_want_is_tried_in_its_group() {
    let mut pair = Pair::new();
    pair.gateway.context.configuration.ike_suites.remove(0);
    pair.client.rekey_ike(pair.now);
    pair.settle();
    pair.assert_sound();
    assert_eq!(pair.warnings, []);

    let mut pair = Pair::with(
        Configuration {
            esp_suites: vec!["aes256gcm16-x25519".parse().unwrap(), "aes256gcm16-ecp256".parse().unwrap()],
            ..configuration()
        },
        Behaviour::default(),
    );
    pair.gateway.context.configuration.esp_suites.remove(0);
    pair.client.rekey_child(pair.now);
    pair.settle();
    pair.assert_sound();
    assert_eq!(pair.warnings, []);
}

#[test]
fn a_refused_renewal_is_warned_about_and_tried_again() {
    let mut pair = Pair::new();
    let suites = pair.gateway.context.configuration.esp_suites.clone();
    pair.gateway.context.configuration.esp_suites = vec!["chacha20poly1305".parse().unwrap()];
    let before = pair.children.clone();
    pair.client.rekey_child(pair.now);
    pair.settle();
    assert_eq!(pair.warnings, [Warning::RekeyRefused]);
    pair.assert_sound();
    assert_eq!(pair.children, before);
    pair.gateway.context.configuration.esp_suites = suites;
    pair.wait_until(pair.now + Duration::from_secs(121));
    pair.assert_sound();
    assert_ne!(pair.children, before);
}

#[test]
fn weaker_than_configured_is_refused_in_a_renewal_too() {
    let mut pair = Pair::with(with_forward_secrecy(), Behaviour::default());
    pair.gateway.context.configuration.esp_suites = vec!["aes256gcm16".parse().unwrap()];
    pair.gateway.rekey_child(pair.now);
    pair.settle();
    assert_eq!(pair.warnings, [Warning::RekeyRefused], "no renewal without the fresh secret");
    pair.assert_sound();
}

#[test]
fn either_side_closes_and_the_other_hears_of_it() {
    for by_client in [true, false] {
        let mut pair = Pair::new();
        let side = if by_client { &mut pair.client } else { &mut pair.gateway };
        // HDR, SK{D} -->   <-- HDR, SK{}
        side.close(CloseReason::User, pair.now);
        assert!(side.is_closed() && !side.is_finished());
        pair.settle();
        let asked = Some(CloseCause::Requested { reason: CloseReason::User });
        let expected =
            if by_client { [asked, Some(CloseCause::ClosedByPeer)] } else { [Some(CloseCause::ClosedByPeer), asked] };
        assert_eq!(pair.closed, expected);
        assert!(pair.client.is_finished() && pair.gateway.is_finished());
        assert_eq!((pair.client.poll_timeout(), pair.gateway.poll_timeout()), (None, None));
    }
}

#[test]
fn both_sides_closing_at_once_come_to_an_end() {
    let mut pair = Pair::new();
    pair.client.close(CloseReason::User, pair.now);
    pair.gateway.close(CloseReason::User, pair.now);
    pair.settle();
    assert!(pair.client.is_finished() && pair.gateway.is_finished());
}

#[test]
fn a_delete_that_nobody_confirms_is_repeated_a_little() {
    let mut pair = Pair::new();
    pair.client.close(CloseReason::Compliance, pair.now);
    let first = sent_one(&mut pair.client);
    assert_eq!(exchange_type(&first), ExchangeType::INFORMATIONAL);
    let mut repeated = 0;
    while let Some((moment, _)) = pair.client.poll_timeout() {
        pair.client.handle_timeout(moment);
        for message in sent(&mut pair.client) {
            assert_eq!(message, first);
            repeated += 1;
        }
    }
    assert_eq!(repeated, 2);
    assert!(pair.client.is_finished());
}

#[test]
fn a_delete_follows_the_request_that_has_no_answer_yet() {
    let mut pair = Pair::new();
    pair.client.check_liveness(pair.now);
    let lost = sent_one(&mut pair.client);
    pair.client.close(CloseReason::User, pair.now);
    let messages = sent(&mut pair.client);
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[0], lost, "the peer takes the Delete only after it");
    messages.iter().for_each(|message| pair.give_gateway(message));
    assert_eq!(pair.closed[1], Some(CloseCause::ClosedByPeer));
}

#[test]
fn a_further_child_sa_is_refused() {
    let mut pair = Pair::new();
    let selectors = vec![TrafficSelector::any_ipv4()];
    let payloads = [
        Payload::SecurityAssociation(crate::session::proposal::offer(&configuration().esp_suites, &[1, 2, 3, 4])),
        Payload::Nonce(vec![5; 32]),
        Payload::TrafficSelectorsInitiator(selectors.clone()),
        Payload::TrafficSelectorsResponder(selectors),
    ];
    // <-- HDR, SK{SA, Ni, TSi, TSr}   HDR, SK{N(NO_ADDITIONAL_SAS)} -->
    for request in send_raw(&mut pair.gateway, ExchangeType::CREATE_CHILD_SA, &payloads, pair.now) {
        pair.give_client(&request);
    }
    let answer = sent_one(&mut pair.client);
    let refusal = Notify::new(NotifyType::NO_ADDITIONAL_SAS, Vec::new());
    assert_eq!(opened(&mut pair.gateway, &answer, pair.now), [Payload::Notify(refusal)]);
    pair.assert_sound();
}

#[test]
fn a_silent_peer_is_asked_and_then_given_up() {
    let configuration = Configuration { liveness_interval: Some(Duration::from_secs(20)), ..configuration() };
    let mut pair = Pair::with(configuration, Behaviour::default());
    assert_eq!(pair.client.poll_timeout(), Some((at(21), TimerName::Liveness)));
    pair.client.note_inbound_traffic(at(15));
    assert_eq!(pair.client.poll_timeout(), Some((at(35), TimerName::Liveness)), "traffic is a sign of life");
    pair.client.handle_timeout(at(35));
    let first = sent_one(&mut pair.client);
    assert_eq!(exchange_type(&first), ExchangeType::INFORMATIONAL);
    while let Some((moment, _)) = pair.client.poll_timeout() {
        pair.client.handle_timeout(moment);
        assert!(sent(&mut pair.client).iter().all(|message| *message == first));
        pair.now = moment;
    }
    pair.note();
    assert_eq!(pair.closed[0], Some(CloseCause::GatewayLost));
    assert_eq!(pair.now.saturating_since(at(35)), Duration::from_millis(20_125));
}

#[test]
fn an_answer_to_the_question_starts_the_silence_anew() {
    let configuration = Configuration { liveness_interval: Some(Duration::from_secs(20)), ..configuration() };
    let mut pair = Pair::with(configuration, Behaviour::default());
    pair.wait_until(at(500));
    pair.assert_sound();
}
