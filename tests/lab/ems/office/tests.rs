//! Decisions of EMS, without a network and at times that the tests choose.

use super::*;
use crate::ems::stamp::Stamp;
use crate::ems::store::Sqlite;
use posture::ems::identity::identifier;
use posture::ems::protocol::{
    DocumentKind, DocumentSet, EnrolRequest, Have, PushMessage, RefusalCode, Report, ReportBody, TagSnapshot,
};
use posture::ems::signed::{Fingerprint, Floor, Verified, Verifier};
use posture::rules::{Presence, TagName};
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use std::net::IpAddr;
use tempfile::TempDir;

const OWNER: Actor = Actor::User(0);
const START: u64 = 1_800_000_000_000;

fn at(seconds: u64) -> Stamp {
    Stamp { unix_milliseconds: START + seconds * 1_000, boottime_nanoseconds: seconds * 1_000_000_000 }
}

fn address(last: u8) -> IpAddr {
    IpAddr::from([172, 16, 7, last])
}

struct Desk {
    office: Office,
    _keys: TempDir,
}

impl Desk {
    fn new() -> Self {
        let keys = TempDir::new().unwrap();
        let authority = Authority::open(keys.path()).unwrap();
        let conduct = Conduct::new("https://192.0.2.1:8443".parse().unwrap());
        let mut desk = Self {
            office: Office::new(conduct, authority, Box::new(Sqlite::in_memory().unwrap())).unwrap(),
            _keys: keys,
        };
        desk.ask(json!({"do": "set-rules", "rule_sets": [
            {"name": "t", "tag": "Telemetry connected",
             "systems": {"linux": {"rules": [{"id": 1, "type": "ems-management"}]}}}]}));
        desk
    }

    fn ask(&mut self, request: Value) -> Value {
        self.office.administer(serde_json::from_value(request).unwrap(), &OWNER, at(0)).unwrap()
    }

    /// Enrols and returns the endpoint's certificate.
    fn enrol(&mut self, host: &str, last: u8, now: Stamp) -> Vec<u8> {
        let invitation = self.office.invite("", 600, 1, None, now).unwrap();
        let key = KeyPair::generate().unwrap();
        let request = CertificateParams::new(Vec::<String>::new()).unwrap().serialize_request(&key).unwrap();
        let request = EnrolRequest {
            code: invitation.code,
            certificate_request: request.der().to_vec(),
            host_name: host.into(),
            system: String::new(),
            agent_version: String::new(),
        };
        self.office.enrol(&request, address(last), now).unwrap().certificate
    }

    fn report(&mut self, who: &[u8], have: Have, last: u8, now: Stamp) -> DocumentSet {
        let report = Report { sequence: 1, have, body: ReportBody::Full { facts: FactsObject::new() } };
        self.office.report(who, report, address(last), now).unwrap().documents
    }

    fn snapshot(&self, who: &[u8], set: &DocumentSet, now: Stamp) -> Verified<TagSnapshot> {
        let key = self.office.authority().signing_key();
        let verifier = Verifier::new(identifier(&key), key.try_into().unwrap(), Fingerprint::of(who));
        verifier.verify(set.tags.as_ref().unwrap(), &Floor::default(), now.unix_seconds()).unwrap()
    }

    fn presence(&self, who: &[u8], set: &DocumentSet, tag: &str, now: Stamp) -> Presence {
        let snapshot = self.snapshot(who, set, now);
        let tag = TagName::new(tag);
        snapshot.content().tags.iter().find(|known| known.name == tag).unwrap().state.presence
    }

    fn view(&mut self, device: &str, token: &str, now: Stamp) -> FabricView {
        let shown = DeviceCredentials { name: Some(device.into()), token: token.into() };
        self.office.fabric_view(&shown, now).unwrap()
    }
}

