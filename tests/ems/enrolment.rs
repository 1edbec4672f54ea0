//! Who gets in.

use crate::endpoint::{Lab, facts, invitation};
use posture::ems::invitation::KeyPin;
use posture::ems::protocol::{Have, PATH_REPORT, RefusalCode, Report, ReportBody};
use posture::ems::{EmsClient, EmsError, Introduction, Network, enrol};
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::json;
use std::sync::Arc;

async fn refused(invitation: &posture::ems::Invitation) -> RefusalCode {
    match enrol(invitation, &Introduction::default(), &Network::default()).await {
        Err(EmsError::Refused { code, .. }) => code,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn an_invitation_is_used_once() {
    let lab = Lab::start().await;
    let invitation = lab.invitation().await;
    enrol(&invitation, &Introduction::default(), &Network::default()).await.unwrap();
    assert_eq!(refused(&invitation).await, RefusalCode::InvitationUsed);
}

#[tokio::test]
async fn of_many_who_use_one_invitation_at_once_one_gets_in() {
    let lab = Lab::start().await;
    let invitation = lab.invitation().await;
    let mut attempts = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let invitation = invitation.clone();
        attempts.spawn(async move { enrol(&invitation, &Introduction::default(), &Network::default()).await.is_ok() });
    }
    let outcomes = attempts.join_all().await;
    assert_eq!(outcomes.into_iter().filter(|got_in| *got_in).count(), 1);
}

#[tokio::test]
async fn an_expired_and_an_unknown_invitation_are_told_apart() {
    let lab = Lab::start().await;
    let expired = lab.ask(json!({"do": "make-invitation", "label": "", "valid_seconds": 0})).await;
    assert_eq!(refused(&invitation(&expired)).await, RefusalCode::InvitationExpired);
    let mut unknown = lab.invitation().await;
    unknown.code = "' OR '1'='1".replace(' ', "_");
    assert_eq!(refused(&unknown).await, RefusalCode::InvitationUnknown);
}

#[tokio::test]
async fn guessing_is_slowed_down() {
    let lab = Lab::start().await;
    let mut guess = lab.invitation().await;
    guess.code = "AAAA".into();
    let mut codes = Vec::new();
    for _ in 0..25 {
        codes.push(refused(&guess).await);
    }
    assert_eq!(codes.first(), Some(&RefusalCode::InvitationUnknown));
    assert_eq!(codes.last(), Some(&RefusalCode::RateLimited));
}

#[tokio::test]
async fn a_server_with_another_key_learns_nothing_and_the_invitation_stays_good() {
    let lab = Lab::start().await;
    let good = lab.invitation().await;
    let mut wrong = good.clone();
    wrong.pin = KeyPin([9; 32]);
    let error = enrol(&wrong, &Introduction::default(), &Network::default()).await.unwrap_err();
    assert!(matches!(error, EmsError::NotTrusted { expected: "invitation", .. }), "{error:?}");
    enrol(&good, &Introduction::default(), &Network::default()).await.unwrap();
}

#[tokio::test]
async fn an_identity_of_another_ems_is_not_believed_by_either_side() {
    let (lab, other) = (Lab::start().await, Lab::start().await);
    let mut identity = other.enrol("pc").await;
    identity.address = format!("https://{}", lab.ems.address()).parse().unwrap();
    let client = EmsClient::new(&identity, &Network::default()).unwrap();
    let error = client.documents(Have::default()).await.unwrap_err();
    assert!(matches!(error, EmsError::NotTrusted { expected: "enrolment", .. }), "{error:?}");
}

/// A client that believes EMS and shows no certificate, but claims an endpoint in every place where
/// a careless server might look.
#[tokio::test]
async fn who_shows_no_certificate_is_nobody_whatever_body_and_headers_say() {
    let lab = Lab::start().await;
    let victim = lab.enrol("victim").await;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(lab.ems.authority_pem().as_bytes()).unwrap()).unwrap();
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let http = reqwest::Client::builder().tls_backend_preconfigured(tls).build().unwrap();
    let report = Report { sequence: 1, have: Have::default(), body: ReportBody::Full { facts: facts(true) } };
    let mut body = serde_json::to_value(&report).unwrap();
    body["endpoint"] = json!(victim.endpoint.0);
    body["fingerprint"] = json!(victim.fingerprint().to_string());
    let response = http
        .post(format!("https://{}{PATH_REPORT}", lab.ems.address()))
        .header("x-ssl-client-verify", "SUCCESS")
        .header("x-ssl-client-cert", victim.fingerprint().to_string())
        .header("x-endpoint", victim.endpoint.0.clone())
        .json(&body)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 401);
    let listed = lab.ask(json!({"do": "list-endpoints"})).await;
    assert_eq!(listed["endpoints"][0]["report_sequence"], 0);
}

#[tokio::test]
async fn changes_without_their_base_are_sent_back_for_all_facts() {
    let lab = Lab::start().await;
    let client = EmsClient::new(&lab.enrol("pc").await, &Network::default()).unwrap();
    let report =
        Report { sequence: 2, have: Have::default(), body: ReportBody::Changes { base: 1, facts: facts(true) } };
    let error = client.report(&report).await.unwrap_err();
    assert!(matches!(error, EmsError::Refused { code: RefusalCode::FullReportNeeded, .. }), "{error}");
    let nonsense = serde_json::from_value(json!({"sequence": 3, "kind": "full", "facts": {"packages": 7}})).unwrap();
    let error = client.report(&nonsense).await.unwrap_err();
    assert!(matches!(error, EmsError::Refused { code: RefusalCode::RequestInvalid, .. }), "{error}");
}
