//! `postern debug bundle`: one archive for whoever helps to find a fault.
//!
//! Everything in it is what this very caller may see: what the service tells him, and what the system
//! shows him. Before anything is written he is told what it is. It holds no secret: the service hands none
//! out, and what is named like one is taken out of every text.

mod contents;

use super::{Session, ask, keys, output};
use clap::{Args, Subcommand};
use contents::Part;
use postern_api::fault::{Fault, FaultName};
use std::io::Write;
use std::path::{Path, PathBuf};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Put version, health, status, profiles, facts, log and routes into one archive
    Bundle(Arguments),
}

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The archive; a new file
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Only say what would be in it
    #[arg(long)]
    dry_run: bool,
    /// Do not ask before writing
    #[arg(long, short)]
    yes: bool,
    /// Take the log from this file, not from the journal
    #[arg(long, value_name = "FILE")]
    log_file: Option<PathBuf>,
}

pub(super) async fn run(session: &Session, command: Command) -> Result<(), Fault> {
    let Command::Bundle(arguments) = command;
    let path = arguments.output.clone().unwrap_or_else(|| {
        let now = jiff::Timestamp::now();
        format!("postern-debug-{}.zip", now.strftime("%Y%m%d-%H%M%SZ")).into()
    });
    if !(arguments.dry_run || arguments.yes || output::has_terminal()) {
        return Err(ask::input_needed("debug bundle", "nobody is there to agree: --yes agrees, --dry-run only shows"));
    }
    let parts = contents::gather(session, arguments.log_file).await;
    tell(session, &parts);
    if arguments.dry_run {
        return Ok(());
    }
    if !arguments.yes {
        let answer = ask::at_terminal(format!("Write this to {}? [y/N] ", path.display()), false).await?;
        if !["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) {
            return Err(Fault::new(FaultName::Cancelled, "", "nothing was written", ""));
        }
    }
    write(&path, &parts).map_err(|error| {
        let next = "name another file: --output FILE";
        Fault::new(FaultName::UsageInvalid, path.display().to_string(), format!("cannot be written: {error}"), next)
    })?;
    if session.json {
        output::json(&serde_json::json!({ "written": path }));
    } else {
        output::line(format!("{} is written, for your eyes only. Look into it before you pass it on.", path.display()));
    }
    Ok(())
}

/// Says what is in it.
fn tell(session: &Session, parts: &[Part]) {
    if session.json {
        parts.iter().for_each(output::json);
        return;
    }
    output::line("The bundle holds, without passwords, keys and codes:");
    let size = |part: &Part| format!("{} octets", part.text.len());
    let row = |part: &Part| vec![part.name.clone(), size(part), part.about.clone()];
    output::table(&["file", "size", "what"], parts.iter().map(row).collect());
}

/// Writes the archive: a new file, its owner's alone. Half of one does not stay.
fn write(path: &Path, parts: &[Part]) -> std::io::Result<()> {
    let file = keys::new_file(path)?;
    let written = archive(file, parts);
    if written.is_err() {
        let _ = std::fs::remove_file(path);
    }
    written
}

fn archive(file: std::fs::File, parts: &[Part]) -> std::io::Result<()> {
    let options = zip::write::SimpleFileOptions::default().unix_permissions(0o600);
    let mut archive = zip::ZipWriter::new(file);
    for part in parts {
        archive.start_file(part.name.as_str(), options)?;
        archive.write_all(part.text.as_bytes())?;
    }
    archive.finish()?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn an_archive_is_a_new_file_of_its_owner_and_holds_what_was_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bundle.zip");
        let parts = [Part::new("a/b.txt", "x", "text".into()), Part::new("c.txt", "y", String::new())];
        write(&path, &parts).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let mut archive = zip::ZipArchive::new(std::fs::File::open(&path).unwrap()).unwrap();
        assert_eq!(archive.len(), 2);
        let mut text = String::new();
        archive.by_name("a/b.txt").unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "text");
        assert_eq!(write(&path, &parts).unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
    }
}
