//! `user-identity`: EMS has verified who the user is at a service.

use super::Judgement;
use crate::facts::Facts;
use crate::rules::{Pattern, Truth};

pub(super) fn judge(facts: &Facts, service: &str, account: Option<&Pattern>) -> Judgement {
    const AREA: &str = "identities";
    let identities = match Judgement::supplied(AREA, facts, |supplied| supplied.identities.as_ref()) {
        Ok(identities) => identities,
        Err(judgement) => return judgement,
    };
    let fits = identities.iter().find(|identity| {
        identity.service.to_lowercase() == service.to_lowercase()
            && account.is_none_or(|account| account.fits(&identity.account))
    });
    match fits {
        Some(identity) => {
            Judgement::new(Truth::True, AREA, format!("{} at {}", identity.account, identity.service), "")
        }
        None => Judgement::new(
            Truth::False,
            AREA,
            format!("no such identity at {service} is verified"),
            format!("sign in to {service} when EMS asks"),
        ),
    }
}
