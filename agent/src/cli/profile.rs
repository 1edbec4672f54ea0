//! `postern profile`.

use super::tunnel::invalid;
use super::{Session, output};
use crate::profile::document;
use crate::profile::{Settings, Tunnel, settings};
use clap::Subcommand;
use postern_api::fault::{Fault, FaultName};
use postern_api::method::{Method, TunnelDocument, TunnelName};
use postern_api::state::Origin;
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check files; without any, the service's settings and every local tunnel
    Validate {
        /// Tunnel files, or postern.toml
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
        let checked = if is_settings(&file) {
            document::load::<Settings>(&file).map(drop)
        } else {
            document::load::<Tunnel>(&file).map(drop)
        };
        let problem = checked.as_ref().err().map(ToString::to_string);
        if session.json {
            output::json(&json!({ "file": file, "valid": problem.is_none(), "problem": problem }));
        } else {
            output::line(problem.unwrap_or_else(|| format!("{}: valid", file.display())));
        }
        first = first.or(checked.err());
    }
    first.map_or(Ok(()), |error| Err(invalid(&error)))
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
