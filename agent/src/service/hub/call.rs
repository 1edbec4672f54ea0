//! The methods of the control socket.

use super::own::check_owner;
use super::tell::unknown_tunnel;
use super::waiting::Waiter;
use super::{Hub, Inbox, Message, Reply};
use crate::compliance::EmsView;
use crate::connection::{Connection, Input};
use crate::control::{Caller, Handler};
use crate::fault;
use crate::profile::catalogue::is_name;
use crate::profile::document;
use crate::profile::{ProfileError, Tunnel};
use crate::service::tunnel::secrets::Kind;
use postern_api::PlainText;
use postern_api::event::{Event, Notice};
use postern_api::fault::{Fault, FaultName};
use postern_api::method::{
    Connect, Explain, Explanation, HiddenDocument, InvalidTunnel, Method, Policy, PromptAnswer, Repaired, Role,
    ScanExport, ScanForm, TunnelAdd, TunnelDocument, TunnelName,
};
use postern_api::state::Origin;
use posture::ems::protocol::DocumentKind;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::time::Duration;
use tokio::sync::{broadcast, oneshot};

/// Hands calls to the hub.
#[derive(Clone)]
pub struct ToHub(pub Inbox);

impl Handler for ToHub {
    async fn call(&self, caller: Caller, method: Method, parameters: Value) -> Result<Value, Fault> {
        let (reply, answer) = oneshot::channel();
        let _ = self.0.send(Message::Call { caller, method, parameters, reply });
        answer.await.unwrap_or_else(|_| {
            Err(Fault::new(FaultName::ServiceUnavailable, "", "the service is stopping", "start it again"))
        })
    }

    async fn subscribe(&self) -> (Event, broadcast::Receiver<Event>) {
        let (reply, answer) = oneshot::channel();
        let _ = self.0.send(Message::Subscribe(reply));
        match answer.await {
            Ok(subscription) => subscription,
            Err(_) => (Event::PromptEnded { id: 0 }, broadcast::channel(1).1),
        }
    }
}

fn read<T: DeserializeOwned>(parameters: Value) -> Result<T, Fault> {
    serde_json::from_value(parameters)
        .map_err(|error| Fault::new(FaultName::UsageInvalid, "parameters", error.to_string(), ""))
}

pub(in crate::service) fn written(value: &impl Serialize) -> Result<Value, Fault> {
    serde_json::to_value(value).map_err(unserialisable)
}

/// Makes the fault of an answer that cannot be JSON.
pub(in crate::service) fn unserialisable(error: serde_json::Error) -> Fault {
    Fault::new(FaultName::Internal, "", error.to_string(), "")
}

impl Hub {
    /// Answers a call, now or later.
    pub(in crate::service) fn call(&mut self, caller: Caller, method: Method, parameters: Value, reply: Reply) {
        let now = self.now_unix();
        let answer = match method {
            Method::Hello | Method::Subscribe => Ok(Value::Null),
            Method::Status => written(&self.status()),
            Method::TunnelList => written(&self.status().tunnels),
            Method::TunnelInvalid => written(&self.invalid_tunnels()),
            Method::TunnelShow => read(parameters).and_then(|name| self.show(&caller, &name)),
            Method::TunnelAdd => read(parameters).and_then(|request| self.add(&caller, &request)),
            Method::TunnelRemove => read(parameters).and_then(|name| self.remove(&caller, &name)),
            Method::PromptAnswer => read(parameters).and_then(|PromptAnswer { id, answer }| {
                self.person_answered(caller.uid, caller.role, id, answer).map(|()| Value::Null)
            }),
            Method::PostureTags => written(&self.view.report(&self.entries(), now)),
            Method::PostureFacts => written(&self.view.fact_lines(now)),
            Method::PostureReport => match self.view.for_ems() {
                Some(facts) => written(&facts),
                None => Err(Fault::new(FaultName::TagsUnknown, "facts", "are not gathered yet", "try again")),
            },
            Method::PostureExplain => read(parameters).and_then(|Explain { subject }| {
                let lines = self.view.explain(&subject, &self.entries(), now);
                let lines = lines.ok_or_else(|| {
                    let next = "postern posture tags, or postern tunnel list";
                    Fault::new(FaultName::TunnelUnknown, subject.as_str(), "is neither a tag nor a tunnel here", next)
                })?;
                written(&Explanation { lines })
            }),
            Method::Notices => {
                let own = |notice: &&Notice| {
                    caller.role == Role::Administrator || notice.uid.is_none() || notice.uid == caller.uid
                };
                written(&self.notices.iter().filter(own).collect::<Vec<_>>())
            }
            Method::Health => written(&self.health()),
            Method::Policy => written(&self.policy()),
            Method::Connect => match read(parameters) {
                Ok(request) => return self.connect(caller, request, reply),
                Err(fault) => Err(fault),
            },
            Method::Disconnect | Method::Dismiss => return self.take_down(caller, method, parameters, reply),
            Method::Scan => return self.start_scan(Some(reply)),
            Method::ScanExport => read(parameters).and_then(|request| self.export_scan(request)),
            Method::Enroll => match read(parameters) {
                Ok(request) => return self.enroll(&request, reply),
                Err(fault) => Err(fault),
            },
            Method::Release => read(parameters).and_then(|code| self.release(code)).map(|()| Value::Null),
            Method::BreakGlass => {
                read(parameters).and_then(|code| self.use_break_glass(code)).and_then(|used| written(&used))
            }
            Method::Unenroll => return self.unenroll(reply),
            Method::Repair => return self.repair(reply),
        };
        let _ = reply.send(answer);
    }

