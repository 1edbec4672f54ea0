//! IKE_SA_INIT: cookies, groups, refusals, NAT detection, silence.

use super::*;
use crate::session::init::cookies::HOLD;
use crate::session::init::refusals::ASK_AGAIN;
use crate::wire::{ExchangeType, Flags, Header, InitiatorSpi, Message, Notify, NotifyType, Payload, ResponderSpi};

/// Returns an unprotected answer of anybody to a request.
fn unprotected(request: &[u8], notify: Notify) -> Vec<u8> {
    let spi = Message::decode(request).unwrap().header.initiator_spi;
    let header = Header::new(spi, ResponderSpi::ZERO, ExchangeType::IKE_SA_INIT, Flags::new(false, true), 0);
    Message::new(header, vec![Payload::Notify(notify)]).encode().unwrap()
}

fn notify_of(request: &[u8], kind: NotifyType) -> Option<Notify> {
    Message::decode(request).unwrap().notifies().find(|notify| notify.notify_type == kind).cloned()
}

#[test]
fn a_cookie_is_returned_and_the_nonce_stays() {
    let cookie = vec![7; 20];
    let mut gateway = Gateway::new(configuration(), Behaviour { cookie: Some(cookie.clone()), ..Behaviour::default() });
    let mut client = client(configuration());
    // HDR(A,0), SAi1, KEi, Ni -->
    let first = sent_one(&mut client);
    // <-- HDR(A,0), N(COOKIE)
    for answer in gateway.take(&first, at(0)) {
        client.handle_datagram(&answer, gateway_address(), at(0));
    }
    // No whole answer comes for a moment.
    assert_eq!(sent(&mut client), Vec::<Vec<u8>>::new());
    assert_eq!(client.poll_timeout(), Some((Timestamp::ZERO + HOLD, TimerName::Cookie)));
    client.handle_timeout(Timestamp::ZERO + HOLD);
    // HDR(A,0), N(COOKIE), SAi1, KEi, Ni -->
    let second = sent_one(&mut client);
    let payloads = Message::decode(&second).unwrap().payloads;
    assert_eq!(payloads[0], Payload::Notify(Notify::new(NotifyType::COOKIE, cookie)));
    assert_eq!(payloads[1..], Message::decode(&first).unwrap().payloads);
    // <-- HDR(A,B), SAr1, KEr, Nr
    for answer in gateway.take(&second, at(0)) {
        client.handle_datagram(&answer, gateway_address(), at(0));
    }
    answer_psk(&mut client, PSK, at(0));
    exchange(&mut client, &mut gateway, at(0));
    assert_eq!(client.state_name(), "established", "AUTH covers the message with the cookie");
}

#[test]
fn cookies_without_end_are_a_refusal() {
    let mut client = client(configuration());
    let mut round = 0;
    let (cause, asked, _) = insisting(&mut client, |request| {
        round += 1;
        unprotected(request, Notify::new(NotifyType::COOKIE, vec![round; 8]))
    });
    assert!(matches!(cause, CloseCause::PeerMisbehaved { .. }), "{cause}");
    assert!(asked < 12, "{asked} requests");
}

#[test]
fn another_offered_group_is_followed_once() {
    let suites = vec!["aes256-sha256-modp2048".parse().unwrap()];
    let behaviour = Behaviour { ike_suites: Some(suites), ..Behaviour::default() };
    let mut gateway = Gateway::new(configuration(), behaviour);
    let mut client = client(configuration());
    // HDR(A,0), SAi1, KEi(31), Ni -->   <-- HDR(A,0), N(INVALID_KE_PAYLOAD(14))
    // HDR(A,0), SAi1, KEi(14), Ni -->   <-- HDR(A,B), SAr1, KEr(14), Nr
    exchange(&mut client, &mut gateway, at(0));
    answer_psk(&mut client, PSK, at(0));
    exchange(&mut client, &mut gateway, at(0));
    assert_eq!(client.state_name(), "established");
}

