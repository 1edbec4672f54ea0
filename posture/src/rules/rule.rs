//! One rule: a condition on one fact.

use super::on_fabric::OnFabricDetection;
use super::parameter::{Days, Score, Text};
use super::pattern::Pattern;
use super::{AddressRange, Comparison};
use crate::vulnerability::Severity;
use serde::{Deserialize, Serialize};
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
    /// The operating system is `system`, of a version that compares so, and was updated lately.
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
        /// It was last updated not longer ago than so many days.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        updated_within_days: Option<Days>,
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
        signatures_within_days: Option<Days>,
    },
    /// A certificate that is valid now is in a store of the system.
    Certificate {
        /// The common name of its subject; any when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subject: Option<Pattern>,
        /// The common name of its issuer, whole; any when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        issuer: Option<Text>,
    },
    /// A key of the Windows registry is there, with a value that compares so.
    RegistryKey {
        /// Its path: `HKEY_LOCAL_MACHINE\SOFTWARE\Example`.
        path: Text,
        /// What one of its values must be; the key alone when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value: Option<RegistryCondition>,
    },
    /// An address of the endpoint (loopback and our own tunnels apart) lies in one of the ranges.
    IpRange {
        /// The ranges.
        ranges: Vec<AddressRange>,
    },
    /// The endpoint is in the administrator's own network.
    OnFabricStatus {
        /// By what that network is known.
        detection: Box<OnFabricDetection>,
    },
    /// The endpoint is enrolled and telemetry reaches EMS.
    EmsManagement {},
    /// The version of this client compares so.
    FctVersion {
        /// How.
        comparison: Comparison,
        /// With what; only as many of its parts are compared as are written.
        version: Text,
    },
    /// A vulnerability of this severity or a higher one was found. One that nobody rated counts as low.
    VulnerableDevices {
        /// The lowest severity that counts.
        severity: Severity,
        /// A scan that is older than so many days tells nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scanned_within_days: Option<Days>,
    },
    /// One of these vulnerabilities was found.
    Cve {
        /// CVE or advisory identifiers, in any case.
        identifiers: Vec<String>,
        /// A scan that is older than so many days tells nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scanned_within_days: Option<Days>,
    },
    /// Protections of Windows are switched on.
    WindowsSecurity {
        /// All of these.
        features: Vec<WindowsFeature>,
    },
    /// A protection of macOS is switched on.
    Security {
        /// Which.
        #[serde(default)]
        feature: MacosFeature,
    },
    /// Protections of the endpoint, whatever its system, are in order. What this type covers in other
    /// products is not published; the list is our choice.
    SecurityStatus {
        /// All of these.
        require: Vec<Protection>,
    },
    /// A logged-on user is in one of these groups of the directory.
    AdGroups {
        /// Their names, without regard to case; `DOMAIN\name` and `name@domain` are the name alone.
        groups: Vec<Text>,
    },
    /// A user of this domain is logged on.
    LoggedInDomain {
        /// The domain or realm, without regard to case.
        domain: Text,
    },
    /// EMS has verified an identity of the user at a service.
    UserIdentity {
        /// The service: `Google`, `LinkedIn`, `Salesforce`, or a name of the administrator's own.
        service: Text,
        /// The account; any when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account: Option<Pattern>,
    },
    /// A sandbox convicted a file from this endpoint.
    SandboxDetection {
        /// Within so many days; at any time when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        within_days: Option<Days>,
    },
    /// CrowdStrike's Zero Trust Assessment score compares so.
    CrowdstrikeZtaScore {
        /// How.
        comparison: Comparison,
        /// With what, 0 to 100.
        score: Score,
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

/// What a value of a registry key must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistryCondition {
    /// The value's name.
    pub name: Text,
    /// How it must compare. Texts only equal or differ.
    #[serde(default)]
    pub comparison: Comparison,
    /// With what: a number, in decimal or as `0x1f`, where it must be one.
    pub value: Text,
    /// Whether it must be a number.
    #[serde(default)]
    pub is_dword: bool,
}

/// The protections of Windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WindowsFeature {
    /// Microsoft Defender.
    Defender,
    /// BitLocker disk encryption.
    Bitlocker,
    /// Exploit Guard.
    ExploitGuard,
    /// Application Guard.
    ApplicationGuard,
    /// Windows Firewall.
    Firewall,
}

