//! The task itself: one loop over what may happen, at most one request of a kind under way.

use super::super::cache::Cache;
use super::super::client::EmsClient;
use super::super::error::EmsError;
use super::super::protocol::{
    DocumentSet, EndpointEvent, EventReceipt, EventUpload, FactsObject, PushMessage, RefusalCode, Report, ReportBody,
    ReportReply, difference,
};
use super::super::push::PushStream;
use super::super::signed::Verifier;
use super::knowledge::{Keeper, Stored};
use super::{Command, Delivery, SessionSettings, TelemetryState};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

/// How many events go in one upload.
const EVENTS_A_REQUEST: usize = 100;
/// The keep-alive until EMS names its own.
const DEFAULT_KEEP_ALIVE: Duration = Duration::from_secs(60);

/// A request that ended.
enum Done {
    Reported { sequence: u64, facts: FactsObject, result: Result<ReportReply, EmsError> },
    Subscribed(Box<Result<PushStream, EmsError>>),
    Polled(Result<DocumentSet, EmsError>),
    Uploaded { count: usize, result: Result<EventReceipt, EmsError> },
}

/// What is under way.
#[derive(Default)]
struct UnderWay {
    report: bool,
    push: bool,
    poll: bool,
    upload: bool,
}

pub(super) struct Task {
    client: EmsClient,
    settings: SessionSettings,
    keeper: Keeper,
    commands: mpsc::UnboundedReceiver<Command>,
    deliveries: mpsc::Sender<Delivery>,
    requests: JoinSet<Done>,
    under_way: UnderWay,
    storing: Option<JoinHandle<Stored>>,
    push: Option<PushStream>,
    last_push_id: Option<String>,
    /// The facts as they are now, with the number under which they are reported.
    facts: Option<(u64, FactsObject)>,
    /// What EMS holds.
    acknowledged: Option<(u64, FactsObject)>,
    events: VecDeque<EndpointEvent>,
    state: Option<TelemetryState>,
    failures: u32,
    keep_alive: Duration,
    report_due: Instant,
    push_due: Instant,
    poll_due: Instant,
    upload_due: Instant,
    store_due: Instant,
}

impl Task {
    pub(super) fn new(
        client: EmsClient,
        verifier: Verifier,
        cache: Cache,
        settings: SessionSettings,
        commands: mpsc::UnboundedReceiver<Command>,
        deliveries: mpsc::Sender<Delivery>,
    ) -> Self {
        let (keeper, failure) = Keeper::open(verifier, cache);
        if let Some(failure) = failure {
            // The channel is new and empty: this cannot fail.
            let _ = deliveries.try_send(Delivery::CacheFailed(failure));
        }
        let now = Instant::now();
        Self {
            client,
            settings,
            keeper,
            commands,
            deliveries,
            requests: JoinSet::new(),
            under_way: UnderWay::default(),
            storing: None,
            push: None,
            last_push_id: None,
            facts: None,
            acknowledged: None,
            events: VecDeque::new(),
            state: None,
            failures: 0,
            keep_alive: DEFAULT_KEEP_ALIVE,
            report_due: now,
            push_due: now,
            poll_due: now,
            upload_due: now,
            store_due: now,
        }
    }

    /// Runs until the agent lets go.
    pub(super) async fn run(mut self) {
        let known = self.keeper.knowledge();
        if self.deliver(Delivery::Knowledge(known)).await.is_none() {
            return;
        }
        while self.turn().await.is_some() {}
        // What was delivered is kept, also when the agent lets go at once.
        if let Some(storing) = self.storing.take() {
            let _ = storing.await;
        }
        if let Some(storing) = self.keeper.unstored() {
            let _ = tokio::task::spawn_blocking(move || storing.store()).await;
        }
    }

