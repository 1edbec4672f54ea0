//! Endpoints: who they are, what they reported, what was signed for them, what happened there.

use super::{Store, StoreError, integer, unsigned};
use posture::ems::protocol::{DocumentKind, EndpointEvent, EndpointId, Quarantine};
use posture::ems::signed::{Fingerprint, Signed};
use rusqlite::types::Type;
use rusqlite::{OptionalExtension, Row, params};
use serde::Serialize;

/// An endpoint that enrols.
pub struct NewEndpoint<'a> {
    /// Its identifier.
    pub id: &'a EndpointId,
    /// The fingerprint of its certificate.
    pub fingerprint: Fingerprint,
    /// Its host name.
    pub host_name: &'a str,
    /// Its operating system.
    pub system: &'a str,
    /// Its agent's version.
    pub agent_version: &'a str,
    /// Where EMS saw it.
    pub address: &'a str,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EndpointRow {
    /// Its identifier.
    pub id: EndpointId,
    /// The fingerprint of its certificate.
    pub fingerprint: Fingerprint,
    /// Its host name, as it said itself.
    pub host_name: String,
    /// When it enrolled.
    pub enrolled_unix: u64,
    /// Where EMS saw it last.
    pub address: String,
    /// When EMS saw it last.
    pub last_seen_unix: u64,
    /// The group in which it is.
    pub group: Option<String>,
    /// The quarantine in which it is.
    pub quarantine: Option<Quarantine>,
    /// The number of the report that holds.
    pub report_sequence: u64,
    /// The last counter that was given to a document for it.
    pub counter: u64,
}

/// A document that was signed for an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedDocument {
    /// Its counter.
    pub counter: u64,
    /// The policy it was made under.
    pub policy_version: u64,
    /// When it was made.
    pub issued_unix: u64,
    /// Until when it holds.
    pub expires_unix: u64,
    /// What it says, without the binding: to see whether anything changed.
    pub content: Vec<u8>,
    /// What was sent.
    pub signed: Signed,
}

/// One event of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StoredEvent {
    /// Grows by one with each event of this EMS.
    pub number: u64,
    /// Whose it is.
    pub endpoint: EndpointId,
    /// When EMS received it.
    pub received_unix_milliseconds: u64,
    /// What the endpoint said.
    #[serde(flatten)]
    pub event: EndpointEvent,
}

const COLUMNS: &str = "id, fingerprint, host_name, enrolled_unix, address, last_seen_unix, quarantine, \
                       report_sequence, counter, group_name";

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
    })
}

fn quarantine(text: Option<String>) -> rusqlite::Result<Option<Quarantine>> {
    let read = |text: String| serde_json::from_str(&text);
    text.map(read).transpose().map_err(|error| StoreError::FromSqlConversionFailure(6, Type::Text, error.into()))
}