#[test]
fn a_snapshot_tells_the_address_that_ems_sees_and_rules_are_judged_by_it() {
    let mut desk = Desk::new();
    desk.ask(json!({"do": "set-rules", "rule_sets": [
        {"name": "o", "tag": "At the office", "systems": {"linux": {"rules": [
            {"id": 1, "type": "on-fabric-status", "detection": {"public_addresses": ["172.16.7.3"]}}]}}}]}));
    let who = desk.enrol("pc", 3, at(0));
    let set = desk.report(&who, Have::default(), 3, at(1));
    assert_eq!(desk.presence(&who, &set, "At the office", at(1)), Presence::Present);
    assert_eq!(desk.snapshot(&who, &set, at(1)).content().supplied.public_address, Some(address(3)));
    let elsewhere = desk.report(&who, Have::default(), 4, at(2));
    assert_eq!(desk.presence(&who, &elsewhere, "At the office", at(2)), Presence::Absent);
}

#[test]
fn a_snapshot_is_signed_anew_only_when_something_changed_or_half_its_time_is_over() {
    let mut desk = Desk::new();
    let who = desk.enrol("pc", 3, at(0));
    let first = desk.report(&who, Have::default(), 3, at(1));
    let counter = desk.snapshot(&who, &first, at(1)).binding().counter;
    let have = Have { profile: 99, rules: 99, tags: counter, key: 0 };
    assert!(desk.report(&who, have, 3, at(2)).is_empty());
    let half = desk.office.conduct().tags_valid_seconds / 2 + 2;
    let later = desk.report(&who, have, 3, at(half));
    assert!(desk.snapshot(&who, &later, at(half)).binding().counter > counter);
}

#[test]
fn a_changed_policy_gives_a_snapshot_of_that_policy() {
    let mut desk = Desk::new();
    let who = desk.enrol("pc", 3, at(0));
    let first = desk.report(&who, Have::default(), 3, at(1));
    let (before, have) = {
        let snapshot = desk.snapshot(&who, &first, at(1));
        (snapshot.binding().policy_version, Have { tags: snapshot.binding().counter, ..Have::default() })
    };
    desk.ask(json!({"do": "set-profile", "profile": {"name": "other"}}));
    let set = desk.office.documents(&who, have, address(3), at(2)).unwrap();
    assert!(desk.snapshot(&who, &set, at(2)).binding().policy_version > before);
}

#[test]
fn an_open_stream_is_told_of_a_change_before_the_administrator_is_answered() {
    let mut desk = Desk::new();
    let who = desk.enrol("pc", 3, at(0));
    desk.report(&who, Have::default(), 3, at(0));
    let (_, mut stream) = desk.office.subscribe(&who, Have::default(), None, address(3), at(0)).unwrap();
    assert!(matches!(stream.try_recv().unwrap().message, PushMessage::Hello { .. }));
    assert!(matches!(stream.try_recv().unwrap().message, PushMessage::Documents { .. }));
    desk.ask(json!({"do": "set-tag", "endpoint": "pc", "tag": "Watched"}));
    let PushMessage::Documents { documents } = stream.try_recv().unwrap().message else { panic!("no documents") };
    assert_eq!(desk.presence(&who, &documents, "watched", at(1)), Presence::Present);
    assert!(documents.profile.is_none() && documents.rules.is_none());
    assert!(stream.try_recv().is_err(), "nothing is said twice");
}

#[test]
fn commands_wait_for_an_endpoint_that_is_away() {
    let mut desk = Desk::new();
    let who = desk.enrol("pc", 3, at(0));
    let (id, mut stream) = desk.office.subscribe(&who, Have::default(), None, address(3), at(0)).unwrap();
    let hello = stream.try_recv().unwrap().id;
    desk.office.unsubscribe(id, at(1)).unwrap();
    desk.ask(json!({"do": "scan", "endpoint": "pc"}));
    let (_, mut stream) = desk.office.subscribe(&who, Have::default(), Some(hello), address(3), at(2)).unwrap();
    let messages: Vec<_> = std::iter::from_fn(|| stream.try_recv().ok()).map(|pushed| pushed.message).collect();
    assert_eq!(messages.iter().filter(|message| matches!(message, PushMessage::Scan)).count(), 1);
}

