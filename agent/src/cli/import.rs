//! `postern profile import`: an export of FortiClient becomes tunnels of ours.

use super::tunnel::{absolute, invalid};
use super::{Session, ask, output};
use crate::profile::file::read_regular;
use crate::profile::import::{self, Additions, Connection, Fate, Finding, Import, Outcome, SecretKind};
use crate::profile::{document, merge, wg_quick};
use clap::Args;
use postern_api::PlainText;
use postern_api::fault::{Fault, FaultName};
use postern_api::method::{Method, TunnelAdd, TunnelDocument, TunnelName};
use postern_api::state::{Origin, TunnelStatus};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The export, as FortiClient writes it (XML), or a .conf of wg-quick
    file: PathBuf,
    /// Import this connection only (may be repeated)
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Replace tunnels of the same name; comments in them stay
    #[arg(long)]
    replace: bool,
    /// Show what would become of the export, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// PEM file with this end's certificate, for connections that use one
    #[arg(long, value_name = "FILE")]
    certificate_file: Option<PathBuf>,
    /// File with its private key: PEM, or PKCS#12 with the certificate in it
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// PEM file with an authority to trust for gateway and login server (may be repeated)
    #[arg(long = "ca-file", value_name = "FILE")]
    ca_files: Vec<PathBuf>,
}

pub(super) async fn run(session: &Session, arguments: Arguments) -> Result<(), Fault> {
    if wg_quick::is_named_so(&arguments.file) {
        return wireguard(session, &arguments).await;
    }
    let mut additions = Additions {
        certificate_file: absolute(arguments.certificate_file)?,
        key_file: absolute(arguments.key_file)?,
        ..Additions::default()
    };
    for file in arguments.ca_files {
        additions.ca_files.extend(absolute(Some(file))?);
    }
    let mut import = read(&arguments.file, &additions)?;
    choose(&mut import, &arguments.only)?;
    let there: Option<Vec<TunnelStatus>> = match session.open().await {
        Ok(client) => Some(client.ask(Method::TunnelList).await?),
        // What would be done can be shown without a service.
        Err(_) if arguments.dry_run => None,
        Err(fault) => return Err(fault),
    };
    let there = there.unwrap_or_default();
    if !arguments.dry_run {
        refuse_taken(&import, &there, arguments.replace)?;
    }
    if !session.json {
        report(&import, arguments.dry_run).iter().for_each(output::line);
    }
    let mut done = Vec::new();
    if !arguments.dry_run {
        for connection in &mut import.connections {
            if let Outcome::Tunnel { tunnel, toml, .. } = &connection.outcome {
                let replaces = there.iter().any(|known| known.name.as_received() == tunnel);
                let secrets = std::mem::take(&mut connection.secrets);
                let replace = Replacing { allowed: arguments.replace, known: replaces };
                add(session, tunnel, toml, secrets, replace).await?;
                done.push(json!({ "tunnel": tunnel, "done": if replaces { "replaced" } else { "added" } }));
                if !session.json {
                    output::line(format!("{tunnel} {}", if replaces { "replaced" } else { "added" }));
                }
            }
        }
    }
    if session.json {
        output::json(&json!({ "file": arguments.file, "dry_run": arguments.dry_run, "import": import, "done": done }));
    }
    if import.connections.iter().any(|connection| matches!(connection.outcome, Outcome::Tunnel { .. })) {
        return Ok(());
    }
    let detail = "holds no connection that can be a tunnel here";
    Err(Fault::new(FaultName::ProfileInvalid, arguments.file.display().to_string(), detail, "see why above"))
}

