//! A set of rules that gives a tag, with a tree of logic for each family of systems.

use super::{Rule, RuleId, RuleKind, TagName};
use crate::facts::OsFamily;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Rules that give a tag. Several sets may give the same tag: one that holds suffices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaggingRuleSet {
    /// The set's own name.
    pub name: String,
    /// The tag it gives.
    pub tag: TagName,
    /// The rules for each family; a family that is not named never gets the tag from this set.
    pub systems: BTreeMap<OsFamily, SystemRules>,
}

/// The rules for one family of systems.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SystemRules {
    /// The rules.
    pub rules: Vec<Rule>,
    /// How they combine; all of them must hold when this is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logic: Option<Logic>,
}

/// A tree over rules: `{"op":"and","rules":[{"id":1},{"op":"or","rules":[{"id":2},{"id":3}]}]}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Logic {
    /// The rule of this number.
    Rule {
        /// The number.
        id: RuleId,
    },
    /// A branch.
    Group {
        /// How its parts combine.
        op: Operator,
        /// Its parts.
        rules: Vec<Logic>,
    },
}

/// How the parts of a branch combine. There is no `not`: a rule is negated, a branch is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operator {
    /// All must hold.
    And,
    /// One suffices.
    Or,
}

/// What is wrong with a rule set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleSetInvalid {
    /// The tag's name is empty.
    #[error("rule set \"{set}\" names no tag")]
    TagBlank {
        /// The set.
        set: String,
    },
    /// The set's name is empty or too long.
    #[error("the name of rule set \"{set}\" must have 1 to {} characters", TaggingRuleSet::NAME_LIMIT)]
    NameLength {
        /// The set.
        set: String,
    },
    /// A family has no rules, or a branch has no parts.
    #[error("rule set \"{set}\" has an empty list of rules for {family}")]
    Empty {
        /// The set.
        set: String,
        /// The family.
        family: OsFamily,
    },
    /// Two rules have one number.
    #[error("rule set \"{set}\" numbers two rules {id} for {family}")]
    NumberTwice {
        /// The set.
        set: String,
        /// The family.
        family: OsFamily,
        /// The number.
        id: RuleId,
    },
    /// The tree names a rule that is not there.
    #[error("the logic of rule set \"{set}\" names rule {id}, which {family} does not have")]
    RuleMissing {
        /// The set.
        set: String,
        /// The family.
        family: OsFamily,
        /// The number.
        id: RuleId,
    },
    /// The tree is deeper than [`Logic::MAXIMUM_DEPTH`].
    #[error("the logic of rule set \"{set}\" for {family} is nested too deeply")]
    TooDeep {
        /// The set.
        set: String,
        /// The family.
        family: OsFamily,
    },
    /// A rule is of a type that this version does not know, or its parameters cannot be read.
    #[error("rule {id} of rule set \"{set}\" for {family} is of no known type, or a parameter cannot be read: {kind}")]
    Unsupported {
        /// The set.
        set: String,
        /// The family.
        family: OsFamily,
        /// The rule's number.
        id: RuleId,
        /// Its type, with the parameters as they came.
        kind: String,
    },
}

impl Logic {
    /// How deep a tree may be.
    pub const MAXIMUM_DEPTH: usize = 24;
}

impl TaggingRuleSet {
    /// How many characters the name may have.
    pub const NAME_LIMIT: usize = 128;

    /// Says what is wrong with the set. An invalid set evaluates to unknown, so a server's sets need
    /// no check; a file that a person wrote is checked so that the person learns of it.
    pub fn validate(&self) -> Result<(), RuleSetInvalid> {
        if !(1..=Self::NAME_LIMIT).contains(&self.name.chars().count()) {
            return Err(RuleSetInvalid::NameLength { set: self.name.clone() });
        }
        if self.tag.is_blank() {
            return Err(RuleSetInvalid::TagBlank { set: self.name.clone() });
        }
        self.systems.iter().try_for_each(|(family, system)| self.validate_system(*family, system))
    }

