//! The hub with its keeper and journal against a network process that only pretends.

use super::*;
use crate::ipc::{self, FromNet, Outcome, Reader, ToNet, Verb};
use crate::network::step::{Before, Step};
use crate::network::system::Undone;
use crate::platform::Capabilities;
use crate::service::ems::dial::EmsDial;
use crate::service::network::keeper::Keeper;
use crate::service::network::link as net_link;
use crate::service::posture::judge::Examination;
use crate::service::posture::watching::Watched;
use ike_client::session::{CloseCause, CloseReason, Request};
use ike_client::tunnel::control::{Carrier, EndCause, EstablishedTunnel, Event as EngineEvent};
use postern_api::method::{Connect, PromptAnswer, Role, TunnelAdd, TunnelDocument, TunnelName};
use postern_api::prompt::PromptKind;
use postern_api::state::{ConnectionState, Status, TunnelStatus};
use posture::collect::{Collector, Settings as CollectorSettings};
use serde::Serialize;
use std::fs;
use std::sync::{Arc, Mutex};
use tokio::io::DuplexStream;

const LIMIT: Duration = Duration::from_secs(20);

/// What the pretended process was told, in order.
#[derive(Clone, Debug, PartialEq)]
enum Heard {
    Start,
    Revoked,
    Stop(CloseReason),
    Applied(Step),
    Undone(Step),
    Answer(Answer),
}

type Log = Arc<Mutex<Vec<Heard>>>;

/// Stands in for NET: every change succeeds, every tunnel comes up, `question` is asked first.
async fn pretend(stream: DuplexStream, log: Log, question: Option<Request>) {
    let (read, mut write) = tokio::io::split(stream);
    let mut reader = Reader::new(read);
    let capabilities =
        Capabilities { change_network: true, firewall: false, strict_reverse_path: false, reasons: vec![] };
    ipc::write(&mut write, &FromNet::Ready { capabilities, confinement: Default::default(), shares_lease: false })
        .await
        .unwrap();
    while let Ok(Some(message)) = reader.next::<ToNet>().await {
        let note = |heard| log.lock().unwrap().push(heard);
        let mut told = Vec::new();
        match message {
            ToNet::System { id, verb } => {
                let outcome = match verb {
                    Verb::Look { steps } => Outcome::Looked(vec![Before::Absent; steps.len()]),
                    Verb::Apply { steps } => {
                        steps.into_iter().for_each(|(step, _)| note(Heard::Applied(step)));
                        Outcome::Applied
                    }
                    Verb::Restore { steps } => Outcome::Restored(vec![Ok(false); steps.len()]),
                    Verb::Undo { step, .. } => {
                        note(Heard::Undone(step));
                        Outcome::Undone(Undone::Removed)
                    }
                };
                ipc::write(&mut write, &FromNet::System { id, outcome }).await.unwrap();
            }
            ToNet::LookedUp { .. } => {}
            ToNet::Engine { command } => match *command {
                Command::Start { .. } => {
                    note(Heard::Start);
                    told.push(match question.clone() {
                        Some(request) => EngineEvent::Request { id: RequestId(1), request, within: LIMIT },
                        None => EngineEvent::Established { tunnel: established() },
                    });
                }
                Command::Answer { answer, .. } => {
                    note(Heard::Answer(answer.clone()));
                    told.push(match answer {
                        Answer::Refused { because } => ended(CloseCause::InputRefused { because }),
                        _ => EngineEvent::Established { tunnel: established() },
                    });
                }
                Command::RevokeLease => note(Heard::Revoked),
                Command::Stop { reason } => {
                    note(Heard::Stop(reason));
                    told.push(EngineEvent::DataStopped { at: clock::now() });
                    told.push(ended(CloseCause::Requested { reason }));
                }
                _ => {}
            },
        }
        for event in told {
            ipc::write(&mut write, &FromNet::Engine { event: Box::new(event) }).await.unwrap();
        }
    }
}

fn ended(cause: CloseCause) -> EngineEvent {
    EngineEvent::Ended { cause: EndCause::Session { cause } }
}

