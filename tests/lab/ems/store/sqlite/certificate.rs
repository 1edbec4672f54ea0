//! The certificates that EMS issued: which hold, and why others no longer do.

use super::{Sqlite, integer, unsigned};
use crate::ems::store::{CertificateRow, Certificates, StoreError};
use posture::ems::protocol::EndpointId;
use posture::ems::signed::Fingerprint;
use rusqlite::{OptionalExtension, Row, params};

const COLUMNS: &str = "fingerprint, endpoint, serial, issued_unix, expires_unix, ended_unix, ended_because";

fn certificate(row: &Row<'_>) -> rusqlite::Result<CertificateRow> {
    Ok(CertificateRow {
        fingerprint: Fingerprint(row.get(0)?),
        endpoint: EndpointId(row.get(1)?),
        serial: row.get(2)?,
        issued_unix: unsigned(row.get(3)?),
        expires_unix: unsigned(row.get(4)?),
        ended_unix: row.get::<_, Option<i64>>(5)?.map(unsigned),
        ended_because: row.get(6)?,
    })
}

impl Certificates for Sqlite {
    fn add_certificate(&mut self, new: &CertificateRow) -> Result<(), StoreError> {
        self.connection.execute(
            "INSERT INTO certificate (fingerprint, endpoint, serial, issued_unix, expires_unix) \
             VALUES (?1, ?2, ?3, ?4, ?5)",
            params![new.fingerprint.0, new.endpoint.0, new.serial, integer(new.issued_unix), integer(new.expires_unix)],
        )?;
        Ok(())
    }

    fn certificate_of_serial(&self, serial: &str) -> Result<Option<CertificateRow>, StoreError> {
        let query = format!("SELECT {COLUMNS} FROM certificate WHERE serial = ?1");
        Ok(self.connection.query_row(&query, [serial], certificate).optional()?)
    }

    fn certificates_of(&self, endpoint: &EndpointId) -> Result<Vec<CertificateRow>, StoreError> {
        let query = format!("SELECT {COLUMNS} FROM certificate WHERE endpoint = ?1 ORDER BY issued_unix, rowid");
        Ok(self.connection.prepare(&query)?.query_map([&endpoint.0], certificate)?.collect::<Result<_, _>>()?)
    }

    fn end_certificate(&mut self, fingerprint: Fingerprint, why: &str, now_unix: u64) -> Result<(), StoreError> {
        self.connection.execute(
            "UPDATE certificate SET ended_unix = ?2, ended_because = ?3 WHERE fingerprint = ?1 AND ended_unix IS NULL",
            params![fingerprint.0, integer(now_unix), why],
        )?;
        Ok(())
    }

    fn adopt_certificate(
        &mut self,
        endpoint: &EndpointId,
        fingerprint: Fingerprint,
        now_unix: u64,
    ) -> Result<(), StoreError> {
        self.connection.execute(
            "UPDATE certificate SET ended_unix = ?3, ended_because = 'replaced' \
             WHERE endpoint = ?1 AND fingerprint <> ?2 AND ended_unix IS NULL",
            params![endpoint.0, fingerprint.0, integer(now_unix)],
        )?;
        self.connection
            .execute("UPDATE endpoint SET fingerprint = ?2 WHERE id = ?1", params![endpoint.0, fingerprint.0])?;
        self.connection.execute("DELETE FROM document WHERE endpoint = ?1", [&endpoint.0])?;
        Ok(())
    }

    fn forget_documents(&mut self) -> Result<(), StoreError> {
        self.connection.execute("DELETE FROM document", [])?;
        Ok(())
    }
}
