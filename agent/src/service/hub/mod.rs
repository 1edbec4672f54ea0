//! MAIN's heart: one task that owns every state and carries out every effect.
//!
//! Whatever happens (a caller, the engine, EMS, a gathered fact, the clock) arrives as a
//! [`Message`] and is worked off before the next. So there are no locks, and no two parts of the
//! service can see two different truths. What takes long is done by other tasks, which send a
//! message when they are done.
//!
//! | module | holds |
//! |---|---|
//! | [`call`] | the methods of the control socket, answered by the hub |
//! | `admission` | letting a connection begin |
//! | `look_ups` | how many connections may have names looked up for them |
//! | `sign_on` | a FortiGate's sign-on before the engine starts |
//! | `told` | what the hub is told by the network process, and of the machine's sleep |
//! | `tell` | what the hub tells: status, events, notices, EMS; and what it asks of people |
//! | `waiting` | callers that wait for a tunnel |
//! | `block_note` | what is remembered of a block over restarts |
//! | `own` | tunnels that users have of their own |
//! | `whereabouts` | where the gateways of managed tunnels were found |
//! | `health` | what `postern doctor` is told |

pub(super) mod admission;
pub(super) mod block_note;
pub mod call;
mod health;
mod look_ups;
mod own;
mod sign_on;
mod tell;
pub(super) mod told;
pub(super) mod waiting;
mod whereabouts;

use self::look_ups::LookUps;
use self::sign_on::SignOns;
use self::waiting::Waiter;
use crate::compliance::View;
use crate::compliance::clock::{BEAT, RESTING_BEAT, WakeDetector};
use crate::connection::{Connection, Effect, Input, Owner, Resume, Told};
use crate::control::Caller;
use crate::fault;
use crate::network::plan::TunnelNetworkSettings;
use crate::platform::Sleep;
use crate::profile::{Catalogue, Entry, Paths, Settings, Tunnel};
use crate::prompt::Prompts;
use crate::service::ems::unattended::Unattended;
use crate::service::network::keeper::{Job, Jobs};
use crate::service::network::link::{NetLink, Told as NetTold};
use crate::service::posture::judge::Examination;
use crate::service::tunnel::carriers::{Carriers, Network};
use crate::service::tunnel::configuration;
use crate::service::tunnel::own_key::{self, Opened, OwnKeys};
use crate::service::tunnel::secrets;
use crate::service::tunnel::tickets::Tickets;
use crate::service::tunnel::wireguard;
use ike_client::Timestamp;
use ike_client::session::{Answer, RequestId};
use ike_client::tunnel::clock;
use ike_client::tunnel::control::{CarrierChoice, Command};
use postern_api::event::{Event, Notice};
use postern_api::fault::{Fault, FaultName};
use postern_api::health::Check;
use postern_api::method::Method;
use postern_api::state::PostureStanding;
use posture::collect::{Glimpse, Noticing};
use posture::ems::{Delivery, Identity};
use posture::facts::Facts;
use posture::vulnerability::ScanResult;
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, oneshot};

/// How much longer than the engine's own limit an attempt may take.
pub(in crate::service) const FAREWELL: Duration = Duration::from_secs(5);
/// How long what is made anew by itself waits more, where something is in its way.
const NOT_YET: Duration = Duration::from_secs(1);
/// How many events a subscriber may lag behind before it begins again with a snapshot.
const EVENTS: usize = 256;

/// The answer to a caller.
pub type Reply = oneshot::Sender<Result<Value, Fault>>;

