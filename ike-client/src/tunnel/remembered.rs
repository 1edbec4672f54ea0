//! What outlives one tunnel: which answers about revocation are still good.
//!
//! One process keeps one, for all tunnels that it makes one after the other. It holds no secret, and nothing in it is
//! believed without being held against the certificate in question
//! ([`certificate::known`](crate::auth::certificate::known)).

use super::clock;
use crate::auth::certificate::known::Memory;
use crate::auth::certificate::{Known, KnownAnswer};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// See the module's description. Clones share what they hold.
#[derive(Clone, Debug, Default)]
pub struct Remembered(Arc<Mutex<Memory>>);

impl Remembered {
    /// Keeps an answer.
    pub fn learn(&self, answer: KnownAnswer) {
        tracing::debug!(?answer, "an answer about revocation is kept");
        self.memory().learn(answer, clock::now());
    }

    /// Returns what is known now.
    pub fn known(&self) -> Known {
        let unix_now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.memory().known(clock::now(), unix_now)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
