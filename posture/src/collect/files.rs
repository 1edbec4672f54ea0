//! The files that rules ask for.

use super::{Context, Look};
use crate::facts::{Fact, FileState, Observation};
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::Path;

/// What was seen of each file.
pub(super) type Seen = BTreeMap<String, Observation<FileState>>;

pub(super) fn files(context: &Context, asked: BTreeSet<String>) -> Look<Seen> {
    let seen = asked.into_iter().map(|path| {
        let state = file(context, &path);
        (path, state)
    });
    Look::known(seen.collect(), "file system")
}

/// Returns the fact of one file out of the look at all.
pub(super) fn one(path: &str, all: &Fact<Seen>) -> Fact<FileState> {
    let observation = match &all.observation {
        Observation::Known(seen) => {
            seen.get(path).cloned().unwrap_or_else(|| Observation::Unknown("not looked at".to_owned()))
        }
        Observation::Unknown(reason) => Observation::Unknown(reason.clone()),
        Observation::Denied(reason) => Observation::Denied(reason.clone()),
    };
    Fact::new(observation, path, all.gathered_unix)
}

fn file(context: &Context, path: &str) -> Observation<FileState> {
    let asked = Path::new(path);
    if !asked.is_absolute() {
        return Observation::Unknown(format!("{path} is not an absolute path"));
    }
    if context.settings.hidden_folders.iter().any(|folder| asked.starts_with(folder)) {
        return Observation::Denied(format!("{path}: the service's sandbox hides it"));
    }
    match std::fs::metadata(context.path(asked)) {
        Ok(_) => Observation::Known(FileState::Present),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Observation::Known(FileState::Missing)
        }
        Err(error) => Observation::from_error(path, &error),
    }
}
