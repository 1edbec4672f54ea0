//! What a plan is made of: the tunnel's settings, what the gateway granted, our places.

use crate::network::step::{Device, FirewallMark, Mtu, RoutingTable, RulePriority};
use ike_client::tunnel::control::EstablishedTunnel;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

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
    /// [`Self::Firewall`] where there is nftables, else [`Self::ProhibitRoutes`] with a warning.
    Strictest,
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
    /// EMS's addresses. Only marked sockets reach them past the tunnel and the block; named here so that
    /// a strict reverse-path check lets their answers in.
    pub answering: Vec<IpAddr>,
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
    /// Where else it said it can be reached.
    #[serde(default)]
    pub other_gateways: Vec<IpAddr>,
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
            other_gateways: tunnel.other_gateways.clone(),
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
