//! The packet filter: what its configuration says, what runs, and what the kernel holds.

use super::text;
use crate::collect::command::ask;
use crate::collect::{Context, Look};
use crate::facts::{Firewall, Observation, ProcessList};
use serde::Deserialize;
use std::time::Duration;

/// Where Debian installs `nft`.
const NFT: &str = "/usr/sbin/nft";

pub(in crate::collect) fn firewall(context: &Context, processes: &Observation<ProcessList>) -> Look<Firewall> {
    let ufw = || {
        let Ok(Some(configuration)) = text(context, "/etc/ufw/ufw.conf") else { return false };
        configuration.lines().any(|line| line.trim().eq_ignore_ascii_case("ENABLED=yes"))
    };
    // firewalld is a script: its executable is the interpreter, so the kernel's name tells.
    let firewalld =
        || processes.known().is_some_and(|list| list.processes.iter().any(|process| process.name == "firewalld"));
    let manager = [("ufw", ufw()), ("firewalld", firewalld())].into_iter().find_map(|(name, is)| is.then_some(name));
    if !context.is_running_system() {
        return match manager {
            Some(name) => Look::known(Firewall { active: true, provider: name.to_owned() }, "files and processes"),
            None => Look::not_below_another_root(),
        };
    }
    // Anybody can give a process a name, and rules can be gone from under a manager: the kernel is asked.
    let held = ruleset(&context.settings.own_table_prefix, context.settings.limit / 2);
    Look::new(named(held, manager), "nft list ruleset")
}

/// Gives what filters the name of the program that manages it.
fn named(held: Observation<Firewall>, manager: Option<&str>) -> Observation<Firewall> {
    match (held, manager) {
        (Observation::Known(Firewall { active: true, .. }), Some(name)) => {
            Observation::Known(Firewall { active: true, provider: name.to_owned() })
        }
        (held, _) => held,
    }
}

/// Asks `nft` for the kernel's rules.
fn ruleset(own: &str, limit: Duration) -> Observation<Firewall> {
    let text = match ask(NFT, &["-j", "list", "ruleset"], limit) {
        Observation::Known(answer) => answer.text("nft, which needs CAP_NET_ADMIN"),
        Observation::Unknown(reason) => return Observation::Unknown(reason),
        Observation::Denied(reason) => return Observation::Denied(reason),
    };
    match text {
        Observation::Known(text) => match serde_json::from_str::<Ruleset>(&text) {
            Ok(ruleset) => Observation::Known(ruleset.judge(own)),
            Err(error) => Observation::Unknown(format!("nft's answer cannot be read: {error}")),
        },
        Observation::Unknown(reason) => Observation::Unknown(reason),
        Observation::Denied(reason) => Observation::Denied(reason),
    }
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
    fn a_manager_without_rules_in_the_kernel_filters_nothing() {
        let held = |active| Observation::Known(Firewall { active, provider: String::new() });
        assert_eq!(named(held(true), Some("ufw")).known().map(|found| found.provider.as_str()), Some("ufw"));
        assert_eq!(named(held(false), Some("firewalld")).known().map(|found| found.active), Some(false));
        assert!(named(Observation::Denied("no right".into()), Some("firewalld")).known().is_none());
    }

    #[test]
    fn our_own_tables_do_not_make_the_endpoint_look_protected() {
        let chain = r#"{"chain":{"family":"inet","table":"postern_block","name":"in","hook":"input","policy":"drop"}}"#;
        assert!(!judged(&format!(r#"{{"nftables":[{chain}]}}"#)));
    }
}
