//! What follows from what happened: a request that ended, a message that came, a stream that broke.

use super::super::super::error::EmsError;
use super::super::super::protocol::{DocumentSet, FactsObject, PushMessage, RefusalCode, ReportReply};
use super::super::knowledge::Stored;
use super::super::{Delivery, TelemetryState};
use super::{Done, PushStream, Successor, Task};
use std::time::Duration;
use tokio::time::Instant;

/// The longest wait between attempts while EMS may only be starting anew.
const DOUBT_PAUSE: Duration = Duration::from_secs(1);

impl Task {
    pub(super) async fn done(&mut self, done: Done) -> Option<()> {
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
                    Ok(documents) => {
                        self.hear();
                        self.take(documents).await?;
                        self.tell_heard().await
                    }
                    Err(error) => self.failed(error).await,
                }
            }
            Done::Renewed(outcome) => {
                self.under_way.renew = false;
                match *outcome {
                    Ok(successor) => self.succeed(successor),
                    Err(error) => {
                        tracing::warn!(cause = %error, "the certificate could not be renewed");
                        self.renew_due = Instant::now() + self.settings.push_retry;
                    }
                }
                Some(())
            }
            Done::Released { release, result } => {
                self.under_way.release = false;
                let is_over = match result {
                    Ok(()) => true,
                    // EMS will not think otherwise the next time.
                    Err(EmsError::Refused { code, .. }) => code != RefusalCode::RateLimited,
                    Err(_) => false,
                };
                if is_over && self.release.as_ref() == Some(&release) {
                    self.release = None;
                } else {
                    self.upload_due = Instant::now() + self.settings.push_retry;
                }
                Some(())
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

    pub(super) async fn stored(&mut self, stored: Stored) -> Option<()> {
        self.storing = None;
        match stored {
            Ok(keys) => {
                self.keeper.stored_keys(keys);
                Some(())
            }
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
                self.hear();
                self.acknowledged = Some((sequence, facts));
                self.keep_alive = Duration::from_secs(reply.keep_alive_seconds)
                    .clamp(Duration::from_secs(1), self.settings.keep_alive_most);
                let now = Instant::now();
                let is_newest = self.facts.as_ref().is_none_or(|(newest, _)| *newest == sequence);
                self.report_due = if is_newest { now + self.keep_alive } else { now };
                self.take(reply.documents).await?;
                self.enter(TelemetryState::Up { push: self.push.is_some() }).await?;
                self.tell_heard().await
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

    /// A report or a poll failed. An EMS that was heard a moment ago may be starting anew: telemetry is
    /// down once it was silent for two heartbeats, as with push, and until a report passes.
    async fn failed(&mut self, error: EmsError) -> Option<()> {
        let now = Instant::now();
        self.failures = self.failures.saturating_add(1);
        self.push = None;
        let away = matches!(error, EmsError::Unreachable(_) | EmsError::TimedOut);
        let was_up = self.state.as_ref().is_some_and(TelemetryState::is_up);
        if away && was_up && now < self.heard + self.patience {
            let pause = self.pause().min(DOUBT_PAUSE);
            (self.report_due, self.push_due, self.poll_due) = (now + pause, now + pause, now + self.settings.poll);
            self.doubt = Some(error.to_string());
            return self.enter(TelemetryState::Up { push: false }).await;
        }
        self.doubt = None;
        let pause = self.pause();
        self.report_due = now + pause;
        self.poll_due = now + pause.max(self.settings.poll);
        self.push_due = now + pause;
        if error.is_removal() {
            return self.removed().await;
        }
        let not_trusted = matches!(error, EmsError::NotTrusted { .. });
        self.enter(TelemetryState::Down { because: error.to_string(), not_trusted }).await
    }

    /// Tells the agent, which waits for that after a wake-up, that EMS has said what is new.
    async fn tell_heard(&mut self) -> Option<()> {
        match std::mem::take(&mut self.heard_is_wanted) {
            true => self.deliver(Delivery::Heard).await,
            false => Some(()),
        }
    }

    /// EMS was heard.
    fn hear(&mut self) {
        self.heard = Instant::now();
        self.doubt = None;
    }

    /// EMS has been silent for too long.
    pub(super) async fn lose_patience(&mut self) -> Option<()> {
        if Instant::now() < self.heard + self.patience {
            return Some(());
        }
        match self.doubt.take() {
            Some(because) => self.enter(TelemetryState::Down { because, not_trusted: false }).await,
            None => Some(()),
        }
    }

    pub(super) async fn pushed(&mut self, message: Result<PushMessage, EmsError>) -> Option<()> {
        let message = match message {
            Ok(message) => message,
            Err(error) => return self.push_lost(error).await,
        };
        self.hear();
        self.patience = self.push.as_ref().map_or(self.patience, PushStream::patience);
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
                self.removed().await
            }
            PushMessage::Heartbeat | PushMessage::Unrecognised => Some(()),
        }
    }

    /// Speaks under the next certificate from now on. Telemetry stays up: the next report shows it.
    fn succeed(&mut self, successor: Successor) {
        tracing::info!("the certificate was renewed");
        // What was asked under the last one would come back as if it had been asked under this one, and EMS
        // would not see this one before the next keep-alive.
        self.forget_requests();
        self.client = successor.client;
        self.keeper.succeed(successor.verifier);
        self.renew_after_unix = successor.renew_after_unix;
        self.push = None;
        let now = Instant::now();
        (self.report_due, self.push_due) = (now, now);
    }

    /// What EMS said holds no longer, here and on disk. It is asked again now and then, in full.
    async fn removed(&mut self) -> Option<()> {
        if self.state != Some(TelemetryState::Removed) {
            self.forgetting = Some(self.keeper.forget());
            self.acknowledged = None;
            self.release = None;
        }
        self.enter(TelemetryState::Removed).await
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
        if refused.iter().any(|(_, refusal)| refusal.is_of_the_clock()) {
            // Somebody may set the clock right.
            self.report_due = self.report_due.min(Instant::now() + self.settings.poll);
        }
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

    pub(super) async fn deliver(&mut self, delivery: Delivery) -> Option<()> {
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
