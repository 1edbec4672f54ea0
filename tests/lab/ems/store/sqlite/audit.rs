//! The account of what was changed.

use super::{Sqlite, integer, unsigned};
use crate::ems::store::{Audit, AuditEntry, AuditRow, StoreError};
use posture::ems::protocol::EndpointId;
use rusqlite::params;

impl Audit for Sqlite {
    fn add_audit(&mut self, entry: &AuditEntry) -> Result<(), StoreError> {
        self.connection.execute(
            "INSERT INTO audit (unix_milliseconds, actor, action, subject, endpoint, detail, before, after) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                integer(entry.unix_milliseconds),
                entry.actor,
                entry.action,
                entry.subject,
                entry.endpoint.as_ref().map(|endpoint| &endpoint.0),
                entry.detail,
                entry.before,
                entry.after
            ],
        )?;
        Ok(())
    }

    fn audit_after(&self, number: u64) -> Result<Vec<AuditRow>, StoreError> {
        Ok(self
            .connection
            .prepare(
                "SELECT number, unix_milliseconds, actor, action, subject, endpoint, detail, before, after \
                 FROM audit WHERE number > ?1 ORDER BY number LIMIT 1000",
            )?
            .query_map([integer(number)], |row| {
                let entry = AuditEntry {
                    unix_milliseconds: unsigned(row.get(1)?),
                    actor: row.get(2)?,
                    action: row.get(3)?,
                    subject: row.get(4)?,
                    endpoint: row.get::<_, Option<String>>(5)?.map(EndpointId),
                    detail: row.get(6)?,
                    before: row.get(7)?,
                    after: row.get(8)?,
                };
                Ok(AuditRow { number: unsigned(row.get(0)?), entry })
            })?
            .collect::<Result<_, _>>()?)
    }
}
