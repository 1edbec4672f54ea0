//! EMS that is killed.

use crate::endpoint::{Endpoint, facts, invitation};
use lab::ems::Administrator;
use posture::ems::protocol::RefusalCode;
use posture::ems::session::TelemetryState;
use posture::ems::{EmsError, Introduction, Network, enrol};
use posture::rules::Presence;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// `lab-ems run` as a process; killed when dropped.
struct Process {
    child: Child,
    address: String,
}

impl Process {
    fn start(state: &Path, listen: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lab-ems"))
            .args(["run", "--heartbeat-milliseconds", "200", "--listen", listen, "--state"])
            .arg(state)
            .env("LAB_EMS_LOG", "error")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        Self { child, address: ready["address"].as_str().unwrap().to_owned() }
    }

    /// SIGKILL: nothing is written after it.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn ask(state: &Path, request: Value) -> Value {
    let administrator = Administrator::of_state(state).unwrap();
    administrator.ask(&serde_json::from_value(request).unwrap()).await.unwrap()
}

#[tokio::test]
async fn what_ems_answered_survives_its_death() {
    let state = tempfile::TempDir::new().unwrap();
    let ems = Process::start(state.path(), "127.0.0.1:0");
    let address = ems.address.clone();
    let request = json!({"do": "make-invitation", "label": "", "valid_seconds": 600});
    let used = invitation(&ask(state.path(), request).await);
    let introduction = Introduction { host_name: "pc".into(), ..Introduction::default() };
    let identity = enrol(&used, &introduction, &Network::default()).await.unwrap();
    let mut endpoint = Endpoint::start(&identity, &Network::default());
    endpoint.telemetry.report(facts(true));
    endpoint.until_up().await;
    for round in 0..3 {
        let tag = format!("round {round}");
        ask(state.path(), json!({"do": "set-tag", "endpoint": "pc", "tag": tag})).await;
        endpoint.until_tag(&tag, Presence::Present).await;
    }
    let before = endpoint.knowledge.tags.as_ref().unwrap().binding().counter;
    ask(state.path(), json!({"do": "set-tag", "endpoint": "pc", "tag": "last words"})).await;
    ems.kill();
    endpoint.until("the stream ends", |it| it.state == Some(TelemetryState::Up { push: false })).await;

    let _again = Process::start(state.path(), &address);
    endpoint.until_up().await;
    endpoint.until_tag("last words", Presence::Present).await;
    assert!(endpoint.knowledge.tags.as_ref().unwrap().binding().counter > before);
    assert!(endpoint.others.is_empty(), "nothing was refused: {:?}", endpoint.others);
    let error = enrol(&used, &introduction, &Network::default()).await.unwrap_err();
    assert!(matches!(error, EmsError::Refused { code: RefusalCode::InvitationUsed, .. }), "{error}");
}

/// `kill -9` in the middle of changes: each that lasts is in the account, and nothing else is.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_and_its_entry_in_the_account_survive_together_or_not_at_all() {
    let state = tempfile::TempDir::new().unwrap();
    let mut ems = Process::start(state.path(), "127.0.0.1:0");
    let address = ems.address.clone();
    let request = json!({"do": "make-invitation", "label": "", "valid_seconds": 600});
    let invitation = invitation(&ask(state.path(), request).await);
    let introduction = Introduction { host_name: "pc".into(), ..Introduction::default() };
    enrol(&invitation, &introduction, &Network::default()).await.unwrap();
    let mut most = 0;
    for round in 0..4_usize {
        let administrator = Administrator::of_state(state.path()).unwrap();
        let storm = tokio::spawn(async move {
            let mut answered = Vec::new();
            for number in 0.. {
                let tag = format!("{round}.{number}");
                let request = serde_json::from_value(json!({"do": "set-tag", "endpoint": "pc", "tag": tag})).unwrap();
                if administrator.ask(&request).await.is_err() {
                    break;
                }
                answered.push(tag);
            }
            answered
        });
        // At another place of the work each time: once so many changes were begun.
        let given = || async { tags(state.path()).await.len() };
        while given().await < most + 3 * (round + 1) {
            tokio::task::yield_now().await;
        }
        ems.kill();
        let answered = storm.await.unwrap();
        ems = Process::start(state.path(), &address);
        let held = tags(state.path()).await;
        let account = ask(state.path(), json!({"do": "list-audit", "after": 0})).await;
        let entries = account["audit"].as_array().unwrap().iter().filter(|entry| entry["action"] == "set-tag");
        let noted: BTreeSet<String> = entries.map(|entry| entry["detail"].as_str().unwrap().to_owned()).collect();
        assert_eq!(held, noted);
        assert!(answered.iter().all(|tag| held.contains(tag)), "what was answered is lost: {answered:?}");
        most = held.len();
    }
}

/// The tags that the endpoint carries by hand.
async fn tags(state: &Path) -> BTreeSet<String> {
    let listed = ask(state, json!({"do": "list-endpoints"})).await;
    let tags = listed["endpoints"][0]["tags"].as_array().unwrap().iter();
    tags.filter(|tag| tag["presence"] == "present").map(|tag| tag["name"].as_str().unwrap().to_owned()).collect()
}
