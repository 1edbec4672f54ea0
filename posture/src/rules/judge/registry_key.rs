//! `registry-key`: a key of the Windows registry, and one of its values.

use super::Judgement;
use crate::facts::{Facts, RegistryValue};
use crate::rules::{Comparison, RegistryCondition, Truth};

const AREA: &str = "registry";

pub(super) fn judge(facts: &Facts, path: &str, condition: Option<&RegistryCondition>) -> Judgement {
    let Some(fact) = facts.registry.get(path) else {
        let seen = format!("registry: nobody looked for {path}");
        return Judgement::new(Truth::Unknown, AREA, seen, "wait for the next look at the system");
    };
    let Some(key) = fact.value() else {
        return Judgement::without(AREA, fact, format!("let Postern look at {path}"));
    };
    if !key.present {
        return Judgement::new(Truth::False, AREA, format!("{path} is not there"), format!("provide {path}"));
    }
    let Some(condition) = condition else {
        return Judgement::new(Truth::True, AREA, format!("{path} is there"), format!("remove {path}"));
    };
    let change = format!("set {path}\\{} {} {}", condition.name, condition.comparison, condition.value);
    let Some(value) = key.values.get(&condition.name.to_lowercase()) else {
        let seen = format!("{path} has no value {}", condition.name);
        return Judgement::new(Truth::False, AREA, seen, change);
    };
    let seen = format!("{path}\\{} is {value}", condition.name);
    match compare(value, condition) {
        Ok(holds) => Judgement::new(holds.into(), AREA, seen, change),
        Err(why) => Judgement::new(Truth::Unknown, AREA, format!("{seen}, and {why}"), "correct the rule"),
    }
}

fn compare(value: &RegistryValue, condition: &RegistryCondition) -> Result<bool, &'static str> {
    match value {
        RegistryValue::Number(number) => {
            let wanted = wanted_number(&condition.value).ok_or("the rule's value is no number")?;
            Ok(condition.comparison.accepts(number.cmp(&wanted)))
        }
        // A text is never the number that the rule wants.
        _ if condition.is_dword => Ok(condition.comparison == Comparison::NotEqual),
        RegistryValue::Text(text) => match condition.comparison {
            Comparison::Equal => Ok(text.to_lowercase() == condition.value.to_lowercase()),
            Comparison::NotEqual => Ok(text.to_lowercase() != condition.value.to_lowercase()),
            _ => Err("texts have no order"),
        },
        RegistryValue::Other => Err("it cannot be compared"),
    }
}

fn wanted_number(text: &str) -> Option<u64> {
    match text.trim().strip_prefix("0x") {
        Some(hexadecimal) => u64::from_str_radix(hexadecimal, 16).ok(),
        None => text.trim().parse().ok(),
    }
}
