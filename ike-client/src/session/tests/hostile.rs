//! What strangers and broken peers send: dropped and counted, the state kept.

use super::*;
use crate::wire::{
    Delete, ExchangeType, Flags, Header, Message, Notify, NotifyType, Payload, PayloadType, ProtocolId, TrafficSelector,
};
use proptest::prelude::{ProptestConfig, any, proptest};

/// Returns an unprotected message under the SPIs of the pair's IKE SA.
fn unprotected(pair: &mut Pair, flags: Flags, message_id: u32, payload: Payload) -> Vec<u8> {
    let State::Established(state) = &mut pair.client.state else { panic!("not established") };
    let spis = state.current_sa_mut().spis;
    let header = Header::new(spis.initiator, spis.responder, ExchangeType::INFORMATIONAL, flags, message_id);
    Message::new(header, vec![payload]).encode().unwrap()
}

#[test]
fn unprotected_notifies_and_deletes_never_change_an_established_sa() {
    let mut pair = Pair::new();
    let refusals = [NotifyType::INVALID_IKE_SPI, NotifyType::AUTHENTICATION_FAILED, NotifyType::INVALID_SYNTAX];
    let notifies = refusals.map(|kind| Payload::Notify(Notify::new(kind, Vec::new())));
    let payloads: Vec<Payload> = notifies.into_iter().chain([Payload::Delete(Delete::IkeSa)]).collect();
    for payload in &payloads {
        for (flags, message_id) in [(Flags::new(false, true), 2), (Flags::new(false, false), 0)] {
            let message = unprotected(&mut pair, flags, message_id, payload.clone());
            pair.give_client(&message);
        }
    }
    assert_eq!(pair.client.counters().unexpected, 8);
    // Eight of them prompt one question.
    let question = sent_one(&mut pair.client);
    pair.give_gateway(&question);
    pair.settle();
    pair.assert_sound();

    for seconds in 2..60 {
        pair.now = at(seconds);
        let message = unprotected(&mut pair, Flags::new(false, true), 9, payloads[0].clone());
        pair.give_client(&message);
        pair.settle();
    }
    pair.assert_sound();
    let questions = 1 + 1 + 5 + 1;
    let next = send_raw(&mut pair.client, ExchangeType::INFORMATIONAL, &[], pair.now).remove(0);
    let asked = Message::decode(&next).unwrap().header.message_id - 2;
    assert!(asked <= questions, "{asked} questions in a minute");
}

#[test]
fn a_repeated_request_gets_the_same_octets_and_a_repeated_response_nothing() {
    let mut pair = Pair::new();
    pair.gateway.check_liveness(pair.now);
    let request = sent_one(&mut pair.gateway);
    pair.give_client(&request);
    let answer = sent_one(&mut pair.client);
    for _ in 0..3 {
        pair.give_client(&request);
        assert_eq!(sent_one(&mut pair.client), answer);
    }
    assert_eq!(pair.client.counters().repeated, 3);
    for _ in 0..3 {
        pair.give_gateway(&answer);
    }
    assert_eq!(pair.gateway.counters().outside_window, 2);
    // The next request moves the window: the old one is of no use any more.
    pair.gateway.check_liveness(pair.now);
    pair.settle();
    pair.give_client(&request);
    assert_eq!(sent(&mut pair.client), Vec::<Vec<u8>>::new());
    assert_eq!(pair.client.counters().outside_window, 1);
    pair.assert_sound();
}

#[test]
fn a_reflected_message_is_not_the_peers() {
    let mut pair = Pair::new();
    pair.client.check_liveness(pair.now);
    let request = sent_one(&mut pair.client);
    pair.give_client(&request);
    assert_eq!(pair.client.counters().unexpected, 1);
    pair.give_gateway(&request);
    pair.settle();
    pair.assert_sound();
}

#[test]
fn an_unknown_critical_payload_is_answered_and_a_broken_one_too() {
    for (payload, expected) in [
        (
            Payload::Unknown { payload_type: PayloadType(201), critical: true, body: vec![1] },
            Notify::new(NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, vec![201]),
        ),
        (
            // A Delete whose body is cut off.
            Payload::Unknown { payload_type: PayloadType::DELETE, critical: false, body: vec![3] },
            Notify::new(NotifyType::INVALID_SYNTAX, Vec::new()),
        ),
    ] {
        let mut pair = Pair::new();
        // <-- HDR, SK{...}   HDR, SK{N} -->
        let request = send_raw(&mut pair.gateway, ExchangeType::INFORMATIONAL, &[payload], pair.now).remove(0);
        pair.give_client(&request);
        let answer = sent_one(&mut pair.client);
        assert_eq!(opened(&mut pair.gateway, &answer, pair.now), [Payload::Notify(expected)]);
        assert_eq!(pair.client.counters().malformed, 1);
        pair.assert_sound();
    }
}

