//! SQLite: what must survive `kill -9`. Every statement is parameterised.
//!
//! A commit is in the system's hands when it returns, and on the disk a little later: that outlives
//! the process, and not a power cut of the machine. A lab can live with that, and a change need not
//! wait for a disk before it is pushed. Counters, which must never be given twice, skip ahead
//! whenever the file is opened.

mod audit;
mod certificate;
mod endpoint;
mod fabric;
mod policy;
mod schema;

use super::{Policies, Store, StoreError};
use rusqlite::Connection;
use std::path::Path;
use std::time::Duration;

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::new(error)
    }
}

/// By how much counters skip ahead: more than can be lost in a power cut.
const COUNTERS_SKIPPED: u64 = 1_000;

/// A SQLite database.
pub struct Sqlite {
    connection: Connection,
    /// How many begun changes stand within one another.
    depth: usize,
}

impl Sqlite {
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
        let mut store = Self { connection, depth: 0 };
        store.skip_counters(COUNTERS_SKIPPED)?;
        Ok(store)
    }

    /// Lets every counter and the policy's version skip ahead.
    fn skip_counters(&mut self, by: u64) -> Result<(), StoreError> {
        let version = self.policy_version()?.saturating_add(by);
        // A database that fails here is not used: what was begun ends with it.
        self.begin()?;
        self.set_setting("policy_version", &version.to_string())?;
        self.connection.execute("UPDATE endpoint SET counter = counter + ?1", [integer(by)])?;
        self.commit()
    }
}

impl Store for Sqlite {
    fn begin(&mut self) -> Result<(), StoreError> {
        match self.depth {
            0 => self.connection.execute_batch("BEGIN IMMEDIATE")?,
            // A name cannot be a parameter; the number is ours.
            depth => self.connection.execute_batch(&format!("SAVEPOINT within_{depth}"))?,
        }
        self.depth += 1;
        Ok(())
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        match self.depth {
            0 => return Err(StoreError::new("nothing was begun")),
            1 => self.connection.execute_batch("COMMIT")?,
            depth => self.connection.execute_batch(&format!("RELEASE within_{}", depth - 1))?,
        }
        self.depth -= 1;
        Ok(())
    }

    fn roll_back(&mut self) -> Result<(), StoreError> {
        let undone = match self.depth {
            0 => return Err(StoreError::new("nothing was begun")),
            // SQLite has done it by itself after some errors, such as a full disk.
            1 if self.connection.is_autocommit() => Ok(()),
            1 => self.connection.execute_batch("ROLLBACK"),
            depth => {
                let name = depth - 1;
                self.connection.execute_batch(&format!("ROLLBACK TO within_{name}; RELEASE within_{name}"))
            }
        };
        self.depth -= 1;
        Ok(undone?)
    }
}

/// SQLite's integers are signed; what is larger than they can hold is held as their largest.
fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
