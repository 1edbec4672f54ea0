//! What the hub tells: status, events, notices, EMS; and what it asks of people.

use super::waiting::Waiter;
use super::{Hub, Message};
use crate::connection::{Connection, Input, Session, Told, sign_of};
use crate::fault;
use crate::profile::{AuthenticationKind, Tunnel};
use crate::service::child::inquiry;
use crate::service::posture::judge::unix_now;
use crate::service::tunnel::own_key;
use crate::service::tunnel::secrets::{self, Kind};
use ike_client::auth::signature::{SignatureAlgorithm, SignatureHashes};
use ike_client::crypto::Secret;
use ike_client::session::{Answer, KeyLine, KeyTable, Request, RequestId, TraceRecord};
use ike_client::tunnel::clock;
use ike_client::tunnel::control::{Carrier, Command, Progress};
use postern_api::event::{Event, Notice, SecretText};
use postern_api::fault::{Fault, FaultName};
use postern_api::posture::Decrees;
use postern_api::prompt::PromptKind;
use postern_api::state::{ConnectionState, Established, Origin, Status, TunnelStatus};
use postern_api::text::PlainText;
use posture::ems::protocol::{EndpointEvent, EventKind};
use std::collections::{BTreeSet, VecDeque};
use std::path::Path;
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;

/// How many notices are kept.
const NOTICES: usize = 50;

/// A signature by the own key.
enum Wanted {
    /// For AUTH.
    Auth { octets: Vec<u8>, announced: SignatureHashes },
    /// Within TLS.
    Tls { octets: Vec<u8>, algorithm: SignatureAlgorithm },
}

