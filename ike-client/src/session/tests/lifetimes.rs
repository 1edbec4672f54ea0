//! Timers: renewals in time, age limits, keepalives; and a clock that is believed exactly.

use super::*;

fn short_lived() -> Configuration {
    let lifetime = |rekey, jitter, expire| Lifetime {
        rekey_after: Duration::from_secs(rekey),
        jitter: Duration::from_secs(jitter),
        expire_after: Duration::from_secs(expire),
    };
    Configuration {
        child_lifetime: lifetime(600, 60, 700),
        ike_lifetime: lifetime(3600, 600, 4000),
        liveness_interval: Some(Duration::from_secs(30)),
        ..configuration()
    }
}

#[test]
fn renewals_start_within_their_jitter_and_not_on_both_sides_at_once() {
    let configuration = Configuration { liveness_interval: None, ..short_lived() };
    let mut pair = Pair::with(configuration, Behaviour::default());
    let timers = [&pair.client, &pair.gateway].map(|session| session.poll_timeout().unwrap());
    for (moment, name) in timers {
        assert_eq!(name, TimerName::ChildRekey);
        let age = moment.saturating_since(pair.now).as_secs();
        assert!((540..=600).contains(&age), "{age}");
    }
    assert_ne!(timers[0], timers[1]);
    let before = pair.children.clone();
    pair.wait_until(at(605));
    pair.assert_sound();
    assert_ne!(pair.children, before);
}

#[test]
fn a_child_sa_that_cannot_be_renewed_ends_the_tunnel_at_its_age_limit() {
    let configuration = Configuration { liveness_interval: None, ..short_lived() };
    let mut pair = Pair::with(configuration, Behaviour::default());
    pair.gateway.context.configuration.esp_suites = vec!["chacha20poly1305".parse().unwrap()];
    pair.wait_until(at(800));
    // Another in its place is refused as its renewals were.
    let refused = CloseCause::ProposalMismatch { sa: SaKind::Child };
    assert!(pair.closed.contains(&Some(refused)), "{:?}", pair.closed);
    assert!(pair.closed.iter().all(Option::is_some));
}

#[test]
fn keepalives_are_sent_behind_a_nat_and_only_there() {
    let mut gateway = Gateway::new(configuration(), Behaviour::default());
    let random = Box::new(SeededRandom::new(1));
    let inside = address("10.0.0.5:500");
    let mut client = Session::new(configuration(), random, inside, gateway_address(), Timestamp::ZERO, UNIX_NOW);
    exchange(&mut client, &mut gateway, at(0));
    answer_psk(&mut client, PSK, at(0));
    exchange(&mut client, &mut gateway, at(0));
    let Some(Event::Established(established)) = client.poll_event() else { panic!("established") };
    assert_eq!(established.nat, Nat { here: true, there: false });
    assert_eq!(client.poll_timeout(), Some((at(20), TimerName::Keepalive)));
    client.handle_timeout(at(20));
    let keepalive = client.poll_transmit().unwrap();
    assert_eq!((keepalive.bytes, keepalive.socket), (vec![0xff], LocalSocket::Encapsulated));
    assert_eq!(client.poll_timeout(), Some((at(40), TimerName::Keepalive)));

    let pair = Pair::new();
    assert_eq!(pair.established.nat, Nat::default());
    assert!(pair.client.poll_timeout().is_some_and(|(_, name)| name != TimerName::Keepalive));
}

#[test]
fn a_day_goes_by_with_every_timer_met_exactly() {
    for seed in 0..4 {
        let mut pair = Pair::with(short_lived(), Behaviour::default());
        pair.client.context.random = Box::new(SeededRandom::new(seed + 40));
        let mut network = network::Network::new(seed);
        // One message in 33 is lost: six of an exchange's in a row never are.
        (network.loss, network.repetition) = (3, 10);
        let mut renewals = 0;
        for _ in 0..24 {
            let before = pair.children.clone();
            network.run(&mut pair, Duration::from_secs(3600));
            assert_eq!(pair.closed, [None, None]);
            renewals += u32::from(pair.children != before);
        }
        assert_eq!(renewals, 24);
        (network.loss, network.repetition) = (0, 0);
        network.run(&mut pair, Duration::from_secs(200));
        pair.settle();
        pair.assert_sound();
    }
}

#[test]
fn a_broken_path_is_noticed_by_both_sides() {
    let mut pair = Pair::with(short_lived(), Behaviour::default());
    let mut network = network::Network::new(1);
    network.loss = 100;
    network.run(&mut pair, Duration::from_secs(100));
    assert_eq!(pair.closed, [Some(CloseCause::GatewayLost), Some(CloseCause::GatewayLost)]);
    assert_eq!((pair.client.poll_timeout(), pair.gateway.poll_timeout()), (None, None));
}

#[test]
fn after_a_long_suspend_what_is_over_is_over() {
    let mut pair = Pair::with(short_lived(), Behaviour::default());
    pair.now = at(1_000_000);
    pair.client.handle_timeout(pair.now);
    pair.note();
    assert_eq!(pair.closed[0], Some(CloseCause::Expired));
    assert!(pair.client.poll_timeout().is_none_or(|(moment, _)| moment > pair.now));
}

#[test]
fn waking_early_does_no_harm() {
    let mut pair = Pair::with(short_lived(), Behaviour::default());
    let before = pair.client.poll_timeout();
    for millisecond in 0..2000 {
        pair.client.handle_timeout(Timestamp::from_start(Duration::from_millis(1000 + millisecond)));
    }
    assert_eq!(pair.client.poll_timeout(), before);
    assert_eq!(sent(&mut pair.client), Vec::<Vec<u8>>::new());
}
