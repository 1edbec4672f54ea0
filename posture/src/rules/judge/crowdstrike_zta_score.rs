//! `crowdstrike-zta-score`: CrowdStrike's Zero Trust Assessment.

use super::Judgement;
use crate::facts::Facts;
use crate::rules::{Comparison, Score};

pub(super) fn judge(facts: &Facts, comparison: Comparison, wanted: Score) -> Judgement {
    const AREA: &str = "crowdstrike";
    match Judgement::supplied(AREA, facts, |supplied| supplied.crowdstrike_score.as_ref()) {
        Ok(score) => {
            let holds = comparison.accepts(score.cmp(&u8::from(wanted)));
            Judgement::new(holds.into(), AREA, format!("score {score}"), "see the assessment in CrowdStrike's console")
        }
        Err(judgement) => judgement,
    }
}
