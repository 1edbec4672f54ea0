use super::wiring::{Answers, Wiring, configuration, settings};
use crate::gateway::Settings;
use crate::gateway::settings::Credentials;
use ike_client::session::{CloseCause, CloseReason, Configuration};
use ike_client::wire::ExchangeType;
use std::time::Duration;

fn up() -> Wiring {
    let mut wiring = Wiring::new(settings());
    wiring.settle();
    assert_eq!(wiring.ping(), Ok(()));
    wiring
}

// -->  HDR, SK {N(REKEY_SA), SA, Ni, KEi, TSi, TSr}   <--  HDR, SK {SA, Nr, KEr, TSi, TSr}
// -->  HDR, SK {D}                                    <--  HDR, SK {D}
#[test]
fn the_client_renews_the_child_sa_and_packets_go_on() {
    let mut wiring = up();
    let before = wiring.children[0].1.spi();
    for _ in 0..3 {
        wiring.client.rekey_child(wiring.clock);
        wiring.settle();
        assert_eq!(wiring.ping(), Ok(()));
        assert_eq!(wiring.children.len(), 1);
    }
    assert_ne!(wiring.children[0].1.spi(), before);
    assert_eq!(wiring.log.len(), 1, "a renewal is no event: {:?}", wiring.log);
}

// -->  HDR, SK {SA, Ni, KEi}   <--  HDR, SK {SA, Nr, KEr}
// -->  HDR, SK {D}             <--  HDR, SK {}
#[test]
fn the_client_renews_the_ike_sa_and_everything_goes_on() {
    let mut wiring = up();
    for _ in 0..3 {
        wiring.client.rekey_ike(wiring.clock);
        wiring.settle();
        assert_eq!(wiring.ping(), Ok(()));
        wiring.client.rekey_child(wiring.clock);
        wiring.settle();
        assert_eq!(wiring.ping(), Ok(()));
    }
    assert_eq!(wiring.gateway.established(), 1);
    wiring.client.close(CloseReason::User, wiring.clock);
    wiring.settle();
    assert_eq!(wiring.gateway.established(), 0);
    assert!(wiring.log[1].contains("action=\"tunnel-down\""), "{:?}", wiring.log);
}

// -->  HDR(IKE_INTERMEDIATE), SK {KEi(1)}                  <--  HDR, SK {KEr(1)}
// -->  HDR, SK {SA, Ni, KEi}                               <--  HDR, SK {SA, Nr, KEr, N(ADDITIONAL_KEY_EXCHANGE)}
// -->  HDR, SK {KEi(1), N(ADDITIONAL_KEY_EXCHANGE)}        <--  HDR, SK {KEr(1)}
#[test]
fn ml_kem_stands_beside_the_curve_from_the_first_exchange_on() {
    let ike_suites = vec!["aes256gcm16-prfsha384-ecp384-ke1_mlkem768".parse().unwrap()];
    let esp_suites = vec!["aes256gcm16-ecp384-ke1_mlkem1024".parse().unwrap()];
    let settings = Settings { ike_suites: ike_suites.clone(), esp_suites: esp_suites.clone(), ..settings() };
    let configuration = Configuration { ike_suites, esp_suites, require_post_quantum: true, ..configuration() };
    let answers = Answers { psk: "correct horse battery", password: "Passw0rd", key: None };
    let mut wiring = Wiring::with(settings, Credentials::default(), configuration, answers);
    wiring.settle();
    assert_eq!(wiring.ping(), Ok(()));
    for _ in 0..2 {
        let before = wiring.children[0].1.spi();
        wiring.client.rekey_child(wiring.clock);
        wiring.settle();
        assert_eq!(wiring.ping(), Ok(()));
        assert_ne!(wiring.children[0].1.spi(), before);
        wiring.client.rekey_ike(wiring.clock);
        wiring.settle();
        assert_eq!(wiring.ping(), Ok(()));
    }
    assert_eq!(wiring.gateway.established(), 1);
    assert_eq!(wiring.closed, None);
}

// -->  HDR, SK {D}   <--  HDR, SK {}
#[test]
fn the_client_deletes_and_its_address_is_free_again() {
    let mut wiring = up();
    wiring.client.close(CloseReason::Compliance, wiring.clock);
    wiring.settle();
    assert_eq!(wiring.closed, Some(CloseCause::Requested { reason: CloseReason::Compliance }));
    assert!(wiring.client.is_finished());
    assert!(wiring.ping().is_err());
    assert!(wiring.log[1].contains("action=\"tunnel-down\"") && wiring.log[1].contains("assignip=10.97.0.2"));
}

// <--  HDR, SK {D}   -->  HDR, SK {}
#[test]
fn the_gateway_deletes_and_the_client_names_it() {
    let mut wiring = up();
    wiring.gateway.close_all(wiring.now());
    wiring.settle();
    assert_eq!(wiring.closed, Some(CloseCause::ClosedByPeer));
    assert_eq!(wiring.gateway.poll_timeout(), None, "nothing is left at the gateway");
}

// -->  HDR, SK {}   <--  HDR, SK {}       and the other way round
#[test]
fn each_side_answers_whether_it_lives() {
    let mut wiring = up();
    wiring.client.check_liveness(wiring.clock);
    wiring.gateway.check_liveness(wiring.now());
    wiring.settle();
    assert_eq!(wiring.count(ExchangeType::INFORMATIONAL, true, true), 1);
    assert_eq!(wiring.count(ExchangeType::INFORMATIONAL, false, true), 1);
    assert_eq!(wiring.ping(), Ok(()));
}

#[test]
fn a_gateway_that_falls_silent_is_noticed_by_the_client() {
    let mut wiring = up();
    wiring.filter = Box::new(|_| false);
    wiring.wait_for("the loss", |wiring| wiring.closed.is_some());
    assert_eq!(wiring.closed, Some(CloseCause::GatewayLost));
}

#[test]
fn a_client_that_falls_silent_is_noticed_by_the_gateway() {
    let mut wiring = up();
    wiring.filter = Box::new(|_| false);
    wiring.gateway.check_liveness(wiring.now());
    wiring.wait_for("the loss", |wiring| wiring.gateway.established() == 0);
    assert!(wiring.log[1].contains("status=\"dpd_failure\"") && wiring.log[2].contains("tunnel-down"));
}

#[test]
fn every_message_may_be_lost_once() {
    let mut wiring = Wiring::new(settings());
    let mut met = Vec::new();
    wiring.filter = Box::new(move |seen| {
        let again = met.contains(seen);
        met.push(*seen);
        again
    });
    wiring.wait_for("the tunnel", |wiring| wiring.established.is_some());
    assert_eq!(wiring.ping(), Ok(()));
    wiring.client.rekey_ike(wiring.clock);
    wiring.wait_for("the renewal", |wiring| wiring.seen.iter().any(|seen| seen.message_id == 7 && seen.response));
    assert_eq!(wiring.ping(), Ok(()));
}

#[test]
fn a_negotiation_that_stops_is_given_up_by_the_gateway() {
    let mut wiring = Wiring::new(settings());
    wiring.filter = Box::new(|seen| seen.exchange == ExchangeType::IKE_SA_INIT);
    wiring.settle();
    wiring.clock = wiring.clock + Duration::from_secs(30);
    wiring.gateway.handle_timeout(wiring.now());
    wiring.settle();
    assert!(wiring.log[0].contains("reason=\"negotiation timeout\""), "{:?}", wiring.log);
    assert_eq!(wiring.gateway.poll_timeout(), None);
}
