//! What administrators did.

use super::{Store, StoreError, integer, unsigned};
use posture::ems::protocol::EndpointId;
use rusqlite::params;
use serde::Serialize;

/// One thing that was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditRow {
    /// Grows by one with each.
    pub number: u64,
    /// When.
    pub unix_milliseconds: u64,
    /// What.
    pub action: String,
    /// To which endpoint.
    pub endpoint: Option<EndpointId>,
    /// More of it: a name, a number, a reason. Never a secret.
    pub detail: String,
}

impl Store {
    /// Notes what was done.
    pub fn add_audit(
        &mut self,
        unix_milliseconds: u64,
        action: &str,
        endpoint: Option<&EndpointId>,
        detail: &str,
    ) -> Result<(), StoreError> {
        self.connection.execute(
            "INSERT INTO audit (unix_milliseconds, action, endpoint, detail) VALUES (?1, ?2, ?3, ?4)",
            params![integer(unix_milliseconds), action, endpoint.map(|endpoint| &endpoint.0), detail],
        )?;
        Ok(())
    }

    /// Lists what was done after a number, oldest first, at most a thousand.
    pub fn audit_after(&self, number: u64) -> Result<Vec<AuditRow>, StoreError> {
        self.connection
            .prepare(
                "SELECT number, unix_milliseconds, action, endpoint, detail FROM audit WHERE number > ?1 \
                 ORDER BY number LIMIT 1000",
            )?
            .query_map([integer(number)], |row| {
                Ok(AuditRow {
                    number: unsigned(row.get(0)?),
                    unix_milliseconds: unsigned(row.get(1)?),
                    action: row.get(2)?,
                    endpoint: row.get::<_, Option<String>>(3)?.map(EndpointId),
                    detail: row.get(4)?,
                })
            })?
            .collect()
    }
}
