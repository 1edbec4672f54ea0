//! Two exchanges of authentication (RFC 4739): a certificate, then EAP; each must be accepted.

use super::certificates::{Authority, answer_signature, by_certificate};
use super::gateway::EapServer;
use super::*;
use crate::wire::{AuthenticationMethod, Notify, NotifyType};
use rcgen::PKCS_ECDSA_P256_SHA256;

/// What a client, its gateway and the authority behind both are made of.
struct Parties {
    authority: Authority,
    configuration: Configuration,
    key: crate::auth::PrivateKey,
}

impl Parties {
    fn new() -> Self {
        let authority = Authority::new();
        let (key, chain) = authority.issue("carol.example.test", &PKCS_ECDSA_P256_SHA256);
        let configuration = Configuration {
            gateway_auth: by_certificate(vec![authority.der.clone()]),
            client_auth: ClientAuthentication::CertificateThenEap {
                chain,
                second_identity: Some("alice@example.test".parse().unwrap()),
                identity: Some("alice".to_owned()),
                profile: Default::default(),
            },
            ..configuration()
        };
        Self { authority, configuration, key }
    }

    fn behaviour(&self) -> Behaviour {
        let certificate = Some(self.authority.issue("vpn.example.test", &PKCS_ECDSA_P256_SHA256));
        Behaviour { certificate, twice: true, eap: Some(EapServer::default()), ..Behaviour::default() }
    }

    /// Runs until the client asks for the password, or ends.
    fn until_password(&self, behaviour: Behaviour) -> (Session, Gateway) {
        let mut gateway = Gateway::new(self.configuration.clone(), behaviour);
        let mut client = client(self.configuration.clone());
        // HDR, SAi1, KEi, Ni -->               <-- HDR, SAr1, KEr, Nr, N(MULTIPLE_AUTH_SUPPORTED)
        exchange(&mut client, &mut gateway, at(0));
        if client.state_name() == "awaiting-signature" {
            answer_signature(&mut client, &self.key, at(0));
        }
        // HDR, SK{IDi, CERT, AUTH, N(MULTIPLE_AUTH_SUPPORTED), N(ANOTHER_AUTH_FOLLOWS), CP, SAi2, TSi, TSr} -->
        //      <-- HDR, SK{IDr, CERT, AUTH}
        // HDR, SK{IDi} -->                     <-- HDR, SK{EAP(Request/Identity)}
        // HDR, SK{EAP(Response/Identity)} -->  <-- HDR, SK{EAP(Challenge)}
        exchange(&mut client, &mut gateway, at(0));
        (client, gateway)
    }
}

fn answer_password(client: &mut Session, gateway: &mut Gateway) {
    let (id, request) = requested(client);
    assert!(matches!(request, Request::EapPassword { identity, .. } if identity == "alice"));
    let secret = Secret::from(b"swordfish".as_slice());
    client.handle_response(id, Answer::Secret { secret }, at(0)).unwrap();
    // HDR, SK{EAP(Response)} -->           <-- HDR, SK{EAP(Success-Request)}
    // HDR, SK{EAP(Success-Response)} -->   <-- HDR, SK{EAP-Success}
    // HDR, SK{AUTH} -->                    <-- HDR, SK{AUTH, CP, SAr2, TSi, TSr}
    exchange(client, gateway, at(0));
}

#[test]
fn a_certificate_and_then_a_password_come_together() {
    let parties = Parties::new();
    let (mut client, mut gateway) = parties.until_password(parties.behaviour());
    assert!(gateway.client_is_proven(), "by its certificate");
    assert_eq!(gateway.client_method, Some(AuthenticationMethod::DIGITAL_SIGNATURE));
    let announced = |kind| gateway.first_auth.iter().any(|p| matches!(p, Payload::Notify(n) if n.notify_type == kind));
    assert!(announced(NotifyType::MULTIPLE_AUTH_SUPPORTED) && announced(NotifyType::ANOTHER_AUTH_FOLLOWS));
    assert_ne!(client.state_name(), "established", "the certificate alone does not suffice");
    // The gateway holds the last AUTH against the second IDi.
    answer_password(&mut client, &mut gateway);
    assert_eq!(client.state_name(), "established");
}

