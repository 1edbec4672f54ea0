//! The write-ahead undo log.
//!
//! One JSON object a line, appended and synced *before* the change it tells of is made. Whatever
//! the moment of a `kill -9` or a power cut, the file names everything that may have been
//! changed; undoing is idempotent, so "may have been" is enough. A torn last line was never
//! synced, hence nothing was changed for it, and it is dropped.
//!
//! Rules, routes and firewall tables die with the boot they were made in, files do not: a
//! journal of another boot keeps only what survives one ([`Journal::lost_with_boot`] has the
//! rest, for whoever wants a block to stand again).

use crate::network::step::{Before, Purpose, Step};
use crate::platform;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The journal's name in the state directory.
pub const FILE_NAME: &str = "network.journal";
/// The most that is read back; a journal holds a few dozen lines.
const MOST_OCTETS: u64 = 16 << 20;

/// Why the journal cannot be used. Nothing may be changed on the system then.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file cannot be opened, read, written or synced: a full disk, a read-only one.
    #[error("the journal {path} cannot be used: {source}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another service holds the journal.
    #[error("the journal {path} is in use by another service")]
    InUse {
        /// The file.
        path: PathBuf,
    },
}

/// The number of a record, for marking it applied or undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ticket(u64);

/// A change that may stand on the system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its number; later changes have larger ones.
    pub seq: Ticket,
    /// What it belongs to.
    pub purpose: Purpose,
    /// What was there before.
    pub before: Before,
    /// What shall be there after.
    pub after: Step,
    /// Whether it is known to have been carried out; otherwise it may have been.
    pub applied: bool,
}

/// One line of the file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// Begins a file: the boot in which its records were made.
    Boot(String),
    Record(Record),
    Applied(Ticket),
    Undone(Ticket),
    /// Shows that the file can be written.
    Check,
}

/// The open journal; it is locked against a second service while it lives.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    /// The length up to which the file is whole; a failed append is cut back to it.
    length: u64,
    boot: String,
    /// Whether the records that follow are known to be of this boot.
    boot_told: bool,
    next: u64,
    outstanding: Vec<Record>,
    lost_with_boot: Vec<Record>,
    unreadable: usize,
}

