//! From rule sets and facts to tags.

use super::index::Index;
use super::judge::{Judgement, judge};
use super::{Logic, Operator, Rule, SystemRules, TagName, TaggingRuleSet, Truth};
use crate::facts::Facts;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fmt;

/// What is known of a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// The endpoint carries it.
    Present,
    /// The endpoint does not carry it.
    Absent,
    /// It cannot be told.
    Unknown,
}

impl From<Truth> for Presence {
    fn from(truth: Truth) -> Self {
        match truth {
            Truth::True => Self::Present,
            Truth::False => Self::Absent,
            Truth::Unknown => Self::Unknown,
        }
    }
}

impl fmt::Display for Presence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Present => "present",
            Self::Absent => "absent",
            Self::Unknown => "unknown",
        })
    }
}

/// The rule that decided a tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecidingRule {
    /// The rule set.
    pub set: String,
    /// The rule in words: `rule 1, vulnerable-devices critical`.
    pub rule: String,
}

/// The presence of a tag, with what decided it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagState {
    /// Whether the endpoint carries the tag.
    pub presence: Presence,
    /// The fact behind it, in one line: `openssl 3.0.11-1, CVE-2024-5535, fixed in 3.0.14-1`.
    pub because: String,
    /// What would change it, or settle it; empty when the user can do nothing.
    #[serde(default)]
    pub next: String,
    /// The rule that decided, where a rule did.
    #[serde(default)]
    pub rule: Option<DecidingRule>,
}

impl TagState {
    /// Makes the state of a tag that no rule decided.
    pub fn without_rule(presence: Presence, because: impl Into<String>) -> Self {
        Self { presence, because: because.into(), next: String::new(), rule: None }
    }
}

/// How many facts the reason names when several together decide.
const REASONS_SHOWN: usize = 3;

/// Evaluates all rule sets: every tag that a set can give, with its presence. Where several sets
/// give one tag, one that holds suffices.
pub fn evaluate(sets: &[TaggingRuleSet], facts: &Facts, now_unix: u64) -> BTreeMap<TagName, TagState> {
    let index = Index::new(facts);
    let mut tags: BTreeMap<TagName, TagState> = BTreeMap::new();
    for set in sets {
        let state = evaluate_indexed(set, &index, now_unix);
        match tags.get_mut(&set.tag) {
            Some(known) if weight(state.presence) <= weight(known.presence) => {}
            Some(known) => *known = state,
            None => {
                tags.insert(set.tag.clone(), state);
            }
        }
    }
    tags
}

/// Or over presences: present outweighs unknown, unknown outweighs absent.
fn weight(presence: Presence) -> u8 {
    match presence {
        Presence::Absent => 0,
        Presence::Unknown => 1,
        Presence::Present => 2,
    }
}

/// Evaluates one rule set.
pub fn evaluate_set(set: &TaggingRuleSet, facts: &Facts, now_unix: u64) -> TagState {
    evaluate_indexed(set, &Index::new(facts), now_unix)
}

fn evaluate_indexed(set: &TaggingRuleSet, index: &Index<'_>, now_unix: u64) -> TagState {
    let family = index.facts.family;
    let Some(system) = set.systems.get(&family) else {
        let because = format!("rule set \"{}\" has no rules for {family}", set.name);
        return TagState::without_rule(Presence::Absent, because);
    };
    let mut evaluation = Evaluation::new(system, index, now_unix);
    let (truth, deciders) = match &system.logic {
        Some(logic) => evaluation.branch(logic, 1),
        None => {
            let parts = system.rules.iter().map(|rule| evaluation.leaf(rule)).collect();
            combine(Operator::And, parts)
        }
    };
    evaluation.state(&set.name, truth, &deciders)
}

/// Who decided a branch: places in [`Evaluation::judged`].
type Deciders = Vec<usize>;

