//! How many connections the control socket serves at a time, and for whom.
//!
//! A user who opens connections without end takes places from nobody but that user: each has a share
//! of their own, and administrators do not count towards what all share.

use super::transport::Peer;
use postern_api::method::Role;
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
    pub(super) fn take(&self, peer: &Peer) -> Option<Place> {
        let key = (peer.role == Role::Administrator, peer.uid);
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

    fn peer(uid: u32, role: Role) -> Peer {
        Peer { uid: Some(uid), role }
    }

    #[test]
    fn one_user_takes_no_place_from_another() {
        let places = Places::default();
        let held: Vec<_> = (0..MAXIMUM_OF_ONE).map(|_| places.take(&peer(1000, Role::User)).unwrap()).collect();
        assert!(places.take(&peer(1000, Role::User)).is_none());
        assert!(places.take(&peer(1001, Role::User)).is_some());
        drop(held);
        assert!(places.take(&peer(1000, Role::User)).is_some());
    }

    #[test]
    fn many_users_take_no_place_from_the_administrator() {
        let places = Places::default();
        let users = (1000..).flat_map(|uid| [uid; MAXIMUM_OF_ONE]).take(MAXIMUM);
        let held: Vec<_> = users.map(|uid| places.take(&peer(uid, Role::User)).unwrap()).collect();
        assert!(places.take(&peer(5000, Role::User)).is_none());
        assert!(places.take(&peer(0, Role::Administrator)).is_some());
        drop(held);
        assert!(places.taken.lock().unwrap().is_empty());
    }
}
