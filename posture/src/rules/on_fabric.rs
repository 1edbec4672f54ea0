//! By what an administrator's own network is known.

use super::AddressRange;
use super::parameter::Text;
use crate::facts::Medium;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// What must be seen of the network around the endpoint. Kinds that are named must all be met; of the
/// entries of one kind, one suffices. To name nothing is a mistake, and unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnFabricDetection {
    /// DHCP servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dhcp_servers: Vec<DhcpServerSought>,
    /// DNS servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns_servers: Vec<AddressRange>,
    /// Whether telemetry must reach EMS, or must not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ems_connected: Option<bool>,
    /// Networks in which the endpoint has an address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subnets: Vec<SubnetSought>,
    /// Default gateways.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<GatewaySought>,
    /// Hosts that answer an echo request past every tunnel of ours.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ping_servers: Vec<IpAddr>,
    /// Addresses from which EMS sees the endpoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub public_addresses: Vec<AddressRange>,
    /// Media that are connected, or are not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub media: Vec<MediumSought>,
    /// Whether a tunnel of ours must be up, or must not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel_up: Option<bool>,
}

/// A DHCP server: each part that is named must fit one lease.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DhcpServerSought {
    /// Its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Its hardware address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hardware_address: Option<Text>,
    /// The text of option 224.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Text>,
}

/// A network in which the endpoint has an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubnetSought {
    /// Its addresses.
    pub range: AddressRange,
    /// The hardware address of the default gateway there, where it must be this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_hardware_address: Option<Text>,
}

/// A default gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewaySought {
    /// Its address.
    pub address: IpAddr,
    /// Its hardware address, where it must be this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hardware_address: Option<Text>,
}

/// A medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MediumSought {
    /// Which.
    pub medium: Medium,
    /// Whether it must be connected, or must not.
    #[serde(default = "yes")]
    pub connected: bool,
}

fn yes() -> bool {
    true
}

impl OnFabricDetection {
    /// Returns the kinds that are named, in words.
    pub fn kinds(&self) -> Vec<&'static str> {
        [
            (!self.dhcp_servers.is_empty(), "DHCP server"),
            (!self.dns_servers.is_empty(), "DNS server"),
            (self.ems_connected.is_some(), "EMS connection"),
            (!self.subnets.is_empty(), "local subnet"),
            (!self.gateways.is_empty(), "default gateway"),
            (!self.ping_servers.is_empty(), "ping server"),
            (!self.public_addresses.is_empty(), "public address"),
            (!self.media.is_empty(), "connection medium"),
            (self.tunnel_up.is_some(), "VPN tunnel"),
        ]
        .into_iter()
        .filter_map(|(named, kind)| named.then_some(kind))
        .collect()
    }
}

impl fmt::Display for OnFabricDetection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.kinds().join(", "))
    }
}
