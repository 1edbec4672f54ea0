//! One rule: a condition on one fact.

use super::{AddressRange, TaggingRuleSet};
use crate::facts::OsFamily;
use crate::vulnerability::Severity;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// The number of a rule within its rule set and family, by which a tree names it.
pub type RuleId = u32;

/// One condition, which may be negated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// The number by which the tree names it.
    pub id: RuleId,
    /// Whether the opposite of the condition is meant.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub negated: bool,
    /// The condition.
    #[serde(flatten)]
    pub kind: RuleKind,
}

/// The conditions, by the type names of the product family whose rules we follow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum RuleKind {
    /// The operating system is `system`, of a version that compares so.
    OsVersion {
        /// Its identifier: `debian`, `windows`.
        system: String,
        /// How the endpoint's version must compare with `version`.
        #[serde(default)]
        comparison: Comparison,
        /// The version; only as many of its parts are compared as are written, so `12` equals `12.7`.
        /// Without one every version will do.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<String>,
    },
    /// A process of this executable runs.
    RunningProcess {
        /// The file name of the executable, or its whole path where it holds a `/`.
        name: String,
    },
    /// A file is there.
    File {
        /// Its absolute path.
        path: String,
    },
    /// An antivirus product meets every condition that is set.
    AntiVirus {
        /// It is installed and its engine runs.
        #[serde(default = "yes")]
        installed_and_running: bool,
        /// Its signatures are not older than so many days.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signatures_within_days: Option<u32>,
    },
    /// An address of the endpoint (loopback and our own tunnels apart) lies in one of the ranges.
    IpRange {
        /// The ranges.
        ranges: Vec<AddressRange>,
    },
    /// The endpoint is enrolled and telemetry reaches EMS.
    EmsManagement {},
    /// A vulnerability of this severity or a higher one was found. One that nobody rated counts as low.
    VulnerableDevices {
        /// The lowest severity that counts.
        severity: Severity,
    },
    /// One of these vulnerabilities was found.
    Cve {
        /// CVE or advisory identifiers, in any case.
        identifiers: Vec<String>,
    },
    /// A type that this version does not know, or a known one whose parameters it cannot read:
    /// always unknown.
    #[serde(untagged)]
    Unsupported {
        /// The type's name.
        #[serde(rename = "type")]
        name: String,
        /// Its parameters, kept as they came.
        #[serde(flatten)]
        parameters: serde_json::Map<String, serde_json::Value>,
    },
}

fn yes() -> bool {
    true
}

impl fmt::Display for RuleKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OsVersion { system, comparison, version } => match version {
                Some(version) => write!(formatter, "os-version {system} {comparison} {version}"),
                None => write!(formatter, "os-version {system}"),
            },
            Self::RunningProcess { name } => write!(formatter, "running-process {name}"),
            Self::File { path } => write!(formatter, "file {path}"),
            Self::AntiVirus { installed_and_running, signatures_within_days } => {
                formatter.write_str("anti-virus")?;
                if *installed_and_running {
                    formatter.write_str(" installed and running")?;
                }
                match signatures_within_days {
                    Some(days) => write!(formatter, " signatures within {days} days"),
                    None => Ok(()),
                }
            }
            Self::IpRange { ranges } => {
                formatter.write_str("ip-range")?;
                ranges.iter().try_for_each(|range| write!(formatter, " {range}"))
            }
            Self::EmsManagement {} => formatter.write_str("ems-management"),
            Self::VulnerableDevices { severity: Severity::Critical } => {
                formatter.write_str("vulnerable-devices critical")
            }
            Self::VulnerableDevices { severity } => write!(formatter, "vulnerable-devices {severity} or higher"),
            Self::Cve { identifiers } => write!(formatter, "cve {}", identifiers.join(" ")),
            Self::Unsupported { name, .. } => write!(formatter, "{name} (not supported)"),
        }
    }
}

