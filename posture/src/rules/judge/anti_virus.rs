//! `anti-virus`: a product runs, and its signatures are young enough.

use super::{Judgement, age};
use crate::facts::{AntivirusProduct, Facts};
use crate::rules::{Days, Truth};

pub(super) fn judge(facts: &Facts, running: bool, within: Option<Days>, now_unix: u64) -> Judgement {
    let Some(antivirus) = facts.antivirus.value() else {
        return Judgement::without("antivirus", &facts.antivirus, "let Postern see the running processes");
    };
    let mut unsure = None;
    for product in &antivirus.products {
        let (runs, seen) = if product.running { (Truth::True, "runs") } else { (Truth::False, "does not run") };
        let (fresh, age) = freshness(product, within, now_unix);
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
    let (_, age) = freshness(product, within, now_unix);
    if running && !product.running {
        let seen = format!("{} does not run{age}", product.name);
        return Judgement::new(Truth::False, "antivirus", seen, format!("start {}", product.name));
    }
    let seen = format!("{}{age}", product.name);
    Judgement::new(Truth::False, "antivirus", seen, format!("update the signatures of {}", product.name))
}

/// Says whether the signatures are young enough, and their age as text.
fn freshness(product: &AntivirusProduct, within: Option<Days>, now_unix: u64) -> (Truth, String) {
    let Some(limit) = within else {
        return (Truth::True, String::new());
    };
    match age::within(&product.signatures_unix, limit, now_unix) {
        Ok((fresh, days)) => (fresh.into(), format!(", signatures {days} days old")),
        Err(reason) => (Truth::Unknown, format!(", age of signatures unknown ({reason})")),
    }
}
