//! The conversation log of `postern connect --trace`: written by this program, with the rights of
//! the one who runs it. The service hands over lines and opens nothing.

use super::output;
use postern_api::event::Event;
use postern_api::fault::{Fault, FaultName};
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// Where the lines go.
#[derive(Debug)]
pub(super) enum Log {
    /// Nowhere: no log was asked for.
    Off,
    /// To standard output; as JSON beside the other lines of JSON.
    Output {
        /// Whether everything is JSON.
        json: bool,
    },
    /// To a file.
    File(File),
}

impl Log {
    /// Opens the log: `-` is standard output. A new file is its owner's alone.
    ///
    /// # Errors
    /// `UsageInvalid` when the file cannot be written.
    pub(super) fn open(path: Option<&Path>, json: bool) -> Result<Self, Fault> {
        let Some(path) = path else { return Ok(Self::Off) };
        if path.as_os_str() == "-" {
            return Ok(Self::Output { json });
        }
        let mut options = std::fs::OpenOptions::new();
        options.create(true).append(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let unwritable = |error: std::io::Error| {
            let subject = path.display().to_string();
            Fault::new(FaultName::UsageInvalid, subject, format!("cannot be written: {error}"), "name another file")
        };
        options.open(path).map(Self::File).map_err(unwritable)
    }

    /// Tells whether a log was asked for.
    pub(super) const fn is_on(&self) -> bool {
        !matches!(self, Self::Off)
    }

    /// Writes the line of a trace event; other events are not its business.
    pub(super) fn note(&mut self, event: &Event) {
        let Event::Trace { line, .. } = event else { return };
        let line = line.for_one_line().to_string();
        match self {
            Self::Off => {}
            Self::Output { json: true } => output::json(&serde_json::json!({ "trace": line })),
            Self::Output { json: false } => output::line(line),
            // A full disk must not end the connection.
            Self::File(file) => drop(writeln!(file, "{line}")),
        }
    }
}
