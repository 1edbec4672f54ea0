//! `postern profile`.

use super::tunnel::invalid;
use super::{Session, import, output};
use crate::profile::catalogue::load_tunnel;
use crate::profile::file::read_regular;
use crate::profile::import::Additions;
use crate::profile::{self, ProfileError, Settings, Tunnel, document, settings};
use clap::Subcommand;
use postern_api::PlainText;
use postern_api::fault::Fault;
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
    /// Show a tunnel; without one, the service's settings
    Show {
        /// The tunnel
        tunnel: Option<String>,
        /// With every default filled in
        #[arg(long)]
        effective: bool,
        /// With who decided each element, who locks it, and what it overrides
        #[arg(long)]
        origin: bool,
    },
}

pub(super) async fn run(session: &Session, command: Command) -> Result<(), Fault> {
    match command {
        Command::Import(arguments) => import::run(session, arguments).await,
        Command::Validate { files } => validate(session, files),
        Command::Show { tunnel, effective, origin } => {
            super::effective::show(session, tunnel, effective || origin, origin).await
        }
    }
}

fn validate(session: &Session, files: Vec<PathBuf>) -> Result<(), Fault> {
    let mut first = None;
    let checked: Vec<_> = if files.is_empty() {
        settings::load(&session.paths).map_err(|error| invalid(&error))?;
        let files = settings::toml_files(&session.paths.tunnels()).into_iter();
        files.map(|file| (check_in_place(&file), file)).collect()
    } else {
        files.into_iter().map(|file| (check(&file), file)).collect()
    };
    for (checked, file) in checked {
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
            let shown = PlainText::from(file.display().to_string());
            output::line(told.unwrap_or_else(|| format!("{}: valid", shown.for_one_line())));
        }
        first = first.or(checked.err());
    }
    first.map_or(Ok(()), |error| Err(invalid(&error)))
}

/// Checks a tunnel's file where the service finds it, and as the service does: by its name, and by who
/// may write it, too.
fn check_in_place(file: &Path) -> Result<(), ProfileError> {
    let name = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    load_tunnel(file, name).map(drop)
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
