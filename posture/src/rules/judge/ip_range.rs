//! `ip-range`: an address of the endpoint.

use super::Judgement;
use crate::facts::Facts;
use crate::rules::{AddressRange, Truth};

pub(super) fn judge(facts: &Facts, ranges: &[AddressRange]) -> Judgement {
    let Some(addresses) = facts.addresses.value() else {
        return Judgement::without("addresses", &facts.addresses, "let Postern see the interfaces");
    };
    let mine = || addresses.iter().filter(|entry| !entry.address.is_loopback());
    let inside = mine().find(|entry| ranges.iter().any(|range| range.contains(entry.address)));
    if let Some(entry) = inside {
        let seen = format!("{} on {}", entry.address, entry.interface);
        return Judgement::new(Truth::True, "addresses", seen, "leave this network");
    }
    let shown: Vec<String> = mine().map(|entry| entry.address.to_string()).collect();
    let seen = if shown.is_empty() { "no address".to_owned() } else { format!("only {}", shown.join(", ")) };
    Judgement::new(Truth::False, "addresses", seen, "join a network of the rule")
}
