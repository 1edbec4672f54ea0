//! What a plan cannot do as well as one might expect.

use crate::network::step::Family;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a plan cannot do as well as one might expect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Warning {
    /// Everything is routed into the tunnel, but the gateway granted less and drops the rest.
    MoreThanGranted(Family),
    /// Networks of this family cannot be carried, for want of an address; they are unreachable.
    NoAddress(Family),
    /// Without nftables, the block holds for what asks the routing tables alone.
    BlockByRoutes,
    /// Without nftables, packets to the tunnel's address are not refused on other links.
    NoFirewall,
    /// The gateway named servers, but no domain says when to ask them.
    DnsWithoutDomains,
    /// So many names that were given as domains are none, and were left out.
    NotDomains(usize),
}

impl fmt::Display for Warning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = |family: &Family| if *family == Family::V4 { "IPv4" } else { "IPv6" };
        match self {
            Self::MoreThanGranted(which) => {
                write!(
                    formatter,
                    "all {} traffic goes into the tunnel, but the gateway granted only part of it",
                    family(which)
                )
            }
            Self::NoAddress(which) => {
                write!(
                    formatter,
                    "the gateway gave no {} address: what the tunnel protects there is unreachable",
                    family(which)
                )
            }
            Self::BlockByRoutes => formatter.write_str(
                "nftables is missing: the block does not hold for sockets that are bound to another interface",
            ),
            Self::NoFirewall => formatter
                .write_str("nftables is missing: packets to the tunnel's address on other links are not dropped"),
            Self::DnsWithoutDomains => {
                formatter.write_str("the gateway named DNS servers but no domain, so they are not asked")
            }
            Self::NotDomains(count) => write!(formatter, "{count} given as DNS domains are no domain names: left out"),
        }
    }
}