/// What the hub works off.
pub enum Message {
    /// A tunnel was to begin while the network process was being started.
    NotReady(String),
    /// A caller calls.
    Call {
        /// Who.
        caller: Caller,
        /// What.
        method: Method,
        /// With what.
        parameters: Value,
        /// Where the answer goes; closed when the caller has hung up.
        reply: Reply,
    },
    /// A caller subscribes.
    Subscribe(oneshot::Sender<(Event, broadcast::Receiver<Event>)>),
    /// The network process says something.
    Net(NetTold),
    /// The network was settled for a tunnel, or could not be.
    Settled {
        /// The tunnel.
        tunnel: String,
        /// Words of warning.
        outcome: Result<Vec<String>, Fault>,
    },
    /// The journal was checked for a connection that waits to begin.
    Checked {
        /// Its number.
        ticket: u64,
        /// Whether the journal can be written.
        outcome: Result<(), Fault>,
    },
    /// Facts were gathered.
    Gathered {
        /// When that began.
        began: Timestamp,
        /// The facts.
        facts: Box<Facts>,
    },
    /// The first of the facts that are being gathered.
    Glimpsed {
        /// When that began.
        began: Timestamp,
        /// What was seen.
        glimpse: Box<Glimpse>,
    },
    /// EMS said something.
    Delivered(Delivery),
    /// A scan ended.
    Scanned(Result<ScanResult, Fault>),
    /// An enrolment ended.
    Enrolled(Result<Box<Identity>, Fault>, Reply),
    /// Leaving EMS ended.
    Left(Result<bool, Fault>, Reply),
    /// An enrolment without a person ended.
    EnrolledUnattended(Result<(), Fault>),
    /// Addresses of a gateway were looked up.
    Addresses(String, Vec<IpAddr>),
    /// What is known has changed: everything is judged again.
    Rejudge,
    /// An answer for the engine was found.
    Answered(RequestId, Answer),
    /// The opening of the key of that number has ended.
    KeyOpened {
        /// Which.
        number: u64,
        /// What.
        outcome: Result<Opened, own_key::Shut>,
    },
    /// The sign-on of that number has something to tell.
    SignOn {
        /// Which.
        number: u64,
        /// What.
        step: sign_on::Step,
    },
    /// The system says something of its sleep.
    Sleep(Sleep),
    /// Something of this system changed that is watched.
    FilesChanged,
    /// So did the packet filter.
    FirewallChanged,
    /// How changes are noticed.
    Noticing(Noticing),
    /// The service stops.
    Shutdown(oneshot::Sender<()>),
}

/// The hub's handle.
pub type Inbox = mpsc::UnboundedSender<Message>;

/// The hub.
pub struct Hub {
    pub(in crate::service) paths: Paths,
    pub(in crate::service) settings: Settings,
    pub(in crate::service) inbox: Inbox,
    pub(in crate::service) net: NetLink,
    pub(in crate::service) net_ready: bool,
    /// What the network process said of itself.
    pub(in crate::service) network_health: Vec<Check>,
    pub(in crate::service) jobs: Jobs,
    pub(in crate::service) events: broadcast::Sender<Event>,
    pub(in crate::service) catalogue: Catalogue,
    pub(in crate::service) connections: BTreeMap<String, Connection>,
    pub(in crate::service) standings: BTreeMap<String, PostureStanding>,
    pub(in crate::service) waiters: BTreeMap<String, Vec<Waiter>>,
    /// The users for whom connections were made last.
    pub(in crate::service) owners: BTreeMap<String, Option<u32>>,
    pub(in crate::service) timers: BTreeMap<String, Timestamp>,
    pub(in crate::service) limits: BTreeMap<String, Duration>,
    /// Who is told the conversation of a tunnel.
    pub(in crate::service) listeners: BTreeMap<String, mpsc::Sender<Event>>,
    /// Who reads the keys, by tunnel: root, who asked for it.
    pub(in crate::service) key_readers: BTreeMap<String, mpsc::Sender<Event>>,
    pub(in crate::service) up_since: BTreeMap<String, Timestamp>,
    /// The tunnel for which the engine works.
    pub(in crate::service) active: Option<String>,
    pub(in crate::service) prompts: Prompts,
    pub(in crate::service) notices: VecDeque<Notice>,
    pub(in crate::service) secrets: secrets::Store,
    pub(in crate::service) tickets: Tickets,
    /// A tunnel whose session is to have a successor, and since when its owner is asked.
    pub(in crate::service) successor: Option<(String, Timestamp)>,
    /// Connections for which names are being looked up.
    pub(in crate::service) look_ups: LookUps,
    pub(in crate::service) sign_ons: SignOns,
    pub(in crate::service) own_keys: OwnKeys,
    pub(in crate::service) carriers: Carriers,
    /// Whether the engine was started so that it may choose its carrier.
    pub(in crate::service) carrier_chosen: bool,
    pub(in crate::service) view: View,
    pub(in crate::service) examination: Examination,
    pub(in crate::service) unattended: Unattended,
    pub(in crate::service) stopping: Option<oneshot::Sender<()>>,
    /// Told once what stood before the service began is settled.
    pub(in crate::service) settled: Option<oneshot::Sender<()>>,
    /// How changes of this system are noticed, by what changes.
    pub(in crate::service) noticings: BTreeMap<&'static str, Result<&'static str, String>>,
    /// Whether the system tells of its sleep.
    pub(in crate::service) sleep_is_told: Result<(), String>,
    /// A sleep that waits until nothing passes any more.
    pub(in crate::service) before_sleep: Option<oneshot::Sender<()>>,
}