    /// Waits for one thing and handles it; `None` ends the task.
    async fn turn(&mut self) -> Option<()> {
        self.start_what_is_due();
        let due = self.next_due();
        tokio::select! {
            command = self.commands.recv() => self.command(command?),
            Some(done) = self.requests.join_next() => match done {
                Ok(done) => self.done(done).await,
                // A request's task neither panics nor is cancelled on its own; if it were, none
                // would be known to be under way any more.
                Err(_) => {
                    self.forget_requests();
                    Some(())
                }
            },
            message = next_message(&mut self.push) => self.pushed(message).await,
            stored = written(&mut self.storing) => self.stored(stored).await,
            () = sleep_until(due) => Some(()),
            () = self.deliveries.closed() => None,
        }
    }

    fn start_what_is_due(&mut self) {
        let now = Instant::now();
        // Writing has no limit of its own and is never let go of: two writers at once could leave
        // the older document behind.
        if now >= self.store_due
            && self.storing.is_none()
            && let Some(storing) = self.keeper.unstored()
        {
            self.storing = Some(tokio::task::spawn_blocking(move || storing.store()));
        }
        if now >= self.report_due && !self.under_way.report {
            self.start_report();
        }
        // The first report goes alone: until EMS has accepted it there is nothing to subscribe to.
        if self.acknowledged.is_none() {
            return;
        }
        if now >= self.push_due && !self.under_way.push && self.push.is_none() {
            self.under_way.push = true;
            let (client, have, id) = (self.client.clone(), self.keeper.have(), self.last_push_id.clone());
            self.requests.spawn(async move { Done::Subscribed(Box::new(client.push(have, id.as_deref()).await)) });
        }
        if now >= self.poll_due && !self.under_way.poll && self.push.is_none() {
            self.under_way.poll = true;
            let (client, have) = (self.client.clone(), self.keeper.have());
            self.requests.spawn(async move { Done::Polled(client.documents(have).await) });
        }
        if now >= self.upload_due && !self.under_way.upload && !self.events.is_empty() {
            self.under_way.upload = true;
            let events: Vec<_> = self.events.iter().take(EVENTS_A_REQUEST).cloned().collect();
            let (client, count) = (self.client.clone(), events.len());
            self.requests
                .spawn(async move { Done::Uploaded { count, result: client.upload(&EventUpload { events }).await } });
        }
    }

    fn start_report(&mut self) {
        let Some((sequence, facts)) = self.facts.clone() else {
            self.report_due = Instant::now() + self.keep_alive;
            return;
        };
        let body = match &self.acknowledged {
            None => ReportBody::Full { facts: facts.clone() },
            Some((base, held)) => {
                let changes = difference(held, &facts);
                if changes.is_empty() && *base == sequence {
                    ReportBody::Unchanged { base: *base }
                } else {
                    ReportBody::Changes { base: *base, facts: changes }
                }
            }
        };
        let report = Report { sequence, have: self.keeper.have(), body };
        let client = self.client.clone();
        self.under_way.report = true;
        self.requests.spawn(async move {
            let result = client.report(&report).await;
            Done::Reported { sequence, facts, result }
        });
    }

    fn next_due(&self) -> Instant {
        let far = Instant::now() + Duration::from_secs(3600);
        let mut due = far;
        let mut consider = |wanted: bool, at: Instant| {
            if wanted {
                due = due.min(at);
            }
        };
        consider(!self.under_way.report && self.facts.is_some(), self.report_due);
        consider(self.storing.is_none() && self.keeper.has_unstored(), self.store_due);
        if self.acknowledged.is_some() {
            consider(!self.under_way.push && self.push.is_none(), self.push_due);
            consider(!self.under_way.poll && self.push.is_none(), self.poll_due);
            consider(!self.under_way.upload && !self.events.is_empty(), self.upload_due);
        }
        due
    }