#[test]
fn a_group_that_was_not_offered_is_not_used() {
    let mut client = client(configuration());
    let request = sent_one(&mut client);
    for group in [1_u16, 5, 2, 19, 0xffff] {
        let notify = Notify::new(NotifyType::INVALID_KE_PAYLOAD, group.to_be_bytes().to_vec());
        client.handle_datagram(&unprotected(&request, notify), gateway_address(), at(0));
        assert_eq!(sent(&mut client), Vec::<Vec<u8>>::new(), "group {group}");
    }
    let (cause, ..) = insisting(&mut client, |request| {
        unprotected(request, Notify::new(NotifyType::INVALID_KE_PAYLOAD, 2_u16.to_be_bytes().to_vec()))
    });
    assert_eq!(cause, CloseCause::ProposalMismatch { sa: SaKind::Ike });
}

#[test]
fn a_forged_wish_for_another_group_does_not_stop_the_real_answer() {
    let mut gateway = Gateway::new(configuration(), Behaviour::default());
    let mut client = client(configuration());
    let first = sent_one(&mut client);
    // <-- HDR(A,0), N(INVALID_KE_PAYLOAD(14)), from anybody
    let forged = Notify::new(NotifyType::INVALID_KE_PAYLOAD, 14_u16.to_be_bytes().to_vec());
    client.handle_datagram(&unprotected(&first, forged), gateway_address(), at(0));
    // HDR(A,0), SAi1, KEi(14), Ni -->   (never arrives)
    assert_eq!(sent(&mut client).len(), 1);
    // <-- HDR(A,B), SAr1, KEr(31), Nr, in answer to the first request
    for answer in gateway.take(&first, at(0)) {
        client.handle_datagram(&answer, gateway_address(), at(0));
    }
    answer_psk(&mut client, PSK, at(0));
    exchange(&mut client, &mut gateway, at(0));
    assert_eq!(client.state_name(), "established", "AUTH covers the request that was answered");
}

/// Returns a gateway's answer with a key exchange value that cannot be used.
fn with_bad_value(answer: &[u8]) -> Vec<u8> {
    let mut message = Message::decode(answer).unwrap();
    for payload in &mut message.payloads {
        if let Payload::KeyExchange(exchange) = payload {
            exchange.data.fill(0);
        }
    }
    message.encode().unwrap()
}

#[test]
fn a_forged_key_exchange_value_does_not_stop_a_real_one() {
    let mut gateway = Gateway::new(configuration(), Behaviour::default());
    let mut client = client(configuration());
    let first = sent_one(&mut client);
    let answer = Gateway::new(configuration(), Behaviour::default()).take(&first, at(0)).remove(0);
    client.handle_datagram(&with_bad_value(&answer), gateway_address(), at(0));
    assert_eq!((client.is_closed(), client.has_keys()), (false, false));
    for answer in gateway.take(&first, at(1)) {
        client.handle_datagram(&answer, gateway_address(), at(1));
    }
    answer_psk(&mut client, PSK, at(1));
    exchange(&mut client, &mut gateway, at(1));
    assert_eq!(client.state_name(), "established");
}

#[test]
fn bad_key_exchange_values_without_end_are_a_refusal() {
    let mut client = client(configuration());
    let (cause, asked, _) = insisting(&mut client, |request| {
        with_bad_value(&Gateway::new(configuration(), Behaviour::default()).take(request, at(0)).remove(0))
    });
    assert!(matches!(cause, CloseCause::PeerMisbehaved { .. }), "{cause}");
    assert_eq!(asked, 3);
}

#[test]
fn a_suite_that_was_not_offered_is_refused() {
    let forced = Some("aes128-sha256-x25519".parse().unwrap());
    let mut client = client(configuration());
    let (cause, ..) = insisting(&mut client, |request| {
        let behaviour = Behaviour { forced_ike_suite: forced, ..Behaviour::default() };
        Gateway::new(configuration(), behaviour).take(request, at(0)).remove(0)
    });
    assert!(matches!(cause, CloseCause::PeerMisbehaved { .. }), "{cause}");
}

