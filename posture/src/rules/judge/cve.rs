//! `cve`: the scan for vulnerable packages found one of these.

use super::Judgement;
use super::scan::{self, found, nothing};
use crate::rules::Days;
use crate::rules::index::Index;

pub(super) fn judge(index: &Index<'_>, identifiers: &[String], within: Option<Days>, now_unix: u64) -> Judgement {
    let result = match scan::result(index, within, now_unix) {
        Ok(result) => result,
        Err(judgement) => return judgement,
    };
    match index.findings(result).named(identifiers) {
        Some((gravest, number)) => found(gravest, number),
        None => nothing(result, || format!("{} not found", identifiers.join(", "))),
    }
}
