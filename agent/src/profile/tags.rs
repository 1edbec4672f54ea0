//! A tunnel's tag policy as written, and what happens when compliance is lost.

use posture::policy::{Enforcement, TagPolicy};
use posture::rules::{TagName, TaggingRuleSet};
use serde::{Deserialize, Serialize};

/// The `[tags]` table of a tunnel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TagSettings {
    /// Whether a refusal refuses (the default), is only reported, or is not computed.
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
    /// The rules, where `source` is `local`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<TaggingRuleSet>,
}

impl Default for TagSettings {
    fn default() -> Self {
        Self {
            enforcement: Enforcement::Enforce,
            prohibited: Vec::new(),
            allowed: Vec::new(),
            warning: None,
            source: TagRuleSource::default(),
            rules: Vec::new(),
        }
    }
}

impl TagSettings {
    /// Returns the policy that the verdict is made by.
    pub fn policy(&self) -> TagPolicy {
        let names = |names: &[String]| names.iter().map(|name| TagName::new(name.as_str())).collect();
        TagPolicy {
            enforcement: self.enforcement,
            prohibited: names(&self.prohibited),
            allowed: names(&self.allowed),
            warning: self.warning.clone(),
        }
    }

    /// Checks the rules.
    ///
    /// # Errors
    /// The first that is not valid, in words.
    pub fn check(&self) -> Result<(), String> {
        self.rules.iter().try_for_each(|set| set.validate().map_err(|error| error.to_string()))
    }
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