    fn invalid_tunnels(&self) -> Vec<InvalidTunnel> {
        let told = |(name, error): (&str, &ProfileError)| InvalidTunnel {
            tunnel: name.into(),
            file: error.file.display().to_string().into(),
            line: error.line,
            element: error.element.as_str().into(),
            problem: error.problem.as_str().into(),
            expected: error.expected.as_str().into(),
        };
        self.catalogue.all_broken().map(told).collect()
    }

    fn export_scan(&self, request: ScanExport) -> Result<Value, Fault> {
        let Some(Ok(result)) = &self.view.scan else {
            return Err(Fault::new(FaultName::TagsUnknown, "scan", "has given no result yet", "postern scan"));
        };
        Ok(match request.form {
            ScanForm::Sarif => posture::vulnerability::export::sarif(result),
            ScanForm::Cyclonedx => posture::vulnerability::export::cyclonedx(result),
        })
    }

    fn connect(&mut self, caller: Caller, request: Connect, reply: Reply) {
        let refuse = |reply: Reply, fault| drop(reply.send(Err(fault)));
        if let Some(problem) = self.policy_problem() {
            return refuse(reply, fault::about(&request.tunnel, problem));
        }
        // A file that was written a moment ago is not to be missed.
        self.take_local();
        let Some(entry) = self.catalogue.find(&request.tunnel) else {
            let fault = match self.catalogue.broken(&request.tunnel) {
                Some(error) => invalid(error),
                None => unknown_tunnel(&request.tunnel),
            };
            return refuse(reply, fault);
        };
        if let Err(fault) = check_owner(&caller, &request.tunnel, &entry) {
            return refuse(reply, fault);
        }
        if let Err(fault) = self.may_begin(&request.tunnel) {
            return refuse(reply, fault);
        }
        if request.disclose_keys
            && let Err(fault) = self.may_read_keys(&caller, &request.tunnel)
        {
            return refuse(reply, fault);
        }
        // Another's tunnel that is up, or on its way, is joined; where it waits, comes down or left a
        // block, it is not taken from its user.
        let joinable =
            matches!(self.connections.get(&request.tunnel), Some(Connection::Connected(_) | Connection::Connecting(_)));
        if !joinable && !self.may_end(&caller, &request.tunnel) {
            return refuse(reply, self.anothers(&request.tunnel));
        }
        let owner = Self::owner(caller.uid, &entry);
        let name = request.tunnel;
        let key_reader = request.disclose_keys.then(|| caller.events.clone());
        let listener = request.trace.then(|| caller.events.clone());
        let waiter =
            Waiter { reply, caller, interactive: request.interactive, supplied: request.supplied, for_up: true };
        match self.connections.get(&name) {
            // Already up is a success; under way is joined.
            Some(Connection::Connected(_) | Connection::Connecting(_)) => {
                self.ask_latecomer(&name, &waiter);
                self.waiters.entry(name).or_default().push(waiter);
            }
            _ => {
                match listener {
                    Some(listener) => drop(self.listeners.insert(name.clone(), listener)),
                    None => drop(self.listeners.remove(&name)),
                }
                match key_reader {
                    Some(reader) => drop(self.key_readers.insert(name.clone(), reader)),
                    None => drop(self.key_readers.remove(&name)),
                }
                let limit = request.timeout_seconds.map(Duration::from_secs);
                self.queue_connection(name, owner, waiter, limit);
            }
        }
    }

