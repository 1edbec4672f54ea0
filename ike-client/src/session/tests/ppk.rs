//! Post-quantum pre-shared keys (RFC 8784): in the keys, or not at all, and never quietly not.

use super::gateway::EapServer;
use super::*;
use crate::wire::{Notify, NotifyType};

const NAME: &str = "ppk@example.test";
const KEY: &[u8] = b"a post-quantum pre-shared key of 256 bits or more";

fn with_ppk(required: bool) -> Configuration {
    let ppk = PostQuantumKey { identity: NAME.to_owned(), required };
    Configuration { ppk: Some(ppk), ..configuration() }
}

fn knows() -> Behaviour {
    Behaviour { ppk: Some((NAME, KEY)), ..Behaviour::default() }
}

fn answer_ppk(session: &mut Session, key: &[u8]) {
    let (id, request) = requested(session);
    assert_eq!(request, Request::PostQuantumPreSharedKey { identity: NAME.to_owned() });
    session.handle_response(id, Answer::Secret { secret: Secret::from(key) }, at(1)).unwrap();
}

/// Runs by pre-shared key to the end, whatever it is.
fn run(configuration: Configuration, behaviour: Behaviour, key: Option<&[u8]>) -> (Session, Gateway) {
    let mut gateway = Gateway::new(configuration.clone(), behaviour);
    let mut session = client(configuration);
    exchange(&mut session, &mut gateway, at(1));
    if let Some(key) = key {
        answer_ppk(&mut session, key);
    }
    answer_psk(&mut session, PSK, at(1));
    exchange(&mut session, &mut gateway, at(1));
    (session, gateway)
}

fn established(session: &mut Session) -> Box<Established> {
    match session.poll_event() {
        Some(Event::Established(established)) => established,
        other => panic!("{}: {other:?}", session.state_name()),
    }
}

fn warnings(session: &mut Session) -> Vec<Warning> {
    established(session).warnings
}

#[test]
fn a_key_that_both_know_is_in_every_key_from_then_on() {
    // HDR, SAi1, KEi, Ni, N(USE_PPK) -->      <-- HDR, SAr1, KEr, Nr, N(USE_PPK)
    // HDR, SK{IDi, AUTH, N(PPK_IDENTITY), CP, SAi2, TSi, TSr} -->
    //      <-- HDR, SK{IDr, AUTH, N(PPK_IDENTITY), CP, SAr2, TSi, TSr}
    let (mut session, gateway) = run(with_ppk(true), knows(), Some(KEY));
    let established = established(&mut session);
    assert_eq!(established.warnings, []);
    let notifies = gateway.first_auth.iter().filter_map(|payload| match payload {
        Payload::Notify(notify) => Some(notify.notify_type),
        _ => None,
    });
    let notifies: Vec<_> = notifies.collect();
    assert!(notifies.contains(&NotifyType::PPK_IDENTITY) && !notifies.contains(&NotifyType::NO_PPK_AUTH));
    // The two halves of the CHILD SA fit, and so do those of its renewals.
    let mut pair = Pair::of(session, gateway, established, at(1));
    pair.client.rekey_child(pair.now);
    pair.settle();
    pair.client.rekey_ike(pair.now);
    pair.settle();
    pair.assert_sound();
}

#[test]
fn a_gateway_that_may_choose_takes_the_key_where_it_has_it() {
    let (mut session, _) = run(with_ppk(false), knows(), Some(KEY));
    assert_eq!(warnings(&mut session), []);
}

#[test]
fn an_optional_key_that_the_gateway_does_not_know_is_left_out_with_a_warning() {
    let other = Behaviour { ppk: Some(("another", KEY)), ..Behaviour::default() };
    // N(NO_PPK_AUTH) lets it go on; its response has no N(PPK_IDENTITY).
    let (mut session, gateway) = run(with_ppk(false), other, Some(KEY));
    assert_eq!(warnings(&mut session), [Warning::PostQuantumKeyUnused]);
    assert!(
        gateway
            .first_auth
            .iter()
            .any(|payload| matches!(payload, Payload::Notify(notify) if notify.notify_type == NotifyType::NO_PPK_AUTH))
    );
    // Neither has it when it does not even speak of such keys.
    let (mut session, _) = run(with_ppk(false), Behaviour::default(), None);
    assert_eq!(warnings(&mut session), [Warning::PostQuantumKeyUnused]);
}

