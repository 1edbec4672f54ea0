//! What the owner is told about a tunnel that stands.

use super::control::{Carrier, EstablishedTunnel, Protection};
use super::encapsulation::Layout;
use crate::crypto::suite::EspSuite;
use crate::session::{ChildInstalled, Established};
use crate::wire::TrafficSelector;
use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};
use std::net::{IpAddr, SocketAddr};

/// The largest inner packet that is chosen without being asked for: what passes most paths with
/// all that lies around it.
const LARGEST: u16 = 1400;
/// The smallest where IPv6 is inside: what it must be able to rely on (RFC 8200 §5).
const SMALLEST_OF_IPV6: u16 = 1280;
/// The smallest else: what every host of IPv4 takes (RFC 791 §3.1).
const SMALLEST_OF_IPV4: u16 = 576;
/// The most networks that selectors are turned into; a selector may be any range of addresses.
const MOST_NETWORKS: usize = 256;

/// What is told about a CHILD SA, taken before its keys go to the data plane.
#[derive(Debug)]
pub struct Child {
    suite: EspSuite,
    remote: Vec<TrafficSelector>,
}

impl Child {
    /// Takes it.
    pub fn of(child: &ChildInstalled) -> Self {
        Self { suite: child.suite, remote: child.remote_selectors.clone() }
    }
}

/// Describes the tunnel.
pub fn describe(
    negotiated: &Established,
    child: &Child,
    carrier: Carrier,
    local: SocketAddr,
    (device, device_index): (&str, u32),
    mtu: u16,
) -> EstablishedTunnel {
    EstablishedTunnel {
        gateway: negotiated.gateway,
        other_gateways: Vec::new(),
        local,
        carrier,
        behind_nat: negotiated.nat.here,
        gateway_identity: negotiated.gateway_identity.to_string(),
        addresses: negotiated.addresses.clone(),
        dns: negotiated.dns.clone(),
        domains: negotiated.domains.clone(),
        networks: networks(&negotiated.subnets, &child.remote),
        remote_selectors: child.remote.clone(),
        mtu,
        device: device.to_owned(),
        device_index,
        protection: Protection::Esp { ike_suite: negotiated.ike_suite, esp_suite: child.suite },
        warnings: negotiated.warnings.clone(),
    }
}

/// Returns what belongs through the tunnel: the subnets that the gateway named, else its selectors.
fn networks(subnets: &[IpNet], selectors: &[TrafficSelector]) -> Vec<IpNet> {
    if !subnets.is_empty() {
        return subnets.to_vec();
    }
    let of = |selector: &TrafficSelector| -> Vec<IpNet> {
        match (selector.addresses.start(), selector.addresses.end()) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                Ipv4Subnets::new(*first, *last, 0).take(MOST_NETWORKS).map(IpNet::V4).collect()
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => {
                Ipv6Subnets::new(*first, *last, 0).take(MOST_NETWORKS).map(IpNet::V6).collect()
            }
            _ => Vec::new(),
        }
    };
    let all: Vec<IpNet> = selectors.iter().flat_map(of).take(MOST_NETWORKS).collect();
    IpNet::aggregate(&all)
}

/// Returns the size that inner packets may always have in a tunnel that stands on these addresses.
pub fn floor(addresses: &[IpNet]) -> u16 {
    let ipv6 = addresses.iter().any(|address| matches!(address, IpNet::V6(_)));
    if ipv6 { SMALLEST_OF_IPV6 } else { SMALLEST_OF_IPV4 }
}

/// Computes the largest inner packet from the room that the first hop leaves for a sealed one; `floor` is
/// the size that it is never below, fragments or not.
pub fn mtu(room: usize, layout: Layout, floor: u16) -> u16 {
    let fits = |inner: &u16| layout.sealed_length((*inner).into()) <= room;
    (floor..=LARGEST).rev().find(fits).unwrap_or(floor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(first: &str, last: &str) -> TrafficSelector {
        TrafficSelector::addresses(first.parse().unwrap(), last.parse().unwrap())
    }

    #[test]
    fn networks_are_the_subnets_or_else_the_selectors() {
        let subnets = ["10.1.0.0/16".parse().unwrap()];
        assert_eq!(networks(&subnets, &[selector("0.0.0.0", "255.255.255.255")]), subnets);
        assert_eq!(networks(&[], &[selector("0.0.0.0", "255.255.255.255")]), ["0.0.0.0/0".parse().unwrap()]);
        let odd = networks(&[], &[selector("10.0.0.1", "10.0.0.6"), selector("fd00::", "fd00::ffff")]);
        let expected = ["10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/31", "10.0.0.6/32", "fd00::/112"];
        assert_eq!(odd, expected.map(|network| network.parse::<IpNet>().unwrap()));
    }

    #[test]
    fn a_full_packet_fits_the_path_unless_that_is_too_narrow_for_what_is_inside() {
        let layout = Layout { headroom: 16, inside: 2, alignment: 4, trailer: 16 };
        let both = floor(&["10.97.0.2/32".parse().unwrap(), "fd97::2/128".parse().unwrap()]);
        let ipv4 = floor(&["10.97.0.2/32".parse().unwrap()]);
        for floor in [both, ipv4] {
            assert_eq!(mtu(1472, layout, floor), 1400);
            assert_eq!(mtu(1372, layout, floor), 1338);
            assert_eq!(layout.sealed_length(1338), 1372);
        }
        assert_eq!((mtu(1000, layout, both), mtu(1000, layout, ipv4)), (1280, 966));
        assert_eq!(layout.sealed_length(966), 1000);
        assert_eq!(mtu(400, layout, ipv4), 576);
    }
}