fn established() -> Box<EstablishedTunnel> {
    Box::new(EstablishedTunnel {
        other_gateways: Vec::new(),
        gateway: "192.0.2.1:4500".parse().unwrap(),
        local: "192.0.2.9:4500".parse().unwrap(),
        carrier: Carrier::Udp,
        behind_nat: false,
        gateway_identity: "g".into(),
        addresses: vec!["10.8.0.2/32".parse().unwrap()],
        dns: vec![],
        domains: vec![],
        remote_selectors: vec![],
        networks: vec!["10.0.0.0/8".parse().unwrap()],
        mtu: 1400,
        device: "postern0".into(),
        device_index: 7,
        protection: ike_client::tunnel::control::Protection::Esp {
            ike_suite: "aes256gcm16-prfsha384-ecp384".parse().unwrap(),
            esp_suite: "aes256gcm16".parse().unwrap(),
        },
        warnings: vec![],
    })
}

/// Nobody watches: the tests say themselves what changed.
fn unwatched() -> Watched {
    Watched { files: mpsc::unbounded_channel().0, programs: mpsc::unbounded_channel().0 }
}

struct Bench {
    directory: tempfile::TempDir,
    inbox: Inbox,
    log: Log,
    events: mpsc::Receiver<Event>,
    caller: Caller,
    look_ups: LookUps,
}

/// Starts a hub with one tunnel, `work`, that prohibits the tag of the file `/marked`.
fn bench(tunnel: &str, question: Option<Request>) -> Bench {
    bench_in(tempfile::tempdir().unwrap(), tunnel, question)
}

fn bench_in(directory: tempfile::TempDir, tunnel: &str, question: Option<Request>) -> Bench {
    let place = |name: &str| Some(directory.path().join(name));
    let paths = Paths::settle(place("etc"), place("state"), place("run"));
    fs::create_dir_all(paths.tunnels()).unwrap();
    fs::create_dir_all(&paths.state).unwrap();
    fs::create_dir_all(directory.path().join("root")).unwrap();
    let family = posture::facts::OsFamily::of_this_build();
    let text = format!(
        "gateway = \"192.0.2.1\"\n{tunnel}\n[tags]\nsource = \"local\"\nprohibited = [\"Marked\"]\n\
         warning = \"call 4711\"\n[[tags.rules]]\nname = \"m\"\ntag = \"Marked\"\n[tags.rules.systems.{family}]\n\
         rules = [{{ id = 1, type = \"file\", path = \"/marked\" }}]\n"
    );
    fs::write(paths.tunnel("work"), text).unwrap();
    let (inbox, messages) = mpsc::unbounded_channel();
    let (told, mut telling) = mpsc::unbounded_channel();
    let (net, mut net_task) = net_link::link(told);
    let (near, far) = tokio::io::duplex(1 << 16);
    let log = Log::default();
    tokio::spawn(pretend(far, Arc::clone(&log), question));
    tokio::spawn(async move {
        let (read, write) = tokio::io::split(near);
        net_task.converse(read, write).await
    });
    let to_hub = inbox.clone();
    tokio::spawn(async move {
        while let Some(told) = telling.recv().await {
            let _ = to_hub.send(Message::Net(told));
        }
    });
    let (jobs, jobs_in) = mpsc::unbounded_channel();
    tokio::spawn(Keeper::new(paths.state.clone(), net.clone()).run(jobs_in));
    let watched = unwatched();
    let collector = Collector::new(directory.path().join("root"), CollectorSettings::default());
    let examination = Examination::new(collector, EmsDial::default(), watched);
    let settings = crate::profile::settings::load(&paths).unwrap();
    let hub = Hub::new(Parts {
        paths,
        settings,
        inbox: inbox.clone(),
        net,
        jobs,
        examination,
        credentials: None,
        settled: oneshot::channel().0,
    });
    let look_ups = hub.look_ups.clone();
    tokio::spawn(hub.run(messages));
    let (events_in, events) = mpsc::channel(64);
    let caller = Caller { uid: Some(1000), role: Role::Administrator, events: events_in };
    Bench { directory, inbox, log, events, caller, look_ups }
}

impl Bench {
    fn begin(&self, method: Method, parameters: impl Serialize) -> oneshot::Receiver<Result<Value, Fault>> {
        let (reply, answer) = oneshot::channel();
        let parameters = serde_json::to_value(parameters).unwrap();
        let _ = self.inbox.send(Message::Call { caller: self.caller.clone(), method, parameters, reply });
        answer
    }

