//! One rule against the facts: whether its condition holds, what was seen, what would change that.

mod antivirus;
mod system;
mod vulnerability;

use super::index::Index;
use super::{Rule, RuleKind, Truth};
use crate::facts::Fact;

/// What a rule's condition came to, before negation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judgement {
    /// Whether the condition holds.
    pub(super) truth: Truth,
    /// The area of the fact: `os`, `processes`, `vulnerabilities`.
    pub(super) fact: &'static str,
    /// What was seen, or why nothing was.
    pub(super) seen: String,
    /// What would turn a known answer round, or settle an unknown one; empty when the user can do nothing.
    pub(super) change: String,
}

impl Judgement {
    fn new(truth: Truth, fact: &'static str, seen: impl Into<String>, change: impl Into<String>) -> Self {
        Self { truth, fact, seen: seen.into(), change: change.into() }
    }

    /// The judgement over a fact without a value.
    fn without<T>(fact: &'static str, observed: &Fact<T>, change: impl Into<String>) -> Self {
        let reason = observed.observation.reason().unwrap_or("no value");
        Self::new(Truth::Unknown, fact, format!("{fact}: {reason}"), change)
    }
}

/// Judges the condition of `rule`, negation included.
pub(super) fn judge(rule: &Rule, index: &Index<'_>, now_unix: u64) -> Judgement {
    let facts = index.facts;
    let mut judgement = match &rule.kind {
        RuleKind::OsVersion { system, comparison, version } => {
            system::os_version(facts, system, *comparison, version.as_deref())
        }
        RuleKind::RunningProcess { name } => system::running_process(index, name),
        RuleKind::File { path } => system::file(facts, path),
        RuleKind::AntiVirus { installed_and_running, signatures_within_days } => {
            antivirus::anti_virus(facts, *installed_and_running, *signatures_within_days, now_unix)
        }
        RuleKind::IpRange { ranges } => system::ip_range(facts, ranges),
        RuleKind::EmsManagement {} => system::ems_management(facts),
        RuleKind::VulnerableDevices { severity } => vulnerability::vulnerable_devices(index, *severity),
        RuleKind::Cve { identifiers } => vulnerability::cve(index, identifiers),
        RuleKind::Unsupported { name, .. } => Judgement::new(
            Truth::Unknown,
            "rules",
            format!("this version cannot read a rule of type {name}"),
            "update Postern, or correct the rule",
        ),
    };
    if rule.negated {
        judgement.truth = !judgement.truth;
    }
    judgement
}

#[cfg(test)]
mod tests;
