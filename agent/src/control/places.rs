//! How many connections the control socket serves at a time, and for whom.
//!
//! A user who opens connections without end takes places from nobody but that user: each has a share
//! of their own, and administrators do not count towards what all share.

use super::transport::Arrival;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The most connections at a time that are not administrators'.
const MAXIMUM: usize = 256;
/// The most connections of one user at a time.
const MAXIMUM_OF_ONE: usize = 32;

/// Whether a user administers, and which user it is.
type Holder = (bool, Option<u32>);

/// The places that are taken.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    taken: Arc<Mutex<BTreeMap<Holder, usize>>>,
}

impl Places {
    /// Takes a place for a caller, if there is one left for that user.
    pub(super) fn take(&self, arrival: &Arrival) -> Option<Place> {
        let key = (arrival.administrator, arrival.uid);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let shared: usize = taken.iter().filter(|((administrator, _), _)| !administrator).map(|(_, count)| count).sum();
        if !key.0 && shared >= MAXIMUM {
            return None;
        }
        let own = taken.entry(key).or_default();
        if *own >= MAXIMUM_OF_ONE {
            return None;
        }
        *own += 1;
        Some(Place { places: self.clone(), key })
    }
}

/// One place; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    key: Holder,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(uid: u32) -> Arrival {
        Arrival { uid: Some(uid), administrator: uid == 0 }
    }

    #[test]
    fn one_user_takes_no_place_from_another() {
        let places = Places::default();
        let held: Vec<_> = (0..MAXIMUM_OF_ONE).map(|_| places.take(&of(1000)).unwrap()).collect();
        assert!(places.take(&of(1000)).is_none());
        assert!(places.take(&of(1001)).is_some());
        drop(held);
        assert!(places.take(&of(1000)).is_some());
    }

    #[test]
    fn many_users_take_no_place_from_the_administrator() {
        let places = Places::default();
        let users = (1000..).flat_map(|uid| [uid; MAXIMUM_OF_ONE]).take(MAXIMUM);
        let held: Vec<_> = users.map(|uid| places.take(&of(uid)).unwrap()).collect();
        assert!(places.take(&of(5000)).is_none());
        assert!(places.take(&of(0)).is_some());
        drop(held);
        assert!(places.taken.lock().unwrap().is_empty());
    }
}
