//! What is printed, and how a failure ends.

use postern_api::event::Notice;
use postern_api::fault::Fault;
use serde::Serialize;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

/// Prints one line; a reader that went away is no error.
pub(super) fn line(text: impl AsRef<str>) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{}", text.as_ref());
    let _ = out.flush();
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
