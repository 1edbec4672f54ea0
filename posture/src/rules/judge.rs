//! One rule against the facts: whether its condition holds, what was seen, what would change that.
//!
//! One file a type of rule.

mod ad_groups;
mod age;
mod anti_virus;
mod certificate;
mod crowdstrike_zta_score;
mod cve;
mod ems_management;
mod fct_version;
mod file;
mod ip_range;
mod logged_in_domain;
mod on_fabric_status;
mod os_version;
mod registry_key;
mod running_process;
mod sandbox_detection;
mod scan;
mod security;
mod security_status;
mod user_identity;
mod vulnerable_devices;
mod windows_security;

use super::index::Index;
use super::{Rule, RuleKind, Truth};
use crate::facts::{Fact, Facts, Observation, Supplied};

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

    /// The judgement over a part of a fact that has no value.
    fn unseen<T>(fact: &'static str, what: &str, observed: &Observation<T>) -> Self {
        let reason = observed.reason().unwrap_or("no value");
        Self::new(Truth::Unknown, fact, format!("{what}: {reason}"), format!("let Postern see the {what}"))
    }

    /// The judgement over something that is switched on or off.
    fn switch(fact: &'static str, what: &str, observed: &Observation<bool>) -> Self {
        match observed {
            Observation::Known(true) => {
                Self::new(Truth::True, fact, format!("{what} is on"), format!("switch {what} off"))
            }
            Observation::Known(false) => {
                Self::new(Truth::False, fact, format!("{what} is off"), format!("switch {what} on"))
            }
            other => Self::unseen(fact, what, other),
        }
    }

    /// Returns what EMS supplied, or the judgement over what it did not.
    fn supplied<'a, T>(
        fact: &'static str,
        facts: &'a Facts,
        part: impl FnOnce(&'a Supplied) -> Option<&'a T>,
    ) -> Result<&'a T, Self> {
        const SETTLE: &str = "ask the administrator to let EMS tell it";
        match facts.supplied.value() {
            Some(supplied) => part(supplied)
                .ok_or_else(|| Self::new(Truth::Unknown, fact, format!("{fact}: EMS has not told it"), SETTLE)),
            None => Err(Self::without(fact, &facts.supplied, SETTLE)),
        }
    }

    /// Both must hold: the one that decides speaks, else both do.
    fn and(self, other: Self) -> Self {
        let fact = self.fact;
        Self::all(fact, [self, other])
    }

    /// All must hold; none at all is a rule that was never meant. The first that decides speaks; where all
    /// hold, all speak.
    fn all(fact: &'static str, parts: impl IntoIterator<Item = Self>) -> Self {
        Self::combine(fact, parts, Truth::False)
    }

    /// One must hold.
    fn any(fact: &'static str, parts: impl IntoIterator<Item = Self>) -> Self {
        Self::combine(fact, parts, Truth::True)
    }

    fn combine(fact: &'static str, parts: impl IntoIterator<Item = Self>, decisive: Truth) -> Self {
        let mut parts: Vec<Self> = parts.into_iter().collect();
        for decisive in [decisive, Truth::Unknown] {
            if let Some(place) = parts.iter().position(|part| part.truth == decisive) {
                return parts.swap_remove(place);
            }
        }
        let mut parts = parts.into_iter();
        let Some(mut combined) = parts.next() else {
            return Self::new(Truth::Unknown, fact, "the rule names nothing", "correct the rule");
        };
        for part in parts {
            combined.seen.push_str(", ");
            combined.seen.push_str(&part.seen);
        }
        combined
    }
}

/// Judges the condition of `rule`, negation included.
pub(super) fn judge(rule: &Rule, index: &Index<'_>, now_unix: u64) -> Judgement {
    let facts = index.facts;
    let mut judgement = match &rule.kind {
        RuleKind::OsVersion { system, comparison, version, updated_within_days } => {
            os_version::judge(facts, system, *comparison, version.as_deref(), *updated_within_days, now_unix)
        }
        RuleKind::RunningProcess { name } => running_process::judge(index, name),
        RuleKind::File { path } => file::judge(facts, path),
        RuleKind::AntiVirus { installed_and_running, signatures_within_days } => {
            anti_virus::judge(facts, *installed_and_running, *signatures_within_days, now_unix)
        }
        RuleKind::Certificate { subject, issuer } => {
            certificate::judge(facts, subject.as_ref(), issuer.as_deref(), now_unix)
        }
        RuleKind::RegistryKey { path, value } => registry_key::judge(facts, path, value.as_ref()),
        RuleKind::IpRange { ranges } => ip_range::judge(facts, ranges),
        RuleKind::OnFabricStatus { detection } => on_fabric_status::judge(facts, detection),
        RuleKind::EmsManagement {} => ems_management::judge(facts),
        RuleKind::FctVersion { comparison, version } => fct_version::judge(facts, *comparison, version),
        RuleKind::VulnerableDevices { severity, scanned_within_days } => {
            vulnerable_devices::judge(index, *severity, *scanned_within_days, now_unix)
        }
        RuleKind::Cve { identifiers, scanned_within_days } => {
            cve::judge(index, identifiers, *scanned_within_days, now_unix)
        }
        RuleKind::WindowsSecurity { features } => windows_security::judge(facts, features),
        RuleKind::Security { feature } => security::judge(facts, *feature),
        RuleKind::SecurityStatus { require } => security_status::judge(facts, require, now_unix),
        RuleKind::AdGroups { groups } => ad_groups::judge(facts, groups),
        RuleKind::LoggedInDomain { domain } => logged_in_domain::judge(facts, domain),
        RuleKind::UserIdentity { service, account } => user_identity::judge(facts, service, account.as_ref()),
        RuleKind::SandboxDetection { within_days } => sandbox_detection::judge(facts, *within_days, now_unix),
        RuleKind::CrowdstrikeZtaScore { comparison, score } => crowdstrike_zta_score::judge(facts, *comparison, *score),
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
