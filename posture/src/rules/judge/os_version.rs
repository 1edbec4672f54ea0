//! `os-version`: the system, its version, and how lately it was updated.

use super::{Judgement, age};
use crate::facts::Facts;
use crate::rules::{Comparison, Days, Truth};
use std::cmp::Ordering;

pub(super) fn judge(
    facts: &Facts,
    system: &str,
    comparison: Comparison,
    version: Option<&str>,
    updated_within: Option<Days>,
    now_unix: u64,
) -> Judgement {
    let of_version = version_of(facts, system, comparison, version);
    match updated_within {
        // An update cannot make the system another one.
        Some(days) if of_version.truth != Truth::False => of_version.and(updated(facts, days, now_unix)),
        _ => of_version,
    }
}

fn version_of(facts: &Facts, system: &str, comparison: Comparison, version: Option<&str>) -> Judgement {
    let Some(os) = facts.os.value() else {
        return Judgement::without("os", &facts.os, "let Postern read the system's release file");
    };
    let wish = match version {
        Some(version) => format!("{system} {comparison} {version}"),
        None => system.to_owned(),
    };
    let change = format!("the rule speaks of {wish}");
    if !os.id.eq_ignore_ascii_case(system.trim()) {
        return Judgement::new(Truth::False, "os", &os.name, change);
    }
    let Some(wanted) = version else {
        return Judgement::new(Truth::True, "os", &os.name, change);
    };
    match os.version.as_deref().and_then(|here| compare_versions(here, wanted)) {
        Some(ordering) => Judgement::new(comparison.accepts(ordering).into(), "os", &os.name, change),
        None => Judgement::new(
            Truth::Unknown,
            "os",
            format!("{}: its version cannot be compared with {wanted}", os.name),
            "correct the rule's version",
        ),
    }
}

fn updated(facts: &Facts, days: Days, now_unix: u64) -> Judgement {
    const SETTLE: &str = "let Postern see when packages were last updated";
    let Some(updates) = facts.updates.value() else {
        return Judgement::without("updates", &facts.updates, SETTLE);
    };
    match age::within(&updates.last_unix, days, now_unix) {
        Ok((fresh, days)) => {
            Judgement::new(fresh.into(), "updates", format!("updated {days} days ago"), "update the system")
        }
        Err(reason) => Judgement::new(Truth::Unknown, "updates", format!("updates: {reason}"), SETTLE),
    }
}

/// Compares as many numbers of `here` as `wanted` has; `None` when either is not made of numbers.
pub(super) fn compare_versions(here: &str, wanted: &str) -> Option<Ordering> {
    let mut numbers = here.trim().split('.');
    for wanted in wanted.trim().split('.') {
        let wanted: u64 = wanted.parse().ok()?;
        let here: u64 = numbers.next().map_or(Some(0), |number| number.parse().ok())?;
        match here.cmp(&wanted) {
            Ordering::Equal => {}
            decided => return Some(decided),
        }
    }
    Some(Ordering::Equal)
}