impl Store {
    /// Adds an endpoint.
    pub fn add_endpoint(&mut self, new: &NewEndpoint<'_>, now_unix: u64) -> Result<(), StoreError> {
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

    /// Finds the endpoint of a certificate that holds at a moment.
    pub fn endpoint_of(&self, fingerprint: Fingerprint, now_unix: u64) -> Result<Option<EndpointRow>, StoreError> {
        let query = format!(
            "SELECT {COLUMNS} FROM endpoint WHERE removed_unix IS NULL AND id = (SELECT endpoint FROM certificate \
             WHERE certificate.fingerprint = ?1 AND ended_unix IS NULL AND expires_unix > ?2)"
        );
        self.connection.query_row(&query, params![fingerprint.0, integer(now_unix)], endpoint).optional()
    }

    /// Finds endpoints by identifier or host name, unless they were removed.
    pub fn endpoints_named(&self, name: &str) -> Result<Vec<EndpointRow>, StoreError> {
        let query =
            format!("SELECT {COLUMNS} FROM endpoint WHERE (id = ?1 OR host_name = ?1) AND removed_unix IS NULL");
        self.connection.prepare(&query)?.query_map([name], endpoint)?.collect()
    }

    /// Lists every endpoint that was not removed, in the order of enrolment.
    pub fn endpoints(&self) -> Result<Vec<EndpointRow>, StoreError> {
        let query = format!("SELECT {COLUMNS} FROM endpoint WHERE removed_unix IS NULL ORDER BY rowid");
        self.connection.prepare(&query)?.query_map([], endpoint)?.collect()
    }

    /// Notes where and when an endpoint was seen.
    pub fn saw_endpoint(&mut self, id: &EndpointId, address: &str, now_unix: u64) -> Result<(), StoreError> {
        self.connection.execute(
            "UPDATE endpoint SET address = ?2, last_seen_unix = ?3 WHERE id = ?1",
            params![id.0, address, integer(now_unix)],
        )?;
        Ok(())
    }

    /// Reads an endpoint's facts as it reported them.
    pub fn facts(&self, id: &EndpointId) -> Result<Option<String>, StoreError> {
        self.connection.query_row("SELECT facts FROM endpoint WHERE id = ?1", [&id.0], |row| row.get(0))
    }

    /// Writes an endpoint's facts and the number of their report.
    pub fn set_facts(&mut self, id: &EndpointId, sequence: u64, facts: &str) -> Result<(), StoreError> {
        self.connection.execute(
            "UPDATE endpoint SET facts = ?2, report_sequence = ?3 WHERE id = ?1",
            params![id.0, facts, integer(sequence)],
        )?;
        Ok(())
    }

    /// Puts an endpoint into quarantine or out of it.
    pub fn set_quarantine(&mut self, id: &EndpointId, quarantine: Option<&Quarantine>) -> Result<(), StoreError> {
        let text = quarantine.map(serde_json::to_string).transpose();
        let text = text.map_err(|error| StoreError::ToSqlConversionFailure(error.into()))?;
        self.connection.execute("UPDATE endpoint SET quarantine = ?2 WHERE id = ?1", params![id.0, text])?;
        Ok(())
    }

    /// Takes the next number for a break-glass code.
    pub fn next_break_glass(&mut self, id: &EndpointId) -> Result<u64, StoreError> {
        let statement = "UPDATE endpoint SET break_glass = break_glass + 1 WHERE id = ?1 RETURNING break_glass";
        self.connection.query_row(statement, [&id.0], |row| row.get(0)).map(unsigned)
    }

    /// Removes an endpoint: its certificate is worth nothing from now on. Its events stay.
    pub fn remove_endpoint(&mut self, id: &EndpointId, now_unix: u64) -> Result<(), StoreError> {
        self.connection
            .execute("UPDATE endpoint SET removed_unix = ?2 WHERE id = ?1", params![id.0, integer(now_unix)])?;
        self.connection.execute(
            "UPDATE certificate SET ended_unix = ?2, ended_because = 'removed' \
             WHERE endpoint = ?1 AND ended_unix IS NULL",
            params![id.0, integer(now_unix)],
        )?;
        Ok(())
    }

    /// Takes the next counter for a document.
    pub fn next_counter(&mut self, id: &EndpointId) -> Result<u64, StoreError> {
        self.connection
            .query_row("UPDATE endpoint SET counter = counter + 1 WHERE id = ?1 RETURNING counter", [&id.0], |row| {
                row.get(0)
            })
            .map(unsigned)
    }

    /// Reads the newest document of a kind.
    pub fn document(&self, id: &EndpointId, kind: DocumentKind) -> Result<Option<IssuedDocument>, StoreError> {
        self.connection
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
            .optional()
    }

    /// Writes a document over the last one of its kind.
    pub fn set_document(
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

    /// Stores an event once, however often it is uploaded.
    pub fn add_event(
        &mut self,
        id: &EndpointId,
        event: &EndpointEvent,
        received_unix_milliseconds: u64,
    ) -> Result<(), StoreError> {
        let text = serde_json::to_string(event).map_err(|error| StoreError::ToSqlConversionFailure(error.into()))?;
        self.connection.execute(
            "INSERT INTO event (endpoint, id, received_unix_milliseconds, event) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (endpoint, id) DO NOTHING",
            params![id.0, event.id, integer(received_unix_milliseconds), text],
        )?;
        Ok(())
    }

    /// Forgets the oldest events of an endpoint beyond a number of them.
    pub fn bound_events(&mut self, id: &EndpointId, most: u64) -> Result<(), StoreError> {
        self.connection.execute(
            "DELETE FROM event WHERE endpoint = ?1 AND number <= \
             (SELECT number FROM event WHERE endpoint = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)",
            params![id.0, integer(most)],
        )?;
        Ok(())
    }

    /// Lists events after a number, of one endpoint or of all, oldest first, at most a thousand.
    pub fn events_after(&self, number: u64, of: Option<&EndpointId>) -> Result<Vec<StoredEvent>, StoreError> {
        self.connection
            .prepare(
                "SELECT number, endpoint, received_unix_milliseconds, event FROM event WHERE number > ?1 \
                 AND (?2 IS NULL OR endpoint = ?2) ORDER BY number LIMIT 1000",
            )?
            .query_map(params![integer(number), of.map(|of| &of.0)], |row| {
                let text: String = row.get(3)?;
                let event = serde_json::from_str(&text)
                    .map_err(|error| StoreError::FromSqlConversionFailure(3, Type::Text, error.into()))?;
                Ok(StoredEvent {
                    number: unsigned(row.get(0)?),
                    endpoint: EndpointId(row.get(1)?),
                    received_unix_milliseconds: unsigned(row.get(2)?),
                    event,
                })
            })?
            .collect()
    }
}
