//! Both sides start at once (RFC 7296 §2.8.1, §2.8.2, §2.25), message by message.
//!
//! Which exchange has the lowest nonce follows from the seeds of the two sides; the tests run with
//! several seeds and assert that both outcomes came up.

use super::*;
use crate::esp::EspSpi;

/// A pair whose client draws from another seed.
fn seeded(seed: u64) -> Pair {
    let mut pair = Pair::new();
    pair.client.context.random = Box::new(SeededRandom::new(100 + seed));
    pair.gateway.context.random = Box::new(SeededRandom::new(200 + seed));
    pair
}

pub(super) const SEEDS: std::ops::Range<u64> = 0..8;

pub(super) fn answer_of(pair: &mut Pair, to: &str, message: &[u8]) -> Vec<u8> {
    match to {
        "client" => {
            pair.give_client(message);
            sent_one(&mut pair.client)
        }
        _ => {
            pair.give_gateway(message);
            sent_one(&mut pair.gateway)
        }
    }
}

/// Says how often which side's new SA stayed, and fails when it always was the same.
pub(super) fn assert_both_came_up(winners: &[bool]) {
    assert!(winners.contains(&true) && winners.contains(&false), "{winners:?}");
}

#[test]
fn of_two_renewals_of_one_child_sa_the_one_with_the_lowest_nonce_goes() {
    let mut winners = Vec::new();
    for seed in SEEDS {
        let mut pair = seeded(seed);
        let before: Vec<EspSpi> = pair.children.concat();
        pair.client.rekey_child(pair.now);
        pair.gateway.rekey_child(pair.now);
        // HDR, SK{N(REKEY_SA), SA, Ni1, TSi, TSr} -->   (crosses)   <-- HDR, SK{N(REKEY_SA), SA, Ni2, TSi, TSr}
        let (first, second) = (sent_one(&mut pair.client), sent_one(&mut pair.gateway));
        let to_client = answer_of(&mut pair, "gateway", &first);
        let of_gateway = pair.children[1].last().copied().unwrap();
        let to_gateway = answer_of(&mut pair, "client", &second);
        // <-- HDR, SK{SA, Nr1, TSi, TSr}   (crosses)   HDR, SK{SA, Nr2, TSi, TSr} -->
        pair.give_client(&to_client);
        pair.give_gateway(&to_gateway);
        // Each deletes one: the loser its own new SA, the winner the renewed one.
        pair.settle();
        pair.assert_sound();
        assert!(pair.children.concat().iter().all(|spi| !before.contains(spi)), "the renewed one is gone");
        winners.push(pair.children[1][0] == of_gateway);
    }
    assert_both_came_up(&winners);
}

#[test]
fn a_child_renewal_that_the_peer_sees_only_after_its_own_is_done_is_not_found() {
    for seed in SEEDS {
        let mut pair = seeded(seed);
        pair.client.rekey_child(pair.now);
        pair.gateway.rekey_child(pair.now);
        // HDR, SK{N(REKEY_SA), ...} --> (late)   <-- HDR, SK{N(REKEY_SA), ...}
        let (late, second) = (sent_one(&mut pair.client), sent_one(&mut pair.gateway));
        // HDR, SK{SA, Nr2, ...} -->   <-- HDR, SK{D(old)}   HDR, SK{D(old)} -->
        let answer = answer_of(&mut pair, "client", &second);
        let delete = answer_of(&mut pair, "gateway", &answer);
        let deleted = answer_of(&mut pair, "client", &delete);
        pair.give_gateway(&deleted);
        // (late) arrives:   <-- HDR, SK{N(CHILD_SA_NOT_FOUND)}
        let not_found = answer_of(&mut pair, "gateway", &late);
        pair.give_client(&not_found);
        pair.settle();
        pair.assert_sound();
    }
}

#[test]
fn a_child_renewal_that_arrives_while_the_peer_deletes_waits() {
    let mut pair = seeded(0);
    pair.client.rekey_child(pair.now);
    pair.gateway.rekey_child(pair.now);
    let (late, second) = (sent_one(&mut pair.client), sent_one(&mut pair.gateway));
    let answer = answer_of(&mut pair, "client", &second);
    let delete = answer_of(&mut pair, "gateway", &answer);
    // (late) arrives while the gateway's Delete is under way:   <-- HDR, SK{N(TEMPORARY_FAILURE)}
    let failure = answer_of(&mut pair, "gateway", &late);
    pair.give_client(&failure);
    let deleted = answer_of(&mut pair, "client", &delete);
    pair.give_gateway(&deleted);
    pair.settle();
    pair.assert_sound();
    assert_eq!(pair.warnings, []);
}

