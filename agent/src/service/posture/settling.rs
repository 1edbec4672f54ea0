//! Patience with posture that changes: new rules that ask for what was not looked at yet, and tags that
//! come and go.
//!
//! New rules leave tags unknown for the moment that looking and reporting take, in EMS's snapshot as well as
//! here. Unknown refuses; but a tunnel that is up is not taken down for a question that is being answered.

use crate::connection::{Connection, Resume};
use crate::profile::Entry;
use crate::service::hub::Hub;
use ike_client::Timestamp;
use ike_client::tunnel::clock;
use postern_api::state::PostureStanding;
use std::time::Duration;

/// How long new rules of EMS may leave tags unknown, because they ask for what was not looked at and not
/// reported yet, before tunnels that are up are judged by that. Below the second within which a change at
/// EMS is to hold; what is known to be bad is judged at once.
const SETTLING: Duration = Duration::from_millis(900);

/// New rules wait for what they ask of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::service) struct Settling {
    /// Since when.
    since: Timestamp,
    /// Until when at most.
    until: Timestamp,
}

/// Tells whether a connection rests and comes back when posture admits it.
const fn returns(connection: &Connection) -> bool {
    matches!(
        connection,
        Connection::Disconnected { resume: Resume::WhenCompliant(_), .. }
            | Connection::Blocked { resume: Resume::WhenCompliant(_), .. }
    )
}

impl Settling {
    /// Begins.
    pub(in crate::service) fn begin(since: Timestamp) -> Self {
        Self { since, until: since + SETTLING }
    }

    /// Returns when it ends at the latest.
    pub(in crate::service) fn until(self) -> Timestamp {
        self.until
    }
}

/// How long posture must have admitted a tunnel before it comes back by itself: tags that come and go
/// many times a second are no reason to knock at the gateway as often.
const STEADY: Duration = Duration::from_secs(1);

impl Hub {
    /// Tells whether a connection is to hear how posture stands: at once, but for one that would come back
    /// by itself, which waits until posture has admitted it for a while, and after a sleep until EMS was asked.
    pub(in crate::service) fn holds_steadily(&mut self, name: &str, standing: &PostureStanding) -> bool {
        let returns = self.connections.get(name).is_some_and(returns);
        if !returns || matches!(standing, PostureStanding::Refused { .. }) {
            self.examination.admitted.remove(name);
            return true;
        }
        if self.examination.ems_is_awaited {
            return false;
        }
        let now = clock::now();
        let since = *self.examination.admitted.entry(name.to_owned()).or_insert(now);
        now.saturating_since(since) >= STEADY
    }

    /// Tells whether a tunnel waits to come back by itself.
    pub(in crate::service) fn returns_are_pending(&self) -> bool {
        self.connections.values().any(returns)
    }

    /// Judges a tunnel. One that is up outlives tags that are unknown only until new rules have been
    /// looked at.
    pub(in crate::service) fn standing_now(&self, name: &str, entry: &Entry, now_unix: u64) -> PostureStanding {
        let standing = self.view.standing(name, entry, now_unix);
        let is_up = matches!(self.connections.get(name), Some(Connection::Connected(_)));
        let settling = self.examination.settling.is_some();
        match (&standing, self.standings.get(name)) {
            (PostureStanding::Refused { .. }, Some(before))
                if settling
                    && is_up
                    && !matches!(before, PostureStanding::Refused { .. })
                    && self.view.lacks_only_knowledge(entry, now_unix) =>
            {
                before.clone()
            }
            _ => standing,
        }
    }

    /// Ends the patience with new rules once they were looked at and EMS has judged what was reported, or
    /// when its time is over.
    pub(in crate::service) fn finish_settling(&mut self) {
        let Some(settling) = self.examination.settling else { return };
        let looked = self.examination.gathered.is_some_and(|gathered| gathered >= settling.since);
        let judged = !self.view.ems.as_ref().is_some_and(|ems| ems.telemetry.is_up())
            || self.view.snapshot_sequence() >= self.examination.reported;
        if clock::now() >= settling.until || (looked && judged) {
            self.examination.settling = None;
        }
    }

    /// Judges again when the patience with new rules is over.
    pub(in crate::service) fn end_settling(&mut self) {
        if self.examination.settling.is_some_and(|settling| clock::now() >= settling.until) {
            self.rejudge();
        }
    }
}