    fn validate_system(&self, family: OsFamily, system: &SystemRules) -> Result<(), RuleSetInvalid> {
        let set = || self.name.clone();
        let mut numbers = BTreeSet::new();
        for rule in &system.rules {
            if !numbers.insert(rule.id) {
                return Err(RuleSetInvalid::NumberTwice { set: set(), family, id: rule.id });
            }
            if let RuleKind::Unsupported { name, parameters } = &rule.kind {
                let kind = format!("{name} {}", serde_json::Value::Object(parameters.clone()));
                return Err(RuleSetInvalid::Unsupported { set: set(), family, id: rule.id, kind });
            }
        }
        if numbers.is_empty() {
            return Err(RuleSetInvalid::Empty { set: set(), family });
        }
        let mut waiting: Vec<(&Logic, usize)> = system.logic.iter().map(|logic| (logic, 1)).collect();
        while let Some((logic, depth)) = waiting.pop() {
            if depth > Logic::MAXIMUM_DEPTH {
                return Err(RuleSetInvalid::TooDeep { set: set(), family });
            }
            match logic {
                Logic::Rule { id } if numbers.contains(id) => {}
                Logic::Rule { id } => return Err(RuleSetInvalid::RuleMissing { set: set(), family, id: *id }),
                Logic::Group { rules, .. } if rules.is_empty() => {
                    return Err(RuleSetInvalid::Empty { set: set(), family });
                }
                Logic::Group { rules, .. } => waiting.extend(rules.iter().map(|part| (part, depth + 1))),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(linux: &str) -> TaggingRuleSet {
        serde_json::from_str(&format!(r#"{{"name":"n","tag":"t","systems":{{"linux":{linux}}}}}"#)).unwrap()
    }

    #[test]
    fn a_tree_reads_in_the_shape_of_the_product_family() {
        let set = set(
            r#"{"rules":[{"id":1,"type":"ems-management"},{"id":2,"type":"anti-virus"},{"id":3,"type":"file","path":"/x"}],
                "logic":{"op":"and","rules":[{"op":"or","rules":[{"id":1},{"id":2}]},{"id":3}]}}"#,
        );
        assert_eq!(set.validate(), Ok(()));
        let logic = set.systems[&OsFamily::Linux].logic.clone().unwrap();
        let Logic::Group { op: Operator::And, rules } = &logic else { panic!("{logic:?}") };
        assert_eq!(rules[1], Logic::Rule { id: 3 });
        let text = serde_json::to_string(&logic).unwrap();
        assert_eq!(text, r#"{"op":"and","rules":[{"op":"or","rules":[{"id":1},{"id":2}]},{"id":3}]}"#);
    }

    #[test]
    fn the_example_of_the_documentation_is_a_valid_set() {
        let documentation = include_str!("mod.rs");
        let example = documentation.split("//! ```").nth(1).unwrap().trim_start_matches("json");
        let example: String = example.lines().map(|line| line.trim_start_matches("//!")).collect();
        let set: TaggingRuleSet = serde_json::from_str(&example).unwrap();
        assert_eq!(set.validate(), Ok(()));
    }

    #[test]
    fn each_mistake_is_named() {
        let one = r#"{"id":1,"type":"ems-management"}"#;
        let broken = |linux: &str| set(linux).validate().unwrap_err();
        assert!(matches!(broken(r#"{"rules":[]}"#), RuleSetInvalid::Empty { .. }));
        assert!(matches!(broken(&format!(r#"{{"rules":[{one},{one}]}}"#)), RuleSetInvalid::NumberTwice { id: 1, .. }));
        let missing = format!(r#"{{"rules":[{one}],"logic":{{"id":7}}}}"#);
        assert!(matches!(broken(&missing), RuleSetInvalid::RuleMissing { id: 7, .. }));
        let empty = format!(r#"{{"rules":[{one}],"logic":{{"op":"or","rules":[]}}}}"#);
        assert!(matches!(broken(&empty), RuleSetInvalid::Empty { .. }));
        let unknown = r#"{"rules":[{"id":1,"type":"firewall-threat"}]}"#;
        assert!(matches!(broken(unknown), RuleSetInvalid::Unsupported { .. }));
        let mut logic = Logic::Rule { id: 1 };
        for _ in 0..Logic::MAXIMUM_DEPTH {
            logic = Logic::Group { op: Operator::And, rules: vec![logic] };
        }
        let mut deep = set(&format!(r#"{{"rules":[{one}]}}"#));
        deep.systems.get_mut(&OsFamily::Linux).unwrap().logic = Some(logic);
        assert!(matches!(deep.validate(), Err(RuleSetInvalid::TooDeep { .. })));
        deep.name = "n".repeat(TaggingRuleSet::NAME_LIMIT + 1);
        assert!(matches!(deep.validate(), Err(RuleSetInvalid::NameLength { .. })));
        deep.name = "n".to_owned();
        deep.tag = TagName::new(" ");
        assert!(matches!(deep.validate(), Err(RuleSetInvalid::TagBlank { .. })));
    }
}
