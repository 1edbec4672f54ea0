//! Messages in fragments, both ways (RFC 7383).

use super::*;
use crate::wire::{Message, NotifyType, PayloadType};

/// Fragments small enough that IKE_AUTH and every renewal needs several.
fn small() -> Configuration {
    Configuration { fragment_size: 150, ..configuration() }
}

fn is_fragment(message: &[u8]) -> bool {
    Message::decode(message).unwrap().payloads[0].payload_type() == PayloadType::ENCRYPTED_FRAGMENT
}

#[test]
fn a_long_ike_auth_goes_in_fragments_when_both_sides_say_so() {
    for supported in [true, false] {
        let mut gateway = Gateway::new(small(), Behaviour { fragmentation: supported, ..Behaviour::default() });
        let mut client = client(small());
        exchange(&mut client, &mut gateway, at(0));
        answer_psk(&mut client, PSK, at(0));
        let request = sent(&mut client);
        assert_eq!(request.len() > 1, supported);
        assert!(request.iter().all(|message| is_fragment(message) == supported));
        assert!(request.iter().all(|message| message.len() <= 150 || !supported));
        let answers: Vec<_> = request.iter().flat_map(|message| gateway.take(message, at(0))).collect();
        assert_eq!(answers.len() > 1, supported);
        for answer in answers.iter().rev() {
            client.handle_datagram(answer, client.remote(), at(0));
        }
        assert_eq!(client.state_name(), "established");
    }
}

#[test]
fn a_lost_fragment_is_made_good_by_repeating_all_of_them() {
    let mut pair = Pair::with(small(), Behaviour::default());
    pair.client.rekey_child(pair.now);
    let request = sent(&mut pair.client);
    assert!(request.len() > 1);
    for message in &request[1..] {
        pair.give_gateway(message);
    }
    assert_eq!(sent(&mut pair.gateway), Vec::<Vec<u8>>::new());
    pair.now = at(2);
    pair.client.handle_timeout(pair.now);
    let repeated = sent(&mut pair.client);
    assert_eq!(repeated, request);
    pair.give_gateway(&repeated[0]);
    let answer = sent(&mut pair.gateway);
    assert!(answer.len() > 1, "the first fragment was all that was missing");
    answer.iter().for_each(|message| pair.give_client(message));
    pair.settle();
    pair.assert_sound();
}

#[test]
fn a_request_that_came_in_fragments_is_answered_again_once_and_by_the_same_octets() {
    let mut pair = Pair::with(small(), Behaviour::default());
    pair.gateway.rekey_child(pair.now);
    let request = sent(&mut pair.gateway);
    assert!(request.len() > 1);
    // In the worst order: the first fragment last.
    request.iter().rev().for_each(|message| pair.give_client(message));
    let answer = sent(&mut pair.client);
    request.iter().for_each(|message| pair.give_client(message));
    assert_eq!(sent(&mut pair.client), answer);
    assert_eq!(pair.client.counters().repeated, 1);
    answer.iter().for_each(|message| pair.give_gateway(message));
    pair.settle();
    pair.assert_sound();
}

#[test]
fn fragments_that_never_become_whole_are_dropped_in_time() {
    let mut pair = Pair::with(small(), Behaviour::default());
    pair.gateway.rekey_child(pair.now);
    let request = sent(&mut pair.gateway);
    pair.give_client(&request[0]);
    assert_eq!(pair.client.poll_timeout(), Some((at(31), TimerName::Reassembly)));
    pair.client.handle_timeout(at(31));
    assert!(pair.client.poll_timeout().is_some_and(|(_, name)| name != TimerName::Reassembly));
    pair.now = at(32);
    request[1..].iter().for_each(|message| pair.give_client(message));
    assert_eq!(sent(&mut pair.client), Vec::<Vec<u8>>::new(), "the first one was dropped");
    pair.give_client(&request[0]);
    assert!(!sent(&mut pair.client).is_empty(), "and is taken again");
}

#[test]
fn a_forged_fragment_occupies_nothing() {
    let mut pair = Pair::with(small(), Behaviour::default());
    pair.gateway.rekey_child(pair.now);
    let request = sent(&mut pair.gateway);
    let mut forged = request[0].clone();
    *forged.last_mut().unwrap() ^= 1;
    pair.give_client(&forged);
    assert_eq!(pair.client.counters().unauthenticated, 1);
    assert!(pair.client.poll_timeout().is_some_and(|(_, name)| name != TimerName::Reassembly));
    request.iter().for_each(|message| pair.give_client(message));
    assert!(!sent(&mut pair.client).is_empty());
}

#[test]
fn fragmentation_is_offered_in_the_first_message() {
    let mut client = client(small());
    let message = Message::decode(&sent_one(&mut client)).unwrap();
    let kinds: Vec<NotifyType> = message.notifies().map(|notify| notify.notify_type).collect();
    assert!(kinds.contains(&NotifyType::IKEV2_FRAGMENTATION_SUPPORTED));
    assert!(kinds.contains(&NotifyType::SIGNATURE_HASH_ALGORITHMS));
    assert!(!kinds.contains(&NotifyType::MOBIKE_SUPPORTED));
}
