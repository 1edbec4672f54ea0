//! From what the gateway granted and the tunnel's settings to an ordered plan.
//!
//! Pure: nothing is read and nothing is changed. In policy-rule order (smaller is asked first),
//! with `P` = [`Places::priority`]:
//!
//! | rule | for | purpose |
//! |---|---|---|
//! | `P-7 from ADDRESS lookup TUNNEL` | sockets that use the tunnel's address | tunnel |
//! | `P-6 from ADDRESS prohibit` | ... which leave through the tunnel or not at all | guard |
//! | `P-5 not fwmark lookup TUNNEL`, default route passed over | granted networks win over the LAN | tunnel |
//! | `P-4 not fwmark lookup BLOCK`, default route passed over | ... also when the tunnel is gone | block |
//! | `P-3 to EMS lookup main` | EMS stays reachable | block or tunnel |
//! | `P-2 to LAN lookup main`, default route passed over | the local network, if allowed | block or tunnel |
//! | `P not fwmark lookup TUNNEL` | everything the tunnel carries | tunnel |
//! | `P+1 not fwmark lookup BLOCK` | everything it would have carried: prohibited | block |
//!
//! All of these come before the main table, so a route that a rogue DHCP server pushes there
//! (TunnelVision, CVE-2024-3661) or a local network that claims foreign addresses (TunnelCrack)
//! changes nothing: the main table is asked only for marked sockets, for EMS, and for private
//! ranges when the settings allow the local network. The gateway is excluded by the *mark* of
//! our own sockets, never by its address, so no other program reaches it past the tunnel.
//!
//! A family in which a full tunnel has no address is `unreachable`, so programs fall back to
//! the other family at once and nothing leaks around the tunnel.

use crate::network::resolver::ResolverChange;
use crate::network::ruleset;
use crate::network::step::{
    Device, Family, FirewallMark, Mtu, Purpose, RouteTarget, RoutingTable, Rule, RuleAction, RulePriority, Step,
};
use crate::platform::Capabilities;
use ike_client::tunnel::control::EstablishedTunnel;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What stands between the protected networks and the open when the tunnel is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Block {
    /// Nothing: what went through the tunnel may leave in the clear.
    Open,
    /// Prohibiting routes, by netlink alone. Stops what asks the routing tables, which is every
    /// socket but those bound to another device (SO_BINDTODEVICE, `ping -I`) or told not to be
    /// routed (SO_DONTROUTE): for these Linux takes the destination to be on the link.
    #[default]
    ProhibitRoutes,
    /// Prohibiting routes, and nftables for the sockets that go round routes.
    Firewall,
}

/// What shall go through the tunnel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Routing {
    /// What the gateway granted: everything, or its networks.
    #[default]
    AsGranted,
    /// Everything.
    Full,
    /// These networks, or the granted ones if none are named; never everything.
    Split(Vec<IpNet>),
}

/// Which names are asked of the tunnel's servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DnsMode {
    /// All names in a full tunnel or when no domain is known, else the granted domains.
    #[default]
    Automatic,
    /// Only the known domains.
    Domains,
    /// None: the resolver stays as it is.
    Off,
}

/// The tunnel's settings as far as the network is concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelNetworkSettings {
    /// What goes through the tunnel.
    pub routing: Routing,
    /// Which names are asked there.
    pub dns: DnsMode,
    /// Domains to ask there besides the granted ones.
    pub domains: Vec<String>,
    /// Domains to append to short names. The gateway's domains are asked, not appended.
    pub search: Vec<String>,
    /// What stands when the tunnel is gone.
    pub block: Block,
    /// Whether private ranges on the local network stay reachable under a full tunnel.
    pub allow_local_network: bool,
    /// Addresses that stay reachable past the tunnel and the block: EMS, and nothing else.
    pub exempt: Vec<IpAddr>,
}

/// What the gateway granted, and the device that carries it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// The tunnel's device.
    pub device: Device,
    /// Its MTU.
    pub mtu: Mtu,
    /// The gateway's outer address and port.
    pub gateway: SocketAddr,
    /// The tunnel's own addresses.
    pub addresses: Vec<IpAddr>,
    /// The networks behind the tunnel (traffic selectors and INTERNAL_IP4_SUBNET).
    pub networks: Vec<IpNet>,
    /// The servers behind the tunnel.
    pub dns: Vec<IpAddr>,
    /// The domains that they know (INTERNAL_DNS_DOMAIN).
    pub domains: Vec<String>,
}

