//! The verdict: may this endpoint use this tunnel now?
//!
//! In: a tunnel's [`TagPolicy`] and the [`TagKnowledge`] of the endpoint. Out: a [`Verdict`]. The
//! rows of the table are asked in this order, and nothing that is not known passes:
//!
//! | row | verdict |
//! |---|---|
//! | enforcement off, or no tag named | [`Verdict::NotEnforced`] |
//! | tag knowledge missing, expired, foreign, rolled back | refuse, [`Reason::TagsUnknown`] |
//! | a prohibited tag is present | refuse, [`Reason::ProhibitedTagPresent`] |
//! | a prohibited tag is unknown | refuse, [`Reason::TagsUnknown`] |
//! | nothing allowed is named, or one allowed tag is present | [`Verdict::Pass`] |
//! | otherwise | refuse, [`Reason::AllowedTagMissing`] |
//!
//! `audit` asks the same and turns a refusal into [`Verdict::PassWithWarning`]. Where EMS's snapshot
//! and a live evaluation are both at hand, both are judged and the stricter verdict counts
//! ([`stricter`]).

mod knowledge;

pub use knowledge::{Flaw, TagKnowledge, TagTable, overlay};

use crate::rules::{DecidingRule, Presence, TagName, TagState};
use serde::{Deserialize, Serialize};

/// What a refusal says when the administrator wrote nothing.
pub const DEFAULT_WARNING: &str = "VPN blocked, please contact IT administrator";

/// How many characters of the administrator's warning are kept.
pub const WARNING_LIMIT: usize = 4_096;

/// Whether a tunnel's tags are enforced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Enforcement {
    /// Tags are not asked for.
    #[default]
    Off,
    /// Tags are judged and a refusal is shown, but does not refuse.
    Audit,
    /// Tags are judged, and a refusal refuses.
    Enforce,
}

/// What a tunnel demands of the endpoint's tags.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagPolicy {
    /// Whether it is enforced.
    #[serde(default)]
    pub enforcement: Enforcement,
    /// Tags none of which may be present.
    #[serde(default)]
    pub prohibited: Vec<TagName>,
    /// Tags of which one suffices; an empty list demands nothing.
    #[serde(default)]
    pub allowed: Vec<TagName>,
    /// The administrator's words for a refusal; [`DEFAULT_WARNING`] when absent or blank.
    #[serde(default)]
    pub warning: Option<String>,
}

impl TagPolicy {
    /// Returns the words for a refusal, cut after [`WARNING_LIMIT`] characters. They are text to be
    /// shown, never markup or commands.
    pub fn warning_text(&self) -> String {
        match self.warning.as_deref().filter(|text| !text.trim().is_empty()) {
            Some(text) => text.chars().take(WARNING_LIMIT).collect(),
            None => DEFAULT_WARNING.to_owned(),
        }
    }

    fn named(tags: &[TagName]) -> impl Iterator<Item = &TagName> {
        tags.iter().filter(|tag| !tag.is_blank())
    }
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", content = "detail", rename_all = "kebab-case")]
pub enum Verdict {
    /// Nothing is enforced, for the reason given.
    NotEnforced(NotEnforced),
    /// The tags satisfy the policy.
    Pass,
    /// The tags do not satisfy it, but the policy only audits.
    PassWithWarning(Refusal),
    /// The tags do not satisfy it.
    Refuse(Refusal),
}

/// Why nothing is enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotEnforced {
    /// The administrator switched it off.
    SwitchedOff,
    /// The policy names no tag.
    NoTagNamed,
}

/// A refusal, with all that a person needs to understand and mend it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Which row refused.
    pub reason: Reason,
    /// The fact behind it, in one line.
    pub evidence: String,
    /// The next step; empty when there is none.
    pub next: String,
    /// The administrator's words, or the default: shown first and verbatim.
    pub warning: String,
}

/// The rows that refuse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "row")]
pub enum Reason {
    /// A prohibited tag is present.
    ProhibitedTagPresent {
        /// The tag, in the policy's spelling.
        tag: TagName,
        /// The rule that gave it, where one did.
        rule: Option<DecidingRule>,
    },
    /// None of the allowed tags is present.
    AllowedTagMissing {
        /// The tags of which one would suffice.
        wanted: Vec<TagName>,
    },
    /// Nothing usable is known of the tags at all, or of one that is prohibited.
    TagsUnknown {
        /// The prohibited tag that is unknown; absent when knowledge itself is unusable.
        tag: Option<TagName>,
        /// What is wrong with the knowledge, when it is unusable.
        flaw: Option<Flaw>,
        /// Since when, in seconds since 1970, where that is known.
        since_unix: Option<u64>,
    },
}

