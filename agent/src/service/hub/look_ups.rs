//! How many connections may have names looked up for them at a time, and for whom.
//!
//! Each name that is looked up is a process. Whoever asks for connections without end, and hangs up, has no more
//! of them than a share: neither by asking for many at once nor by asking again before they have ended.

use crate::control::Caller;
use postern_api::fault::{Fault, FaultName};
use postern_api::method::Role;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// The most connections at a time that are not administrators'.
const MOST: usize = 16;
/// The most connections of one user at a time.
const MOST_OF_ONE: usize = 4;
/// The most names that are looked up at a time for all of them.
const MOST_NAMES: usize = 32;

/// Whether a user administers, and which user it is.
type Holder = (bool, Option<u32>);

/// The turns that are taken.
#[derive(Clone, Debug)]
pub(in crate::service) struct LookUps {
    taken: Arc<Mutex<BTreeMap<Holder, usize>>>,
    names: Arc<Semaphore>,
}

impl Default for LookUps {
    fn default() -> Self {
        Self { taken: Arc::default(), names: Arc::new(Semaphore::new(MOST_NAMES)) }
    }
}

impl LookUps {
    /// Takes a turn for what `caller` asks of `tunnel`.
    ///
    /// # Errors
    /// When this user, or all together, have as many as may be under way.
    pub(in crate::service) fn take(&self, caller: &Caller, tunnel: &str) -> Result<Turn, Fault> {
        let holder = (caller.role == Role::Administrator, caller.uid);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let shared: usize = taken.iter().filter(|((administrator, _), _)| !administrator).map(|(_, count)| count).sum();
        let own = taken.get(&holder).copied().unwrap_or_default();
        let whose = match own >= MOST_OF_ONE {
            true => "this user",
            false if !holder.0 && shared >= MOST => "all users together",
            false => {
                taken.insert(holder, own.saturating_add(1));
                return Ok(Turn { look_ups: self.clone(), holder });
            }
        };
        let detail = format!("waits for too much: {whose} has as many connections being looked up as may be");
        Err(Fault::new(FaultName::ServiceUnavailable, tunnel, detail, "wait until they have ended, then try again"))
    }
}

/// One turn; given back when dropped.
#[derive(Debug)]
pub(in crate::service) struct Turn {
    look_ups: LookUps,
    holder: Holder,
}

impl Turn {
    /// Returns what bounds the names that are looked up at a time.
    pub(in crate::service) fn names(&self) -> Arc<Semaphore> {
        Arc::clone(&self.look_ups.names)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut taken = self.look_ups.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.holder) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.remove(&self.holder);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(uid: u32) -> Caller {
        let role = if uid == 0 { Role::Administrator } else { Role::User };
        Caller { uid: Some(uid), role, events: tokio::sync::mpsc::channel(1).0 }
    }

    #[test]
    fn one_user_takes_no_turn_from_another_and_all_none_from_the_administrator() {
        let look_ups = LookUps::default();
        let take = |uid| look_ups.take(&caller(uid), "work");
        let held: Vec<Turn> = (0..MOST_OF_ONE).map(|_| take(1000).unwrap()).collect();
        assert!(take(1000).unwrap_err().to_string().contains("this user"));
        let others: Vec<Turn> = (1001..)
            .flat_map(|uid| [uid; MOST_OF_ONE])
            .take(MOST - MOST_OF_ONE)
            .map(|uid| take(uid).unwrap())
            .collect();
        assert!(take(2000).unwrap_err().to_string().contains("all users"));
        assert!(take(0).is_ok());
        drop(held);
        assert!(take(1000).is_ok() && take(2000).is_ok());
        drop(others);
        assert!(look_ups.taken.lock().unwrap().is_empty());
    }
}
