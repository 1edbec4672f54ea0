//! Both sides renew at once in several steps (RFC 9370 §2.2.4): the losing side stops after
//! CREATE_CHILD_SA, and nothing is put off.

use super::collisions::{SEEDS, answer_of, assert_both_came_up, current_spis, made_by_client};
use super::*;
use crate::wire::{ExchangeType, Message};

/// A pair whose suites have an additional key exchange, for renewals of either SA.
fn hybrid(seed: u64) -> Pair {
    let mut configuration = configuration();
    configuration.ike_suites = vec!["aes256gcm16-prfsha384-x25519-ke1_mlkem512".parse().unwrap()];
    configuration.esp_suites = vec!["aes256gcm16-x25519-ke1_mlkem512".parse().unwrap()];
    let mut pair = Pair::with(configuration, Behaviour::default());
    pair.client.context.random = Box::new(SeededRandom::new(100 + seed));
    pair.gateway.context.random = Box::new(SeededRandom::new(200 + seed));
    pair
}

fn exchange_of(message: &[u8]) -> ExchangeType {
    Message::decode(message).unwrap().header.exchange
}

/// Which SA is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Renewed {
    Child,
    Ike,
}

/// Lets both sides ask at once and answer each other; returns the answer to the client, then the one to
/// the gateway.
fn cross(pair: &mut Pair, what: Renewed) -> (Vec<u8>, Vec<u8>) {
    for session in [&mut pair.client, &mut pair.gateway] {
        match what {
            Renewed::Child => session.rekey_child(pair.now),
            Renewed::Ike => session.rekey_ike(pair.now),
        }
    }
    // HDR, SK{SA, Ni1, KEi1} -->   (crosses)   <-- HDR, SK{SA, Ni2, KEi2}
    let (first, second) = (sent_one(&mut pair.client), sent_one(&mut pair.gateway));
    let to_client = answer_of(pair, "gateway", &first);
    (to_client, answer_of(pair, "client", &second))
}

fn sound_again(pair: &mut Pair, what: Renewed, before: &[Vec<crate::esp::EspSpi>; 2]) {
    pair.settle();
    match what {
        Renewed::Child => assert!(pair.children.concat().iter().all(|spi| !before.concat().contains(spi))),
        Renewed::Ike => assert_eq!(&pair.children, before, "the CHILD SAs move along"),
    }
    pair.assert_sound();
    assert_eq!(current_spis(&mut pair.client), current_spis(&mut pair.gateway));
    assert_eq!(pair.warnings, []);
    // And once more, so that nothing of the first time is left.
    pair.client.rekey_ike(pair.now);
    pair.settle();
    pair.gateway.rekey_child(pair.now);
    pair.settle();
    pair.assert_sound();
}

#[test]
fn of_two_renewals_in_several_steps_only_one_side_goes_on() {
    for what in [Renewed::Child, Renewed::Ike] {
        let mut winners = Vec::new();
        for seed in SEEDS {
            let mut pair = hybrid(seed);
            let before = pair.children.clone();
            let (to_client, to_gateway) = cross(&mut pair, what);
            pair.give_client(&to_client);
            pair.give_gateway(&to_gateway);
            // Either HDR(IKE_FOLLOWUP_KE), SK{KEi(1), N(link)} -->   or   <-- the same
            let (by_client, by_gateway) = (sent(&mut pair.client), sent(&mut pair.gateway));
            assert_eq!(by_client.len() + by_gateway.len(), 1, "{what:?}, seed {seed}");
            assert!(by_client.iter().chain(&by_gateway).all(|one| exchange_of(one) == ExchangeType::IKE_FOLLOWUP_KE));
            let client_wins = !by_client.is_empty();
            by_client.iter().for_each(|message| pair.give_gateway(message));
            by_gateway.iter().for_each(|message| pair.give_client(message));
            pair.settle();
            if what == Renewed::Ike {
                assert_eq!(made_by_client(&mut pair.client), client_wins);
            }
            sound_again(&mut pair, what, &before);
            winners.push(client_wins);
        }
        assert_both_came_up(&winners);
    }
}

#[test]
fn the_winners_next_step_may_arrive_before_the_losers_answer_does() {
    for what in [Renewed::Child, Renewed::Ike] {
        let mut seen = [false; 2];
        for seed in SEEDS {
            let mut pair = hybrid(seed);
            let before = pair.children.clone();
            let (to_client, to_gateway) = cross(&mut pair, what);
            pair.give_client(&to_client);
            let by_client = sent(&mut pair.client);
            seen[usize::from(by_client.is_empty())] = true;
            // HDR(IKE_FOLLOWUP_KE), SK{KEi(1), N(link)} -->   overtakes   HDR, SK{SA, Nr2, KEr2} -->
            by_client.iter().for_each(|message| pair.give_gateway(message));
            pair.give_gateway(&to_gateway);
            sound_again(&mut pair, what, &before);
        }
        assert_eq!(seen, [true, true], "{what:?}");
    }
}

#[test]
fn a_renewal_that_is_asked_for_between_the_steps_is_put_off() {
    for what in [Renewed::Child, Renewed::Ike] {
        let mut pair = hybrid(1);
        let before = pair.children.clone();
        for session in [&mut pair.client, &mut pair.gateway] {
            match what {
                Renewed::Child => session.rekey_child(pair.now),
                Renewed::Ike => session.rekey_ike(pair.now),
            }
        }
        let (first, late) = (sent_one(&mut pair.client), sent_one(&mut pair.gateway));
        let answer = answer_of(&mut pair, "gateway", &first);
        pair.give_client(&answer);
        // HDR(IKE_FOLLOWUP_KE), SK{...} -->   (crosses)   <-- HDR, SK{SA, Ni2, KEi2}
        let step = sent_one(&mut pair.client);
        assert_eq!(exchange_of(&step), ExchangeType::IKE_FOLLOWUP_KE);
        pair.give_client(&late);
        // HDR, SK{N(TEMPORARY_FAILURE)} -->   any other refusal would be a warning
        let refusal = sent_one(&mut pair.client);
        pair.give_gateway(&refusal);
        assert!(pair.gateway.poll_timeout().is_some());
        pair.give_gateway(&step);
        sound_again(&mut pair, what, &before);
    }
}