impl Verdict {
    /// Says whether the tunnel may be used.
    pub fn admits(&self) -> bool {
        !matches!(self, Self::Refuse(_))
    }

    /// Returns the refusal, also one that is only audited.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refuse(refusal) | Self::PassWithWarning(refusal) => Some(refusal),
            Self::Pass | Self::NotEnforced(_) => None,
        }
    }

    fn strictness(&self) -> u8 {
        match self {
            Self::NotEnforced(_) => 0,
            Self::Pass => 1,
            Self::PassWithWarning(_) => 2,
            Self::Refuse(_) => 3,
        }
    }
}

/// Judges what is known of the tags by the policy.
pub fn verdict(policy: &TagPolicy, knowledge: &TagKnowledge) -> Verdict {
    match policy.enforcement {
        Enforcement::Off => return Verdict::NotEnforced(NotEnforced::SwitchedOff),
        Enforcement::Audit | Enforcement::Enforce => {}
    }
    if TagPolicy::named(&policy.prohibited).chain(TagPolicy::named(&policy.allowed)).next().is_none() {
        return Verdict::NotEnforced(NotEnforced::NoTagNamed);
    }
    let Some((reason, evidence, next)) = objection(policy, knowledge) else {
        return Verdict::Pass;
    };
    let refusal = Refusal { reason, evidence, next, warning: policy.warning_text() };
    if policy.enforcement == Enforcement::Audit { Verdict::PassWithWarning(refusal) } else { Verdict::Refuse(refusal) }
}

/// Judges EMS's snapshot and the live evaluation, and returns the stricter verdict; the snapshot's
/// when both are alike.
pub fn verdict_of_both(policy: &TagPolicy, snapshot: &TagKnowledge, live: &TagKnowledge) -> Verdict {
    stricter(verdict(policy, snapshot), verdict(policy, live))
}

/// Returns the stricter of two verdicts; the first when they are alike.
pub fn stricter(first: Verdict, second: Verdict) -> Verdict {
    if second.strictness() > first.strictness() { second } else { first }
}

/// Returns the first row that objects, with its evidence and the next step.
fn objection(policy: &TagPolicy, knowledge: &TagKnowledge) -> Option<(Reason, String, String)> {
    let table = match knowledge {
        TagKnowledge::Known(table) => table,
        TagKnowledge::Unusable { flaw, detail, since_unix } => {
            let reason = Reason::TagsUnknown { tag: None, flaw: Some(*flaw), since_unix: *since_unix };
            let evidence = if detail.is_empty() { flaw.to_string() } else { format!("{flaw}: {detail}") };
            return Some((reason, evidence, flaw.next_step().to_owned()));
        }
    };
    prohibited_objection(policy, table, Presence::Present)
        .or_else(|| prohibited_objection(policy, table, Presence::Unknown))
        .or_else(|| allowed_objection(policy, table))
}

fn prohibited_objection(policy: &TagPolicy, table: &TagTable, row: Presence) -> Option<(Reason, String, String)> {
    TagPolicy::named(&policy.prohibited).find_map(|tag| {
        let state = table.state(tag);
        if state.presence != row {
            return None;
        }
        let TagState { because, next, rule, .. } = state;
        Some(match row {
            Presence::Present => (Reason::ProhibitedTagPresent { tag: tag.clone(), rule }, because, next),
            _ => {
                let since_unix = Some(table.settled_unix);
                let evidence = format!("tag \"{tag}\" is unknown: {because}");
                (Reason::TagsUnknown { tag: Some(tag.clone()), flaw: None, since_unix }, evidence, next)
            }
        })
    })
}

fn allowed_objection(policy: &TagPolicy, table: &TagTable) -> Option<(Reason, String, String)> {
    let wanted: Vec<TagName> = TagPolicy::named(&policy.allowed).cloned().collect();
    let states: Vec<TagState> = wanted.iter().map(|tag| table.state(tag)).collect();
    if wanted.is_empty() || states.iter().any(|state| state.presence == Presence::Present) {
        return None;
    }
    let told: Vec<String> = wanted
        .iter()
        .zip(&states)
        .map(|(tag, state)| format!("tag \"{tag}\" is {}: {}", state.presence, state.because))
        .collect();
    let next = states.into_iter().map(|state| state.next).find(|next| !next.is_empty()).unwrap_or_default();
    Some((Reason::AllowedTagMissing { wanted }, told.join("; "), next))
}

#[cfg(test)]
mod tests;
