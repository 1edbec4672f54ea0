use super::wiring::{Answers, Authority, Wiring, by_certificate, certificate_of, configuration, settings, trusting};
use crate::gateway::settings::{ClientAuth, Credentials, Settings};
use ike_client::session::{ClientAuthentication, CloseCause, Configuration, DistrustReason};
use ike_client::wire::ExchangeType;
use rcgen::{ExtendedKeyUsagePurpose as Purpose, SanType};

// -->  HDR, SAi1, KEi, Ni                              <--  HDR, SAr1, KEr, Nr
// -->  HDR, SK {IDi, CP(REQ), SAi2, TSi, TSr}          <--  HDR, SK {IDr, AUTH(PSK), EAP(Identity)}
// -->  HDR, SK {EAP}                                   <--  HDR, SK {EAP(challenge)}
// -->  HDR, SK {EAP(response)}                         <--  HDR, SK {EAP(success request)}
// -->  HDR, SK {EAP(success response)}                 <--  HDR, SK {EAP(Success)}
// -->  HDR, SK {AUTH(MSK)}                             <--  HDR, SK {AUTH(MSK), CP(REP), SAr2, TSi, TSr}
#[test]
fn a_gateway_by_psk_and_a_user_by_eap_come_together_as_at_a_fortigate() {
    let mut wiring = Wiring::new(settings());
    wiring.settle();
    let established = wiring.established.clone().expect("established");
    assert_eq!(established.addresses, ["10.97.0.2/32".parse().unwrap()]);
    assert_eq!(established.dns, [std::net::IpAddr::from([10, 98, 0, 53])]);
    assert_eq!(established.domains, ["corp.test"]);
    assert_eq!(established.subnets, ["10.98.0.0/24".parse().unwrap()]);
    assert!(established.nat.there, "the gateway pretends to be behind a NAT");
    assert_eq!(wiring.count(ExchangeType::IKE_AUTH, true, false), 5);
    assert_eq!(wiring.ping(), Ok(()));
    assert_eq!(wiring.log.len(), 1);
    assert!(wiring.log[0].contains("action=\"tunnel-up\"") && wiring.log[0].contains("user=\"alice\""));
}

// -->  HDR, SK {IDi, AUTH(PSK), CP(REQ), SAi2, TSi, TSr}   <--  HDR, SK {IDr, AUTH(PSK), CP(REP), SAr2, TSi, TSr}
#[test]
fn both_sides_by_psk_need_one_exchange_after_the_first() {
    let mut wiring = psk("correct horse battery");
    wiring.settle();
    assert_eq!(wiring.closed, None);
    assert_eq!(wiring.ping(), Ok(()));
    assert_eq!(wiring.count(ExchangeType::IKE_AUTH, true, false), 1);
}

#[test]
fn a_wrong_psk_is_refused_and_logged() {
    let mut wiring = psk("wrong");
    wiring.wait_for("the end", |wiring| wiring.closed.is_some());
    assert!(matches!(wiring.closed, Some(CloseCause::AuthenticationFailed { .. })), "{:?}", wiring.closed);
    assert!(wiring.log[0].contains("reason=\"probable pre-shared secret mismatch\""));
    assert_eq!(wiring.gateway.established(), 0);
}

fn psk(secret: &'static str) -> Wiring {
    let configuration = Configuration { client_auth: ClientAuthentication::PreSharedKey, ..configuration() };
    let settings = Settings { client_auth: ClientAuth::Psk, ..settings() };
    Wiring::with(settings, Credentials::default(), configuration, Answers { psk: secret, ..Answers::default() })
}

#[test]
fn a_gateway_with_another_psk_gets_no_user_name() {
    let answers = Answers { psk: "another", password: "Passw0rd", key: None };
    let mut wiring = Wiring::with(settings(), Credentials::default(), configuration(), answers);
    wiring.wait_for("the end", |wiring| wiring.closed.is_some());
    let why = DistrustReason::ProofWrong;
    assert_eq!(wiring.closed, Some(CloseCause::GatewayNotTrusted { why }));
    assert!(!wiring.asked.contains(&"password"));
}

#[test]
fn a_wrong_password_and_an_unknown_user_look_the_same() {
    for (user, password) in [("alice", "wrong"), ("mallory", "Passw0rd")] {
        let client_auth = ClientAuthentication::Eap { identity: Some(user.into()), profile: Default::default() };
        let answers = Answers { psk: "correct horse battery", password, key: None };
        let configuration = Configuration { client_auth, ..configuration() };
        let mut wiring = Wiring::with(settings(), Credentials::default(), configuration, answers);
        wiring.wait_for("the end", |wiring| wiring.closed.is_some());
        assert!(matches!(wiring.closed, Some(CloseCause::LoginDeclined { .. })), "{:?}", wiring.closed);
        assert!(wiring.log[0].contains("reason=\"EAP authentication failed\""), "{:?}", wiring.log);
    }
}

