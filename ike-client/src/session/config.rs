//! The configuration payload: an address is asked for, and what comes back is read (RFC 7296 §2.19,
//! RFC 8598).
//!
//! What the gateway names is only read and bounded here. Whether a route or a resolver may follow
//! from it is decided by whoever applies it.

use super::configuration::{Extensions, VirtualAddresses};
use crate::fortigate;
use crate::wire::{Configuration, ConfigurationAttribute, ConfigurationAttributeType as Kind, ConfigurationType};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// No more of each kind are taken from one gateway.
const MAXIMUM: usize = 256;
/// The longest domain name (RFC 1035 §2.3.4), with room for a final dot.
const MAXIMUM_DOMAIN: usize = 254;

/// What the gateway assigned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Assigned {
    pub addresses: Vec<IpNet>,
    pub dns: Vec<IpAddr>,
    pub domains: Vec<String>,
    pub subnets: Vec<IpNet>,
}

/// Returns the CFG_REQUEST; none when no address is wanted. Preferred addresses are asked for by name.
pub(super) fn request(
    wanted: VirtualAddresses,
    preferred: &[IpAddr],
    extensions: &Extensions,
) -> Option<Configuration> {
    if wanted.none() {
        return None;
    }
    let kinds = match extensions.configuration_request.as_slice() {
        [] => usual(wanted),
        others => others.iter().map(|kind| Kind(*kind)).collect(),
    };
    let value = |kind| match kind {
        Kind::INTERNAL_IP4_ADDRESS => preferred.iter().find_map(|address| match address {
            IpAddr::V4(address) => Some(address.octets().to_vec()),
            IpAddr::V6(_) => None,
        }),
        Kind::INTERNAL_IP6_ADDRESS => preferred.iter().find_map(|address| match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => Some([&address.octets()[..], &[128]].concat()),
        }),
        _ => None,
    };
    let attribute = |kind| ConfigurationAttribute { kind, value: value(kind).unwrap_or_default() };
    let attributes = kinds.into_iter().map(attribute).collect();
    Some(Configuration { kind: ConfigurationType::REQUEST, attributes })
}

/// Returns what is asked for where the gateway has no wishes of its own.
fn usual(wanted: VirtualAddresses) -> Vec<Kind> {
    let mut kinds = Vec::new();
    if wanted.ipv4 {
        kinds.extend([Kind::INTERNAL_IP4_ADDRESS, Kind::INTERNAL_IP4_NETMASK, Kind::INTERNAL_IP4_DNS]);
        kinds.push(Kind::INTERNAL_IP4_SUBNET);
    }
    if wanted.ipv6 {
        kinds.extend([Kind::INTERNAL_IP6_ADDRESS, Kind::INTERNAL_IP6_DNS, Kind::INTERNAL_IP6_SUBNET]);
    }
    kinds.push(Kind::INTERNAL_DNS_DOMAIN);
    kinds
}

impl Assigned {
    /// Reads a CFG_REPLY. Attributes that are unknown, malformed, empty or of a family that was not
    /// asked for are passed over; so are resolvers 0.0.0.0 and ::, which some gateways send to say
    /// that there is none, and whatever is this machine's own in any case: loopback addresses.
    pub(super) fn read(reply: &Configuration, wanted: VirtualAddresses, extensions: &Extensions) -> Self {
        let mut assigned = Self::default();
        let netmask = reply.of_type(Kind::INTERNAL_IP4_NETMASK).find_map(ConfigurationAttribute::ipv4);
        let prefix = netmask.and_then(prefix_length).unwrap_or(32);
        for attribute in &reply.attributes {
            match attribute.kind {
                Kind::INTERNAL_IP4_ADDRESS if wanted.ipv4 => {
                    let address = attribute.ipv4().filter(is_usable);
                    let network = address.and_then(|address| Ipv4Net::new(address, prefix).ok());
                    add(&mut assigned.addresses, network.map(IpNet::V4));
                }
                Kind::INTERNAL_IP6_ADDRESS if wanted.ipv6 => {
                    let network = attribute.ipv6_prefix().filter(|(address, _)| is_usable_v6(address));
                    let network = network.and_then(|(address, prefix)| Ipv6Net::new(address, prefix).ok());
                    add(&mut assigned.addresses, network.map(IpNet::V6));
                }
                Kind::INTERNAL_IP4_DNS => add(&mut assigned.dns, attribute.ipv4().filter(is_usable).map(IpAddr::V4)),
                Kind::INTERNAL_IP6_DNS => {
                    // libreswan 4.10 adds a prefix length, as for an address (RFC 7296 §3.15.1 has none).
                    let address = attribute.ipv6().or_else(|| attribute.ipv6_prefix().map(|(address, _)| address));
                    let address = address.filter(is_usable_v6);
                    add(&mut assigned.dns, address.map(IpAddr::V6));
                }
                Kind::INTERNAL_IP4_SUBNET => add(&mut assigned.subnets, ipv4_subnet(attribute).map(IpNet::V4)),
                fortigate::UNITY_SPLIT_INCLUDE if extensions.split_include => {
                    for network in fortigate::split_include(&attribute.value) {
                        add(&mut assigned.subnets, Some(IpNet::V4(network)));
                    }
                }
                Kind::INTERNAL_IP6_SUBNET => {
                    let network = attribute.ipv6_prefix();
                    let network = network.and_then(|(address, prefix)| Ipv6Net::new(address, prefix).ok());
                    add(&mut assigned.subnets, network.map(|network| IpNet::V6(network.trunc())));
                }
                Kind::INTERNAL_DNS_DOMAIN => add(&mut assigned.domains, domain(attribute)),
                _ => {}
            }
        }
        assigned
    }