struct Evaluation<'a, 'f> {
    rules: HashMap<u32, &'a Rule>,
    index: &'a Index<'f>,
    now_unix: u64,
    judged: Vec<(Option<&'a Rule>, Judgement)>,
}

impl<'a, 'f> Evaluation<'a, 'f> {
    fn new(system: &'a SystemRules, index: &'a Index<'f>, now_unix: u64) -> Self {
        let rules = system.rules.iter().map(|rule| (rule.id, rule)).collect();
        Self { rules, index, now_unix, judged: Vec::new() }
    }

    fn leaf(&mut self, rule: &'a Rule) -> (Truth, Deciders) {
        let judgement = judge(rule, self.index, self.now_unix);
        self.note(Some(rule), judgement)
    }

    fn broken(&mut self, why: String) -> (Truth, Deciders) {
        let change = "correct the rule set".to_owned();
        self.note(None, Judgement { truth: Truth::Unknown, fact: "rules", seen: why, change })
    }

    fn note(&mut self, rule: Option<&'a Rule>, judgement: Judgement) -> (Truth, Deciders) {
        let truth = judgement.truth;
        self.judged.push((rule, judgement));
        (truth, vec![self.judged.len() - 1])
    }

    fn branch(&mut self, logic: &'a Logic, depth: usize) -> (Truth, Deciders) {
        if depth > Logic::MAXIMUM_DEPTH {
            return self.broken("the logic is nested too deeply".to_owned());
        }
        match logic {
            Logic::Rule { id } => match self.rules.get(id).copied() {
                Some(rule) => self.leaf(rule),
                None => self.broken(format!("the logic names rule {id}, which is missing")),
            },
            Logic::Group { rules, .. } if rules.is_empty() => self.broken("a branch of the logic is empty".to_owned()),
            Logic::Group { op, rules } => {
                let parts = rules.iter().map(|part| self.branch(part, depth + 1)).collect();
                combine(*op, parts)
            }
        }
    }

    fn state(&self, set: &str, truth: Truth, deciders: &[usize]) -> TagState {
        let named: Vec<&(Option<&Rule>, Judgement)> =
            deciders.iter().filter_map(|place| self.judged.get(*place)).collect();
        let mut because: Vec<&str> = Vec::new();
        for (_, judgement) in &named {
            if !because.contains(&judgement.seen.as_str()) {
                because.push(&judgement.seen);
            }
        }
        let more = because.len().saturating_sub(REASONS_SHOWN);
        because.truncate(REASONS_SHOWN);
        let mut because = because.join("; ");
        if more > 0 {
            because.push_str(&format!("; and {more} more"));
        }
        if named.is_empty() {
            because = "the rule set has no rules".to_owned();
        }
        let rule = named
            .iter()
            .find_map(|(rule, _)| rule.map(|rule| DecidingRule { set: set.to_owned(), rule: in_words(rule) }));
        let next = named.iter().map(|(_, judgement)| judgement.change.clone()).find(|change| !change.is_empty());
        TagState { presence: truth.into(), because, next: next.unwrap_or_default(), rule }
    }
}

/// A rule in words.
pub(super) fn in_words(rule: &Rule) -> String {
    format!("rule {}, {}{}", rule.id, if rule.negated { "not " } else { "" }, rule.kind)
}

/// Combines the parts of a branch. The first part that decides alone is the decider; when all parts
/// decide together, all are. An empty branch is unknown: it was never meant.
fn combine(operator: Operator, parts: Vec<(Truth, Deciders)>) -> (Truth, Deciders) {
    let alone = match operator {
        Operator::And => Truth::False,
        Operator::Or => Truth::True,
    };
    if parts.is_empty() {
        return (Truth::Unknown, Vec::new());
    }
    for decisive in [alone, Truth::Unknown] {
        if let Some((truth, deciders)) = parts.iter().find(|(truth, _)| *truth == decisive) {
            return (*truth, deciders.clone());
        }
    }
    (!alone, parts.into_iter().flat_map(|(_, deciders)| deciders).collect())
}

#[cfg(test)]
mod tests;