/// Imports a file of WireGuard's as the tunnel of its name.
async fn wireguard(session: &Session, arguments: &Arguments) -> Result<(), Fault> {
    let text = Zeroizing::new(document::read(&arguments.file).map_err(|error| invalid(&error))?);
    let found = wg_quick::parse(&arguments.file, &text).map_err(|error| invalid(&error))?;
    let stem = arguments.file.file_stem().unwrap_or_default().to_string_lossy();
    let name = import::usable_name(&stem);
    let toml = found.tunnel.to_toml();
    let toml = toml.map_err(|error| Fault::new(FaultName::Internal, "", error.to_string(), ""))?;
    if !arguments.dry_run {
        let request = TunnelAdd {
            tunnel: name.clone(),
            toml: toml.clone(),
            replace: arguments.replace,
            pre_shared_key: found.pre_shared_key.map(|key| key.to_string()),
            password: None,
            private_key: Some(found.private_key.to_string()),
        };
        session.open().await?.call::<Value>(Method::TunnelAdd, &request).await?;
    }
    if session.json {
        output::json(&json!({
            "file": arguments.file, "dry_run": arguments.dry_run, "tunnel": name, "toml": toml, "left_out": found.left_out,
        }));
        return Ok(());
    }
    output::line(format!("tunnel {name}{}", if arguments.dry_run { ":" } else { " added" }));
    if arguments.dry_run {
        toml.lines().for_each(|line| output::line(format!("    {}", PlainText::from(line).for_one_line())));
    }
    let left_out = found.left_out.iter().map(|line| PlainText::from(line.as_str()).for_one_line());
    left_out.for_each(|line| output::line(format!("  left out: {line}")));
    Ok(())
}

/// Reads an export from a file.
pub(super) fn read(file: &Path, additions: &Additions) -> Result<Import, Fault> {
    let maximum = u64::try_from(import::MAXIMUM_OCTETS).unwrap_or(u64::MAX);
    let octets = read_regular(file, maximum.saturating_add(1)).map(Zeroizing::new).map_err(|error| {
        Fault::new(FaultName::UsageInvalid, file.display().to_string(), format!("cannot be read: {error}"), "")
    })?;
    import::read(file, &octets, additions).map_err(|error| invalid(&error))
}

fn choose(import: &mut Import, only: &[String]) -> Result<(), Fault> {
    if let Some(missing) = only.iter().find(|name| import.connections.iter().all(|known| known.name != **name)) {
        let names: Vec<&str> = import.connections.iter().map(|connection| connection.name.as_str()).collect();
        let next = format!("one of: {}", PlainText::from(names.join(", ")).for_one_line());
        return Err(Fault::new(FaultName::UsageInvalid, missing.as_str(), "is no connection of the export", next));
    }
    import.connections.retain(|connection| only.is_empty() || only.contains(&connection.name));
    Ok(())
}

/// Everything is imported or nothing.
fn refuse_taken(import: &Import, there: &[TunnelStatus], replace: bool) -> Result<(), Fault> {
    let named = |connection: &Connection| match &connection.outcome {
        Outcome::Tunnel { tunnel, .. } => there.iter().find(|known| known.name.as_received() == tunnel).cloned(),
        Outcome::LeftOut { .. } => None,
    };
    let taken: Vec<TunnelStatus> = import.connections.iter().filter_map(named).collect();
    if let Some(managed) = taken.iter().find(|known| known.origin == Origin::Managed) {
        let next = "leave it out: name the others with --only";
        return Err(Fault::new(FaultName::NotPermitted, managed.name.for_one_line(), "is managed by EMS", next));
    }
    if taken.is_empty() || replace {
        return Ok(());
    }
    let names: Vec<String> = taken.iter().map(|known| known.name.for_one_line()).collect();
    let next = "import with --replace, or name others with --only";
    Err(Fault::new(FaultName::UsageInvalid, names.join(", "), "exists already; nothing was changed", next))
}

/// Whether a tunnel of that name may be replaced, and whether there is one that can be shown.
struct Replacing {
    allowed: bool,
    known: bool,
}

async fn add(
    session: &Session,
    tunnel: &str,
    toml: &str,
    secrets: Vec<import::SecretFound>,
    replacing: Replacing,
) -> Result<(), Fault> {
    let mut request = TunnelAdd {
        tunnel: tunnel.to_owned(),
        toml: toml.to_owned(),
        replace: replacing.allowed,
        pre_shared_key: None,
        password: None,
        private_key: None,
    };
    for secret in secrets {
        let (what, place) = match secret.kind {
            SecretKind::PreSharedKey => ("Pre-shared key", &mut request.pre_shared_key),
            SecretKind::Password => ("Password", &mut request.password),
        };
        let value = match secret.value {
            Some(value) => Some(value),
            None if output::has_terminal() && !session.json => {
                let question = format!("{what} of {tunnel} (empty: ask at each connection): ");
                Some(ask::at_terminal(question, true).await?)
            }
            None => None,
        };
        *place = value.filter(|value| !value.is_empty()).map(|value| value.to_string());
    }
    let client = session.open().await?;
    if replacing.known {
        let name = TunnelName { tunnel: tunnel.to_owned() };
        let old: TunnelDocument = client.call(Method::TunnelShow, &name).await?;
        // Where the old one cannot be read there is nothing to keep of it.
        request.toml = merge::merged(&old.toml, toml).unwrap_or_else(|_| toml.to_owned());
    }
    client.call::<Value>(Method::TunnelAdd, &request).await?;
    Ok(())
}

