//! The single changes to the system's network, as data.
//!
//! A [`Step`] says what shall be so afterwards. It crosses the pipe to the process that may
//! change the network, and is written to the journal before it is carried out; so it holds
//! everything that undoing it needs, except what was there before ([`Before`]).

use crate::network::resolver::{ResolverBackend, ResolverChange};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// The protocol number that our routes and rules carry, so that they can be told from others'.
///
/// Our choice: free in iproute2's `rt_protos` (80 is ASCII `P`).
pub const ROUTE_PROTOCOL: u8 = 80;

/// A network device, by name and by the index it had when the step was planned.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Device {
    /// Its name, as in `ip link`.
    pub name: String,
    /// Its index; a device of the same name and another index is another device.
    pub index: u32,
}

/// The largest packet that a link carries, in octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Mtu(pub u16);

/// The number of a routing table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RoutingTable(pub u32);

impl RoutingTable {
    /// The system's main table, which we consult and never change.
    pub const MAIN: Self = Self(254);
}

/// The priority of a policy rule; the smallest is asked first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RulePriority(pub u32);

/// The mark (`SO_MARK`) on the sockets that carry the tunnel itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FirewallMark(pub u32);

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Returns the family of `address`.
    pub const fn of(address: &IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// Returns the family of `network`.
    pub const fn of_network(network: &IpNet) -> Self {
        match network {
            IpNet::V4(_) => Self::V4,
            IpNet::V6(_) => Self::V6,
        }
    }
}

/// What a step belongs to; it decides when the step is undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Keeps packets with the tunnel's addresses from leaving by any other way. Outlives the
    /// tunnel, because sockets bound to its addresses do.
    Guard,
    /// Keeps what the tunnel protects from leaving in the clear. Stands until it is dismissed.
    Block,
    /// The tunnel itself: address, routes, rules, resolver.
    Tunnel,
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteTarget {
    /// Into a device, with the source address to prefer.
    Device {
        /// The device.
        device: Device,
        /// The source address for packets that have none yet.
        source: Option<IpAddr>,
    },
    /// Nowhere: the sender learns that it is administratively prohibited (EACCES).
    Prohibit,
    /// Nowhere: the sender learns that there is no way (EHOSTUNREACH) and tries another family.
    Unreachable,
}

/// What a policy rule does with the packets it matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleAction {
    /// Asks a table.
    Lookup {
        /// The table.
        table: RoutingTable,
        /// Whether to pass over the table's default route and ask the next rule instead.
        except_default: bool,
    },
    /// Refuses.
    Prohibit,
}

/// A policy rule. All the conditions that are given must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// When it is asked.
    pub priority: RulePriority,
    /// The family it stands in.
    pub family: Family,
    /// Matches only packets without this mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unless_mark: Option<FirewallMark>,
    /// Matches only packets from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<IpNet>,
    /// Matches only packets to here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<IpNet>,
    /// What it does.
    pub action: RuleAction,
}

/// One change to the system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// A nftables table of ours, loaded in one transaction.
    Firewall {
        /// The table's name, in the family `inet`.
        table: String,
        /// The table's text for `nft -f`.
        ruleset: String,
    },
    /// A route in one of our tables.
    Route {
        /// The table.
        table: RoutingTable,
        /// Where to.
        destination: IpNet,
        /// By which way.
        target: RouteTarget,
    },
    /// A policy rule.
    Rule(Rule),
    /// An address on the tunnel's device, without a route of its own.
    Address {
        /// The device.
        device: Device,
        /// The address.
        address: IpAddr,
    },
    /// The tunnel's device, brought up with this MTU.
    Link {
        /// The device.
        device: Device,
        /// The MTU.
        mtu: Mtu,
    },
    /// A kernel setting under `/proc/sys/`.
    Setting {
        /// Its path below `/proc/sys/`, with slashes.
        name: String,
        /// The value.
        value: String,
    },
    /// What the system's resolver shall ask.
    Resolver(ResolverChange),
}

impl Step {
    /// Tells whether the kernel's routing socket alone carries it out, so that the process with the
    /// tunnel's sockets can; the others need files, programs or the system's bus.
    pub const fn is_of_links(&self) -> bool {
        match self {
            Self::Route { .. } | Self::Rule(_) | Self::Address { .. } | Self::Link { .. } => true,
            Self::Firewall { .. } | Self::Setting { .. } | Self::Resolver(_) => false,
        }
    }

    /// Returns the place on the system that this step fills; of two steps in one place the
    /// later replaces the earlier.
    pub fn place(&self) -> String {
        match self {
            Self::Firewall { table, .. } => format!("firewall {table}"),
            Self::Route { table, destination, .. } => format!("route {destination} table {}", table.0),
            Self::Rule(rule) => rule.to_string(),
            Self::Address { device, address } => format!("address {address} dev {} {}", device.name, device.index),
            Self::Link { device, .. } => format!("link {} {}", device.name, device.index),
            Self::Setting { name, .. } => format!("setting {name}"),
            Self::Resolver(change) => format!("resolver {} {}", change.device.name, change.device.index),
        }
    }
}

/// What stood in a step's place before it; without it, undoing could take more than was ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Before {
    /// Nothing: undoing removes what the step made.
    Absent,
    /// The very same, made by somebody else: undoing leaves it.
    Present,
    /// Another value: undoing puts it back, unless it is no longer ours that stands there.
    Value(String),
    /// For a [`Step::Resolver`]: who answers for the resolver, found out once and then kept to.
    Resolver(ResolverBackend),
}

impl fmt::Display for RouteTarget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device { device, source: Some(source) } => write!(formatter, "dev {} src {source}", device.name),
            Self::Device { device, source: None } => write!(formatter, "dev {}", device.name),
            Self::Prohibit => formatter.write_str("prohibit"),
            Self::Unreachable => formatter.write_str("unreachable"),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = if self.family == Family::V6 { "-6 " } else { "" };
        write!(formatter, "rule {family}{}:", self.priority.0)?;
        if let Some(mark) = self.unless_mark {
            write!(formatter, " not fwmark {:#x}", mark.0)?;
        }
        if let Some(from) = self.from {
            write!(formatter, " from {from}")?;
        }
        if let Some(to) = self.to {
            write!(formatter, " to {to}")?;
        }
        match &self.action {
            RuleAction::Lookup { table, except_default } => {
                write!(formatter, " lookup {}", table.0)?;
                if *except_default {
                    formatter.write_str(" suppress_prefixlength 0")?;
                }
                Ok(())
            }
            RuleAction::Prohibit => formatter.write_str(" prohibit"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Firewall { table, .. } => write!(formatter, "nftables table inet {table}"),
            Self::Route { table, destination, target } => {
                write!(formatter, "route {destination} {target} table {}", table.0)
            }
            Self::Rule(rule) => rule.fmt(formatter),
            Self::Address { device, address } => write!(formatter, "address {address} dev {}", device.name),
            Self::Link { device, mtu } => write!(formatter, "link {} up mtu {}", device.name, mtu.0),
            Self::Setting { name, value } => write!(formatter, "setting {name} = {value}"),
            Self::Resolver(change) => write!(formatter, "resolver: {change}"),
        }
    }
}
