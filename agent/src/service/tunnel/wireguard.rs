//! From a WireGuard tunnel as written to what the engine is told.

use super::configuration::DEVICE;
use crate::network::plan::Places;
use crate::profile::Tunnel;
use crate::profile::tunnel::WireGuard;
use ike_client::tunnel::control::WireGuardConfiguration;
use std::time::Duration;

/// How long a peer may be silent: four handshakes. It says nothing to whom it does not know.
const PATIENCE: Duration = Duration::from_secs(20);

/// Makes what the engine is told; the attempt may take `limit`. No secret is touched: the engine asks.
pub fn engine(tunnel: &Tunnel, wireguard: &WireGuard, limit: Duration) -> WireGuardConfiguration {
    WireGuardConfiguration {
        gateway: tunnel.gateway.dialled().into_iter().next().unwrap_or_default(),
        family: tunnel.carrier.family,
        port: wireguard.port,
        peer_public_key: wireguard.public_key.0,
        keepalive_seconds: wireguard.keepalive.and_then(|every| u16::try_from(every.as_secs()).ok()),
        addresses: wireguard.addresses.clone(),
        dns: tunnel.network.dns_servers.clone(),
        domains: tunnel.network.domains.clone(),
        networks: wireguard.allowed_ips.clone(),
        device: tunnel.network.device.clone().unwrap_or_else(|| DEVICE.into()),
        mtu: tunnel.network.mtu,
        firewall_mark: Places::default().mark.0,
        preshared_key: wireguard.uses_pre_shared_key(),
        answer_limit: limit,
        patience: PATIENCE.min(limit),
    }
}
