//! `ems-management`: enrolled, and telemetry connected.

use super::Judgement;
use crate::facts::Facts;
use crate::rules::Truth;

pub(super) fn judge(facts: &Facts) -> Judgement {
    let Some(ems) = facts.ems.value() else {
        return Judgement::without("ems", &facts.ems, "wait until the state of telemetry is known");
    };
    match (ems.enrolled, ems.telemetry_connected) {
        (true, true) => Judgement::new(Truth::True, "ems", "telemetry connected", ""),
        (true, false) => {
            Judgement::new(Truth::False, "ems", "enrolled, but telemetry is not connected", "bring EMS within reach")
        }
        (false, _) => Judgement::new(Truth::False, "ems", "not enrolled", "postern enroll"),
    }
}
