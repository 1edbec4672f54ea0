//! Settings, the policy's version, profiles, groups, invitations.

use super::{Store, StoreError, integer, unsigned};
use posture::ems::protocol::EndpointId;
use rusqlite::types::Type;
use rusqlite::{OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

/// One invitation. The code itself is not stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InvitationRow {
    /// By what an administrator names it.
    pub id: String,
    /// For whom it is, for people.
    pub label: String,
    /// When it was made, seconds since 1970.
    pub created_unix: u64,
    /// Until when it can be used, seconds since 1970.
    pub expires_unix: u64,
    /// How often it can be used; 0 is without a limit.
    pub uses: u64,
    /// How often it was.
    pub used: u64,
    /// Whether it was taken back.
    pub revoked: bool,
    /// The group of the endpoints that it lets in.
    pub group: Option<String>,
}

/// An invitation that is made.
pub struct NewInvitation<'a> {
    /// The digest of its code.
    pub code_hash: &'a [u8],
    /// For whom it is.
    pub label: &'a str,
    /// How often it can be used; 0 is without a limit.
    pub uses: u64,
    /// Until when, seconds since 1970.
    pub expires_unix: u64,
    /// The group of the endpoints that it lets in.
    pub group: Option<&'a str>,
}

/// A group: which profile and which rule sets its endpoints get.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRow {
    /// Its name.
    pub name: String,
    /// Its profile; the one for everybody when absent.
    #[serde(default)]
    pub profile: Option<String>,
    /// Its rule sets; all when absent.
    #[serde(default)]
    pub rule_sets: Option<Vec<String>>,
}

const INVITATION: &str = "lower(hex(substr(code_hash, 1, 8))), label, created_unix, expires_unix, uses, used, \
                          revoked_unix IS NOT NULL, group_name";

fn invitation(row: &Row<'_>) -> rusqlite::Result<InvitationRow> {
    Ok(InvitationRow {
        id: row.get(0)?,
        label: row.get(1)?,
        created_unix: unsigned(row.get(2)?),
        expires_unix: unsigned(row.get(3)?),
        uses: unsigned(row.get(4)?),
        used: unsigned(row.get(5)?),
        revoked: row.get(6)?,
        group: row.get(7)?,
    })
}

fn group(row: &Row<'_>) -> rusqlite::Result<GroupRow> {
    let rule_sets: Option<String> = row.get(2)?;
    let read = |text: String| serde_json::from_str(&text);
    let rule_sets = rule_sets.map(read).transpose();
    let rule_sets = rule_sets.map_err(|error| StoreError::FromSqlConversionFailure(2, Type::Text, Box::new(error)))?;
    Ok(GroupRow { name: row.get(0)?, profile: row.get(1)?, rule_sets })
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
    pub fn add_invitation(&mut self, new: &NewInvitation<'_>, created_unix: u64) -> Result<(), StoreError> {
        self.connection.execute(
            "INSERT INTO invitation (code_hash, label, created_unix, expires_unix, uses, group_name) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                new.code_hash,
                new.label,
                integer(created_unix),
                integer(new.expires_unix),
                integer(new.uses),
                new.group
            ],
        )?;
        Ok(())
    }

    /// Finds an invitation.
    pub fn invitation(&self, code_hash: &[u8]) -> Result<Option<InvitationRow>, StoreError> {
        let query = format!("SELECT {INVITATION} FROM invitation WHERE code_hash = ?1");
        self.connection.query_row(&query, [code_hash], invitation).optional()
    }

    /// Lists invitations, newest first, at most a thousand.
    pub fn invitations(&self) -> Result<Vec<InvitationRow>, StoreError> {
        let query = format!("SELECT {INVITATION} FROM invitation ORDER BY created_unix DESC, rowid DESC LIMIT 1000");
        self.connection.prepare(&query)?.query_map([], invitation)?.collect()
    }

    /// Takes an invitation back. Tells whether there is one of that name.
    pub fn revoke_invitation(&mut self, id: &str, now_unix: u64) -> Result<bool, StoreError> {
        let changed = self.connection.execute(
            "UPDATE invitation SET revoked_unix = coalesce(revoked_unix, ?2) \
             WHERE lower(hex(substr(code_hash, 1, 8))) = ?1",
            params![id, integer(now_unix)],
        )?;
        Ok(changed > 0)
    }

    /// Uses an invitation once more. Tells whether it could be: of many at once, no more than its limit
    /// get in.
    pub fn use_invitation(&mut self, code_hash: &[u8], by: &str, now_unix: u64) -> Result<bool, StoreError> {
        let changed = self.connection.execute(
            "UPDATE invitation SET used = used + 1, used_unix = ?2, used_by = ?3 \
             WHERE code_hash = ?1 AND (uses = 0 OR used < uses) AND revoked_unix IS NULL",
            params![code_hash, integer(now_unix), by],
        )?;
        Ok(changed == 1)
    }

    /// Reads a named profile.
    pub fn named_profile(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.connection.query_row("SELECT profile FROM profile WHERE name = ?1", [name], |row| row.get(0)).optional()
    }

    /// Lists the named profiles.
    pub fn named_profiles(&self) -> Result<Vec<(String, String)>, StoreError> {
        self.connection
            .prepare("SELECT name, profile FROM profile ORDER BY name")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
    }

    /// Writes a named profile.
    pub fn set_named_profile(&mut self, name: &str, profile: &str) -> Result<(), StoreError> {
        self.connection.execute(
            "INSERT INTO profile (name, profile) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET profile = ?2",
            [name, profile],
        )?;
        Ok(())
    }

    /// Removes a named profile. Tells whether there was one.
    pub fn remove_named_profile(&mut self, name: &str) -> Result<bool, StoreError> {
        Ok(self.connection.execute("DELETE FROM profile WHERE name = ?1", [name])? == 1)
    }

    /// Reads a group.
    pub fn group(&self, name: &str) -> Result<Option<GroupRow>, StoreError> {
        self.connection
            .query_row("SELECT name, profile, rule_sets FROM endpoint_group WHERE name = ?1", [name], group)
            .optional()
    }

    /// Lists the groups.
    pub fn groups(&self) -> Result<Vec<GroupRow>, StoreError> {
        self.connection
            .prepare("SELECT name, profile, rule_sets FROM endpoint_group ORDER BY name")?
            .query_map([], group)?
            .collect()
    }

    /// Writes a group.
    pub fn set_group(&mut self, group: &GroupRow) -> Result<(), StoreError> {
        let rule_sets = group.rule_sets.as_ref().map(serde_json::to_string).transpose();
        let rule_sets = rule_sets.map_err(|error| StoreError::ToSqlConversionFailure(Box::new(error)))?;
        self.connection.execute(
            "INSERT INTO endpoint_group (name, profile, rule_sets) VALUES (?1, ?2, ?3) \
             ON CONFLICT (name) DO UPDATE SET profile = ?2, rule_sets = ?3",
            params![group.name, group.profile, rule_sets],
        )?;
        Ok(())
    }

    /// Removes a group; its endpoints are in none then. Tells whether there was one.
    pub fn remove_group(&mut self, name: &str) -> Result<bool, StoreError> {
        Ok(self.connection.execute("DELETE FROM endpoint_group WHERE name = ?1", [name])? == 1)
    }

    /// Puts an endpoint into a group, or out of every group.
    pub fn assign_group(&mut self, endpoint: &EndpointId, group: Option<&str>) -> Result<(), StoreError> {
        self.connection.execute("UPDATE endpoint SET group_name = ?2 WHERE id = ?1", params![endpoint.0, group])?;
        Ok(())
    }
}
