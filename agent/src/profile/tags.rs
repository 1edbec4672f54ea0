//! A tunnel's tag policy as written, and what happens when compliance is lost.

use serde::{Deserialize, Serialize};

/// The `[tags]` table of a tunnel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TagSettings {
    /// Whether a refusal refuses, is only reported, or is not computed.
    pub enforcement: Enforcement,
    /// Tags that must not be present.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prohibited: Vec<String>,
    /// Tags of which one must be present; none named: no such demand.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<String>,
    /// The administrator's words to a refused user; the default text when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// Who decides the tags.
    pub source: TagRuleSource,
}

impl TagSettings {
    /// Tells whether any tag can refuse: design's first row is "enforcement off, or no tag named".
    pub fn is_enforced(&self) -> bool {
        self.enforcement != Enforcement::Off && !(self.prohibited.is_empty() && self.allowed.is_empty())
    }
}

/// How strictly a tag policy is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Enforcement {
    /// Not computed; shown as "posture not enforced".
    Off,
    /// Computed and reported, never refused.
    Audit,
    /// Computed and obeyed.
    #[default]
    Enforce,
}

/// Who decides the tags of a tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TagRuleSource {
    /// EMS, by its signed snapshot.
    #[default]
    Ems,
    /// The rules that the tunnel itself carries, without any EMS.
    Local,
}

/// What may leave in the clear after compliance was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AfterLoss {
    /// Everything is as it was before the tunnel.
    Restore,
    /// What the tunnel protected is blocked until the user dismisses it.
    #[default]
    BlockProtectedPrefixes,
}