/// The protections of macOS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MacosFeature {
    /// FileVault disk encryption.
    #[default]
    Filevault,
}

/// A protection that any system can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protection {
    /// An antivirus product runs.
    Antivirus,
    /// Incoming packets are filtered.
    Firewall,
    /// Every volume with the system or users' data is encrypted.
    DiskEncryption,
    /// The firmware starts only what is signed.
    SecureBoot,
    /// Mandatory access control enforces.
    AccessControl,
    /// The screen locks by itself.
    ScreenLock,
    /// No update waits.
    NoPendingUpdates,
}

fn yes() -> bool {
    true
}

impl fmt::Display for RuleKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let aged = |formatter: &mut fmt::Formatter<'_>, days: &Option<Days>| match days {
            Some(days) => write!(formatter, ", scanned within {days}"),
            None => Ok(()),
        };
        match self {
            Self::OsVersion { system, comparison, version, updated_within_days } => {
                write!(formatter, "os-version {system}")?;
                if let Some(version) = version {
                    write!(formatter, " {comparison} {version}")?;
                }
                match updated_within_days {
                    Some(days) => write!(formatter, ", updated within {days}"),
                    None => Ok(()),
                }
            }
            Self::RunningProcess { name } => write!(formatter, "running-process {name}"),
            Self::File { path } => write!(formatter, "file {path}"),
            Self::AntiVirus { installed_and_running, signatures_within_days } => {
                formatter.write_str("anti-virus")?;
                if *installed_and_running {
                    formatter.write_str(" installed and running")?;
                }
                match signatures_within_days {
                    Some(days) => write!(formatter, " signatures within {days}"),
                    None => Ok(()),
                }
            }
            Self::Certificate { subject, issuer } => {
                formatter.write_str("certificate")?;
                if let Some(subject) = subject {
                    write!(formatter, " {subject}")?;
                }
                match issuer {
                    Some(issuer) => write!(formatter, " issued by \"{issuer}\""),
                    None => Ok(()),
                }
            }
            Self::RegistryKey { path, value } => {
                write!(formatter, "registry-key {path}")?;
                match value {
                    Some(value) => write!(formatter, " {} {} {}", value.name, value.comparison, value.value),
                    None => Ok(()),
                }
            }
            Self::IpRange { ranges } => {
                formatter.write_str("ip-range")?;
                ranges.iter().try_for_each(|range| write!(formatter, " {range}"))
            }
            Self::OnFabricStatus { detection } => write!(formatter, "on-fabric-status by {detection}"),
            Self::EmsManagement {} => formatter.write_str("ems-management"),
            Self::FctVersion { comparison, version } => write!(formatter, "fct-version {comparison} {version}"),
            Self::VulnerableDevices { severity, scanned_within_days } => {
                write!(formatter, "vulnerable-devices {severity}")?;
                if *severity != Severity::Critical {
                    formatter.write_str(" or higher")?;
                }
                aged(formatter, scanned_within_days)
            }
            Self::Cve { identifiers, scanned_within_days } => {
                write!(formatter, "cve {}", identifiers.join(" "))?;
                aged(formatter, scanned_within_days)
            }
            Self::WindowsSecurity { features } => write!(formatter, "windows-security {}", listed(features)),
            Self::Security { feature } => write!(formatter, "security {feature}"),
            Self::SecurityStatus { require } => write!(formatter, "security-status {}", listed(require)),
            Self::AdGroups { groups } => write!(formatter, "ad-groups {}", listed(groups)),
            Self::LoggedInDomain { domain } => write!(formatter, "logged-in-domain {domain}"),
            Self::UserIdentity { service, account } => {
                write!(formatter, "user-identity {service}")?;
                match account {
                    Some(account) => write!(formatter, " {account}"),
                    None => Ok(()),
                }
            }
            Self::SandboxDetection { within_days } => {
                formatter.write_str("sandbox-detection")?;
                match within_days {
                    Some(days) => write!(formatter, " within {days}"),
                    None => Ok(()),
                }
            }
            Self::CrowdstrikeZtaScore { comparison, score } => {
                write!(formatter, "crowdstrike-zta-score {comparison} {score}")
            }
            Self::Unsupported { name, .. } => write!(formatter, "{name} (not supported)"),
        }
    }
}

