//! What is remembered of a block, over restarts of the service and of the machine.
//!
//! The note is written when posture is lost and before anything is taken down, and goes when the
//! block is lifted. With it the next life of the service knows that guard and block are to stand,
//! and for whom; what they are made of is in the network's journal.

use super::Hub;
use crate::connection::Connection;
use crate::platform;
use postern_api::fault::Fault;
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Where the note lies in the state directory.
const FILE_NAME: &str = "block.json";

fn place(state: &Path) -> PathBuf {
    state.join(FILE_NAME)
}

/// What is remembered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::service) struct Note {
    /// The tunnel.
    pub(in crate::service) tunnel: String,
    /// Why it is blocked.
    pub(in crate::service) why: Fault,
    /// The user for whom it was made: the block is that user's to lift.
    pub(in crate::service) owner: Option<u32>,
}

/// Reads the note.
pub(in crate::service) fn read(state: &Path) -> Option<Note> {
    serde_json::from_slice(&std::fs::read(place(state)).ok()?).ok()
}

fn write(state: &Path, note: &Note) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(state)?;
    file.write_all(&serde_json::to_vec(note)?)?;
    file.as_file().sync_all()?;
    file.persist(place(state))?;
    platform::sync_directory(state)
}

/// Forgets the block.
pub(in crate::service) fn remove(state: &Path) -> io::Result<()> {
    match std::fs::remove_file(place(state)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.and_then(|()| platform::sync_directory(state)),
    }
}

impl Hub {
    /// Notes that a block begins, or forgets one that ends, between two states of a tunnel.
    pub(in crate::service) fn note_block(&self, tunnel: &str, before: &Connection, now: &Connection) {
        let (before, now) = (before.block(), now.block());
        let kept = match (&before, &now) {
            (before, Some(why)) if before.as_ref() != Some(why) => {
                let owner = self.owners.get(tunnel).copied().flatten();
                write(&self.paths.state, &Note { tunnel: tunnel.to_owned(), why: why.clone(), owner })
            }
            (Some(_), None) => remove(&self.paths.state),
            _ => return,
        };
        if let Err(error) = kept {
            tracing::error!(%error, "a restart would not know of the block");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postern_api::fault::FaultName;

    #[test]
    fn a_note_is_read_back_until_it_is_removed() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!(read(state.path()), None);
        remove(state.path()).unwrap();
        let why = Fault::new(FaultName::ComplianceLost, "work", "was lost", "");
        let note = Note { tunnel: "work".into(), why, owner: Some(1000) };
        write(state.path(), &note).unwrap();
        assert_eq!(read(state.path()), Some(note));
        remove(state.path()).unwrap();
        assert_eq!(read(state.path()), None);
    }
}
