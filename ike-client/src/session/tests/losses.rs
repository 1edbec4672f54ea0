//! A CHILD SA that is lost while the IKE SA lives, and what a gateway may refuse then.

use super::*;
use crate::wire::{ChildSpi, Delete, ExchangeType, Flags, Header, InitiatorSpi, Notify, NotifyType, ProtocolId};
use crate::wire::{Message, ResponderSpi};

/// Lets the gateway delete its half of the CHILD SA and takes the client's answer.
fn deleted_by_gateway(pair: &mut Pair) {
    let spis = vec![ChildSpi(pair.children[1][0].0)];
    let delete = Payload::Delete(Delete::ChildSas { protocol: ProtocolId::ESP, spis });
    for request in send_raw(&mut pair.gateway, ExchangeType::INFORMATIONAL, &[delete], pair.now) {
        pair.give_client(&request);
    }
}

/// Answers the request of the client by a notify.
fn refuse(pair: &mut Pair, request: &[u8], notify: NotifyType) {
    pair.answer_by_hand(request, &[Payload::Notify(Notify::new(notify, Vec::new()))]);
}

fn long_after(pair: &mut Pair) {
    pair.now = pair.now + Duration::from_secs(11);
}

/// Makes the gateway forget its CHILD SA without a word.
fn forgotten_by_gateway(pair: &mut Pair) {
    let State::Established(state) = &mut pair.gateway.state else { panic!("not established") };
    state.forget_children_for_test();
    pair.children[1].clear();
}

/// Runs the client's request for a CHILD SA against the gateway's machine, which has none itself.
fn request_for_child(pair: &mut Pair) -> Vec<u8> {
    let messages = sent(&mut pair.client);
    let create = messages.last().expect("a request").clone();
    assert_eq!(Message::decode(&create).unwrap().header.exchange, ExchangeType::CREATE_CHILD_SA);
    create
}

#[test]
fn a_child_sa_that_the_gateway_deletes_is_asked_for_again() {
    let mut pair = Pair::new();
    long_after(&mut pair);
    // <-- HDR, SK{D(ESP)}   HDR, SK{D(ESP)} -->   HDR, SK{SA, Ni, TSi, TSr} -->
    deleted_by_gateway(&mut pair);
    assert_eq!(pair.children[0], [], "nothing passes meanwhile");
    assert_eq!(pair.closed, [None, None]);
    let request = request_for_child(&mut pair);
    //      <-- HDR, SK{SA, Nr, TSi, TSr}
    let spi = proposal::offer(&configuration().esp_suites[..1], &[9, 9, 9, 9]);
    let selectors = vec![crate::wire::TrafficSelector::any_ipv4()];
    let payloads = [
        Payload::SecurityAssociation(spi),
        Payload::Nonce(vec![7; 32]),
        Payload::TrafficSelectorsInitiator(selectors.clone()),
        Payload::TrafficSelectorsResponder(selectors),
    ];
    pair.answer_by_hand(&request, &payloads);
    assert_eq!(pair.children[0].len(), 1);
    assert_eq!(pair.closed, [None, None]);
}

#[test]
fn a_gateway_that_deletes_what_it_has_just_made_has_closed_the_tunnel() {
    let mut pair = Pair::new();
    deleted_by_gateway(&mut pair);
    assert_eq!(pair.closed[0], Some(CloseCause::ClosedByPeer));
    assert_eq!(pair.children[0], []);
}

#[test]
fn a_renewal_of_what_the_gateway_has_lost_becomes_a_request_for_another() {
    let mut pair = Pair::new();
    long_after(&mut pair);
    forgotten_by_gateway(&mut pair);
    // HDR, SK{N(REKEY_SA), ...} -->   <-- HDR, SK{N(CHILD_SA_NOT_FOUND)}
    pair.client.rekey_child(pair.now);
    let renewal = sent_one(&mut pair.client);
    pair.give_gateway(&renewal);
    let not_found = sent_one(&mut pair.gateway);
    pair.give_client(&not_found);
    assert_eq!(pair.children[0], []);
    // HDR, SK{SA, Ni, TSi, TSr} -->
    request_for_child(&mut pair);
    assert_eq!(pair.closed, [None, None]);
}

#[test]
fn each_refusal_of_another_child_sa_is_named() {
    for (notify, cause) in [
        (NotifyType::TS_UNACCEPTABLE, CloseCause::TrafficSelectorsUnacceptable),
        (NotifyType::INTERNAL_ADDRESS_FAILURE, CloseCause::AddressUnavailable),
        (NotifyType::NO_PROPOSAL_CHOSEN, CloseCause::ProposalMismatch { sa: SaKind::Child }),
        (NotifyType::NO_ADDITIONAL_SAS, CloseCause::RefusedByPeer { notify: 35 }),
    ] {
        let mut pair = Pair::new();
        long_after(&mut pair);
        deleted_by_gateway(&mut pair);
        let request = request_for_child(&mut pair);
        refuse(&mut pair, &request, notify);
        assert_eq!(pair.closed[0], Some(cause));
    }
}

