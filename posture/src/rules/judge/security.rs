//! `security`: protections of macOS.

use super::Judgement;
use super::security_status::disk_encryption;
use crate::facts::{Facts, OsFamily};
use crate::rules::{MacosFeature, Truth};

pub(super) fn judge(facts: &Facts, feature: MacosFeature) -> Judgement {
    if facts.family != OsFamily::Macos {
        let seen = format!("{feature} is a part of macOS, and this is {}", facts.family);
        return Judgement::new(Truth::Unknown, "disk", seen, "give the rule to macOS alone");
    }
    match feature {
        MacosFeature::Filevault => disk_encryption(facts),
    }
}