    /// Settles whether this caller may have the keys of a tunnel: root alone, who could take them out
    /// of the process's memory anyway, and only for a tunnel that it brings up itself.
    fn may_read_keys(&self, caller: &Caller, tunnel: &str) -> Result<(), Fault> {
        if caller.uid != Some(0) {
            tracing::warn!(tunnel, uid = ?caller.uid, "the keys were asked for, and refused");
            let detail = "are given to nobody but root";
            return Err(Fault::new(FaultName::NotPermitted, "the keys", detail, "run it as root"));
        }
        if let Some(Connection::Connected(_) | Connection::Connecting(_)) = self.connections.get(tunnel) {
            let detail = "is on its way or up already: its keys are told only to whoever brings it up";
            return Err(Fault::new(FaultName::UsageInvalid, tunnel, detail, format!("postern disconnect {tunnel}")));
        }
        tracing::warn!(tunnel, "root reads the keys of this tunnel: nothing that it carries is secret from the reader");
        Ok(())
    }

    /// Returns why EMS's policy cannot be known. Without it a local tunnel to a managed gateway would
    /// pass for one that nobody manages.
    pub(in crate::service) fn policy_problem(&self) -> Option<Fault> {
        let unknown = |ems: &&EmsView| ems.knowledge.profile.is_none() && !ems.decreed.deregistered;
        let out_of_reach = || {
            let ems = self.view.ems.as_ref().filter(unknown)?;
            let refusal = ems.knowledge.refusals.iter().find(|(kind, _)| *kind == DocumentKind::Profile);
            if let Some((_, refusal)) = refusal {
                let detail = format!("refused: the profile of {} is not believed: {refusal}", ems.name);
                return Some(Fault::new(
                    FaultName::TagsUnknown,
                    "",
                    detail,
                    "set the machine's clock; ask EMS's administrator",
                ));
            }
            if ems.telemetry.is_up() {
                return None;
            }
            let detail = format!("refused: the profile of {} is not known, and EMS is out of reach", ems.name);
            Some(Fault::new(FaultName::TagsUnknown, "", detail, "bring EMS within reach"))
        };
        self.examination.enrolment_problem.clone().or_else(out_of_reach)
    }

    fn take_down(&mut self, caller: Caller, method: Method, parameters: Value, reply: Reply) {
        let names = match parameters {
            Value::Null => self.connections.keys().cloned().collect(),
            named => match read::<TunnelName>(named) {
                Ok(TunnelName { tunnel })
                    if self.catalogue.find(&tunnel).is_some() || self.connections.contains_key(&tunnel) =>
                {
                    vec![tunnel]
                }
                Ok(TunnelName { tunnel }) => return drop(reply.send(Err(unknown_tunnel(&tunnel)))),
                Err(fault) => return drop(reply.send(Err(fault))),
            },
        };
        // Asked for all, one takes what is his; asked for another's by name, he is told whose it is.
        let (names, others): (Vec<String>, Vec<String>) =
            names.into_iter().partition(|name| self.may_end(&caller, name));
        if let (true, Some(name)) = (names.is_empty(), others.first()) {
            return drop(reply.send(Err(self.anothers(name))));
        }
        let last = names.last().cloned();
        for name in &names {
            let input = if method == Method::Dismiss { Input::Dismiss } else { Input::Disconnect(None) };
            self.feed(name, input);
        }
        // One engine means that at most one tunnel takes time to rest.
        let slow = names.into_iter().find(|name| self.connections.get(name).is_some_and(|state| !state.rests()));
        match (slow, last) {
            (Some(name), _) if method == Method::Disconnect => {
                let waiter = Waiter { reply, caller, interactive: false, supplied: Vec::new(), for_up: false };
                self.waiters.entry(name).or_default().push(waiter);
            }
            // The keeper works in order: when this job is done, so is what went before.
            (_, Some(_)) => self.when_settled(reply),
            _ => drop(reply.send(Ok(Value::Null))),
        }
    }

    /// A tunnel, and the block after it, belong to the user for whom the tunnel was made, unless the
    /// profile shares it.
    pub(in crate::service) fn may_end(&self, caller: &Caller, name: &str) -> bool {
        let idle = self.connections.get(name).is_none_or(|state| matches!(state, Connection::Disconnected { .. }));
        let shared = self.catalogue.find(name).is_some_and(|entry| entry.tunnel.shared);
        let owner = self.owners.get(name).copied().flatten();
        caller.role == Role::Administrator || idle || shared || owner.is_none() || owner == caller.uid
    }

