//! EAP inside IKE_AUTH: never before the gateway has proven itself, never done before it is done.

use super::gateway::EapServer;
use super::*;
use crate::wire::{NotifyType, Payload, PayloadType};

fn eap_configuration() -> Configuration {
    let client_auth = ClientAuthentication::Eap { identity: Some("alice".to_owned()), profile: Default::default() };
    Configuration { client_auth, ..configuration() }
}

fn behaviour(server: EapServer) -> Behaviour {
    Behaviour { eap: Some(server), ..Behaviour::default() }
}

/// Runs until the client asks for the password, or ends.
fn until_password(configuration: Configuration, server: EapServer) -> (Session, Gateway) {
    let mut gateway = Gateway::new(configuration.clone(), behaviour(server));
    let mut client = client(configuration);
    exchange(&mut client, &mut gateway, at(0));
    answer_psk(&mut client, PSK, at(0));
    exchange(&mut client, &mut gateway, at(0));
    (client, gateway)
}

fn answer_password(client: &mut Session, gateway: &mut Gateway, password: &str) {
    let (id, request) = requested(client);
    assert!(matches!(request, Request::EapPassword { identity, again: false, .. } if identity == "alice"));
    let secret = Secret::from(password.as_bytes());
    client.handle_response(id, Answer::Secret { secret }, at(0)).unwrap();
    exchange(client, gateway, at(0));
}

#[test]
fn a_gateway_by_pre_shared_key_and_a_user_by_password_come_together() {
    // HDR, SK{IDi, N(INITIAL_CONTACT), CP, SAi2, TSi, TSr} -->      no AUTH, no IDr
    //      <-- HDR, SK{IDr, AUTH, EAP(Request/Identity)}
    // HDR, SK{EAP(Response/Identity)} -->      <-- HDR, SK{EAP(Challenge)}
    let (mut client, mut gateway) = until_password(eap_configuration(), EapServer::default());
    let first: Vec<PayloadType> = gateway.first_auth.iter().map(Payload::payload_type).collect();
    assert!(!first.contains(&PayloadType::AUTHENTICATION));
    assert!(!first.contains(&PayloadType::IDENTIFICATION_RESPONDER));
    assert_eq!(client.state_name(), "awaiting-credential");
    // HDR, SK{EAP(Response)} -->               <-- HDR, SK{EAP(Success-Request)}
    // HDR, SK{EAP(Success-Response)} -->       <-- HDR, SK{EAP-Success}
    // HDR, SK{AUTH} -->                        <-- HDR, SK{AUTH, CP, SAr2, TSi, TSr}
    answer_password(&mut client, &mut gateway, "swordfish");
    assert_eq!(client.state_name(), "established");
    let Some(Event::Established(established)) = client.poll_event() else { panic!("established") };
    assert_eq!(established.warnings, [Warning::GatewayByPreSharedKey]);
}

#[test]
fn a_name_that_is_not_in_the_profile_is_asked_for() {
    let client_auth = ClientAuthentication::Eap { identity: None, profile: Default::default() };
    let configuration = Configuration { client_auth, ..configuration() };
    let (mut client, mut gateway) = until_password(configuration, EapServer::default());
    let (id, request) = requested(&mut client);
    assert_eq!(request, Request::EapIdentity { prompt: String::new() });
    client.handle_response(id, Answer::Text { text: "alice".to_owned() }, at(0)).unwrap();
    exchange(&mut client, &mut gateway, at(0));
    answer_password(&mut client, &mut gateway, "swordfish");
    assert_eq!(client.state_name(), "established");
}

#[test]
fn not_even_the_name_goes_to_a_gateway_without_proof() {
    let server = EapServer { without_proof: true, ..EapServer::default() };
    let (mut client, gateway) = until_password(eap_configuration(), server);
    assert_eq!(closed(&mut client), CloseCause::GatewayNotTrusted { why: DistrustReason::ProofMissing });
    assert_eq!(gateway.eap_answers, Vec::<Vec<u8>>::new());
}

#[test]
fn not_even_the_name_goes_to_a_gateway_with_another_key() {
    let configuration = eap_configuration();
    let behaviour = Behaviour { psk: b"another key".to_vec(), ..behaviour(EapServer::default()) };
    let mut gateway = Gateway::new(configuration.clone(), behaviour);
    let mut client = client(configuration);
    exchange(&mut client, &mut gateway, at(0));
    answer_psk(&mut client, PSK, at(0));
    exchange(&mut client, &mut gateway, at(0));
    assert_eq!(closed(&mut client), CloseCause::GatewayNotTrusted { why: DistrustReason::ProofWrong });
    assert_eq!(gateway.eap_answers, Vec::<Vec<u8>>::new());
}

