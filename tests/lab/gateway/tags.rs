//! Tags as a gateway knows them: names of address lists that EMS keeps.
//!
//! The match looks at the address that the client's packets come from, and at nothing else.
//! Everybody behind one NAT shares a tag.

use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// What stands before a tag's own name in the names of the first EMS connector.
pub const PREFIX: &str = "EMS1_ZTNA_";

/// The number that the first tag gets which comes without one.
const FIRST_ID: u32 = 81;

/// One tag and the addresses that it resolves to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagAddresses {
    /// EMS's name of the tag.
    pub name: String,
    /// The addresses, in EMS's order.
    #[serde(default)]
    pub addresses: Vec<Ipv4Addr>,
}

/// Every tag that EMS shares with this gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagDirectory {
    /// The tags.
    #[serde(default)]
    pub tags: Vec<TagAddresses>,
}

impl TagDirectory {
    /// Returns the tag that a gateway name such as `EMS1_ZTNA_Telemetry Connected` stands for, and
    /// its number in lists.
    pub fn find(&self, gateway_name: &str) -> Option<(u32, &TagAddresses)> {
        let wanted = folded(own_name(gateway_name));
        (FIRST_ID..).zip(&self.tags).find(|(_, tag)| folded(&tag.name) == wanted)
    }

    /// Returns these tags in the order in which the gateway learnt them: a tag of `earlier` keeps its
    /// place and so its number, even while EMS shares nothing of it.
    pub fn after(self, earlier: &Self) -> Self {
        let mut fresh = self.tags;
        let kept = earlier.tags.iter().map(|known| {
            match fresh.iter().position(|tag| folded(&tag.name) == folded(&known.name)) {
                Some(place) => fresh.remove(place),
                None => TagAddresses { name: known.name.clone(), addresses: Vec::new() },
            }
        });
        let mut tags: Vec<_> = kept.collect();
        tags.append(&mut fresh);
        Self { tags }
    }

    /// Tells whether `address` carries the tag.
    pub fn resolves(&self, gateway_name: &str, address: Ipv4Addr) -> bool {
        self.find(gateway_name).is_some_and(|(_, tag)| tag.addresses.contains(&address))
    }
}

/// Takes the connector's prefix off a gateway name.
pub fn own_name(gateway_name: &str) -> &str {
    let name = gateway_name.trim();
    match name.split_at_checked(PREFIX.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(PREFIX) => rest.trim_start(),
        _ => name,
    }
}

fn folded(name: &str) -> String {
    name.trim().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> TagDirectory {
        let tag = |name: &str, addresses: &[[u8; 4]]| TagAddresses {
            name: name.into(),
            addresses: addresses.iter().copied().map(Ipv4Addr::from).collect(),
        };
        TagDirectory { tags: vec![tag("Telemetry connected", &[[172, 16, 7, 3]]), tag("Antivirus running ", &[])] }
    }

    #[test]
    fn case_and_surrounding_space_do_not_matter() {
        let directory = directory();
        for name in ["EMS1_ZTNA_Telemetry Connected", "ems1_ztna_telemetry connected ", "Telemetry connected"] {
            assert!(directory.resolves(name, [172, 16, 7, 3].into()), "{name}");
            assert!(!directory.resolves(name, [172, 16, 7, 4].into()), "{name}");
        }
        assert_eq!(directory.find("EMS1_ZTNA_antivirus Running").unwrap().0, 82);
    }

    #[test]
    fn a_tag_keeps_its_number_whatever_is_learnt_later() {
        let first = TagAddresses { name: "Antivirus running".into(), addresses: vec![[10, 0, 0, 1].into()] };
        let later = TagDirectory { tags: vec![first.clone()] }.after(&directory());
        assert_eq!(later.find("Telemetry connected").unwrap().0, 81);
        assert!(later.find("Telemetry connected").unwrap().1.addresses.is_empty());
        assert_eq!(later.find("Antivirus running").unwrap(), (82, &first));
    }

    #[test]
    fn an_unknown_tag_resolves_to_nothing() {
        assert!(!directory().resolves("EMS1_ZTNA_Telemetry", [172, 16, 7, 3].into()));
        assert!(!directory().resolves("EMS1_ZTNA_", [172, 16, 7, 3].into()));
    }
}