    fn anothers(&self, name: &str) -> Fault {
        let owner = self.owners.get(name).copied().flatten().map_or_else(String::new, |uid| format!(" (user {uid})"));
        let next = "ask that user, or an administrator; `shared = true` in the profile lets every member of the group";
        Fault::new(FaultName::NotPermitted, name, format!("was connected by somebody else{owner}"), next)
    }

    fn when_settled(&self, reply: Reply) {
        let (done, outcome) = oneshot::channel();
        let _ = self.jobs.send(crate::service::network::keeper::Job::Check(done));
        tokio::spawn(async move {
            let _ = outcome.await;
            let _ = reply.send(Ok(Value::Null));
        });
    }

    fn show(&self, caller: &Caller, TunnelName { tunnel }: &TunnelName) -> Result<Value, Fault> {
        let entry = self.catalogue.find(tunnel).ok_or_else(|| match self.catalogue.broken(tunnel) {
            Some(error) => invalid(error),
            None => unknown_tunnel(tunnel),
        })?;
        check_owner(caller, tunnel, &entry)?;
        let as_written = |owner: Option<u32>| {
            let file = owner.map_or_else(|| self.paths.tunnel(tunnel), |uid| self.paths.own_tunnel(uid, tunnel));
            (document::read(&file), Some(file.display().to_string()))
        };
        let (toml, file) = match entry.origin {
            Origin::Local | Origin::User => {
                let (toml, file) = as_written(entry.owner);
                (toml.map_err(|error| invalid(&error))?, file)
            }
            Origin::Managed => {
                let toml = entry.tunnel.to_toml();
                (toml.map_err(|error| Fault::new(FaultName::Internal, "", error.to_string(), ""))?, None)
            }
        };
        let mut hides = Vec::new();
        for (origin, owner) in self.catalogue.hidden(tunnel) {
            let others = caller.role != Role::Administrator && owner.is_some_and(|owner| caller.uid != Some(owner));
            if let ((Ok(toml), file), false) = (as_written(owner), others) {
                hides.push(HiddenDocument { origin, toml, file });
            }
        }
        written(&TunnelDocument { origin: entry.origin, toml, file, hides })
    }

    /// Says what EMS's profile says of the service as a whole.
    fn policy(&self) -> Policy {
        let profile = self.view.ems.as_ref().and_then(|ems| ems.knowledge.profile.as_ref());
        profile.map_or_else(Policy::default, |profile| {
            let profile = profile.content();
            Policy {
                profile: Some(profile.name.as_str().into()),
                compliance_interval_seconds: Some(profile.compliance_interval_seconds),
                own_tunnels_allowed: Some(profile.own_tunnels_allowed),
                unenrol_allowed: Some(profile.unenrol_allowed),
            }
        })
    }

    fn add(&mut self, caller: &Caller, request: &TunnelAdd) -> Result<Value, Fault> {
        let name = &request.tunnel;
        if !is_name(name) {
            let expected = "use letters, digits, `-`, `_`, `.` and spaces, the first a letter or a digit";
            return Err(Fault::new(FaultName::UsageInvalid, name.as_str(), "cannot name a tunnel", expected));
        }
        let exists = self.catalogue.find(name);
        if exists.as_ref().is_some_and(|entry| entry.origin == Origin::Managed) {
            return Err(Fault::new(FaultName::NotPermitted, name.as_str(), "is managed by EMS", "choose another name"));
        }
        let own = match (caller.role, caller.uid) {
            (Role::Administrator, _) => None,
            (_, Some(uid)) => {
                self.check_own(uid, name, exists.as_ref(), &request.toml)?;
                Some(uid)
            }
            (_, None) => return Err(Fault::new(FaultName::NotPermitted, name.as_str(), "is of no known user", "")),
        };
        if (exists.is_some() || self.catalogue.broken(name).is_some()) && !request.replace {
            return Err(Fault::new(FaultName::UsageInvalid, name.as_str(), "exists already", "add --replace"));
        }
        let file = own.map_or_else(|| self.paths.tunnel(name), |uid| self.paths.own_tunnel(uid, name));
        document::parse::<Tunnel>(&file, &request.toml).map_err(|error| invalid(&error))?;
        // What was kept for a tunnel of this name that is no more is not shown to the gateway of the new one.
        if exists.as_ref().is_none_or(|entry| entry.owner != own) {
            self.secrets.forget(own, name);
        }
        self.write_tunnel(&file, &request.toml).map_err(|error| unwritable(&file, &error))?;
        let given = [
            (Kind::PreSharedKey, &request.pre_shared_key),
            (Kind::Password, &request.password),
            (Kind::PrivateKey, &request.private_key),
        ];
        for (kind, secret) in given {
            if let Some(secret) = secret {
                let kept = self.secrets.write(own, name, kind, secret);
                kept.map_err(|error| unwritable(&self.paths.secrets(), &error))?;
            }
        }
        self.take_local();
        Ok(Value::Null)
    }