impl From<&EstablishedTunnel> for Granted {
    fn from(tunnel: &EstablishedTunnel) -> Self {
        Self {
            device: Device { name: tunnel.device.clone(), index: tunnel.device_index },
            mtu: Mtu(tunnel.mtu),
            gateway: tunnel.gateway,
            addresses: tunnel.addresses.iter().map(IpNet::addr).collect(),
            networks: tunnel.networks.clone(),
            dns: tunnel.dns.clone(),
            domains: tunnel.domains.clone(),
        }
    }
}

/// The numbers and names of our own places on the system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Places {
    /// The mark on the tunnel's own sockets.
    pub mark: FirewallMark,
    /// The routing table of the tunnel.
    pub tunnel: RoutingTable,
    /// The routing table of the block.
    pub block: RoutingTable,
    /// The priority of the tunnel's main rule; its neighbours from seven below to one above are
    /// taken too.
    pub priority: RulePriority,
    /// What the names of our nftables tables begin with.
    pub firewall: String,
}

impl Default for Places {
    /// Our choice of numbers that nobody else was seen to use: the mark is ASCII `Po`.
    fn default() -> Self {
        Self {
            mark: FirewallMark(0x506f),
            tunnel: RoutingTable(20591),
            block: RoutingTable(20592),
            priority: RulePriority(20591),
            firewall: "postern".to_owned(),
        }
    }
}

/// A step and what it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedStep {
    /// What it belongs to.
    pub purpose: Purpose,
    /// The change.
    pub step: Step,
}

/// Steps in the order in which they are carried out; they are undone from the last to the first.
///
/// The empty plan is the untouched system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<PlannedStep>,
    /// What a person should know about them.
    pub warnings: Vec<Warning>,
}

impl Plan {
    /// Returns the part of this plan that belongs to `purposes`.
    ///
    /// `keeping(&[Guard, Block])` is what stands after a loss, `keeping(&[Guard])` after a
    /// disconnect.
    pub fn keeping(&self, purposes: &[Purpose]) -> Self {
        let steps = self.steps.iter().filter(|planned| purposes.contains(&planned.purpose)).cloned().collect();
        Self { steps, warnings: Vec::new() }
    }

    /// Returns whether a block is part of this plan.
    pub fn blocks(&self) -> bool {
        self.steps.iter().any(|planned| planned.purpose == Purpose::Block)
    }
}

/// What a plan cannot do as well as one might expect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Warning {
    /// Everything is routed into the tunnel, but the gateway granted less and drops the rest.
    MoreThanGranted(Family),
    /// Networks of this family cannot be carried, for want of an address; they are unreachable.
    NoAddress(Family),
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
            Self::NoFirewall => formatter
                .write_str("nftables is missing: packets to the tunnel's address on other links are not dropped"),
            Self::DnsWithoutDomains => {
                formatter.write_str("the gateway named DNS servers but no domain, so they are not asked")
            }
            Self::NotDomains(count) => write!(formatter, "{count} given as DNS domains are no domain names: left out"),
        }
    }
}

/// Why there is no plan. Nothing may be changed then, and the connection is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The gateway gave no address.
    #[error("the gateway gave no address for the tunnel")]
    NoAddress,
    /// The name of the tunnel's device could be read as something else by the tools it is told to.
    #[error("{0:?} cannot be the name of the tunnel's device: 1 to 15 letters, digits, '-', '_' or '.'")]
    DeviceName(String),
    /// More networks than anybody needs.
    #[error("{0} networks are more than the {MOST_NETWORKS} that a tunnel may have")]
    TooManyNetworks(usize),
    /// A split tunnel without networks.
    #[error("the gateway granted no network and the profile names none, so nothing would go through the tunnel")]
    NothingToRoute,
    /// The strict mode needs what is not there.
    #[error("the block `firewall` needs nftables: {0}")]
    FirewallMissing(String),
    /// The process cannot change the network.
    #[error("the network cannot be changed: {0}")]
    NotPermitted(String),
}