    /// Tells whether everything without which no packet can be sent is there.
    pub(super) fn suffices(&self, wanted: VirtualAddresses) -> bool {
        wanted.none() || !self.addresses.is_empty()
    }
}

fn add<T: PartialEq>(list: &mut Vec<T>, item: Option<T>) {
    if let Some(item) = item
        && list.len() < MAXIMUM
        && !list.contains(&item)
    {
        list.push(item);
    }
}

fn is_usable(address: &Ipv4Addr) -> bool {
    !address.is_unspecified() && !address.is_broadcast() && !address.is_multicast() && !address.is_loopback()
}

fn is_usable_v6(address: &Ipv6Addr) -> bool {
    !address.is_unspecified() && !address.is_multicast() && !address.is_loopback()
}

fn prefix_length(netmask: Ipv4Addr) -> Option<u8> {
    // 0.0.0.0 as a netmask would put the whole world on the link.
    ipnet::ipv4_mask_to_prefix(netmask).ok().filter(|prefix| *prefix > 0)
}

fn ipv4_subnet(attribute: &ConfigurationAttribute) -> Option<Ipv4Net> {
    let (address, netmask) = attribute.value.split_at_checked(4)?;
    let address = Ipv4Addr::from(<[u8; 4]>::try_from(address).ok()?);
    let netmask = Ipv4Addr::from(<[u8; 4]>::try_from(netmask).ok()?);
    let prefix = ipnet::ipv4_mask_to_prefix(netmask).ok()?;
    Some(Ipv4Net::new(address, prefix).ok()?.trunc())
}