    fn command(&mut self, command: Command) -> Option<()> {
        let now = Instant::now();
        match command {
            Command::Facts { sequence, facts } => {
                self.facts = Some((sequence, facts));
                // While EMS is out of reach, the retry that is due anyway carries the new facts.
                if self.failures == 0 {
                    self.report_due = now;
                }
            }
            Command::Event(event) => {
                if self.events.len() >= self.settings.events_most.max(1) {
                    self.events.pop_front();
                }
                self.events.push_back(event);
            }
            Command::Wake => {
                self.forget_requests();
                self.push = None;
                self.failures = 0;
                (self.report_due, self.push_due, self.poll_due, self.upload_due) = (now, now, now, now);
            }
            Command::Stop => return None,
        }
        Some(())
    }

    fn forget_requests(&mut self) {
        self.requests = JoinSet::new();
        self.under_way = UnderWay::default();
    }

    async fn done(&mut self, done: Done) -> Option<()> {
        match done {
            Done::Reported { sequence, facts, result } => {
                self.under_way.report = false;
                self.reported(sequence, facts, result).await
            }
            Done::Subscribed(outcome) => {
                self.under_way.push = false;
                match *outcome {
                    Ok(stream) => self.push = Some(stream),
                    Err(error) => self.push_due = Instant::now() + self.push_pause(&error),
                }
                Some(())
            }
            Done::Polled(result) => {
                self.under_way.poll = false;
                self.poll_due = Instant::now() + self.settings.poll;
                match result {
                    Ok(documents) => self.take(documents).await,
                    Err(error) => self.failed(error).await,
                }
            }
            Done::Uploaded { count, result } => {
                self.under_way.upload = false;
                match result {
                    Ok(_) => drop(self.events.drain(..count.min(self.events.len()))),
                    Err(EmsError::Refused { code: RefusalCode::RequestInvalid, .. }) => {
                        // EMS will never take these: they must not hold up those that follow.
                        drop(self.events.drain(..count.min(self.events.len())));
                    }
                    Err(_) => self.upload_due = Instant::now() + self.settings.push_retry,
                }
                Some(())
            }
        }
    }

    async fn stored(&mut self, stored: Stored) -> Option<()> {
        self.storing = None;
        match stored {
            Ok(()) => Some(()),
            Err((error, documents)) => {
                self.keeper.keep(documents);
                self.store_due = Instant::now() + self.settings.push_retry;
                self.deliver(Delivery::CacheFailed(error)).await
            }
        }
    }

    async fn reported(
        &mut self,
        sequence: u64,
        facts: FactsObject,
        result: Result<ReportReply, EmsError>,
    ) -> Option<()> {
        match result {
            Ok(reply) => {
                self.failures = 0;
                self.acknowledged = Some((sequence, facts));
                self.keep_alive = Duration::from_secs(reply.keep_alive_seconds)
                    .clamp(Duration::from_secs(1), self.settings.keep_alive_most);
                let now = Instant::now();
                let is_newest = self.facts.as_ref().is_none_or(|(newest, _)| *newest == sequence);
                self.report_due = if is_newest { now + self.keep_alive } else { now };
                self.take(reply.documents).await?;
                self.enter(TelemetryState::Up { push: self.push.is_some() }).await
            }
            Err(EmsError::Refused { code: RefusalCode::FullReportNeeded, .. }) => {
                // A server that never has enough must not be asked in a tight circle.
                let asked_in_full = self.acknowledged.take().is_none();
                self.report_due = Instant::now() + if asked_in_full { self.pause() } else { Duration::ZERO };
                Some(())
            }
            Err(error) => self.failed(error).await,
        }
    }

    /// A report or a poll failed: telemetry is down until a report passes.
    async fn failed(&mut self, error: EmsError) -> Option<()> {
        let now = Instant::now();
        self.failures = self.failures.saturating_add(1);
        self.push = None;
        let pause = self.pause();
        self.report_due = now + pause;
        self.poll_due = now + pause.max(self.settings.poll);
        self.push_due = now + pause;
        if error.is_removal() {
            return self.enter(TelemetryState::Removed).await;
        }
        let not_trusted = matches!(error, EmsError::NotTrusted { .. });
        self.enter(TelemetryState::Down { because: error.to_string(), not_trusted }).await
    }