/// Makes the plan of an established tunnel, its guard and its block included.
pub fn plan(
    granted: &Granted,
    settings: &TunnelNetworkSettings,
    places: &Places,
    capabilities: &Capabilities,
) -> Result<Plan, PlanError> {
    if granted.addresses.is_empty() {
        return Err(PlanError::NoAddress);
    }
    let name = &granted.device.name;
    let plain = |letter: u8| letter.is_ascii_alphanumeric() || b"-_.".contains(&letter);
    if name.is_empty() || name.len() > LONGEST_DEVICE_NAME || !name.bytes().all(plain) {
        return Err(PlanError::DeviceName(name.clone()));
    }
    if granted.networks.len() > MOST_NETWORKS {
        return Err(PlanError::TooManyNetworks(granted.networks.len()));
    }
    if !capabilities.change_network {
        return Err(PlanError::NotPermitted(capabilities.reasons.join("; ")));
    }
    if settings.block == Block::Firewall && !capabilities.firewall {
        return Err(PlanError::FirewallMissing(capabilities.reasons.join("; ")));
    }
    let mut draft = Draft::new(granted, settings, places, capabilities)?;
    draft.guard();
    draft.block();
    draft.ways_past();
    draft.tunnel();
    Ok(draft.plan)
}

/// The plan in the making.
struct Draft<'a> {
    granted: &'a Granted,
    settings: &'a TunnelNetworkSettings,
    places: &'a Places,
    firewall: bool,
    strict_reverse_path: bool,
    /// Whether everything goes through the tunnel.
    full: bool,
    /// What the tunnel protects, in both families, without doubles.
    protected: Vec<IpNet>,
    plan: Plan,
}

impl<'a> Draft<'a> {
    fn new(
        granted: &'a Granted,
        settings: &'a TunnelNetworkSettings,
        places: &'a Places,
        capabilities: &Capabilities,
    ) -> Result<Self, PlanError> {
        let everything_granted = granted.networks.iter().any(|network| network.prefix_len() == 0);
        let specific = || granted.networks.iter().copied().filter(|network| network.prefix_len() > 0);
        let (full, mut protected) = match &settings.routing {
            Routing::Full => (true, specific().collect()),
            Routing::AsGranted => (everything_granted, specific().collect()),
            Routing::Split(named) if named.is_empty() => (false, specific().collect()),
            Routing::Split(named) => (false, named.clone()),
        };
        if full {
            protected.extend([EVERYTHING_V4, EVERYTHING_V6]);
        }
        if protected.is_empty() {
            return Err(PlanError::NothingToRoute);
        }
        if settings.dns != DnsMode::Off {
            // A server outside the networks would be asked in the clear.
            protected.extend(granted.dns.iter().copied().map(IpNet::from));
        }
        protected = protected.iter().map(IpNet::trunc).collect();
        protected.sort_by_key(|network| (Family::of_network(network), *network));
        protected.dedup();

        let mut warnings = Vec::new();
        if !capabilities.firewall {
            warnings.push(Warning::NoFirewall);
        }
        for family in [Family::V4, Family::V6] {
            let addressed = granted.addresses.iter().any(|address| Family::of(address) == family);
            if !addressed && protected.iter().any(|network| Family::of_network(network) == family) {
                warnings.push(Warning::NoAddress(family));
            } else if full && !granted.networks.contains(&everything(family)) && addressed {
                warnings.push(Warning::MoreThanGranted(family));
            }
        }
        Ok(Self {
            granted,
            settings,
            places,
            firewall: capabilities.firewall,
            strict_reverse_path: capabilities.strict_reverse_path,
            full,
            protected,
            plan: Plan { steps: Vec::new(), warnings },
        })
    }

    /// Nothing with a source address of the tunnel leaves by another way, now or later.
    fn guard(&mut self) {
        if self.firewall {
            self.push(
                Purpose::Guard,
                Step::Firewall {
                    table: format!("{}_guard", self.places.firewall),
                    ruleset: ruleset::guard(&self.places.firewall, &self.granted.device.name, &self.granted.addresses),
                },
            );
        }
        for address in &self.granted.addresses {
            self.rule(Purpose::Guard, -6, Family::of(address), RuleAction::Prohibit, |rule| {
                rule.from = Some(IpNet::from(*address));
            });
        }
    }