#[test]
fn exchanges_that_do_not_belong_to_an_established_sa_are_refused() {
    let mut pair = Pair::new();
    for exchange in [ExchangeType::IKE_AUTH, ExchangeType::IKE_SA_INIT, ExchangeType::IKE_INTERMEDIATE] {
        let payload = Payload::Delete(Delete::IkeSa);
        let request = send_raw(&mut pair.gateway, exchange, &[payload], pair.now).remove(0);
        pair.give_client(&request);
        let answer = sent_one(&mut pair.client);
        let syntax = Notify::new(NotifyType::INVALID_SYNTAX, Vec::new());
        assert_eq!(opened(&mut pair.gateway, &answer, pair.now), [Payload::Notify(syntax)]);
    }
    pair.assert_sound();
}

#[test]
fn renewals_that_lack_something_are_refused_and_change_nothing() {
    use crate::session::proposal::offer;
    use crate::wire::TrafficSelector;
    let mut pair = Pair::new();
    let children = pair.children.clone();
    let esp = |spi: &[u8]| Payload::SecurityAssociation(offer(&configuration().esp_suites, spi));
    let ike = |spi: &[u8]| Payload::SecurityAssociation(offer(&configuration().ike_suites, spi));
    let rekey = Payload::Notify(Notify {
        protocol: ProtocolId::ESP,
        spi: pair.children[1][0].0.to_be_bytes().to_vec(),
        notify_type: NotifyType::REKEY_SA,
        data: Vec::new(),
    });
    let nonce = || Payload::Nonce(vec![1; 32]);
    let any = vec![TrafficSelector::any_ipv4()];
    let elsewhere = vec![TrafficSelector::any_ipv6()];
    let selectors = |initiator: &Vec<TrafficSelector>| {
        [Payload::TrafficSelectorsInitiator(initiator.clone()), Payload::TrafficSelectorsResponder(any.clone())]
    };
    let key = |group: u16, data: Vec<u8>| {
        Payload::KeyExchange(crate::wire::KeyExchange { group: crate::wire::KeyExchangeGroup(group), data })
    };
    let with = |first: Vec<Payload>, then: &[Payload]| [first, then.to_vec()].concat();
    let spi = [9, 9, 9, 9];
    for (payloads, expected) in [
        (vec![rekey.clone(), esp(&spi)], NotifyType::INVALID_SYNTAX),
        (vec![rekey.clone(), nonce()], NotifyType::INVALID_SYNTAX),
        (vec![rekey.clone(), esp(&spi), nonce()], NotifyType::INVALID_SYNTAX),
        (with(vec![rekey.clone(), esp(&[1, 2]), nonce()], &selectors(&any)), NotifyType::INVALID_SYNTAX),
        (with(vec![rekey.clone(), esp(&[0, 0, 0, 9]), nonce()], &selectors(&any)), NotifyType::INVALID_SYNTAX),
        (with(vec![rekey.clone(), esp(&spi), nonce()], &selectors(&elsewhere)), NotifyType::TS_UNACCEPTABLE),
        (vec![ike(&[7; 8]), nonce()], NotifyType::INVALID_SYNTAX),
        (vec![ike(&[7; 8]), nonce(), key(31, vec![0; 32])], NotifyType::INVALID_SYNTAX),
        (vec![ike(&[7; 8]), nonce(), key(31, vec![9; 31])], NotifyType::INVALID_SYNTAX),
        (vec![ike(&[0; 8]), nonce(), key(31, vec![9; 32])], NotifyType::INVALID_SYNTAX),
        (vec![ike(&[7; 7]), nonce(), key(31, vec![9; 32])], NotifyType::INVALID_SYNTAX),
        (vec![ike(&[7; 8]), nonce(), key(2, vec![9; 128])], NotifyType::INVALID_KE_PAYLOAD),
    ] {
        let request = send_raw(&mut pair.gateway, ExchangeType::CREATE_CHILD_SA, &payloads, pair.now).remove(0);
        pair.give_client(&request);
        let answer = sent_one(&mut pair.client);
        let answer = opened(&mut pair.gateway, &answer, pair.now);
        assert!(matches!(answer.as_slice(), [Payload::Notify(notify)] if notify.notify_type == expected), "{answer:?}");
    }
    assert_eq!(pair.children, children);
    pair.assert_sound();
}

#[test]
fn nothing_is_asked_before_both_sides_are_authenticated() {
    let mut gateway = Gateway::new(configuration(), Behaviour::default());
    let mut client = client(configuration());
    exchange(&mut client, &mut gateway, at(0));
    // <-- HDR, SK{D}, by a gateway that has proven nothing
    let request = gateway.request(ExchangeType::INFORMATIONAL, &[Payload::Delete(Delete::IkeSa)], at(0));
    client.handle_datagram(&request, client.remote(), at(0));
    assert_eq!(client.state_name(), "awaiting-pre-shared-key");
    assert_eq!(client.counters().unexpected, 1);
    answer_psk(&mut client, PSK, at(0));
    exchange(&mut client, &mut gateway, at(0));
    assert_eq!(client.state_name(), "established");
}