/// What a hub is made of.
pub struct Parts {
    /// Where files lie.
    pub paths: Paths,
    /// The service's settings.
    pub settings: Settings,
    /// The hub's own inbox.
    pub inbox: Inbox,
    /// The network process.
    pub net: NetLink,
    /// The keeper of the journal.
    pub jobs: Jobs,
    /// Posture's beginning.
    pub examination: Examination,
    /// Where systemd puts the service's credentials.
    pub credentials: Option<PathBuf>,
    /// Told once what stood before the service began is settled: a block stands again then.
    pub settled: oneshot::Sender<()>,
}

impl Hub {
    /// Puts a hub together. Nothing happens before [`Self::run`].
    pub fn new(parts: Parts) -> Self {
        let Parts { paths, settings, inbox, net, jobs, examination, credentials, settled } = parts;
        Self {
            secrets: secrets::Store::new(paths.secrets()),
            tickets: Tickets::default(),
            successor: None,
            look_ups: LookUps::default(),
            sign_ons: SignOns::default(),
            own_keys: OwnKeys::default(),
            carriers: Carriers::open(&paths.state),
            carrier_chosen: false,
            notices: tell::read_notices(&paths.state),
            paths,
            settings,
            inbox,
            net,
            net_ready: false,
            network_health: Vec::new(),
            jobs,
            events: broadcast::channel(EVENTS).0,
            catalogue: Catalogue::default(),
            connections: BTreeMap::new(),
            standings: BTreeMap::new(),
            waiters: BTreeMap::new(),
            owners: BTreeMap::new(),
            timers: BTreeMap::new(),
            limits: BTreeMap::new(),
            listeners: BTreeMap::new(),
            key_readers: BTreeMap::new(),
            up_since: BTreeMap::new(),
            active: None,
            prompts: Prompts::default(),
            view: View::default(),
            examination,
            unattended: Unattended::new(credentials),
            stopping: None,
            settled: Some(settled),
            noticings: BTreeMap::new(),
            sleep_is_told: Err("not asked yet".into()),
            before_sleep: None,
        }
    }

    /// Works until the inbox is closed or the service has stopped.
    pub async fn run(mut self, mut messages: mpsc::UnboundedReceiver<Message>) {
        self.begin();
        let mut wake = WakeDetector::new(clock::now());
        let mut beaten = None;
        loop {
            let beat = beaten.map_or_else(clock::now, |beaten| beaten + self.pace());
            let next = self.next_deadline().map_or(beat, |next| next.min(beat));
            tokio::select! {
                message = messages.recv() => match message {
                    Some(message) => self.take(message, &mut wake),
                    None => return,
                },
                () = tokio::time::sleep(next.saturating_since(clock::now())) => {}
            }
            if clock::now() >= beat {
                beaten = Some(clock::now());
                self.notice_gap(&mut wake);
                self.beat();
                self.enrol_unattended();
            }
            self.examine_if_due();
            self.fire_timers();
            self.end_settling();
            self.admit_pending();
            self.admit_successor();
            self.answer_waiters();
            if self.stopping.is_some() && self.connections.values().all(Connection::rests) {
                if let Some(stopped) = self.stopping.take() {
                    let _ = stopped.send(());
                }
                return;
            }
        }
    }

    /// Whatever arrives after the service was away: nothing may leave before posture was judged.
    fn notice_gap(&mut self, wake: &mut WakeDetector) {
        if let Some(away) = wake.beat(clock::now(), self.pace()) {
            tracing::info!(seconds = away.as_secs(), "awake after a gap: posture is judged anew");
            self.net.engine(Command::RevokeLease);
            self.woke_up();
        }
    }

