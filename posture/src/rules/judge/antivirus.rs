//! The rule over antivirus products.

use super::Judgement;
use crate::facts::{AntivirusProduct, Facts};
use crate::rules::Truth;

const DAY_SECONDS: u64 = 86_400;

pub(super) fn anti_virus(facts: &Facts, running: bool, within_days: Option<u32>, now_unix: u64) -> Judgement {
    let Some(antivirus) = facts.antivirus.value() else {
        return Judgement::without("antivirus", &facts.antivirus, "let Postern see the running processes");
    };
    let mut unsure = None;
    for product in &antivirus.products {
        let (runs, seen) = if product.running { (Truth::True, "runs") } else { (Truth::False, "does not run") };
        let (fresh, age) = freshness(product, within_days, now_unix);
        let truth = if running { runs.and(fresh) } else { fresh };
        let seen = format!("{} {seen}{age}", product.name);
        match truth {
            Truth::True => return Judgement::new(Truth::True, "antivirus", seen, format!("stop {}", product.name)),
            Truth::Unknown => unsure = Some(seen),
            Truth::False => {}
        }
    }
    if let Some(seen) = unsure {
        return Judgement::new(Truth::Unknown, "antivirus", seen, "let Postern read the age of the signatures");
    }
    if let Some(reason) = &antivirus.hidden {
        let seen = format!("no product was seen to do so, but processes are hidden ({reason})");
        return Judgement::new(Truth::Unknown, "antivirus", seen, "let Postern see all processes");
    }
    let Some(product) = antivirus.products.first() else {
        return Judgement::new(Truth::False, "antivirus", "no antivirus product", "install and start one");
    };
    let (_, age) = freshness(product, within_days, now_unix);
    if running && !product.running {
        let seen = format!("{} does not run{age}", product.name);
        return Judgement::new(Truth::False, "antivirus", seen, format!("start {}", product.name));
    }
    let seen = format!("{}{age}", product.name);
    Judgement::new(Truth::False, "antivirus", seen, format!("update the signatures of {}", product.name))
}

/// Says whether the signatures are young enough, and their age as text.
fn freshness(product: &AntivirusProduct, within_days: Option<u32>, now_unix: u64) -> (Truth, String) {
    let Some(days) = within_days else {
        return (Truth::True, String::new());
    };
    match product.signatures_unix.known() {
        // A day of grace for clocks of signature builders; beyond it our own clock is in doubt.
        Some(made) if *made > now_unix.saturating_add(DAY_SECONDS) => {
            (Truth::Unknown, ", signatures dated in the future".to_owned())
        }
        Some(made) => {
            let age = now_unix.saturating_sub(*made);
            let fresh = age <= u64::from(days).saturating_mul(DAY_SECONDS);
            (fresh.into(), format!(", signatures {} days old", age / DAY_SECONDS))
        }
        None => {
            let reason = product.signatures_unix.reason().unwrap_or("no value");
            (Truth::Unknown, format!(", age of signatures unknown ({reason})"))
        }
    }
}