#[test]
fn every_changed_octet_of_every_message_is_dropped_and_the_real_one_then_taken() {
    let mut gateway = Gateway::new(configuration(), Behaviour::default());
    let mut client = client(configuration());
    exchange(&mut client, &mut gateway, at(0));
    answer_psk(&mut client, PSK, at(0));
    let request = sent_one(&mut client);
    let response = gateway.take(&request, at(0)).remove(0);
    for place in 0..response.len() {
        let mut changed = response.clone();
        changed[place] ^= 0x55;
        client.handle_datagram(&changed, client.remote(), at(0));
        client.handle_datagram(&response[..place], client.remote(), at(0));
        assert_eq!(client.state_name(), "awaiting-auth-response", "octet {place}");
    }
    client.handle_datagram(&response, client.remote(), at(0));
    assert_eq!(client.state_name(), "established");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn no_octets_change_an_established_sa(
        octets in proptest::collection::vec(any::<u8>(), 0..400),
        keep in 0_usize..32,
    ) {
        let mut pair = Pair::new();
        let real = unprotected(&mut pair, Flags::new(false, true), 2, Payload::Delete(Delete::IkeSa));
        // The front of a real header, then anything; and a length that fits.
        let mut octets = [&real[..keep.min(real.len())], &octets].concat();
        let length = u32::try_from(octets.len()).unwrap().to_be_bytes();
        if octets.len() >= 28 {
            octets[24..28].copy_from_slice(&length);
        }
        pair.give_client(&octets);
        pair.settle();
        pair.assert_sound();
    }
}

#[test]
fn attack_a_gateway_that_renews_and_deletes_nothing_makes_a_few_ike_sas() {
    let mut pair = Pair::new();
    for _ in 0..10 {
        // <-- HDR, SK{SA, Ni, KEi}   HDR, SK{SA, Nr, KEr} or HDR, SK{N(TEMPORARY_FAILURE)} -->
        pair.gateway.rekey_ike(pair.now);
        let request = sent_one(&mut pair.gateway);
        pair.give_client(&request);
        let answer = sent_one(&mut pair.client);
        pair.give_gateway(&answer);
        // Its Delete never leaves.
        sent(&mut pair.gateway);
    }
    let others = |pair: &Pair| match &pair.client.state {
        State::Established(state) => state.others_for_test(),
        _ => panic!("{}", pair.client.state_name()),
    };
    assert_eq!(others(&pair), 4);
    pair.wait_until(pair.now + Duration::from_secs(100));
    assert_eq!(others(&pair), 0, "their time is over");
    pair.assert_sound();
}

#[test]
fn attack_a_gateway_that_renews_and_deletes_nothing_makes_a_few_child_sas() {
    let mut pair = Pair::new();
    let home = "10.9.0.7".parse().unwrap();
    let mut renewed = pair.children[1][0].0;
    let mut refused = 0;
    for spi in 0x1000_u32..0x1010 {
        // <-- HDR, SK{N(REKEY_SA), SA, Ni, TSi, TSr}
        let rekey = Notify {
            protocol: ProtocolId::ESP,
            spi: renewed.to_be_bytes().to_vec(),
            notify_type: NotifyType::REKEY_SA,
            data: Vec::new(),
        };
        let suites = &configuration().esp_suites[..1];
        let payloads = [
            Payload::Notify(rekey),
            Payload::SecurityAssociation(crate::session::proposal::offer(suites, &spi.to_be_bytes())),
            Payload::Nonce(spi.to_be_bytes().repeat(8)),
            Payload::TrafficSelectorsInitiator(vec![TrafficSelector::any_ipv4()]),
            Payload::TrafficSelectorsResponder(vec![TrafficSelector::addresses(home, home)]),
        ];
        let request = send_raw(&mut pair.gateway, ExchangeType::CREATE_CHILD_SA, &payloads, pair.now).remove(0);
        pair.give_client(&request);
        let answer = sent_one(&mut pair.client);
        let answer = opened(&mut pair.gateway, &answer, pair.now);
        if answer.iter().any(|payload| matches!(payload, Payload::SecurityAssociation(_))) {
            renewed = spi;
        } else {
            let refusal = Notify::new(NotifyType::TEMPORARY_FAILURE, Vec::new());
            assert_eq!(answer, [Payload::Notify(refusal)]);
            refused += 1;
        }
    }
    assert_eq!((pair.children[0].len(), refused), (8, 9));
}