    /// What the tunnel protects does not leave in the clear when the tunnel is gone.
    fn block(&mut self) {
        if self.settings.block == Block::Open {
            return;
        }
        for destination in self.protected.clone() {
            let table = self.places.block;
            self.push(Purpose::Block, Step::Route { table, destination, target: RouteTarget::Prohibit });
        }
        for family in self.families() {
            self.lookups(Purpose::Block, family, -4, 1, self.places.block);
        }
        if self.settings.block == Block::Firewall {
            self.push(
                Purpose::Block,
                Step::Firewall {
                    table: format!("{}_block", self.places.firewall),
                    ruleset: ruleset::block(&ruleset::Blocked {
                        prefix: &self.places.firewall,
                        device: &self.granted.device.name,
                        mark: self.places.mark,
                        protected: &self.protected,
                        exempt: &self.settings.exempt,
                        local: &self.local_networks(),
                    }),
                },
            );
        }
    }

    /// What may go past the tunnel and the block.
    fn ways_past(&mut self) {
        let purpose = if self.settings.block == Block::Open { Purpose::Tunnel } else { Purpose::Block };
        let main = |except_default| RuleAction::Lookup { table: RoutingTable::MAIN, except_default };
        for address in &self.settings.exempt {
            self.rule(purpose, -3, Family::of(address), main(false), |rule| rule.to = Some(IpNet::from(*address)));
        }
        for network in self.local_networks() {
            self.rule(purpose, -2, Family::of_network(&network), main(true), |rule| rule.to = Some(network));
        }
    }

    fn tunnel(&mut self) {
        let device = &self.granted.device;
        for address in &self.granted.addresses {
            self.push(Purpose::Tunnel, Step::Address { device: device.clone(), address: *address });
        }
        self.push(Purpose::Tunnel, Step::Link { device: device.clone(), mtu: self.granted.mtu });
        for destination in self.protected.clone() {
            let family = Family::of_network(&destination);
            let source = self.granted.addresses.iter().copied().find(|address| Family::of(address) == family);
            let target = match source {
                Some(_) => RouteTarget::Device { device: device.clone(), source },
                None => RouteTarget::Unreachable,
            };
            self.push(Purpose::Tunnel, Step::Route { table: self.places.tunnel, destination, target });
        }
        self.answers_under_strict_reverse_path();
        for address in &self.granted.addresses {
            let lookup = RuleAction::Lookup { table: self.places.tunnel, except_default: false };
            self.rule(Purpose::Tunnel, -7, Family::of(address), lookup, |rule| rule.from = Some(IpNet::from(*address)));
        }
        for family in self.families() {
            self.lookups(Purpose::Tunnel, family, -5, 0, self.places.tunnel);
        }
        self.resolver();
    }

    /// The kernel asks whether an answer to the gateway would leave where its packet came in, and
    /// asks without our mark: then it would be the tunnel, and the packet would be dropped.
    fn answers_under_strict_reverse_path(&mut self) {
        if !self.strict_reverse_path || !self.firewall || !self.granted.gateway.is_ipv4() {
            return;
        }
        self.push(
            Purpose::Tunnel,
            Step::Firewall {
                table: format!("{}_answers", self.places.firewall),
                ruleset: ruleset::answers(&self.places.firewall, self.granted.gateway.ip(), self.places.mark),
            },
        );
        self.push(
            Purpose::Tunnel,
            Step::Setting { name: "net/ipv4/conf/all/src_valid_mark".to_owned(), value: "1".to_owned() },
        );
    }

    fn resolver(&mut self) {
        if self.settings.dns == DnsMode::Off || self.granted.dns.is_empty() {
            return;
        }
        // Names of the gateway end up in a file that programs parse: only names go in.
        let mut routed = Vec::new();
        let mut not_domains = 0_usize;
        for domain in self.granted.domains.iter().chain(&self.settings.domains).chain(&self.settings.search) {
            match domain_name(domain) {
                Some(name) if routed.contains(&name) => {}
                Some(name) => routed.push(name),
                None => not_domains = not_domains.saturating_add(1),
            }
        }
        if not_domains > 0 {
            self.plan.warnings.push(Warning::NotDomains(not_domains));
        }
        let catch_all = self.settings.dns == DnsMode::Automatic && (self.full || routed.is_empty());
        if !catch_all && routed.is_empty() {
            self.plan.warnings.push(Warning::DnsWithoutDomains);
            return;
        }
        self.push(
            Purpose::Tunnel,
            Step::Resolver(ResolverChange {
                device: self.granted.device.clone(),
                servers: self.granted.dns.clone(),
                routed,
                search: self.settings.search.iter().filter_map(|domain| domain_name(domain)).collect(),
                catch_all,
            }),
        );
    }

