//! Tagging rules: rule sets over facts, evaluated in three-valued logic.
//!
//! A [`TaggingRuleSet`] holds, for each family of operating systems, rules and a tree of `and` and
//! `or` over them; a rule may be negated, a branch may not. Evaluation gives every tag a presence
//! with the fact and the rule that decided it. A rule over an unknown fact is unknown, and so is a
//! rule that this version does not understand.
//!
//! ```json
//! {"name": "fit", "tag": "Fit for work", "systems": {"linux": {
//!   "rules": [
//!     {"id": 1, "type": "anti-virus", "signatures_within_days": 7},
//!     {"id": 2, "type": "running-process", "name": "falcon-sensor"},
//!     {"id": 3, "type": "vulnerable-devices", "severity": "critical", "negated": true}],
//!   "logic": {"op": "and", "rules": [{"op": "or", "rules": [{"id": 1}, {"id": 2}]}, {"id": 3}]}}}}
//! ```
//!
//! In: rule sets and [`crate::facts::Facts`]. Out: a map of [`TagState`], or the lines of [`explain()`].
//! Everything is pure: the time is handed in.

mod asked;
mod comparison;
mod evaluate;
mod explain;
mod index;
mod judge;
pub mod on_fabric;
mod parameter;
mod pattern;
mod range;
mod rule;
mod set;
mod tag;
mod truth;

pub use asked::Asked;
pub use comparison::Comparison;
pub use evaluate::{DecidingRule, Presence, TagState, evaluate, evaluate_set};
pub use explain::explain;
pub use on_fabric::OnFabricDetection;
pub use parameter::{Days, ParameterInvalid, Score, Text};
pub use pattern::{Pattern, PatternKind};
pub use range::{AddressRange, AddressRangeInvalid};
pub use rule::{MacosFeature, Protection, RegistryCondition, Rule, RuleId, RuleKind, WindowsFeature};
pub use set::{Logic, Operator, RuleSetInvalid, SystemRules, TaggingRuleSet};
pub use tag::TagName;
pub use truth::Truth;