#[test]
fn telemetry_is_connected_while_a_stream_is_open_or_a_report_is_fresh() {
    let mut desk = Desk::new();
    let who = desk.enrol("pc", 3, at(0));
    let other = desk.enrol("other", 4, at(0));
    let set = desk.report(&who, Have::default(), 3, at(1));
    assert_eq!(desk.presence(&who, &set, "Telemetry connected", at(1)), Presence::Present);
    let (id, _stream) = desk.office.subscribe(&who, Have::default(), None, address(3), at(2)).unwrap();
    let connected = |desk: &mut Desk, now: Stamp| {
        desk.office.tick(now).unwrap();
        let listed = desk.office.administer(AdministratorRequest::ListEndpoints, &OWNER, now).unwrap();
        listed["endpoints"][0]["telemetry_connected"].as_bool().unwrap()
    };
    assert!(connected(&mut desk, at(120)), "between two reports the stream counts");
    assert!(!connected(&mut desk, at(200)), "a stream without reports is of one who vanished");
    desk.report(&who, Have::default(), 3, at(210));
    assert!(connected(&mut desk, at(240)));
    desk.office.unsubscribe(id, at(250)).unwrap();
    assert!(connected(&mut desk, at(251)));
    assert!(!connected(&mut desk, at(300)));
    // Nobody else's report brings it back.
    desk.report(&other, Have::default(), 4, at(300));
    assert!(!connected(&mut desk, at(300)));
}

#[test]
fn what_an_endpoint_says_of_its_own_telemetry_is_passed_over() {
    let mut desk = Desk::new();
    let who = desk.enrol("pc", 3, at(0));
    let facts: FactsObject = serde_json::from_value(json!({"ems": {"observation": {"state": "known",
        "value": {"enrolled": false, "telemetry_connected": false}}, "source": "itself", "gathered_unix": 1}}))
    .unwrap();
    let report = Report { sequence: 1, have: Have::default(), body: ReportBody::Full { facts } };
    let set = desk.office.report(&who, report, address(3), at(1)).unwrap().documents;
    assert_eq!(desk.presence(&who, &set, "Telemetry connected", at(1)), Presence::Present);
}

#[test]
fn addresses_stand_in_the_order_of_enrolment_and_follow_the_endpoint() {
    let mut desk = Desk::new();
    let (first, second) = (desk.enrol("one", 3, at(0)), desk.enrol("two", 2, at(1)));
    desk.report(&first, Have::default(), 3, at(2));
    desk.report(&second, Have::default(), 2, at(2));
    let token = desk.ask(json!({"do": "add-device", "device": "gate"}))["token"].as_str().unwrap().to_owned();
    desk.ask(json!({"do": "set-sharing", "device": "gate", "sharing": "all"}));
    let tag = TagName::new("Telemetry Connected");
    let view = desk.view("gate", &token, at(3));
    assert_eq!(
        view.addresses(&tag),
        ["172.16.7.3", "172.16.7.2"].map(|text| text.parse::<std::net::Ipv4Addr>().unwrap())
    );
    desk.report(&first, Have::default(), 9, at(4));
    let view = desk.view("gate", &token, at(4));
    assert_eq!(
        view.addresses(&tag),
        ["172.16.7.9", "172.16.7.2"].map(|text| text.parse::<std::net::Ipv4Addr>().unwrap())
    );
}

