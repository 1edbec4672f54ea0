//! Traffic selectors: what is offered, and whether what came back lies within (RFC 7296 §2.9).

use super::configuration::Configuration;
use crate::esp::selector::{Selector, Selectors};
use crate::wire::TrafficSelector;
use ipnet::IpNet;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Both ends of a CHILD SA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    pub local: Vec<TrafficSelector>,
    pub remote: Vec<TrafficSelector>,
}

impl Ends {
    /// Returns what the configuration asks for. Networks of a family for which no address is
    /// requested are left out: nothing could be sent to them.
    pub(super) fn wanted(configuration: &Configuration) -> Self {
        let families = configuration.virtual_addresses;
        let usable = |network: &&IpNet| match network {
            IpNet::V4(_) => families.none() || families.ipv4,
            IpNet::V6(_) => families.none() || families.ipv6,
        };
        let selectors = |networks: &[IpNet]| networks.iter().filter(usable).map(selector).collect();
        Self { local: selectors(&configuration.local_networks), remote: selectors(&configuration.remote_networks) }
    }

    /// Tells whether one end has nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.local.is_empty() || self.remote.is_empty()
    }

    /// Takes a peer's answer to an offer of these, when all of it lies within.
    pub(super) fn narrowed(&self, local: &[TrafficSelector], remote: &[TrafficSelector]) -> Option<Self> {
        let narrowed = Self { local: local.to_vec(), remote: remote.to_vec() };
        let within = all_within(local, &self.local) && all_within(remote, &self.remote);
        (within && !narrowed.is_empty()).then_some(narrowed)
    }

    /// Returns the part of a peer's offer that lies within these.
    pub(super) fn common(&self, local: &[TrafficSelector], remote: &[TrafficSelector]) -> Option<Self> {
        let common = Self { local: common(&self.local, local), remote: common(&self.remote, remote) };
        (!common.is_empty()).then_some(common)
    }

    /// Returns the form that packets are checked with.
    pub(super) fn for_packets(&self) -> Arc<Selectors> {
        let convert = |selectors: &[TrafficSelector]| selectors.iter().map(for_packets).collect();
        Arc::new(Selectors { local: convert(&self.local), remote: convert(&self.remote) })
    }
}

fn selector(network: &IpNet) -> TrafficSelector {
    TrafficSelector::addresses(network.network(), network.broadcast())
}

fn for_packets(selector: &TrafficSelector) -> Selector {
    let TrafficSelector { protocol, ports, addresses } = selector.clone();
    Selector { protocol, ports, addresses }
}

fn all_within(inner: &[TrafficSelector], outer: &[TrafficSelector]) -> bool {
    inner.iter().all(|inner| outer.iter().any(|outer| lies_within(inner, outer)))
}

/// Returns the own selectors that the peer offers as a whole, and the peer's that lie within ours.
fn common(own: &[TrafficSelector], offered: &[TrafficSelector]) -> Vec<TrafficSelector> {
    let mut common: Vec<TrafficSelector> = Vec::new();
    let covered = own.iter().filter(|own| offered.iter().any(|offered| lies_within(own, offered)));
    let inside = offered.iter().filter(|offered| own.iter().any(|own| lies_within(offered, own)));
    for selector in covered.chain(inside) {
        if !common.contains(selector) {
            common.push(selector.clone());
        }
    }
    common
}

fn lies_within(inner: &TrafficSelector, outer: &TrafficSelector) -> bool {
    let protocol = outer.protocol == 0 || outer.protocol == inner.protocol;
    // A range that runs backwards selects nothing; OPAQUE (65535..=0) lies within itself and "any".
    let any_port = *outer.ports.start() == 0 && *outer.ports.end() == u16::MAX;
    let ports = any_port || inner.ports == outer.ports || spans(&outer.ports, &inner.ports);
    protocol && ports && spans(&outer.addresses, &inner.addresses)
}

fn spans<T: PartialOrd>(outer: &RangeInclusive<T>, inner: &RangeInclusive<T>) -> bool {
    inner.start() <= inner.end() && outer.start() <= inner.start() && inner.end() <= outer.end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn range(first: &str, last: &str) -> TrafficSelector {
        TrafficSelector::addresses(first.parse::<IpAddr>().unwrap(), last.parse::<IpAddr>().unwrap())
    }

    fn everywhere() -> Ends {
        let any = vec![TrafficSelector::any_ipv4(), TrafficSelector::any_ipv6()];
        Ends { local: any.clone(), remote: any }
    }

    #[test]
    fn a_part_of_the_offer_is_accepted() {
        let local = [range("10.1.0.7", "10.1.0.7")];
        let remote = [range("10.0.0.0", "10.0.255.255"), range("2001:db8::", "2001:db8::ffff")];
        let narrowed = everywhere().narrowed(&local, &remote).unwrap();
        assert_eq!((&narrowed.local[..], &narrowed.remote[..]), (&local[..], &remote[..]));
    }

    #[test]
    fn more_than_the_offer_and_nothing_at_all_are_refused() {
        let offer = Ends { local: vec![range("10.0.0.0", "10.0.0.255")], remote: vec![TrafficSelector::any_ipv4()] };
        let any = [TrafficSelector::any_ipv4()];
        assert_eq!(offer.narrowed(&[range("10.0.0.0", "10.0.1.0")], &any), None);
        assert_eq!(offer.narrowed(&[range("10.0.0.9", "10.0.0.1")], &any), None, "it runs backwards");
        assert_eq!(offer.narrowed(&[range("10.0.0.1", "10.0.0.2")], &[TrafficSelector::any_ipv6()]), None);
        assert_eq!(offer.narrowed(&[], &any), None);
        assert_eq!(offer.narrowed(&[range("10.0.0.1", "10.0.0.2")], &[]), None);
    }

    #[test]
    fn protocol_and_ports_count_too() {
        let web = TrafficSelector { protocol: 6, ports: 443..=443, ..range("10.0.0.1", "10.0.0.1") };
        let any = range("10.0.0.0", "10.0.0.255");
        assert!(lies_within(&web, &any));
        assert!(!lies_within(&any, &web));
        let other_port = TrafficSelector { ports: 80..=443, ..web.clone() };
        assert!(!lies_within(&other_port, &web));
        let opaque = TrafficSelector { ports: RangeInclusive::new(u16::MAX, 0), ..any.clone() };
        assert!(lies_within(&opaque, &any) && !lies_within(&opaque, &web) && !lies_within(&any, &opaque));
    }

    #[test]
    fn of_a_wider_offer_the_own_part_is_taken_and_of_a_narrower_one_all() {
        let own = Ends { local: vec![range("10.0.0.7", "10.0.0.7")], remote: vec![range("10.2.0.0", "10.2.255.255")] };
        let any = [TrafficSelector::any_ipv4()];
        assert_eq!(own.common(&any, &any), Some(own.clone()));
        let narrower = [range("10.2.1.0", "10.2.1.255")];
        assert_eq!(own.common(&any, &narrower).unwrap().remote, narrower);
        assert_eq!(own.common(&any, &[range("10.3.0.0", "10.3.0.255")]), None);
    }
}
