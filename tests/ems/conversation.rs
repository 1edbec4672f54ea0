//! An endpoint and EMS that mean well.

use crate::endpoint::{Endpoint, Lab, facts, settings};
use lab::ems::stamp::Stamp;
use lab::ems::{LabEms, Settings};
use posture::ems::protocol::{EndpointEvent, EventKind, EventUpload, RefusalCode};
use posture::ems::session::{Delivery, TelemetryState};
use posture::ems::{Dial, Dialling, EmsClient, EmsError, Introduction, Network, enrol};
use posture::rules::Presence;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[tokio::test]
async fn an_endpoint_learns_profile_rules_and_tags_and_what_changes_of_them() {
    let lab = Lab::start().await;
    lab.set_rules().await;
    lab.set_profile(json!({})).await;
    let mut endpoint = Endpoint::start(&lab.enrol("pc").await, &Network::default());
    let first = endpoint.telemetry.report(facts(false));
    endpoint.until_up().await;
    endpoint.until_tag("telemetry CONNECTED", Presence::Present).await;
    assert_eq!(endpoint.presence("Antivirus running"), Some(Presence::Absent));
    let profile = endpoint.knowledge.profile.clone().unwrap();
    assert_eq!(profile.content().tunnels[0].name, "RA-VPN");
    assert_eq!(endpoint.knowledge.rules.as_ref().unwrap().content().rule_sets.len(), 2);
    assert!(endpoint.knowledge.tags.as_ref().unwrap().content().report_sequence >= first);

    // A changed fact: the snapshot that answers it names the report.
    let second = endpoint.telemetry.report(facts(true));
    endpoint.until_tag("Antivirus running", Presence::Present).await;
    assert!(endpoint.knowledge.tags.as_ref().unwrap().content().report_sequence >= second);
    assert_eq!(endpoint.telemetry.report(facts(true)), second, "facts that did not change keep their number");

    // The administrator changes the profile, and gives and takes a tag.
    lab.set_profile(json!({"secure_remote_access": false})).await;
    endpoint
        .until("the profile changes", |it| {
            it.knowledge.profile.as_ref().is_some_and(|profile| !profile.content().secure_remote_access)
        })
        .await;
    lab.ask(json!({"do": "set-tag", "endpoint": "pc", "tag": "Importance high"})).await;
    endpoint.until_tag("Importance high", Presence::Present).await;
    lab.ask(json!({"do": "unset-tag", "endpoint": "pc", "tag": "importance HIGH"})).await;
    endpoint.until_tag("Importance high", Presence::Absent).await;
    assert!(endpoint.others.is_empty(), "{:?}", endpoint.others);
}

#[tokio::test]
async fn what_was_learned_is_known_again_without_ems() {
    let lab = Lab::start().await;
    lab.set_rules().await;
    let identity = lab.enrol("pc").await;
    let mut endpoint = Endpoint::start(&identity, &Network::default());
    endpoint.telemetry.report(facts(true));
    endpoint.until_up().await;
    endpoint.until_tag("Antivirus running", Presence::Present).await;
    endpoint.telemetry.stop();
    drop(lab);
    // The task ends once what it delivered is stored.
    while endpoint.deliveries.recv().await.is_some() {}
    let (cache, directory) = (endpoint.cache, endpoint.directory);
    let mut again = Endpoint::resume(&identity, &Network::default(), cache, directory);
    again.telemetry.report(facts(true));
    again.until_tag("Antivirus running", Presence::Present).await;
    again.until("telemetry is down", |it| matches!(it.state, Some(TelemetryState::Down { .. }))).await;
    assert!(again.knowledge.refusals.is_empty());
}

#[tokio::test]
async fn telemetry_comes_back_by_itself_when_ems_does() {
    let lab = Lab::start().await;
    lab.set_rules().await;
    let identity = lab.enrol("pc").await;
    let mut endpoint = Endpoint::start(&identity, &Network::default());
    endpoint.telemetry.report(facts(true));
    endpoint.until_up().await;
    let address = lab.ems.address();
    drop(lab.ems);
    endpoint.until("telemetry is down", |it| matches!(it.state, Some(TelemetryState::Down { .. }))).await;
    let again = Settings { listen: address, ..settings(lab.state.path()) };
    let _ems = LabEms::start(again).await.unwrap();
    endpoint.until_up().await;
    assert!(endpoint.others.is_empty(), "{:?}", endpoint.others);
}

