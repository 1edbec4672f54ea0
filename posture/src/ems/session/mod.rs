//! Telemetry: the task that keeps the conversation with EMS.
//!
//! Connect, report, subscribe, deliver. A changed fact is reported at once; nothing changed is
//! reported at EMS's keep-alive. Push is server-sent events; while that fails, documents are
//! polled. What EMS says is verified, delivered, and stored in that order: a tunnel that must go
//! down is not to wait for a disk. The agent holds the [`Telemetry`] handle and reads the
//! [`Delivery`] channel; dropping every handle, or the receiver, ends the task.

mod knowledge;
mod task;

use super::cache::{Cache, CacheError, Knowledge};
use super::client::EmsClient;
use super::protocol::{DocumentKind, EndpointEvent, FactsObject, ReleaseRequest, difference};
use super::signed::{Refusal, Verifier};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;

/// How the task behaves.
#[derive(Clone, Copy, Debug)]
pub struct SessionSettings {
    /// The wait after the first failure; doubles up to `retry_most`, with jitter.
    pub retry_least: Duration,
    /// The longest wait between attempts.
    pub retry_most: Duration,
    /// How often documents are polled while reports pass but push does not.
    pub poll: Duration,
    /// How often push is tried again meanwhile.
    pub push_retry: Duration,
    /// The longest wait between reports, whatever EMS asks for.
    pub keep_alive_most: Duration,
    /// How many events are kept while EMS is out of reach; the oldest go first.
    pub events_most: usize,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            retry_least: Duration::from_millis(500),
            retry_most: Duration::from_secs(30),
            poll: Duration::from_secs(5),
            push_retry: Duration::from_secs(15),
            keep_alive_most: Duration::from_secs(600),
            events_most: 1_000,
        }
    }
}

/// Whether EMS and endpoint are talking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TelemetryState {
    /// Reports are accepted.
    Up {
        /// Whether EMS can push; otherwise changes are noticed by polling.
        push: bool,
    },
    /// They are not.
    Down {
        /// Why, in one line.
        because: String,
        /// Whether EMS could not prove that it is the one of the enrolment.
        not_trusted: bool,
    },
    /// EMS no longer knows this endpoint: only a new enrolment helps. What it said is forgotten.
    Removed,
}

impl TelemetryState {
    /// Tells whether reports are accepted.
    pub const fn is_up(&self) -> bool {
        matches!(self, Self::Up { .. })
    }
}

/// What the task tells the agent.
#[derive(Debug)]
pub enum Delivery {
    /// All that is known of EMS's decisions now: sent first (from the cache) and after each change.
    Knowledge(Knowledge),
    /// Telemetry went up or down.
    Telemetry(TelemetryState),
    /// EMS sent a document that is not believed. What was known before stays.
    Refused(DocumentKind, Refusal),
    /// What EMS said could not be stored. It holds until the service ends, and is lost then.
    CacheFailed(CacheError),
    /// EMS wants a vulnerability scan now.
    Scan,
    /// EMS has answered for the first time since [`Telemetry::wake`]; what it had to say was delivered before.
    Heard,
}

#[derive(Debug)]
enum Command {
    Facts { sequence: u64, facts: FactsObject },
    Event(EndpointEvent),
    Release(ReleaseRequest),
    Ask,
    Wake,
    Stop,
}

/// The agent's handle of the task.
#[derive(Clone, Debug)]
pub struct Telemetry {
    commands: mpsc::UnboundedSender<Command>,
    /// The facts that were handed over last, and their number.
    last: Arc<Mutex<(u64, Option<FactsObject>)>>,
}

impl Telemetry {
    /// Starts the task on the current tokio runtime. The first delivery is what the cache holds.
    pub fn start(
        client: EmsClient,
        verifier: Verifier,
        cache: Cache,
        settings: SessionSettings,
    ) -> (Self, mpsc::Receiver<Delivery>) {
        let (commands, commands_in) = mpsc::unbounded_channel();
        let (deliveries, deliveries_in) = mpsc::channel(64);
        tokio::spawn(task::Task::new(client, verifier, cache, settings, commands_in, deliveries).run());
        // Larger than any earlier run of this endpoint used, without a file of its own.
        let last = Arc::new(Mutex::new((unix_milliseconds(), None)));
        (Self { commands, last }, deliveries_in)
    }

    /// Hands over the endpoint's facts as they are now, all of them; what differs from the last
    /// report is sent at once. Returns the number of the report: a tag snapshot with this
    /// `report_sequence` or a larger one has seen these facts. Facts that did not change keep
    /// their number.
    pub fn report(&self, facts: FactsObject) -> u64 {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (sequence, held) = &mut *last;
        if held.as_ref().is_none_or(|held| !difference(held, &facts).is_empty()) {
            *sequence += 1;
            *held = Some(facts.clone());
            let _ = self.commands.send(Command::Facts { sequence: *sequence, facts });
        }
        *sequence
    }

    /// Hands over an event; it is kept and sent again until EMS has stored it.
    pub fn event(&self, event: EndpointEvent) {
        let _ = self.commands.send(Command::Event(event));
    }

    /// Hands over the release of a quarantine that was ended here; it is told until EMS has heard it.
    pub fn release(&self, release: ReleaseRequest) {
        let _ = self.commands.send(Command::Release(release));
    }

    /// Asks EMS for what is new, where it does not push and is not being asked: the tick of the compliance
    /// loop may be shorter than [`SessionSettings::poll`].
    pub fn ask(&self) {
        let _ = self.commands.send(Command::Ask);
    }

    /// Tells that what was true of the network may no longer be: after a wake-up, a changed route,
    /// a tunnel that came or went. The connection is made anew at once, and [`Delivery::Heard`] follows when
    /// EMS has answered.
    pub fn wake(&self) {
        let _ = self.commands.send(Command::Wake);
    }

    /// Ends the task.
    pub fn stop(&self) {
        let _ = self.commands.send(Command::Stop);
    }
}

/// Returns the system's clock, seconds since 1970.
pub(super) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn unix_milliseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
