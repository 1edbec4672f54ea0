//! Additional key exchanges (RFC 9370): over IKE_INTERMEDIATE (RFC 9242) for a new IKE SA, over
//! IKE_FOLLOWUP_KE for what is made and renewed on it.

use super::*;
use crate::crypto::kex;
use crate::crypto::transform::Group;
use crate::wire::{KeyExchange, KeyExchangeGroup, Notify, NotifyType};

const HYBRID: &str = "aes256gcm16-prfsha384-x25519-ke1_mlkem768";
const PLAIN: &str = "aes256gcm16-prfsha384-x25519";

fn suites(ike: &[&str], esp: &[&str]) -> Configuration {
    Configuration {
        ike_suites: ike.iter().map(|name| name.parse().unwrap()).collect(),
        esp_suites: esp.iter().map(|name| name.parse().unwrap()).collect(),
        ..configuration()
    }
}

fn hybrid() -> Configuration {
    suites(&[HYBRID], &["aes256gcm16-x25519-ke1_mlkem768"])
}

/// Takes the halves of the CHILD SA that was installed last, and the suite.
fn installed(session: &mut Session) -> Box<ChildInstalled> {
    let children = events(session).into_iter().filter_map(|event| match event {
        Event::ChildInstalled(child) => Some(child),
        _ => None,
    });
    children.last().expect("a CHILD SA")
}

/// Carries messages without taking events out.
fn carry(pair: &mut Pair) -> usize {
    let mut count = 0;
    loop {
        let (to_gateway, to_client) = (sent(&mut pair.client), sent(&mut pair.gateway));
        if to_gateway.is_empty() && to_client.is_empty() {
            return count;
        }
        count += to_gateway.len() + to_client.len();
        for message in to_gateway {
            pair.gateway.handle_datagram(&message, pair.gateway.remote(), pair.now);
        }
        for message in to_client {
            pair.client.handle_datagram(&message, pair.client.remote(), pair.now);
        }
    }
}

/// Asserts that a packet passes from one to the other under the new CHILD SA.
fn assert_fits(from: &ChildInstalled, to: &ChildInstalled) {
    let mut inner = hex::decode("4500001c00010000401100000a0900070a000001123456780008000000000000").unwrap();
    inner.truncate(28);
    let mut buffer = vec![0; 200];
    let header = from.outbound.header_length();
    buffer[header..header + inner.len()].copy_from_slice(&inner);
    let length = from.outbound.seal_in_place(&mut buffer, inner.len()).unwrap();
    let opened = to.inbound.open_in_place(&mut buffer[..length]).unwrap();
    assert!(matches!(opened, crate::esp::Opened::Packet(_, range) if buffer[range.clone()] == inner));
}

#[test]
fn a_hybrid_ike_sa_comes_up_and_both_sides_have_the_same_keys() {
    // HDR, SAi1(.. ADDKE1=ML-KEM-768), KEi, Ni, N(INTERMEDIATE_EXCHANGE_SUPPORTED) -->
    //      <-- HDR, SAr1(.. ADDKE1=ML-KEM-768), KEr, Nr, N(INTERMEDIATE_EXCHANGE_SUPPORTED)
    // HDR(IKE_INTERMEDIATE), SK{KEi(1)} -->      <-- HDR(IKE_INTERMEDIATE), SK{KEr(1)}
    // HDR(IKE_AUTH), SK{IDi, AUTH, ...} -->      <-- HDR(IKE_AUTH), SK{IDr, AUTH, ...}
    let mut pair = Pair::with(hybrid(), Behaviour::default());
    assert_eq!(pair.established.ike_suite.to_string(), HYBRID);
    pair.assert_sound();
}

#[test]
fn several_additional_exchanges_follow_each_other_in_order() {
    let suite = "aes256-sha256-prfsha256-ecp256-ke1_mlkem512-ke2_modp2048-ke5_mlkem1024";
    let mut pair = Pair::with(suites(&[suite], &["aes256gcm16"]), Behaviour::default());
    assert_eq!(pair.established.ike_suite.to_string(), suite);
    pair.assert_sound();
}

