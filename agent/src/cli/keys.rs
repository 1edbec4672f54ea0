//! The keys of `postern connect --disclose-keys`: Wireshark's tables, written by this program, with the
//! rights of the one who runs it. The service hands lines over to root alone and opens nothing.

use super::output;
use postern_api::event::{Event, KeyTable};
use postern_api::fault::{Fault, FaultName};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The two tables, where they were asked for.
#[derive(Debug)]
pub(super) struct Tables(Option<Open>);

/// A folder with both tables. Where nothing was ever written it is taken away again, so that the same
/// command can be given once more.
#[derive(Debug)]
struct Open {
    folder: PathBuf,
    tables: [(KeyTable, File); 2],
}

impl Drop for Open {
    fn drop(&mut self) {
        let empty = |(_, file): &(KeyTable, File)| file.metadata().is_ok_and(|metadata| metadata.len() == 0);
        if self.tables.iter().all(empty) {
            for (table, _) in &self.tables {
                let _ = std::fs::remove_file(self.folder.join(table.file()));
            }
            let _ = std::fs::remove_dir(&self.folder);
        }
    }
}

impl Tables {
    /// Makes the folder with both tables, its owner's alone, and warns of what will be in it.
    ///
    /// # Errors
    /// `UsageInvalid` when something is there already or cannot be made.
    pub(super) fn make(folder: Option<&Path>) -> Result<Self, Fault> {
        let Some(folder) = folder else { return Ok(Self(None)) };
        let failed = |error: std::io::Error| {
            let subject = folder.display().to_string();
            Fault::new(
                FaultName::UsageInvalid,
                subject,
                format!("cannot be made: {error}"),
                "name a folder that is not there",
            )
        };
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder).map_err(failed)?;
        let open = |table: KeyTable| new_file(&folder.join(table.file())).map(|file| (table, file)).map_err(failed);
        let tables = [open(KeyTable::Ike)?, open(KeyTable::Esp)?];
        output::aside(format!(
            "WARNING: the keys of this tunnel are written to {}. Whoever reads them reads and forges all that the \
             tunnel carries. Delete them when you have seen what you looked for.",
            folder.display()
        ));
        Ok(Self(Some(Open { folder: folder.to_owned(), tables })))
    }

    /// Tells whether keys were asked for.
    pub(super) const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Writes the line of a key; other events are not its business.
    pub(super) fn note(&mut self, event: &Event) {
        let (Event::Keys { table, line, .. }, Some(open)) = (event, &mut self.0) else { return };
        if let Some((_, file)) = open.tables.iter_mut().find(|(known, _)| known == table) {
            let line = Zeroizing::new(format!("{}\n", line.expose()));
            // A full disk must not end the connection.
            let _ = file.write_all(line.as_bytes());
        }
    }
}

/// Opens a file that was not there before, its owner's alone; a link in its place is refused.
///
/// # Errors
/// When it is there, or cannot be made.
pub(super) fn new_file(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use postern_api::event::SecretText;

    #[test]
    fn a_folder_in_which_no_key_was_written_goes_away_and_one_with_a_key_stays() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("keys");
        drop(Tables::make(Some(&folder)).unwrap());
        assert!(!folder.exists());

        let mut tables = Tables::make(Some(&folder)).unwrap();
        let line = SecretText::new("0a,0b".to_owned());
        tables.note(&Event::Keys { tunnel: "work".into(), table: KeyTable::Ike, line });
        drop(tables);
        assert_eq!(std::fs::read_to_string(folder.join(KeyTable::Ike.file())).unwrap(), "0a,0b\n");
        assert_eq!(Tables::make(Some(&folder)).unwrap_err().name, FaultName::UsageInvalid);
    }
}
