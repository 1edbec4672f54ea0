//! One look at the system: in a thread, with an end.

use super::{Context, now_unix};
use crate::facts::{Fact, Observation};
use std::collections::{BTreeMap, HashSet};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What a look saw, and where.
pub(super) struct Look<T> {
    pub(super) observation: Observation<T>,
    pub(super) source: String,
}

impl<T> Look<T> {
    pub(super) fn new(observation: Observation<T>, source: impl Into<String>) -> Self {
        Self { observation, source: source.into() }
    }

    pub(super) fn known(value: T, source: impl Into<String>) -> Self {
        Self::new(Observation::Known(value), source)
    }

    pub(super) fn unknown(reason: impl Into<String>, source: impl Into<String>) -> Self {
        Self::new(Observation::Unknown(reason.into()), source)
    }

    /// A look at what only the running system has.
    pub(super) fn not_below_another_root() -> Self {
        Self::unknown("only the running system has it, and the collector looks at another root", "")
    }
}

/// The looks that are under way, so that a look which hangs is not started a second time.
#[derive(Debug, Default)]
pub(super) struct Bench {
    busy: Arc<Mutex<HashSet<&'static str>>>,
}

impl Bench {
    /// Starts a look in a thread of its own.
    pub(super) fn start<T: Send + 'static>(
        &self,
        area: &'static str,
        context: &Arc<Context>,
        look: impl FnOnce(&Context) -> Look<T> + Send + 'static,
    ) -> Pending<T> {
        if !lock(&self.busy).insert(area) {
            return Pending::Failed("an earlier look has not come back yet".to_owned());
        }
        let (sender, receiver) = sync_channel(1);
        let context = Arc::clone(context);
        let place = Place { area, busy: Arc::clone(&self.busy) };
        let spawned = thread::Builder::new().name(format!("look-{area}")).spawn(move || {
            let place = place;
            let look = look(&context);
            drop(place);
            // Nobody listens any more when the look came too late.
            let _ = sender.send(look);
        });
        match spawned {
            Ok(_) => Pending::Running(receiver),
            Err(error) => Pending::Failed(format!("no thread to look with: {error}")),
        }
    }
}

/// Frees the area when the look ends, also by a panic or when its thread could not start.
struct Place {
    area: &'static str,
    busy: Arc<Mutex<HashSet<&'static str>>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.busy).remove(self.area);
    }
}

fn lock<'a>(busy: &'a Mutex<HashSet<&'static str>>) -> std::sync::MutexGuard<'a, HashSet<&'static str>> {
    busy.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A look that was started.
pub(super) enum Pending<T> {
    Running(Receiver<Look<T>>),
    Failed(String),
}

impl<T> Pending<T> {
    /// Waits for the look until `deadline`, and makes a fact of it.
    pub(super) fn finish(self, deadline: Instant) -> Fact<T> {
        let look = match self {
            Self::Failed(reason) => Look::unknown(reason, ""),
            Self::Running(receiver) => {
                match receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                    Ok(look) => look,
                    Err(RecvTimeoutError::Timeout) => Look::unknown("looking took too long", ""),
                    Err(RecvTimeoutError::Disconnected) => Look::unknown("the look failed", ""),
                }
            }
        };
        Fact::new(look.observation, look.source, now_unix())
    }
}

/// What was seen of each thing that was asked for.
pub(super) type Seen<K, V> = BTreeMap<K, Observation<V>>;

/// Returns the fact of one thing out of the look at all.
pub(super) fn one<K: Ord, V: Clone>(wanted: &K, source: &str, all: &Fact<Seen<K, V>>) -> Fact<V> {
    let observation = match &all.observation {
        Observation::Known(seen) => {
            seen.get(wanted).cloned().unwrap_or_else(|| Observation::Unknown("not looked at".to_owned()))
        }
        Observation::Unknown(reason) => Observation::Unknown(reason.clone()),
        Observation::Denied(reason) => Observation::Denied(reason.clone()),
    };
    Fact::new(observation, source, all.gathered_unix)
}

/// Returns the moment that lies `limit` ahead.
pub(super) fn deadline(limit: Duration) -> Instant {
    Instant::now() + limit
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::Settings;
    use std::sync::mpsc::channel;

    fn context() -> Arc<Context> {
        Arc::new(Context { root: "/".into(), settings: Settings::default() })
    }

    #[test]
    fn a_look_that_hangs_is_unknown_and_is_not_started_twice() {
        let bench = Bench::default();
        let (release, held) = channel::<()>();
        let (ended, end) = channel::<()>();
        let slow = bench.start("slow", &context(), move |_| {
            let _ = held.recv();
            let _ = ended.send(());
            Look::known(1_u8, "slow")
        });
        let fact = slow.finish(Instant::now());
        assert_eq!(fact.observation.reason(), Some("looking took too long"));
        let again = bench.start("slow", &context(), |_| Look::known(2_u8, "slow"));
        let again = again.finish(deadline(Duration::from_secs(60)));
        assert_eq!(again.observation.reason(), Some("an earlier look has not come back yet"));
        release.send(()).unwrap();
        end.recv().unwrap();
        while lock(&bench.busy).contains("slow") {
            thread::yield_now();
        }
        let later = bench.start("slow", &context(), |_| Look::known(3_u8, "slow"));
        assert_eq!(later.finish(deadline(Duration::from_secs(60))).value(), Some(&3));
    }

    #[test]
    fn a_look_that_panics_is_unknown() {
        let bench = Bench::default();
        let look = bench.start::<u8>("broken", &context(), |_| panic!("on purpose"));
        let fact = look.finish(deadline(Duration::from_secs(60)));
        assert_eq!(fact.observation.reason(), Some("the look failed"));
        assert!(!lock(&bench.busy).contains("broken"));
    }
}
