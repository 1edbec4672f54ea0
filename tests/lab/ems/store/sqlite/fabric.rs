//! Manual tags, fabric devices and their sessions.

use super::{Sqlite, integer};
use crate::ems::store::{Fabric, FabricDevice, StoreError};
use posture::ems::protocol::EndpointId;
use posture::rules::TagName;
use rusqlite::{OptionalExtension, params};
use std::net::IpAddr;

/// Tag names are equal as [`TagName`] says; the folded form is the key.
fn folded(tag: &TagName) -> String {
    tag.as_str().to_lowercase()
}

impl Fabric for Sqlite {
    fn add_manual_tag(&mut self, tag: &TagName) -> Result<(), StoreError> {
        self.connection.execute(
            "INSERT INTO manual_tag (folded, name) VALUES (?1, ?2) ON CONFLICT (folded) DO NOTHING",
            [folded(tag).as_str(), tag.as_str()],
        )?;
        Ok(())
    }

    fn manual_tags(&self) -> Result<Vec<TagName>, StoreError> {
        Ok(self
            .connection
            .prepare("SELECT name FROM manual_tag ORDER BY folded")?
            .query_map([], |row| row.get::<_, String>(0).map(TagName::new))?
            .collect::<Result<_, _>>()?)
    }

    fn tags_of(&self, id: &EndpointId) -> Result<Vec<TagName>, StoreError> {
        Ok(self
            .connection
            .prepare("SELECT name FROM tagged JOIN manual_tag USING (folded) WHERE endpoint = ?1")?
            .query_map([&id.0], |row| row.get::<_, String>(0).map(TagName::new))?
            .collect::<Result<_, _>>()?)
    }

    fn set_tagged(&mut self, id: &EndpointId, tag: &TagName, given: bool) -> Result<(), StoreError> {
        let statement = if given {
            "INSERT INTO tagged (endpoint, folded) VALUES (?1, ?2) ON CONFLICT DO NOTHING"
        } else {
            "DELETE FROM tagged WHERE endpoint = ?1 AND folded = ?2"
        };
        self.connection.execute(statement, [&id.0, &folded(tag)])?;
        Ok(())
    }

    fn set_device(&mut self, name: &str, token_hash: &[u8]) -> Result<(), StoreError> {
        self.connection.execute(
            "INSERT INTO fabric_device (name, token_hash) VALUES (?1, ?2) \
             ON CONFLICT (name) DO UPDATE SET token_hash = ?2",
            params![name, token_hash],
        )?;
        Ok(())
    }

    fn set_sharing(&mut self, name: &str, share_all: bool) -> Result<bool, StoreError> {
        let changed = self
            .connection
            .execute("UPDATE fabric_device SET share_all = ?2 WHERE name = ?1", params![name, share_all])?;
        Ok(changed == 1)
    }

    fn device_of(&self, token_hash: &[u8]) -> Result<Option<FabricDevice>, StoreError> {
        Ok(self
            .connection
            .query_row(
                "SELECT name, share_all, token_hash FROM fabric_device WHERE token_hash = ?1",
                [token_hash],
                |row| Ok(FabricDevice { name: row.get(0)?, share_all: row.get(1)?, token_hash: row.get(2)? }),
            )
            .optional()?)
    }

    fn device(&self, name: &str) -> Result<Option<FabricDevice>, StoreError> {
        Ok(self
            .connection
            .query_row("SELECT name, share_all, token_hash FROM fabric_device WHERE name = ?1", [name], |row| {
                Ok(FabricDevice { name: row.get(0)?, share_all: row.get(1)?, token_hash: row.get(2)? })
            })
            .optional()?)
    }

    fn set_session(&mut self, device: &str, address: IpAddr, up: bool, now_unix: u64) -> Result<(), StoreError> {
        let address = address.to_string();
        if up {
            self.connection.execute(
                "INSERT INTO fabric_session (device, address, since_unix) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                params![device, address, integer(now_unix)],
            )?;
        } else {
            self.connection
                .execute("DELETE FROM fabric_session WHERE device = ?1 AND address = ?2", params![device, address])?;
        }
        Ok(())
    }

    fn clear_sessions(&mut self, device: &str) -> Result<(), StoreError> {
        self.connection.execute("DELETE FROM fabric_session WHERE device = ?1", [device])?;
        Ok(())
    }

    fn sessions(&self, device: &str) -> Result<Vec<IpAddr>, StoreError> {
        let texts: Vec<String> = self
            .connection
            .prepare("SELECT address FROM fabric_session WHERE device = ?1")?
            .query_map([device], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        Ok(texts.iter().filter_map(|text| text.parse().ok()).collect())
    }
}
