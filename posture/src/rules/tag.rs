//! The name of a tag.

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

/// The name of a security posture tag, in the spelling of whoever wrote it.
///
/// Two names are the same when they differ only in case or in the space around them: the story this
/// product follows writes one tag both as `Telemetry connected` and as `Telemetry Connected`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct TagName {
    written: String,
    folded: String,
}

impl TagName {
    /// Makes a name from how it is written.
    pub fn new(written: impl Into<String>) -> Self {
        let written = written.into();
        let folded = written.trim().to_lowercase();
        Self { written, folded }
    }

    /// Returns the name as it was written, without the space around it.
    pub fn as_str(&self) -> &str {
        self.written.trim()
    }

    /// Says whether nothing but space was written.
    pub fn is_blank(&self) -> bool {
        self.folded.is_empty()
    }

    /// Returns the name under which a gateway knows the tag: `EMS1_ZTNA_Antivirus running` for the
    /// tags of its first EMS connector.
    pub fn at_gateway(&self, connector: u8) -> String {
        format!("EMS{connector}_ZTNA_{}", self.as_str())
    }
}

impl From<String> for TagName {
    fn from(written: String) -> Self {
        Self::new(written)
    }
}

impl From<&str> for TagName {
    fn from(written: &str) -> Self {
        Self::new(written)
    }
}

impl From<TagName> for String {
    fn from(name: TagName) -> Self {
        name.written
    }
}

impl fmt::Display for TagName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl PartialEq for TagName {
    fn eq(&self, other: &Self) -> bool {
        self.folded == other.folded
    }
}

impl Eq for TagName {}

impl PartialOrd for TagName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for TagName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.folded.cmp(&other.folded)
    }
}

impl Hash for TagName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.folded.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_surrounding_space_do_not_make_another_tag() {
        assert_eq!(TagName::new("Telemetry connected"), TagName::new("  Telemetry Connected\t"));
        assert_eq!(TagName::new("ÄRGER"), TagName::new("ärger"));
        assert_ne!(TagName::new("Telemetry connected"), TagName::new("Telemetry  connected"));
    }

    #[test]
    fn the_spelling_survives_serialisation() {
        let name: TagName = serde_json::from_str("\"Critical Vulnerability\"").unwrap();
        assert_eq!(serde_json::to_string(&name).unwrap(), "\"Critical Vulnerability\"");
    }

    #[test]
    fn the_gateway_has_its_own_name_for_a_tag() {
        assert_eq!(TagName::new("Antivirus running ").at_gateway(1), "EMS1_ZTNA_Antivirus running");
    }
}
