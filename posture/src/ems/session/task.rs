//! The task itself: one loop over what may happen, at most one request of a kind under way.

mod outcome;

use super::super::cache::Cache;
use super::super::client::EmsClient;
use super::super::error::EmsError;
use super::super::protocol::{
    DocumentSet, EndpointEvent, EventReceipt, EventUpload, FactsObject, PushMessage, ReleaseRequest, Report,
    ReportBody, ReportReply, difference,
};
use super::super::push::{self, PushStream};
use super::super::signed::Verifier;
use super::knowledge::{Forgetting, Keeper, Stored};
use super::{Command, Delivery, SessionSettings, TelemetryState, unix_now};
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
    Released { release: ReleaseRequest, result: Result<(), EmsError> },
    Renewed(Box<Result<Successor, EmsError>>),
}

/// What follows from the next certificate.
struct Successor {
    client: EmsClient,
    verifier: Verifier,
    renew_after_unix: Option<u64>,
}

/// What is under way.
#[derive(Default)]
struct UnderWay {
    report: bool,
    push: bool,
    poll: bool,
    upload: bool,
    release: bool,
    renew: bool,
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
    /// A deregistration that is to be written.
    forgetting: Option<Forgetting>,
    /// A quarantine that was ended here, of which EMS has not heard yet.
    release: Option<ReleaseRequest>,
    push: Option<PushStream>,
    last_push_id: Option<String>,
    /// The facts as they are now, with the number under which they are reported.
    facts: Option<(u64, FactsObject)>,
    /// What EMS holds.
    acknowledged: Option<(u64, FactsObject)>,
    events: VecDeque<EndpointEvent>,
    /// When the certificate is to be renewed, by the clock of the wall; none where that is never.
    renew_after_unix: Option<u64>,
    /// No earlier than this, after an attempt that failed.
    renew_due: Instant,
    state: Option<TelemetryState>,
    /// When EMS was last heard, and how long its silence is no reason to call it gone.
    heard: Instant,
    patience: Duration,
    /// Whether the agent waits to hear that EMS answers again.
    heard_is_wanted: bool,
    /// Why EMS could not be reached just now, while it does not count as gone yet.
    doubt: Option<String>,
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
        let renew_after_unix = keeper.identity().and_then(|identity| identity.renew_after_unix());
        Self {
            renew_after_unix,
            renew_due: now,
            client,
            settings,
            keeper,
            commands,
            deliveries,
            requests: JoinSet::new(),
            under_way: UnderWay::default(),
            storing: None,
            forgetting: None,
            release: None,
            push: None,
            last_push_id: None,
            facts: None,
            acknowledged: None,
            events: VecDeque::new(),
            state: None,
            heard: now,
            patience: push::patience(push::DEFAULT_HEARTBEAT),
            heard_is_wanted: false,
            doubt: None,
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
        if let Some(forgetting) = self.forgetting.take() {
            let _ = tokio::task::spawn_blocking(move || forgetting.store()).await;
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
            () = sleep_until(due) => self.lose_patience().await,
            () = self.deliveries.closed() => None,
        }
    }

    fn start_what_is_due(&mut self) {
        let now = Instant::now();
        // Writing has no limit of its own and is never let go of: two writers at once could leave
        // the older document behind.
        if now >= self.store_due && self.storing.is_none() {
            // What is forgotten goes first: documents come after it only when EMS is back.
            self.storing = match self.forgetting.take() {
                Some(forgetting) => Some(tokio::task::spawn_blocking(move || forgetting.store())),
                None => self.keeper.unstored().map(|storing| tokio::task::spawn_blocking(move || storing.store())),
            };
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
        if now >= self.renew_due
            && !self.under_way.renew
            && self.renew_after_unix.is_some_and(|after| unix_now() >= after)
        {
            self.start_renewal();
        }
        if now >= self.upload_due
            && !self.under_way.release
            && let Some(release) = self.release.clone()
        {
            self.under_way.release = true;
            let client = self.client.clone();
            self.requests.spawn(async move {
                let result = client.release(&release).await;
                Done::Released { release, result }
            });
        }
        if now >= self.upload_due && !self.under_way.upload && !self.events.is_empty() {
            self.under_way.upload = true;
            let events: Vec<_> = self.events.iter().take(EVENTS_A_REQUEST).cloned().collect();
            let (client, count) = (self.client.clone(), events.len());
            self.requests
                .spawn(async move { Done::Uploaded { count, result: client.upload(&EventUpload { events }).await } });
        }
    }

    fn start_renewal(&mut self) {
        let (client, cache) = (self.client.clone(), self.keeper.cache());
        self.under_way.renew = true;
        self.requests.spawn(async move { Done::Renewed(Box::new(renew(client, cache).await)) });
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
        consider(self.doubt.is_some(), self.heard + self.patience);
        let unstored = self.forgetting.is_some() || self.keeper.has_unstored();
        consider(self.storing.is_none() && unstored, self.store_due);
        if self.acknowledged.is_some() {
            consider(!self.under_way.push && self.push.is_none(), self.push_due);
            consider(!self.under_way.poll && self.push.is_none(), self.poll_due);
            consider(!self.under_way.upload && !self.events.is_empty(), self.upload_due);
            consider(!self.under_way.release && self.release.is_some(), self.upload_due);
            if let Some(after) = self.renew_after_unix {
                let wait = Duration::from_secs(after.saturating_sub(unix_now()));
                consider(!self.under_way.renew, self.renew_due.max(Instant::now() + wait.min(DEFAULT_KEEP_ALIVE)));
            }
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
            Command::Release(release) => self.release = Some(release),
            // While EMS is out of reach, the retry that is due anyway asks. A stream that is open makes the
            // poll needless; when it breaks, the poll is due anew.
            Command::Ask if self.failures == 0 => self.poll_due = self.poll_due.min(now),
            Command::Ask => {}
            Command::Wake => {
                self.forget_requests();
                // Connections that were kept for the next request may have died meanwhile.
                match self.client.anew() {
                    Ok(client) => self.client = client,
                    Err(error) => tracing::warn!(%error, "the connection to EMS cannot be made anew"),
                }
                self.heard_is_wanted = true;
                self.push = None;
                self.doubt = None;
                self.failures = 0;
                (self.report_due, self.push_due, self.poll_due, self.upload_due) = (now, now, now, now);
            }
            Command::Stop => return None,
        }
        Some(())
    }

    /// Lets go of what is under way; what was asked is due again.
    fn forget_requests(&mut self) {
        self.requests = JoinSet::new();
        self.under_way = UnderWay::default();
    }
}

/// Asks for the next certificate and stores it before it is used.
async fn renew(client: EmsClient, cache: Cache) -> Result<Successor, EmsError> {
    let gone = || EmsError::Local("the identity is gone".into());
    let identity = cache.identity()?.ok_or_else(gone)?;
    let next = client.renew(&identity).await?;
    cache.store_successor(&next)?;
    let verifier = cache.verifier(&next)?;
    let client = client.succeeded_by(&next)?;
    Ok(Successor { client, verifier, renew_after_unix: next.renew_after_unix() })
}

/// Never returns while nothing is being written.
async fn written(storing: &mut Option<JoinHandle<Stored>>) -> Stored {
    match storing {
        // A writer that panicked has written what it has written; the next document writes anew.
        Some(storing) => storing.await.unwrap_or(Ok(0)),
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
