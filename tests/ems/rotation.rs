//! What is renewed while endpoints work: their certificates, and the key that signs what they are told.

use crate::endpoint::{Endpoint, Lab, facts, settings};
use lab::ems::LabEms;
use posture::ems::session::TelemetryState;
use posture::ems::{Cache, EmsClient, Identity, Network};
use posture::rules::Presence;
use serde_json::{Value, json};

async fn certificates(lab: &Lab, host: &str) -> Vec<Value> {
    let listed = lab.ask(json!({"do": "list-certificates", "endpoint": host})).await;
    listed["certificates"].as_array().unwrap().clone()
}

/// Writes the moment of renewal into an identity as it lies on the disk.
fn due_now(endpoint: &Endpoint) {
    let place = endpoint.directory.path().join("identity.json");
    let mut identity: Value = serde_json::from_slice(&std::fs::read(&place).unwrap()).unwrap();
    assert!(identity["renew_after_unix"].as_u64().unwrap() > 0, "EMS names the moment");
    identity["renew_after_unix"] = 1.into();
    std::fs::write(place, identity.to_string()).unwrap();
}

/// An endpoint whose telemetry begins once its certificate is due.
async fn renewing(lab: &Lab, host: &str) -> (Identity, Endpoint) {
    let identity = lab.enrol(host).await;
    let waiting = Endpoint::start(&identity, &Network::default());
    waiting.telemetry.stop();
    due_now(&waiting);
    let Endpoint { cache, directory, mut deliveries, .. } = waiting;
    while deliveries.recv().await.is_some() {}
    let endpoint = Endpoint::resume(&identity, &Network::default(), cache, directory);
    (identity, endpoint)
}

#[tokio::test]
async fn a_certificate_is_renewed_with_a_new_key_while_telemetry_stays_up() {
    let lab = Lab::start().await;
    lab.set_rules().await;
    let (old, mut endpoint) = renewing(&lab, "pc").await;
    endpoint.telemetry.report(facts(true));
    endpoint.until_up().await;
    let replaced = async {
        while !matches!(&certificates(&lab, "pc").await[..], [first, _] if first["ended_because"] == "replaced") {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), replaced).await.expect("the old certificate is replaced");
    let new = Cache::open(endpoint.directory.path()).unwrap().identity().unwrap().unwrap();
    assert_eq!((new.previous(), &new.endpoint), (Some(old.fingerprint()), &old.endpoint));
    assert_ne!(new.fingerprint(), old.fingerprint());
    // What is said from now on is for the new certificate, and is believed.
    lab.ask(json!({"do": "set-tag", "endpoint": "pc", "tag": "After"})).await;
    endpoint.until_tag("After", Presence::Present).await;
    assert_eq!(endpoint.knowledge.tags.as_ref().unwrap().binding().endpoint, new.fingerprint());
    assert_eq!(endpoint.downs, 0, "telemetry stays up");
    assert!(endpoint.others.is_empty(), "{:?}", endpoint.others);
    // The old one is worth nothing.
    let error = EmsClient::new(&old, &Network::default()).unwrap().documents(Default::default()).await.unwrap_err();
    assert!(error.is_removal(), "{error}");
}

#[tokio::test]
async fn a_renewal_whose_answer_is_lost_locks_nobody_out() {
    let lab = Lab::start().await;
    let identity = lab.enrol("pc").await;
    let client = EmsClient::new(&identity, &Network::default()).unwrap();
    let lost = client.renew(&identity).await.unwrap();
    client.documents(Default::default()).await.expect("the old certificate holds until the new one is shown");
    let next = client.renew(&identity).await.unwrap();
    // Of two that were issued the later holds.
    let error = EmsClient::new(&lost, &Network::default()).unwrap().documents(Default::default()).await.unwrap_err();
    assert!(error.is_removal(), "{error}");
    EmsClient::new(&next, &Network::default()).unwrap().documents(Default::default()).await.unwrap();
    assert!(client.documents(Default::default()).await.unwrap_err().is_removal());
}

#[tokio::test]
async fn a_revoked_serial_is_refused_at_once_on_connections_that_stand() {
    let lab = Lab::start().await;
    let (identity, other) = (lab.enrol("pc").await, lab.enrol("other").await);
    let mut endpoint = Endpoint::start(&identity, &Network::default());
    endpoint.telemetry.report(facts(true));
    endpoint.until_up().await;
    let client = EmsClient::new(&identity, &Network::default()).unwrap();
    client.documents(Default::default()).await.unwrap();
    let serial = certificates(&lab, "pc").await[0]["serial"].clone();
    lab.ask(json!({"do": "revoke-certificate", "serial": serial})).await;
    assert!(client.documents(Default::default()).await.unwrap_err().is_removal());
    assert!(client.renew(&identity).await.unwrap_err().is_removal(), "it does not get another one either");
    endpoint.until("it is removed", |it| it.state == Some(TelemetryState::Removed)).await;
    EmsClient::new(&other, &Network::default()).unwrap().documents(Default::default()).await.unwrap();
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let state = tempfile::TempDir::new().unwrap();
    let mut short = settings(state.path());
    short.certificate_seconds = Some(1);
    let ems = LabEms::start(short).await.unwrap();
    let administrator = lab::ems::Administrator::new(ems.administrator_socket()).unwrap();
    let lab = Lab { ems, administrator, state };
    let client = EmsClient::new(&lab.enrol("pc").await, &Network::default()).unwrap();
    let refused = async {
        while !client.documents(Default::default()).await.is_err_and(|error| error.is_removal()) {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), refused).await.expect("its time ends");
}

