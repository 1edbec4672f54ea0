//! A start without CHILD SA, an authentication that ends, a gateway that has restarted.

use super::*;
use crate::wire::{ExchangeType, Flags, Header, Message, Notify, NotifyType};

fn status(kind: NotifyType, data: &[u8]) -> Payload {
    Payload::Notify(Notify::new(kind, data.to_vec()))
}

/// Runs a client against a gateway that can do without a CHILD SA at first; returns the session with
/// the payloads of its first IKE_AUTH request.
fn childless(configuration: Configuration, behaviour: Behaviour) -> (Session, Vec<Payload>) {
    let mut gateway = Gateway::new(configuration.clone(), behaviour);
    let mut client = client(configuration);
    let request = sent_one(&mut client);
    for answer in gateway.take(&request, at(0)) {
        client.handle_datagram(&answer, gateway_address(), at(0));
    }
    answer_psk(&mut client, PSK, at(0));
    let request = sent_one(&mut client);
    for answer in gateway.take(&request, at(0)) {
        client.handle_datagram(&answer, client.remote(), at(0));
    }
    (client, gateway.first_auth)
}

fn is_about_a_child(payload: &Payload) -> bool {
    matches!(
        payload,
        Payload::SecurityAssociation(_) | Payload::TrafficSelectorsInitiator(_) | Payload::TrafficSelectorsResponder(_)
    )
}

fn wanting_no_child() -> Configuration {
    let mut configuration = configuration();
    configuration.continuity.childless = true;
    configuration
}

#[test]
fn a_start_without_child_sa_asks_for_one_as_soon_as_the_ike_sa_stands() {
    let behaviour = || Behaviour { childless: true, ..Behaviour::default() };
    // HDR, SK{IDi, AUTH, CP} -->   <-- HDR, SK{IDr, AUTH, CP}
    let (mut client, request) = childless(wanting_no_child(), behaviour());
    assert!(!request.iter().any(is_about_a_child));
    assert_eq!(client.state_name(), "established");
    let told = events(&mut client);
    assert!(matches!(told.as_slice(), [Event::Established(_)]), "{told:?}");
    // HDR, SK{SA, Ni, KEi, TSi, TSr} -->
    let create = sent_one(&mut client);
    assert_eq!(Message::decode(&create).unwrap().header.exchange, ExchangeType::CREATE_CHILD_SA);

    // Without the wish, or towards a gateway that cannot, it is as ever.
    let (mut client, request) = childless(configuration(), behaviour());
    assert!(request.iter().any(is_about_a_child));
    assert!(matches!(events(&mut client).as_slice(), [Event::Established(_), Event::ChildInstalled(_)]));
    let (_, request) = childless(wanting_no_child(), Behaviour::default());
    assert!(request.iter().any(is_about_a_child));
}

#[test]
fn a_child_sa_that_is_refused_in_the_authentication_is_asked_for_afterwards_where_that_is_possible() {
    for (knows, state) in [(true, "established"), (false, "closing")] {
        let refusal = vec![Notify::new(NotifyType::NO_PROPOSAL_CHOSEN, Vec::new())];
        let behaviour = Behaviour { childless: knows, refusal, ..Behaviour::default() };
        let (client, _) = childless(configuration(), behaviour);
        assert_eq!(client.state_name(), state);
    }
}

#[test]
fn a_gateway_that_refuses_everything_because_of_the_child_sa_is_asked_without_one() {
    let refusal = vec![Notify::new(NotifyType::INVALID_SYNTAX, Vec::new())];
    let behaviour = Behaviour { childless: true, refusal, ..Behaviour::default() };
    let (mut client, request) = childless(configuration(), behaviour);
    assert!(request.iter().any(is_about_a_child));
    assert_eq!(client.state_name(), "awaiting-init-response", "from the start");
    let mut gateway = Gateway::new(configuration(), Behaviour { childless: true, ..Behaviour::default() });
    let again = sent_one(&mut client);
    for answer in gateway.take(&again, at(1)) {
        client.handle_datagram(&answer, client.remote(), at(1));
    }
    answer_psk(&mut client, PSK, at(1));
    let request = sent_one(&mut client);
    for answer in gateway.take(&request, at(1)) {
        client.handle_datagram(&answer, client.remote(), at(1));
    }
    assert!(!gateway.first_auth.iter().any(is_about_a_child));
    assert_eq!(client.state_name(), "established");
}

fn due(pair: &Pair) -> Vec<Duration> {
    let within = |event: &Event| match event {
        Event::ReauthenticationDue { within } => Some(*within),
        _ => None,
    };
    pair.told.iter().filter_map(within).collect()
}

#[test]
fn the_owner_is_told_in_time_that_the_authentication_ends() {
    let extra = vec![status(NotifyType::AUTH_LIFETIME, &1000_u32.to_be_bytes())];
    let mut pair = Pair::with(configuration(), Behaviour { extra, ..Behaviour::default() });
    pair.wait_until(at(895));
    assert!(due(&pair).is_empty());
    pair.wait_until(at(910));
    assert_eq!(due(&pair), [Duration::from_secs(100)]);
    // Renewing the IKE SA is no authentication, and once is enough.
    pair.client.rekey_ike(pair.now);
    pair.settle();
    pair.wait_until(at(990));
    assert_eq!(due(&pair).len(), 1);
    pair.assert_sound();
}

