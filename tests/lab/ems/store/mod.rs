//! What EMS keeps, behind an interface: [`Store`] is all that the office knows of it, [`Sqlite`] is a file.
//!
//! Rows in, rows out: no decision is made here. Calls block; the server makes them on threads for blocking
//! work. What is committed outlives the process, `kill -9` included.

mod audit;
mod certificate;
mod endpoint;
mod fabric;
mod policy;
mod sqlite;

pub use audit::{Audit, AuditEntry, AuditRow};
pub use certificate::{CertificateRow, Certificates};
pub use endpoint::{EndpointRow, Endpoints, IssuedDocument, NewEndpoint, StoredEvent};
pub use fabric::{Fabric, FabricDevice};
pub use policy::{GroupRow, InvitationRow, NewInvitation, Policies};
pub use sqlite::Sqlite;

/// What goes wrong in a store: for EMS's log.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct StoreError(Box<dyn std::error::Error + Send + Sync>);

impl StoreError {
    /// Wraps what a kind of store calls its errors.
    pub fn new(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(error.into())
    }
}

/// Everything that EMS keeps.
pub trait Store: Audit + Certificates + Endpoints + Fabric + Policies + Send {
    /// Begins changes that hold together. Begun within others they are undone alone, and last with those.
    fn begin(&mut self) -> Result<(), StoreError>;

    /// Makes the changes since the last [`Self::begin`] last.
    fn commit(&mut self) -> Result<(), StoreError>;

    /// Takes them back.
    fn roll_back(&mut self) -> Result<(), StoreError>;
}

impl dyn Store {
    /// Runs changes as one: all of them or none, however it ends.
    pub fn transaction<T, E: From<StoreError>>(
        &mut self,
        change: impl FnOnce(&mut (dyn Store + 'static)) -> Result<T, E>,
    ) -> Result<T, E> {
        self.begin()?;
        let mut changes = Changes { store: self, kept: false };
        let value = change(&mut *changes.store)?;
        changes.store.commit()?;
        changes.kept = true;
        Ok(value)
    }
}

/// Changes that are taken back unless they are kept.
struct Changes<'a> {
    store: &'a mut (dyn Store + 'static),
    kept: bool,
}

impl Drop for Changes<'_> {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = self.store.roll_back()
        {
            tracing::error!(%error, "changes could not be taken back");
        }
    }
}

#[cfg(test)]
mod tests;