#[test]
fn a_removed_endpoint_is_a_stranger_and_in_no_list() {
    let mut desk = Desk::new();
    let who = desk.enrol("pc", 3, at(0));
    desk.report(&who, Have::default(), 3, at(1));
    desk.ask(json!({"do": "remove-endpoint", "endpoint": "pc"}));
    let denial = desk.office.documents(&who, Have::default(), address(3), at(2)).unwrap_err();
    assert_eq!(denial.code, RefusalCode::NotEnrolled);
    let token = desk.ask(json!({"do": "add-device", "device": "gate"}))["token"].as_str().unwrap().to_owned();
    desk.ask(json!({"do": "set-sharing", "device": "gate", "sharing": "all"}));
    assert!(desk.view("gate", &token, at(3)).addresses(&TagName::new("Telemetry connected")).is_empty());
}

#[test]
fn a_host_name_that_two_endpoints_have_names_none() {
    let mut desk = Desk::new();
    desk.enrol("pc", 3, at(0));
    desk.enrol("pc", 4, at(0));
    let request = AdministratorRequest::SetTag { endpoint: "pc".into(), tag: "x".into() };
    let denial = desk.office.administer(request, &OWNER, at(1)).unwrap_err();
    assert!(denial.detail.contains("identifier"), "{denial}");
}

#[test]
fn a_stream_whose_reader_is_stuck_is_closed_and_the_others_go_on() {
    let mut desk = Desk::new();
    let (stuck, good) = (desk.enrol("stuck", 3, at(0)), desk.enrol("good", 4, at(0)));
    let (_, mut held) = desk.office.subscribe(&stuck, Have::default(), None, address(3), at(0)).unwrap();
    let (_, mut read) = desk.office.subscribe(&good, Have::default(), None, address(4), at(0)).unwrap();
    for round in 0..100 {
        for host in ["stuck", "good"] {
            desk.ask(json!({"do": "set-tag", "endpoint": host, "tag": format!("{round}")}));
        }
        while read.try_recv().is_ok() {}
    }
    let mut waiting = 0;
    while held.try_recv().is_ok() {
        waiting += 1;
    }
    assert!(waiting <= 64, "{waiting}");
    assert!(held.is_closed());
    assert!(!read.is_closed());
}

#[test]
fn rules_that_mean_nothing_are_refused_before_they_are_stored() {
    let mut desk = Desk::new();
    let request = serde_json::from_value(json!({"do": "set-rules", "rule_sets": [
        {"name": "x", "tag": "X", "systems": {"linux": {"rules": [{"id": 1, "type": "astrology"}]}}}]}));
    let denial = desk.office.administer(request.unwrap(), &OWNER, at(1)).unwrap_err();
    assert_eq!(denial.code, RefusalCode::RequestInvalid);
    assert_eq!(desk.office.rules().unwrap().rule_sets.len(), 1);
}

#[test]
fn counters_grow_over_all_kinds() {
    let mut desk = Desk::new();
    let who = desk.enrol("pc", 3, at(0));
    desk.report(&who, Have::default(), 3, at(1));
    let endpoint = desk.office.store.endpoint_of(Fingerprint::of(&who), at(1).unix_seconds()).unwrap().unwrap();
    let counters: std::collections::BTreeSet<u64> = DocumentKind::ALL
        .iter()
        .map(|kind| desk.office.store.document(&endpoint.id, *kind).unwrap().unwrap().counter)
        .collect();
    assert_eq!(counters.len(), 3);
}

