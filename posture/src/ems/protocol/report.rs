//! Reports: the endpoint's facts, in full or as changes.
//!
//! Facts cross as a JSON object, one member an area (`os`, `packages`, `antivirus`, ...), each the
//! serde form of its [`Fact`](crate::facts). A change is a whole area: small areas make that
//! cheap, and merging cannot go wrong in the middle of one.

use super::{DocumentSet, Have};
use crate::facts::{Fact, Facts};
use crate::rules::Asked;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Facts by area.
pub type FactsObject = Map<String, Value>;

/// One report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Grows by one with each report; the tag snapshot names the report that it answers.
    pub sequence: u64,
    /// The documents that the endpoint holds; EMS answers with the newer ones.
    #[serde(default)]
    pub have: Have,
    /// The facts.
    #[serde(flatten)]
    pub body: ReportBody,
}

/// Facts in full or as changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum ReportBody {
    /// Every area.
    Full {
        /// The areas.
        facts: FactsObject,
    },
    /// The areas that changed since report `base`; `null` takes an area away.
    Changes {
        /// The report on which this builds; EMS asks for a full one where it has another.
        base: u64,
        /// The areas.
        facts: FactsObject,
    },
    /// Nothing changed: a keep-alive.
    Unchanged {
        /// The report that still holds.
        base: u64,
    },
}

/// What EMS answers to a report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReportReply {
    /// Seconds until the next report is due, when nothing changes.
    pub keep_alive_seconds: u64,
    /// The documents that are newer than the endpoint's.
    #[serde(default)]
    pub documents: DocumentSet,
}

/// Members that say nothing of the endpoint's state: when a fact was gathered, and under which number a
/// program runs. Other values of them are no change.
const TRANSIENT: [&str; 2] = ["gathered_unix", "pid"];

/// Returns the areas of `new` that differ from `old` in more than the time at which they were
/// gathered, with `null` for those that are gone.
pub fn difference(old: &FactsObject, new: &FactsObject) -> FactsObject {
    let is_changed = |area: &String, value: &Value| old.get(area).is_none_or(|held| !is_same(held, value));
    let mut changes: FactsObject = new
        .iter()
        .filter(|(area, value)| is_changed(area, value))
        .map(|(area, value)| (area.clone(), value.clone()))
        .collect();
    for area in old.keys().filter(|area| !new.contains_key(*area)) {
        changes.insert(area.clone(), Value::Null);
    }
    changes
}

fn is_same(held: &Value, value: &Value) -> bool {
    match (held, value) {
        (Value::Object(held), Value::Object(value)) => {
            let told = |map: &FactsObject| map.keys().filter(|name| !TRANSIENT.contains(&name.as_str())).count();
            let is_same_member =
                |name: &String, member: &Value| value.get(name).is_some_and(|other| is_same(member, other));
            told(held) == told(value)
                && held.iter().all(|(name, member)| TRANSIENT.contains(&name.as_str()) || is_same_member(name, member))
        }
        (Value::Array(held), Value::Array(value)) => {
            held.len() == value.len() && held.iter().zip(value).all(|(held, value)| is_same(held, value))
        }
        (held, value) => held == value,
    }
}

/// Returns facts by area.
pub fn facts_object(facts: &Facts) -> FactsObject {
    // Facts are a struct of maps, lists and texts: they always serialise, and to an object.
    match serde_json::to_value(facts) {
        Ok(Value::Object(areas)) => areas,
        _ => FactsObject::new(),
    }
}

/// Returns what EMS is told: facts by area without those that no rule of EMS asks for. What a person runs,
/// installs and keeps where is nobody's business before a rule makes it so.
pub fn facts_for_ems(facts: &Facts, asked: &Asked) -> FactsObject {
    let mut told = facts.clone();
    told.files.retain(|path, _| asked.files.contains(path));
    told.registry.retain(|path, _| asked.registry.contains_key(path));
    told.pings.retain(|host, _| asked.ping.contains(host));
    // EMS supplied them itself.
    told.supplied = Fact::default();
    let mut areas = facts_object(&told);
    for (area, is_asked) in [
        ("packages", false),
        ("applications", false),
        ("supplied", false),
        ("processes", asked.processes),
        ("certificates", asked.certificates),
        ("users", asked.users),
        ("surroundings", asked.surroundings),
    ] {
        if !is_asked {
            areas.remove(area);
        }
    }
    areas
}