#[tokio::test]
async fn a_short_restart_of_ems_is_no_loss_of_telemetry() {
    let lab = Lab::start().await;
    lab.set_rules().await;
    let identity = lab.enrol("pc").await;
    let address = lab.ems.address();
    drop(lab.ems);
    let again = || Settings {
        listen: address,
        heartbeat_milliseconds: Some(5_000),
        offline_after_seconds: Some(15),
        ..settings(lab.state.path())
    };
    // The port is free once the connections of the one before have ended.
    let start = || async {
        loop {
            match LabEms::start(again()).await {
                Ok(ems) => return ems,
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            }
        }
    };
    let mut ems = start().await;
    let mut endpoint = Endpoint::start(&identity, &Network::default());
    endpoint.telemetry.report(facts(true));
    endpoint.until_up().await;
    endpoint.until_tag("Telemetry connected", Presence::Present).await;
    for _ in 0..2 {
        drop(ems);
        endpoint.until("the stream ends", |it| it.state == Some(TelemetryState::Up { push: false })).await;
        ems = start().await;
        endpoint.until_up().await;
        assert_eq!(endpoint.presence("Telemetry connected"), Some(Presence::Present));
    }
    assert_eq!(endpoint.downs, 0);
}

#[tokio::test]
async fn ems_knows_by_itself_whether_telemetry_is_connected() {
    let lab = Lab::start().await;
    lab.set_rules().await;
    let mut endpoint = Endpoint::start(&lab.enrol("pc").await, &Network::default());
    endpoint.telemetry.report(facts(true));
    endpoint.until_up().await;
    let connected = || async {
        let listed = lab.ask(json!({"do": "list-endpoints"})).await;
        let tags = listed["endpoints"][0]["tags"].as_array().unwrap().clone();
        tags.iter().any(|tag| tag["name"] == "Telemetry connected" && tag["presence"] == "present")
    };
    assert!(connected().await);
    endpoint.telemetry.stop();
    let gone = async {
        while connected().await {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), gone).await.expect("a silent endpoint counts as gone");
}

#[tokio::test]
async fn events_arrive_once_and_under_the_name_of_the_certificate() {
    let lab = Lab::start().await;
    let (first, second) = (lab.enrol("one").await, lab.enrol("two").await);
    let event = EndpointEvent {
        id: "e1".into(),
        unix_milliseconds: 5,
        kind: EventKind::HostCheckRefused,
        tunnel: "RA-VPN".into(),
        cause: "HostCheckFailed".into(),
        detail: "'; DROP TABLE event; --".into(),
    };
    let upload = EventUpload { events: vec![event] };
    for identity in [&first, &first, &second] {
        EmsClient::new(identity, &Network::default()).unwrap().upload(&upload).await.unwrap();
    }
    let listed = lab.ask(json!({"do": "list-events", "after": 0})).await;
    let events = listed["events"].as_array().unwrap();
    let whose: Vec<&str> = events.iter().map(|event| event["endpoint"].as_str().unwrap()).collect();
    assert_eq!(whose, [first.endpoint.0.as_str(), second.endpoint.0.as_str()]);
    assert_eq!(events[0]["detail"], "'; DROP TABLE event; --");
    assert_eq!(events[0]["kind"], "host-check-refused");
}

#[tokio::test]
async fn a_queued_event_is_uploaded_by_telemetry() {
    let lab = Lab::start().await;
    let mut endpoint = Endpoint::start(&lab.enrol("pc").await, &Network::default());
    endpoint.telemetry.event(EndpointEvent {
        id: "e1".into(),
        unix_milliseconds: 5,
        kind: EventKind::ComplianceLost,
        tunnel: "RA-VPN".into(),
        cause: "ComplianceLost".into(),
        detail: String::new(),
    });
    endpoint.telemetry.report(facts(true));
    endpoint.until_up().await;
    let arrived = async {
        while lab.ask(json!({"do": "list-events", "after": 0})).await["events"].as_array().unwrap().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), arrived).await.expect("the event arrives");
}

#[tokio::test]
async fn a_scan_that_is_asked_for_is_delivered() {
    let lab = Lab::start().await;
    let mut endpoint = Endpoint::start(&lab.enrol("pc").await, &Network::default());
    endpoint.telemetry.report(facts(true));
    endpoint.until_up().await;
    lab.ask(json!({"do": "scan", "endpoint": "pc"})).await;
    endpoint.until("a scan is asked for", |it| matches!(it.others[..], [Delivery::Scan])).await;
}

