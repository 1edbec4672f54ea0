//! `postern profile`.

use super::tunnel::invalid;
use super::{Session, import, output};
use crate::profile::file::read_regular;
use crate::profile::import::Additions;
use crate::profile::{self, ProfileError, Settings, Tunnel, document, settings};
use clap::Subcommand;
use postern_api::PlainText;
use postern_api::fault::{Fault, FaultName};
use postern_api::method::{Method, TunnelDocument, TunnelName};
use postern_api::state::Origin;
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make tunnels out of an export of FortiClient
    Import(import::Arguments),
    /// Check files; without any, the service's settings and every local tunnel
    Validate {
        /// Tunnel files, postern.toml, or exports of FortiClient (XML)
        files: Vec<PathBuf>,
    },
    /// Show a tunnel
    Show {
        /// The tunnel
        tunnel: String,
        /// With every default filled in
        #[arg(long)]
        effective: bool,
        /// With the place that decided each element
        #[arg(long, requires = "effective")]
        origin: bool,
    },
}

pub(super) async fn run(session: &Session, command: Command) -> Result<(), Fault> {
    match command {
        Command::Import(arguments) => import::run(session, arguments).await,
        Command::Validate { files } => validate(session, files),
        Command::Show { tunnel, effective, origin } => show(session, tunnel, effective, origin).await,
    }
}

fn validate(session: &Session, files: Vec<PathBuf>) -> Result<(), Fault> {
    let files = if files.is_empty() {
        settings::load(&session.paths).map_err(|error| invalid(&error))?;
        settings::toml_files(&session.paths.tunnels())
    } else {
        files
    };
    let mut first = None;
    for file in files {
        let checked = check(&file);
        let problem = checked.as_ref().err();
        if session.json {
            output::json(&json!({
                "file": file,
                "valid": problem.is_none(),
                "problem": problem.map(ToString::to_string),
                "line": problem.map(|error| error.line),
                "column": problem.map(|error| error.column),
                "element": problem.map(|error| &error.element),
                "expected": problem.map(|error| &error.expected),
            }));
        } else {
            let told = problem.map(|error| PlainText::from(error.pointed()).for_terminal());
            output::line(told.unwrap_or_else(|| format!("{}: valid", file.display())));
        }
        first = first.or(checked.err());
    }
    first.map_or(Ok(()), |error| Err(invalid(&error)))
}

/// Checks one file as what it is: XML by its first character, settings by its name, else a tunnel.
fn check(file: &Path) -> Result<(), ProfileError> {
    if is_settings(file) {
        return document::load::<Settings>(file).map(drop);
    }
    let maximum = u64::try_from(profile::import::MAXIMUM_OCTETS).unwrap_or(u64::MAX);
    match read_regular(file, maximum.saturating_add(1)) {
        Ok(octets) if profile::import::is_xml(&octets) => {
            profile::import::read(file, &octets, &Additions::default()).map(drop)
        }
        _ => document::load::<Tunnel>(file).map(drop),
    }
}

fn is_settings(file: &Path) -> bool {
    let in_drop_ins = file.parent().and_then(Path::file_name).is_some_and(|name| name == "postern.d");
    in_drop_ins || file.file_name().is_some_and(|name| name == "postern.toml")
}

async fn show(session: &Session, tunnel: String, effective: bool, origin: bool) -> Result<(), Fault> {
    let name = TunnelName { tunnel };
    let document: TunnelDocument = session.open().await?.call(Method::TunnelShow, &name).await?;
    if !effective {
        if session.json {
            output::json(&document);
        } else {
            output::line(document.toml.trim_end());
        }
        return Ok(());
    }
    let file = document.file.clone().unwrap_or_else(|| "EMS".into());
    let parsed: Tunnel = document::parse(Path::new(&file), &document.toml).map_err(|error| invalid(&error))?;
    let internal = |error: String| Fault::new(FaultName::Internal, "", error, "");
    let full = toml::Table::try_from(&parsed).map_err(|error| internal(error.to_string()))?;
    let written = document.toml.parse::<toml::Table>().map_err(|error| internal(error.to_string()))?;
    let from = match document.origin {
        Origin::Managed => "managed",
        Origin::Local => file.as_str(),
    };
    for (element, value) in flattened("", &full) {
        let place = if is_written(&written, &element) { from } else { "default" };
        match (session.json, origin) {
            (true, _) => output::json(&json!({ "element": element, "value": value, "origin": place })),
            (false, true) => output::line(format!("{element} = {value}  # {place}")),
            (false, false) => output::line(format!("{element} = {value}")),
        }
    }
    Ok(())
}

fn flattened(prefix: &str, table: &toml::Table) -> Vec<(String, toml::Value)> {
    let mut elements = Vec::new();
    for (key, value) in table {
        let element = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            toml::Value::Table(inner) => elements.extend(flattened(&element, inner)),
            other => elements.push((element, other.clone())),
        }
    }
    elements
}

fn is_written(table: &toml::Table, element: &str) -> bool {
    match element.split_once('.') {
        None => table.contains_key(element),
        Some((head, rest)) => match table.get(head) {
            Some(toml::Value::Table(inner)) => is_written(inner, rest),
            _ => false,
        },
    }
}
