//! `sandbox-detection`: a sandbox convicted a file from this endpoint.

use super::{Judgement, age};
use crate::facts::{Facts, Observation};
use crate::rules::{Days, Truth};

pub(super) fn judge(facts: &Facts, within: Option<Days>, now_unix: u64) -> Judgement {
    const AREA: &str = "sandbox";
    let detections = match Judgement::supplied(AREA, facts, |supplied| supplied.sandbox_detections_unix.as_ref()) {
        Ok(detections) => detections,
        Err(judgement) => return judgement,
    };
    let Some(latest) = detections.iter().max() else {
        return Judgement::new(Truth::False, AREA, "the sandbox never convicted a file", "");
    };
    let Some(limit) = within else {
        return Judgement::new(Truth::True, AREA, format!("{} convictions by the sandbox", detections.len()), "");
    };
    match age::within(&Observation::Known(*latest), limit, now_unix) {
        Ok((recent, days)) => Judgement::new(
            recent.into(),
            AREA,
            format!("the sandbox last convicted a file {days} days ago"),
            if recent { "wait, and ask the administrator" } else { "" },
        ),
        Err(reason) => {
            Judgement::new(Truth::Unknown, AREA, format!("the last conviction is {reason}"), "set the clock")
        }
    }
}