#[test]
fn of_two_renewals_of_the_ike_sa_the_one_with_the_lowest_nonce_goes() {
    let mut winners = Vec::new();
    for seed in SEEDS {
        let mut pair = seeded(seed);
        let children = pair.children.clone();
        pair.client.rekey_ike(pair.now);
        pair.gateway.rekey_ike(pair.now);
        // HDR, SK{SA, Ni1, KEi1} -->   (crosses)   <-- HDR, SK{SA, Ni2, KEi2}
        let (first, second) = (sent_one(&mut pair.client), sent_one(&mut pair.gateway));
        let to_client = answer_of(&mut pair, "gateway", &first);
        let to_gateway = answer_of(&mut pair, "client", &second);
        // <-- HDR, SK{SA, Nr1, KEr1}   (crosses)   HDR, SK{SA, Nr2, KEr2} -->
        pair.give_client(&to_client);
        pair.give_gateway(&to_gateway);
        pair.settle();
        assert_eq!(pair.children, children, "the CHILD SAs move along");
        pair.assert_sound();
        assert_eq!(current_spis(&mut pair.client), current_spis(&mut pair.gateway));
        winners.push(made_by_client(&mut pair.client));
        pair.client.rekey_child(pair.now);
        pair.settle();
        pair.assert_sound();
    }
    assert_both_came_up(&winners);
}

pub(super) fn current_spis(session: &mut Session) -> ike_sa::Spis {
    let State::Established(state) = &mut session.state else { panic!("not established") };
    assert_eq!(state.others_for_test(), 0, "nothing is left beside the current IKE SA");
    state.current_sa_mut().spis
}

pub(super) fn made_by_client(client: &mut Session) -> bool {
    let State::Established(state) = &mut client.state else { panic!("not established") };
    state.current_sa_mut().side == crate::crypto::keys::Side::Initiator
}

#[test]
fn an_ike_renewal_that_the_peer_sees_only_after_its_own_is_done_is_forgotten() {
    let mut pair = seeded(0);
    pair.client.rekey_ike(pair.now);
    pair.gateway.rekey_ike(pair.now);
    let (lost, second) = (sent_one(&mut pair.client), sent_one(&mut pair.gateway));
    // <-- HDR, SK{SA, Ni2, KEi2}   HDR, SK{SA, Nr2, KEr2} -->
    let answer = answer_of(&mut pair, "client", &second);
    // <-- HDR(old), SK{D}   HDR(old), SK{} -->
    let delete = answer_of(&mut pair, "gateway", &answer);
    let deleted = answer_of(&mut pair, "client", &delete);
    pair.give_gateway(&deleted);
    // The late request belongs to an IKE SA that is no more.
    pair.give_gateway(&lost);
    pair.settle();
    pair.assert_sound();
    assert_eq!(current_spis(&mut pair.client), current_spis(&mut pair.gateway));
}

#[test]
fn an_ike_renewal_that_arrives_after_the_peers_own_is_answered_waits() {
    let mut pair = seeded(0);
    pair.client.rekey_ike(pair.now);
    pair.gateway.rekey_ike(pair.now);
    let (late, second) = (sent_one(&mut pair.client), sent_one(&mut pair.gateway));
    let answer = answer_of(&mut pair, "client", &second);
    let delete = answer_of(&mut pair, "gateway", &answer);
    // The gateway is deleting the old IKE SA:   <-- HDR(old), SK{N(TEMPORARY_FAILURE)}
    let failure = answer_of(&mut pair, "gateway", &late);
    pair.give_client(&failure);
    let deleted = answer_of(&mut pair, "client", &delete);
    pair.give_gateway(&deleted);
    pair.settle();
    pair.assert_sound();
    assert_eq!(current_spis(&mut pair.client), current_spis(&mut pair.gateway));
}

#[test]
fn a_child_renewal_while_the_peer_renews_the_ike_sa_waits_and_the_other_way_round() {
    let mut pair = seeded(0);
    let before = pair.children.clone();
    pair.client.rekey_ike(pair.now);
    pair.gateway.rekey_child(pair.now);
    // HDR, SK{SA, Ni, KEi} -->   (crosses)   <-- HDR, SK{N(REKEY_SA), ...}
    let (ike, child) = (sent_one(&mut pair.client), sent_one(&mut pair.gateway));
    // <-- HDR, SK{N(TEMPORARY_FAILURE)}   (crosses)   HDR, SK{N(TEMPORARY_FAILURE)} -->
    let (to_client, to_gateway) = (answer_of(&mut pair, "gateway", &ike), answer_of(&mut pair, "client", &child));
    pair.give_client(&to_client);
    pair.give_gateway(&to_gateway);
    pair.settle();
    pair.assert_sound();
    assert_eq!(pair.children, before);
    assert_eq!(pair.warnings, [], "not now is no refusal");
    let spis = current_spis(&mut pair.client);
    pair.wait_until(pair.now + Duration::from_secs(60));
    pair.assert_sound();
    assert_ne!(pair.children, before, "the CHILD SA was renewed later");
    assert_ne!(current_spis(&mut pair.client), spis, "the IKE SA too");
}