#[test]
fn a_group_decides_profile_and_rules_of_its_endpoints_and_of_no_others() {
    let mut desk = Desk::new();
    let (mine, other) = (desk.enrol("pc", 3, at(0)), desk.enrol("other", 4, at(0)));
    desk.ask(json!({"do": "put-rule-set", "rule_set": {"name": "a", "tag": "Antivirus",
        "systems": {"linux": {"rules": [{"id": 1, "type": "anti-virus"}]}}}}));
    desk.ask(json!({"do": "put-profile", "profile": {"name": "Field", "secure_remote_access": true}}));
    desk.ask(json!({"do": "put-group", "group": {"name": "field", "profile": "Field", "rule_sets": ["a"]}}));
    desk.ask(json!({"do": "assign-group", "endpoint": "pc", "group": "field"}));
    let names = |desk: &mut Desk, who: &[u8], last| {
        let set = desk.report(who, Have::default(), last, at(1));
        let key = desk.office.authority().signing_key();
        let verifier = Verifier::new(identifier(&key), key.try_into().unwrap(), Fingerprint::of(who));
        let floor = Floor::default();
        let profile = verifier.verify::<posture::ems::protocol::Profile>(
            set.profile.as_ref().unwrap(),
            &floor,
            at(1).unix_seconds(),
        );
        let tags = desk.snapshot(who, &set, at(1)).content().tags.iter().map(|tag| tag.name.to_string()).collect();
        (profile.unwrap().content().name.clone(), tags)
    };
    let both: (String, Vec<String>) = names(&mut desk, &mine, 3);
    assert_eq!(both, ("Field".to_owned(), vec!["Antivirus".to_owned()]));
    let both: (String, Vec<String>) = names(&mut desk, &other, 4);
    assert_eq!(both, ("Default".to_owned(), vec!["Antivirus".to_owned(), "Telemetry connected".to_owned()]));
    // What is in use is not taken away; without its group an endpoint has what everybody has.
    let removal = AdministratorRequest::RemoveProfile { name: "Field".into() };
    assert_eq!(desk.office.administer(removal, &OWNER, at(2)).unwrap_err().code, RefusalCode::RequestInvalid);
    desk.ask(json!({"do": "remove-group", "name": "field"}));
    assert_eq!(names(&mut desk, &mine, 3).0, "Default");
}

#[test]
fn an_invitation_lets_in_as_many_as_it_says_and_into_its_group() {
    let mut desk = Desk::new();
    desk.ask(json!({"do": "put-group", "group": {"name": "field"}}));
    let invitation = desk.office.invite("two", 600, 2, Some("field"), at(0)).unwrap();
    let enrol = |desk: &mut Desk, code: &str| {
        let key = KeyPair::generate().unwrap();
        let request = CertificateParams::new(Vec::<String>::new()).unwrap().serialize_request(&key).unwrap();
        let request = EnrolRequest {
            code: code.into(),
            certificate_request: request.der().to_vec(),
            host_name: "pc".into(),
            system: String::new(),
            agent_version: String::new(),
        };
        desk.office.enrol(&request, address(3), at(1)).map_err(|denial| denial.code)
    };
    for _ in 0..2 {
        enrol(&mut desk, &invitation.code).unwrap();
    }
    assert_eq!(enrol(&mut desk, &invitation.code).unwrap_err(), RefusalCode::InvitationUsed);
    let listed = desk.ask(json!({"do": "list-endpoints"}));
    assert!(listed["endpoints"].as_array().unwrap().iter().all(|endpoint| endpoint["group"] == "field"));
    let revoked = desk.office.invite("taken back", 600, 0, None, at(0)).unwrap();
    let listed = desk.ask(json!({"do": "list-invitations"}));
    let id = listed["invitations"].as_array().unwrap().iter().find(|row| row["label"] == "taken back").unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    enrol(&mut desk, &revoked.code).unwrap();
    desk.ask(json!({"do": "revoke-invitation", "id": id}));
    assert_eq!(enrol(&mut desk, &revoked.code).unwrap_err(), RefusalCode::InvitationExpired);
}

