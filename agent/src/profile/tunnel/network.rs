//! Routes, names and sizes inside the tunnel.

use super::complain;
use crate::profile::document::Complaint;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Routes, names and sizes inside the tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkSettings {
    /// Networks to send through the tunnel; none: those the gateway gives.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<IpNet>,
    /// Whether private ranges on the local network stay reachable under a full tunnel.
    pub allow_local: bool,
    /// Whether an IPv4 address is asked for.
    pub ipv4: bool,
    /// Whether an IPv6 address is asked for.
    pub ipv6: bool,
    /// Where names are looked up.
    pub dns: DnsSource,
    /// Resolvers instead of the gateway's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns_servers: Vec<IpAddr>,
    /// Domains that go to the tunnel's resolvers; none: those of the gateway, else all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<String>,
    /// Size of the largest packet inside; measured when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
    /// Name of the device; chosen by the system when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
}

impl Default for NetworkSettings {
    fn default() -> Self {
        Self {
            routes: Vec::new(),
            allow_local: false,
            ipv4: true,
            ipv6: false,
            dns: DnsSource::Gateway,
            dns_servers: Vec::new(),
            domains: Vec::new(),
            mtu: None,
            device: None,
        }
    }
}

/// Where names are looked up while connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DnsSource {
    /// The resolvers that the gateway gave, or `dns_servers`.
    Gateway,
    /// As before; nothing is changed.
    Off,
}

impl NetworkSettings {
    /// Checks that some address is asked for, and the size that its family needs.
    pub(super) fn check(&self) -> Result<(), Complaint> {
        if !self.ipv4 && !self.ipv6 {
            return complain("network.ipv4", "is off, and network.ipv6 too", "one of them on");
        }
        if self.mtu.is_some_and(|mtu| mtu < 576) {
            return complain("network.mtu", "is below 576", "576 to 65535");
        }
        if self.ipv6 && self.mtu.is_some_and(|mtu| mtu < 1280) {
            return complain("network.mtu", "is below 1280", "1280 at least, because network.ipv6 is on");
        }
        Ok(())
    }
}