/// Tells what becomes of an export, line by line.
fn report(import: &Import, with_toml: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for connection in &import.connections {
        let name = PlainText::from(connection.name.as_str()).for_one_line();
        match &connection.outcome {
            Outcome::Tunnel { tunnel, toml, needs } => {
                lines.push(format!("{name} (line {}): tunnel {tunnel}", connection.line));
                if with_toml {
                    let toml = PlainText::from(toml.trim_end()).for_terminal();
                    lines.extend(toml.lines().map(|line| format!("    {line}")));
                }
                lines.extend(needs.iter().map(|need| format!("  still needed: {need}")));
            }
            Outcome::LeftOut { reason, next } => {
                lines.push(format!("{name} (line {}): left out: {reason}", connection.line));
                lines.push(format!("  next: {next}"));
            }
        }
        findings(&mut lines, &connection.findings);
    }
    if !import.elsewhere.is_empty() {
        lines.push("outside the connections:".to_owned());
        findings(&mut lines, &import.elsewhere);
    }
    lines
}

fn findings(lines: &mut Vec<String>, findings: &[Finding]) {
    let count = |fate: Fate| findings.iter().filter(|finding| finding.fate == fate).count();
    let (used, idle) = (count(Fate::Used), count(Fate::Idle));
    lines.push(format!("  {used} elements used, {idle} ask for nothing that is not done anyway"));
    for (fate, what) in [(Fate::Secret, "secret"), (Fate::Unsupported, "not supported")] {
        for finding in findings.iter().filter(|finding| finding.fate == fate) {
            let path = PlainText::from(finding.path.as_str()).for_one_line();
            let detail = PlainText::from(finding.detail.as_str()).for_one_line();
            lines.push(format!("  {what}: {path} (line {}): {detail}", finding.line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postern_api::state::{ConnectionState, PostureStanding};

    fn sample(name: &str) -> Import {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/profile/import/samples").join(name);
        read(&file, &Additions::default()).unwrap()
    }

    #[test]
    fn the_report_tells_all_that_is_not_supported() {
        let samples = ["managed.xml", "plain.xml", "certificate.xml"];
        let told: Vec<String> = samples.iter().flat_map(|name| report(&sample(name), true)).collect();
        insta::assert_snapshot!(told.join("\n"));
    }

    #[test]
    fn a_connection_that_is_not_there_is_named_with_those_that_are() {
        let fault = choose(&mut sample("managed.xml"), &["nowhere".to_owned()]).unwrap_err();
        assert!(fault.to_string().contains("RA-VPN, Old SSL"), "{fault}");
    }

    #[test]
    fn nothing_is_replaced_unasked_and_nothing_of_ems_at_all() {
        let import = sample("managed.xml");
        let known = |origin: &str| -> Vec<TunnelStatus> {
            vec![TunnelStatus {
                name: "RA-VPN".into(),
                origin: if origin == "managed" { Origin::Managed } else { Origin::Local },
                state: ConnectionState::Disconnected,
                attention: false,
                gateway: "vpn.example.com".into(),
                posture: PostureStanding::NotEnforced,
                established: None,
                last_fault: None,
                blocked: false,
            }]
        };
        assert!(refuse_taken(&import, &[], false).is_ok());
        assert_eq!(refuse_taken(&import, &known("local"), false).unwrap_err().exit_code(), 2);
        assert!(refuse_taken(&import, &known("local"), true).is_ok());
        assert_eq!(refuse_taken(&import, &known("managed"), true).unwrap_err().exit_code(), 11);
    }
}