#[test]
fn an_endpoint_that_is_offline_keeps_its_tags_for_the_tag_timeout_and_is_in_no_list_after() {
    let mut desk = Desk::new();
    desk.ask(json!({"do": "set-rules", "rule_sets": [
        {"name": "o", "tag": "Here", "systems": {"linux": {"rules": [
            {"id": 1, "type": "on-fabric-status", "detection": {"public_addresses": ["172.16.7.3"]}}]}}}]}));
    let who = desk.enrol("pc", 3, at(0));
    desk.report(&who, Have::default(), 3, at(0));
    desk.ask(json!({"do": "set-tag", "endpoint": "pc", "tag": "By hand"}));
    let token = desk.ask(json!({"do": "add-device", "device": "gate"}))["token"].as_str().unwrap().to_owned();
    desk.ask(json!({"do": "set-sharing", "device": "gate", "sharing": "all"}));
    let shown = DeviceCredentials { name: None, token: token.clone() };
    let (_, mut watched) = desk.office.fabric_watch(&shown, at(1)).unwrap();
    let (offline, timeout) = (desk.office.conduct().offline_after_seconds, desk.office.conduct().tag_timeout_seconds);
    let carried = |view: &FabricView, tag: &str| view.addresses(&TagName::new(tag)).len();
    let before = desk.view("gate", &token, at(offline + timeout - 1));
    assert_eq!((carried(&before, "Here"), carried(&before, "By hand")), (1, 1));
    watched.mark_unchanged();
    desk.office.tick(at(offline + timeout)).unwrap();
    assert!(watched.has_changed().unwrap(), "a gateway that watches is told");
    let after = watched.borrow_and_update().clone();
    assert_eq!((carried(&after, "Here"), carried(&after, "By hand")), (0, 0));
    let listed = desk.office.administer(AdministratorRequest::ListEndpoints, &OWNER, at(offline + timeout)).unwrap();
    let here = listed["endpoints"][0]["tags"].as_array().unwrap().iter().find(|tag| tag["name"] == "Here").unwrap();
    assert_eq!(here["presence"], "unknown");
    // It comes back as if it had not been away.
    desk.report(&who, Have::default(), 3, at(offline + timeout + 1));
    assert_eq!(carried(&desk.view("gate", &token, at(offline + timeout + 1)), "Here"), 1);
}

#[test]
fn of_an_endpoints_events_the_newest_are_kept() {
    let mut desk = Desk::new();
    desk.office.conduct.events_most = 3;
    let (who, other) = (desk.enrol("pc", 3, at(0)), desk.enrol("other", 4, at(0)));
    let upload = |desk: &mut Desk, who: &[u8], ids: &[&str]| {
        let event = |id: &&str| posture::ems::protocol::EndpointEvent {
            id: (*id).to_owned(),
            unix_milliseconds: 1,
            kind: posture::ems::protocol::EventKind::TunnelUp,
            tunnel: String::new(),
            cause: String::new(),
            detail: String::new(),
        };
        let upload = posture::ems::protocol::EventUpload { events: ids.iter().map(event).collect() };
        desk.office.upload(who, &upload, address(3), at(1)).unwrap();
    };
    upload(&mut desk, &other, &["x"]);
    upload(&mut desk, &who, &["a", "b"]);
    upload(&mut desk, &who, &["c", "d", "e"]);
    let ids = |listed: Value| -> Vec<String> {
        listed["events"].as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(desk.ask(json!({"do": "list-events", "after": 0}))), ["x", "c", "d", "e"]);
    assert_eq!(ids(desk.ask(json!({"do": "list-events", "after": 0, "endpoint": "other"}))), ["x"]);
}

#[test]
fn strangers_beyond_a_few_a_minute_are_counted_and_told_with_the_next() {
    let mut desk = Desk::new();
    let mut refused = |seconds| {
        desk.office.refuse_stranger("GET /admin/v1/endpoints", at(seconds)).unwrap();
        let account = desk.ask(json!({"do": "list-audit", "after": 0}));
        let entries = account["audit"].as_array().unwrap().clone();
        entries.into_iter().filter(|entry| entry["actor"] == "stranger").collect::<Vec<_>>()
    };
    for attempt in 0..12 {
        assert_eq!(refused(1).len(), 5.min(attempt + 1));
    }
    let entries = refused(62);
    assert_eq!(entries.len(), 6);
    let detail = entries[5]["detail"].as_str().unwrap();
    assert_eq!(detail, "GET /admin/v1/endpoints; 7 more since the last entry of this kind");
}
