//! The flaws that were published of servers of this kind, each tried here.

use crate::endpoint::{Lab, facts};
use posture::ems::protocol::{
    EndpointEvent, EventKind, EventUpload, Have, PATH_DOCUMENTS, PATH_EVENTS, PATH_REPORT, Report, ReportBody,
};
use posture::ems::signed::Floor;
use posture::ems::{Cache, EmsClient, Identity, Introduction, Network, enrol};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use std::sync::Arc;

/// What a careless store would take apart, and a careless display obey.
const HOSTILE: [&str; 6] = [
    "'; DROP TABLE endpoint; --",
    "\" OR \"1\"=\"1",
    "x' UNION SELECT token_hash FROM fabric_device --",
    "\u{1b}]0;owned\u{7}\u{1b}[2J",
    "<img src=x onerror=alert(1)>",
    "\u{202e}gnitset\u{0}",
];

/// A client that shows an endpoint's certificate and says what it likes beside it.
fn raw(lab: &Lab, identity: &Identity) -> reqwest::Client {
    use base64::Engine;
    let bytes = |name: &str| {
        let stored = serde_json::to_value(identity).unwrap();
        base64::engine::general_purpose::STANDARD.decode(stored[name].as_str().unwrap()).unwrap()
    };
    let mut roots = rustls::RootCertStore::empty();
    let authority =
        <CertificateDer as rustls_pki_types::pem::PemObject>::from_pem_slice(lab.ems.authority_pem().as_bytes());
    roots.add(authority.unwrap()).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(bytes("key_pkcs8")));
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![CertificateDer::from(bytes("certificate"))], key)
        .unwrap();
    reqwest::Client::builder().no_proxy().tls_backend_preconfigured(config).build().unwrap()
}

async fn listed(lab: &Lab, host: &str) -> Value {
    let endpoints = lab.ask(json!({"do": "list-endpoints"})).await["endpoints"].as_array().unwrap().clone();
    endpoints.into_iter().find(|endpoint| endpoint["host_name"] == host).unwrap()
}

fn event(id: &str, text: &str) -> EndpointEvent {
    EndpointEvent {
        id: id.into(),
        unix_milliseconds: 1,
        kind: EventKind::TunnelUp,
        tunnel: text.into(),
        cause: text.into(),
        detail: text.into(),
    }
}

/// FG-IR-23-375: telemetry was believed by an identifier that it named itself.
#[tokio::test]
async fn identity_is_the_certificate_s_whatever_an_enrolled_endpoint_says_beside_it() {
    let lab = Lab::start().await;
    let (victim, attacker) = (lab.enrol("victim").await, lab.enrol("attacker").await);
    let report = Report { sequence: 9, have: Have::default(), body: ReportBody::Full { facts: facts(true) } };
    let mut body = serde_json::to_value(&report).unwrap();
    for name in ["endpoint", "id", "uid", "fctuid", "device_id"] {
        body[name] = json!(victim.endpoint.0);
    }
    body["fingerprint"] = json!(victim.fingerprint().to_string());
    let response = raw(&lab, &attacker)
        .post(format!("https://{}{PATH_REPORT}?endpoint={}", lab.ems.address(), victim.endpoint))
        .header("x-endpoint", &victim.endpoint.0)
        .header("x-fccka-uid", &victim.endpoint.0)
        .json(&body)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(listed(&lab, "victim").await["report_sequence"], 0);
    assert_eq!(listed(&lab, "attacker").await["report_sequence"], 9);
    let mut upload = serde_json::to_value(EventUpload { events: vec![event("e", "x")] }).unwrap();
    upload["events"][0]["endpoint"] = json!(victim.endpoint.0);
    let url = format!("https://{}{PATH_EVENTS}", lab.ems.address());
    assert_eq!(raw(&lab, &attacker).post(url).json(&upload).send().await.unwrap().status(), 200);
    let events = lab.ask(json!({"do": "list-events", "after": 0})).await;
    assert_eq!(events["events"][0]["endpoint"], attacker.endpoint.0);
}

/// CVE-2026-35616: a header said that the certificate had been verified.
#[tokio::test]
async fn no_header_stands_for_a_certificate_or_an_address() {
    let lab = Lab::start().await;
    let (victim, attacker) = (lab.enrol("victim").await, lab.enrol("attacker").await);
    let url = format!("https://{}{PATH_DOCUMENTS}", lab.ems.address());
    let authority = reqwest::Certificate::from_pem(lab.ems.authority_pem().as_bytes()).unwrap();
    let nobody = reqwest::Client::builder().no_proxy().tls_certs_only([authority]).build().unwrap();
    for (client, status) in [(nobody, 401), (raw(&lab, &attacker), 200)] {
        let response = client
            .get(&url)
            .header("x-ssl-client-verify", "SUCCESS")
            .header("x-ssl-client-cert", victim.fingerprint().to_string())
            .header("x-ssl-client-s-dn", format!("CN={}", victim.endpoint))
            .header("x-forwarded-client-cert", victim.fingerprint().to_string())
            .header("x-forwarded-for", "203.0.113.99")
            .header("x-real-ip", "203.0.113.99")
            .header("forwarded", "for=203.0.113.99")
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), status);
    }
    for host in ["victim", "attacker"] {
        assert_eq!(listed(&lab, host).await["address"], "127.0.0.1", "{host}");
    }
}

