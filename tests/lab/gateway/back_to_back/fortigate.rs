//! The manners that only a FortiGate has, against the client's module of that name.

use super::wiring::{Answers, Wiring, configuration, settings};
use crate::gateway::fortigate::{FortigateSettings, SignedOn};
use crate::gateway::settings::{Credentials, Settings};
use ike_client::fortigate::{self, Claims, Uid};
use ike_client::session::{ClientAuthentication, CloseCause, Configuration};

fn uid() -> Uid {
    Uid::of([0x5a; 16])
}

/// A client as `peer = "fortigate"` makes it.
fn forticlient() -> Configuration {
    let mut configuration = configuration();
    let claims = Claims {
        version: "7.4.8.2066".into(),
        uid: uid(),
        address: String::new(),
        host: String::new(),
        user: String::new(),
        system: String::new(),
        ems: None,
    };
    fortigate::apply(&mut configuration, &claims);
    configuration
}

fn gateway(fortigate: FortigateSettings) -> Settings {
    Settings { fortigate: Some(fortigate), ..settings() }
}

fn with_code() -> Settings {
    gateway(FortigateSettings { codes: [("alice".into(), "123456".into())].into(), ..Default::default() })
}

fn wiring(settings: Settings, configuration: Configuration) -> Wiring {
    let answers = Answers { psk: "correct horse battery", password: "Passw0rd", key: None };
    Wiring::with(settings, Credentials::default(), configuration, answers)
}

// -->  HDR, SK {EAP(success response)}       <--  HDR, SK {EAP(Success, five octets)}
// -->  HDR, SK {}                            <--  HDR, SK {EAP(GTC)}
// -->  HDR, SK {EAP(GTC code)}               <--  HDR, SK {EAP(Success)}
// -->  HDR, SK {AUTH(SK_pi)}                 <--  HDR, SK {AUTH(SK_pr), CP(REP), SAr2, TSi, TSr}
#[test]
fn a_second_factor_follows_the_success_of_five_octets_and_auth_is_by_the_keys_of_the_ike_sa() {
    let mut wiring = wiring(with_code(), forticlient());
    wiring.settle();
    assert_eq!(wiring.closed, None);
    assert_eq!(wiring.asked, ["psk", "password", "code"]);
    assert_eq!(wiring.ping(), Ok(()));
    assert!(wiring.log[0].contains("user=\"alice\""), "{:?}", wiring.log);
    assert!(wiring.log[0].contains(uid().as_str()), "{:?}", wiring.log);
}

#[test]
fn a_wrong_code_is_refused() {
    let mut wiring = wiring(with_code(), forticlient());
    wiring.code = "000000";
    wiring.wait_for("the end", |wiring| wiring.closed.is_some());
    assert!(matches!(wiring.closed, Some(CloseCause::AuthenticationFailed { .. })), "{:?}", wiring.closed);
    assert_eq!(wiring.gateway.established(), 0);
}

#[test]
fn a_success_of_five_octets_ends_a_login_that_does_not_expect_it() {
    let mut configuration = forticlient();
    if let ClientAuthentication::Eap { profile, .. } = &mut configuration.client_auth {
        profile.token_after_success = false;
    }
    let mut wiring = wiring(with_code(), configuration);
    wiring.wait_for("the end", |wiring| wiring.closed.is_some());
    assert!(matches!(wiring.closed, Some(CloseCause::PeerMisbehaved { .. })), "{:?}", wiring.closed);
    assert_eq!(wiring.asked, ["psk", "password"], "no code leaves");
}

#[test]
fn a_client_without_the_vendor_ids_gets_no_further_than_its_password() {
    let mut wiring = wiring(with_code(), configuration());
    wiring.wait_for("the end", |wiring| wiring.closed.is_some());
    assert!(matches!(wiring.closed, Some(CloseCause::AuthenticationFailed { .. })), "{:?}", wiring.closed);
    assert_eq!(wiring.asked, ["psk", "password"]);
}

#[test]
fn split_networks_come_by_unity_too_and_the_resolver_that_is_none_is_passed_over() {
    for unity in [false, true] {
        let manners = FortigateSettings { unity, empty_dns: true, ..Default::default() };
        let mut wiring = wiring(gateway(manners), forticlient());
        wiring.settle();
        let established = wiring.established.clone().expect("established");
        assert_eq!(established.subnets, ["10.98.0.0/24".parse().unwrap()], "unity {unity}");
        assert_eq!(established.dns, [std::net::IpAddr::from([10, 98, 0, 53])]);
        assert_eq!(wiring.ping(), Ok(()));
    }
}

/// A client that has signed on: EAP with the UID and the token.
fn signed_on(token: &'static str) -> (Configuration, Answers) {
    let mut configuration = forticlient();
    if let ClientAuthentication::Eap { identity, .. } = &mut configuration.client_auth {
        *identity = Some(uid().to_string());
    }
    (configuration, Answers { psk: "correct horse battery", password: token, key: None })
}

#[test]
fn who_has_signed_on_logs_in_by_uid_and_token_and_once() {
    let manners = FortigateSettings::default();
    let tokens = manners.signed_on.clone();
    let settings = gateway(manners);
    let token = SignedOn { token: "7f3a".into(), user: "alice@example.test".into() };
    tokens.lock().unwrap().insert(uid().to_string(), token);
    for (token, fine) in [("wrong", false), ("7f3a", true), ("7f3a", false)] {
        let (configuration, answers) = signed_on(token);
        let mut wiring = Wiring::with(settings.clone(), Credentials::default(), configuration, answers);
        wiring.wait_for("an end", |wiring| wiring.closed.is_some() || wiring.established.is_some());
        assert_eq!(wiring.established.is_some(), fine, "{token}: {:?}", wiring.closed);
        if fine {
            assert!(wiring.log[0].contains("user=\"alice@example.test\""), "{:?}", wiring.log);
        }
    }
}
