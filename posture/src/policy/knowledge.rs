//! What is known of an endpoint's tags, or why nothing is.

use crate::rules::{Presence, TagName, TagState};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The tags of the endpoint, or why they cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TagKnowledge {
    /// The tags are known (some of them perhaps as unknown).
    Known(TagTable),
    /// There is nothing to judge by.
    Unusable {
        /// What is wrong.
        flaw: Flaw,
        /// More about it, in one line; may be empty.
        detail: String,
        /// Since when, in seconds since 1970, where that is known.
        since_unix: Option<u64>,
    },
}

impl TagKnowledge {
    /// Makes knowledge from evaluated tags.
    pub fn known(tags: BTreeMap<TagName, TagState>, settled_unix: u64) -> Self {
        Self::Known(TagTable { tags, settled_unix })
    }

    /// Makes the knowledge of one who has none.
    pub fn unusable(flaw: Flaw, detail: impl Into<String>, since_unix: Option<u64>) -> Self {
        Self::Unusable { flaw, detail: detail.into(), since_unix }
    }
}

/// Tags with their states.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagTable {
    /// The state of every tag that somebody defined.
    pub tags: BTreeMap<TagName, TagState>,
    /// When they were settled, in seconds since 1970.
    pub settled_unix: u64,
}

impl TagTable {
    /// Returns the state of `tag`; unknown for a tag that nobody defined, since a misspelt name in a
    /// policy must not read as a tag that the endpoint does not carry.
    pub fn state(&self, tag: &TagName) -> TagState {
        self.tags.get(tag).cloned().unwrap_or_else(|| TagState {
            next: "ask the administrator whether the tag's name is right".to_owned(),
            ..TagState::without_rule(Presence::Unknown, "no rule and no EMS entry tells of it")
        })
    }
}

/// Lays a live evaluation over a snapshot: tags that rules tell take their live state; tags that only
/// EMS can know keep the snapshot's, or become unknown when `lapsed` says why EMS's word no longer
/// counts (its grace is over).
pub fn overlay(
    snapshot: &TagTable,
    live: &BTreeMap<TagName, TagState>,
    lapsed: Option<&str>,
    now_unix: u64,
) -> TagTable {
    let mut tags = snapshot.tags.clone();
    if let Some(why) = lapsed {
        for (tag, state) in &mut tags {
            if !live.contains_key(tag) {
                *state = TagState {
                    next: "bring EMS within reach".to_owned(),
                    ..TagState::without_rule(Presence::Unknown, format!("only EMS can tell, and {why}"))
                };
            }
        }
    }
    // The snapshot's key would survive an insert, and with it a spelling that may be out of date.
    for (tag, state) in live {
        tags.remove(tag);
        tags.insert(tag.clone(), state.clone());
    }
    TagTable { tags, settled_unix: now_unix }
}

/// Why tag knowledge cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flaw {
    /// There is none.
    Missing,
    /// Its time is over.
    Expired,
    /// It was made for another endpoint or by another EMS.
    Foreign,
    /// It is older than what was seen before.
    RolledBack,
    /// The clock was turned back, so its age cannot be told.
    ClockTurnedBack,
    /// Its signature does not verify.
    Forged,
}

impl Flaw {
    /// Returns what to do about it.
    pub fn next_step(self) -> &'static str {
        match self {
            Self::Missing => "bring EMS within reach, or enroll",
            Self::Expired => "bring EMS within reach",
            Self::Foreign | Self::Forged => "contact the administrator; enroll anew if told so",
            Self::RolledBack => "bring EMS within reach so that it sends the newest",
            Self::ClockTurnedBack => "set the clock right, then bring EMS within reach",
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Missing => "nothing is known of the tags",
            Self::Expired => "what was known of the tags has expired",
            Self::Foreign => "the tags on file are not this endpoint's",
            Self::RolledBack => "the tags on file are older than what was seen before",
            Self::ClockTurnedBack => "the clock was turned back",
            Self::Forged => "the tags on file are not signed by EMS",
        })
    }
}