#[test]
fn not_now_is_asked_again_and_not_for_ever() {
    let mut pair = Pair::new();
    long_after(&mut pair);
    deleted_by_gateway(&mut pair);
    let since = pair.now;
    let mut asked = 0;
    let mut request = request_for_child(&mut pair);
    while pair.closed[0].is_none() {
        asked += 1;
        refuse(&mut pair, &request, NotifyType::TEMPORARY_FAILURE);
        let Some((moment, TimerName::RetryExchange)) = pair.client.poll_timeout() else { break };
        pair.now = moment;
        pair.client.handle_timeout(moment);
        request = request_for_child(&mut pair);
    }
    assert_eq!(pair.closed[0], Some(CloseCause::RefusedByPeer { notify: NotifyType::TEMPORARY_FAILURE.0 }));
    assert!((5..=13).contains(&asked), "{asked}");
    assert!(pair.now.saturating_since(since) < Duration::from_secs(75));
}

#[test]
fn an_over_age_child_sa_is_given_up_and_another_is_asked_for() {
    let lifetime = |rekey, expire| Lifetime {
        rekey_after: Duration::from_secs(rekey),
        jitter: Duration::ZERO,
        expire_after: Duration::from_secs(expire),
    };
    let configuration = Configuration { child_lifetime: lifetime(10_000, 600), ..configuration() };
    let mut pair = Pair::with(configuration, Behaviour::default());
    let before = pair.children[0].clone();
    let (due, name) = pair.client.poll_timeout().unwrap();
    assert_eq!(name, TimerName::ChildExpiry);
    pair.now = due;
    pair.client.handle_timeout(due);
    pair.note();
    assert_eq!(pair.children[0], [], "nothing passes on it any more");
    // HDR, SK{D(ESP)} -->   <-- HDR, SK{D(ESP)}   HDR, SK{SA, Ni, TSi, TSr} -->
    let delete = sent_one(&mut pair.client);
    pair.give_gateway(&delete);
    for message in sent(&mut pair.gateway) {
        pair.give_client(&message);
    }
    assert_eq!(pair.closed, [None, None]);
    request_for_child(&mut pair);
    assert_ne!(pair.children[0], before);
}

#[test]
fn both_sides_that_have_lost_it_come_to_have_one_again() {
    for seed in 0..8 {
        let mut pair = Pair::new();
        pair.client.context.random = Box::new(SeededRandom::new(seed));
        long_after(&mut pair);
        let spi = |side: usize, pair: &Pair| {
            Payload::Notify(Notify::new(NotifyType::INVALID_SPI, pair.children[side][0].0.to_be_bytes().to_vec()))
        };
        // Each says that it does not know the other's packets, at the same time.
        let (theirs, ours) = (spi(1, &pair), spi(0, &pair));
        let to_client = send_raw(&mut pair.gateway, ExchangeType::INFORMATIONAL, &[theirs], pair.now).remove(0);
        let to_gateway = send_raw(&mut pair.client, ExchangeType::INFORMATIONAL, &[ours], pair.now).remove(0);
        pair.give_client(&to_client);
        pair.give_gateway(&to_gateway);
        let end = pair.now + Duration::from_secs(60);
        pair.settle();
        pair.wait_until(end);
        pair.assert_sound();
    }
}

#[test]
fn a_child_sa_that_grows_too_old_while_it_is_renewed_is_retired_once() {
    let mut pair = Pair::new();
    let before = pair.children[0].clone();
    long_after(&mut pair);
    pair.client.rekey_child(pair.now);
    let renewal = sent_one(&mut pair.client);
    // Its answer is under way when the age limit comes.
    let State::Established(state) = &mut pair.client.state else { panic!("not established") };
    state.age_children_for_test(pair.now);
    pair.client.handle_timeout(pair.now);
    pair.note();
    assert_eq!(pair.children[0], []);
    pair.give_gateway(&renewal);
    pair.settle();
    pair.assert_sound();
    assert_ne!(pair.children[0], before);
}

#[test]
fn an_unknown_spi_is_believed_when_it_is_protected_and_a_hint_when_it_is_not() {
    let mut pair = Pair::new();
    long_after(&mut pair);
    let spi = pair.children[1][0].0.to_be_bytes().to_vec();
    let notify = Payload::Notify(Notify::new(NotifyType::INVALID_SPI, spi.clone()));
    // <-- HDR(0,0), N(INVALID_SPI)   HDR, SK{} -->
    let header = |exchange| Header::new(InitiatorSpi(0), ResponderSpi::ZERO, exchange, Flags::new(false, false), 0);
    let hint = Message::new(header(ExchangeType::INFORMATIONAL), vec![notify.clone()]).encode().unwrap();
    for _ in 0..20 {
        pair.give_client(&hint);
    }
    let question = sent_one(&mut pair.client);
    pair.give_gateway(&question);
    pair.settle();
    pair.assert_sound();
    // Of what we do not send on nobody needs to tell us.
    let other = Payload::Notify(Notify::new(NotifyType::INVALID_SPI, vec![1, 2, 3, 4]));
    pair.now = pair.now + Duration::from_secs(60);
    let strange = Message::new(header(ExchangeType::INFORMATIONAL), vec![other]).encode().unwrap();
    pair.give_client(&strange);
    assert_eq!(sent(&mut pair.client), Vec::<Vec<u8>>::new());
    // <-- HDR, SK{N(INVALID_SPI)}   HDR, SK{} -->   HDR, SK{SA, Ni, TSi, TSr} -->
    let request = send_raw(&mut pair.gateway, ExchangeType::INFORMATIONAL, &[notify], pair.now).remove(0);
    pair.give_client(&request);
    assert_eq!(pair.children[0], []);
    request_for_child(&mut pair);
}