#[test]
fn a_gateway_that_thinks_better_of_it_says_so_later() {
    let mut pair = Pair::new();
    pair.inform_client(&[status(NotifyType::AUTH_LIFETIME, &600_u32.to_be_bytes())]);
    pair.inform_client(&[status(NotifyType::AUTH_LIFETIME, &20_u32.to_be_bytes())]);
    pair.inform_client(&[status(NotifyType::AUTH_LIFETIME, &[1, 2])]);
    assert_eq!(pair.client.poll_timeout(), Some((pair.now + Duration::from_secs(15), TimerName::Reauthentication)));
}

#[test]
fn attack_a_gateway_that_wants_a_proof_every_second_gets_none_before_its_time() {
    for seconds in [0_u32, 1, 7] {
        let mut pair = Pair::new();
        pair.inform_client(&[status(NotifyType::AUTH_LIFETIME, &seconds.to_be_bytes())]);
        let begun = pair.now;
        pair.wait_until(begun + Duration::from_secs(14));
        assert!(due(&pair).is_empty());
        pair.wait_until(begun + Duration::from_secs(16));
        assert_eq!(due(&pair), [Duration::from_secs(5)]);
    }
}

#[test]
fn an_ike_sa_that_was_not_renewed_in_time_is_a_reason_too() {
    let lifetime = Lifetime {
        rekey_after: Duration::from_secs(5000),
        jitter: Duration::ZERO,
        expire_after: Duration::from_secs(1000),
    };
    let configuration = Configuration { ike_lifetime: lifetime, ..configuration() };
    let mut pair = Pair::with(configuration, Behaviour::default());
    pair.wait_until(at(950));
    assert_eq!(due(&pair)[0], Duration::from_secs(100));
}

#[test]
fn a_successor_asks_for_the_same_addresses_on_the_same_socket_and_forgets_nobody() {
    let mut pair = Pair::new();
    let addresses = pair.established.addresses.clone();
    let mut gateway = Gateway::new(configuration(), Behaviour::default());
    let random = Box::new(SeededRandom::new(77));
    let (local, remote) = (address("192.0.2.10:4500"), address("198.51.100.1:4500"));
    let next = configuration().succeeding(&addresses);
    let mut next = Session::new(next, random, local, remote, Timestamp::ZERO, UNIX_NOW).asking_from(RequestId(1000));
    let first = next.poll_transmit().unwrap();
    assert_eq!(first.socket, LocalSocket::Encapsulated);
    for answer in gateway.take(&unmarked(&first), at(0)) {
        next.handle_datagram(&answer, next.remote(), at(0));
    }
    assert_eq!(requested(&mut next).0, RequestId(1000));
    next.handle_response(RequestId(1000), Answer::Secret { secret: Secret::from(PSK) }, at(0)).unwrap();
    exchange(&mut next, &mut gateway, at(0));
    assert_eq!(next.state_name(), "established");
    let asked = gateway.first_auth.iter().find_map(|payload| match payload {
        Payload::Configuration(request) => request.attributes.first().map(|attribute| attribute.value.clone()),
        _ => None,
    });
    assert_eq!(asked, Some(vec![10, 9, 0, 7]));
    let initial = status(NotifyType::INITIAL_CONTACT, &[]);
    assert!(!gateway.first_auth.contains(&initial));
    // Of the two, each takes only what is its own.
    next.check_liveness(at(0));
    let question = sent_one(&mut next);
    pair.give_gateway(&question);
    assert_eq!(sent(&mut pair.gateway), Vec::<Vec<u8>>::new());
    pair.assert_sound();
}

/// Returns what a gateway without any state says, with this for a token.
fn unknown(pair: &mut Pair, token: &[u8]) -> Vec<u8> {
    let State::Established(state) = &mut pair.client.state else { panic!("not established") };
    let spis = state.current_sa_mut().spis;
    let flags = Flags::new(false, true);
    let header = Header::new(spis.initiator, spis.responder, ExchangeType::INFORMATIONAL, flags, 5);
    let payloads = vec![status(NotifyType::INVALID_IKE_SPI, &[]), status(NotifyType::QUICK_CRASH_DETECTION, token)];
    Message::new(header, payloads).encode().unwrap()
}

#[test]
fn a_gateway_that_shows_its_token_has_restarted_and_any_other_is_a_hint() {
    let extra = vec![status(NotifyType::QUICK_CRASH_DETECTION, &[7; 32])];
    let mut pair = Pair::with(configuration(), Behaviour { extra, ..Behaviour::default() });
    for wrong in [&[6; 32][..], &[7; 31], &[7; 33], &[]] {
        let message = unknown(&mut pair, wrong);
        pair.give_client(&message);
        assert_eq!(pair.closed[0], None);
    }
    let message = unknown(&mut pair, &[7; 32]);
    pair.give_client(&message);
    assert_eq!(pair.closed[0], Some(CloseCause::GatewayRestarted));

    // A gateway that gave no token, or one that is too short to be one, cannot end anything so.
    for token in [None, Some(vec![7; 15])] {
        let extra = token.iter().map(|token| status(NotifyType::QUICK_CRASH_DETECTION, token)).collect();
        let mut pair = Pair::with(configuration(), Behaviour { extra, ..Behaviour::default() });
        let message = unknown(&mut pair, token.as_deref().unwrap_or_default());
        pair.give_client(&message);
        assert_eq!(pair.closed[0], None);
    }
}
