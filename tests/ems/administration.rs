//! The administrator's interface: who gets in, and whether it is what its description says.

use crate::endpoint::{Endpoint, Lab, facts, settings};
use lab::ems::server::{ADMINISTRATION, ADMINISTRATOR_TOKEN};
use lab::ems::{Administrator, LabEms};
use posture::ems::Network;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// An EMS whose administrator is reached by HTTP.
pub struct Desk {
    pub lab: Lab,
    pub base: String,
    pub token: String,
}

pub async fn desk() -> Desk {
    let state = TempDir::new().unwrap();
    let mut settings = settings(state.path());
    settings.administration = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    let ems = LabEms::start(settings).await.unwrap();
    let administrator = Administrator::new(ems.administrator_socket()).unwrap();
    let base = format!("http://{}/admin/v1", ems.administration().unwrap());
    let token = std::fs::read_to_string(state.path().join(ADMINISTRATOR_TOKEN)).unwrap();
    Desk { lab: Lab { ems, administrator, state }, base, token }
}

pub fn http() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

#[tokio::test]
async fn only_the_token_makes_an_administrator() {
    let Desk { lab, base, token } = desk().await;
    let places = serde_json::from_str::<Value>(ADMINISTRATION).unwrap();
    let shown = [None, Some("Bearer ".to_owned()), Some(format!("Bearer {token}x")), Some(format!("Basic {token}"))];
    for (path, methods) in places["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys().filter(|name| *name != "parameters") {
            for shown in &shown {
                let url = format!("{base}{}", path.replace(['{', '}'], ""));
                let mut request = http().request(method.to_uppercase().parse().unwrap(), url).body("{}");
                if let Some(shown) = shown {
                    request = request.header("authorization", shown);
                }
                // Nor does any header that a proxy might set.
                let request = request.header("x-forwarded-for", "127.0.0.1").header("x-administrator", "true");
                assert_eq!(request.send().await.unwrap().status(), 401, "{method} {path}");
            }
        }
    }
    let good = http().get(format!("{base}/endpoints")).bearer_auth(&token).send().await.unwrap();
    assert_eq!(good.status(), 200);
    // Endpoints and gateways do not reach it at all.
    let authority = reqwest::Certificate::from_pem(lab.ems.authority_pem().as_bytes()).unwrap();
    let outside = reqwest::Client::builder().no_proxy().tls_certs_only([authority]).build().unwrap();
    for path in ["/admin/v1/endpoints", "/administer"] {
        let url = format!("https://{}{path}", lab.ems.address());
        let status = outside.get(url).bearer_auth(&token).send().await.unwrap().status();
        assert_eq!(status, 404, "{path}");
    }
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(lab.state.path().join(ADMINISTRATOR_TOKEN)).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "the token is for EMS's owner alone");
}

#[tokio::test]
async fn the_interface_does_not_leave_the_loopback() {
    let state = TempDir::new().unwrap();
    let mut settings = settings(state.path());
    settings.administration = Some(SocketAddr::from(([0, 0, 0, 0], 0)));
    let error = LabEms::start(settings).await.err().expect("it is refused");
    assert!(error.to_string().contains("loopback"), "{error}");
}

#[tokio::test]
async fn resources_do_what_commands_do() {
    let Desk { lab, base, token } = desk().await;
    let mut endpoint = Endpoint::start(&lab.enrol("pc").await, &Network::default());
    endpoint.telemetry.report(facts(true));
    endpoint.until_up().await;
    let put = |path: &str, body: Value| http().put(format!("{base}{path}")).bearer_auth(&token).json(&body).send();
    let profile = json!({"name": "Field", "tunnels": []});
    assert_eq!(put("/profiles/Other", profile.clone()).await.unwrap().status(), 400, "another name than its place");
    assert_eq!(put("/profiles/Field", profile).await.unwrap().status(), 200);
    assert_eq!(put("/groups/field", json!({"name": "field", "profile": "Field"})).await.unwrap().status(), 200);
    assert_eq!(put("/endpoints/pc/group", json!({"group": "field"})).await.unwrap().status(), 200);
    endpoint
        .until("the group's profile", |it| {
            it.knowledge.profile.as_ref().is_some_and(|profile| profile.content().name == "Field")
        })
        .await;
    let answer: Value =
        put("/endpoints/pc/quarantine", json!({"message": "Stay"})).await.unwrap().json().await.unwrap();
    endpoint.until("the quarantine", |it| it.knowledge.quarantine.is_some()).await;
    assert!(endpoint.knowledge.quarantine.as_ref().unwrap().is_released_by(answer["release_code"].as_str().unwrap()));
    let missing = http().delete(format!("{base}/groups/none")).bearer_auth(&token).send().await.unwrap();
    assert_eq!(missing.status(), 404);
}

