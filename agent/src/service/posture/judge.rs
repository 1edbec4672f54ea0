//! The hub's side of posture: gathering facts, hearing EMS, judging, renewing the lease.

use super::decree::Codes;
use super::settling::Settling;
use super::watching::{Watched, Watching};
use crate::compliance::clock::{LEASE, SteadyClock};
use crate::compliance::{Decreed, EmsView};
use crate::connection::{Connection, Input};
use crate::platform;
use crate::profile::managed;
use crate::profile::settings::toml_files;
use crate::service::child::scan;
use crate::service::ems::dial::EmsDial;
use crate::service::hub::admission::{Pending, SNAPSHOT_LIMIT};
use crate::service::hub::{Hub, Message};
use ike_client::Timestamp;
use ike_client::tunnel::clock;
use ike_client::tunnel::control::Command;
use postern_api::event::Event;
use postern_api::fault::{Fault, FaultName};
use postern_api::posture::TagReport;
use postern_api::state::PostureStanding;
use posture::collect::{Collector, Glimpse};
use posture::ems::{Cache, Delivery, EmsClient, Identity, Knowledge, SessionSettings, Telemetry, TelemetryState};
use posture::facts::Facts;
use posture::rules::Asked;
use posture::vulnerability::{ScanResult, inventory};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A look at the whole system that took longer is worth a line in the log.
const SLOW_LOOK: Duration = Duration::from_secs(2);
/// What gathering may take beyond the interval before what is known counts as stale.
const GATHERING_LIMIT: Duration = Duration::from_secs(10);
/// How long changes are gathered for one look while a tunnel is being made: most of them are our own,
/// and looks beside it hold it up.
const GATHERED: Duration = Duration::from_millis(300);
/// How much less often the system is looked at by itself while nothing passes and nobody is told: what
/// is watched is looked at as soon as it changes all the same, and everything before a connection.
const RESTING: u32 = 4;
/// How old a scan's result may become before it is renewed, where no schedule is set.
const RENEWED: Duration = Duration::from_secs(24 * 3600);
/// After how long a scan that gave no result is tried again.
const SCANNED_AGAIN: Duration = Duration::from_secs(3600);

/// What the hub holds for posture.
pub struct Examination {
    /// Looks at the system.
    pub collector: Arc<Collector>,
    /// Whether a look is under way, and whether another is wanted after it.
    gathering: Gathering,
    /// When the facts at hand began to be gathered.
    pub(in crate::service) gathered: Option<Timestamp>,
    /// When those that were seen first of the last look began to be.
    pub(in crate::service) glimpsed: Option<Timestamp>,
    /// Whether the machine sleeps, or is about to.
    pub asleep: bool,
    /// Facts must be younger than this for anything to leave.
    fresh_after: Timestamp,
    /// Whether EMS, which was being talked to before a sleep, has not been heard since: it may have decided
    /// otherwise meanwhile. Nothing leaves until it has answered or counts as gone.
    pub(in crate::service) ems_is_awaited: bool,
    /// When the last look began.
    looked: Option<Timestamp>,
    /// When changes that were heard of are to be looked at, where not at once.
    look_by: Option<Timestamp>,
    asked: Asked,
    /// What is watched.
    pub(in crate::service) watching: Watching,
    /// What time it is.
    clock: SteadyClock,
    /// Until when unknown tags alone take no tunnel down, because new rules ask for what was not looked at yet.
    pub(in crate::service) settling: Option<Settling>,
    /// Since when posture has admitted tunnels that come back by themselves.
    pub(in crate::service) admitted: BTreeMap<String, Timestamp>,
    /// Names what is to be watched.
    pub watched: Watched,
    pub(in crate::service) pending: Vec<Pending>,
    pub(in crate::service) tickets: u64,
    /// The conversation with EMS.
    pub telemetry: Option<Telemetry>,
    /// How EMS is reached.
    pub dial: Arc<EmsDial>,
    /// Why what EMS says cannot be known although this endpoint is, or may be, enrolled.
    pub enrolment_problem: Option<Fault>,
    pub(in crate::service) reported: u64,
    last_report: Option<TagReport>,
    /// When the last scan began.
    scanned: Option<Timestamp>,
    /// The packages that were last scanned without being asked, as a digest.
    rescanned: Option<String>,
    /// Codes of the administrator, and what they did.
    pub(in crate::service) codes: Codes,
    /// Callers that wait for a scan; a scan is under way while this is some.
    pub scanning: Option<Vec<crate::service::hub::Reply>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gathering {
    Idle,
    UnderWay,
    AgainAfter,
}

impl Examination {
    /// Begins with nothing known.
    pub fn new(collector: Collector, dial: EmsDial, watched: Watched) -> Self {
        Self {
            collector: Arc::new(collector),
            gathering: Gathering::Idle,
            gathered: None,
            glimpsed: None,
            asleep: false,
            fresh_after: Timestamp::ZERO,
            ems_is_awaited: false,
            looked: None,
            look_by: None,
            asked: Asked::default(),
            watching: Watching::default(),
            clock: SteadyClock::default(),
            settling: None,
            admitted: BTreeMap::new(),
            watched,
            pending: Vec::new(),
            tickets: 0,
            telemetry: None,
            dial: Arc::new(dial),
            enrolment_problem: None,
            reported: 0,
            last_report: None,
            scanned: None,
            rescanned: None,
            codes: Codes::default(),
            scanning: None,
        }
    }

