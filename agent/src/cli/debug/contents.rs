//! What a bundle holds. A part that cannot be had says why.

use crate::cli::logs::without_secrets;
use crate::cli::{Session, doctor, effective, logs};
use crate::control::Client;
use postern_api::fault::Fault;
use postern_api::method::{Explain, Explanation, Method};
use postern_api::state::Status;
use serde::Serialize;
use serde_json::Value;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// How many lines of the log.
const LINES: usize = 5_000;
/// How long a program may take that shows the network.
const LIMIT: Duration = Duration::from_secs(5);
/// What shows the network, and where it is not installed nothing does.
const NETWORK: [(&str, &[&str]); 6] = [
    ("ip", &["address"]),
    ("ip", &["rule"]),
    ("ip", &["route", "show", "table", "all"]),
    ("ip", &["-6", "rule"]),
    ("ip", &["-6", "route", "show", "table", "all"]),
    ("nft", &["list", "tables"]),
];

/// One file of the bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Part {
    /// Its name.
    pub(super) name: String,
    /// What it is.
    pub(super) about: String,
    #[serde(skip)]
    pub(super) text: String,
}

impl Part {
    pub(super) fn new(name: impl Into<String>, about: &str, text: String) -> Self {
        Self { name: name.into(), about: about.to_owned(), text }
    }
}

/// Gathers everything, each with what is named like a secret taken out.
pub(super) async fn gather(session: &Session, log_file: Option<PathBuf>) -> Vec<Part> {
    let mut parts = vec![Part::new("version.txt", "versions of Postern and the system", version(session).await)];
    let (findings, _) = doctor::findings(session).await;
    let health: Vec<String> = findings.iter().map(doctor::sentence).collect();
    parts.push(Part::new("doctor.txt", "what postern doctor finds", health.join("\n")));
    let settings = effective::lines(session, None).await.map(|lines| lines.join("\n"));
    parts.push(Part::new("profiles/settings.txt", "effective settings of the service", told(settings)));
    match session.open().await {
        Ok(client) => of_service(session, &client, &mut parts).await,
        Err(fault) => parts.push(Part::new("service.txt", "why the service could not be asked", fault.to_string())),
    }
    let log = logs::last(LINES, log_file).await.map(|lines| lines.join("\n"));
    parts.push(Part::new("log.txt", "the last lines of the service's log", told(log)));
    parts.push(Part::new("network.txt", "addresses, routes and rules, names of packet filters", network().await));
    let resolver = std::fs::read_to_string("/etc/resolv.conf").map_err(|error| error.to_string());
    parts.push(Part::new("resolv.conf", "the resolver's file", resolver.unwrap_or_else(|why| unavailable(&why))));
    for part in &mut parts {
        part.text = cleaned(&part.text);
    }
    parts
}

/// Takes out what is named like a secret, and keys in PEM from their first line to their last.
fn cleaned(text: &str) -> String {
    let (mut inside, mut kept) = (false, String::with_capacity(text.len()));
    for line in text.lines() {
        let ends = line.contains("-----END") && line.contains("PRIVATE KEY-----");
        inside |= line.contains("-----BEGIN") && line.contains("PRIVATE KEY-----");
        if !inside || ends {
            kept.push_str(&without_secrets(line));
            kept.push('\n');
        }
        inside &= !ends;
    }
    kept
}

async fn of_service(session: &Session, client: &Client, parts: &mut Vec<Part>) {
    const ASKED: [(&str, &str, Method); 4] = [
        ("status.json", "status of every tunnel, and the tags", Method::Status),
        ("notices.json", "your last notices", Method::Notices),
        ("posture/facts.json", "what Postern knows of this device: packages, programs, users", Method::PostureFacts),
        ("posture/policy.json", "what EMS says of the service", Method::Policy),
    ];
    for (name, about, method) in ASKED {
        let answer = client.ask::<Value>(method).await;
        parts.push(Part::new(name, about, told(answer.map(|value| format!("{value:#}")))));
    }
    let Ok(status) = client.ask::<Status>(Method::Status).await else { return };
    for tunnel in status.tunnels.iter().map(|tunnel| tunnel.name.as_received().to_owned()) {
        let name = file_name(&tunnel);
        let profile = effective::lines(session, Some(tunnel.clone())).await.map(|lines| lines.join("\n"));
        let about = "an effective profile, and who set what";
        parts.push(Part::new(format!("profiles/tunnel-{name}.txt"), about, told(profile)));
        let explained = client.call::<Explanation>(Method::PostureExplain, &Explain { subject: tunnel }).await;
        let lines = explained.map(|explanation| {
            let lines: Vec<String> = explanation.lines.iter().map(|line| line.for_one_line()).collect();
            lines.join("\n")
        });
        parts.push(Part::new(format!("posture/explain-{name}.txt"), "why posture stands as it does", told(lines)));
    }
}

/// Returns the part of a file's name that stands for a tunnel: a name that comes from outside is no path, and two
/// tunnels are two files.
fn file_name(tunnel: &str) -> String {
    let mut name = String::with_capacity(tunnel.len());
    for one in tunnel.chars() {
        match one {
            '-' | '_' => name.push(one),
            _ if one.is_alphanumeric() => name.push(one),
            _ => name.push_str(&format!("%{:02X}", u32::from(one))),
        }
    }
    name
}

fn told(answer: Result<String, Fault>) -> String {
    answer.unwrap_or_else(|fault| unavailable(&fault.to_string()))
}

fn unavailable(why: &str) -> String {
    format!("not available: {why}")
}

async fn version(session: &Session) -> String {
    let service = match session.open().await {
        Ok(client) => client.welcome().service.clone(),
        Err(fault) => unavailable(&fault.to_string()),
    };
    let system = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let kernel = std::fs::read_to_string("/proc/version").unwrap_or_default();
    let (client, os, machine) = (env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH);
    format!("postern {client}\nposternd {service}\n{os} {machine}\n{kernel}\n{system}")
}

async fn network() -> String {
    let mut text = String::new();
    for (program, arguments) in NETWORK {
        let run = Command::new(program).args(arguments).stdin(Stdio::null()).kill_on_drop(true).output();
        let output = match tokio::time::timeout(LIMIT, run).await {
            Ok(Ok(output)) if output.status.success() => String::from_utf8_lossy(&output.stdout).into_owned(),
            Ok(Ok(output)) => unavailable(String::from_utf8_lossy(&output.stderr).trim()),
            Ok(Err(error)) => unavailable(&error.to_string()),
            Err(_) => unavailable("it takes too long"),
        };
        text.push_str(&format!("# {program} {}\n{}\n", arguments.join(" "), output.trim_end()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_tunnels_are_two_files_and_none_is_a_path() {
        let names = ["work", "a.b", "a_b", "a b", "../a", "a%2Eb"].map(file_name);
        assert_eq!(names, ["work", "a%2Eb", "a_b", "a%20b", "%2E%2E%2Fa", "a%252Eb"]);
    }

    #[test]
    fn keys_and_what_is_named_like_a_secret_are_taken_out() {
        let text = "a\n-----BEGIN EC PRIVATE KEY-----\nMHcCAQ\n-----END EC PRIVATE KEY-----\nb\npassword = \"hunter2\"";
        assert_eq!(cleaned(text), "a\n[removed]\nb\npassword = [removed]\n");
        let one_line = "x \"-----BEGIN PRIVATE KEY-----\\nMHcCAQ\\n-----END PRIVATE KEY-----\"\ny";
        assert_eq!(cleaned(one_line), "[removed]\ny\n");
    }
}
