//! Ages against the limits that rules set.

use crate::facts::Observation;
use crate::rules::Days;

const DAY_SECONDS: u64 = 86_400;

/// Says whether `at` lies no longer back than `limit`, and how many days; or why that cannot be told. A day
/// of grace is for other machines' clocks; beyond it our own clock is in doubt.
pub(super) fn within(at: &Observation<u64>, limit: Days, now_unix: u64) -> Result<(bool, u64), String> {
    match at.known() {
        Some(at) if *at > now_unix.saturating_add(DAY_SECONDS) => Err("dated in the future".to_owned()),
        Some(at) => {
            let age = now_unix.saturating_sub(*at);
            Ok((age <= limit.seconds(), age / DAY_SECONDS))
        }
        None => Err(at.reason().unwrap_or("no value").to_owned()),
    }
}