#[tokio::test]
async fn a_new_signing_key_is_followed_and_the_old_one_holds_for_the_overlap_alone() {
    let lab = Lab::start().await;
    lab.set_rules().await;
    let identity = lab.enrol("pc").await;
    let mut endpoint = Endpoint::start(&identity, &Network::default());
    endpoint.telemetry.report(facts(true));
    endpoint.until_tag("Telemetry connected", Presence::Present).await;
    endpoint.until_up().await;
    let signed_before = std::fs::read(endpoint.directory.path().join("tags.json"));
    let made_before = endpoint.knowledge.tags.clone().unwrap();
    let rotated = lab.ask(json!({"do": "rotate-signing-key", "overlap_seconds": 3_600})).await;
    let until = rotated["overlap_until_unix"].as_u64().unwrap();
    endpoint
        .until("tags under the new key", |it| {
            it.knowledge.tags.as_ref().is_some_and(|tags| tags.binding().counter > made_before.binding().counter)
        })
        .await;
    assert!(endpoint.others.is_empty(), "{:?}", endpoint.others);
    assert_eq!(endpoint.downs, 0, "telemetry stays up");
    endpoint.telemetry.stop();
    while endpoint.deliveries.recv().await.is_some() {}
    // On the disk lie the announcement and what was signed under the new key.
    let verifier = endpoint.cache.verifier(&identity).unwrap();
    assert_eq!(verifier.keys().newest(), 1);
    assert!(endpoint.cache.knowledge(&verifier, until - 10).unwrap().tags.is_some());
    let pinned_alone = identity.verifier().unwrap();
    assert!(
        endpoint.cache.knowledge(&pinned_alone, until - 10).unwrap().tags.is_none(),
        "the pinned key signs no more"
    );
    // What the old key signed is believed until the overlap ends, and not after.
    if let Ok(old) = signed_before {
        let old: posture::ems::signed::Signed = serde_json::from_slice(&old).unwrap();
        let message = posture::ems::signed::Signed::message(&old.body);
        assert!(verifier.is_signed(&message, &old.signature, until - 1));
        assert!(!verifier.is_signed(&message, &old.signature, until));
    }
}

#[tokio::test]
async fn an_endpoint_that_was_away_follows_one_key_after_the_other_and_a_new_one_learns_them_all() {
    let lab = Lab::start().await;
    lab.set_rules().await;
    let identity = lab.enrol("pc").await;
    for _ in 0..2 {
        lab.ask(json!({"do": "rotate-signing-key", "overlap_seconds": 0})).await;
    }
    let address = lab.ems.address();
    drop(lab.ems);
    // EMS itself remembers which key signs, and who it is.
    let again = lab::ems::Settings { listen: address, ..settings(lab.state.path()) };
    let ems = loop {
        match LabEms::start(again.clone()).await {
            Ok(ems) => break ems,
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    };
    let administrator = lab::ems::Administrator::new(ems.administrator_socket()).unwrap();
    let lab = Lab { ems, administrator, state: lab.state };
    let late = lab.enrol("late").await;
    assert_eq!((late.verifier().unwrap().keys().newest(), &late.ems), (2, &identity.ems));
    for identity in [&identity, &late] {
        let mut endpoint = Endpoint::start(identity, &Network::default());
        endpoint.telemetry.report(facts(true));
        endpoint.until_tag("Antivirus running", Presence::Present).await;
        assert!(endpoint.others.is_empty(), "{:?}", endpoint.others);
    }
}

#[tokio::test]
async fn keys_that_follow_one_another_on_one_stream_are_each_believed() {
    let lab = Lab::start().await;
    let mut endpoint = Endpoint::start(&lab.enrol("pc").await, &Network::default());
    endpoint.telemetry.report(facts(true));
    endpoint.until_up().await;
    for number in 1..=5 {
        lab.ask(json!({"do": "rotate-signing-key", "overlap_seconds": 0})).await;
        let tag = format!("Under key {number}");
        lab.ask(json!({"do": "set-tag", "endpoint": "pc", "tag": tag})).await;
        endpoint.until_tag(&tag, Presence::Present).await;
    }
    assert_eq!(endpoint.downs, 0, "it is the same stream all the time");
    assert!(endpoint.others.is_empty(), "{:?}", endpoint.others);
}