#[test]
fn big_values_travel_in_fragments_and_auth_covers_the_whole() {
    let configuration = Configuration { fragment_size: 400, ..hybrid() };
    let mut gateway = Gateway::new(configuration.clone(), Behaviour::default());
    let mut session = client(configuration);
    let init = sent_one(&mut session);
    let answer = gateway.take(&init, at(1)).remove(0);
    session.handle_datagram(&answer, session.remote(), at(1));
    let fragments = sent(&mut session);
    assert!(fragments.len() > 2 && fragments.iter().all(|fragment| fragment.len() <= 400));
    // Out of order, too.
    let answers: Vec<_> = fragments.iter().rev().flat_map(|fragment| gateway.take(fragment, at(1))).collect();
    for answer in answers.iter().rev() {
        session.handle_datagram(answer, session.remote(), at(1));
    }
    answer_psk(&mut session, PSK, at(1));
    exchange(&mut session, &mut gateway, at(1));
    assert_eq!(session.state_name(), "established");
}

#[test]
fn where_a_path_swallows_large_fragments_smaller_ones_get_through() {
    let configuration = Configuration { fragment_size: 1200, ..hybrid() };
    let mut gateway = Gateway::new(configuration.clone(), Behaviour::default());
    let mut session = client(configuration);
    let init = sent_one(&mut session);
    let answer = gateway.take(&init, at(1)).remove(0);
    session.handle_datagram(&answer, session.remote(), at(1));
    let large = sent(&mut session);
    assert!(large.len() > 1 && large[0].len() > 1100);
    // What is short of the large ones passes; the path takes 576 octets.
    assert_eq!(gateway.take(large.last().unwrap(), at(1)), Vec::<Vec<u8>>::new());
    let mut repeat = || {
        let (due, _) = session.poll_timeout().unwrap();
        session.handle_timeout(due);
        // The first message is repeated beside, in case another answers it.
        let intermediate = sent(&mut session).into_iter().filter(|message| message[18] == large[0][18]);
        (due, intermediate.collect::<Vec<_>>())
    };
    assert_eq!(repeat().1, large);
    let (now, small) = repeat();
    assert!(small.len() > large.len() && small.iter().all(|message| message.len() <= 576 - 20 - 8 - 4));
    let answers: Vec<_> = small.iter().flat_map(|message| gateway.take(message, now)).collect();
    answers.iter().for_each(|answer| session.handle_datagram(answer, session.remote(), now));
    answer_psk(&mut session, PSK, now);
    exchange(&mut session, &mut gateway, now);
    assert_eq!(session.state_name(), "established");
}

#[test]
fn the_renewals_of_both_sas_are_hybrid_whoever_asks() {
    for by_client in [true, false] {
        let mut pair = Pair::with(hybrid(), Behaviour::default());
        // HDR(CREATE_CHILD_SA), SK{N(REKEY_SA), SA, Ni, KEi, TSi, TSr} -->
        //      <-- HDR, SK{SA, Nr, KEr, TSi, TSr, N(ADDITIONAL_KEY_EXCHANGE)}
        // HDR(IKE_FOLLOWUP_KE), SK{KEi(1), N(ADDITIONAL_KEY_EXCHANGE)} -->      <-- HDR, SK{KEr(1)}
        let now = pair.now;
        if by_client {
            pair.client.rekey_child(now)
        } else {
            pair.gateway.rekey_child(now)
        }
        assert!(carry(&mut pair) >= 6, "two exchanges and a deletion");
        let (ours, theirs) = (installed(&mut pair.client), installed(&mut pair.gateway));
        assert_eq!(ours.suite.to_string(), "aes256gcm16-x25519-ke1_mlkem768-noesn");
        assert_fits(&ours, &theirs);

        let before = pair.client.state_name();
        if by_client {
            pair.client.rekey_ike(now)
        } else {
            pair.gateway.rekey_ike(now)
        }
        assert!(carry(&mut pair) >= 6);
        assert_eq!(before, pair.client.state_name());
        let suites = events(&mut pair.client).into_iter().filter_map(|event| match event {
            Event::IkeRekeyed { suite } => Some(suite.to_string()),
            _ => None,
        });
        assert_eq!(suites.collect::<Vec<_>>(), [HYBRID]);
        let _ = events(&mut pair.gateway);
        // Each still understands the other, on the new SA.
        pair.client.check_liveness(now);
        pair.gateway.check_liveness(now);
        assert!(carry(&mut pair) >= 4);
        assert!(!pair.client.is_closed() && !pair.gateway.is_closed());
    }
}

#[test]
fn renewals_that_begin_at_once_come_through_in_the_end() {
    let mut pair = Pair::with(hybrid(), Behaviour::default());
    pair.client.rekey_child(pair.now);
    pair.gateway.rekey_child(pair.now);
    pair.settle();
    pair.client.rekey_ike(pair.now);
    pair.gateway.rekey_ike(pair.now);
    pair.settle();
    let end = pair.now + Duration::from_secs(120);
    pair.wait_until(end);
    pair.assert_sound();
}