#[test]
fn a_gateway_that_knows_one_authentication_only_is_shown_none_where_two_are_wanted() {
    let parties = Parties::new();
    let behaviour = Behaviour { twice: false, eap: None, ..parties.behaviour() };
    let (mut client, gateway) = parties.until_password(behaviour);
    assert!(matches!(closed(&mut client), CloseCause::ProtectionMissing { what } if what.contains("RFC 4739")));
    assert_eq!(gateway.first_auth, [], "no certificate, no identity");
}

#[test]
fn nothing_of_the_second_exchange_goes_to_a_gateway_that_is_not_proven() {
    let parties = Parties::new();
    let stranger = Authority::new().issue("vpn.example.test", &PKCS_ECDSA_P256_SHA256);
    let behaviour = Behaviour { certificate: Some(stranger), ..parties.behaviour() };
    let (mut client, gateway) = parties.until_password(behaviour);
    assert!(matches!(closed(&mut client), CloseCause::GatewayNotTrusted { .. }));
    assert_eq!(gateway.eap_answers, Vec::<Vec<u8>>::new());
}

#[test]
fn a_login_that_is_refused_in_the_second_exchange_ends_it_all() {
    let parties = Parties::new();
    let (mut client, mut gateway) = parties.until_password(parties.behaviour());
    gateway.behaviour.fails_eap = true;
    answer_password(&mut client, &mut gateway);
    let likely = vec![LikelyCause::CredentialsWrong];
    assert_eq!(closed(&mut client), CloseCause::AuthenticationFailed { likely });
}

#[test]
fn a_last_auth_by_another_key_than_the_logins_is_refused() {
    let parties = Parties::new();
    let (mut client, mut gateway) = parties.until_password(parties.behaviour());
    gateway.behaviour.forgets_msk = true;
    answer_password(&mut client, &mut gateway);
    assert_eq!(closed(&mut client), CloseCause::GatewayNotTrusted { why: DistrustReason::LoginKeyMissing });
}

#[test]
fn a_gateway_that_lets_a_client_in_by_the_certificate_alone_is_refused() {
    let parties = Parties::new();
    let behaviour = Behaviour { eap: None, ..parties.behaviour() };
    let (mut client, _) = parties.until_password(behaviour);
    assert!(matches!(closed(&mut client), CloseCause::PeerMisbehaved { what } if what.contains("second")));
}

#[test]
fn a_gateway_that_wants_to_prove_itself_twice_is_refused() {
    let parties = Parties::new();
    let follows = vec![Payload::Notify(Notify::new(NotifyType::ANOTHER_AUTH_FOLLOWS, Vec::new()))];
    let behaviour = Behaviour { extra: follows.clone(), ..parties.behaviour() };
    let (mut client, gateway) = parties.until_password(behaviour);
    assert!(matches!(closed(&mut client), CloseCause::PeerIncompatible { what } if what.contains("RFC 4739")));
    assert_eq!(gateway.eap_answers, Vec::<Vec<u8>>::new());
    // To a client that has not said MULTIPLE_AUTH_SUPPORTED it may not even be sent (RFC 4739 §2.1).
    let mut gateway = Gateway::new(configuration(), Behaviour { extra: follows, ..Behaviour::default() });
    let mut client = super::client(configuration());
    exchange(&mut client, &mut gateway, at(0));
    answer_psk(&mut client, PSK, at(0));
    exchange(&mut client, &mut gateway, at(0));
    assert!(matches!(closed(&mut client), CloseCause::PeerMisbehaved { .. }));
}

#[test]
fn two_exchanges_go_neither_with_a_post_quantum_key_nor_with_a_login_as_the_only_proof() {
    let parties = Parties::new();
    let of = |configuration: Configuration| {
        let mut gateway = Gateway::new(configuration.clone(), parties.behaviour());
        let mut client = client(configuration);
        exchange(&mut client, &mut gateway, at(0));
        assert_eq!(gateway.first_auth, []);
        closed(&mut client)
    };
    let unusable = |cause| matches!(cause, CloseCause::ConfigurationUnusable { .. });
    let ppk = Some(PostQuantumKey { identity: "key".to_owned(), required: false });
    assert!(unusable(of(Configuration { ppk, ..parties.configuration.clone() })));
    let gateway_auth = GatewayAuthentication::Eap;
    assert!(unusable(of(Configuration { gateway_auth, ..parties.configuration.clone() })));
}
