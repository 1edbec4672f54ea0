//! `vulnerable-devices`: what the scan for vulnerable packages found, from a severity upwards.

use super::Judgement;
use super::scan::{self, found, nothing};
use crate::rules::Days;
use crate::rules::index::Index;
use crate::vulnerability::Severity;

pub(super) fn judge(index: &Index<'_>, threshold: Severity, within: Option<Days>, now_unix: u64) -> Judgement {
    let result = match scan::result(index, within, now_unix) {
        Ok(result) => result,
        Err(judgement) => return judgement,
    };
    match index.findings(result).of_severity(threshold) {
        Some((gravest, number)) => found(gravest, number),
        None => nothing(result, || {
            format!("nothing {threshold}{} found", if threshold == Severity::Critical { "" } else { " or higher" })
        }),
    }
}