/// Where `tests/run` puts it.
fn schemathesis() -> PathBuf {
    std::env::var_os("POSTERN_LAB_SCHEMATHESIS").map_or_else(|| PathBuf::from("schemathesis"), PathBuf::from)
}

/// What there is to find: each kind of thing, and spare ones to be taken away.
async fn furnish(lab: &Lab) -> String {
    lab.set_rules().await;
    lab.set_profile(json!({})).await;
    lab.ask(json!({"do": "put-profile", "profile": {"name": "Field"}})).await;
    lab.ask(json!({"do": "put-group", "group": {"name": "field", "profile": "Field", "rule_sets": ["a"]}})).await;
    lab.ask(json!({"do": "set-tag", "endpoint": "pc", "tag": "By hand"})).await;
    lab.ask(json!({"do": "quarantine", "endpoint": "pc", "on": true})).await;
    lab.ask(json!({"do": "add-device", "device": "gate"})).await;
    let mut serials = Vec::new();
    for number in 0..8 {
        let name = format!("spare-{number}");
        lab.enrol(&name).await;
        let listed = lab.ask(json!({"do": "list-certificates", "endpoint": name})).await;
        serials.push(listed["certificates"][0]["serial"].as_str().unwrap().to_owned());
        lab.ask(json!({"do": "put-profile", "profile": {"name": name}})).await;
        lab.ask(json!({"do": "put-group", "group": {"name": name}})).await;
        lab.ask(json!({"do": "put-rule-set", "rule_set": {"name": name, "tag": "Spare", "systems": {}}})).await;
    }
    format!("{}\n[dictionaries.serials]\nvalues = {serials:?}\n", include_str!("schemathesis.toml"))
}

/// What schemathesis asked and was answered: status by operation, as the description names it.
fn answers(har: &str, paths: &Map<String, Value>) -> BTreeMap<String, Vec<u64>> {
    let matches = |path: &str, asked: &str| {
        let (path, asked): (Vec<_>, Vec<_>) = (path.split('/').collect(), asked.split('/').collect());
        path.len() == asked.len() && path.iter().zip(asked).all(|(own, other)| own.starts_with('{') || *own == other)
    };
    let har: Value = serde_json::from_str(har).unwrap();
    let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for entry in har["log"]["entries"].as_array().unwrap() {
        let asked = entry["request"]["url"].as_str().unwrap().split_once("/admin/v1").unwrap().1;
        let asked = asked.split('?').next().unwrap_or_default();
        // The longest description is the one without a name where there are two.
        let path = paths.keys().filter(|path| matches(path, asked)).min_by_key(|path| path.matches('{').count());
        if let Some(path) = path {
            let operation = format!("{} {path}", entry["request"]["method"].as_str().unwrap());
            found.entry(operation).or_default().push(entry["response"]["status"].as_u64().unwrap());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_the_running_server_to_be_what_its_description_says() {
    let Desk { lab, base, token } = desk().await;
    let mut endpoint = Endpoint::start(&lab.enrol("pc").await, &Network::default());
    endpoint.telemetry.report(facts(true));
    endpoint.until_up().await;
    let settings = furnish(&lab).await;
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("schemathesis.toml"), settings).unwrap();
    let mut command = Command::new(schemathesis());
    command
        .current_dir(folder.path())
        .env("SCHEMATHESIS_HOOKS", "")
        .args(["run", &format!("{base}/openapi.json"), "--url", &base])
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .args(["--checks", "not_a_server_error,status_code_conformance,content_type_conformance"])
        .args(["--checks", "response_schema_conformance,negative_data_rejection,ignored_auth"])
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", "10", "--seed", "7"])
        .args(["--workers", "1", "--generation-database", "none", "--no-color"])
        .args(["--report", "har", "--report-har-path", "asked.har"]);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
    let output = output.expect("schemathesis: tests/run installs it");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    // Every operation was done at least once, on something that is there; and of the calls that name
    // something and are well formed, most found it.
    let description: Value = serde_json::from_str(ADMINISTRATION).unwrap();
    let paths = description["paths"].as_object().unwrap();
    let found = answers(&std::fs::read_to_string(folder.path().join("asked.har")).unwrap(), paths);
    let (mut done, mut missed) = (0, 0);
    for (path, methods) in paths {
        for method in methods.as_object().unwrap().keys().filter(|name| *name != "parameters") {
            let operation = format!("{} {path}", method.to_uppercase());
            let statuses = found.get(&operation).unwrap_or_else(|| panic!("{operation} was not asked"));
            assert!(statuses.contains(&200), "{operation} was never done: {statuses:?}");
            if path.contains('{') {
                done += statuses.iter().filter(|status| **status == 200).count();
                missed += statuses.iter().filter(|status| **status == 404).count();
            }
        }
    }
    println!("of {} well formed calls that name something {done} were done", done + missed);
    assert!(done > 2 * missed, "{done} were done, {missed} found nothing");
}
