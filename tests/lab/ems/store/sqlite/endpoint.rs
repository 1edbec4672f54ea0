//! Endpoints: who they are, what they reported, what was signed for them, what happened there.

use super::{Sqlite, integer, unsigned};
use crate::ems::store::{EndpointRow, Endpoints, IssuedDocument, NewEndpoint, StoreError, StoredEvent};
use posture::ems::protocol::{DocumentKind, EndpointEvent, EndpointId, Quarantine};
use posture::ems::signed::{Fingerprint, Signed};
use rusqlite::types::Type;
use rusqlite::{OptionalExtension, Row, params};

const COLUMNS: &str = "id, fingerprint, host_name, enrolled_unix, address, last_seen_unix, quarantine, \
                       report_sequence, counter, group_name, break_glass";

fn endpoint(row: &Row<'_>) -> rusqlite::Result<EndpointRow> {
    let fingerprint: [u8; 32] = row.get(1)?;
    Ok(EndpointRow {
        id: EndpointId(row.get(0)?),
        fingerprint: Fingerprint(fingerprint),
        host_name: row.get(2)?,
        enrolled_unix: unsigned(row.get(3)?),
        address: row.get(4)?,
        last_seen_unix: unsigned(row.get(5)?),
        quarantine: quarantine(row.get(6)?)?,
        report_sequence: unsigned(row.get(7)?),
        counter: unsigned(row.get(8)?),
        group: row.get(9)?,
        break_glass: unsigned(row.get(10)?),
    })
}

fn quarantine(text: Option<String>) -> rusqlite::Result<Option<Quarantine>> {
    let read = |text: String| serde_json::from_str(&text);
    text.map(read).transpose().map_err(|error| rusqlite::Error::FromSqlConversionFailure(6, Type::Text, error.into()))
}

impl Endpoints for Sqlite {
    fn add_endpoint(&mut self, new: &NewEndpoint<'_>, now_unix: u64) -> Result<(), StoreError> {
        self.connection.execute(
            "INSERT INTO endpoint (id, fingerprint, host_name, system, agent_version, address, enrolled_unix, \
             last_seen_unix) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)",
            params![
                new.id.0,
                new.fingerprint.0,
                new.host_name,
                new.system,
                new.agent_version,
                new.address,
                integer(now_unix)
            ],
        )?;
        Ok(())
    }

    fn endpoint_of(&self, fingerprint: Fingerprint, now_unix: u64) -> Result<Option<EndpointRow>, StoreError> {
        let query = format!(
            "SELECT {COLUMNS} FROM endpoint WHERE removed_unix IS NULL AND id = (SELECT endpoint FROM certificate \
             WHERE certificate.fingerprint = ?1 AND ended_unix IS NULL AND expires_unix > ?2)"
        );
        Ok(self.connection.query_row(&query, params![fingerprint.0, integer(now_unix)], endpoint).optional()?)
    }

    fn endpoints_named(&self, name: &str) -> Result<Vec<EndpointRow>, StoreError> {
        let query =
            format!("SELECT {COLUMNS} FROM endpoint WHERE (id = ?1 OR host_name = ?1) AND removed_unix IS NULL");
        Ok(self.connection.prepare(&query)?.query_map([name], endpoint)?.collect::<Result<_, _>>()?)
    }

    fn endpoints(&self) -> Result<Vec<EndpointRow>, StoreError> {
        let query = format!("SELECT {COLUMNS} FROM endpoint WHERE removed_unix IS NULL ORDER BY rowid");
        Ok(self.connection.prepare(&query)?.query_map([], endpoint)?.collect::<Result<_, _>>()?)
    }

    fn saw_endpoint(&mut self, id: &EndpointId, address: &str, now_unix: u64) -> Result<(), StoreError> {
        self.connection.execute(
            "UPDATE endpoint SET address = ?2, last_seen_unix = ?3 WHERE id = ?1",
            params![id.0, address, integer(now_unix)],
        )?;
        Ok(())
    }

    fn facts(&self, id: &EndpointId) -> Result<Option<String>, StoreError> {
        Ok(self.connection.query_row("SELECT facts FROM endpoint WHERE id = ?1", [&id.0], |row| row.get(0))?)
    }

    fn set_facts(&mut self, id: &EndpointId, sequence: u64, facts: &str) -> Result<(), StoreError> {
        self.connection.execute(
            "UPDATE endpoint SET facts = ?2, report_sequence = ?3 WHERE id = ?1",
            params![id.0, facts, integer(sequence)],
        )?;
        Ok(())
    }

    fn set_quarantine(&mut self, id: &EndpointId, quarantine: Option<&Quarantine>) -> Result<(), StoreError> {
        let text = quarantine.map(serde_json::to_string).transpose();
        let text = text.map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        self.connection.execute("UPDATE endpoint SET quarantine = ?2 WHERE id = ?1", params![id.0, text])?;
        Ok(())
    }