    async fn call(&self, method: Method, parameters: impl Serialize) -> Result<Value, Fault> {
        tokio::time::timeout(LIMIT, self.begin(method, parameters)).await.unwrap().unwrap()
    }

    async fn connect(&self) -> Result<TunnelStatus, Fault> {
        self.call(Method::Connect, asked(true)).await.map(|status| serde_json::from_value(status).unwrap())
    }

    async fn status(&self) -> TunnelStatus {
        let all: Vec<TunnelStatus> =
            serde_json::from_value(self.call(Method::TunnelList, Value::Null).await.unwrap()).unwrap();
        all.into_iter().next().unwrap()
    }

    async fn until(&self, state: ConnectionState) -> TunnelStatus {
        for _ in 0..400 {
            let status = self.status().await;
            if status.state == state {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("never {state}: {:?}", self.status().await);
    }

    fn mark(&self) {
        fs::write(self.directory.path().join("root/marked"), "").unwrap();
        let _ = self.inbox.send(Message::FilesChanged);
    }

    fn heard(&self) -> Vec<Heard> {
        self.log.lock().unwrap().clone()
    }
}

fn asked(interactive: bool) -> Connect {
    Connect {
        tunnel: "work".into(),
        interactive,
        trace: false,
        disclose_keys: false,
        timeout_seconds: None,
        supplied: Vec::new(),
    }
}

const PSK: &str = "[auth]\nkind = \"psk\"";

#[tokio::test]
async fn a_tunnel_comes_up_and_goes_down_and_leaves_nothing() {
    let bench = bench(PSK, None);
    assert_eq!(bench.connect().await.unwrap().state, ConnectionState::Connected);
    assert_eq!(bench.connect().await.unwrap().state, ConnectionState::Connected, "already up is a success");
    bench.call(Method::Disconnect, TunnelName { tunnel: "work".into() }).await.unwrap();
    assert_eq!(bench.status().await.state, ConnectionState::Disconnected);
    let heard = bench.heard();
    let steps = |wanted: fn(&Heard) -> Option<&Step>| heard.iter().filter_map(wanted).count();
    let applied = steps(|heard| if let Heard::Applied(step) = heard { Some(step) } else { None });
    let undone = steps(|heard| if let Heard::Undone(step) = heard { Some(step) } else { None });
    assert!(applied > 0 && applied == undone, "{heard:?}");
}

#[tokio::test]
async fn the_keys_are_for_root_alone_and_only_from_the_beginning() {
    let mut bench = bench(PSK, None);
    let with_keys = || Connect { disclose_keys: true, ..asked(false) };
    for (uid, role) in [(1000, Role::User), (1000, Role::Administrator)] {
        bench.caller = Caller { uid: Some(uid), role, ..bench.caller.clone() };
        let fault = bench.call(Method::Connect, with_keys()).await.unwrap_err();
        assert_eq!(fault.name, FaultName::NotPermitted, "{fault}");
    }
    assert_eq!(bench.heard(), []);
    bench.caller = Caller { uid: Some(0), role: Role::Administrator, ..bench.caller.clone() };
    bench.connect().await.unwrap();
    let fault = bench.call(Method::Connect, with_keys()).await.unwrap_err();
    assert_eq!(fault.name, FaultName::UsageInvalid, "{fault}");
    bench.call(Method::Disconnect, TunnelName { tunnel: "work".into() }).await.unwrap();
    bench.call(Method::Connect, with_keys()).await.unwrap();
}

#[tokio::test]
async fn a_refused_pre_check_tells_the_network_process_nothing() {
    let bench = bench(PSK, None);
    bench.mark();
    let fault = bench.connect().await.unwrap_err();
    assert_eq!((fault.exit_code(), fault.warning), (3, Some("call 4711".into())));
    assert_eq!(bench.heard(), []);
    let notices = bench.call(Method::Notices, Value::Null).await.unwrap();
    assert_eq!(notices.as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn lost_posture_shuts_then_says_farewell_then_undoes_and_keeps_the_block() {
    let bench = bench(PSK, None);
    bench.connect().await.unwrap();
    let before = bench.heard().len();
    bench.mark();
    let status = bench.until(ConnectionState::Blocked).await;
    assert_eq!(status.last_fault.unwrap().name, FaultName::ComplianceLost);
    let after = bench.heard().split_off(before);
    assert_eq!(after[..2], [Heard::Revoked, Heard::Stop(CloseReason::Compliance)], "{after:?}");
    assert!(after[2..].iter().all(|heard| matches!(heard, Heard::Undone(_))), "{after:?}");
    let kept = bench.heard().iter().filter(|heard| matches!(heard, Heard::Applied(_))).count() - (after.len() - 2);
    assert!(kept > 0, "the block stands");
    bench.call(Method::Dismiss, TunnelName { tunnel: "work".into() }).await.unwrap();
    assert_eq!(bench.status().await.state, ConnectionState::Disconnected);
    let undone = bench.heard().iter().filter(|heard| matches!(heard, Heard::Undone(_))).count();
    assert_eq!(undone, after.len() - 2 + kept, "and falls when it is dismissed");
}

#[tokio::test]
async fn a_block_does_not_go_with_its_tunnel_s_file() {
    let bench = bench(PSK, None);
    bench.connect().await.unwrap();
    bench.mark();
    bench.until(ConnectionState::Blocked).await;
    let work = || TunnelName { tunnel: "work".into() };
    let refused = bench.call(Method::TunnelRemove, work()).await.unwrap_err();
    assert!(refused.to_string().contains("blocked"), "{refused}");
    fs::remove_file(bench.directory.path().join("etc/tunnels.d/work.toml")).unwrap();
    let _ = bench.inbox.send(Message::FilesChanged);
    let status: Status = serde_json::from_value(bench.call(Method::Status, Value::Null).await.unwrap()).unwrap();
    assert!(status.tunnels.iter().any(|tunnel| tunnel.blocked), "who is cut off sees why: {status:?}");
    bench.call(Method::Dismiss, work()).await.unwrap();
    let count = |wanted: fn(&Heard) -> bool| bench.heard().iter().filter(|heard| wanted(heard)).count();
    let (applied, undone) =
        (count(|heard| matches!(heard, Heard::Applied(_))), count(|heard| matches!(heard, Heard::Undone(_))));
    assert_eq!(applied, undone, "nothing is left of it");
}

#[tokio::test]
async fn of_two_tunnels_asked_for_at_once_one_is_told_to_wait() {
    let bench = bench(PSK, None);
    let tunnels = bench.directory.path().join("etc/tunnels.d");
    fs::copy(tunnels.join("work.toml"), tunnels.join("other.toml")).unwrap();
    let first = bench.begin(Method::Connect, asked(true));
    let second = bench.begin(Method::Connect, Connect { tunnel: "other".into(), ..asked(true) });
    let first = tokio::time::timeout(LIMIT, first).await.unwrap().unwrap();
    let second = tokio::time::timeout(LIMIT, second).await.unwrap().unwrap();
    assert!(first.is_ok(), "{first:?}");
    assert!(second.unwrap_err().to_string().contains("one tunnel at a time"));
    assert_eq!(bench.heard().iter().filter(|heard| **heard == Heard::Start).count(), 1);
    assert!(!bench.heard().iter().any(|heard| matches!(heard, Heard::Undone(_))), "nothing was taken from under it");
}

#[tokio::test]
async fn a_tunnel_and_its_block_are_its_user_s_to_end_or_an_administrator_s() {
    let whole = Value::Null;
    let named = || TunnelName { tunnel: "work".into() };
    let mut bench = bench(PSK, None);
    let by = |bench: &mut Bench, uid, role| bench.caller = Caller { uid: Some(uid), role, ..bench.caller.clone() };
    by(&mut bench, 1000, Role::User);
    bench.connect().await.unwrap();
    by(&mut bench, 1001, Role::User);
    let fault = bench.call(Method::Disconnect, named()).await.unwrap_err();
    assert_eq!((fault.name, fault.exit_code()), (FaultName::NotPermitted, 11), "{fault}");
    assert_eq!(bench.call(Method::Disconnect, whole).await.unwrap_err().name, FaultName::NotPermitted);
    assert_eq!(bench.status().await.state, ConnectionState::Connected);
    // So it is with the block, also when a later life of the service finds it.
    bench.mark();
    bench.until(ConnectionState::Blocked).await;
    assert_eq!(bench.call(Method::Dismiss, named()).await.unwrap_err().name, FaultName::NotPermitted);
    let note = crate::service::hub::block_note::read(&bench.directory.path().join("state")).unwrap();
    assert_eq!((note.tunnel.as_str(), note.owner), ("work", Some(1000)));
    by(&mut bench, 1000, Role::User);
    bench.call(Method::Dismiss, named()).await.unwrap();
    assert_eq!(bench.status().await.state, ConnectionState::Disconnected);
    by(&mut bench, 1001, Role::User);
    bench.call(Method::Disconnect, named()).await.unwrap();
    bench.call(Method::Disconnect, Value::Null).await.unwrap();
}

#[tokio::test]
async fn a_shared_tunnel_is_everybody_s_to_end() {
    let mut bench = bench(&format!("shared = true\n{PSK}"), None);
    bench.connect().await.unwrap();
    bench.caller = Caller { uid: Some(1001), role: Role::User, ..bench.caller.clone() };
    bench.call(Method::Disconnect, TunnelName { tunnel: "work".into() }).await.unwrap();
    assert_eq!(bench.status().await.state, ConnectionState::Disconnected);
}

#[tokio::test]
async fn without_a_journal_nothing_is_begun() {
    let bench = bench(PSK, None);
    fs::remove_dir_all(bench.directory.path().join("state")).unwrap();
    fs::write(bench.directory.path().join("state"), "in the way").unwrap();
    let fault = bench.connect().await.unwrap_err();
    assert_eq!(fault.name, FaultName::StateUnwritable);
    assert_eq!(bench.heard(), []);
}

fn password() -> Option<Request> {
    Some(Request::EapPassword { identity: "alice".into(), prompt: String::new(), again: false })
}

#[tokio::test]
async fn a_question_goes_to_whoever_asked_and_the_answer_to_the_engine() {
    let mut bench = bench("", password());
    let connecting = bench.begin(Method::Connect, asked(true));
    let Some(Event::Prompt { prompt }) = tokio::time::timeout(LIMIT, bench.events.recv()).await.unwrap() else {
        panic!("another event");
    };
    assert_eq!(bench.status().await.state, ConnectionState::NeedsInput);
    let answer = PromptAnswer { id: prompt.id, answer: Some("hunter2".into()) };
    bench.call(Method::PromptAnswer, answer).await.unwrap();
    assert!(tokio::time::timeout(LIMIT, connecting).await.unwrap().unwrap().is_ok());
    let secret = ike_client::crypto::Secret::new(b"hunter2".to_vec());
    assert!(bench.heard().contains(&Heard::Answer(Answer::Secret { secret })));
}

#[tokio::test]
async fn a_secret_that_is_brought_along_goes_before_the_one_that_is_kept() {
    let mut bench = bench("", password());
    let secrets = crate::service::tunnel::secrets::Store::new(bench.directory.path().join("state/secrets"));
    secrets.write(None, "work", crate::service::tunnel::secrets::Kind::Password, "the kept one").unwrap();
    let request = Connect { supplied: vec![PromptKind::Password], ..asked(true) };
    let _connecting = bench.begin(Method::Connect, request);
    let event = tokio::time::timeout(LIMIT, bench.events.recv()).await.unwrap();
    assert!(matches!(event, Some(Event::Prompt { .. })), "{event:?}");
}

#[tokio::test]
async fn with_nobody_to_ask_the_connection_fails_by_name() {
    let bench = bench("", password());
    let fault = bench.call(Method::Connect, asked(false)).await.unwrap_err();
    assert_eq!((fault.name, fault.exit_code()), (FaultName::InputNeeded, 16));
}

#[tokio::test]
async fn a_caller_that_hangs_up_takes_the_attempt_along() {
    let mut bench = bench("", password());
    let connecting = bench.begin(Method::Connect, asked(true));
    assert!(matches!(bench.events.recv().await, Some(Event::Prompt { .. })));
    drop(connecting);
    let status = bench.until(ConnectionState::Disconnected).await;
    assert_eq!(status.last_fault.unwrap().name, FaultName::Cancelled);
    assert!(bench.heard().contains(&Heard::Stop(CloseReason::User)));
}

#[tokio::test]
async fn what_an_administrator_writes_into_a_file_holds_without_a_restart() {
    let bench = bench(PSK, None);
    let file = bench.directory.path().join("etc/tunnels.d/work.toml");
    let strict = fs::read_to_string(&file).unwrap();
    fs::write(&file, strict.replace("prohibited = [\"Marked\"]", "prohibited = []")).unwrap();
    bench.mark();
    assert_eq!(bench.connect().await.unwrap().state, ConnectionState::Connected);
    fs::write(&file, strict).unwrap();
    let _ = bench.inbox.send(Message::FilesChanged);
    let status = bench.until(ConnectionState::Blocked).await;
    assert_eq!(status.last_fault.unwrap().name, FaultName::ComplianceLost);
}

fn own(name: &str, toml: &str, replace: bool) -> TunnelAdd {
    let (tunnel, toml) = (name.to_owned(), toml.to_owned());
    TunnelAdd { tunnel, toml, replace, pre_shared_key: None, password: None, private_key: None }
}

#[tokio::test]
async fn users_have_no_tunnels_of_their_own_unless_the_administrator_says_so() {
    let mut bench = bench("", None);
    bench.caller.role = Role::User;
    let fault = bench.call(Method::TunnelAdd, own("mine", "gateway = \"g\"\n", false)).await.unwrap_err();
    assert_eq!((fault.name, fault.exit_code()), (FaultName::NotPermitted, 11));
    assert!(fault.to_string().contains("local administrator locks this: users.own_tunnels"), "{fault}");
    let named = TunnelName { tunnel: "work".into() };
    assert_eq!(bench.call(Method::TunnelRemove, named).await.unwrap_err().name, FaultName::NotPermitted);
}

#[tokio::test]
async fn a_users_own_tunnel_is_his_alone_and_names_no_files() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir_all(directory.path().join("etc")).unwrap();
    fs::write(directory.path().join("etc/postern.toml"), "[users]\nown_tunnels = true\n").unwrap();
    let mut bench = bench_in(directory, "", None);
    bench.caller.role = Role::User;
    let plain = "gateway = \"192.0.2.7\"\n";
    let with_file = format!("{plain}[auth]\nkind = \"psk\"\npsk_file = \"/etc/shadow\"\n");
    let fault = bench.call(Method::TunnelAdd, own("mine", &with_file, false)).await.unwrap_err();
    assert!(fault.to_string().contains("auth.psk_file"), "{fault}");
    bench.call(Method::TunnelAdd, own("mine", plain, false)).await.unwrap();
    // The administrator's name stays his.
    let fault = bench.call(Method::TunnelAdd, own("work", plain, true)).await.unwrap_err();
    assert_eq!(fault.name, FaultName::NotPermitted);
    let mine = || TunnelName { tunnel: "mine".into() };
    let shown: TunnelDocument = serde_json::from_value(bench.call(Method::TunnelShow, mine()).await.unwrap()).unwrap();
    assert_eq!(shown.origin, postern_api::state::Origin::User);
    bench.caller.uid = Some(1001);
    let asked = Connect { tunnel: "mine".into(), ..asked(true) };
    for (method, parameters) in [
        (Method::TunnelShow, serde_json::to_value(mine()).unwrap()),
        (Method::TunnelRemove, serde_json::to_value(mine()).unwrap()),
        (Method::Connect, serde_json::to_value(&asked).unwrap()),
        (Method::TunnelAdd, serde_json::to_value(own("mine", plain, true)).unwrap()),
    ] {
        let fault = bench.call(method, parameters).await.unwrap_err();
        assert_eq!(fault.name, FaultName::NotPermitted, "{method:?}");
    }
    bench.caller.uid = Some(1000);
    bench.call(Method::TunnelRemove, mine()).await.unwrap();
    assert_eq!(bench.call(Method::TunnelShow, mine()).await.unwrap_err().name, FaultName::TunnelUnknown);
}

#[tokio::test]
async fn an_enrolment_that_cannot_be_read_is_no_way_round_its_policy() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir_all(directory.path().join("state/ems")).unwrap();
    fs::write(directory.path().join("state/ems/identity.json"), "damaged").unwrap();
    let bench = bench_in(directory, PSK, None);
    let fault = bench.connect().await.unwrap_err();
    assert_eq!((fault.name, fault.exit_code()), (FaultName::TagsUnknown, 13));
    assert_eq!(bench.heard(), []);
}

#[tokio::test]
async fn while_ems_s_profile_is_not_known_no_local_tunnel_can_pass_for_unmanaged() {
    use crate::compliance::EmsView;
    use posture::ems::protocol::DocumentKind;
    use posture::ems::signed::Refusal;
    use posture::ems::{Knowledge, TelemetryState};
    let directory = tempfile::tempdir().unwrap();
    let place = |name: &str| Some(directory.path().join(name));
    let paths = Paths::settle(place("etc"), place("state"), place("run"));
    let (inbox, _messages) = mpsc::unbounded_channel();
    let (net, _net_task) = net_link::link(mpsc::unbounded_channel().0);
    let collector = Collector::new(directory.path().to_owned(), CollectorSettings::default());
    let examination = Examination::new(collector, EmsDial::default(), unwatched());
    let (settings, jobs) = (Settings::default(), mpsc::unbounded_channel().0);
    let mut hub = Hub::new(Parts {
        paths,
        settings,
        inbox,
        net,
        jobs,
        examination,
        credentials: None,
        settled: oneshot::channel().0,
    });
    assert_eq!(hub.policy_problem(), None);
    let away = TelemetryState::Down { because: "no answer".into(), not_trusted: false };
    let ems = |telemetry| EmsView {
        name: "EMS".into(),
        knowledge: Knowledge::default(),
        telemetry,
        confirmed_unix: 0,
        confirmed: None,
        decreed: Default::default(),
    };
    hub.view.ems = Some(ems(away));
    assert!(hub.policy_problem().is_some_and(|problem| problem.to_string().contains("out of reach")));
    hub.view.ems = Some(ems(TelemetryState::Up { push: true }));
    assert_eq!(hub.policy_problem(), None, "an EMS that is there and gives no profile manages nothing");
    let mut unbelieved = ems(TelemetryState::Up { push: true });
    unbelieved.knowledge.refusals = vec![(DocumentKind::Profile, Refusal::ClockTurnedBack { seconds: 10_000 })];
    hub.view.ems = Some(unbelieved);
    assert!(hub.policy_problem().is_some(), "a profile that is not believed is not none");
    assert!(hub.may_begin("work").is_err() && hub.own_tunnels().is_err());
}

#[path = "joining_tests.rs"]
mod joining;

#[tokio::test]
async fn a_user_for_whom_enough_is_being_looked_up_is_told_to_wait_and_served_afterwards() {
    let bench = bench(PSK, None);
    let file = bench.directory.path().join("etc/tunnels.d/named.toml");
    fs::write(file, format!("gateway = \"gateway.invalid\"\n{PSK}\n")).unwrap();
    let named = || Connect { tunnel: "named".into(), ..asked(true) };
    let _ = bench.inbox.send(Message::FilesChanged);
    // A tunnel that is not judged yet is refused, and its gateway is not asked for.
    loop {
        let list = bench.call(Method::TunnelList, Value::Null).await.unwrap();
        let list: Vec<TunnelStatus> = serde_json::from_value(list).unwrap();
        let is_judged = |status: &TunnelStatus| !matches!(status.posture, PostureStanding::Refused { .. });
        if list.iter().any(|status| status.name == "named".into() && is_judged(status)) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut turns = Vec::new();
    let full = loop {
        match bench.look_ups.take(&bench.caller, "other") {
            Ok(turn) => turns.push(turn),
            Err(fault) => break fault,
        }
    };
    let fault = bench.call(Method::Connect, named()).await.unwrap_err();
    assert_eq!((fault.name, &fault.detail), (full.name, &full.detail));
    assert!(!bench.heard().contains(&Heard::Start));
    drop(turns);
    bench.call(Method::Connect, named()).await.unwrap();
    assert!(bench.look_ups.take(&bench.caller, "other").is_ok(), "the turn was given back");
}
