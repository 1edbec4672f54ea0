//! The packet filter: what its configuration says, what runs, and what the kernel holds.

use super::text;
use crate::collect::{Context, Look};
use crate::facts::{Firewall, Observation, ProcessList};
use serde::Deserialize;
use std::io::{ErrorKind, Read};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Where Debian installs `nft`.
const NFT: &str = "/usr/sbin/nft";

/// How much of a rule set is read.
const RULESET_LIMIT: u64 = 16 << 20;

pub(in crate::collect) fn firewall(context: &Context, processes: &Observation<ProcessList>) -> Look<Firewall> {
    if let Ok(Some(configuration)) = text(context, "/etc/ufw/ufw.conf")
        && configuration.lines().any(|line| line.trim().eq_ignore_ascii_case("ENABLED=yes"))
    {
        return Look::known(Firewall { active: true, provider: "ufw".to_owned() }, "/etc/ufw/ufw.conf");
    }
    // firewalld is a script: its executable is the interpreter, so the kernel's name tells.
    if processes.known().is_some_and(|list| list.processes.iter().any(|process| process.name == "firewalld")) {
        return Look::known(Firewall { active: true, provider: "firewalld".to_owned() }, "process table");
    }
    if !context.is_running_system() {
        return Look::not_below_another_root();
    }
    Look::new(ruleset(&context.settings.own_table_prefix, context.settings.limit / 2), "nft list ruleset")
}

/// Asks `nft` for the kernel's rules.
fn ruleset(own: &str, limit: Duration) -> Observation<Firewall> {
    let spawned = Command::new(NFT)
        .args(["-j", "list", "ruleset"])
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Observation::Unknown("nft is not installed, so the kernel's rules cannot be read".to_owned());
        }
        Err(error) => return Observation::from_error(NFT, &error),
    };
    // Both ends are read in threads, since a full pipe would keep nft from ending.
    let output = child.stdout.take().map(|pipe| std::thread::spawn(move || all(pipe)));
    let complaint = child.stderr.take().map(|pipe| std::thread::spawn(move || all(pipe)));
    let end = Instant::now() + limit;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(5)),
            Ok(None) | Err(_) => {
                // It may have ended by itself just now; either way it is waited for.
                let _ = child.kill();
                let _ = child.wait();
                return Observation::Unknown("nft did not end in time".to_owned());
            }
        }
    };
    let joined = |reader: Option<std::thread::JoinHandle<Vec<u8>>>| {
        reader.and_then(|reader| reader.join().ok()).unwrap_or_default()
    };
    let (output, complaint) = (joined(output), joined(complaint));
    if !status.success() {
        let complaint = String::from_utf8_lossy(&complaint);
        let complaint = complaint.lines().next().unwrap_or("no reason given").to_owned();
        return if complaint.contains("not permitted") {
            Observation::Denied(format!("nft needs CAP_NET_ADMIN: {complaint}"))
        } else {
            Observation::Unknown(format!("nft failed: {complaint}"))
        };
    }
    match serde_json::from_slice::<Ruleset>(&output) {
        Ok(ruleset) => Observation::Known(ruleset.judge(own)),
        Err(error) => Observation::Unknown(format!("nft's answer cannot be read: {error}")),
    }
}

fn all(pipe: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    // What was read until a failure is judged like any other answer.
    let _ = pipe.take(RULESET_LIMIT).read_to_end(&mut bytes);
    bytes
}

/// The part of nft's JSON (libnftables-json(5)) that tells whether incoming packets are filtered.
#[derive(Debug, Deserialize)]
struct Ruleset {
    nftables: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    chain: Option<Chain>,
    rule: Option<Rule>,
}

#[derive(Debug, Deserialize)]
struct Chain {
    family: String,
    table: String,
    name: String,
    hook: Option<String>,
    policy: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Rule {
    family: String,
    table: String,
    chain: String,
}

impl Ruleset {
    /// Incoming packets are filtered where a chain at the hook `input` drops by policy or has rules.
    fn judge(&self, own: &str) -> Firewall {
        let filters =
            |chain: &Chain| {
                chain.policy.as_deref() == Some("drop")
                    || self.nftables.iter().filter_map(|entry| entry.rule.as_ref()).any(|rule| {
                        (&rule.family, &rule.table, &rule.chain) == (&chain.family, &chain.table, &chain.name)
                    })
            };
        let active = self
            .nftables
            .iter()
            .filter_map(|entry| entry.chain.as_ref())
            .filter(|chain| own.is_empty() || !chain.table.starts_with(own))
            .any(|chain| chain.hook.as_deref() == Some("input") && filters(chain));
        Firewall { active, provider: if active { "nftables".to_owned() } else { String::new() } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(json: &str) -> bool {
        serde_json::from_str::<Ruleset>(json).unwrap().judge("postern").active
    }

    #[test]
    fn an_input_chain_filters_when_it_drops_or_has_rules() {
        assert!(!judged(r#"{"nftables":[{"metainfo":{"version":"1.0.6"}}]}"#));
        let chain = |policy: &str, table: &str| {
            format!(
                r#"{{"chain":{{"family":"inet","table":"{table}","name":"in","hook":"input","policy":"{policy}"}}}}"#
            )
        };
        let rule = r#"{"rule":{"family":"inet","table":"filter","chain":"in","expr":[]}}"#;
        assert!(judged(&format!(r#"{{"nftables":[{}]}}"#, chain("drop", "filter"))));
        assert!(!judged(&format!(r#"{{"nftables":[{}]}}"#, chain("accept", "filter"))));
        assert!(judged(&format!(r#"{{"nftables":[{},{rule}]}}"#, chain("accept", "filter"))));
    }

    #[test]
    fn our_own_tables_do_not_make_the_endpoint_look_protected() {
        let chain = r#"{"chain":{"family":"inet","table":"postern_block","name":"in","hook":"input","policy":"drop"}}"#;
        assert!(!judged(&format!(r#"{{"nftables":[{chain}]}}"#)));
    }
}
