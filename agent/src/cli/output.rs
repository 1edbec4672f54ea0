//! What is printed, and how a failure ends.

use postern_api::event::Notice;
use postern_api::fault::{Fault, FaultName};
use serde::Serialize;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::OnceLock;

/// Why the first line that could not be printed could not be.
static UNPRINTED: OnceLock<String> = OnceLock::new();

/// Prints one line; a reader that went away is no error, a full disk is.
pub(super) fn line(text: impl AsRef<str>) {
    let mut out = std::io::stdout().lock();
    let printed = writeln!(out, "{}", text.as_ref()).and_then(|()| out.flush());
    if let Err(error) = printed
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        let _ = UNPRINTED.set(error.to_string());
    }
}

/// Returns the exit code of a command that did its work: success, where all it said was printed.
pub(super) fn finish() -> ExitCode {
    match UNPRINTED.get() {
        None => ExitCode::SUCCESS,
        Some(why) => {
            let detail = format!("cannot be written: {why}");
            let fault = Fault::new(FaultName::Internal, "standard output", detail, "make room, and run it again");
            aside(fault.to_string());
            ExitCode::from(fault.exit_code())
        }
    }
}

/// Prints one line to the error stream.
pub(super) fn aside(text: impl AsRef<str>) {
    let _ = writeln!(std::io::stderr().lock(), "{}", text.as_ref());
}

/// Prints a value as one line of JSON.
pub(super) fn json(value: &impl Serialize) {
    if let Ok(text) = serde_json::to_string(value) {
        line(postern_api::text::json_for_terminal(&text));
    }
}

/// Prints a failure and returns its exit code: the administrator's words first and verbatim, then
/// the fault in one line.
pub(super) fn fault(as_json: bool, fault: &Fault) -> ExitCode {
    if as_json {
        json(&serde_json::json!({ "error": fault, "exit": fault.exit_code() }));
    } else {
        if let Some(warning) = &fault.warning {
            aside(warning.for_terminal());
        }
        aside(fault.to_string());
    }
    ExitCode::from(fault.exit_code())
}

/// Prints a notice: title, the administrator's words, the fault.
pub(super) fn notice(notice: &Notice) {
    line(notice.title.for_one_line());
    line(notice.warning.for_terminal());
    line(notice.fault.to_string());
}

/// Prints rows as a table without frames, fitted to the terminal.
pub(super) fn table(header: &[&str], rows: Vec<Vec<String>>) {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(header.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for text in table.to_string().lines() {
        line(text.trim());
    }
}

/// Tells whether a person can be asked.
pub(super) fn has_terminal() -> bool {
    std::io::stdin().is_terminal()
}