    fn take(&mut self, message: Message, wake: &mut WakeDetector) {
        self.notice_gap(wake);
        match message {
            Message::Call { caller, method, parameters, reply } => self.call(caller, method, parameters, reply),
            Message::Subscribe(reply) => {
                let subscription = self.events.subscribe();
                let _ = reply.send((Event::Snapshot { status: self.status() }, subscription));
            }
            Message::Net(told) => self.net_told(told),
            Message::Settled { tunnel, outcome } => {
                let input = match outcome {
                    Ok(warnings) => Input::NetworkSettled(warnings),
                    Err(fault) => Input::NetworkFailed(fault),
                };
                self.feed(&tunnel, input);
            }
            Message::Checked { ticket, outcome } => self.examination.checked(ticket, outcome),
            Message::Glimpsed { began, glimpse } => self.glimpsed(began, *glimpse),
            Message::Gathered { began, facts } => self.gathered(began, *facts),
            Message::Delivered(delivery) => self.delivered(delivery),
            Message::Scanned(outcome) => self.scanned(outcome),
            Message::Enrolled(outcome, reply) => self.enrolled(outcome, reply),
            Message::Left(outcome, reply) => self.left(outcome, reply),
            Message::EnrolledUnattended(outcome) => self.enrolled_unattended(outcome),
            Message::Addresses(name, addresses) => {
                let mut news = false;
                for address in addresses {
                    news |= self.catalogue.remember_address(&name, address);
                }
                // A tunnel that waits for its verdict may lead to a managed gateway, as is seen only now.
                if news {
                    self.keep_gateways();
                    self.rejudge();
                }
            }
            Message::Rejudge => self.rejudge(),
            Message::Answered(id, answer) => self.net.engine(Command::Answer { id, answer }),
            Message::KeyOpened { number, outcome } => self.key_opened(number, outcome),
            Message::SignOn { number, step } => self.sign_on_told(number, step),
            Message::Sleep(told) => self.sleep_told(told),
            Message::Noticing(noticing) => self.noticing(noticing),
            Message::FirewallChanged => {
                // Before all else that the change may mean: what holds a tunnel or a block may be gone.
                let _ = self.jobs.send(Job::RestoreTables);
                self.examine();
            }
            Message::FilesChanged => {
                if !self.take_local() {
                    self.examine_change();
                }
            }
            Message::NotReady(name) => self.feed(&name, Input::EngineLost),
            Message::Shutdown(stopped) => self.shut_down(stopped),
        }
    }

    fn shut_down(&mut self, stopped: oneshot::Sender<()>) {
        self.stopping = Some(stopped);
        for pending in std::mem::take(&mut self.examination.pending) {
            let _ = pending.waiter.reply.send(Err(fault::stopping(&pending.tunnel)));
        }
        let names: Vec<String> = self.connections.keys().cloned().collect();
        for name in names {
            // A block after a lost compliance outlives the service, and an attempt to connect above it.
            let Some(connection) = self.connections.get(&name) else { continue };
            if !matches!(connection, Connection::Blocked { .. }) {
                let why = connection.block().map(|_| fault::stopping(&name));
                self.feed(&name, Input::Disconnect(why));
            }
        }
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        let timers = self.timers.values().copied();
        timers.chain(self.examination.deadlines()).chain(self.next_look()).min()
    }

    /// How often the clock is looked at.
    fn pace(&self) -> Duration {
        let overridden = self.view.break_glass(self.now_unix()).is_some();
        if self.passes_nothing() && !overridden && self.stopping.is_none() { RESTING_BEAT } else { BEAT }
    }

    /// Tells whether no packet passes, and none will before posture was judged anew.
    pub(in crate::service) fn passes_nothing(&self) -> bool {
        self.active.is_none() && self.examination.pending.is_empty() && !self.returns_are_pending()
    }

    fn fire_timers(&mut self) {
        let now = clock::now();
        let due: Vec<String> =
            self.timers.iter().filter(|(_, moment)| **moment <= now).map(|(name, _)| name.clone()).collect();
        for name in due {
            self.timers.remove(&name);
            // What is made anew by itself is so by the same check as ever: after a sleep, or while something
            // else is in its way, it waits a little longer.
            let again = matches!(self.connections.get(&name), Some(Connection::Waiting { .. }));
            if again && (!self.is_fresh() || self.may_begin(&name).is_err()) {
                self.timers.insert(name, now + NOT_YET);
                // What else is in its way is no reason to look at the system each second.
                if !self.is_fresh() {
                    self.examine();
                }
                continue;
            }
            let posture = self.standing(&name);
            self.feed(&name, Input::TimeIsUp(posture));
        }
    }