#[test]
fn a_required_key_that_the_gateway_never_speaks_of_ends_it() {
    let mut session = client(with_ppk(true));
    // An answer is not authentic yet: a better one may come.
    let (cause, asked, _) = insisting(&mut session, |request| {
        Gateway::new(with_ppk(true), Behaviour::default()).take(request, at(1)).remove(0)
    });
    assert!(matches!(cause, CloseCause::ProtectionMissing { .. }), "{cause}");
    assert_eq!(asked, 3);
}

#[test]
fn a_required_key_of_another_value_fails_on_both_sides() {
    let (mut session, _) = run(with_ppk(true), knows(), Some(b"another value"));
    let likely = match closed(&mut session) {
        CloseCause::AuthenticationFailed { likely } => likely,
        other => panic!("{other:?}"),
    };
    assert_eq!(likely.first(), Some(&LikelyCause::PostQuantumKeyWrong));
}

#[test]
fn a_gateway_that_goes_on_without_a_required_key_is_refused() {
    let forgets = Behaviour { forgets_ppk: true, ..knows() };
    let (mut session, _) = run(with_ppk(true), forgets, Some(KEY));
    assert!(matches!(closed(&mut session), CloseCause::ProtectionMissing { .. }));
}

#[test]
fn a_proof_with_the_key_that_calls_itself_one_without_is_refused() {
    // The key is optional, the gateway took it and does not say so: its AUTH does not fit.
    let forgets = Behaviour { forgets_ppk: true, ..knows() };
    let (mut session, _) = run(with_ppk(false), forgets, Some(KEY));
    assert_eq!(closed(&mut session), CloseCause::GatewayNotTrusted { why: DistrustReason::ProofWrong });
}

#[test]
fn stripping_the_announcement_on_the_way_is_noticed() {
    // Both have the key and the profile could do without; somebody takes N(USE_PPK) out of the answer.
    let configuration = with_ppk(false);
    let mut gateway = Gateway::new(configuration.clone(), knows());
    let mut session = client(configuration);
    let request = sent_one(&mut session);
    let answer = gateway.take(&request, at(1)).remove(0);
    let mut message = Message::decode(&answer).unwrap();
    let count = message.payloads.len();
    message
        .payloads
        .retain(|payload| !matches!(payload, Payload::Notify(notify) if notify.notify_type == NotifyType::USE_PPK));
    assert_eq!(message.payloads.len(), count - 1);
    session.handle_datagram(&message.encode().unwrap(), session.remote(), at(1));
    answer_psk(&mut session, PSK, at(1));
    exchange(&mut session, &mut gateway, at(1));
    assert_eq!(closed(&mut session), CloseCause::GatewayNotTrusted { why: DistrustReason::ProofWrong });
}

#[test]
fn with_eap_the_key_is_in_the_last_auth_of_both() {
    for required in [true, false] {
        let client_auth = ClientAuthentication::Eap { identity: Some("alice".to_owned()), profile: Default::default() };
        let configuration = Configuration { client_auth, ..with_ppk(required) };
        let behaviour = Behaviour { eap: Some(EapServer::default()), ..knows() };
        let (mut session, mut gateway) = run(configuration, behaviour, Some(KEY));
        assert!(!gateway.first_auth.iter().any(
            |payload| matches!(payload, Payload::Notify(notify) if notify.notify_type == NotifyType::PPK_IDENTITY)
        ));
        let (id, _) = requested(&mut session);
        let secret = Secret::from(&b"swordfish"[..]);
        session.handle_response(id, Answer::Secret { secret }, at(1)).unwrap();
        exchange(&mut session, &mut gateway, at(1));
        assert_eq!(warnings(&mut session), [Warning::GatewayByPreSharedKey]);
    }
}

#[test]
fn a_confirmation_that_nobody_asked_for_changes_nothing() {
    let confirmed = Payload::Notify(Notify::new(NotifyType::PPK_IDENTITY, Vec::new()));
    let behaviour = Behaviour { extra: vec![confirmed], ..Behaviour::default() };
    let pair = Pair::with(configuration(), behaviour);
    assert_eq!(pair.established.warnings, []);
}
