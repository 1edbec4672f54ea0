//! Servers that are slow, silent, wrong or mean: each ends in a typed error, none in a pass.

use crate::endpoint::{Endpoint, facts, quick};
use crate::fake::Fake;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use futures_util::{StreamExt, stream};
use posture::ems::protocol::{
    DocumentKind, DocumentSet, Have, PATH_DOCUMENTS, PATH_PUSH, PATH_REPORT, PushMessage, ReportReply,
};
use posture::ems::session::{Delivery, SessionSettings, TelemetryState};
use posture::ems::signed::{Binding, Refusal};
use posture::ems::{EmsClient, EmsError, Introduction, Invitation, Limits, Network, enrol};
use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn impatient() -> Network {
    let limits =
        Limits { connect: Duration::from_millis(400), reply: Duration::from_millis(600), reply_bytes: 100_000 };
    Network { limits, ..Network::default() }
}

/// Asks for documents; every one of these servers is to fail at it.
async fn failure(fake: &Fake) -> EmsError {
    let client = EmsClient::new(&fake.identity, &impatient()).unwrap();
    let asked = tokio::time::timeout(Duration::from_secs(20), client.documents(Have::default()));
    asked.await.expect("the client has a limit of its own").expect_err("a hostile server is no good server")
}

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap()
}

async fn failure_of(routes: Router) -> EmsError {
    let mut fake = Fake::new().await;
    fake.serve(routes).await;
    failure(&fake).await
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let mut fake = Fake::new().await;
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    fake.turn_to(free);
    assert!(matches!(failure(&fake).await, EmsError::Unreachable(_)));
}

#[tokio::test]
async fn a_server_that_says_nothing_is_left() {
    let mut fake = Fake::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    fake.turn_to(listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut open = Vec::new();
        loop {
            open.push(listener.accept().await);
        }
    });
    assert!(matches!(failure(&fake).await, EmsError::TimedOut));
}

#[tokio::test]
async fn a_server_that_closes_at_once_is_unreachable() {
    let mut fake = Fake::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    fake.turn_to(listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            drop(listener.accept().await);
        }
    });
    let error = failure(&fake).await;
    assert!(matches!(error, EmsError::Unreachable(_)), "{error:?}");
}

/// A server that says the same to whoever says anything, and closes.
async fn blunt(words: Vec<u8>) -> Fake {
    let mut fake = Fake::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    fake.turn_to(listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut hello = [0; 4096];
            let _ = stream.read(&mut hello).await;
            let _ = stream.write_all(&words).await;
            let _ = stream.shutdown().await;
        }
    });
    fake
}

#[tokio::test]
async fn a_server_without_tls_is_nonsense() {
    let fake = blunt(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}".to_vec()).await;
    let error = failure(&fake).await;
    assert!(matches!(error, EmsError::Nonsense(_)), "{error:?}");
}

/// Whoever stands in the way can say this without a key: it must not end an enrolment, which would take
/// quarantine, block and host check along.
#[tokio::test]
async fn an_alert_before_the_server_has_proved_itself_is_nobody_s_word() {
    // bad_certificate, certificate_revoked, certificate_expired, certificate_unknown, unknown_ca, access_denied,
    // decrypt_error, certificate_required (RFC 8446 §6).
    for alert in [42, 44, 45, 46, 48, 49, 51, 116] {
        let fake = blunt(vec![21, 3, 3, 0, 2, 2, alert]).await;
        let error = failure(&fake).await;
        assert!(matches!(error, EmsError::Unreachable(_)) && !error.is_removal(), "{alert}: {error:?}");
    }
}

#[tokio::test]
async fn a_reply_that_never_begins_is_left() {
    let error = failure_of(Router::new().route(PATH_DOCUMENTS, get(std::future::pending::<String>))).await;
    assert!(matches!(error, EmsError::TimedOut), "{error:?}");
}

#[tokio::test]
async fn a_reply_that_drips_is_left_too() {
    let drip = || async {
        let drops = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Some((Ok::<_, Infallible>(Bytes::from_static(b" ")), ()))
        });
        Body::from_stream(drops)
    };
    let error = failure_of(Router::new().route(PATH_DOCUMENTS, get(drip))).await;
    assert!(matches!(error, EmsError::TimedOut), "{error:?}");
}