#[tokio::test]
async fn a_removed_endpoint_learns_it_and_its_certificate_is_worth_nothing() {
    let lab = Lab::start().await;
    let identity = lab.enrol("pc").await;
    let mut endpoint = Endpoint::start(&identity, &Network::default());
    endpoint.telemetry.report(facts(true));
    endpoint.until_up().await;
    lab.ask(json!({"do": "remove-endpoint", "endpoint": "pc"})).await;
    endpoint.until("it is removed", |it| it.state == Some(TelemetryState::Removed)).await;
    let client = EmsClient::new(&identity, &Network::default()).unwrap();
    let error = client.documents(Default::default()).await.unwrap_err();
    assert!(error.is_removal(), "{error}");
}

#[tokio::test]
async fn leaving_needs_the_leave_of_the_profile() {
    let lab = Lab::start().await;
    lab.set_profile(json!({"unenrol_allowed": false})).await;
    let identity = lab.enrol("pc").await;
    let client = EmsClient::new(&identity, &Network::default()).unwrap();
    let error = client.unenrol().await.unwrap_err();
    assert!(matches!(error, EmsError::Refused { code: RefusalCode::NotAllowed, .. }), "{error}");
    lab.set_profile(json!({"unenrol_allowed": true})).await;
    client.unenrol().await.unwrap();
    assert!(client.documents(Default::default()).await.unwrap_err().is_removal());
}

#[tokio::test]
async fn a_change_at_ems_reaches_the_endpoint_after_the_moment_that_ems_names() {
    let lab = Lab::start().await;
    lab.set_rules().await;
    let mut endpoint = Endpoint::start(&lab.enrol("pc").await, &Network::default());
    endpoint.telemetry.report(facts(true));
    endpoint.until_up().await;
    let mut milliseconds = Vec::new();
    for round in 0..10 {
        let tag = format!("round {round}");
        let answer = lab.ask(json!({"do": "set-tag", "endpoint": "pc", "tag": tag}));
        // The endpoint is not kept waiting until the administrator has read the answer.
        let (answer, ()) = tokio::join!(answer, endpoint.until_tag(&tag, Presence::Present));
        let learned = Stamp::now().boottime_nanoseconds;
        let changed = answer["boottime_nanoseconds"].as_u64().unwrap();
        assert!(changed < learned);
        milliseconds.push((learned - changed) / 1_000_000);
    }
    println!("change at EMS to knowledge at the endpoint, ms: {milliseconds:?}");
}

/// Connects to one address, whatever the name is, and counts.
struct Detour {
    to: SocketAddr,
    dialled: AtomicUsize,
}

impl Dial for Detour {
    fn dial<'a>(&'a self, host: &'a str, _port: u16) -> Dialling<'a> {
        assert_eq!(host, "ems.postern.invalid");
        self.dialled.fetch_add(1, Ordering::Relaxed);
        Box::pin(tokio::net::TcpStream::connect(self.to))
    }
}

#[tokio::test]
async fn every_connection_is_made_by_the_dialler_that_was_handed_in() {
    let state = tempfile::TempDir::new().unwrap();
    let named = Settings { names: vec!["ems.postern.invalid".into()], ..settings(state.path()) };
    let ems = LabEms::start(named).await.unwrap();
    let administrator = lab::ems::Administrator::of_state(state.path()).unwrap();
    let request = serde_json::from_value(json!({"do": "make-invitation", "label": "", "valid_seconds": 60})).unwrap();
    let invitation = crate::endpoint::invitation(&administrator.ask(&request).await.unwrap());
    let detour = Arc::new(Detour { to: ems.address(), dialled: AtomicUsize::new(0) });
    let network = Network { dial: Some(Arc::clone(&detour) as Arc<dyn Dial>), ..Network::default() };
    let identity = enrol(&invitation, &Introduction::default(), &network).await.unwrap();
    let mut endpoint = Endpoint::start(&identity, &network);
    endpoint.telemetry.report(facts(true));
    endpoint.until_up().await;
    assert!(detour.dialled.load(Ordering::Relaxed) >= 2);
    // Without the dialler the name leads nowhere: nothing went round it.
    let error = enrol(&invitation, &Introduction::default(), &Network::default()).await.unwrap_err();
    assert!(matches!(error, EmsError::Unreachable(_)), "{error:?}");
}

#[tokio::test]
async fn a_dialler_that_fails_is_quoted() {
    struct Broken;
    impl Dial for Broken {
        fn dial<'a>(&'a self, _host: &'a str, _port: u16) -> Dialling<'a> {
            Box::pin(async { Err(std::io::Error::other("no route through the block")) })
        }
    }
    let lab = Lab::start().await;
    let network = Network { dial: Some(Arc::new(Broken)), ..Network::default() };
    let error = enrol(&lab.invitation().await, &Introduction::default(), &network).await.unwrap_err();
    assert!(matches!(&error, EmsError::Unreachable(why) if why == "no route through the block"), "{error:?}");
}