/// Reads facts from their areas. An area that is missing reads as unknown; one that cannot be read
/// is an error, so that nonsense never passes for the absence of a problem.
pub fn read_facts(areas: &FactsObject) -> Result<Facts, serde_json::Error> {
    serde_json::from_value(Value::Object(areas.clone()))
}

/// Applies the areas of `changes` to `facts`.
pub fn merge(facts: &mut FactsObject, changes: &FactsObject) {
    for (area, value) in changes {
        if value.is_null() {
            facts.remove(area);
        } else {
            facts.insert(area.clone(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn object(value: Value) -> FactsObject {
        match value {
            Value::Object(map) => map,
            other => panic!("not an object: {other}"),
        }
    }

    #[test]
    fn only_what_changed_is_sent() {
        let old = object(json!({"os": 1, "packages": [1, 2], "addresses": []}));
        let new = object(json!({"os": 1, "packages": [2], "kernel": "6"}));
        assert_eq!(difference(&old, &new), object(json!({"packages": [2], "kernel": "6", "addresses": null})));
    }

    #[test]
    fn gathering_a_fact_again_is_no_change() {
        let old = object(json!({"os": {"value": 1, "gathered_unix": 5}, "kernel": {"value": 1, "gathered_unix": 5}}));
        let new = object(json!({"os": {"value": 1, "gathered_unix": 9}, "kernel": {"value": 2, "gathered_unix": 9}}));
        assert_eq!(difference(&old, &new), object(json!({"kernel": {"value": 2, "gathered_unix": 9}})));
    }

    #[test]
    fn facts_cross_as_areas() {
        let mut facts = Facts::default();
        facts.host_name = crate::facts::Fact::known("pc".to_owned(), "test", 7);
        let areas = facts_object(&facts);
        assert_eq!(read_facts(&areas).unwrap(), facts);
        assert!(read_facts(&object(json!({"packages": "many"}))).is_err());
        assert_eq!(read_facts(&FactsObject::new()).unwrap().packages.value(), None);
    }

    #[test]
    fn what_no_rule_of_ems_asks_for_is_not_told() {
        let mut facts = Facts::default();
        for path in ["/asked", "/local"] {
            facts.files.insert(path.to_owned(), Fact::known(crate::facts::FileState::Missing, path, 1));
        }
        let told = |asked: &Asked| {
            let areas = facts_for_ems(&facts, asked);
            (areas["files"].as_object().map_or(0, Map::len), areas.contains_key("processes"), areas.contains_key("os"))
        };
        assert_eq!(told(&Asked::default()), (0, false, true));
        let asked = Asked { files: ["/asked".to_owned()].into(), processes: true, ..Asked::default() };
        assert_eq!(told(&asked), (1, true, true));
        let read = read_facts(&facts_for_ems(&facts, &Asked::default())).unwrap();
        assert!(read.processes.value().is_none(), "what is not told is unknown and not absent");
    }

    #[test]
    fn a_report_names_its_kind() {
        let report =
            Report { sequence: 3, have: Have::default(), body: ReportBody::Changes { base: 2, facts: Map::new() } };
        let text = serde_json::to_value(&report).unwrap();
        assert_eq!(text["kind"], "changes");
        assert_eq!(serde_json::from_value::<Report>(text).unwrap(), report);
    }

    proptest! {
        #[test]
        fn merging_a_difference_gives_the_new_facts(
            old in proptest::collection::btree_map("[a-e]", 0u8..4, 0..5),
            new in proptest::collection::btree_map("[a-e]", 0u8..4, 0..5),
        ) {
            let old: FactsObject = old.into_iter().map(|(k, v)| (k, json!(v))).collect();
            let new: FactsObject = new.into_iter().map(|(k, v)| (k, json!(v))).collect();
            let mut merged = old.clone();
            merge(&mut merged, &difference(&old, &new));
            prop_assert_eq!(merged, new);
        }
    }
}