#[test]
fn both_sides_deleting_one_child_sa_at_once_say_it_once() {
    use crate::wire::{ChildSpi, Delete, ProtocolId};
    let mut pair = seeded(0);
    // Only after the renewals there is a CHILD SA to spare on both sides.
    pair.client.rekey_child(pair.now);
    let request = sent_one(&mut pair.client);
    let replaced = ChildSpi(pair.children[1][0].0);
    let answer = answer_of(&mut pair, "gateway", &request);
    pair.give_client(&answer);
    // HDR, SK{D(old)} -->   (crosses)   <-- HDR, SK{D(old)}
    let ours = sent_one(&mut pair.client);
    let delete = Payload::Delete(Delete::ChildSas { protocol: ProtocolId::ESP, spis: vec![replaced] });
    let theirs = send_raw(&mut pair.gateway, ExchangeType::INFORMATIONAL, &[delete], pair.now).remove(0);
    let answer = answer_of(&mut pair, "client", &theirs);
    // HDR, SK{} -->
    assert_eq!(opened(&mut pair.gateway, &answer, pair.now), []);
    let answer = answer_of(&mut pair, "gateway", &ours);
    pair.give_client(&answer);
    pair.settle();
    pair.assert_sound();
}

#[test]
fn a_peer_that_deletes_what_is_being_renewed_is_answered_as_usual() {
    let mut pair = seeded(0);
    pair.client.rekey_child(pair.now);
    let renewal = sent_one(&mut pair.client);
    pair.gateway.close(CloseReason::User, pair.now);
    let delete = sent_one(&mut pair.gateway);
    let answer = answer_of(&mut pair, "client", &delete);
    assert_eq!(pair.closed[0], Some(CloseCause::ClosedByPeer));
    pair.give_gateway(&renewal);
    pair.give_gateway(&answer);
    assert!(pair.gateway.is_finished());
}

#[test]
fn a_renewal_of_an_sa_that_never_was_is_not_found() {
    use crate::wire::{Notify, NotifyType, ProtocolId, TrafficSelector};
    let mut pair = seeded(0);
    let rekey = Notify {
        protocol: ProtocolId::ESP,
        spi: vec![9, 9, 9, 9],
        notify_type: NotifyType::REKEY_SA,
        data: Vec::new(),
    };
    let selectors = vec![TrafficSelector::any_ipv4()];
    let payloads = [
        Payload::Notify(rekey.clone()),
        Payload::SecurityAssociation(proposal::offer(&configuration().esp_suites, &[1, 2, 3, 4])),
        Payload::Nonce(vec![5; 32]),
        Payload::TrafficSelectorsInitiator(selectors.clone()),
        Payload::TrafficSelectorsResponder(selectors),
    ];
    let request = send_raw(&mut pair.gateway, ExchangeType::CREATE_CHILD_SA, &payloads, pair.now).remove(0);
    let answer = answer_of(&mut pair, "client", &request);
    let not_found = Notify { notify_type: NotifyType::CHILD_SA_NOT_FOUND, ..rekey };
    assert_eq!(opened(&mut pair.gateway, &answer, pair.now), [Payload::Notify(not_found)]);
    pair.assert_sound();
}

#[test]
fn whatever_arrives_in_whatever_order_both_sides_agree_in_the_end() {
    for seed in 0..200 {
        let mut pair = seeded(seed);
        let mut network = network::Network::new(seed);
        (network.loss, network.repetition) = (25, 20);
        for round in 0..6 {
            pair.client.rekey_child(pair.now);
            pair.gateway.rekey_child(pair.now);
            if round % 2 == seed % 2 {
                pair.client.rekey_ike(pair.now);
            }
            if round % 3 == 0 {
                pair.gateway.rekey_ike(pair.now);
            }
            network.run(&mut pair, Duration::from_millis(50 * (seed % 7)));
        }
        // Long enough for every repetition, retirement and second attempt.
        (network.loss, network.repetition) = (0, 0);
        network.run(&mut pair, Duration::from_secs(300));
        pair.assert_sound();
        assert_eq!(current_spis(&mut pair.client), current_spis(&mut pair.gateway), "seed {seed}");
    }
}
