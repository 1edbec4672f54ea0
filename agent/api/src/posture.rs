//! Posture as a person reads it: tags, the refusal of a host check, facts, scan results.

use crate::text::PlainText;
use serde::{Deserialize, Serialize};

/// What is known of one tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TagPresence {
    /// The endpoint carries the tag.
    Present,
    /// The endpoint does not carry it.
    Absent,
    /// It cannot be told.
    Unknown,
}

/// One tag with the reason for its presence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    /// The administrator's spelling of the name.
    pub name: PlainText,
    /// Whether the endpoint carries it.
    pub presence: TagPresence,
    /// The fact that decided it, in one line.
    pub because: PlainText,
}

/// Who decided the tags, and how fresh that is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagReport {
    /// `ems`, `cached` (EMS out of reach, grace running) or `local`.
    pub source: TagSource,
    /// EMS's name, where there is one.
    #[serde(default)]
    pub ems: Option<PlainText>,
    /// Whether telemetry with EMS is up now.
    pub telemetry_connected: bool,
    /// Seconds since the tags were last settled.
    pub age_seconds: u64,
    /// Seconds until cached knowledge lapses, while EMS is out of reach.
    #[serde(default)]
    pub grace_seconds: Option<u64>,
    /// The tags, by name.
    pub tags: Vec<Tag>,
    /// Why nothing is known, when that is so.
    #[serde(default)]
    pub unknown_because: Option<PlainText>,
    /// What holds for the endpoint as a whole, whatever its tags are.
    #[serde(default)]
    pub decrees: Decrees,
}

/// What EMS, or a code of EMS, decrees over the endpoint as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decrees {
    /// In quarantine: the administrator's words, blank where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<PlainText>,
    /// The break-glass code by which the host check is overridden now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub break_glass: Option<BreakGlass>,
    /// Whether EMS no longer knows this endpoint.
    #[serde(default)]
    pub deregistered: bool,
}

/// A break-glass code that was used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakGlass {
    /// Its number at EMS.
    pub number: u64,
    /// When it ends, RFC 3339.
    pub until: String,
}

/// Where tag knowledge comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TagSource {
    /// EMS's signed snapshot, telemetry up.
    Ems,
    /// The cached rules of EMS on live facts.
    Cached,
    /// Rules of a local profile.
    Local,
    /// Nowhere: not enrolled and no local rules.
    None,
}

/// The row of the verdict table that refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason")]
pub enum Refusal {
    /// A prohibited tag is present.
    ProhibitedTagPresent {
        /// The tag.
        tag: PlainText,
        /// The fact behind it.
        evidence: PlainText,
    },
    /// None of the allowed tags is present.
    AllowedTagMissing {
        /// The tags of which one would have sufficed.
        wanted: Vec<PlainText>,
        /// Why they are absent or unknown.
        evidence: PlainText,
    },
    /// Tag knowledge is missing, lapsed, foreign, or a prohibited tag is unknown.
    TagsUnknown {
        /// What is unknown and since when.
        evidence: PlainText,
    },
}

/// One fact about the endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// Area, such as `os`, `antivirus`, `packages`.
    pub area: String,
    /// Name within the area.
    pub name: String,
    /// The value in one line; absent when unknown or denied.
    #[serde(default)]
    pub value: Option<PlainText>,
    /// Why there is no value.
    #[serde(default)]
    pub unknown_because: Option<PlainText>,
    /// The file, interface or service that told it.
    pub source: PlainText,
    /// Seconds since it was gathered.
    pub age_seconds: u64,
}

/// Severity of a vulnerability, by CVSS v3 rating scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Not rated.
    Unrated,
    /// 0.1 to 3.9.
    Low,
    /// 4.0 to 6.9.
    Medium,
    /// 7.0 to 8.9.
    High,
    /// 9.0 to 10.0.
    Critical,
}

/// One vulnerable package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The installed binary package.
    pub package: PlainText,
    /// Its version.
    pub version: PlainText,
    /// The identifier of the record, and its CVE where it has one.
    pub identifier: PlainText,
    /// Rating.
    pub severity: Severity,
    /// Base score in tenths (98 is 9.8), where a vector was given.
    #[serde(default)]
    pub score_tenths: Option<u8>,
    /// The first version that is not vulnerable, where one exists.
    #[serde(default)]
    pub fixed: Option<PlainText>,
    /// The record that says so.
    #[serde(default)]
    pub advisory: PlainText,
}

/// What a scan found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanReport {
    /// When it ended, RFC 3339.
    pub finished: String,
    /// Packages looked at.
    pub packages: u64,
    /// Records of the database.
    pub advisories: u64,
    /// Packages that could not be judged, because their version cannot be read.
    #[serde(default)]
    pub packages_unreadable: u64,
    /// Packages of which no record of the database speaks at all.
    #[serde(default)]
    pub packages_uncovered: u64,
    /// Records of the feed that could not be used.
    #[serde(default)]
    pub records_rejected: u64,
    /// When the database of records was made, RFC 3339.
    #[serde(default)]
    pub database_made: String,
    /// Findings, gravest first.
    pub findings: Vec<Finding>,
}