    /// A table is asked twice when something may pass in between: first without its default.
    fn lookups(&mut self, purpose: Purpose, family: Family, early: i8, late: i8, table: RoutingTable) {
        if self.something_passes(family) {
            self.marked_lookup(purpose, family, early, table, true);
        }
        self.marked_lookup(purpose, family, late, table, false);
    }

    fn marked_lookup(&mut self, purpose: Purpose, family: Family, at: i8, table: RoutingTable, except_default: bool) {
        let mark = self.places.mark;
        self.rule(purpose, at, family, RuleAction::Lookup { table, except_default }, |rule| {
            rule.unless_mark = Some(mark);
        });
    }

    fn rule(
        &mut self,
        purpose: Purpose,
        at: i8,
        family: Family,
        action: RuleAction,
        conditions: impl FnOnce(&mut Rule),
    ) {
        let priority = RulePriority(self.places.priority.0.saturating_add_signed(i32::from(at)));
        let mut rule = Rule { priority, family, unless_mark: None, from: None, to: None, action };
        conditions(&mut rule);
        self.push(purpose, Step::Rule(rule));
    }

    fn push(&mut self, purpose: Purpose, step: Step) {
        self.plan.steps.push(PlannedStep { purpose, step });
    }

    /// Returns the families in which the tunnel protects something.
    fn families(&self) -> Vec<Family> {
        [Family::V4, Family::V6]
            .into_iter()
            .filter(|family| self.protected.iter().any(|network| Family::of_network(network) == *family))
            .collect()
    }

    fn something_passes(&self, family: Family) -> bool {
        self.settings.exempt.iter().any(|address| Family::of(address) == family)
            || self.local_networks().iter().any(|network| Family::of_network(network) == family)
    }

    /// Returns the local ranges that may pass a full tunnel: link-local IPv6 always, because it
    /// cannot leave the link; private ranges when allowed. Never what the local network claims.
    fn local_networks(&self) -> Vec<IpNet> {
        if !self.full {
            return Vec::new();
        }
        let mut networks = vec![LINK_LOCAL_V6];
        if self.settings.allow_local_network {
            networks.extend(PRIVATE);
        }
        networks
    }
}

/// Returns `text` as a domain name in lower case without the dot at its end, if it is one
/// (RFC 1035's sizes; letters, digits, `-` and `_`).
fn domain_name(text: &str) -> Option<String> {
    let name = text.trim_end_matches('.').to_ascii_lowercase();
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|letter| letter.is_ascii_alphanumeric() || letter == b'-' || letter == b'_')
    };
    (name.len() <= 253 && name.split('.').all(label)).then_some(name)
}

/// `IFNAMSIZ` of Linux without the nul at the end.
const LONGEST_DEVICE_NAME: usize = 15;
/// Each costs a route in two tables; an IKE message cannot name many more.
const MOST_NETWORKS: usize = 1024;

const EVERYTHING_V4: IpNet = v4(0, 0, 0, 0, 0);
const EVERYTHING_V6: IpNet = v6(0, 0);
const LINK_LOCAL_V6: IpNet = v6(0xfe80, 10);
/// RFC 1918, RFC 3927 and RFC 4193.
const PRIVATE: [IpNet; 5] =
    [v4(10, 0, 0, 0, 8), v4(172, 16, 0, 0, 12), v4(192, 168, 0, 0, 16), v4(169, 254, 0, 0, 16), v6(0xfc00, 7)];

const fn everything(family: Family) -> IpNet {
    match family {
        Family::V4 => EVERYTHING_V4,
        Family::V6 => EVERYTHING_V6,
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix))
}

const fn v6(first: u16, prefix: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0), prefix))
}

#[cfg(test)]
mod tests;
