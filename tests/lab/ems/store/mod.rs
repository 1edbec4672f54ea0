//! SQLite: what must survive `kill -9`. Every statement is parameterised.
//!
//! A commit is in the system's hands when it returns, and on the disk a little later: that outlives
//! the process, and not a power cut of the machine. A lab can live with that, and a change need not
//! wait for a disk before it is pushed. Counters, which must never be given twice, skip ahead
//! whenever the file is opened.
//!
//! Rows in, rows out: no decision is made here. Calls block; the server makes them on threads for
//! blocking work.

mod audit;
mod certificate;
mod endpoint;
mod fabric;
mod policy;
mod schema;

pub use audit::AuditRow;
pub use certificate::CertificateRow;
pub use endpoint::{EndpointRow, IssuedDocument, NewEndpoint, StoredEvent};
pub use fabric::FabricDevice;
pub use policy::{GroupRow, InvitationRow, NewInvitation};

use rusqlite::Connection;
use std::path::Path;
use std::time::Duration;

/// What goes wrong in the store.
pub type StoreError = rusqlite::Error;

/// By how much counters skip ahead: more than can be lost in a power cut.
const COUNTERS_SKIPPED: u64 = 1_000;

/// The database.
pub struct Store {
    connection: Connection,
}

impl Store {
    /// Opens the file and brings its schema up to date.
    pub fn open(file: &Path) -> Result<Self, StoreError> {
        Self::prepare(Connection::open(file)?)
    }

    /// Opens a database that ends with the process: for tests of decisions.
    pub fn in_memory() -> Result<Self, StoreError> {
        Self::prepare(Connection::open_in_memory()?)
    }

    fn prepare(mut connection: Connection) -> Result<Self, StoreError> {
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "foreign_keys", "ON")?;
        schema::migrate(&mut connection)?;
        let mut store = Self { connection };
        store.skip_counters(COUNTERS_SKIPPED)?;
        Ok(store)
    }

    /// Runs changes as one transaction: all of them or none.
    pub fn transaction<T, E: From<StoreError>>(
        &mut self,
        change: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        match change(self) {
            Ok(value) => {
                self.connection.execute_batch("COMMIT")?;
                Ok(value)
            }
            Err(error) => {
                self.connection.execute_batch("ROLLBACK")?;
                Err(error)
            }
        }
    }
}

/// SQLite's integers are signed; what is larger than they can hold is held as their largest.
fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
