//! Why a tag is what it is, as lines that a person reads.

use super::evaluate::{evaluate_set, in_words};
use super::index::Index;
use super::judge::judge;
use super::{Logic, Operator, Rule, RuleKind, SystemRules, TaggingRuleSet, Truth};
use crate::facts::{Fact, Facts};

/// Explains the tag that `set` gives: one line for the tag, then the tree, each leaf with its rule,
/// its value, what was seen, who told it and how long ago, and what would change it.
///
/// ```text
/// Critical Vulnerability: present (rule set "critical")
/// └─ any of:
///    ├─ rule 1, vulnerable-devices critical: holds: openssl 3.0.11-1, CVE-…, fixed in 3.0.14-1
///    │    vulnerabilities: told by vulnerability scan, 3 h ago
///    │    to change it: upgrade openssl, then postern scan
///    └─ rule 2, file /etc/old: does not hold: /etc/old is not there
///         to change it: provide /etc/old
/// ```
pub fn explain(set: &TaggingRuleSet, facts: &Facts, now_unix: u64) -> Vec<String> {
    let state = evaluate_set(set, facts, now_unix);
    let mut lines = vec![format!("{}: {} (rule set \"{}\")", set.tag, state.presence, set.name)];
    let Some(system) = set.systems.get(&facts.family) else {
        lines.push(format!("└─ {}", state.because));
        return lines;
    };
    let mut picture = Picture { system, index: Index::new(facts), now_unix, lines };
    match &system.logic {
        Some(logic) => picture.branch(logic, "", true, 1),
        None => {
            for (place, rule) in system.rules.iter().enumerate() {
                picture.leaf(rule, "", place + 1 == system.rules.len());
            }
        }
    }
    picture.lines
}

struct Picture<'a> {
    system: &'a SystemRules,
    index: Index<'a>,
    now_unix: u64,
    lines: Vec<String>,
}

/// Returns who told the fact that a rule is about, and when.
fn told_by<'a>(kind: &RuleKind, facts: &'a Facts) -> Option<(&'a str, u64)> {
    fn of<T>(fact: &Fact<T>) -> Option<(&str, u64)> {
        Some((&fact.source, fact.gathered_unix))
    }
    match kind {
        RuleKind::OsVersion { .. } => of(&facts.os),
        RuleKind::RunningProcess { .. } => of(&facts.processes),
        RuleKind::File { path } => facts.files.get(path).and_then(of),
        RuleKind::AntiVirus { .. } => of(&facts.antivirus),
        RuleKind::Certificate { .. } => of(&facts.certificates),
        RuleKind::RegistryKey { path, .. } => facts.registry.get(&**path).and_then(of),
        RuleKind::IpRange { .. } => of(&facts.addresses),
        RuleKind::OnFabricStatus { .. } => of(&facts.surroundings),
        RuleKind::EmsManagement {} => of(&facts.ems),
        RuleKind::FctVersion { .. } => of(&facts.client_version),
        RuleKind::VulnerableDevices { .. } | RuleKind::Cve { .. } => of(&facts.vulnerabilities),
        RuleKind::WindowsSecurity { .. } => of(&facts.windows_security),
        RuleKind::Security { .. } => of(&facts.disk_encryption),
        RuleKind::SecurityStatus { .. } => of(&facts.security),
        RuleKind::AdGroups { .. } | RuleKind::LoggedInDomain { .. } => of(&facts.users),
        RuleKind::UserIdentity { .. } | RuleKind::SandboxDetection { .. } | RuleKind::CrowdstrikeZtaScore { .. } => {
            of(&facts.supplied)
        }
        RuleKind::Unsupported { .. } => None,
    }
}

fn ago(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s ago"),
        120..=7_199 => format!("{} min ago", seconds / 60),
        7_200..=172_799 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

impl Picture<'_> {
    fn leaf(&mut self, rule: &Rule, indent: &str, last: bool) {
        let judgement = judge(rule, &self.index, self.now_unix);
        let value = match judgement.truth {
            Truth::True => "holds",
            Truth::False => "does not hold",
            Truth::Unknown => "unknown",
        };
        let (tick, below) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        self.lines.push(format!("{indent}{tick}{}: {value}: {}", in_words(rule), judgement.seen));
        if let Some((source, gathered_unix)) =
            told_by(&rule.kind, self.index.facts).filter(|(source, _)| !source.is_empty())
        {
            let age = ago(self.now_unix.saturating_sub(gathered_unix));
            self.lines.push(format!("{indent}{below}  {}: told by {source}, {age}", judgement.fact));
        }
        if !judgement.change.is_empty() {
            let verb = if judgement.truth == Truth::Unknown { "to settle it" } else { "to change it" };
            self.lines.push(format!("{indent}{below}  {verb}: {}", judgement.change));
        }
    }

    fn branch(&mut self, logic: &Logic, indent: &str, last: bool, depth: usize) {
        let (tick, below) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        match logic {
            Logic::Rule { id } => match self.system.rules.iter().find(|rule| rule.id == *id) {
                Some(rule) => self.leaf(rule, indent, last),
                None => self.lines.push(format!("{indent}{tick}rule {id} is missing: unknown")),
            },
            Logic::Group { .. } if depth > Logic::MAXIMUM_DEPTH => {
                self.lines.push(format!("{indent}{tick}nested too deeply: unknown"));
            }
            Logic::Group { op, rules } => {
                let name = match op {
                    Operator::And => "all of",
                    Operator::Or => "any of",
                };
                self.lines.push(format!("{indent}{tick}{name}:"));
                let indent = format!("{indent}{below}");
                for (place, part) in rules.iter().enumerate() {
                    self.branch(part, &indent, place + 1 == rules.len(), depth + 1);
                }
            }
        }
    }
}