fn listed(parts: &[impl fmt::Display]) -> String {
    parts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for WindowsFeature {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Defender => "Defender",
            Self::Bitlocker => "BitLocker",
            Self::ExploitGuard => "Exploit Guard",
            Self::ApplicationGuard => "Application Guard",
            Self::Firewall => "Windows Firewall",
        })
    }
}

impl fmt::Display for MacosFeature {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Filevault => "FileVault",
        })
    }
}

impl fmt::Display for Protection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Antivirus => "antivirus",
            Self::Firewall => "firewall",
            Self::DiskEncryption => "disk encryption",
            Self::SecureBoot => "secure boot",
            Self::AccessControl => "mandatory access control",
            Self::ScreenLock => "screen lock",
            Self::NoPendingUpdates => "no pending updates",
        })
    }
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
            Rule {
                id: 1,
                negated: false,
                kind: RuleKind::VulnerableDevices { severity: Severity::Critical, scanned_within_days: None }
            }
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
        let rule = read(r#"{"id":9,"type":"firewall-threat","score":70}"#);
        let RuleKind::Unsupported { name, parameters } = &rule.kind else { panic!("{rule:?}") };
        assert_eq!(name, "firewall-threat");
        assert_eq!(parameters.get("score"), Some(&70.into()));
        assert_eq!(read(&serde_json::to_string(&rule).unwrap()), rule);
    }

    #[test]
    fn a_known_type_with_broken_parameters_is_unsupported_too() {
        for json in [
            r#"{"id":9,"type":"vulnerable-devices","severity":"hgih"}"#,
            r#"{"id":9,"type":"anti-virus","signatures_within_days":0}"#,
            r#"{"id":9,"type":"anti-virus","signatures_within_days":3654}"#,
            r#"{"id":9,"type":"os-version","system":"debian","updated_within_days":0}"#,
            r#"{"id":9,"type":"certificate","issuer":""}"#,
            r#"{"id":9,"type":"certificate","subject":{"match":"regex","text":"("}}"#,
            r#"{"id":9,"type":"crowdstrike-zta-score","comparison":">","score":101}"#,
            r#"{"id":9,"type":"on-fabric-status","detection":{"dns_server":["10.0.0.1"]}}"#,
            r#"{"id":9,"type":"windows-security","features":["everything"]}"#,
        ] {
            assert!(matches!(read(json).kind, RuleKind::Unsupported { .. }), "{json}");
        }
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
            r#"{"id":8,"type":"cve","identifiers":["CVE-2023-38545"],"scanned_within_days":7}"#,
            r#"{"id":9,"type":"certificate","subject":{"match":"wildcard","text":"*.example"},"issuer":"Corp CA"}"#,
            r#"{"id":10,"type":"registry-key","path":"HKEY_LOCAL_MACHINE\\SOFTWARE\\X","value":{"name":"V","comparison":">=","value":"7","is_dword":true}}"#,
            r#"{"id":11,"type":"on-fabric-status","detection":{"dhcp_servers":[{"code":"HQ"}],"media":[{"medium":"ethernet","connected":true}]}}"#,
            r#"{"id":12,"type":"fct-version","comparison":">=","version":"0.1"}"#,
            r#"{"id":13,"type":"windows-security","features":["defender","exploit-guard"]}"#,
            r#"{"id":14,"type":"security","feature":"filevault"}"#,
            r#"{"id":15,"type":"security-status","require":["firewall","no-pending-updates"]}"#,
            r#"{"id":16,"type":"ad-groups","groups":["Staff"]}"#,
            r#"{"id":17,"type":"logged-in-domain","domain":"example.com"}"#,
            r#"{"id":18,"type":"user-identity","service":"Google","account":"a@example.com"}"#,
            r#"{"id":19,"type":"sandbox-detection","within_days":30}"#,
            r#"{"id":20,"type":"crowdstrike-zta-score","comparison":"<","score":70}"#,
        ] {
            assert_eq!(serde_json::to_string(&read(json)).unwrap(), json);
        }
    }
}
