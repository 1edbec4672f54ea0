//! The schema and its versions (SQLite's `user_version`).

use crate::ems::store::StoreError;
use rusqlite::Connection;

/// One entry a version; an entry is never changed once it was released.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
    CREATE TABLE invitation (
        code_hash BLOB PRIMARY KEY,
        label TEXT NOT NULL,
        created_unix INTEGER NOT NULL,
        expires_unix INTEGER NOT NULL,
        used_unix INTEGER,
        used_by TEXT
    ) STRICT;
    CREATE TABLE endpoint (
        id TEXT PRIMARY KEY,
        fingerprint BLOB NOT NULL UNIQUE,
        host_name TEXT NOT NULL,
        system TEXT NOT NULL,
        agent_version TEXT NOT NULL,
        enrolled_unix INTEGER NOT NULL,
        removed_unix INTEGER,
        address TEXT NOT NULL,
        last_seen_unix INTEGER NOT NULL,
        quarantined INTEGER NOT NULL DEFAULT 0,
        report_sequence INTEGER NOT NULL DEFAULT 0,
        facts TEXT,
        counter INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE TABLE document (
        endpoint TEXT NOT NULL REFERENCES endpoint (id) ON DELETE CASCADE,
        kind TEXT NOT NULL,
        counter INTEGER NOT NULL,
        policy_version INTEGER NOT NULL,
        issued_unix INTEGER NOT NULL,
        expires_unix INTEGER NOT NULL,
        content BLOB NOT NULL,
        body BLOB NOT NULL,
        signature BLOB NOT NULL,
        PRIMARY KEY (endpoint, kind)
    ) STRICT;
    CREATE TABLE manual_tag (folded TEXT PRIMARY KEY, name TEXT NOT NULL) STRICT;
    CREATE TABLE tagged (
        endpoint TEXT NOT NULL REFERENCES endpoint (id) ON DELETE CASCADE,
        folded TEXT NOT NULL REFERENCES manual_tag (folded) ON DELETE CASCADE,
        PRIMARY KEY (endpoint, folded)
    ) STRICT;
    CREATE TABLE event (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        endpoint TEXT NOT NULL REFERENCES endpoint (id) ON DELETE CASCADE,
        id TEXT NOT NULL,
        received_unix_milliseconds INTEGER NOT NULL,
        event TEXT NOT NULL,
        UNIQUE (endpoint, id)
    ) STRICT;
    CREATE TABLE fabric_device (
        name TEXT PRIMARY KEY,
        token_hash BLOB NOT NULL UNIQUE,
        share_all INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE TABLE fabric_session (
        device TEXT NOT NULL REFERENCES fabric_device (name) ON DELETE CASCADE,
        address TEXT NOT NULL,
        since_unix INTEGER NOT NULL,
        PRIMARY KEY (device, address)
    ) STRICT;
",
    "
    ALTER TABLE endpoint ADD COLUMN quarantine TEXT;
    UPDATE endpoint SET quarantine = json_object('id', id) WHERE quarantined = 1;
    ALTER TABLE endpoint DROP COLUMN quarantined;
    ALTER TABLE endpoint ADD COLUMN break_glass INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE audit (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        unix_milliseconds INTEGER NOT NULL,
        action TEXT NOT NULL,
        endpoint TEXT,
        detail TEXT NOT NULL
    ) STRICT;
",
    "
    CREATE TABLE profile (name TEXT PRIMARY KEY, profile TEXT NOT NULL) STRICT;
    CREATE TABLE endpoint_group (
        name TEXT PRIMARY KEY,
        profile TEXT REFERENCES profile (name),
        rule_sets TEXT
    ) STRICT;
    ALTER TABLE endpoint ADD COLUMN group_name TEXT REFERENCES endpoint_group (name) ON DELETE SET NULL;
    ALTER TABLE invitation ADD COLUMN uses INTEGER NOT NULL DEFAULT 1;
    ALTER TABLE invitation ADD COLUMN used INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE invitation ADD COLUMN revoked_unix INTEGER;
    ALTER TABLE invitation ADD COLUMN group_name TEXT REFERENCES endpoint_group (name) ON DELETE SET NULL;
    UPDATE invitation SET used = 1 WHERE used_unix IS NOT NULL;
    CREATE INDEX event_of_endpoint ON event (endpoint, number);
    CREATE TABLE certificate (
        fingerprint BLOB PRIMARY KEY,
        endpoint TEXT NOT NULL REFERENCES endpoint (id) ON DELETE CASCADE,
        serial TEXT NOT NULL,
        issued_unix INTEGER NOT NULL,
        expires_unix INTEGER NOT NULL,
        ended_unix INTEGER,
        ended_because TEXT
    ) STRICT;
    INSERT INTO certificate (fingerprint, endpoint, serial, issued_unix, expires_unix, ended_unix, ended_because)
        SELECT fingerprint, id, lower(hex(fingerprint)), enrolled_unix, 253402300799, removed_unix,
               iif(removed_unix IS NULL, NULL, 'removed') FROM endpoint;
",
    "
    ALTER TABLE audit ADD COLUMN actor TEXT NOT NULL DEFAULT 'unknown';
    ALTER TABLE audit ADD COLUMN subject TEXT NOT NULL DEFAULT '';
    ALTER TABLE audit ADD COLUMN before TEXT;
    ALTER TABLE audit ADD COLUMN after TEXT;
    CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
        BEGIN SELECT RAISE(ABORT, 'the account is not changed'); END;
    CREATE TRIGGER audit_is_not_shortened BEFORE DELETE ON audit
        BEGIN SELECT RAISE(ABORT, 'the account is not shortened'); END;
",
];

/// Brings a database to the newest version; refuses one that is newer than this program.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let done = usize::try_from(version).unwrap_or(usize::MAX);
    if done > MIGRATIONS.len() {
        return Err(StoreError::new(format!("the database has version {version}, newer than this program")));
    }
    for (number, migration) in MIGRATIONS.iter().enumerate().skip(done) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(migration)?;
        // A pragma takes no parameters; the number is ours.
        transaction.pragma_update(None, "user_version", i64::try_from(number + 1).unwrap_or(i64::MAX))?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrating_twice_changes_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        migrate(&mut connection).unwrap();
        let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
        assert_eq!(usize::try_from(version).unwrap(), MIGRATIONS.len());
    }

    #[test]
    fn a_database_of_the_first_version_keeps_what_it_holds() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(MIGRATIONS[0]).unwrap();
        connection.pragma_update(None, "user_version", 1).unwrap();
        connection
            .execute_batch(
                "INSERT INTO endpoint (id, fingerprint, host_name, system, agent_version, enrolled_unix, address, \
                 last_seen_unix, quarantined) VALUES ('a', x'01', 'pc', '', '', 5, '', 6, 1), \
                 ('b', x'02', 'pc2', '', '', 5, '', 6, 0);",
            )
            .unwrap();
        migrate(&mut connection).unwrap();
        let known: i64 = connection
            .query_row("SELECT count(*) FROM certificate WHERE ended_unix IS NULL", [], |row| row.get(0))
            .unwrap();
        assert_eq!(known, 2, "certificates that were issued hold on");
        let mut rows = connection.prepare("SELECT id, quarantine FROM endpoint ORDER BY id").unwrap();
        let rows: Vec<(String, Option<String>)> =
            rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect();
        assert_eq!(rows, [("a".into(), Some(r#"{"id":"a"}"#.into())), ("b".into(), None)]);
    }

    #[test]
    fn an_account_of_an_earlier_version_is_kept_and_never_changed() {
        let mut connection = Connection::open_in_memory().unwrap();
        for migration in &MIGRATIONS[..3] {
            connection.execute_batch(migration).unwrap();
        }
        connection.pragma_update(None, "user_version", 3).unwrap();
        let add = "INSERT INTO audit (unix_milliseconds, action, detail) VALUES (5, 'quarantine', 'q')";
        connection.execute_batch(add).unwrap();
        migrate(&mut connection).unwrap();
        let kept: (String, String, Option<String>) = connection
            .query_row("SELECT action, actor, before FROM audit", [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .unwrap();
        assert_eq!(kept, ("quarantine".into(), "unknown".into(), None));
        for change in ["UPDATE audit SET detail = ''", "DELETE FROM audit"] {
            let error = connection.execute_batch(change).unwrap_err();
            assert!(error.to_string().contains("account"), "{error}");
        }
    }

    #[test]
    fn a_newer_database_is_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        assert!(migrate(&mut connection).is_err());
    }
}
