//! Several answers to the first message (RFC 7296 §2.4): whoever forges one first does not stop the
//! gateway's own.

use super::*;
use crate::wire::{ExchangeType, Flags, Header, Message, Notify, NotifyType, ResponderSpi};

/// Returns somebody who can do all that a gateway can, but for proving that it is the one.
fn impostor() -> Gateway {
    let behaviour =
        Behaviour { psk: b"no key of this gateway's".to_vec(), skips_client_proof: true, ..Behaviour::default() };
    let mut impostor = Gateway::new(configuration(), behaviour);
    impostor.draw_from(7);
    impostor
}

fn give(client: &mut Session, messages: &[Vec<u8>], now: Timestamp) {
    messages.iter().for_each(|message| client.handle_datagram(message, client.remote(), now));
}

fn give_init(client: &mut Session, messages: &[Vec<u8>], now: Timestamp) {
    messages.iter().for_each(|message| client.handle_datagram(message, gateway_address(), now));
}

/// Returns who of the two a message is for.
fn responder_of(message: &[u8]) -> ResponderSpi {
    Message::decode(message).unwrap().header.responder_spi
}

fn under_way(client: &Session) -> usize {
    match &client.state {
        State::Candidates(candidates) => candidates.count(),
        _ => 0,
    }
}

/// Lets the gateway have what is meant for it, and the client its answers.
fn answer_by(gateway: &mut Gateway, spi: ResponderSpi, client: &mut Session, now: Timestamp) {
    for message in sent(client).iter().filter(|message| responder_of(message) == spi) {
        give(client, &gateway.take(message, now), now);
    }
}

#[test]
fn attack_a_whole_forged_answer_first_does_not_stop_the_real_one() {
    let (mut impostor, mut gateway) = (impostor(), Gateway::new(configuration(), Behaviour::default()));
    let mut client = client(configuration());
    // HDR(A,0), SAi1, KEi, Ni -->
    let request = sent_one(&mut client);
    // <-- HDR(A,X), SAr1, KEr, Nr, from somebody who is never heard of again
    give_init(&mut client, &impostor.take(&request, at(0)), at(0));
    answer_psk(&mut client, PSK, at(0));
    let lost = sent_one(&mut client);
    // <-- HDR(A,B), SAr1, KEr, Nr, from the gateway
    let real = gateway.take(&request, at(0));
    give_init(&mut client, &real, at(0));
    assert_ne!(responder_of(&lost), responder_of(&real[0]));
    // The key is not asked for again.
    assert_eq!(client.poll_request(), None);
    answer_by(&mut gateway, responder_of(&real[0]), &mut client, at(0));
    assert_eq!(client.state_name(), "established");
}

/// Returns an answer with one bit changed that no key comes from: a flag that means nothing.
fn copied(answer: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut copy = answer.to_vec();
    copy[0][19] ^= 0x40;
    copy
}

#[test]
fn attack_a_copy_of_the_real_answer_makes_no_second_user_of_its_keys() {
    for copy_comes_first in [false, true] {
        let mut gateway = Gateway::new(configuration(), Behaviour::default());
        let mut client = client(configuration());
        let request = sent_one(&mut client);
        let real = gateway.take(&request, at(0));
        let copy = copied(&real);
        let (first, second) = if copy_comes_first { (&copy, &real) } else { (&real, &copy) };
        give_init(&mut client, first, at(0));
        give_init(&mut client, second, at(0));
        assert_eq!(under_way(&client), 1);
        answer_psk(&mut client, PSK, at(0));
        // One IKE_AUTH: two would be two messages under one key and one number.
        let request = sent_one(&mut client);
        give(&mut client, &gateway.take(&request, at(0)), at(0));
        assert_eq!(client.state_name(), "established", "copy first: {copy_comes_first}");
    }
}

#[test]
fn attack_keys_that_a_copy_has_used_up_are_not_used_from_the_start_again() {
    let mut gateway = Gateway::new(configuration(), Behaviour::default());
    let mut client = client(configuration());
    let request = sent_one(&mut client);
    let real = gateway.take(&request, at(0));
    give_init(&mut client, &copied(&real), at(0));
    answer_psk(&mut client, PSK, at(0));
    // The gateway's AUTH covers what it sent, which is not here.
    let request = sent_one(&mut client);
    give(&mut client, &gateway.take(&request, at(0)), at(0));
    assert_eq!(under_way(&client), 0);
    sent(&mut client);
    give_init(&mut client, &real, at(0));
    assert_eq!((under_way(&client), sent(&mut client).len()), (0, 0));
}

