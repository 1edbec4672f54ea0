//! Settings, the policy's version, invitations.

use super::{Store, StoreError, integer, unsigned};
use rusqlite::{OptionalExtension, params};

/// One invitation. The code itself is not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvitationRow {
    /// Until when it can be used, seconds since 1970.
    pub expires_unix: u64,
    /// Whether it was.
    pub used: bool,
}

impl Store {
    /// Reads a setting.
    pub fn setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.connection.query_row("SELECT value FROM setting WHERE name = ?1", [name], |row| row.get(0)).optional()
    }

    /// Writes a setting.
    pub fn set_setting(&mut self, name: &str, value: &str) -> Result<(), StoreError> {
        self.connection.execute(
            "INSERT INTO setting (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2",
            [name, value],
        )?;
        Ok(())
    }

    /// Reads the version of the policy: profile, rules and tag names.
    pub fn policy_version(&self) -> Result<u64, StoreError> {
        Ok(self.setting("policy_version")?.and_then(|text| text.parse().ok()).unwrap_or(1))
    }

    /// Raises the version of the policy.
    pub fn raise_policy_version(&mut self) -> Result<(), StoreError> {
        let next = self.policy_version()?.saturating_add(1);
        self.set_setting("policy_version", &next.to_string())
    }

    /// Lets every counter and the policy's version skip ahead.
    pub(super) fn skip_counters(&mut self, by: u64) -> Result<(), StoreError> {
        let version = self.policy_version()?.saturating_add(by);
        self.transaction(|store| {
            store.set_setting("policy_version", &version.to_string())?;
            store.connection.execute("UPDATE endpoint SET counter = counter + ?1", [integer(by)])?;
            Ok(())
        })
    }

    /// Adds an invitation.
    pub fn add_invitation(
        &mut self,
        code_hash: &[u8],
        label: &str,
        created_unix: u64,
        expires_unix: u64,
    ) -> Result<(), StoreError> {
        self.connection.execute(
            "INSERT INTO invitation (code_hash, label, created_unix, expires_unix) VALUES (?1, ?2, ?3, ?4)",
            params![code_hash, label, integer(created_unix), integer(expires_unix)],
        )?;
        Ok(())
    }

    /// Finds an invitation.
    pub fn invitation(&self, code_hash: &[u8]) -> Result<Option<InvitationRow>, StoreError> {
        self.connection
            .query_row(
                "SELECT expires_unix, used_unix IS NOT NULL FROM invitation WHERE code_hash = ?1",
                [code_hash],
                |row| Ok(InvitationRow { expires_unix: unsigned(row.get(0)?), used: row.get(1)? }),
            )
            .optional()
    }

    /// Uses an invitation up. Tells whether this call was the one that did.
    pub fn use_invitation(&mut self, code_hash: &[u8], by: &str, now_unix: u64) -> Result<bool, StoreError> {
        let changed = self.connection.execute(
            "UPDATE invitation SET used_unix = ?2, used_by = ?3 WHERE code_hash = ?1 AND used_unix IS NULL",
            params![code_hash, integer(now_unix), by],
        )?;
        Ok(changed == 1)
    }
}