/// Takes a host name of letters, digits, `-`, `_` and dots; anything else could mean something to
/// a resolver's configuration file.
fn domain(attribute: &ConfigurationAttribute) -> Option<String> {
    let text = attribute.text()?;
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_harmless = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_' | b'.');
    let fits = (1..=MAXIMUM_DOMAIN).contains(&name.len()) && name.bytes().all(is_harmless);
    let labels = name.split('.').all(|label| (1..=63).contains(&label.len()) && !label.starts_with('-'));
    (fits && labels).then(|| name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: VirtualAddresses = VirtualAddresses { ipv4: true, ipv6: true };

    fn reply(attributes: &[(Kind, &[u8])]) -> Configuration {
        let attributes =
            attributes.iter().map(|(kind, value)| ConfigurationAttribute { kind: *kind, value: value.to_vec() });
        Configuration { kind: ConfigurationType::REPLY, attributes: attributes.collect() }
    }

    #[test]
    fn addresses_resolvers_domains_and_subnets_are_read() {
        let six: Vec<u8> = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[7], &[64]].concat();
        let reply = reply(&[
            (Kind::INTERNAL_IP4_ADDRESS, &[10, 9, 0, 7]),
            (Kind::INTERNAL_IP4_NETMASK, &[255, 255, 255, 0]),
            (Kind::INTERNAL_IP4_DNS, &[10, 9, 0, 1]),
            (Kind::INTERNAL_IP6_ADDRESS, &six),
            (Kind::INTERNAL_IP4_SUBNET, &[10, 2, 3, 4, 255, 255, 0, 0]),
            (Kind::INTERNAL_DNS_DOMAIN, b"Corp.Example."),
        ]);
        let assigned = Assigned::read(&reply, BOTH, &Extensions::default());
        assert_eq!(assigned.addresses, ["10.9.0.7/24".parse().unwrap(), "2001:db8::7/64".parse().unwrap()]);
        assert_eq!(assigned.dns, ["10.9.0.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(assigned.subnets, ["10.2.0.0/16".parse().unwrap()]);
        assert_eq!(assigned.domains, ["corp.example"]);
    }

    #[test]
    fn an_ipv6_resolver_may_carry_a_prefix_length() {
        let resolver = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[7]].concat();
        let libreswan = [&resolver[..], &[128]].concat();
        for value in [&resolver[..], &libreswan] {
            let assigned = Assigned::read(&reply(&[(Kind::INTERNAL_IP6_DNS, value)]), BOTH, &Extensions::default());
            assert_eq!(assigned.dns, ["2001:db8::7".parse::<IpAddr>().unwrap()]);
        }
    }

    #[test]
    fn a_missing_or_odd_netmask_means_a_single_address() {
        for netmask in [&[][..], &[0, 0, 0, 0], &[255, 0, 255, 0], &[255, 255]] {
            let reply = reply(&[(Kind::INTERNAL_IP4_ADDRESS, &[10, 9, 0, 7]), (Kind::INTERNAL_IP4_NETMASK, netmask)]);
            assert_eq!(
                Assigned::read(&reply, BOTH, &Extensions::default()).addresses,
                ["10.9.0.7/32".parse().unwrap()]
            );
        }
    }

    #[test]
    fn nonsense_is_passed_over() {
        let long = vec![b'a'; 300];
        let loopback = [&[0; 15][..], &[1, 128]].concat();
        let reply = reply(&[
            (Kind::INTERNAL_IP4_ADDRESS, &[0, 0, 0, 0]),
            (Kind::INTERNAL_IP4_ADDRESS, &[10, 9]),
            (Kind::INTERNAL_IP4_ADDRESS, &[127, 0, 0, 1]),
            (Kind::INTERNAL_IP6_ADDRESS, &loopback),
            (Kind::INTERNAL_IP4_DNS, &[127, 0, 0, 53]),
            (Kind::INTERNAL_IP6_DNS, &loopback[..16]),
            (Kind::INTERNAL_IP4_DNS, &[0, 0, 0, 0]),
            (Kind::INTERNAL_IP4_DNS, &[]),
            (Kind::INTERNAL_IP6_DNS, &[0; 16]),
            (Kind::INTERNAL_IP4_SUBNET, &[10, 0, 0, 0, 255, 0, 255, 0]),
            (Kind::INTERNAL_IP6_SUBNET, &[0; 9]),
            (Kind::INTERNAL_DNS_DOMAIN, b"evil\nnameserver 192.0.2.1"),
            (Kind::INTERNAL_DNS_DOMAIN, b"a..b"),
            (Kind::INTERNAL_DNS_DOMAIN, &long),
            (Kind::INTERNAL_DNS_DOMAIN, &[0xff]),
            (Kind(28673), b"1"),
        ]);
        let assigned = Assigned::read(&reply, BOTH, &Extensions::default());
        assert_eq!(assigned, Assigned::default());
        assert!(!assigned.suffices(BOTH));
    }

    #[test]
    fn networks_of_unity_count_only_where_the_profile_says_so() {
        let reply = reply(&[(fortigate::UNITY_SPLIT_INCLUDE, &[10, 7, 0, 0, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0])]);
        assert_eq!(Assigned::read(&reply, BOTH, &Extensions::default()).subnets, []);
        let extensions = Extensions { split_include: true, ..Extensions::default() };
        assert_eq!(Assigned::read(&reply, BOTH, &extensions).subnets, ["10.7.0.0/16".parse().unwrap()]);
    }

    #[test]
    fn an_address_that_was_not_asked_for_is_not_taken() {
        let reply = reply(&[(Kind::INTERNAL_IP4_ADDRESS, &[10, 9, 0, 7])]);
        let wanted = VirtualAddresses { ipv4: false, ipv6: true };
        assert!(!Assigned::read(&reply, wanted, &Extensions::default()).suffices(wanted));
    }
}
