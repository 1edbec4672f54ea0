//! Settings, the policy's version, profiles, groups, invitations.

use super::{Sqlite, integer, unsigned};
use crate::ems::store::{GroupRow, InvitationRow, NewInvitation, Policies, StoreError};
use posture::ems::protocol::EndpointId;
use rusqlite::types::Type;
use rusqlite::{OptionalExtension, Row, params};

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
    let rule_sets =
        rule_sets.map_err(|error| rusqlite::Error::FromSqlConversionFailure(2, Type::Text, Box::new(error)))?;
    Ok(GroupRow { name: row.get(0)?, profile: row.get(1)?, rule_sets })
}

impl Policies for Sqlite {
    fn setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        Ok(self
            .connection
            .query_row("SELECT value FROM setting WHERE name = ?1", [name], |row| row.get(0))
            .optional()?)
    }

    fn set_setting(&mut self, name: &str, value: &str) -> Result<(), StoreError> {
        self.connection.execute(
            "INSERT INTO setting (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2",
            [name, value],
        )?;
        Ok(())
    }

    fn add_invitation(&mut self, new: &NewInvitation<'_>, created_unix: u64) -> Result<(), StoreError> {
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

    fn invitation(&self, code_hash: &[u8]) -> Result<Option<InvitationRow>, StoreError> {
        let query = format!("SELECT {INVITATION} FROM invitation WHERE code_hash = ?1");
        Ok(self.connection.query_row(&query, [code_hash], invitation).optional()?)
    }

    fn invitations(&self) -> Result<Vec<InvitationRow>, StoreError> {
        let query = format!("SELECT {INVITATION} FROM invitation ORDER BY created_unix DESC, rowid DESC LIMIT 1000");
        Ok(self.connection.prepare(&query)?.query_map([], invitation)?.collect::<Result<_, _>>()?)
    }

    fn revoke_invitation(&mut self, id: &str, now_unix: u64) -> Result<bool, StoreError> {
        let changed = self.connection.execute(
            "UPDATE invitation SET revoked_unix = coalesce(revoked_unix, ?2) \
             WHERE lower(hex(substr(code_hash, 1, 8))) = ?1",
            params![id, integer(now_unix)],
        )?;
        Ok(changed > 0)
    }

    fn use_invitation(&mut self, code_hash: &[u8], by: &str, now_unix: u64) -> Result<bool, StoreError> {
        let changed = self.connection.execute(
            "UPDATE invitation SET used = used + 1, used_unix = ?2, used_by = ?3 \
             WHERE code_hash = ?1 AND (uses = 0 OR used < uses) AND revoked_unix IS NULL",
            params![code_hash, integer(now_unix), by],
        )?;
        Ok(changed == 1)
    }

    fn named_profile(&self, name: &str) -> Result<Option<String>, StoreError> {
        Ok(self
            .connection
            .query_row("SELECT profile FROM profile WHERE name = ?1", [name], |row| row.get(0))
            .optional()?)
    }

    fn named_profiles(&self) -> Result<Vec<(String, String)>, StoreError> {
        Ok(self
            .connection
            .prepare("SELECT name, profile FROM profile ORDER BY name")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?)
    }

    fn set_named_profile(&mut self, name: &str, profile: &str) -> Result<(), StoreError> {
        self.connection.execute(
            "INSERT INTO profile (name, profile) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET profile = ?2",
            [name, profile],
        )?;
        Ok(())
    }

    fn remove_named_profile(&mut self, name: &str) -> Result<bool, StoreError> {
        Ok(self.connection.execute("DELETE FROM profile WHERE name = ?1", [name])? == 1)
    }

    fn group(&self, name: &str) -> Result<Option<GroupRow>, StoreError> {
        Ok(self
            .connection
            .query_row("SELECT name, profile, rule_sets FROM endpoint_group WHERE name = ?1", [name], group)
            .optional()?)
    }

    fn groups(&self) -> Result<Vec<GroupRow>, StoreError> {
        Ok(self
            .connection
            .prepare("SELECT name, profile, rule_sets FROM endpoint_group ORDER BY name")?
            .query_map([], group)?
            .collect::<Result<_, _>>()?)
    }

    fn set_group(&mut self, group: &GroupRow) -> Result<(), StoreError> {
        let rule_sets = group.rule_sets.as_ref().map(serde_json::to_string).transpose();
        let rule_sets = rule_sets.map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        self.connection.execute(
            "INSERT INTO endpoint_group (name, profile, rule_sets) VALUES (?1, ?2, ?3) \
             ON CONFLICT (name) DO UPDATE SET profile = ?2, rule_sets = ?3",
            params![group.name, group.profile, rule_sets],
        )?;
        Ok(())
    }

    fn remove_group(&mut self, name: &str) -> Result<bool, StoreError> {
        Ok(self.connection.execute("DELETE FROM endpoint_group WHERE name = ?1", [name])? == 1)
    }

    fn assign_group(&mut self, endpoint: &EndpointId, group: Option<&str>) -> Result<(), StoreError> {
        self.connection.execute("UPDATE endpoint SET group_name = ?2 WHERE id = ?1", params![endpoint.0, group])?;
        Ok(())
    }
}