    /// Feeds a connection and carries out what follows.
    pub(in crate::service) fn feed(&mut self, name: &str, input: Input) {
        if matches!(input, Input::Connect { .. }) {
            // Who asks proves himself: a ticket is for a tunnel that comes back by itself.
            self.tickets.destroy(name);
        }
        let connection = self.connections.remove(name).unwrap_or_default();
        let before = connection.clone();
        let (next, effects) = connection.step(input);
        let changed = next != before;
        let transition = std::mem::discriminant(&next) != std::mem::discriminant(&before);
        if transition {
            let posture = self.standing(name);
            tracing::info!(tunnel = name, from = %before.state(&posture), to = %next.state(&posture), "connection");
        }
        // Before anything that follows: a crash on the way must not lift it.
        self.note_block(name, &before, &next);
        if matches!(next, Connection::Connected(_)) && transition {
            self.up_since.insert(name.to_owned(), clock::now());
        }
        if next.holds_engine() || matches!(next, Connection::Waiting { .. }) {
            self.active = Some(name.to_owned());
        } else if self.active.as_deref() == Some(name) {
            self.active = None;
            self.own_keys.forget(name);
            self.limits.remove(name);
        }
        self.connections.insert(name.to_owned(), next);
        for effect in effects {
            self.carry_out(name, effect);
        }
        if transition {
            self.renew_lease();
        }
        if changed {
            self.publish(name);
        }
    }

    pub(in crate::service) fn carry_out(&mut self, name: &str, effect: Effect) {
        match effect {
            Effect::Start => self.start_engine(name),
            Effect::RevokeLease => self.net.engine(Command::RevokeLease),
            Effect::Succeed => {
                self.keep_from_managed(name);
                self.net.engine(Command::Succeed);
            }
            Effect::Stop(reason) => {
                self.tickets.destroy(name);
                self.forget_prompts(name);
                if !self.stop_sign_on(name, reason) && !self.stop_unlocking(name, reason) {
                    self.net.engine(Command::Stop { reason });
                }
            }
            Effect::SettleTunnel(tunnel) => {
                let Some(entry) = self.catalogue.find(name) else { return };
                let granted = Box::new(configuration::granted(&tunnel, &entry.tunnel));
                let settings: Box<TunnelNetworkSettings> =
                    Box::new(configuration::network(&entry.tunnel, self.examination.dial.addresses()));
                self.settle(name, |reply| Job::Tunnel { granted, settings, reply });
            }
            Effect::SettleBlock => {
                self.forget_prompts(name);
                self.settle(name, Job::Block);
            }
            Effect::SettleNothing => {
                self.forget_prompts(name);
                self.settle(name, Job::Nothing);
            }
            Effect::Met(address) => {
                if self.catalogue.remember_address(name, address) {
                    self.keep_gateways();
                }
                // By another name, or by a redirect, a local tunnel may have come to a managed gateway.
                if self.catalogue.find(name).is_some_and(|entry| entry.shadows.is_some()) {
                    let _ = self.inbox.send(Message::Rejudge);
                }
            }
            Effect::Timer(None) => drop(self.timers.remove(name)),
            Effect::Timer(Some(after)) => drop(self.timers.insert(name.to_owned(), clock::now() + after)),
            Effect::Tell(told) => {
                if matches!(told, Told::Refused(_) | Told::Lost(_)) {
                    self.tickets.destroy(name);
                }
                self.tell(name, told);
            }
        }
    }

