use super::wiring::{Wiring, configuration, settings};
use crate::gateway::settings::{Credentials, Settings};
use ike_client::random::SeededRandom;
use ike_client::session::{CloseCause, Configuration, Event, Session, Ticket};
use ike_client::wire::ExchangeType;
use std::time::Duration;

fn giving_tickets() -> Settings {
    let mut settings = settings();
    settings.continuity.tickets = true;
    settings
}

/// A tunnel that was lost without a word, and its ticket.
fn lost() -> (Wiring, Ticket) {
    let mut wiring = Wiring::new(giving_tickets());
    wiring.settle();
    assert_eq!(wiring.ping(), Ok(()));
    assert_eq!(wiring.asked, ["psk", "password"]);
    let ticket = wiring.ticket.take().expect("the gateway gave a ticket");
    wiring.asked.clear();
    wiring.seen.clear();
    (wiring, ticket)
}

fn come_back(wiring: &mut Wiring, ticket: Ticket, seed: u64) {
    come_back_as(wiring, configuration(), ticket, seed);
}

fn come_back_as(wiring: &mut Wiring, configuration: Configuration, ticket: Ticket, seed: u64) {
    let (random, ends) = (Box::new(SeededRandom::new(seed)), super::wiring::ends());
    wiring.client = Session::resume(configuration, ticket, random, ends, wiring.clock, super::wiring::UNIX_NOW);
    wiring.children.clear();
    wiring.settle();
}

// -->  HDR(A,0), N(TICKET_OPAQUE), Ni       <--  HDR(A,B), Nr
// -->  HDR, SK {IDi, AUTH, CP, SA, ...}     <--  HDR, SK {IDr, AUTH, CP, SA, ...}
#[test]
fn a_lost_tunnel_comes_back_by_its_ticket_and_nobody_is_asked() {
    let (mut wiring, ticket) = lost();
    come_back(&mut wiring, ticket, 5);
    assert_eq!(wiring.ping(), Ok(()));
    assert!(wiring.asked.is_empty(), "{:?}", wiring.asked);
    assert_eq!(wiring.count(ExchangeType::IKE_AUTH, true, false), 1);
    assert_eq!(wiring.count(ExchangeType::IKE_SA_INIT, true, false), 0);
    assert_eq!(wiring.gateway.established(), 1, "the old one had to go");
    assert!(wiring.ticket.is_some(), "and there is another ticket for the next time");
    wiring.client.rekey_ike(wiring.clock);
    wiring.settle();
    wiring.client.rekey_child(wiring.clock);
    wiring.settle();
    assert_eq!(wiring.ping(), Ok(()));
}

#[test]
fn a_ticket_is_good_once_and_then_the_negotiation_starts_from_the_beginning() {
    let (mut wiring, ticket) = lost();
    come_back(&mut wiring, ticket.clone(), 5);
    assert_eq!(wiring.ping(), Ok(()));
    come_back(&mut wiring, ticket, 6);
    wiring.wait_for("the tunnel from the start", |wiring| wiring.client.state_name() == "established");
    assert_eq!(wiring.asked, ["psk", "password"]);
    assert_eq!(wiring.ping(), Ok(()));
}

#[test]
fn a_ticket_that_is_too_old_is_known_on_both_sides() {
    let (mut wiring, ticket) = lost();
    assert!(ticket.is_good(wiring.clock));
    wiring.clock = wiring.clock + Duration::from_secs(601);
    assert!(!ticket.is_good(wiring.clock));
    come_back(&mut wiring, ticket, 5);
    assert_eq!(wiring.asked, ["psk", "password"]);
    assert_eq!(wiring.ping(), Ok(()));
}

#[test]
fn a_gateway_that_is_silent_about_tickets_is_asked_from_the_beginning() {
    let (mut wiring, ticket) = lost();
    wiring.filter = Box::new(|seen| seen.exchange != ExchangeType::IKE_SESSION_RESUME);
    come_back(&mut wiring, ticket, 5);
    wiring.established = None;
    wiring.wait_for("the tunnel", |wiring| wiring.established.is_some());
    assert_eq!(wiring.ping(), Ok(()));
}

/// Waits for a tunnel that was negotiated from the start, everything asked and proven anew.
fn comes_up_from_the_start(wiring: &mut Wiring) {
    wiring.wait_for("the tunnel from the start", |wiring| wiring.client.state_name() == "established");
    assert!(wiring.count(ExchangeType::IKE_SESSION_RESUME, true, false) >= 1, "the ticket was tried");
    assert!(wiring.count(ExchangeType::IKE_SA_INIT, true, false) >= 1, "and led nowhere");
    assert_eq!(wiring.asked, ["psk", "password"]);
    assert_eq!(wiring.ping(), Ok(()));
}

#[test]
fn who_does_not_hold_the_keys_of_the_session_cannot_resume_it_on_either_side() {
    let (mut wiring, ticket) = lost();
    // The client's key is another: what the two say to each other is noise.
    let mut changed = serde_json::to_value(&ticket).unwrap();
    changed["sk_d"][0] = serde_json::json!(changed["sk_d"][0].as_u64().unwrap() ^ 1);
    let changed: Ticket = serde_json::from_value(changed).unwrap();
    come_back(&mut wiring, changed, 5);
    comes_up_from_the_start(&mut wiring);
}

#[test]
fn a_gateway_that_proves_another_identity_than_then_has_to_authenticate_anew() {
    let (mut wiring, ticket) = lost();
    wiring.gateway.settings_mut().identity = "fqdn:other.example.test".parse().unwrap();
    come_back(&mut wiring, ticket, 5);
    comes_up_from_the_start(&mut wiring);
}

#[test]
fn the_identity_that_the_gateway_proved_then_is_the_one_it_proves_now() {
    let mut expecting = configuration();
    expecting.remote_identity = Some("fqdn:vpn.example.test".parse().unwrap());
    let (mut wiring, ticket) = lost();
    wiring.gateway.settings_mut().identity = "fqdn:other.example.test".parse().unwrap();
    come_back_as(&mut wiring, expecting, ticket, 5);
    wiring.wait_for("the end", |wiring| wiring.closed.is_some());
    assert!(matches!(wiring.closed, Some(CloseCause::GatewayNotTrusted { .. })), "{:?}", wiring.closed);
    assert!(!wiring.asked.contains(&"password"), "a secret was given to a stranger: {:?}", wiring.asked);
}

#[test]
fn tickets_are_neither_asked_for_nor_kept_by_who_does_not_want_them() {
    let mut quiet = configuration();
    quiet.continuity.resumption = false;
    let answers = super::wiring::Answers { psk: "correct horse battery", password: "Passw0rd", key: None };
    let mut wiring = Wiring::with(giving_tickets(), Credentials::default(), quiet, answers);
    wiring.settle();
    assert_eq!(wiring.ping(), Ok(()));
    assert!(wiring.ticket.is_none());
    assert!(!std::iter::from_fn(|| wiring.client.poll_event()).any(|event| matches!(event, Event::Ticket(_))));
}
