//! Quarantine and its code, break-glass codes, deregistration: what EMS decrees over one endpoint.

use crate::endpoint::{Endpoint, Lab, facts};
use posture::ems::protocol::{DocumentKind, RefusalCode, ReleaseRequest};
use posture::ems::session::TelemetryState;
use posture::ems::{BreakGlass, BreakGlassError, Cache, EmsClient, EmsError, Identity, Network};
use serde_json::{Value, json};

const NOW: &str = "Stay where you are\u{1b}[2J and call 4711";

async fn quarantine(lab: &Lab, host: &str) -> (String, String) {
    let answer = lab.ask(json!({"do": "quarantine", "endpoint": host, "on": true, "message": NOW})).await;
    let text = |name: &str| answer[name].as_str().unwrap().to_owned();
    (text("quarantine"), text("release_code"))
}

async fn listed(lab: &Lab, host: &str) -> Value {
    let endpoints = lab.ask(json!({"do": "list-endpoints"})).await["endpoints"].as_array().unwrap().clone();
    endpoints.into_iter().find(|endpoint| endpoint["host_name"] == host).unwrap()
}

async fn up(lab: &Lab, host: &str) -> (Identity, Endpoint) {
    let identity = lab.enrol(host).await;
    let mut endpoint = Endpoint::start(&identity, &Network::default());
    endpoint.telemetry.report(facts(true));
    endpoint.until_up().await;
    (identity, endpoint)
}

#[tokio::test]
async fn a_quarantine_is_pushed_and_ended_by_its_code_at_the_endpoint() {
    let lab = Lab::start().await;
    let (_, mut endpoint) = up(&lab, "pc").await;
    let (id, code) = quarantine(&lab, "pc").await;
    endpoint.until("the quarantine", |it| it.knowledge.quarantine.is_some()).await;
    let held = endpoint.knowledge.quarantine.clone().unwrap();
    assert_eq!((held.id.as_str(), held.message.as_deref()), (id.as_str(), Some(NOW)));
    assert!(held.is_released_by(&code) && !held.is_released_by("AAAA-AAAA-AAAA-AAAA"));
    endpoint.telemetry.release(ReleaseRequest { quarantine: id, code });
    endpoint.until("the quarantine is over", |it| it.knowledge.quarantine.is_none()).await;
    assert!(listed(&lab, "pc").await["quarantine"].is_null());
    let audit = lab.ask(json!({"do": "list-audit", "after": 0})).await.to_string();
    assert!(audit.contains("quarantine") && audit.contains("release-by-code"), "{audit}");
}

#[tokio::test]
async fn a_release_needs_the_code_of_that_endpoints_quarantine() {
    let lab = Lab::start().await;
    let (first, second) = (lab.enrol("one").await, lab.enrol("two").await);
    let (id, code) = quarantine(&lab, "one").await;
    let (_, other_code) = quarantine(&lab, "two").await;
    let client = EmsClient::new(&first, &Network::default()).unwrap();
    let wrong = ReleaseRequest { quarantine: id.clone(), code: other_code };
    let error = client.release(&wrong).await.unwrap_err();
    assert!(matches!(error, EmsError::Refused { code: RefusalCode::NotAllowed, .. }), "{error}");
    // Another endpoint that knows the code ends nothing but its own.
    let right = ReleaseRequest { quarantine: id, code };
    EmsClient::new(&second, &Network::default()).unwrap().release(&right).await.unwrap();
    for host in ["one", "two"] {
        assert!(!listed(&lab, host).await["quarantine"].is_null(), "{host}");
    }
    client.release(&right).await.unwrap();
    assert!(listed(&lab, "one").await["quarantine"].is_null());
}

#[tokio::test]
async fn an_endpoint_in_quarantine_does_not_leave() {
    let lab = Lab::start().await;
    let identity = lab.enrol("pc").await;
    quarantine(&lab, "pc").await;
    let client = EmsClient::new(&identity, &Network::default()).unwrap();
    let error = client.unenrol().await.unwrap_err();
    assert!(matches!(error, EmsError::Refused { code: RefusalCode::NotAllowed, .. }), "{error}");
}

#[tokio::test]
async fn a_quarantine_stands_when_its_snapshot_has_expired() {
    let lab = Lab::start().await;
    let (identity, mut endpoint) = up(&lab, "pc").await;
    let (id, _) = quarantine(&lab, "pc").await;
    endpoint.until("the quarantine", |it| it.knowledge.quarantine.is_some()).await;
    endpoint.telemetry.stop();
    while endpoint.deliveries.recv().await.is_some() {}
    let expires = endpoint.knowledge.tags.as_ref().unwrap().binding().expires_unix;
    let known = endpoint.cache.knowledge(&identity.verifier().unwrap(), expires + 86_400).unwrap();
    assert!(known.tags.is_none());
    assert_eq!(known.quarantine.map(|quarantine| quarantine.id), Some(id));
}

#[tokio::test]
async fn a_break_glass_code_is_for_one_endpoint_and_audited() {
    let lab = Lab::start().await;
    let (first, second) = (lab.enrol("one").await, lab.enrol("two").await);
    let request = json!({"do": "make-break-glass", "endpoint": "one", "use_within_seconds": 60, "lasts_seconds": 600,
        "reason": "the ward's terminal"});
    let made = lab.ask(request).await;
    let code = made["code"].as_str().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let judge = |identity: &Identity, used| {
        BreakGlass::judge(code, &identity.verifier().unwrap(), &identity.endpoint, used, now)
    };
    assert_eq!(judge(&first, 0).unwrap().lasts_seconds, 600);
    assert_eq!(judge(&first, 1), Err(BreakGlassError::Used));
    assert_eq!(judge(&second, 0), Err(BreakGlassError::NotSigned));
    let audit = lab.ask(json!({"do": "list-audit", "after": 0})).await;
    let entry = audit["audit"].as_array().unwrap().last().unwrap();
    assert_eq!((entry["action"].as_str(), entry["endpoint"].as_str()), (Some("break-glass"), Some(&*first.endpoint.0)));
    assert!(entry["detail"].as_str().unwrap().contains("the ward's terminal"));
    assert!(!audit.to_string().contains(code));
}

#[tokio::test]
async fn a_deregistered_endpoint_forgets_what_ems_said_and_remembers_that() {
    let lab = Lab::start().await;
    lab.set_profile(json!({})).await;
    let (identity, mut endpoint) = up(&lab, "pc").await;
    endpoint.until("the profile", |it| it.knowledge.profile.is_some()).await;
    lab.ask(json!({"do": "remove-endpoint", "endpoint": "pc"})).await;
    endpoint.until("it is removed", |it| it.state == Some(TelemetryState::Removed)).await;
    endpoint.telemetry.stop();
    while endpoint.deliveries.recv().await.is_some() {}
    let again = Cache::open(endpoint.directory.path()).unwrap();
    assert!(again.deregistered().unwrap().is_some());
    let known = again.knowledge(&identity.verifier().unwrap(), 0).unwrap();
    assert!(known.profile.is_none() && known.rules.is_none() && known.tags.is_none());
    for kind in DocumentKind::ALL {
        assert!(!endpoint.directory.path().join(format!("{}.json", kind.as_str())).exists());
    }
    assert!(again.identity().unwrap().is_some(), "an EMS that takes it back is heard");
}