    async fn pushed(&mut self, message: Result<PushMessage, EmsError>) -> Option<()> {
        let message = match message {
            Ok(message) => message,
            Err(error) => return self.push_lost(error).await,
        };
        self.last_push_id = self.push.as_ref().and_then(|push| push.last_id()).map(str::to_owned);
        match message {
            PushMessage::Hello { .. } => self.enter(TelemetryState::Up { push: true }).await,
            PushMessage::Documents { documents } => self.take(documents).await,
            PushMessage::Scan => self.deliver(Delivery::Scan).await,
            PushMessage::ReportInFull => {
                self.report_due = Instant::now();
                // The acknowledged facts stay until the full report passes: nothing else stops.
                if let Some((_, held)) = &mut self.acknowledged {
                    held.clear();
                }
                Some(())
            }
            PushMessage::Removed => {
                self.push = None;
                self.report_due = Instant::now() + self.settings.retry_most;
                self.push_due = self.report_due;
                self.poll_due = self.report_due;
                self.enter(TelemetryState::Removed).await
            }
            PushMessage::Heartbeat | PushMessage::Unrecognised => Some(()),
        }
    }

    /// The stream ended. Whether EMS still answers is asked at once: the next report tells.
    async fn push_lost(&mut self, error: EmsError) -> Option<()> {
        tracing::info!(cause = %error, "the push stream of EMS ended");
        self.push = None;
        let now = Instant::now();
        (self.report_due, self.push_due, self.poll_due) = (now, now, now + self.settings.poll);
        if matches!(error, EmsError::TimedOut) {
            return self.enter(TelemetryState::Down { because: error.to_string(), not_trusted: false }).await;
        }
        match self.state {
            Some(TelemetryState::Up { .. }) => self.enter(TelemetryState::Up { push: false }).await,
            _ => Some(()),
        }
    }

    async fn take(&mut self, documents: DocumentSet) -> Option<()> {
        if documents.is_empty() {
            return Some(());
        }
        let (changed, refused) = self.keeper.take(documents);
        for (kind, refusal) in refused {
            self.deliver(Delivery::Refused(kind, refusal)).await?;
        }
        if changed {
            let known = self.keeper.knowledge();
            self.deliver(Delivery::Knowledge(known)).await?;
        }
        Some(())
    }

    async fn enter(&mut self, state: TelemetryState) -> Option<()> {
        if self.state.as_ref() == Some(&state) {
            return Some(());
        }
        tracing::info!(?state, "telemetry");
        self.state = Some(state.clone());
        self.deliver(Delivery::Telemetry(state)).await
    }

    async fn deliver(&mut self, delivery: Delivery) -> Option<()> {
        self.deliveries.send(delivery).await.ok()
    }

    /// Push may fail for good behind some middlebox, while reports pass.
    fn push_pause(&self, error: &EmsError) -> Duration {
        tracing::debug!(cause = %error, "no push stream; polling");
        self.settings.push_retry
    }

    /// Doubles with each failure; the jitter keeps a fleet from coming back as one.
    fn pause(&self) -> Duration {
        let doubled = self.settings.retry_least.saturating_mul(1 << self.failures.min(16).saturating_sub(1));
        let whole = doubled.min(self.settings.retry_most);
        let mut byte = [0u8; 1];
        let share = match getrandom::fill(&mut byte) {
            Ok(()) => u32::from(byte[0]),
            Err(_) => 0,
        };
        whole / 2 + (whole / 2) * share / 255
    }
}

/// Never returns while nothing is being written.
async fn written(storing: &mut Option<JoinHandle<Stored>>) -> Stored {
    match storing {
        // A writer that panicked has written what it has written; the next document writes anew.
        Some(storing) => storing.await.unwrap_or(Ok(())),
        None => std::future::pending().await,
    }
}

/// Never returns while there is no stream.
async fn next_message(push: &mut Option<PushStream>) -> Result<PushMessage, EmsError> {
    match push {
        Some(stream) => stream.next().await,
        None => std::future::pending().await,
    }
}