    fn next_break_glass(&mut self, id: &EndpointId) -> Result<u64, StoreError> {
        let statement = "UPDATE endpoint SET break_glass = break_glass + 1 WHERE id = ?1 RETURNING break_glass";
        Ok(self.connection.query_row(statement, [&id.0], |row| row.get(0)).map(unsigned)?)
    }

    fn remove_endpoint(&mut self, id: &EndpointId, now_unix: u64) -> Result<(), StoreError> {
        self.connection
            .execute("UPDATE endpoint SET removed_unix = ?2 WHERE id = ?1", params![id.0, integer(now_unix)])?;
        self.connection.execute(
            "UPDATE certificate SET ended_unix = ?2, ended_because = 'removed' \
             WHERE endpoint = ?1 AND ended_unix IS NULL",
            params![id.0, integer(now_unix)],
        )?;
        Ok(())
    }

    fn next_counter(&mut self, id: &EndpointId) -> Result<u64, StoreError> {
        Ok(self
            .connection
            .query_row("UPDATE endpoint SET counter = counter + 1 WHERE id = ?1 RETURNING counter", [&id.0], |row| {
                row.get(0)
            })
            .map(unsigned)?)
    }

    fn document(&self, id: &EndpointId, kind: DocumentKind) -> Result<Option<IssuedDocument>, StoreError> {
        Ok(self
            .connection
            .query_row(
                "SELECT counter, policy_version, issued_unix, expires_unix, content, body, signature \
                 FROM document WHERE endpoint = ?1 AND kind = ?2",
                [&id.0, kind.as_str()],
                |row| {
                    Ok(IssuedDocument {
                        counter: unsigned(row.get(0)?),
                        policy_version: unsigned(row.get(1)?),
                        issued_unix: unsigned(row.get(2)?),
                        expires_unix: unsigned(row.get(3)?),
                        content: row.get(4)?,
                        signed: Signed { body: row.get(5)?, signature: row.get(6)? },
                    })
                },
            )
            .optional()?)
    }

    fn set_document(
        &mut self,
        id: &EndpointId,
        kind: DocumentKind,
        document: &IssuedDocument,
    ) -> Result<(), StoreError> {
        self.connection.execute(
            "INSERT INTO document (endpoint, kind, counter, policy_version, issued_unix, expires_unix, content, \
             body, signature) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) \
             ON CONFLICT (endpoint, kind) DO UPDATE SET counter = ?3, policy_version = ?4, issued_unix = ?5, \
             expires_unix = ?6, content = ?7, body = ?8, signature = ?9",
            params![
                id.0,
                kind.as_str(),
                integer(document.counter),
                integer(document.policy_version),
                integer(document.issued_unix),
                integer(document.expires_unix),
                document.content,
                document.signed.body,
                document.signed.signature,
            ],
        )?;
        Ok(())
    }

    fn add_event(
        &mut self,
        id: &EndpointId,
        event: &EndpointEvent,
        received_unix_milliseconds: u64,
    ) -> Result<(), StoreError> {
        let text =
            serde_json::to_string(event).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        self.connection.execute(
            "INSERT INTO event (endpoint, id, received_unix_milliseconds, event) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (endpoint, id) DO NOTHING",
            params![id.0, event.id, integer(received_unix_milliseconds), text],
        )?;
        Ok(())
    }

    fn bound_events(&mut self, id: &EndpointId, most: u64) -> Result<(), StoreError> {
        self.connection.execute(
            "DELETE FROM event WHERE endpoint = ?1 AND number <= \
             (SELECT number FROM event WHERE endpoint = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)",
            params![id.0, integer(most)],
        )?;
        Ok(())
    }

    fn events_after(&self, number: u64, of: Option<&EndpointId>) -> Result<Vec<StoredEvent>, StoreError> {
        Ok(self
            .connection
            .prepare(
                "SELECT number, endpoint, received_unix_milliseconds, event FROM event WHERE number > ?1 \
                 AND (?2 IS NULL OR endpoint = ?2) ORDER BY number LIMIT 1000",
            )?
            .query_map(params![integer(number), of.map(|of| &of.0)], |row| {
                let text: String = row.get(3)?;
                let event = serde_json::from_str(&text)
                    .map_err(|error| rusqlite::Error::FromSqlConversionFailure(3, Type::Text, error.into()))?;
                Ok(StoredEvent {
                    number: unsigned(row.get(0)?),
                    endpoint: EndpointId(row.get(1)?),
                    received_unix_milliseconds: unsigned(row.get(2)?),
                    event,
                })
            })?
            .collect::<Result<_, _>>()?)
    }
}