    fn write_tunnel(&self, file: &Path, toml: &str) -> std::io::Result<()> {
        let directory = file.parent().unwrap_or(&self.paths.configuration);
        std::fs::create_dir_all(directory)?;
        let mut temporary = tempfile::NamedTempFile::new_in(directory)?;
        temporary.write_all(toml.as_bytes())?;
        temporary.as_file().sync_all()?;
        temporary.persist(file)?;
        Ok(())
    }

    fn remove(&mut self, caller: &Caller, TunnelName { tunnel }: &TunnelName) -> Result<Value, Fault> {
        let entry = self.catalogue.find(tunnel);
        let owner = entry.as_ref().and_then(|entry| entry.owner);
        let own = caller.uid.is_some() && owner == caller.uid;
        if caller.role != Role::Administrator && !own && (entry.is_some() || self.catalogue.broken(tunnel).is_some()) {
            let detail = "is not yours to remove";
            return Err(Fault::new(FaultName::NotPermitted, tunnel.as_str(), detail, "run it as root"));
        }
        match entry {
            Some(entry) if entry.origin == Origin::Managed => {
                return Err(Fault::new(FaultName::NotPermitted, tunnel.as_str(), "is managed by EMS", ""));
            }
            None if self.catalogue.broken(tunnel).is_none() => return Err(unknown_tunnel(tunnel)),
            _ => {}
        }
        if self.connections.get(tunnel).is_some_and(|connection| !connection.rests()) {
            let next = format!("postern disconnect {tunnel}");
            return Err(Fault::new(FaultName::UsageInvalid, tunnel.as_str(), "is in use", next));
        }
        if self.connections.get(tunnel).is_some_and(|connection| connection.block().is_some()) {
            let (detail, next) = ("what it protected is blocked", format!("postern disconnect --dismiss {tunnel}"));
            return Err(Fault::new(FaultName::UsageInvalid, tunnel.as_str(), detail, next));
        }
        let file = owner.map_or_else(|| self.paths.tunnel(tunnel), |uid| self.paths.own_tunnel(uid, tunnel));
        std::fs::remove_file(&file).map_err(|error| unwritable(&file, &error))?;
        self.secrets.forget(owner, tunnel);
        self.connections.remove(tunnel);
        self.take_local();
        Ok(Value::Null)
    }

    fn repair(&mut self, reply: Reply) {
        if let Some(active) = &self.active {
            let next = format!("postern disconnect {active}");
            let fault = Fault::new(FaultName::UsageInvalid, active.as_str(), "is in use: nothing is left behind", next);
            return drop(reply.send(Err(fault)));
        }
        let blocked: Vec<String> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.block().is_some())
            .map(|(name, _)| name.clone())
            .collect();
        for name in blocked {
            self.feed(&name, Input::Dismiss);
        }
        let (done, outcome) = oneshot::channel();
        let _ = self.jobs.send(crate::service::network::keeper::Job::Nothing(done));
        tokio::spawn(async move {
            let outcome = outcome.await.unwrap_or_else(|_| Ok(Vec::new()));
            let answer = outcome
                .and_then(|undone| written(&Repaired { undone: undone.into_iter().map(PlainText::from).collect() }));
            let _ = reply.send(answer);
        });
    }
}

fn invalid(error: &ProfileError) -> Fault {
    Fault::new(FaultName::ProfileInvalid, "", error.to_string(), "mend it, then postern profile validate")
}

fn unwritable(path: &Path, error: &std::io::Error) -> Fault {
    let detail = format!("cannot be written: {error}");
    Fault::new(FaultName::StateUnwritable, path.display().to_string(), detail, "make the directory writable")
}