#[tokio::test]
async fn a_reply_without_end_is_cut() {
    let flood = || async {
        let chunks = stream::repeat(Bytes::from_static(&[b' '; 16_384])).map(Ok::<_, Infallible>);
        Body::from_stream(chunks)
    };
    let error = failure_of(Router::new().route(PATH_DOCUMENTS, get(flood))).await;
    assert!(matches!(error, EmsError::TooLarge { limit: 100_000 }), "{error:?}");
}

#[tokio::test]
async fn what_is_no_reply_of_the_protocol_is_nonsense() {
    async fn page() -> &'static str {
        "<html>Please log in to the hotel network</html>"
    }
    async fn elsewhere() -> Response {
        (StatusCode::FOUND, [(header::LOCATION, "https://127.0.0.1:1/")]).into_response()
    }
    async fn failing() -> Response {
        (StatusCode::BAD_GATEWAY, "<html>502</html>").into_response()
    }
    async fn wrong_types() -> &'static str {
        r#"{"tags": {"body": 5}}"#
    }
    async fn deep() -> String {
        "[".repeat(50_000)
    }
    let documents = |route| Router::new().route(PATH_DOCUMENTS, route);
    let replies = [get(page), get(elsewhere), get(failing), get(wrong_types), get(deep)];
    for (number, reply) in replies.into_iter().enumerate() {
        let error = failure_of(documents(reply)).await;
        assert!(matches!(error, EmsError::Nonsense(_)), "{number}: {error:?}");
    }
}

#[tokio::test]
async fn a_certificate_of_another_authority_or_for_another_name_is_not_trusted() {
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    let mut fake = Fake::new().await;
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    fake.serve_with(Router::new(), vec![own.der().clone()], private, &rustls::version::TLS13).await;
    let error = failure(&fake).await;
    assert!(matches!(error, EmsError::NotTrusted { expected: "enrolment", .. }), "{error:?}");

    let mut fake = Fake::new().await;
    let (chain, key) = fake.authority.server_certificate(&["ems.elsewhere.invalid".into()]).unwrap();
    fake.serve_with(Router::new(), chain, key, &rustls::version::TLS13).await;
    let error = failure(&fake).await;
    assert!(matches!(error, EmsError::NotTrusted { expected: "enrolment", .. }), "{error:?}");
}

#[tokio::test]
async fn an_endpoint_s_own_certificate_does_not_make_it_a_server() {
    // The authority signs endpoints too; one of them must not pass for EMS.
    let mut fake = Fake::new().await;
    let key = KeyPair::generate().unwrap();
    let request = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().serialize_request(&key).unwrap();
    let endpoint = posture::ems::protocol::EndpointId("mallory".into());
    let certificate = fake.authority.issue(request.der(), &endpoint, 1_700_000_000, 1 << 32).unwrap().certificate;
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    fake.serve_with(Router::new(), vec![certificate], private, &rustls::version::TLS13).await;
    let error = failure(&fake).await;
    assert!(matches!(error, EmsError::NotTrusted { .. }), "{error:?}");
}

#[tokio::test]
async fn tls_1_2_is_not_spoken() {
    let mut fake = Fake::new().await;
    let (chain, key) = fake.authority.server_certificate(&["127.0.0.1".into()]).unwrap();
    fake.serve_with(Router::new(), chain, key, &rustls::version::TLS12).await;
    let error = failure(&fake).await;
    assert!(matches!(error, EmsError::Nonsense(_)), "{error:?}");
}

#[tokio::test]
async fn an_enrolment_that_does_not_fit_is_refused() {
    // It answers every enrolment with a certificate for a key of its own.
    let mut fake = Fake::new().await;
    let key = KeyPair::generate().unwrap();
    let request = CertificateParams::new(Vec::<String>::new()).unwrap().serialize_request(&key).unwrap();
    let endpoint = posture::ems::protocol::EndpointId("pc".into());
    let reply = posture::ems::protocol::EnrolReply {
        ems: fake.authority.ems(),
        ems_name: "fake".into(),
        certificate: fake
            .authority
            .issue(request.der(), &endpoint, 1_700_000_000, 1 << 32)
            .unwrap()
            .certificate
            .to_vec(),
        endpoint,
        authority: fake.authority.certificate().to_vec(),
        signing_key: fake.authority.signing_key(),
        keys: Vec::new(),
        renew_after_unix: 0,
    };
    let text = json(&reply);
    fake.serve(Router::new().fallback(any(move || std::future::ready(text.clone())))).await;
    let invitation = Invitation { address: fake.identity.address.clone(), code: "A".into(), pin: fake.authority.pin() };
    let error = enrol(&invitation, &Introduction::default(), &impatient()).await.unwrap_err();
    assert!(matches!(&error, EmsError::Nonsense(why) if why.contains("another key")), "{error:?}");
}