#[test]
fn success_before_the_method_ran_is_a_gateway_that_proved_nothing() {
    let server = EapServer { early_success: true, ..EapServer::default() };
    let (mut client, _) = until_password(eap_configuration(), server);
    assert_eq!(closed(&mut client), CloseCause::GatewayNotTrusted { why: DistrustReason::EarlySuccess });
}

#[test]
fn a_server_that_does_not_know_the_password_is_not_believed() {
    let server = EapServer { proves_password: false, ..EapServer::default() };
    let (mut client, mut gateway) = until_password(eap_configuration(), server);
    answer_password(&mut client, &mut gateway, "swordfish");
    assert_eq!(closed(&mut client), CloseCause::GatewayNotTrusted { why: DistrustReason::EapProofMissing });
}

#[test]
fn a_refused_login_has_the_credentials_as_its_likely_cause() {
    let (mut client, mut gateway) = until_password(eap_configuration(), EapServer::default());
    gateway.behaviour.fails_eap = true;
    answer_password(&mut client, &mut gateway, "wrong");
    let likely = vec![LikelyCause::CredentialsWrong];
    assert_eq!(closed(&mut client), CloseCause::AuthenticationFailed { likely });
}

#[test]
fn a_refusal_by_number_keeps_its_reason() {
    use crate::auth::eap::EapFailure;
    use crate::auth::eap::mschapv2::{Decline, Declined};
    for reason in [Decline::PasswordExpired, Decline::AccountDisabled, Decline::WrongCredentials] {
        let declined = Declined { reason, retry_allowed: false, message: "why".to_owned() };
        let cause = CloseCause::from(EapFailure::Declined(declined));
        assert_eq!(cause, CloseCause::LoginDeclined { reason, message: "why".to_owned() });
    }
}

#[test]
fn a_final_auth_by_another_key_is_refused() {
    let (mut client, mut gateway) = until_password(eap_configuration(), EapServer::default());
    gateway.behaviour.forgets_msk = true;
    answer_password(&mut client, &mut gateway, "swordfish");
    assert_eq!(closed(&mut client), CloseCause::GatewayNotTrusted { why: DistrustReason::LoginKeyMissing });
}

#[test]
fn the_labs_tag_check_refuses_in_the_last_response() {
    let (mut client, mut gateway) = until_password(eap_configuration(), EapServer::default());
    let notify = |kind, data: &[u8]| crate::wire::Notify::new(kind, data.to_vec());
    gateway.behaviour.refusal =
        vec![notify(NotifyType::AUTHENTICATION_FAILED, b""), notify(NotifyType::LAB_TAG_CHECK_FAILED, b"no tag")];
    answer_password(&mut client, &mut gateway, "swordfish");
    assert_eq!(closed(&mut client), CloseCause::TagCheckRefused { text: "no tag".to_owned() });
}

#[test]
fn eap_from_a_gateway_for_which_it_is_not_set_up_is_refused() {
    let configuration = configuration();
    let mut gateway = Gateway::new(configuration.clone(), behaviour(EapServer::default()));
    let mut client = client(configuration);
    exchange(&mut client, &mut gateway, at(0));
    answer_psk(&mut client, PSK, at(0));
    exchange(&mut client, &mut gateway, at(0));
    assert!(matches!(closed(&mut client), CloseCause::PeerIncompatible { .. }));
    assert_eq!(gateway.eap_answers, Vec::<Vec<u8>>::new());
}

#[test]
fn a_gateway_that_lets_anybody_in_without_eap_is_refused() {
    let configuration = eap_configuration();
    let behaviour = Behaviour { skips_client_proof: true, ..Behaviour::default() };
    let mut gateway = Gateway::new(configuration.clone(), behaviour);
    let mut client = client(configuration);
    exchange(&mut client, &mut gateway, at(0));
    answer_psk(&mut client, PSK, at(0));
    exchange(&mut client, &mut gateway, at(0));
    assert!(matches!(closed(&mut client), CloseCause::PeerMisbehaved { .. }));
}

#[test]
fn neither_password_nor_key_can_be_seen_in_what_is_printed() {
    let answer = Answer::Secret { secret: Secret::from(b"swordfish".as_slice()) };
    let secret = format!("{answer:?}");
    assert!(!secret.contains("swordfish") && !secret.contains("115, 119"), "{secret}");
    let crossed: Answer = serde_json::from_str(&serde_json::to_string(&answer).unwrap()).unwrap();
    assert_eq!(crossed, answer);
}
