//! Facts about the network that the endpoint is in, by which it is on-fabric or not.
//!
//! Nothing here comes through our own tunnels: their interfaces are left out, and so are DNS servers and
//! gateways behind them. Otherwise a tunnel could make the endpoint look as if it were in the office.

use super::Observation;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// The network around the endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Surroundings {
    /// The interfaces, without loopback and our own.
    pub interfaces: Vec<NetworkInterface>,
    /// The default gateways.
    pub gateways: Observation<Vec<Gateway>>,
    /// The DNS servers in use.
    pub dns_servers: Observation<Vec<IpAddr>>,
    /// The leases that DHCP gave.
    pub dhcp: Observation<Vec<DhcpLease>>,
    /// Whether a tunnel of ours is up.
    pub tunnel_up: bool,
}

/// One interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkInterface {
    /// Its name.
    pub name: String,
    /// What it is made of.
    pub medium: Medium,
    /// Whether it has a link.
    pub connected: bool,
}

/// What an interface is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Medium {
    /// A cable.
    Ethernet,
    /// Wi-Fi.
    Wifi,
    /// Anything else: a bridge, a modem, another program's tunnel.
    Other,
}

/// One default gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gateway {
    /// The interface towards it.
    pub interface: String,
    /// Its address.
    pub address: IpAddr,
    /// Its hardware address, where the neighbour table has it: `aa:bb:cc:dd:ee:ff`.
    #[serde(default)]
    pub hardware_address: Option<String>,
}

/// One lease of DHCP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhcpLease {
    /// The interface that has it, where the lease says.
    #[serde(default)]
    pub interface: Option<String>,
    /// The server that gave it.
    #[serde(default)]
    pub server: Option<IpAddr>,
    /// The server's hardware address, where the neighbour table has it.
    #[serde(default)]
    pub hardware_address: Option<String>,
    /// The text of option 224, by which an administrator marks a network.
    #[serde(default)]
    pub code: Option<String>,
}