#[test]
fn a_gateway_without_it_gets_the_plain_suite_that_the_profile_allows() {
    let configuration = suites(&[HYBRID, PLAIN], &["aes256gcm16"]);
    let behaviour = Behaviour { ike_suites: Some(vec![PLAIN.parse().unwrap()]), ..Behaviour::default() };
    let mut pair = Pair::with(configuration, behaviour);
    assert_eq!(pair.established.ike_suite.to_string(), PLAIN);
    pair.assert_sound();
}

#[test]
fn a_profile_can_demand_it() {
    let mut configuration = suites(&[HYBRID, PLAIN], &["aes256gcm16"]);
    configuration.require_post_quantum = true;
    let mut session = client(configuration.clone());
    let (cause, ..) = insisting(&mut session, |request| {
        let behaviour = Behaviour { ike_suites: Some(vec![PLAIN.parse().unwrap()]), ..Behaviour::default() };
        Gateway::new(configuration.clone(), behaviour).take(request, at(1)).remove(0)
    });
    assert_eq!(cause, CloseCause::ProposalMismatch { sa: SaKind::Ike });

    let mut configuration = suites(&[PLAIN], &["aes256gcm16"]);
    configuration.require_post_quantum = true;
    assert!(matches!(closed(&mut client(configuration)), CloseCause::ConfigurationUnusable { .. }));
}

#[test]
fn taking_the_hybrid_suite_out_of_the_offer_is_noticed() {
    let configuration = suites(&[HYBRID, PLAIN], &["aes256gcm16"]);
    let mut gateway = Gateway::new(configuration.clone(), Behaviour::default());
    let mut session = client(configuration);
    let request = sent_one(&mut session);
    let mut message = Message::decode(&request).unwrap();
    for payload in &mut message.payloads {
        if let Payload::SecurityAssociation(proposals) = payload {
            proposals.remove(0);
        }
    }
    for answer in gateway.take(&message.encode().unwrap(), at(1)) {
        session.handle_datagram(&answer, session.remote(), at(1));
    }
    answer_psk(&mut session, PSK, at(1));
    exchange(&mut session, &mut gateway, at(1));
    assert!(matches!(closed(&mut session), CloseCause::AuthenticationFailed { .. }));
}

#[test]
fn taking_the_announcement_out_of_the_answer_is_no_way_around() {
    let mut session = client(hybrid());
    let (cause, ..) = insisting(&mut session, |request| {
        let behaviour = Behaviour { hides_intermediate: true, ..Behaviour::default() };
        Gateway::new(hybrid(), behaviour).take(request, at(1)).remove(0)
    });
    assert!(matches!(cause, CloseCause::PeerMisbehaved { .. }), "{cause}");
}

#[test]
fn an_auth_that_leaves_the_additional_exchanges_out_is_refused() {
    let behaviour = Behaviour { forgets_intermediate: true, ..Behaviour::default() };
    let mut gateway = Gateway::new(hybrid(), behaviour);
    let mut session = client(hybrid());
    exchange(&mut session, &mut gateway, at(1));
    answer_psk(&mut session, PSK, at(1));
    exchange(&mut session, &mut gateway, at(1));
    assert_eq!(closed(&mut session), CloseCause::GatewayNotTrusted { why: DistrustReason::ProofWrong });
}

#[test]
fn a_followup_that_belongs_to_nothing_is_answered_by_state_not_found() {
    let mut pair = Pair::with(hybrid(), Behaviour::default());
    let own = kex::KeyExchange::generate(Group::MlKem768, &mut SeededRandom::new(5)).unwrap();
    let group = KeyExchangeGroup(Group::MlKem768.id());
    let payloads = [
        Payload::KeyExchange(KeyExchange { group, data: own.public().to_vec() }),
        Payload::Notify(Notify::new(NotifyType::ADDITIONAL_KEY_EXCHANGE, vec![1, 2, 3])),
    ];
    let now = pair.now;
    let requests = send_raw(&mut pair.gateway, ExchangeType::IKE_FOLLOWUP_KE, &payloads, now);
    for request in &requests {
        pair.give_client(request);
    }
    let answer = sent_one(&mut pair.client);
    let payloads = opened(&mut pair.gateway, &answer, now);
    let found = |kind| {
        let is_it = |payload: &Payload| matches!(payload, Payload::Notify(notify) if notify.notify_type == kind);
        payloads.iter().any(is_it)
    };
    assert!(found(NotifyType::STATE_NOT_FOUND), "{payloads:?}");
    pair.assert_sound();
}
