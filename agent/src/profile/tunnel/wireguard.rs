//! What a WireGuard tunnel has in the place of IKE's logins, algorithms and carriers.

use super::{Authentication, Carrier, Proposals, Tunnel, complain};
use crate::profile::document::Complaint;
use crate::profile::fortigate::Peer;
use crate::profile::span;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ike_client::auth::certificate::RevocationPolicy;
use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::path::PathBuf;
use std::time::Duration;

/// What a tunnel speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TunnelKind {
    /// IKEv2 and ESP.
    #[default]
    Ike,
    /// WireGuard.
    WireGuard,
}

/// The peer and the addresses of a WireGuard tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireGuard {
    /// The peer's public key, in Base64.
    pub public_key: PublicKey,
    /// The peer's UDP port.
    #[serde(default = "port")]
    pub port: u16,
    /// File with this end's private key in Base64, mode 0600; stored or asked for when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key_file: Option<PathBuf>,
    /// Whether both sides share a key beside their own: stored or asked for, unless `psk_file` is given.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub psk: bool,
    /// File with that key in Base64, mode 0600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub psk_file: Option<PathBuf>,
    /// This end's addresses inside.
    pub addresses: Vec<IpNet>,
    /// What the peer may send from, and what goes through the tunnel.
    pub allowed_ips: Vec<IpNet>,
    /// How often something is sent though there is nothing to send; none: never.
    #[serde(default, with = "optional_span", skip_serializing_if = "Option::is_none")]
    pub keepalive: Option<Duration>,
}

impl WireGuard {
    /// Tells whether a key beside the two own ones takes part.
    pub const fn uses_pre_shared_key(&self) -> bool {
        self.psk || self.psk_file.is_some()
    }
}

/// The public key of a WireGuard peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey(pub [u8; 32]);

impl std::str::FromStr for PublicKey {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let octets = STANDARD.decode(text.trim()).map_err(|_| "is not Base64")?;
        let key: [u8; 32] = octets.try_into().map_err(|_| "does not have 32 octets")?;
        if key == [0; 32] {
            return Err("is all zeros, and no key");
        }
        Ok(Self(key))
    }
}

impl std::fmt::Display for PublicKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&STANDARD.encode(self.0))
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|problem| serde::de::Error::custom(format!("`{text}` {problem}")))
    }
}

const fn port() -> u16 {
    51_820
}

/// Checks that each kind of tunnel has what it needs and nothing of the other's.
pub(super) fn check(tunnel: &Tunnel) -> Result<(), Complaint> {
    let wireguard = match (tunnel.kind, &tunnel.wireguard) {
        (TunnelKind::Ike, None) => return Ok(()),
        (TunnelKind::Ike, Some(_)) => {
            return complain("wireguard", "is for a WireGuard tunnel", "type = \"wireguard\", or no such part");
        }
        (TunnelKind::WireGuard, None) => {
            return complain(
                "wireguard",
                "is missing",
                "public_key, addresses and allowed_ips, for type = \"wireguard\"",
            );
        }
        (TunnelKind::WireGuard, Some(wireguard)) => wireguard,
    };
    let carrier = Carrier { family: tunnel.carrier.family, ..Carrier::default() };
    let for_ike = [
        ("auth", tunnel.auth == Authentication::default()),
        ("proposals", tunnel.proposals == Proposals::default()),
        ("carrier", tunnel.carrier == carrier),
        ("peer", tunnel.peer == Peer::Standard),
        ("gateway_auth", tunnel.gateway_auth.is_none()),
        ("gateway_identity", tunnel.gateway_identity.is_none()),
        ("gateway_ca_files", tunnel.gateway_ca_files.is_empty()),
        ("gateway_ca_pem", tunnel.gateway_ca_pem.is_none()),
        ("gateway_pins", tunnel.gateway_pins.is_empty()),
        ("gateway_crl_files", tunnel.gateway_crl_files.is_empty()),
        ("gateway_revocation", tunnel.gateway_revocation == RevocationPolicy::default()),
        ("gateway_sha1", tunnel.gateway_sha1),
    ];
    if let Some((element, _)) = for_ike.iter().find(|(_, fine)| !fine) {
        return complain(element, "is for an IKE tunnel", "no such part with type = \"wireguard\"");
    }
    if tunnel.gateway.all().len() > 1 {
        return complain("gateway", "has several names", "one with type = \"wireguard\": a key belongs to one peer");
    }
    if wireguard.addresses.is_empty() {
        return complain("wireguard.addresses", "is empty", "an address at least, such as \"10.0.0.2/32\"");
    }
    if wireguard.allowed_ips.is_empty() {
        return complain("wireguard.allowed_ips", "is empty", "a network at least, such as \"0.0.0.0/0\"");
    }
    if wireguard.port == 0 {
        return complain("wireguard.port", "is 0", "the peer's UDP port");
    }
    if wireguard.keepalive.is_some_and(|every| !(1..=65_535).contains(&every.as_secs())) {
        return complain("wireguard.keepalive", "is out of range", "1 to 65535 seconds, or nothing at all");
    }
    let has_ipv6 = wireguard.addresses.iter().any(|address| address.addr().is_ipv6());
    if has_ipv6 && tunnel.network.mtu.is_some_and(|mtu| mtu < 1280) {
        return complain("network.mtu", "is below 1280", "1280 at least, because there is an IPv6 address inside");
    }
    Ok(())
}

/// A duration that may be absent.
mod optional_span {
    use super::{Deserializer, Duration, Serializer, span};

    pub(super) fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => span::serialize(duration, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        span::deserialize(deserializer).map(Some)
    }
}