#[test]
fn attack_an_impostor_that_goes_all_the_way_fails_alone() {
    for real_comes_late in [false, true] {
        let (mut impostor, mut gateway) = (impostor(), Gateway::new(configuration(), Behaviour::default()));
        let mut client = client(configuration());
        let request = sent_one(&mut client);
        let forged = impostor.take(&request, at(0));
        give_init(&mut client, &forged, at(0));
        answer_psk(&mut client, PSK, at(0));
        let real = gateway.take(&request, at(0));
        let now = Timestamp::ZERO + Duration::from_millis(400);
        if !real_comes_late {
            give_init(&mut client, &real, at(0));
        }
        // HDR, SK{IDi, AUTH, ...} -->     <-- HDR, SK{IDr, AUTH of another key, ...}
        let messages = sent(&mut client);
        for message in messages.iter().filter(|message| responder_of(message) == responder_of(&forged[0])) {
            give(&mut client, &impostor.take(message, at(0)), at(0));
        }
        assert!(!client.is_closed(), "the gateway may still answer");
        if real_comes_late {
            give_init(&mut client, &real, now);
            answer_by(&mut gateway, responder_of(&real[0]), &mut client, now);
        } else {
            for message in messages.iter().filter(|message| responder_of(message) == responder_of(&real[0])) {
                give(&mut client, &gateway.take(message, at(0)), at(0));
            }
        }
        assert_eq!(client.state_name(), "established", "late: {real_comes_late}");
    }
}

#[test]
fn attack_an_impostor_by_the_gateway_s_spi_takes_no_messages_along_when_it_fails() {
    for forged_first in [true, false] {
        let (mut impostor, mut gateway) = (impostor(), Gateway::new(configuration(), Behaviour::default()));
        let mut client = client(configuration());
        let request = sent_one(&mut client);
        // <-- HDR(A,B), SAr1, KEr, Nr, from the gateway and, with another KEr, from somebody else
        let real = gateway.take(&request, at(0));
        impostor.behaviour.responder_spi = Some(responder_of(&real[0]));
        let forged = impostor.take(&request, at(0));
        let (first, second) = if forged_first { (&forged, &real) } else { (&real, &forged) };
        give_init(&mut client, first, at(0));
        give_init(&mut client, second, at(0));
        answer_psk(&mut client, PSK, at(0));
        let [first, second] = <[_; 2]>::try_from(sent(&mut client)).unwrap();
        let (for_impostor, for_gateway) = if forged_first { (first, second) } else { (second, first) };
        // <-- HDR, SK{IDr, AUTH of another key, ...}
        give(&mut client, &impostor.take(&for_impostor, at(0)), at(0));
        assert_eq!(under_way(&client), 1, "the one has failed");
        // <-- HDR, SK{IDr, AUTH, ...}, while the other still says farewell under these SPIs
        give(&mut client, &gateway.take(&for_gateway, at(0)), at(0));
        assert_eq!(client.state_name(), "established", "forged first: {forged_first}");
    }
}

#[test]
fn an_impostor_alone_is_refused_when_nobody_else_has_answered_for_a_second() {
    let mut impostor = impostor();
    let mut client = client(configuration());
    exchange(&mut client, &mut impostor, at(0));
    answer_psk(&mut client, PSK, at(0));
    exchange(&mut client, &mut impostor, at(0));
    let mut over = Timestamp::ZERO;
    while !client.is_closed() {
        over = client.poll_timeout().unwrap().0;
        client.handle_timeout(over);
    }
    assert_eq!(over, Timestamp::ZERO + candidates::LATER_ANSWER);
    assert_eq!(closed(&mut client), CloseCause::GatewayNotTrusted { why: DistrustReason::ProofWrong });
}

#[test]
fn attack_a_flood_of_whole_answers_costs_four_candidates_and_one_question() {
    let mut client = client(configuration());
    let request = sent_one(&mut client);
    for seed in 10..60 {
        let mut impostor = impostor();
        impostor.draw_from(seed);
        give_init(&mut client, &impostor.take(&request, at(0)), at(0));
    }
    assert_eq!(under_way(&client), 4);
    answer_psk(&mut client, PSK, at(0));
    assert_eq!(sent(&mut client).len(), 4, "one IKE_AUTH to each");
}

