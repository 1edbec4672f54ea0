//! The unit file, the group and what is generated for packages, judged by the tools that read them.

use anyhow::{Context, Result, ensure};
use lab::client::program;
use lab::net::{finish, output_of};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What `systemd-analyze security` may say at most, in tenths: "OK" ends at 4.9, and 3.9 was
/// reached. What is left is what the service is for: capabilities, addresses, reading files.
const EXPOSURE: &str = "40";

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/")).join("packaging")
}

/// The unit as it would be installed, with the programs that were built here.
fn unit(folder: &Path) -> Result<PathBuf> {
    let text = std::fs::read_to_string(packaging().join("systemd/posternd.service"))?;
    ensure!(text.contains("ExecStart=/usr/sbin/posternd\n"));
    let text = text
        .replace("/usr/sbin/posternd", &program("posternd")?.to_string_lossy())
        // The manual page is not installed here.
        .replace("Documentation=man:postern(1)\n", "");
    let path = folder.join("posternd.service");
    std::fs::write(&path, text)?;
    Ok(path)
}

#[test]
fn systemd_understands_every_line_of_the_unit() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (code, out, error) = finish(Command::new("systemd-analyze").arg("verify").arg(unit(folder.path())?))
        .context("systemd-analyze (package systemd)")?;
    ensure!(code == 0 && error.is_empty(), "{out}{error}");
    Ok(())
}

#[test]
fn the_unit_exposes_no_more_than_it_must() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (code, out, error) = finish(
        Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager", "--threshold", EXPOSURE])
            .arg(unit(folder.path())?),
    )?;
    ensure!(code == 0, "{out}{error}");
    ensure!(out.contains("Overall exposure level"), "{out}{error}");
    Ok(())
}

#[test]
fn the_group_and_the_user_are_made_by_sysusers() -> Result<()> {
    let root = tempfile::tempdir()?;
    std::fs::create_dir_all(root.path().join("etc"))?;
    let mut command = Command::new("systemd-sysusers");
    command.arg("--root").arg(root.path()).arg(packaging().join("systemd/postern.sysusers"));
    output_of(&mut command)?;
    let groups = std::fs::read_to_string(root.path().join("etc/group"))?;
    ensure!(groups.lines().any(|line| line.starts_with("postern:")), "{groups}");
    let users = std::fs::read_to_string(root.path().join("etc/passwd"))?;
    ensure!(users.lines().any(|line| line.starts_with("postern-net:") && line.ends_with("nologin")), "{users}");
    Ok(())
}

#[test]
fn completions_and_the_manual_page_come_from_the_program() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("generated");
    output_of(Command::new(packaging().join("generate")).arg(program("postern")?).arg(&out))?;
    for (file, word) in [
        ("postern.bash", "complete"),
        ("_postern", "#compdef postern"),
        ("postern.fish", "complete -c postern"),
        ("_postern.ps1", "Register-ArgumentCompleter"),
        ("postern.1", ".TH postern 1"),
    ] {
        let text = std::fs::read_to_string(out.join(file)).with_context(|| file.to_owned())?;
        ensure!(text.contains(word), "{file} lacks {word:?}:\n{text}");
    }
    Ok(())
}