// -->  HDR, SK {IDi, CP(REQ), SAi2, TSi, TSr}   <--  HDR, SK {IDr, CERT, AUTH(signature), EAP(Identity)}
#[test]
fn a_gateway_by_certificate_and_a_user_by_eap_come_together() {
    for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384] {
        let authority = Authority::new();
        let (leaf, key) =
            authority.issue(SanType::DnsName("vpn.example.test".try_into().unwrap()), Purpose::ServerAuth, algorithm);
        let credentials = Credentials { chain: vec![leaf], key: Some(key), client_authorities: Vec::new() };
        let configuration = Configuration { gateway_auth: trusting(&authority), ..configuration() };
        let answers = Answers { password: "Passw0rd", ..Answers::default() };
        let mut wiring = Wiring::with(by_certificate(ClientAuth::Eap), credentials, configuration, answers);
        wiring.settle();
        assert_eq!(wiring.closed, None);
        assert_eq!(wiring.ping(), Ok(()));
    }
}

// -->  HDR, SK {IDi, CERT, CERTREQ, AUTH, CP(REQ), ...}   <--  HDR, SK {IDr, CERT, AUTH, CP(REP), ...}
#[test]
fn both_sides_by_certificate_come_together_and_a_strangers_certificate_is_refused() {
    for stranger in [false, true] {
        let (authority, other) = (Authority::new(), Authority::new());
        let (leaf, key) = authority.issue(
            SanType::DnsName("vpn.example.test".try_into().unwrap()),
            Purpose::ServerAuth,
            &rcgen::PKCS_ECDSA_P256_SHA256,
        );
        let issuer = if stranger { &other } else { &authority };
        let (own, own_key) = issuer.issue(
            SanType::Rfc822Name("alice@example.test".try_into().unwrap()),
            Purpose::ClientAuth,
            &rcgen::PKCS_ECDSA_P384_SHA384,
        );
        let credentials = Credentials { chain: vec![leaf], key: Some(key), client_authorities: vec![authority.der()] };
        let settings = by_certificate(ClientAuth::Certificate { authority: "authority.pem".into() });
        let configuration = Configuration {
            gateway_auth: trusting(&authority),
            client_auth: certificate_of(own),
            local_identity: Some("alice@example.test".parse().unwrap()),
            ..configuration()
        };
        let answers = Answers { key: Some(own_key), ..Answers::default() };
        let mut wiring = Wiring::with(settings, credentials, configuration, answers);
        wiring.settle();
        if stranger {
            wiring.wait_for("the end", |wiring| wiring.closed.is_some());
            assert!(matches!(wiring.closed, Some(CloseCause::AuthenticationFailed { .. })), "{:?}", wiring.closed);
        } else {
            assert_eq!(wiring.closed, None);
            assert_eq!(wiring.ping(), Ok(()));
        }
    }
}

// -->  HDR, SAi1, KEi, Ni             <--  HDR, N(COOKIE)
// -->  HDR, N(COOKIE), SAi1, KEi, Ni  <--  HDR, SAr1, KEr, Nr
#[test]
fn a_cookie_is_brought_back() {
    let mut wiring = Wiring::new(Settings { cookie: true, ..settings() });
    wiring.wait_for("the tunnel", |wiring| wiring.established.is_some());
    assert_eq!(wiring.count(ExchangeType::IKE_SA_INIT, true, false), 2);
    assert_eq!(wiring.ping(), Ok(()));
}

// -->  HDR, SAi1, KEi(ecp384), Ni   <--  HDR, N(INVALID_KE_PAYLOAD)
// -->  HDR, SAi1, KEi(x25519), Ni   <--  HDR, SAr1, KEr, Nr
#[test]
fn another_group_is_asked_for_and_given() {
    let ike_suites = vec!["aes256gcm16-prfsha256-x25519".parse().unwrap()];
    let mut wiring = Wiring::new(Settings { ike_suites, ..settings() });
    wiring.settle();
    assert_eq!(wiring.count(ExchangeType::IKE_SA_INIT, true, false), 2);
    assert_eq!(wiring.ping(), Ok(()));
}

#[test]
fn no_common_proposal_is_refused_by_name_and_logged() {
    let ike_suites = vec!["aes128-sha256-modp3072".parse().unwrap()];
    let mut wiring = Wiring::new(Settings { ike_suites, ..settings() });
    wiring.wait_for("the end", |wiring| wiring.closed.is_some());
    assert!(matches!(wiring.closed, Some(CloseCause::ProposalMismatch { .. })), "{:?}", wiring.closed);
    assert!(wiring.log[0].contains("reason=\"peer SA proposal not match local policy\""));
}

#[test]
fn a_pool_without_addresses_is_said_so() {
    let mut settings = settings();
    settings.pool_first = [10, 97, 0, 9].into();
    let mut wiring = Wiring::new(settings);
    wiring.wait_for("the end", |wiring| wiring.closed.is_some());
    assert_eq!(wiring.closed, Some(CloseCause::AddressUnavailable));
}
