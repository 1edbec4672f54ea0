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
    // Units of other packages on this machine are read too, and are not ours to judge.
    let others = ["/lib/systemd/", "/usr/lib/systemd/", "/etc/systemd/"];
    let ours = error.lines().any(|line| !others.iter().any(|place| line.starts_with(place)));
    ensure!(code == 0 && !ours, "{out}{error}");
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
        ("postern-tunnel-add.1", ".TH postern-tunnel-add 1"),
    ] {
        let text = std::fs::read_to_string(out.join(file)).with_context(|| file.to_owned())?;
        ensure!(text.contains(word), "{file} lacks {word:?}:\n{text}");
    }
    Ok(())
}

/// A root into which dpkg can install without changing this system.
fn scratch_root() -> Result<tempfile::TempDir> {
    let root = tempfile::tempdir()?;
    for folder in ["var/lib/dpkg/info", "var/lib/dpkg/updates", "etc"] {
        std::fs::create_dir_all(root.path().join(folder))?;
    }
    for file in ["status", "available"] {
        std::fs::write(root.path().join("var/lib/dpkg").join(file), "")?;
    }
    Ok(root)
}

/// dpkg on a scratch root; as an ordinary user it plays root for the files' owners.
fn dpkg(root: &Path) -> Command {
    let mut command = match nix::unistd::geteuid().is_root() {
        true => Command::new("dpkg"),
        false => {
            let mut command = Command::new("fakeroot");
            command.arg("dpkg");
            command
        }
    };
    command.arg(format!("--root={}", root.display()));
    // What it depends on is not in the scratch root, and neither is a shell for its scripts.
    command.args(["--force-depends", "--force-script-chrootless"]);
    command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

#[test]
fn the_debian_package_installs_what_the_service_needs_and_takes_it_away_again() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let (folder, root) = (tempfile::tempdir()?, scratch_root()?);
    let programs = program("postern")?.parent().context("a program lies in a folder")?.to_owned();
    let mut build = Command::new(packaging().join("deb/build"));
    let built = output_of(build.arg(&programs).arg(folder.path()).env("DPKG_DEB_OPTIONS", "-Zgzip -z1"))?;
    let package = built.trim();
    let control = output_of(Command::new("dpkg-deb").args(["--field", package]))?;
    for wanted in ["Package: postern", "libc6 (>= ", "nftables"] {
        ensure!(control.contains(wanted), "{wanted:?} is missing:\n{control}");
    }
    let listing = output_of(Command::new("dpkg-deb").args(["--contents", package]))?;
    ensure!(listing.lines().all(|line| line.contains(" root/root ")), "{listing}");

    output_of(dpkg(root.path()).args(["--install", package]))?;
    for (path, mode) in [
        ("usr/sbin/posternd", 0o755),
        ("usr/bin/postern", 0o755),
        ("usr/bin/postern-tray", 0o755),
        ("lib/systemd/system/posternd.service", 0o644),
        ("etc/postern/tunnels.d", 0o755),
        ("usr/share/man/man1/postern.1.gz", 0o644),
        ("usr/share/man/man1/postern-tunnel-add.1.gz", 0o644),
        ("usr/share/bash-completion/completions/postern", 0o644),
    ] {
        let found = std::fs::metadata(root.path().join(path)).with_context(|| path.to_owned())?;
        ensure!(found.permissions().mode() & 0o7777 == mode, "{path}: {:o}", found.permissions().mode());
    }
    let enabled = root.path().join("etc/systemd/system/multi-user.target.wants/posternd.service");
    ensure!(enabled.is_symlink(), "the service is not enabled");
    let users = std::fs::read_to_string(root.path().join("etc/passwd"))?;
    let groups = std::fs::read_to_string(root.path().join("etc/group"))?;
    ensure!(users.lines().any(|line| line.starts_with("postern-net:")), "{users}");
    ensure!(groups.lines().any(|line| line.starts_with("postern:")), "{groups}");

    std::fs::create_dir_all(root.path().join("var/lib/postern"))?;
    output_of(dpkg(root.path()).args(["--purge", "postern"]))?;
    for gone in ["usr/sbin/posternd", "var/lib/postern", "lib/systemd/system/posternd.service"] {
        ensure!(!root.path().join(gone).exists(), "{gone} was left behind");
    }
    ensure!(!enabled.is_symlink(), "the service is still enabled");
    Ok(())
}