impl Journal {
    /// Opens or makes the journal in `directory` and reads back what is outstanding.
    ///
    /// `boot` names this boot of the machine (`/proc/sys/kernel/random/boot_id`).
    pub fn open(directory: &Path, boot: &str) -> Result<Self, JournalError> {
        let path = directory.join(FILE_NAME);
        let unusable = |source| JournalError::Unusable { path: path.clone(), source };
        let mut file = platform::open_private(&path).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Err(JournalError::InUse { path }),
            Err(std::fs::TryLockError::Error(source)) => return Err(unusable(source)),
        }
        let mut text = Vec::new();
        (&mut file).take(MOST_OCTETS).read_to_end(&mut text).map_err(unusable)?;
        let whole = text.iter().rposition(|octet| *octet == b'\n').map_or(0, |end| end.saturating_add(1));
        text.truncate(whole);
        let length = u64::try_from(whole).unwrap_or(u64::MAX);
        file.set_len(length).map_err(unusable)?;
        let mut journal = Self { length, ..Self::of(path, file, boot) };
        journal.read_back(&text);
        Ok(journal)
    }

    /// Returns what may stand according to the journal in `directory`, oldest first, without taking it from the
    /// service that may hold it; nothing where there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn peek(directory: &Path, boot: &str) -> Result<Vec<Record>, JournalError> {
        let path = directory.join(FILE_NAME);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(JournalError::Unusable { path, source }),
        };
        let mut text = Vec::new();
        let read = (&file).take(MOST_OCTETS).read_to_end(&mut text);
        read.map_err(|source| JournalError::Unusable { path: path.clone(), source })?;
        let mut journal = Self::of(path, file, boot);
        journal.read_back(&text);
        Ok(journal.outstanding)
    }

    fn of(path: PathBuf, file: File, boot: &str) -> Self {
        Self {
            path,
            file,
            length: 0,
            boot: boot.to_owned(),
            boot_told: false,
            next: 1,
            outstanding: Vec::new(),
            lost_with_boot: Vec::new(),
            unreadable: 0,
        }
    }

    /// Returns the changes that may stand, oldest first.
    pub fn outstanding(&self) -> &[Record] {
        &self.outstanding
    }

    /// Returns the changes that an earlier boot took with it, oldest first.
    pub fn lost_with_boot(&self) -> &[Record] {
        &self.lost_with_boot
    }

    /// Returns how many lines could not be read, the torn last one left out.
    pub const fn unreadable(&self) -> usize {
        self.unreadable
    }

    /// Shows that the journal can be written, before anything is promised on its strength.
    pub fn check_writable(&mut self) -> Result<(), JournalError> {
        self.append(&[Line::Check])
    }

    /// Writes changes down and syncs once for all; only then may the first of them be made. Of one that
    /// was not made after all [`Self::undone`] is to be said as of one that was.
    pub fn record(&mut self, changes: &[(Purpose, Step, Before)]) -> Result<Vec<Ticket>, JournalError> {
        let records: Vec<Record> = (self.next..)
            .zip(changes)
            .map(|(seq, (purpose, step, before))| Record {
                seq: Ticket(seq),
                purpose: *purpose,
                before: before.clone(),
                after: step.clone(),
                applied: false,
            })
            .collect();
        let lines: Vec<Line> = records.iter().cloned().map(Line::Record).collect();
        self.append(&lines)?;
        let tickets: Vec<Ticket> = records.iter().map(|record| record.seq).collect();
        self.next = tickets.last().map_or(self.next, |last| last.0.saturating_add(1));
        self.outstanding.extend(records);
        Ok(tickets)
    }

    /// Notes that the changes were made.
    pub fn applied(&mut self, tickets: &[Ticket]) -> Result<(), JournalError> {
        let lines: Vec<Line> = tickets.iter().copied().map(Line::Applied).collect();
        self.append(&lines)?;
        for record in self.outstanding.iter_mut().filter(|record| tickets.contains(&record.seq)) {
            record.applied = true;
        }
        Ok(())
    }

    /// Notes that the change was undone or replaced. When nothing is outstanding any longer the
    /// file is emptied.
    ///
    /// An error leaves the record in the file only: undoing it once more finds nothing to do.
    pub fn undone(&mut self, ticket: Ticket) -> Result<(), JournalError> {
        self.outstanding.retain(|record| record.seq != ticket);
        if self.outstanding.is_empty() && self.lost_with_boot.is_empty() {
            self.empty()
        } else {
            self.append(&[Line::Undone(ticket)])
        }
    }

    /// Gives up what an earlier boot took: it stands again already, or nobody wants it.
    pub fn forget_lost_with_boot(&mut self) -> Result<(), JournalError> {
        let lost = std::mem::take(&mut self.lost_with_boot);
        if self.outstanding.is_empty() {
            return self.empty();
        }
        let lines: Vec<Line> = lost.into_iter().map(|record| Line::Undone(record.seq)).collect();
        self.append(&lines)
    }

    fn read_back(&mut self, text: &[u8]) {
        let mut same_boot = false;
        for line in text.split(|octet| *octet == b'\n') {
            if line.is_empty() {
                continue;
            }
            match serde_json::from_slice::<Line>(line) {
                Ok(Line::Boot(boot)) => {
                    same_boot = boot == self.boot;
                    self.boot_told = same_boot;
                }
                Ok(Line::Record(record)) => {
                    self.next = self.next.max(record.seq.0.saturating_add(1));
                    if same_boot || survives_boot(&record.after) {
                        self.outstanding.push(record);
                    } else {
                        self.lost_with_boot.push(record);
                    }
                }
                Ok(Line::Applied(ticket)) => {
                    let mut known = self.outstanding.iter_mut().chain(self.lost_with_boot.iter_mut());
                    if let Some(record) = known.find(|record| record.seq == ticket) {
                        record.applied = true;
                    }
                }
                Ok(Line::Undone(ticket)) => {
                    self.outstanding.retain(|record| record.seq != ticket);
                    self.lost_with_boot.retain(|record| record.seq != ticket);
                }
                Ok(Line::Check) => {}
                Err(_) => self.unreadable = self.unreadable.saturating_add(1),
            }
        }
    }

    /// Empties the file: nothing is outstanding, so nothing can be lost on the way.
    fn empty(&mut self) -> Result<(), JournalError> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.sync_data());
        emptied.map_err(|source| JournalError::Unusable { path: self.path.clone(), source })?;
        self.length = 0;
        self.boot_told = false;
        Ok(())
    }

    fn append(&mut self, lines: &[Line]) -> Result<(), JournalError> {
        if lines.is_empty() {
            return Ok(());
        }
        let mut text = Vec::new();
        if !self.boot_told {
            text.extend(encode(&Line::Boot(self.boot.clone())));
        }
        text.extend(lines.iter().flat_map(encode));
        self.append_octets(&text)?;
        self.boot_told = true;
        Ok(())
    }

    fn append_octets(&mut self, text: &[u8]) -> Result<(), JournalError> {
        let written = self
            .file
            .seek(SeekFrom::Start(self.length))
            .and_then(|_| self.file.write_all(text))
            .and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => {
                self.length = self.length.saturating_add(u64::try_from(text.len()).unwrap_or(u64::MAX));
                Ok(())
            }
            Err(source) => {
                // Half a line must not stand before the next one. If even this fails the next
                // append starts at the same place and overwrites it.
                let _ = self.file.set_len(self.length);
                Err(JournalError::Unusable { path: self.path.clone(), source })
            }
        }
    }
}

/// Returns whether the change is still there after the machine was started anew.
fn survives_boot(step: &Step) -> bool {
    matches!(step, Step::Resolver(_))
}

fn encode(line: &Line) -> Vec<u8> {
    // Our own plain types: serialising them to memory cannot fail; an empty line is passed over.
    let mut text = serde_json::to_vec(line).unwrap_or_default();
    text.push(b'\n');
    text
}

#[cfg(test)]
pub(in crate::network) mod tests;