#[test]
fn an_unprotected_refusal_waits_for_a_better_answer() {
    let mut gateway = Gateway::new(configuration(), Behaviour::default());
    let mut client = client(configuration());
    let request = sent_one(&mut client);
    // <-- HDR(A,0), N(NO_PROPOSAL_CHOSEN), from anybody
    let forged = unprotected(&request, Notify::new(NotifyType::NO_PROPOSAL_CHOSEN, Vec::new()));
    client.handle_datagram(&forged, gateway_address(), at(0));
    assert!(!client.is_closed());
    // <-- HDR(A,B), SAr1, KEr, Nr, from the gateway, within the grace
    for answer in gateway.take(&request, at(1)) {
        client.handle_datagram(&answer, gateway_address(), at(1));
    }
    answer_psk(&mut client, PSK, at(1));
    exchange(&mut client, &mut gateway, at(1));
    assert_eq!(client.state_name(), "established");
}

#[test]
fn a_refusal_that_comes_to_each_request_is_believed_soon() {
    let mut client = client(configuration());
    let (cause, asked, over) =
        insisting(&mut client, |request| unprotected(request, Notify::new(NotifyType::NO_PROPOSAL_CHOSEN, Vec::new())));
    assert_eq!(cause, CloseCause::ProposalMismatch { sa: SaKind::Ike });
    assert_eq!((asked, over.since_start()), (3, ASK_AGAIN * 3));
}

#[test]
fn a_refusal_that_came_once_is_why_when_nothing_else_comes() {
    let mut client = client(configuration());
    let mut first = true;
    let mut moments = Vec::new();
    let request = sent_one(&mut client);
    let refusal = unprotected(&request, Notify::new(NotifyType::NO_PROPOSAL_CHOSEN, Vec::new()));
    while let Some((moment, _)) = client.poll_timeout() {
        if std::mem::take(&mut first) {
            client.handle_datagram(&refusal, gateway_address(), Timestamp::ZERO);
            continue;
        }
        client.handle_timeout(moment);
        moments.push(moment.since_start());
    }
    assert!(moments.last().is_some_and(|last| *last >= Duration::from_secs(30)), "{moments:?}");
    assert_eq!(closed(&mut client), CloseCause::ProposalMismatch { sa: SaKind::Ike });
}

#[test]
fn strangers_and_strange_messages_change_nothing() {
    let mut client = client(configuration());
    let request = sent_one(&mut client);
    let refusal = unprotected(&request, Notify::new(NotifyType::NO_PROPOSAL_CHOSEN, Vec::new()));
    client.handle_datagram(&refusal, address("198.51.100.9:500"), at(0));
    client.handle_datagram(&refusal, address("198.51.100.1:501"), at(0));
    assert_eq!(client.counters().foreign, 2);
    let mut other = Message::decode(&refusal).unwrap();
    other.header.initiator_spi = InitiatorSpi(1);
    client.handle_datagram(&other.encode().unwrap(), gateway_address(), at(0));
    assert_eq!(client.counters().foreign, 3);
    for header in [
        Header { message_id: 1, ..Message::decode(&refusal).unwrap().header },
        Header { flags: Flags::new(true, true), ..Message::decode(&refusal).unwrap().header },
        Header { flags: Flags::new(false, false), ..Message::decode(&refusal).unwrap().header },
        Header { exchange: ExchangeType::IKE_AUTH, ..Message::decode(&refusal).unwrap().header },
    ] {
        let message = Message::new(header, Message::decode(&refusal).unwrap().payloads);
        client.handle_datagram(&message.encode().unwrap(), gateway_address(), at(0));
    }
    assert_eq!(client.counters().unexpected, 4);
    client.handle_datagram(&request, gateway_address(), at(0));
    assert_eq!(client.counters().unexpected, 5, "the own message, reflected");
    client.handle_datagram(&request[..40], gateway_address(), at(0));
    client.handle_datagram(&[0; 70_000], gateway_address(), at(0));
    client.handle_datagram(&[], gateway_address(), at(0));
    assert_eq!(client.counters().malformed, 3);
    assert_eq!(client.poll_timeout(), Some((at(1), TimerName::Retransmission)));
}