impl Hub {
    /// Returns the whole status.
    pub(in crate::service) fn status(&self) -> Status {
        let entries = self.entries();
        // Also of what is up or blocked though its profile is gone.
        let names: BTreeSet<&String> = entries.iter().map(|(name, _)| name).chain(self.connections.keys()).collect();
        let tunnels: Vec<TunnelStatus> = names.into_iter().filter_map(|name| self.tunnel_status(name)).collect();
        let posture = self.view.report(&entries, self.now_unix());
        let decrees = &posture.decrees;
        // Also where there is no tunnel that could show it.
        let whole = decrees.quarantine.as_ref().map(|_| ConnectionState::Quarantined);
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            state: sign_of(tunnels.iter().map(|tunnel| tunnel.state).chain(whole)),
            attention: *decrees != Decrees::default() || tunnels.iter().any(|tunnel| tunnel.attention),
            posture,
            tunnels,
        }
    }

    /// Returns where one tunnel stands.
    pub(in crate::service) fn tunnel_status(&self, name: &str) -> Option<TunnelStatus> {
        let idle = Connection::default();
        let connection = self.connections.get(name).unwrap_or(&idle);
        let entry = self.catalogue.find(name);
        let posture = self.standing(name);
        if entry.is_none() && connection.rests() && connection.block().is_none() {
            return None;
        }
        let established = match connection {
            Connection::Connected(session) => Some(self.established(name, session)),
            _ => None,
        };
        Some(TunnelStatus {
            name: name.into(),
            origin: entry.as_ref().map_or(Origin::Local, |entry| entry.origin),
            state: connection.state(&posture),
            attention: connection.attention(&posture),
            gateway: entry.as_ref().map(|entry| entry.tunnel.gateway.to_string()).unwrap_or_default().into(),
            posture,
            established,
            last_fault: connection.last_fault().cloned().map(|last| fault::about(name, last)),
            blocked: connection.block().is_some(),
        })
    }

    fn established(&self, name: &str, session: &Session) -> Established {
        let tunnel = &session.tunnel;
        let since = self.up_since.get(name).copied().unwrap_or_default();
        let (ike_suite, esp_suite) = tunnel.protection.names();
        let own_warnings = tunnel.warnings.iter().map(ToString::to_string);
        Established {
            seconds: clock::now().saturating_since(since).as_secs(),
            gateway: tunnel.gateway.to_string(),
            carrier: match tunnel.carrier {
                Carrier::Udp => "udp".into(),
                Carrier::Tcp { .. } => "tcp".into(),
            },
            ike_suite,
            esp_suite,
            addresses: tunnel.addresses.iter().map(ipnet::IpNet::addr).collect(),
            networks: tunnel.networks.iter().map(ToString::to_string).collect(),
            dns: tunnel.dns.clone(),
            domains: tunnel.domains.iter().map(|domain| domain.as_str().into()).collect(),
            bytes_received: session.counters.bytes_received,
            bytes_sent: session.counters.bytes_sent,
            warnings: own_warnings.chain(session.warnings.iter().cloned()).map(Into::into).collect(),
        }
    }

    /// Tells subscribers where a tunnel stands.
    pub(in crate::service) fn publish(&self, name: &str) {
        if let Some(tunnel) = self.tunnel_status(name) {
            let _ = self.events.send(Event::Tunnel { tunnel });
        }
    }

    /// Tells people and EMS what happened.
    pub(in crate::service) fn tell(&mut self, name: &str, told: Told) {
        let (title, fault, kind) = match told {
            Told::Refused(fault) => (Some("VPN connection refused"), Some(fault), EventKind::HostCheckRefused),
            Told::Lost(fault) => {
                let title = match fault.name {
                    FaultName::Quarantined => "VPN disconnected: this endpoint is in quarantine",
                    _ => "VPN disconnected: security posture changed",
                };
                (Some(title), Some(fault), EventKind::ComplianceLost)
            }
            Told::Overridden(fault) => {
                (Some("VPN allowed, by a break-glass code only"), Some(fault), EventKind::HostCheckOverridden)
            }
            Told::Audited(fault) => (Some("VPN allowed, in audit mode only"), Some(fault), EventKind::AuditWarned),
            Told::Up => (None, None, EventKind::TunnelUp),
            Told::Down(fault) => (None, fault, EventKind::TunnelDown),
            Told::Failed(fault) => (None, Some(fault), EventKind::ConnectFailed),
        };
        let fault = fault.map(|fault| fault::about(name, fault));
        match &fault {
            Some(fault) => tracing::info!(tunnel = name, ?kind, %fault, "event"),
            None => tracing::info!(tunnel = name, ?kind, "event"),
        }
        let cause = fault.as_ref().map(|fault| fault.name.as_str()).unwrap_or_default();
        let detail = fault.as_ref().map(|fault| fault.detail.for_one_line()).unwrap_or_default();
        self.report_event(kind, name, cause, &detail);
        let (Some(title), Some(fault)) = (title, fault) else { return };
        self.notify(name, title, fault, self.owner_of(name));
    }

    /// Puts a notice before people; `uid` names the one whom it concerns, none all of them.
    pub(in crate::service) fn notify(&mut self, name: &str, title: &str, fault: Fault, uid: Option<u32>) {
        let id = self.notices.front().map_or(1, |last| last.id.saturating_add(1));
        let warning = fault.warning.clone().unwrap_or_else(|| posture::policy::DEFAULT_WARNING.into());
        let time = fault::at(unix_now()).unwrap_or_default();
        // What posture has no part in, such as the end of an enrolment, has no tunnel either.
        let explanation = self.view.explain(name, &self.entries(), self.now_unix()).unwrap_or_default();
        let tunnel = name.into();
        let notice = Notice { id, time, tunnel, title: title.into(), warning, fault, explanation, uid };
        self.notices.push_front(notice.clone());
        self.notices.truncate(NOTICES);
        self.keep_notices();
        let _ = self.events.send(Event::Notice { notice });
    }

    /// Notices can be read again after the service was started anew.
    fn keep_notices(&self) {
        let file = self.paths.state.join("notices.json");
        let text = serde_json::to_vec(&self.notices).unwrap_or_default();
        if let Err(error) = crate::profile::file::replace(&file, &text) {
            tracing::warn!(%error, "notices cannot be kept");
        }
    }

    pub(in crate::service) fn owner_of(&self, name: &str) -> Option<u32> {
        let waiting = self.waiters.get(name).and_then(|waiters| waiters.first());
        self.owners.get(name).copied().flatten().or_else(|| waiting.and_then(|waiter| waiter.caller.uid))
    }

    /// Hands an event to EMS, where there is one.
    pub(in crate::service) fn report_event(&self, kind: EventKind, tunnel: &str, cause: &str, detail: &str) {
        let Some(telemetry) = &self.examination.telemetry else { return };
        let mut random = [0u8; 16];
        if getrandom::fill(&mut random).is_err() {
            return;
        }
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let id = random.iter().map(|octet| format!("{octet:02x}")).collect();
        telemetry.event(EndpointEvent {
            id,
            unix_milliseconds: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
            kind,
            tunnel: tunnel.to_owned(),
            cause: cause.to_owned(),
            detail: detail.to_owned(),
        });
    }

    /// Answers the engine from files, from what is kept, or asks a person.
    pub(in crate::service) fn engine_asks(&mut self, name: &str, id: RequestId, request: Request, within: Duration) {
        let Some(entry) = self.catalogue.find(name) else {
            return self.refuse(id, "the tunnel is gone");
        };
        let tunnel = entry.tunnel;
        let waiting = self.waiters.get(name).map(Vec::as_slice).unwrap_or_default();
        let owner = self.owner_of(name);
        let kept = |kind: Kind, file: &Option<std::path::PathBuf>| match file {
            // What its user brings along for this very connection goes before what is kept.
            _ if waiting.iter().any(|waiter| waiter.answers_for(owner) && waiter.supplied.contains(&kind.into())) => {
                Ok(None)
            }
            Some(file) => secrets::read_private(file).map(Some).map_err(|error| error.to_string()),
            None => Ok(self.secrets.read(entry.owner, name, kind)),
        };
        let (found, kind, text) = match &request {
            Request::Sign { octets, announced } => {
                let wanted = Wanted::Auth { octets: octets.clone(), announced: announced.clone() };
                return self.sign(name, &tunnel, id, wanted);
            }
            Request::SignTls { algorithm, octets } => {
                let wanted = Wanted::Tls { octets: octets.clone(), algorithm: *algorithm };
                return self.sign(name, &tunnel, id, wanted);
            }
            Request::RevocationStatus { certificates } => {
                let (certificates, inbox) = (certificates.clone(), self.inbox.clone());
                tokio::spawn(async move {
                    let answer = inquiry::ask(&certificates).await;
                    let _ = inbox.send(Message::Answered(id, answer));
                });
                return;
            }
            Request::PreSharedKey => {
                let found = kept(Kind::PreSharedKey, tunnel.pre_shared_key_file());
                (found, PromptKind::PreSharedKey, "Pre-shared key".to_owned())
            }
            Request::PrivateKey => {
                let file = &tunnel.wireguard.as_ref().and_then(|wireguard| wireguard.private_key_file.clone());
                (kept(Kind::PrivateKey, file), PromptKind::PrivateKey, "Private key".to_owned())
            }
            Request::PostQuantumPreSharedKey { identity } => {
                let found = kept(Kind::PostQuantumKey, &tunnel.auth.ppk_file);
                (found, PromptKind::PostQuantumKey, worded("Post-quantum pre-shared key", identity))
            }
            Request::EapIdentity { prompt } => match &tunnel.auth.user {
                Some(user) => {
                    let answer = Answer::Text { text: user.clone() };
                    return self.net.engine(Command::Answer { id, answer });
                }
                None => (Ok(None), PromptKind::UserName, worded("User name", prompt)),
            },
            Request::EapPassword { .. } if tunnel.auth.kind == AuthenticationKind::Saml => {
                return match self.sign_ons.take(name) {
                    Some(signed_on) => {
                        let answer = Answer::Secret { secret: signed_on.token };
                        self.net.engine(Command::Answer { id, answer });
                    }
                    None => self.refuse(id, "the sign-on was used up"),
                };
            }
            Request::EapPassword { identity, prompt, again } => {
                let kept = if *again { Ok(None) } else { kept(Kind::Password, &tunnel.auth.password_file) };
                (kept, PromptKind::Password, worded(&format!("Password of {identity}"), prompt))
            }
            Request::EapNewPassword { identity, prompt } => {
                let text = format!("The password of {identity} has expired. New password");
                (Ok(None), PromptKind::NewPassword, worded(&text, prompt))
            }
            Request::EapCode { identity, prompt } => {
                (Ok(None), PromptKind::OneTimeCode, worded(&format!("Code of {identity}"), prompt))
            }
        };
        match found {
            Ok(Some(secret)) => self.net.engine(Command::Answer { id, answer: Answer::Secret { secret } }),
            Ok(None) => self.ask_person(name, id, kind, text, within),
            // Nobody's answer would help: the file that the profile names is to be mended.
            Err(problem) => {
                let next = "mend the file, or name another in the tunnel";
                let fault = Fault::new(FaultName::ProfileInvalid, name, format!("failed: {problem}"), next);
                self.feed(name, Input::Disconnect(Some(fault)));
            }
        }
    }

    /// Tells whoever waits for a tunnel what its engine is about.
    pub(in crate::service) fn tell_progress(&self, name: &str, step: Progress) {
        let event = Event::Progress { tunnel: name.into(), text: step.to_string().into() };
        for waiter in self.waiters.get(name).into_iter().flatten().filter(|waiter| waiter.for_up) {
            let _ = waiter.caller.events.try_send(event.clone());
        }
        let _ = self.events.send(event);
    }

    fn ask_person(&mut self, name: &str, id: RequestId, kind: PromptKind, text: String, within: Duration) {
        let because = format!("{text}: nobody is there to answer");
        if !self.put_question(name, id, kind, text, within) {
            self.refuse(id, &because);
        }
    }

    /// Asks whoever waits for the tunnel; returns false when nobody is there.
    pub(in crate::service) fn put_question(
        &mut self,
        name: &str,
        id: RequestId,
        kind: PromptKind,
        text: String,
        within: Duration,
    ) -> bool {
        let uid = self.owner_of(name);
        let waiting = self.waiters.get(name).into_iter().flatten();
        let those: Vec<&Waiter> = waiting.filter(|waiter| waiter.answers_for(uid)).collect();
        let asked = those.iter().filter(|waiter| waiter.for_up && waiter.interactive);
        let askers: Vec<_> = asked.map(|waiter| waiter.caller.events.clone()).collect();
        // A tunnel that is made again by itself has nobody at a terminal, but perhaps a tray.
        let unattended = those.is_empty();
        let somebody_listens = !askers.is_empty() || (unattended && self.events.receiver_count() > 0);
        if !somebody_listens {
            return false;
        }
        let prompt = self.prompts.ask(name, id, kind, text, within, uid);
        for asker in askers {
            let _ = asker.try_send(Event::Prompt { prompt: prompt.clone() });
        }
        let _ = self.events.send(Event::Prompt { prompt });
        self.feed(name, Input::InputNeeded);
        true
    }

    /// Asks one who joins what the others were asked before: they may be gone in a moment.
    pub(in crate::service) fn ask_latecomer(&self, name: &str, waiter: &Waiter) {
        if waiter.interactive && waiter.answers_for(self.owner_of(name)) {
            for prompt in self.prompts.of(name) {
                let _ = waiter.caller.events.try_send(Event::Prompt { prompt: prompt.clone() });
            }
        }
    }

    /// Hands a message of the conversation to whoever asked for it; one who is slow misses it, one
    /// who is gone is forgotten.
    pub(in crate::service) fn tell_message(
        &mut self,
        name: &str,
        record: &TraceRecord,
        elapsed: Duration,
        timer: Option<(String, Duration)>,
    ) {
        let Some(listener) = self.listeners.get(name) else { return };
        let seconds = elapsed.as_secs_f64();
        let timer = timer.map(|(timer, after)| format!("; then {timer} in {:.1} s", after.as_secs_f64()));
        let line = format!("{seconds:9.3} {record}{}", timer.unwrap_or_default());
        let event = Event::Trace { tunnel: PlainText::new(name), line: PlainText::new(line) };
        if let Err(TrySendError::Closed(_)) = listener.try_send(event) {
            self.listeners.remove(name);
        }
    }

    /// Hands a key to root, who asked for it, and to nobody else.
    pub(in crate::service) fn tell_keys(&mut self, name: &str, line: KeyLine) {
        let Some(reader) = self.key_readers.get(name) else { return };
        let table = match line.table {
            KeyTable::Ike => postern_api::event::KeyTable::Ike,
            KeyTable::Esp => postern_api::event::KeyTable::Esp,
        };
        let Ok(text) = std::str::from_utf8(line.line.expose()) else { return };
        let event = Event::Keys { tunnel: PlainText::new(name), table, line: SecretText::new(text.to_owned()) };
        if let Err(TrySendError::Closed(_)) = reader.try_send(event) {
            self.key_readers.remove(name);
        }
    }

    /// Takes a person's answer.
    pub(in crate::service) fn person_answered(
        &mut self,
        uid: Option<u32>,
        role: postern_api::method::Role,
        id: u64,
        answer: Option<String>,
    ) -> Result<(), Fault> {
        let asked = self.prompts.take(id, uid, role)?;
        if asked.prompt.kind == PromptKind::SignOn {
            let _ = self.events.send(Event::PromptEnded { id });
            self.decline_sign_on(&asked.tunnel);
            return Ok(());
        }
        if asked.prompt.kind == PromptKind::KeyPassphrase {
            let _ = self.events.send(Event::PromptEnded { id });
            self.feed(&asked.tunnel, Input::InputGiven);
            self.passphrase_given(&asked.tunnel, answer);
            return Ok(());
        }
        let answer = match answer {
            None => Answer::Refused { because: "the question was not answered".into() },
            Some(text) if asked.prompt.kind.is_secret() => Answer::Secret { secret: Secret::new(text.into_bytes()) },
            Some(text) => Answer::Text { text },
        };
        self.net.engine(Command::Answer { id: asked.request, answer });
        let _ = self.events.send(Event::PromptEnded { id });
        self.feed(&asked.tunnel, Input::InputGiven);
        Ok(())
    }

    pub(in crate::service) fn forget_prompts(&mut self, name: &str) {
        for id in self.prompts.forget(name) {
            let _ = self.events.send(Event::PromptEnded { id });
        }
    }

    /// Signs where it keeps nobody waiting: RSA takes its time, and a token its own.
    fn sign(&self, name: &str, tunnel: &Tunnel, id: RequestId, wanted: Wanted) {
        let (opened, auth, inbox) = (self.own_keys.opened(name), tunnel.auth.clone(), self.inbox.clone());
        tokio::task::spawn_blocking(move || {
            let opened = opened.as_deref();
            let signed = match wanted {
                Wanted::Auth { octets, announced } => own_key::sign(opened, &auth, &octets, &announced),
                Wanted::Tls { octets, algorithm } => own_key::sign_tls(opened, &auth, &octets, algorithm),
            };
            let answer = signed.unwrap_or_else(|because| Answer::Refused { because });
            let _ = inbox.send(Message::Answered(id, answer));
        });
    }

    fn refuse(&self, id: RequestId, because: &str) {
        let answer = Answer::Refused { because: because.to_owned() };
        self.net.engine(Command::Answer { id, answer });
    }
}

/// Reads the notices of earlier runs.
pub(in crate::service) fn read_notices(state: &Path) -> VecDeque<Notice> {
    let text = std::fs::read(state.join("notices.json")).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// The gateway's own words, where it has some, behind ours.
fn worded(ours: &str, gateway: &str) -> String {
    if gateway.trim().is_empty() { ours.to_owned() } else { format!("{ours} ({})", gateway.trim()) }
}

/// Makes the fault of a name that no tunnel has.
pub(in crate::service) fn unknown_tunnel(name: &str) -> Fault {
    Fault::new(FaultName::TunnelUnknown, name, "is no tunnel here", "postern tunnel list")
}