#[test]
fn attack_forgers_that_say_nothing_more_do_not_keep_the_real_answer_out() {
    let mut gateway = Gateway::new(configuration(), Behaviour::default());
    let mut client = client(configuration());
    let request = sent_one(&mut client);
    let forge = |client: &mut Session, seeds: std::ops::Range<u64>, now| {
        for seed in seeds {
            let mut impostor = impostor();
            impostor.draw_from(seed);
            give_init(client, &impostor.take(&request, now), now);
        }
    };
    forge(&mut client, 10..14, at(0));
    let real = gateway.take(&request, at(0));
    give_init(&mut client, &real, at(0));
    assert_eq!(under_way(&client), 4, "the real one comes too late");
    answer_psk(&mut client, PSK, at(0));
    assert_eq!(sent(&mut client).len(), 4);
    // Nobody answers. With the repetition the gateway is asked once more, and what it says is heard.
    let (moment, _) = client.poll_timeout().unwrap();
    client.handle_timeout(moment);
    assert!(sent(&mut client).contains(&request));
    give_init(&mut client, &real, moment);
    answer_by(&mut gateway, responder_of(&real[0]), &mut client, moment);
    assert_eq!(client.state_name(), "established");
}

#[test]
fn attack_floods_of_whole_answers_after_each_repetition_have_an_end() {
    let mut client = client(configuration());
    let request = sent_one(&mut client);
    let mut most = 0;
    for round in 0..10_u64 {
        let now = client.poll_timeout().map_or(at(0), |(moment, _)| if round == 0 { at(0) } else { moment });
        client.handle_timeout(now);
        for seed in 0..30 {
            let mut impostor = impostor();
            impostor.draw_from(100 + 30 * round + seed);
            give_init(&mut client, &impostor.take(&request, now), now);
        }
        if round == 0 {
            answer_psk(&mut client, PSK, now);
        }
        assert_eq!(client.poll_request(), None, "the key is asked for once");
        sent(&mut client);
        most = most.max(under_way(&client));
        if client.is_closed() {
            break;
        }
    }
    assert_eq!(most, 16);
}

#[test]
fn the_same_answer_again_is_no_other_candidate() {
    let mut gateway = Gateway::new(configuration(), Behaviour::default());
    let mut client = client(configuration());
    let request = sent_one(&mut client);
    let real = gateway.take(&request, at(0));
    (0..5).for_each(|_| give_init(&mut client, &real, at(0)));
    assert_eq!(under_way(&client), 1);
}

#[test]
fn a_lost_real_answer_is_asked_for_again_while_the_forged_one_leads_nowhere() {
    let (mut impostor, mut gateway) = (impostor(), Gateway::new(configuration(), Behaviour::default()));
    let mut client = client(configuration());
    let request = sent_one(&mut client);
    give_init(&mut client, &impostor.take(&request, at(0)), at(0));
    answer_psk(&mut client, PSK, at(0));
    sent(&mut client);
    let (moment, name) = client.poll_timeout().unwrap();
    assert_eq!(name, TimerName::Retransmission);
    client.handle_timeout(moment);
    // HDR(A,X), SK{...} --> once more, and with it HDR(A,0), SAi1, KEi, Ni -->
    let again = sent(&mut client);
    assert!(again.contains(&request));
    let real = gateway.take(&request, moment);
    give_init(&mut client, &real, moment);
    answer_by(&mut gateway, responder_of(&real[0]), &mut client, moment);
    assert_eq!(client.state_name(), "established");
}

#[test]
fn attack_a_forged_cookie_does_not_stop_the_answer_to_the_request_without_it() {
    let mut gateway = Gateway::new(configuration(), Behaviour::default());
    let mut client = client(configuration());
    let request = sent_one(&mut client);
    let spi = Message::decode(&request).unwrap().header.initiator_spi;
    for cookie in 0..9_u8 {
        let header = Header::new(spi, ResponderSpi::ZERO, ExchangeType::IKE_SA_INIT, Flags::new(false, true), 0);
        let forged = Message::new(header, vec![Payload::Notify(Notify::new(NotifyType::COOKIE, vec![cookie; 8]))]);
        client.handle_datagram(&forged.encode().unwrap(), gateway_address(), at(0));
    }
    assert_eq!(sent(&mut client), Vec::<Vec<u8>>::new(), "each is held back for a moment");
    give_init(&mut client, &gateway.take(&request, at(0)), at(0));
    answer_psk(&mut client, PSK, at(0));
    exchange(&mut client, &mut gateway, at(0));
    assert_eq!(client.state_name(), "established", "AUTH covers the request that was answered");
}

