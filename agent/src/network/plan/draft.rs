//! The plan in the making: first the guard, then the block, then the tunnel in front of both.

use super::{Block, DnsMode, Granted, Places, Plan, PlanError, PlannedStep, Routing, TunnelNetworkSettings, Warning};
use crate::network::resolver::ResolverChange;
use crate::network::ruleset;
use crate::network::step::{Family, Purpose, RouteTarget, RoutingTable, Rule, RuleAction, RulePriority, Step};
use crate::platform::Capabilities;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The plan in the making.
pub(super) struct Draft<'a> {
    granted: &'a Granted,
    settings: &'a TunnelNetworkSettings,
    places: &'a Places,
    firewall: bool,
    /// What stands when the tunnel is gone: never [`Block::Strictest`], which is settled here.
    block: Block,
    strict_reverse_path: bool,
    /// Whether everything goes through the tunnel.
    full: bool,
    /// What the tunnel protects, in both families, without doubles.
    protected: Vec<IpNet>,
    pub(super) plan: Plan,
}

impl<'a> Draft<'a> {
    pub(super) fn new(
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
        let block = match settings.block {
            Block::Strictest if capabilities.firewall => Block::Firewall,
            Block::Strictest => {
                warnings.push(Warning::BlockByRoutes);
                Block::ProhibitRoutes
            }
            named => named,
        };
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
            block,
            strict_reverse_path: capabilities.strict_reverse_path,
            full,
            protected,
            plan: Plan { steps: Vec::new(), warnings },
        })
    }

    /// Nothing with a source address of the tunnel leaves by another way, now or later.
    pub(super) fn guard(&mut self) {
        for address in &self.granted.addresses {
            self.rule(Purpose::Guard, -6, Family::of(address), RuleAction::Prohibit, |rule| {
                rule.from = Some(IpNet::from(*address));
            });
        }
        // The last of the guard beside the first of the block: tables that follow each other are loaded
        // together.
        if self.firewall {
            self.push(
                Purpose::Guard,
                Step::Firewall {
                    table: format!("{}_guard", self.places.firewall),
                    ruleset: ruleset::guard(&self.places.firewall, &self.granted.device.name, &self.granted.addresses),
                },
            );
        }
    }

    /// What the tunnel protects does not leave in the clear when the tunnel is gone.
    pub(super) fn block(&mut self) {
        if self.block == Block::Open {
            return;
        }
        if self.block == Block::Firewall {
            self.push(
                Purpose::Block,
                Step::Firewall {
                    table: format!("{}_block", self.places.firewall),
                    ruleset: ruleset::block(&ruleset::Blocked {
                        prefix: &self.places.firewall,
                        device: &self.granted.device.name,
                        mark: self.places.mark,
                        protected: &self.protected,
                        local: &self.local_networks(),
                    }),
                },
            );
        }
        for destination in self.protected.clone() {
            let table = self.places.block;
            self.push(Purpose::Block, Step::Route { table, destination, target: RouteTarget::Prohibit });
        }
        for family in self.families() {
            self.lookups(Purpose::Block, family, -4, 1, self.places.block);
        }
    }

    /// What may go past the tunnel and the block.
    pub(super) fn ways_past(&mut self) {
        let purpose = if self.block == Block::Open { Purpose::Tunnel } else { Purpose::Block };
        self.answers_under_strict_reverse_path(purpose);
        let main = || RuleAction::Lookup { table: RoutingTable::MAIN, except_default: true };
        for network in self.local_networks() {
            self.rule(purpose, -2, Family::of_network(&network), main(), |rule| rule.to = Some(network));
        }
    }

    pub(super) fn tunnel(&mut self) {
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
        for address in &self.granted.addresses {
            let lookup = RuleAction::Lookup { table: self.places.tunnel, except_default: false };
            self.rule(Purpose::Tunnel, -7, Family::of(address), lookup, |rule| rule.from = Some(IpNet::from(*address)));
        }
        for family in self.families() {
            self.lookups(Purpose::Tunnel, family, -5, 0, self.places.tunnel);
        }
        self.resolver();
    }

    /// The kernel asks whether an answer to the gateway, at whichever of its addresses, or to EMS, would leave where its packet came in,
    /// and asks without our mark: then it would be the tunnel or the block, and the packet would be
    /// dropped. There is no such check for IPv6.
    fn answers_under_strict_reverse_path(&mut self, purpose: Purpose) {
        let mut senders: Vec<Ipv4Addr> = Vec::new();
        let gateways = std::iter::once(self.granted.gateway.ip()).chain(self.granted.other_gateways.iter().copied());
        for sender in gateways.chain(self.settings.answering.iter().copied()) {
            if let IpAddr::V4(sender) = sender
                && !senders.contains(&sender)
            {
                senders.push(sender);
            }
        }
        if !self.strict_reverse_path || !self.firewall || senders.is_empty() {
            return;
        }
        self.push(
            purpose,
            Step::Firewall {
                table: format!("{}_answers", self.places.firewall),
                ruleset: ruleset::answers(&self.places.firewall, &senders, self.places.mark),
            },
        );
        self.push(
            purpose,
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
        self.local_networks().iter().any(|network| Family::of_network(network) == family)
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
