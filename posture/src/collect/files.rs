//! The files that rules ask for.

use super::look::Seen;
use super::{Context, Look};
use crate::facts::{FileState, Observation};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;

pub(super) fn files(context: &Context, asked: BTreeSet<String>) -> Look<Seen<String, FileState>> {
    let seen = asked.into_iter().map(|path| {
        let state = file(context, &path);
        (path, state)
    });
    Look::known(seen.collect(), "file system")
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
