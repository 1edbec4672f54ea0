//! One EMS, and endpoints that talk to it.

use lab::ems::office::AdministratorRequest;
use lab::ems::{Administrator, LabEms, Settings};
use posture::ems::protocol::{FactsObject, facts_object};
use posture::ems::session::{Delivery, SessionSettings, Telemetry, TelemetryState};
use posture::ems::{Cache, EmsClient, Identity, Introduction, Invitation, Knowledge, Network, enrol};
use posture::facts::{Antivirus, AntivirusProduct, Fact, Facts, Observation};
use posture::rules::{Presence, TagName};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::mpsc;

/// How long anything may take before a test says that it does not happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running EMS with quick habits.
pub struct Lab {
    pub ems: LabEms,
    pub administrator: Administrator,
    pub state: TempDir,
}

pub fn settings(state: &Path) -> Settings {
    let mut settings = Settings::loopback(state);
    settings.heartbeat_milliseconds = Some(200);
    settings.offline_after_seconds = Some(1);
    settings
}

impl Lab {
    pub async fn start() -> Self {
        let state = TempDir::new().unwrap();
        let ems = LabEms::start(settings(state.path())).await.unwrap();
        let administrator = Administrator::new(ems.administrator_socket()).unwrap();
        Self { ems, administrator, state }
    }

    pub async fn ask(&self, request: Value) -> Value {
        self.administrator.ask(&serde_json::from_value(request).unwrap()).await.unwrap()
    }

    pub async fn invitation(&self) -> Invitation {
        let request =
            AdministratorRequest::MakeInvitation { label: "test".into(), valid_seconds: 600, uses: 1, group: None };
        invitation(&self.administrator.ask(&request).await.unwrap())
    }

    pub async fn enrol(&self, host: &str) -> Identity {
        let introduction = Introduction { host_name: host.into(), ..Introduction::default() };
        enrol(&self.invitation().await, &introduction, &Network::default()).await.unwrap()
    }

    /// Sets the rules `Telemetry connected` and `Antivirus running`.
    pub async fn set_rules(&self) {
        self.ask(json!({"do": "set-rules", "rule_sets": [
            {"name": "t", "tag": "Telemetry connected",
             "systems": {"linux": {"rules": [{"id": 1, "type": "ems-management"}]}}},
            {"name": "a", "tag": "Antivirus running",
             "systems": {"linux": {"rules": [{"id": 1, "type": "anti-virus"}]}}},
        ]}))
        .await;
    }

    pub async fn set_profile(&self, members: Value) -> Value {
        let mut profile = json!({"name": "Remote", "secure_remote_access": true, "tunnels": [
            {"name": "RA-VPN", "gateway": "192.0.2.1", "gateway_auth": {"method": "pre-shared-key"},
             "client_auth": {"method": "pre-shared-key"}, "tags": {"prohibited": ["Critical Vulnerability"]}}]});
        for (name, value) in members.as_object().unwrap() {
            profile[name] = value.clone();
        }
        self.ask(json!({"do": "set-profile", "profile": profile})).await
    }
}

pub fn invitation(answer: &Value) -> Invitation {
    answer["invitation"].as_str().unwrap().parse().unwrap()
}

/// One endpoint with telemetry.
pub struct Endpoint {
    pub telemetry: Telemetry,
    pub knowledge: Knowledge,
    pub state: Option<TelemetryState>,
    pub cache: Cache,
    pub directory: TempDir,
    pub deliveries: mpsc::Receiver<Delivery>,
    /// How often telemetry went down.
    pub downs: usize,
    /// Everything that was neither knowledge nor a state.
    pub others: Vec<Delivery>,
}

pub fn quick() -> SessionSettings {
    SessionSettings {
        retry_least: Duration::from_millis(50),
        retry_most: Duration::from_millis(400),
        poll: Duration::from_millis(100),
        push_retry: Duration::from_millis(300),
        ..SessionSettings::default()
    }
}

impl Endpoint {
    pub fn start(identity: &Identity, network: &Network) -> Self {
        Self::start_with(identity, network, quick())
    }

    pub fn start_with(identity: &Identity, network: &Network, settings: SessionSettings) -> Self {
        let directory = TempDir::new().unwrap();
        let cache = Cache::open(directory.path()).unwrap();
        cache.store_identity(identity).unwrap();
        Self::resume_with(identity, network, cache, directory, settings)
    }

    pub fn resume(identity: &Identity, network: &Network, cache: Cache, directory: TempDir) -> Self {
        Self::resume_with(identity, network, cache, directory, quick())
    }

    fn resume_with(
        identity: &Identity,
        network: &Network,
        cache: Cache,
        directory: TempDir,
        settings: SessionSettings,
    ) -> Self {
        let client = EmsClient::new(identity, network).unwrap();
        let verifier = cache.verifier(identity).unwrap();
        let (telemetry, deliveries) = Telemetry::start(client, verifier, cache.clone(), settings);
        let knowledge = Knowledge::default();
        Self { telemetry, knowledge, state: None, cache, directory, deliveries, downs: 0, others: Vec::new() }
    }

    /// Takes deliveries until what was waited for is true.
    pub async fn until(&mut self, what: &str, is_true: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !is_true(self) {
                match self.deliveries.recv().await.expect("telemetry goes on") {
                    Delivery::Knowledge(knowledge) => self.knowledge = knowledge,
                    Delivery::Telemetry(state) => {
                        self.downs += usize::from(!state.is_up());
                        self.state = Some(state);
                    }
                    other => self.others.push(other),
                }
            }
        };
        let outcome = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(outcome.is_ok(), "waited in vain: {what}; {:?}, {:?}, {:?}", self.state, self.knowledge, self.others);
    }

    pub async fn until_up(&mut self) {
        self.until("push is up", |it| it.state == Some(TelemetryState::Up { push: true })).await;
    }

    pub async fn until_tag(&mut self, tag: &str, presence: Presence) {
        self.until(&format!("{tag} is {presence}"), |it| it.presence(tag) == Some(presence)).await;
    }

    pub fn presence(&self, tag: &str) -> Option<Presence> {
        let tags = self.knowledge.tags.as_ref()?;
        let name = TagName::new(tag);
        tags.content().tags.iter().find(|known| known.name == name).map(|known| known.state.presence)
    }
}

pub fn facts(antivirus_running: bool) -> FactsObject {
    let product =
        AntivirusProduct { name: "ClamAV".into(), running: antivirus_running, signatures_unix: Observation::Known(1) };
    let antivirus = Antivirus { products: vec![product], hidden: None };
    facts_object(&Facts { antivirus: Fact::known(antivirus, "test", 1), ..Facts::default() })
}