/// CVE-2023-48788: an identifier went into SQL as text.
#[tokio::test]
async fn text_is_never_sql_wherever_it_comes_from() {
    let lab = Lab::start().await;
    let enrolled = lab.enrol("pc").await;
    let client = EmsClient::new(&enrolled, &Network::default()).unwrap();
    for (index, text) in HOSTILE.iter().enumerate() {
        let introduction =
            Introduction { host_name: (*text).into(), system: (*text).into(), agent_version: (*text).into() };
        let invitation = lab.invitation().await;
        enrol(&invitation, &introduction, &Network::default()).await.unwrap();
        let mut guess = lab.invitation().await;
        guess.code = (*text).into();
        assert!(enrol(&guess, &introduction, &Network::default()).await.is_err());
        client.upload(&EventUpload { events: vec![event(&format!("{index}{text}"), text)] }).await.unwrap();
        lab.ask(json!({"do": "set-tag", "endpoint": text, "tag": text})).await;
        lab.ask(json!({"do": "put-profile", "profile": {"name": text}})).await;
        lab.ask(json!({"do": "put-group", "group": {"name": text, "profile": text}})).await;
        lab.ask(json!({"do": "assign-group", "endpoint": text, "group": text})).await;
        let found = listed(&lab, text).await;
        assert_eq!((&found["host_name"], &found["group"]), (&json!(text), &json!(text)));
        assert!(found["tags"].as_array().unwrap().iter().any(|tag| tag["name"] == *text), "{found}");
    }
    let events = lab.ask(json!({"do": "list-events", "after": 0})).await;
    let details: Vec<&str> =
        events["events"].as_array().unwrap().iter().map(|event| event["detail"].as_str().unwrap()).collect();
    assert_eq!(details, HOSTILE);
    assert_eq!(
        lab.ask(json!({"do": "list-endpoints"})).await["endpoints"].as_array().unwrap().len(),
        1 + HOSTILE.len()
    );
}

/// CVE-2025-31365: a server's text was executed by the client that showed it.
#[tokio::test]
async fn a_server_s_texts_are_data_to_the_endpoint() {
    let lab = Lab::start().await;
    let identity = lab.enrol("pc").await;
    for text in HOSTILE {
        lab.ask(json!({"do": "quarantine", "endpoint": "pc", "on": true, "message": text})).await;
        let profile = json!({"name": text, "tunnels": [{"name": text, "gateway": "192.0.2.1",
            "gateway_auth": {"method": "pre-shared-key"}, "client_auth": {"method": "pre-shared-key"},
            "tags": {"warning": text}}]});
        lab.ask(json!({"do": "set-profile", "profile": profile})).await;
        let set = EmsClient::new(&identity, &Network::default()).unwrap().documents(Have::default()).await.unwrap();
        let (verifier, floor) = (identity.verifier().unwrap(), Floor::default());
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let tags = verifier.verify::<posture::ems::protocol::TagSnapshot>(&set.tags.unwrap(), &floor, now).unwrap();
        // It arrives to the letter, and is harmless in each medium only where it is shown.
        let message = tags.content().quarantine.clone().unwrap().message.unwrap();
        assert_eq!(message, text);
        let shown = postern_api::PlainText::new(message);
        let obeyed = |character: char| character.is_control() || character == '\u{202e}';
        assert!(!shown.for_one_line().contains(obeyed), "{shown:?}");
        assert!(!shown.for_markup().contains(['<', '>', '"', '\'']), "{shown:?}");
        // A tunnel whose name would mean something to a shell, a path or a menu is not taken.
        let profile = verifier.verify::<posture::ems::protocol::Profile>(&set.profile.unwrap(), &floor, now).unwrap();
        let (tunnels, problems) =
            postern_agent::profile::managed::tunnels(profile.content(), std::path::Path::new("/etc/postern"));
        assert!(tunnels.is_empty() && problems.len() == 1, "{tunnels:?}");
    }
}

#[tokio::test]
async fn an_endpoint_reads_nothing_that_was_made_for_another() {
    let lab = Lab::start().await;
    let (first, second) = (lab.enrol("one").await, lab.enrol("two").await);
    lab.ask(json!({"do": "set-tag", "endpoint": "one", "tag": "Secret project"})).await;
    let documents = |identity: &Identity| {
        let client = EmsClient::new(identity, &Network::default()).unwrap();
        async move { client.documents(Have::default()).await.unwrap() }
    };
    let (own, others) = (documents(&first).await, documents(&second).await);
    let present = |set: &posture::ems::protocol::DocumentSet| {
        String::from_utf8(set.tags.as_ref().unwrap().body.clone()).unwrap().contains("\"present\"")
    };
    assert!(present(&own) && !present(&others));
    // And what was made for another is not believed where it is shown.
    let directory = tempfile::TempDir::new().unwrap();
    let cache = Cache::open(directory.path()).unwrap();
    let refusal = second
        .verifier()
        .unwrap()
        .verify::<posture::ems::protocol::TagSnapshot>(&own.tags.unwrap(), &cache.floor().unwrap(), 1 << 31)
        .unwrap_err();
    assert!(matches!(refusal, posture::ems::signed::Refusal::ForeignEndpoint { .. }), "{refusal}");
}
