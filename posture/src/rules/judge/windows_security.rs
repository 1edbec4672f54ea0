//! `windows-security`: protections of Windows.

use super::Judgement;
use crate::facts::Facts;
use crate::rules::WindowsFeature;

pub(super) fn judge(facts: &Facts, features: &[WindowsFeature]) -> Judgement {
    const AREA: &str = "windows security";
    let Some(security) = facts.windows_security.value() else {
        return Judgement::without(AREA, &facts.windows_security, "");
    };
    let of = |feature: &WindowsFeature| {
        let observed = match feature {
            WindowsFeature::Defender => &security.defender,
            WindowsFeature::Bitlocker => &security.bitlocker,
            WindowsFeature::ExploitGuard => &security.exploit_guard,
            WindowsFeature::ApplicationGuard => &security.application_guard,
            WindowsFeature::Firewall => &security.firewall,
        };
        Judgement::switch(AREA, &feature.to_string(), observed)
    };
    Judgement::all(AREA, features.iter().map(of))
}