#[test]
fn a_gateway_that_says_nothing_is_given_up_after_the_last_repetition() {
    let mut client = client(Configuration { negotiation_limit: Duration::from_secs(600), ..configuration() });
    let first = sent_one(&mut client);
    let mut repeated = 0;
    let mut last = Timestamp::ZERO;
    while let Some((moment, name)) = client.poll_timeout() {
        assert_eq!(name, TimerName::Retransmission);
        client.handle_timeout(moment);
        last = moment;
        for message in sent(&mut client) {
            assert_eq!(message, first);
            repeated += 1;
        }
    }
    assert_eq!((repeated, client.counters().retransmitted, last), (5, 5, at(63)));
    assert_eq!(closed(&mut client), CloseCause::NoAnswer);
}

#[test]
fn the_negotiation_as_a_whole_is_limited() {
    let mut client = client(Configuration { negotiation_limit: Duration::from_secs(5), ..configuration() });
    while let Some((moment, _)) = client.poll_timeout() {
        assert!(moment <= at(5));
        client.handle_timeout(moment);
    }
    assert_eq!(closed(&mut client), CloseCause::NoAnswer);
}

#[test]
fn the_source_is_disguised_only_when_encapsulation_is_forced() {
    let source = |force_encapsulation| {
        let mut client = client(Configuration { force_encapsulation, ..configuration() });
        let request = sent_one(&mut client);
        let spi = Message::decode(&request).unwrap().header.initiator_spi;
        let told = notify_of(&request, NotifyType::NAT_DETECTION_SOURCE_IP).unwrap().data;
        let path = client.context.path;
        let [honest, _] = crate::session::nat::notifies(spi, ResponderSpi::ZERO, &path, None);
        (told == honest.data, told.len())
    };
    assert_eq!(source(false), (true, 20));
    assert_eq!(source(true), (false, 20));
}

#[test]
fn the_next_message_floats_to_the_encapsulated_port_with_a_marker() {
    let mut gateway = Gateway::new(configuration(), Behaviour::default());
    let mut client = client(configuration());
    let first = client.poll_transmit().unwrap();
    assert_eq!((first.destination, first.socket), (gateway_address(), LocalSocket::Ike));
    for answer in gateway.take(&first.bytes, at(0)) {
        client.handle_datagram(&answer, gateway_address(), at(0));
    }
    answer_psk(&mut client, PSK, at(0));
    let next = client.poll_transmit().unwrap();
    assert_eq!((next.destination, next.socket), (address("198.51.100.1:4500"), LocalSocket::Encapsulated));
    assert_eq!(next.bytes[..4], [0; 4]);
    assert!(Message::decode(&next.bytes[4..]).is_ok());
}

#[test]
fn a_weak_suite_is_taken_only_when_named_and_stands_as_a_warning() {
    let weak = |suites: serde_json::Value| Configuration {
        ike_suites: serde_json::from_value(suites).unwrap(),
        ..configuration()
    };
    let named = weak(serde_json::json!(["aes256-sha1-modp1024"]));
    let pair = Pair::with(named.clone(), Behaviour::default());
    let suite = "aes256-sha1-prfsha1-modp1024".to_owned();
    assert!(pair.established.warnings.contains(&Warning::WeakSuite { suite }), "{:?}", pair.established);

    // The gateway would take nothing else; the client never offered it.
    let behaviour = Behaviour { forced_ike_suite: Some(named.ike_suites[0]), ..Behaviour::default() };
    let mut gateway = Gateway::new(configuration(), behaviour);
    let mut session = client(configuration());
    exchange(&mut session, &mut gateway, at(1));
    assert!(!session.has_keys());
}
