//! The description of the interface against the interface.

use crate::endpoint::{Lab, facts};
use posture::ems::protocol::{
    EmsId, EndpointEvent, EndpointId, EnrolReply, EventKind, Have, PATH_DOCUMENTS, PATH_ENROL, PATH_EVENTS, PATH_PUSH,
    PATH_RELEASE, PATH_RENEW, PATH_REPORT, PATH_UNENROL, PushMessage, Report, ReportBody, ReportReply, SnapshotTag,
    TagOrigin, TagSnapshot,
};
use posture::ems::signed::{Binding, Fingerprint, Signed};
use posture::rules::{Presence, TagState};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn description() -> Value {
    serde_json::from_str(lab::ems::server::OPENAPI).unwrap()
}

/// The members that a value has on the wire are those that the description names.
fn agree<T: Serialize>(schema: &str, value: &T) {
    let (description, value) = (description(), serde_json::to_value(value).unwrap());
    let described = &description["components"]["schemas"][schema];
    let named: BTreeSet<&String> = described["properties"].as_object().unwrap().keys().collect();
    let sent: BTreeSet<&String> = value.as_object().unwrap().keys().collect();
    assert!(sent.is_subset(&named), "{schema}: {sent:?} against {named:?}");
    for required in described["required"].as_array().unwrap() {
        assert!(sent.contains(&required.as_str().unwrap().to_owned()), "{schema}: {required} is not sent");
    }
}

#[test]
fn members_on_the_wire_are_those_that_are_described() {
    let body = ReportBody::Changes { base: 1, facts: facts(true) };
    agree("Report", &Report { sequence: 2, have: Have::default(), body });
    agree("ReportReply", &ReportReply::default());
    agree("Have", &Have::default());
    agree("Signed", &Signed { body: Vec::new(), signature: Vec::new() });
    let binding = Binding {
        kind: posture::ems::protocol::DocumentKind::Tags,
        ems: EmsId("x".into()),
        endpoint: Fingerprint([0; 32]),
        policy_version: 1,
        counter: 1,
        issued_unix: 1,
        expires_unix: 1,
    };
    agree("Binding", &binding);
    let state = TagState::without_rule(Presence::Absent, "x");
    let tag = SnapshotTag { name: "x".into(), origin: TagOrigin::Manual, state };
    agree("SnapshotTag", &tag);
    agree("TagSnapshot", &TagSnapshot { report_sequence: 1, tags: vec![tag], ..TagSnapshot::default() });
    let reply = EnrolReply {
        ems: EmsId("x".into()),
        ems_name: "x".into(),
        endpoint: EndpointId("x".into()),
        certificate: Vec::new(),
        authority: Vec::new(),
        signing_key: Vec::new(),
        keys: Vec::new(),
        renew_after_unix: 0,
    };
    agree("EnrolReply", &reply);
    let event = EndpointEvent {
        id: "x".into(),
        unix_milliseconds: 1,
        kind: EventKind::TunnelUp,
        tunnel: String::new(),
        cause: String::new(),
        detail: String::new(),
    };
    agree("EndpointEvent", &event);
    let hello = serde_json::to_value(PushMessage::Hello { heartbeat_milliseconds: 1 }).unwrap();
    assert_eq!(hello, json!({"push": "hello", "heartbeat_milliseconds": 1}));
}

#[test]
fn every_reference_leads_somewhere() {
    fn walk(value: &Value, root: &Value) {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(target)) = members.get("$ref") {
                    assert!(root.pointer(target.trim_start_matches('#')).is_some(), "{target}");
                }
                members.values().for_each(|member| walk(member, root));
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, root)),
            _ => {}
        }
    }
    let root = description();
    walk(&root, &root);
}

#[tokio::test]
async fn every_described_path_is_served_and_every_path_of_the_protocol_is_described() {
    let description = description();
    let paths = description["paths"].as_object().unwrap();
    for path in
        [PATH_ENROL, PATH_REPORT, PATH_DOCUMENTS, PATH_PUSH, PATH_EVENTS, PATH_RELEASE, PATH_RENEW, PATH_UNENROL]
    {
        assert!(paths.contains_key(path), "{path}");
    }
    let lab = Lab::start().await;
    let authority = reqwest::Certificate::from_pem(lab.ems.authority_pem().as_bytes()).unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().tls_certs_only([authority]).build().unwrap();
    for (path, methods) in paths {
        for method in methods.as_object().unwrap().keys() {
            let method: reqwest::Method = method.to_uppercase().parse().unwrap();
            let url = format!("https://{}{}", lab.ems.address(), path.replace("{tag}", "x"));
            let status = http.request(method.clone(), url).body("{}").send().await.unwrap().status().as_u16();
            // Nobody who shows nothing gets further than being told so.
            let expected = match path.as_str() {
                "/v1/enrol" => 400,
                "/v1/openapi.json" => 200,
                _ => 401,
            };
            assert_eq!(status, expected, "{method} {path}");
        }
    }
}