    pub(in crate::service) fn start_engine(&mut self, name: &str) {
        self.keep_from_managed(name);
        let command = match self.catalogue.find(name) {
            Some(entry) if self.net_ready => {
                let limit = self.limits.get(name).copied().unwrap_or(entry.tunnel.connect_timeout);
                if self.sign_on_first(name, &entry.tunnel, limit) || self.unlock_first(name, &entry.tunnel, limit) {
                    return;
                }
                // The engine, which knows what it waited for, is to be the first to give up.
                self.timers.insert(name.to_owned(), clock::now() + limit + FAREWELL);
                match &entry.tunnel.wireguard {
                    Some(peer) => {
                        let tunnel = Box::new(wireguard::engine(&entry.tunnel, peer, limit));
                        Ok(Command::StartWireGuard { tunnel })
                    }
                    None => self.start_ike(name, &entry.tunnel, limit),
                }
            }
            Some(_) => {
                // It is being started: the one who comes back by himself tries again.
                let _ = self.inbox.send(Message::NotReady(name.to_owned()));
                return;
            }
            None => Err("the tunnel is gone".into()),
        };
        match command {
            Ok(command) => {
                self.net.engine(command);
                let _ = self.jobs.send(Job::Prepare);
            }
            Err(what) => {
                self.end_unstarted(ike_client::session::CloseCause::ConfigurationUnusable { what });
            }
        }
    }

    /// Makes what an engine of IKE is told.
    fn start_ike(&mut self, name: &str, profile: &Tunnel, limit: Duration) -> Result<Command, String> {
        let opened = self.own_keys.opened(name);
        let chain = opened.as_deref().map(Opened::chain).unwrap_or_default();
        let mut tunnel =
            configuration::engine(name, profile, chain).map_err(|fault| fault.detail.as_received().to_owned())?;
        sign_on::prepare(profile, &self.paths.state, &mut tunnel.session)
            .map_err(|error| format!("there is no UID for the gateway: {error}"))?;
        tunnel.session.negotiation_limit = limit;
        tunnel.trace = self.listeners.contains_key(name);
        tunnel.disclose_keys = self.key_readers.get(name).is_some_and(|reader| !reader.is_closed());
        self.carrier_chosen = false;
        if let CarrierChoice::Auto { tcp_first, .. } = &mut tunnel.carrier {
            self.carrier_chosen = true;
            *tcp_first = Network::present().is_some_and(|network| self.carriers.tcp_first(&network, name));
        }
        let ticket = self.tickets.take(name, profile, clock::now());
        Ok(Command::Start { tunnel: Box::new(tunnel), ticket })
    }

    fn settle(&mut self, name: &str, job: impl FnOnce(crate::service::network::keeper::Reply) -> Job) {
        let (reply, outcome) = oneshot::channel();
        let _ = self.jobs.send(job(reply));
        let (inbox, tunnel) = (self.inbox.clone(), name.to_owned());
        tokio::spawn(async move {
            let outcome = outcome
                .await
                .unwrap_or_else(|_| Err(Fault::new(FaultName::Internal, "", "the keeper of the network is gone", "")));
            let _ = inbox.send(Message::Settled { tunnel, outcome });
        });
    }

    pub(in crate::service) fn owner(uid: Option<u32>, entry: &Entry) -> Owner {
        Owner { uid, keep_running: entry.tunnel.keep_running, after_loss: entry.tunnel.after_loss }
    }

    /// Takes over what stood when the service ended last.
    fn begin(&mut self) {
        self.settle_own_tunnels();
        self.catalogue.load_local(&self.paths, |_| false);
        self.name_broken();
        if let Some(block_note::Note { tunnel, why, owner }) = block_note::read(&self.paths.state) {
            tracing::warn!(tunnel, "a block after a lost compliance stands");
            self.owners.insert(tunnel.clone(), owner);
            self.connections.insert(tunnel, Connection::Blocked { last: why, resume: Resume::OnRequest });
        }
        self.begin_posture();
    }

    fn name_broken(&self) {
        for (name, error) in self.catalogue.all_broken() {
            tracing::warn!(tunnel = name, %error, "a tunnel is not valid");
        }
    }

    /// Takes what an administrator wrote into the tunnels' files; tells whether it changed anything.
    pub(in crate::service) fn take_local(&mut self) -> bool {
        let before = self.catalogue.clone();
        let connections = &self.connections;
        self.catalogue.load_local(&self.paths, |name| connections.get(name).is_some_and(|state| !state.rests()));
        let changed = self.catalogue != before;
        if changed {
            self.name_broken();
            self.revise();
            self.rejudge();
            let _ = self.events.send(Event::Snapshot { status: self.status() });
            self.examine();
        }
        changed
    }

    /// Lists every tunnel by name.
    pub(in crate::service) fn entries(&self) -> Vec<(String, Entry)> {
        self.catalogue.entries()
    }
}

#[cfg(all(test, unix))]
mod tests;
