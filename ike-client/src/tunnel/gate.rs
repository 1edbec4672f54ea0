//! The gate that every packet passes, in both directions: open only while a lease runs.
//!
//! A thread of the data plane enters before it sends or delivers a batch and stays inside while it
//! does; entering reads the clock, which goes on in suspend. Closing waits until nobody is inside:
//! once [`Gate::revoke`] or [`Gate::shut`] has returned, nothing more leaves.

use super::clock;
use super::lease::LeaseReader;
use crate::Timestamp;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

/// Whether packets may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No lease was granted, or it was revoked.
    Closed,
    /// Packets pass until this moment.
    Leased(Timestamp),
    /// For good: no grant opens it again.
    Shut,
}

/// The gate.
#[derive(Debug)]
pub struct Gate {
    state: RwLock<State>,
    /// Where the owner writes the end of a lease that runs, if it shares that.
    shared: Option<Arc<LeaseReader>>,
}

/// The right to let one batch pass; the gate cannot be closed while it is held.
#[derive(Debug)]
pub struct Passage<'a> {
    _inside: RwLockReadGuard<'a, State>,
}

impl Gate {
    /// Makes a gate that is closed.
    pub const fn new() -> Self {
        Self::reading(None)
    }

    /// Makes a gate that is closed. Once a lease was granted its end is what `shared` says, where there is
    /// such a thing.
    pub const fn reading(shared: Option<Arc<LeaseReader>>) -> Self {
        Self { state: RwLock::new(State::Closed), shared }
    }

    /// Enters, if a lease runs at this moment.
    pub fn enter(&self) -> Option<Passage<'_>> {
        let inside = self.state.read().unwrap_or_else(PoisonError::into_inner);
        // The clock is read inside: a stop between reading and entering would let a packet out.
        match *inside {
            State::Leased(until) if clock::now() < self.shared.as_ref().map_or(until, |shared| shared.end()) => {
                Some(Passage { _inside: inside })
            }
            _ => None,
        }
    }

    /// Lets packets pass until `until`. Does nothing once the gate is shut.
    pub fn grant(&self, until: Timestamp) {
        self.change(State::Leased(until));
    }

    /// Lets nothing pass until the next grant.
    pub fn revoke(&self) {
        self.change(State::Closed);
    }

    /// Lets nothing pass any more.
    pub fn shut(&self) {
        self.change(State::Shut);
    }

    fn change(&self, to: State) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if *state != State::Shut {
            *state = to;
        }
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn nothing_passes_without_a_lease_after_it_or_after_shutting() {
        let gate = Gate::new();
        assert!(gate.enter().is_none());
        gate.grant(clock::now() + Duration::from_secs(60));
        assert!(gate.enter().is_some());
        gate.grant(clock::now() + Duration::from_millis(10));
        std::thread::sleep(Duration::from_millis(15));
        assert!(gate.enter().is_none(), "the last grant counts, and it has run out");
        gate.grant(clock::now() + Duration::from_secs(60));
        gate.revoke();
        assert!(gate.enter().is_none());
        gate.shut();
        gate.grant(clock::now() + Duration::from_secs(60));
        assert!(gate.enter().is_none());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_shared_lease_ends_when_its_owner_says_so_and_begins_by_a_grant_alone() {
        use crate::tunnel::lease::LeaseWriter;
        let (owner, file) = LeaseWriter::share().unwrap();
        let gate = Gate::reading(Some(Arc::new(LeaseReader::find(file).unwrap())));
        let later = clock::now() + Duration::from_secs(60);
        owner.grant(later);
        assert!(gate.enter().is_none(), "nobody has granted it here");
        gate.grant(clock::now());
        assert!(gate.enter().is_some(), "it was renewed since");
        owner.revoke();
        assert!(gate.enter().is_none());
        owner.grant(clock::now() + Duration::from_millis(10));
        std::thread::sleep(Duration::from_millis(15));
        assert!(gate.enter().is_none(), "nobody has renewed it");
        owner.grant(later);
        gate.revoke();
        assert!(gate.enter().is_none(), "revoked is revoked");
        gate.grant(later);
        gate.shut();
        assert!(gate.enter().is_none());
    }

    #[test]
    fn shutting_waits_for_who_is_inside() {
        let gate = Arc::new(Gate::new());
        gate.grant(clock::now() + Duration::from_secs(60));
        let passage = gate.enter().unwrap();
        let other = Arc::clone(&gate);
        let closing = std::thread::spawn(move || other.shut());
        std::thread::sleep(Duration::from_millis(30));
        assert!(!closing.is_finished());
        drop(passage);
        closing.join().unwrap();
        assert!(gate.enter().is_none());
    }
}