/// Routes of an EMS whose reports pass and carry a snapshot, and whose push stream is given.
fn routes(first: DocumentSet, push: axum::routing::MethodRouter) -> Router {
    let reply = json(&ReportReply { keep_alive_seconds: 60, documents: first });
    Router::new()
        .route(PATH_REPORT, post(move || std::future::ready(reply.clone())))
        .route(PATH_DOCUMENTS, get(|| async { json(&DocumentSet::default()) }))
        .route(PATH_PUSH, push)
}

/// A push stream that says these messages, and then heartbeats for ever or nothing any more.
fn stream_of(messages: Vec<PushMessage>, heartbeats: bool) -> axum::routing::MethodRouter {
    let texts: Vec<String> = messages.iter().map(|message| format!("data: {}\n\n", json(message))).collect();
    get(move || {
        let said = stream::iter(texts.clone());
        let rest = stream::unfold((), move |()| async move {
            if !heartbeats {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            Some((format!("data: {}\n\n", json(&PushMessage::Heartbeat)), ()))
        });
        let body = Body::from_stream(said.chain(rest).map(Ok::<_, Infallible>));
        std::future::ready(([(header::CONTENT_TYPE, "text/event-stream")], body))
    })
}

fn hello() -> PushMessage {
    PushMessage::Hello { heartbeat_milliseconds: 100 }
}

#[tokio::test]
async fn old_foreign_and_forged_snapshots_are_refused_and_what_was_known_stays() {
    let mut fake = Fake::new().await;
    let mut forged = fake.snapshot(30);
    if let Some(tags) = &mut forged.tags {
        tags.body[30] ^= 1;
    }
    let push = stream_of(
        vec![
            hello(),
            PushMessage::Documents { documents: fake.snapshot(9) },
            PushMessage::Documents { documents: fake.foreign_snapshot(20) },
            PushMessage::Documents { documents: forged },
        ],
        true,
    );
    let routes = routes(fake.snapshot(10), push);
    fake.serve(routes).await;
    let mut endpoint = Endpoint::start(&fake.identity, &impatient());
    endpoint.telemetry.report(facts(true));
    endpoint.until("three refusals", |it| it.others.len() >= 3).await;
    let refused: Vec<&Refusal> = endpoint
        .others
        .iter()
        .map(|other| match other {
            Delivery::Refused(_, refusal) => refusal,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(matches!(
        refused[..],
        [Refusal::RolledBack { found: 9, floor: 10 }, Refusal::ForeignEndpoint { .. }, Refusal::SignatureInvalid, ..]
    ));
    assert_eq!(endpoint.knowledge.tags.as_ref().unwrap().binding().counter, 10);
}

/// Otherwise whoever turns the clock back keeps the tags of the day on which they were still good.
#[tokio::test]
async fn newer_tags_that_a_wrong_clock_keeps_from_being_believed_take_the_old_ones_along() {
    let mut fake = Fake::new().await;
    let binding = fake.binding(DocumentKind::Tags, 11);
    let tomorrow =
        Binding { issued_unix: binding.issued_unix + 86_400, expires_unix: binding.expires_unix + 86_400, ..binding };
    let push = stream_of(vec![hello(), PushMessage::Documents { documents: fake.snapshot_of(tomorrow) }], true);
    let routes = routes(fake.snapshot(10), push);
    fake.serve(routes).await;
    let mut endpoint = Endpoint::start(&fake.identity, &impatient());
    endpoint.telemetry.report(facts(true));
    endpoint.until("the old tags", |it| it.knowledge.tags.is_some()).await;
    endpoint.until("no tags", |it| it.knowledge.tags.is_none()).await;
    assert!(matches!(
        endpoint.knowledge.refusals[..],
        [(DocumentKind::Tags, Refusal::ClockTurnedBack { seconds: 80_000.. })]
    ));
    // The endpoint asks again, and believes what is of today.
    endpoint.until("tags again", |it| it.knowledge.tags.is_some()).await;
}

#[tokio::test]
async fn two_missed_heartbeats_are_noticed_and_reports_go_on() {
    let mut fake = Fake::new().await;
    let routes = routes(fake.snapshot(1), stream_of(vec![hello()], false));
    fake.serve(routes).await;
    let mut endpoint = Endpoint::start(&fake.identity, &impatient());
    endpoint.telemetry.report(facts(true));
    endpoint.until_up().await;
    endpoint.until("push is missed", |it| matches!(it.state, Some(TelemetryState::Down { .. }))).await;
    endpoint.until("reports pass", |it| it.state.as_ref().is_some_and(TelemetryState::is_up)).await;
}

#[tokio::test]
async fn while_push_fails_documents_are_polled() {
    let mut fake = Fake::new().await;
    let refused = get(|| async { (StatusCode::NOT_FOUND, "no push here") });
    let polled = json(&fake.snapshot(2));
    let reply = json(&ReportReply { keep_alive_seconds: 600, documents: fake.snapshot(1) });
    let routes = Router::new()
        .route(PATH_REPORT, post(move || std::future::ready(reply.clone())))
        .route(PATH_DOCUMENTS, get(move || std::future::ready(polled.clone())))
        .route(PATH_PUSH, refused);
    fake.serve(routes).await;
    let mut endpoint = Endpoint::start(&fake.identity, &impatient());
    endpoint.telemetry.report(facts(true));
    endpoint
        .until("the polled snapshot is known", |it| {
            it.knowledge.tags.as_ref().is_some_and(|tags| tags.binding().counter == 2)
        })
        .await;
    assert_eq!(endpoint.state, Some(TelemetryState::Up { push: false }));
}

#[tokio::test]
async fn while_push_fails_the_tick_of_the_loop_asks_however_rarely_it_is_polled() {
    let mut fake = Fake::new().await;
    let refused = get(|| async { (StatusCode::NOT_FOUND, "no push here") });
    let asked = Arc::new(AtomicU64::new(0));
    let sets = [1, 2].map(|counter| json(&fake.snapshot(counter)));
    let documents = get(move || {
        let times = asked.fetch_add(1, Ordering::Relaxed);
        std::future::ready(sets[usize::from(times > 0)].clone())
    });
    let reply = json(&ReportReply { keep_alive_seconds: 600, documents: DocumentSet::default() });
    let routes = Router::new()
        .route(PATH_REPORT, post(move || std::future::ready(reply.clone())))
        .route(PATH_DOCUMENTS, documents)
        .route(PATH_PUSH, refused);
    fake.serve(routes).await;
    let settings = SessionSettings { poll: Duration::from_secs(3_600), ..quick() };
    let mut endpoint = Endpoint::start_with(&fake.identity, &impatient(), settings);
    endpoint.telemetry.report(facts(true));
    for counter in [1, 2] {
        endpoint
            .until("the next snapshot is known", |it| {
                it.knowledge.tags.as_ref().is_some_and(|tags| tags.binding().counter == counter)
            })
            .await;
        endpoint.telemetry.ask();
    }
}

#[tokio::test]
async fn a_push_stream_of_nonsense_ends_and_harms_nothing() {
    let nonsense = get(|| async {
        ([(header::CONTENT_TYPE, "text/event-stream")], "data: {\"push\": [1]}\n\ndata: \n\n\u{0}\n\n")
    });
    let mut fake = Fake::new().await;
    let routes = routes(fake.snapshot(5), nonsense);
    fake.serve(routes).await;
    let mut endpoint = Endpoint::start(&fake.identity, &impatient());
    endpoint.telemetry.report(facts(true));
    endpoint.until("the first snapshot is known", |it| it.knowledge.tags.is_some()).await;
    endpoint.until("telemetry is up", |it| it.state == Some(TelemetryState::Up { push: false })).await;
    assert_eq!(endpoint.knowledge.tags.as_ref().unwrap().binding().counter, 5);
}

#[tokio::test]
async fn a_message_of_a_newer_ems_is_passed_over() {
    let newer = "data: {\"push\": \"dance\", \"how\": 1}\n\n";
    let hello = format!("data: {}\n\n{newer}", json(&hello()));
    let mut fake = Fake::new().await;
    let after = PushMessage::Documents { documents: fake.snapshot(6) };
    let text = format!("{hello}data: {}\n\n", json(&after));
    let push = get(move || {
        let body = stream::iter([text.clone()]).chain(stream::pending()).map(Ok::<_, Infallible>);
        std::future::ready(([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(body)))
    });
    let routes = routes(fake.snapshot(5), push);
    fake.serve(routes).await;
    let mut endpoint = Endpoint::start(&fake.identity, &impatient());
    endpoint.telemetry.report(facts(true));
    endpoint
        .until("the message behind it is known", |it| {
            it.knowledge.tags.as_ref().is_some_and(|tags| tags.binding().counter == 6)
        })
        .await;
}
