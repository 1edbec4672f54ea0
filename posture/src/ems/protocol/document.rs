//! What EMS decides for an endpoint: tagging rules and the tag snapshot (the profile is in
//! [`profile`](super::Profile)).

use super::Quarantine;
use crate::ems::signed::Signed;
use crate::facts::Supplied;
use crate::policy::TagTable;
use crate::rules::{TagName, TagState, TaggingRuleSet};
use serde::{Deserialize, Serialize};

/// Which document it is. The name is part of what is signed, so that one cannot pass for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DocumentKind {
    /// [`Profile`](super::Profile).
    Profile,
    /// [`RuleDocument`].
    Rules,
    /// [`TagSnapshot`].
    Tags,
}

impl DocumentKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Profile, Self::Rules, Self::Tags];

    /// Returns the name on the wire and on disk.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Profile => "profile",
            Self::Rules => "rules",
            Self::Tags => "tags",
        }
    }
}

/// The counters of the documents that an endpoint holds; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Have {
    /// Counter of the profile.
    #[serde(default)]
    pub profile: u64,
    /// Counter of the rules.
    #[serde(default)]
    pub rules: u64,
    /// Counter of the tag snapshot.
    #[serde(default)]
    pub tags: u64,
    /// Number of the newest key of EMS that the endpoint knows.
    #[serde(default)]
    pub key: u64,
}

impl Have {
    /// Returns the counter of one kind.
    pub const fn counter(&self, kind: DocumentKind) -> u64 {
        match kind {
            DocumentKind::Profile => self.profile,
            DocumentKind::Rules => self.rules,
            DocumentKind::Tags => self.tags,
        }
    }
}

/// Signed documents, the newer ones of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentSet {
    /// Announcements of keys that are newer, oldest first: to be read before the documents.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<Signed>,
    /// The profile, where it is newer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Signed>,
    /// The rules, where they are newer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<Signed>,
    /// The tag snapshot, where it is newer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Signed>,
}

impl DocumentSet {
    /// Tells whether nothing is in it.
    pub const fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.profile.is_none() && self.rules.is_none() && self.tags.is_none()
    }
}

/// The tagging rules, for evaluation at the endpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RuleDocument {
    /// The rule sets. A rule of a type that the endpoint does not know reads as unknown.
    #[serde(default)]
    pub rule_sets: Vec<TaggingRuleSet>,
}

/// Who settles a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TagOrigin {
    /// A rule over the endpoint's facts: the endpoint can settle it too, while EMS is out of reach.
    Rules,
    /// A person at EMS: nobody else can know.
    Manual,
}

/// One tag of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotTag {
    /// The administrator's spelling.
    pub name: TagName,
    /// Who settled it.
    pub origin: TagOrigin,
    /// Whether the endpoint carries it, and the fact that decided that.
    #[serde(flatten)]
    pub state: TagState,
}

/// Every tag that EMS knows, as it stands for this endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagSnapshot {
    /// The report on which it was evaluated; 0 when there was none.
    pub report_sequence: u64,
    /// The tags; one that is not named is one that EMS does not know.
    pub tags: Vec<SnapshotTag>,
    /// The quarantine into which EMS has put the endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<Quarantine>,
    /// What only EMS can know of the endpoint, for rules that the endpoint judges by itself.
    #[serde(default, skip_serializing_if = "Supplied::is_empty")]
    pub supplied: Supplied,
}

impl TagSnapshot {
    /// Returns the tags as the verdict reads them. `settled_unix` is when the snapshot was issued.
    pub fn table(&self, settled_unix: u64) -> TagTable {
        let tags = self.tags.iter().map(|tag| (tag.name.clone(), tag.state.clone())).collect();
        TagTable { tags, settled_unix }
    }
}