    /// Notes whether the journal can be written, for a connection that waits.
    pub fn checked(&mut self, ticket: u64, outcome: Result<(), Fault>) {
        for pending in self.pending.iter_mut().filter(|pending| pending.ticket == ticket) {
            pending.journal = Some(outcome.clone());
        }
    }

    /// Returns the moments at which something is due.
    pub fn deadlines(&self) -> impl Iterator<Item = Timestamp> {
        let pending = self.pending.iter().map(|pending| pending.asked + SNAPSHOT_LIMIT);
        pending.chain(self.settling.map(Settling::until)).chain(self.look_by)
    }
}

/// Returns the system's clock, seconds since 1970.
pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Hub {
    /// Reads what is known from earlier runs and looks at the system for the first time.
    pub(in crate::service) fn begin_posture(&mut self) {
        self.view.scan = scan::load(&self.paths.state).map(Ok);
        self.view.advisories_limit = Some(self.settings.posture.advisories_limit);
        let cache = Cache::open(self.paths.enrolment()).and_then(|cache| cache.sweep().map(|()| cache));
        let cache = cache.map_err(|error| (FaultName::StateUnwritable, error));
        let read = |cache: Cache| match cache.identity() {
            Ok(identity) => Ok((identity, cache)),
            Err(error) => Err((FaultName::TagsUnknown, error)),
        };
        match cache.and_then(read) {
            Ok((Some(identity), cache)) => self.start_telemetry(&identity, cache),
            Ok((None, _)) => {}
            // An enrolment that cannot be read is no reason to go on without its policy.
            Err((name, error)) => {
                tracing::error!(%error, "the enrolment cannot be read");
                let next = "bring back what the state directory held, or enrol anew: postern enroll";
                let detail = format!("refused: the enrolment cannot be read: {error}");
                self.examination.enrolment_problem = Some(Fault::new(name, "", detail, next));
            }
        }
        self.examine();
    }

    /// Begins the conversation with EMS.
    pub(in crate::service) fn start_telemetry(&mut self, identity: &Identity, cache: Cache) {
        let decrees = cache.clone();
        let client = EmsClient::new(identity, &self.examination.dial.network(&self.paths.runtime));
        match client.and_then(|client| Ok((client, cache.verifier(identity)?))) {
            Ok((client, verifier)) => {
                let (telemetry, mut deliveries) = Telemetry::start(client, verifier, cache, SessionSettings::default());
                let inbox = self.inbox.clone();
                tokio::spawn(async move {
                    while let Some(delivery) = deliveries.recv().await {
                        if inbox.send(Message::Delivered(delivery)).is_err() {
                            return;
                        }
                    }
                });
                self.examination.telemetry = Some(telemetry);
            }
            Err(error) => {
                tracing::error!(%error, "the conversation with EMS cannot begin");
                let detail = format!("refused: the conversation with EMS cannot begin: {error}");
                let fault = Fault::new(FaultName::TagsUnknown, "", detail, "enrol anew: postern enroll");
                self.examination.enrolment_problem = Some(fault);
            }
        }
        let telemetry = TelemetryState::Down { because: "not reached yet".into(), not_trusted: false };
        self.view.ems = Some(EmsView {
            name: identity.ems_name.clone(),
            knowledge: Knowledge::default(),
            telemetry,
            confirmed_unix: 0,
            confirmed: None,
            decreed: Decreed::default(),
        });
        self.begin_decrees(&decrees);
    }

    /// Ends the conversation with EMS and forgets what it said.
    pub(in crate::service) fn end_telemetry(&mut self) {
        if let Some(telemetry) = self.examination.telemetry.take() {
            telemetry.stop();
        }
        self.view.ems = None;
        self.examination.ems_is_awaited = false;
        self.examination.codes = Codes::default();
        self.catalogue.set_managed(BTreeMap::new());
        self.keep_gateways();
        self.settle_own_tunnels();
        self.view.refresh(self.now_unix());
        self.rejudge();
    }

    /// Looks at the system, now or as soon as the look that is under way has ended.
    pub(in crate::service) fn examine(&mut self) {
        self.examination.look_by = None;
        if self.examination.gathering != Gathering::Idle {
            self.examination.gathering = Gathering::AgainAfter;
            return;
        }
        self.examination.gathering = Gathering::UnderWay;
        // A tunnel gives no address by which it is allowed, whatever its device is called.
        for device in self.connections.values().filter_map(Connection::device) {
            self.examination.collector.ignore(device);
        }
        let tunnels = self.entries();
        let asked = self.view.asked(tunnels.iter().map(|(_, entry)| &entry.tunnel));
        let mut files = self.examination.collector.telling_paths(&asked);
        // A directory changes when files come and go, a file when it is written in its place.
        files.push(self.paths.tunnels());
        files.extend(toml_files(&self.paths.tunnels()));
        // Whoever writes it while a tunnel is up writes over what is the tunnel's.
        if self.active.is_some() {
            files.push(platform::RESOLVER_FILE.into());
        }
        let programs = self.examination.collector.telling_programs(&asked);
        self.watch(files, programs);
        self.examination.asked.clone_from(&asked);
        let (collector, inbox, began) = (Arc::clone(&self.examination.collector), self.inbox.clone(), clock::now());
        self.examination.looked = Some(began);
        tokio::task::spawn_blocking(move || {
            // What changes most often is judged before the rest has been looked at.
            let glimpse = |glimpse| drop(inbox.send(Message::Glimpsed { began, glimpse: Box::new(glimpse) }));
            let facts = Box::new(collector.collect_with(&asked, glimpse));
            let took = clock::now().saturating_since(began);
            tracing::debug!(microseconds = took.as_micros(), "looked at the system");
            if took > SLOW_LOOK {
                let late: Vec<String> = facts
                    .lines()
                    .into_iter()
                    .filter_map(|line| line.value.reason().map(|why| format!("{}: {why}", line.area)))
                    .collect();
                tracing::warn!(milliseconds = took.as_millis(), ?late, "looking at the system took long");
            }
            let _ = inbox.send(Message::Gathered { began, facts });
        });
    }

    /// Looks at the system because something has changed: at once, but for a tunnel that is being made,
    /// which passes nothing yet and is judged by facts of its own. The lease that it begins with ends by
    /// what is seen then.
    pub(in crate::service) fn examine_change(&mut self) {
        let connection = self.active.as_ref().and_then(|name| self.connections.get(name));
        let begins = !self.examination.pending.is_empty();
        if begins || matches!(connection, Some(Connection::Connecting(_))) {
            self.examination.look_by.get_or_insert_with(|| clock::now() + GATHERED);
        } else {
            self.examine();
        }
    }

    /// When the system is to be looked at by itself; none while it is being looked at.
    pub(in crate::service) fn next_look(&self) -> Option<Timestamp> {
        let unheard = self.passes_nothing() && self.view.ems.is_none();
        let after = if unheard { self.interval() * RESTING } else { self.interval() };
        let looked = self.examination.looked.filter(|_| self.examination.gathering == Gathering::Idle)?;
        Some(looked + after)
    }

    /// The clock tick of the loop.
    pub(in crate::service) fn examine_if_due(&mut self) {
        let due = |at: Timestamp| clock::now() >= at;
        if self.next_look().is_some_and(due) {
            if let Some(telemetry) = &self.examination.telemetry {
                telemetry.ask();
            }
            self.examine();
        } else if self.examination.look_by.is_some_and(due) {
            self.examine();
        }
    }

    /// EMS's interval where it has one, else the service's.
    fn interval(&self) -> Duration {
        let profile = self.view.ems.as_ref().and_then(|ems| ems.knowledge.profile.as_deref());
        let of_ems = profile.map(|profile| Duration::from_secs(profile.content().compliance_interval_seconds.max(1)));
        of_ems.map_or(self.settings.compliance.interval, |of_ems| of_ems.min(self.settings.compliance.interval))
    }

    /// Judges by what was seen first of a look that is still under way.
    pub(in crate::service) fn glimpsed(&mut self, began: Timestamp, glimpse: Glimpse) {
        if self.view.facts.is_some() {
            self.examination.glimpsed = Some(began);
        }
        if self.view.take_glimpse(glimpse) {
            self.report_facts();
            self.rejudge();
        }
    }

    pub(in crate::service) fn gathered(&mut self, began: Timestamp, facts: Facts) {
        let again = self.examination.gathering == Gathering::AgainAfter;
        self.examination.gathering = Gathering::Idle;
        self.examination.gathered = Some(began);
        self.view.take_facts(facts, self.now_unix());
        self.rescan_if_changed();
        self.report_facts();
        self.rejudge();
        let _ = self.jobs.send(crate::service::network::keeper::Job::Restore);
        if again {
            self.examine();
        }
    }

    /// Once somebody has scanned, another inventory is scanned without being asked.
    fn rescan_if_changed(&mut self) {
        let scanned = match &self.view.scan {
            None => return,
            Some(Ok(result)) => Some(result.inventory.as_str()),
            Some(Err(_)) => None,
        };
        let packages = self.view.facts.as_ref().and_then(|facts| facts.packages.value());
        let Some(present) = packages.map(|packages| inventory::digest(packages)) else { return };
        let tried = self.examination.rescanned.as_ref() == Some(&present);
        if scanned != Some(present.as_str()) && !tried && self.examination.scanning.is_none() {
            // A scan that fails is not tried again and again on the same packages.
            self.examination.rescanned = Some(present);
            self.start_scan(None);
        }
    }

    /// Scans where the schedule says so: for the first time as soon as the system is known, then before the
    /// last result is too old. A scan that gave none is tried again an hour later, or after the interval
    /// where that is shorter: advisories may have come meanwhile. Without a schedule somebody begins, and
    /// his result is renewed.
    fn scan_if_due(&mut self) {
        let known = self.view.facts.as_ref().is_some_and(|facts| facts.os.value().is_some());
        if !known || self.examination.scanning.is_some() {
            return;
        }
        let (schedule, now) = (self.settings.posture.scan_interval, clock::now());
        let interval = schedule.unwrap_or(RENEWED);
        let due = match &self.view.scan {
            Some(Ok(result)) => self.now_unix().saturating_sub(result.finished_unix) >= interval.as_secs(),
            Some(Err(_)) | None => schedule.is_some(),
        };
        let pause = interval.min(SCANNED_AGAIN);
        let rested = self.examination.scanned.is_none_or(|began| now.saturating_since(began) >= pause);
        if due && rested {
            self.start_scan(None);
        }
    }

    fn report_facts(&mut self) {
        if let (Some(telemetry), Some(facts)) = (&self.examination.telemetry, self.view.for_ems()) {
            self.examination.reported = telemetry.report(facts);
        }
    }

    /// Starts a scan, or joins the one that is under way.
    pub(in crate::service) fn start_scan(&mut self, reply: Option<crate::service::hub::Reply>) {
        let idle = self.examination.scanning.is_none();
        self.examination.scanned = Some(clock::now());
        self.examination.scanning.get_or_insert_default().extend(reply);
        if idle {
            let facts = self.view.facts.as_ref();
            let subject = scan::Subject {
                os: facts.and_then(|facts| facts.os.value().cloned()),
                place: self.examination.collector.inventory_place(),
                packages: facts.and_then(|facts| facts.packages.value().cloned()),
                last: self.view.scan.clone().and_then(Result::ok),
            };
            let (inbox, settings, paths) = (self.inbox.clone(), self.settings.posture.clone(), self.paths.clone());
            let events = self.events.clone();
            tokio::spawn(async move {
                // Nobody need listen.
                let mut tell = |progress| drop(events.send(crate::compliance::report::scan_progress(progress)));
                let outcome = scan::run(subject, &settings, &paths, &mut tell).await;
                let _ = inbox.send(Message::Scanned(outcome));
            });
        }
    }

    pub(in crate::service) fn scanned(&mut self, outcome: Result<ScanResult, Fault>) {
        let waiting = self.examination.scanning.take().unwrap_or_default();
        match &outcome {
            Ok(result) => {
                tracing::info!(summary = %result.summary(), "scan");
                if let Err(error) = scan::store(&self.paths.state, result) {
                    tracing::warn!(%error, "the scan's result cannot be kept");
                }
                self.view.scan = Some(Ok(result.clone()));
                self.report_event(posture::ems::protocol::EventKind::ScanFinished, "", "", &result.summary());
            }
            Err(fault) => {
                tracing::warn!(%fault, "scan");
                // A result that no longer fits the packages is no result.
                if self.view.scan.is_some() {
                    self.view.scan = Some(Err(fault.detail.as_received().to_owned()));
                }
            }
        }
        self.view.refresh(self.now_unix());
        self.report_facts();
        self.rejudge();
        for reply in waiting {
            let answer = outcome.as_ref().map(crate::compliance::report::scan_report).map_err(Clone::clone);
            let _ = reply
                .send(answer.and_then(|report| {
                    serde_json::to_value(report).map_err(crate::service::hub::call::unserialisable)
                }));
        }
        // The packages may have changed while they were looked at.
        self.examine();
    }

    pub(in crate::service) fn delivered(&mut self, delivery: Delivery) {
        let Some(ems) = self.view.ems.as_mut() else { return };
        match delivery {
            Delivery::Knowledge(knowledge) => {
                for moment in issued(&knowledge) {
                    self.examination.clock.learn(moment, clock::now());
                }
                if ems.confirmed_unix == 0 {
                    ems.confirmed_unix = knowledge.tags.as_ref().map_or(0, |tags| tags.binding().issued_unix);
                }
                ems.knowledge = knowledge;
                self.tell_quarantine();
                self.take_profile();
                let tunnels = self.entries();
                let asked = self.view.asked(tunnels.iter().map(|(_, entry)| &entry.tunnel));
                if asked != self.examination.asked {
                    // What the new rules ask for is looked at and reported now, not at the next tick.
                    if asked.asks_beyond(&self.examination.asked) {
                        self.examination.settling = Some(Settling::begin(clock::now()));
                    }
                    self.examine();
                }
                // New rules of EMS may ask for facts that are at hand and that it was not told so far.
                self.report_facts();
                self.rejudge();
            }
            Delivery::Telemetry(state) => {
                tracing::info!(?state, "telemetry");
                // Until now, where it was up; until the sleep, where nothing was heard since.
                if !self.examination.ems_is_awaited && (state.is_up() || ems.telemetry.is_up()) {
                    ems.confirmed = Some(clock::now());
                }
                self.examination.ems_is_awaited &= state.is_up();
                if state.is_up() {
                    ems.decreed.deregistered = false;
                }
                let removed = state == TelemetryState::Removed;
                ems.telemetry = state;
                if removed {
                    self.deregistered();
                }
                self.view.refresh(self.now_unix());
                self.report_facts();
                self.rejudge();
            }
            Delivery::Refused(kind, refusal) => tracing::warn!(?kind, %refusal, "a document of EMS is not believed"),
            Delivery::CacheFailed(error) => tracing::error!(%error, "what EMS said cannot be kept"),
            Delivery::Scan => self.start_scan(None),
            Delivery::Heard => {
                ems.confirmed = Some(clock::now());
                self.examination.ems_is_awaited = false;
                self.rejudge();
            }
        }
    }

    fn take_profile(&mut self) {
        let Some(profile) = self.view.ems.as_ref().and_then(|ems| ems.knowledge.profile.clone()) else { return };
        let (tunnels, problems) = managed::tunnels(profile.content(), &self.paths.configuration);
        problems.iter().for_each(|problem| tracing::warn!(%problem, "EMS's profile"));
        self.catalogue.set_managed(tunnels);
        self.recall_gateways();
        self.settle_own_tunnels();
        self.drop_vanished();
        self.revise();
    }

    /// What a profile says now holds for connections that were made under an earlier one.
    pub(in crate::service) fn revise(&mut self) {
        for (name, entry) in self.entries() {
            let Some(connection) = self.connections.get_mut(&name) else { continue };
            let anew = connection.revise(entry.tunnel.keep_running, entry.tunnel.after_loss);
            if let (true, Connection::Connected(session)) = (anew, &*connection) {
                let tunnel = session.tunnel.clone();
                self.carry_out(&name, crate::connection::Effect::SettleTunnel(tunnel));
            }
        }
    }

    /// A tunnel that was taken away does not outlive its profile.
    pub(in crate::service) fn drop_vanished(&mut self) {
        let gone: Vec<String> =
            self.connections.keys().filter(|name| self.catalogue.find(name).is_none()).cloned().collect();
        for name in gone {
            // A block is a person's to lift, also where its tunnel is no more.
            if matches!(self.connections.get(&name), Some(Connection::Blocked { .. })) {
                continue;
            }
            let fault = Fault::new(FaultName::TunnelUnknown, name.as_str(), "was taken out of the profile", "");
            self.feed(&name, Input::Disconnect(Some(fault)));
        }
    }

    /// Judges every tunnel by what is known now.
    pub(in crate::service) fn rejudge(&mut self) {
        let now = self.now_unix();
        self.view.uptime = clock::now();
        let tunnels = self.entries();
        self.finish_settling();
        let standings: BTreeMap<String, PostureStanding> =
            tunnels.iter().map(|(name, entry)| (name.clone(), self.standing_now(name, entry, now))).collect();
        let before = std::mem::replace(&mut self.standings, standings);
        // Before the facts were gathered for the first time nobody is judged.
        if self.examination.gathered.is_some() {
            for (name, _) in &tunnels {
                let standing = self.standing(name);
                // What would come back by itself waits until nothing else is in its way.
                let may = !self.connections.get(name).is_some_and(Connection::rests) || self.may_begin(name).is_ok();
                if self.holds_steadily(name, &standing) && may {
                    self.feed(name, Input::Judged(standing));
                }
            }
        }
        self.renew_lease();
        let report = self.view.report(&tunnels, now);
        if self.examination.last_report.as_ref().is_none_or(|last| differs(last, &report)) {
            let _ = self.events.send(Event::Tags { report: report.clone() });
            self.examination.last_report = Some(report);
        }
        for (name, _) in &tunnels {
            if before.get(name) != self.standings.get(name) {
                self.publish(name);
            }
        }
    }

    /// Returns what time it is, seconds since 1970, whatever somebody has done to the machine's clock.
    pub(in crate::service) fn now_unix(&self) -> u64 {
        self.examination.clock.reading(unix_now(), clock::now())
    }

    /// Returns how posture stands towards a tunnel; refused where that is not known.
    pub(in crate::service) fn standing(&self, name: &str) -> PostureStanding {
        self.standings.get(name).cloned().unwrap_or_else(|| PostureStanding::Refused {
            fault: Box::new(Fault::new(
                FaultName::TagsUnknown,
                name,
                "refused: posture is not judged yet",
                "try again",
            )),
        })
    }

    /// Lets packets pass for a little longer, while posture admits them and was judged lately.
    pub(in crate::service) fn renew_lease(&mut self) {
        let Some(name) = &self.active else { return };
        let up_or_coming =
            matches!(self.connections.get(name), Some(Connection::Connected(_) | Connection::Connecting(_)));
        let admitted = !matches!(self.standing(name), PostureStanding::Refused { .. });
        if up_or_coming && admitted && self.is_fresh() {
            self.net.engine(Command::GrantLease { until: clock::now() + LEASE });
        }
    }

    pub(in crate::service) fn is_fresh(&self) -> bool {
        let stale_after = self.interval() + GATHERING_LIMIT;
        !self.examination.asleep
            && !self.examination.ems_is_awaited
            && self.examination.gathered.is_some_and(|gathered| {
                gathered >= self.examination.fresh_after && clock::now().saturating_since(gathered) <= stale_after
            })
    }

    /// Nothing that was queued leaves before posture was judged again.
    pub(in crate::service) fn woke_up(&mut self) {
        self.examination.fresh_after = clock::now();
        if let Some(telemetry) = &self.examination.telemetry {
            telemetry.wake();
        }
        self.examination.ems_is_awaited |= self.view.ems.as_ref().is_some_and(|ems| ems.telemetry.is_up());
        if self.active.as_ref().is_some_and(|name| matches!(self.connections.get(name), Some(Connection::Connected(_))))
        {
            self.net.engine(Command::Liveness);
        }
        self.examine();
    }

    /// At each beat: the clock's own triggers.
    pub(in crate::service) fn beat(&mut self) {
        let awaited = self.examination.ems_is_awaited;
        if let Some(ems) = self.view.ems.as_mut().filter(|ems| ems.telemetry.is_up() && !awaited) {
            ems.confirmed = Some(clock::now());
        }
        self.scan_if_due();
        self.end_override_if_due();
        // A snapshot's time, or the grace, may have ended.
        if self.active.is_some() || self.view.ems.is_some() || self.returns_are_pending() {
            self.rejudge();
        } else {
            self.renew_lease();
        }
    }
}

/// The moments at which EMS, by its signature, says that it spoke.
fn issued(knowledge: &Knowledge) -> impl Iterator<Item = u64> {
    let profile = knowledge.profile.as_ref().map(|document| document.binding().issued_unix);
    let rules = knowledge.rules.as_ref().map(|document| document.binding().issued_unix);
    let tags = knowledge.tags.as_ref().map(|document| document.binding().issued_unix);
    [profile, rules, tags].into_iter().flatten()
}

/// Ages alone are no change.
fn differs(last: &TagReport, now: &TagReport) -> bool {
    let ageless = |report: &TagReport| TagReport { age_seconds: 0, grace_seconds: None, ..report.clone() };
    ageless(last) != ageless(now)
}