#[test]
fn attack_a_forged_cookie_and_a_lost_answer_lead_on_with_the_cookie() {
    let mut gateway = Gateway::new(configuration(), Behaviour::default());
    let mut client = client(configuration());
    let request = sent_one(&mut client);
    let spi = Message::decode(&request).unwrap().header.initiator_spi;
    let header = Header::new(spi, ResponderSpi::ZERO, ExchangeType::IKE_SA_INIT, Flags::new(false, true), 0);
    let forged = Message::new(header, vec![Payload::Notify(Notify::new(NotifyType::COOKIE, vec![1; 8]))]);
    client.handle_datagram(&forged.encode().unwrap(), gateway_address(), at(0));
    let (moment, _) = client.poll_timeout().unwrap();
    client.handle_timeout(moment);
    // A gateway that wants no cookie passes over it.
    let with_cookie = sent_one(&mut client);
    assert_ne!(with_cookie, request);
    give_init(&mut client, &gateway.take(&with_cookie, moment), moment);
    answer_psk(&mut client, PSK, moment);
    exchange(&mut client, &mut gateway, moment);
    assert_eq!(client.state_name(), "established");
}

#[test]
fn attack_one_spoofed_notify_of_any_kind_does_not_stop_a_real_answer_after_seconds() {
    let kinds = [
        (NotifyType::NO_PROPOSAL_CHOSEN, vec![]),
        (NotifyType::INVALID_KE_PAYLOAD, vec![0, 2]),
        (NotifyType::INVALID_KE_PAYLOAD, vec![0, 14]),
        (NotifyType::INVALID_KE_PAYLOAD, vec![]),
        (NotifyType::INVALID_SYNTAX, vec![]),
        (NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, vec![33]),
        (NotifyType::AUTHENTICATION_FAILED, vec![]),
        (NotifyType::INVALID_MAJOR_VERSION, vec![]),
    ];
    for (kind, data) in kinds {
        let mut gateway = Gateway::new(configuration(), Behaviour::default());
        let mut client = client(configuration());
        let request = sent_one(&mut client);
        let spi = Message::decode(&request).unwrap().header.initiator_spi;
        let header = Header::new(spi, ResponderSpi::ZERO, ExchangeType::IKE_SA_INIT, Flags::new(false, true), 0);
        let forged = Message::new(header, vec![Payload::Notify(Notify::new(kind, data.clone()))]).encode().unwrap();
        // A thousand at once are no more than one.
        (0..1000).for_each(|_| client.handle_datagram(&forged, gateway_address(), at(0)));
        while let Some((moment, _)) = client.poll_timeout().filter(|(moment, _)| *moment < at(4)) {
            client.handle_timeout(moment);
        }
        sent(&mut client);
        give_init(&mut client, &gateway.take(&request, at(4)), at(4));
        answer_psk(&mut client, PSK, at(4));
        exchange(&mut client, &mut gateway, at(4));
        assert_eq!(client.state_name(), "established", "{kind:?} {data:?}");
    }
}

#[test]
fn a_person_that_declines_ends_all_candidates() {
    let mut client = client(configuration());
    let request = sent_one(&mut client);
    for mut gateway in [impostor(), Gateway::new(configuration(), Behaviour::default())] {
        give_init(&mut client, &gateway.take(&request, at(0)), at(0));
    }
    let (id, _) = requested(&mut client);
    client.handle_response(id, Answer::Refused { because: "no".into() }, at(0)).unwrap();
    assert!(client.is_closed());
    assert_eq!(closed(&mut client), CloseCause::InputRefused { because: "no".into() });
}

#[test]
fn closing_tells_every_candidate_and_the_owner_once() {
    let mut client = client(configuration());
    let request = sent_one(&mut client);
    for mut gateway in [impostor(), Gateway::new(configuration(), Behaviour::default())] {
        give_init(&mut client, &gateway.take(&request, at(0)), at(0));
    }
    client.close(CloseReason::User, at(0));
    assert_eq!(sent(&mut client).len(), 2);
    let ends = events(&mut client).into_iter().filter(|event| matches!(event, Event::Closed { .. })).count();
    assert_eq!((ends, client.poll_request()), (1, None));
}
