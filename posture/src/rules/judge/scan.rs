//! What the rules over the vulnerability scan share.

use super::{Judgement, age};
use crate::facts::Observation;
use crate::rules::index::Index;
use crate::rules::{Days, Truth};
use crate::vulnerability::{Finding, ScanResult};

const AREA: &str = "vulnerabilities";

/// Returns the scan's result, or the judgement over an endpoint that was never scanned or not lately.
pub(super) fn result<'a>(index: &Index<'a>, within: Option<Days>, now_unix: u64) -> Result<&'a ScanResult, Judgement> {
    let Some(result) = index.facts.vulnerabilities.value() else {
        return Err(Judgement::without(AREA, &index.facts.vulnerabilities, "postern scan"));
    };
    let Some(limit) = within else { return Ok(result) };
    let why = match age::within(&Observation::Known(result.finished_unix), limit, now_unix) {
        Ok((true, _)) => return Ok(result),
        Ok((false, days)) => format!("last scanned {days} days ago, the rule wants {limit}"),
        Err(reason) => format!("the last scan is {reason}"),
    };
    Err(Judgement::new(Truth::Unknown, AREA, why, "postern scan"))
}

/// The gravest finding in words, and how many more there are.
pub(super) fn found(finding: &Finding, number: usize) -> Judgement {
    let seen = match number {
        0 | 1 => finding.evidence(),
        many => format!("{}, and {} more", finding.evidence(), many - 1),
    };
    let remedy = match &finding.fixed {
        Some(_) => format!("upgrade {}, then postern scan", finding.package),
        None => format!("remove {} or wait for its fix, then postern scan", finding.package),
    };
    Judgement::new(Truth::True, AREA, seen, remedy)
}

pub(super) fn nothing(scan: &ScanResult, none: impl Fn() -> String) -> Judgement {
    if scan.packages_unreadable > 0 {
        return Judgement::new(
            Truth::Unknown,
            AREA,
            format!("{} packages have a version that cannot be read", scan.packages_unreadable),
            "repair the package database, then postern scan",
        );
    }
    Judgement::new(Truth::False, AREA, format!("{} in {} packages", none(), scan.packages), "")
}
