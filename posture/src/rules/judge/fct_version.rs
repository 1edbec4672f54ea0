//! `fct-version`: the version of this client.

use super::Judgement;
use super::os_version::compare_versions;
use crate::facts::Facts;
use crate::rules::{Comparison, Truth};

pub(super) fn judge(facts: &Facts, comparison: Comparison, wanted: &str) -> Judgement {
    const AREA: &str = "client";
    let Some(here) = facts.client_version.value() else {
        return Judgement::without(AREA, &facts.client_version, "update Postern");
    };
    // What is built between releases is marked behind a dash.
    let numbers = here.split(['-', '+']).next().unwrap_or(here);
    match compare_versions(numbers, wanted) {
        Some(ordering) => Judgement::new(
            comparison.accepts(ordering).into(),
            AREA,
            format!("Postern {here}"),
            "install another version",
        ),
        None => {
            let seen = format!("Postern {here} cannot be compared with {wanted}");
            Judgement::new(Truth::Unknown, AREA, seen, "correct the rule's version")
        }
    }
}