/// How two versions compare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    /// The same.
    #[default]
    #[serde(rename = "=")]
    Equal,
    /// Not the same.
    #[serde(rename = "!=")]
    NotEqual,
    /// Newer.
    #[serde(rename = ">")]
    Newer,
    /// The same or newer.
    #[serde(rename = ">=")]
    AtLeast,
    /// Older.
    #[serde(rename = "<")]
    Older,
    /// The same or older.
    #[serde(rename = "<=")]
    AtMost,
}

impl Comparison {
    /// Says whether `ordering`, of what is there against what the rule names, satisfies the comparison.
    pub fn accepts(self, ordering: std::cmp::Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::NotEqual => ordering.is_ne(),
            Self::Newer => ordering.is_gt(),
            Self::AtLeast => ordering.is_ge(),
            Self::Older => ordering.is_lt(),
            Self::AtMost => ordering.is_le(),
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Newer => ">",
            Self::AtLeast => ">=",
            Self::Older => "<",
            Self::AtMost => "<=",
        })
    }
}

/// Returns the paths that the rules for `family` ask for: what the collector must look at.
pub fn asked_files(sets: &[TaggingRuleSet], family: OsFamily) -> BTreeSet<String> {
    sets.iter()
        .filter_map(|set| set.systems.get(&family))
        .flat_map(|system| &system.rules)
        .filter_map(|rule| match &rule.kind {
            RuleKind::File { path } => Some(path.clone()),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Rule {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn rules_read_as_administrators_write_them() {
        assert_eq!(
            read(r#"{"id":1,"type":"vulnerable-devices","severity":"critical"}"#),
            Rule { id: 1, negated: false, kind: RuleKind::VulnerableDevices { severity: Severity::Critical } }
        );
        assert_eq!(
            read(r#"{"id":2,"negated":true,"type":"anti-virus"}"#),
            Rule {
                id: 2,
                negated: true,
                kind: RuleKind::AntiVirus { installed_and_running: true, signatures_within_days: None }
            }
        );
        assert_eq!(read(r#"{"id":3,"type":"ems-management"}"#).kind, RuleKind::EmsManagement {});
        let ranges = read(r#"{"id":4,"type":"ip-range","ranges":["10.0.0.0/8","::1"]}"#);
        assert_eq!(ranges.kind.to_string(), "ip-range 10.0.0.0/8 ::1");
        let version = read(r#"{"id":5,"type":"os-version","system":"debian","comparison":">=","version":"12"}"#);
        assert_eq!(version.kind.to_string(), "os-version debian >= 12");
    }

    #[test]
    fn a_type_from_the_future_is_kept_as_unsupported() {
        let rule = read(r#"{"id":9,"type":"crowdstrike-zta-score","score":70}"#);
        let RuleKind::Unsupported { name, parameters } = &rule.kind else { panic!("{rule:?}") };
        assert_eq!(name, "crowdstrike-zta-score");
        assert_eq!(parameters.get("score"), Some(&70.into()));
        assert_eq!(read(&serde_json::to_string(&rule).unwrap()), rule);
    }

    #[test]
    fn a_known_type_with_broken_parameters_is_unsupported_too() {
        let rule = read(r#"{"id":9,"type":"vulnerable-devices","severity":"hgih"}"#);
        assert!(matches!(rule.kind, RuleKind::Unsupported { .. }));
    }

    #[test]
    fn every_rule_survives_a_round_trip() {
        for json in [
            r#"{"id":1,"type":"os-version","system":"debian","comparison":"=","version":"12"}"#,
            r#"{"id":2,"negated":true,"type":"running-process","name":"clamd"}"#,
            r#"{"id":3,"type":"file","path":"/etc/x"}"#,
            r#"{"id":4,"type":"anti-virus","installed_and_running":false,"signatures_within_days":7}"#,
            r#"{"id":5,"type":"ip-range","ranges":["10.0.0.0/8"]}"#,
            r#"{"id":6,"type":"ems-management"}"#,
            r#"{"id":7,"type":"vulnerable-devices","severity":"high"}"#,
            r#"{"id":8,"type":"cve","identifiers":["CVE-2023-38545"]}"#,
        ] {
            assert_eq!(serde_json::to_string(&read(json)).unwrap(), json);
        }
    }
}
