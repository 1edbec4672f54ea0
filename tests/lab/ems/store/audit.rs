//! The account of what was changed.

use super::StoreError;
use posture::ems::protocol::EndpointId;
use serde::Serialize;

/// One thing that was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditRow {
    /// Grows by one with each.
    pub number: u64,
    /// What is told of it.
    #[serde(flatten)]
    pub entry: AuditEntry,
}

/// What is told of one thing that was done. Never a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditEntry {
    /// When.
    pub unix_milliseconds: u64,
    /// By whom.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub subject: String,
    /// To which endpoint.
    pub endpoint: Option<EndpointId>,
    /// More of it: a number, a reason.
    pub detail: String,
    /// The digest of the subject before; none where there was nothing.
    pub before: Option<String>,
    /// The digest of the subject after; none where there is nothing any more.
    pub after: Option<String>,
}

/// What was done, for good: nothing of it is changed or taken away.
pub trait Audit {
    /// Notes what was done.
    fn add_audit(&mut self, entry: &AuditEntry) -> Result<(), StoreError>;

    /// Lists what was done after a number, oldest first, at most a thousand.
    fn audit_after(&self, number: u64) -> Result<Vec<AuditRow>, StoreError>;
}
