//! How packets travel to the gateway.

use super::complain;
use crate::profile::document::Complaint;
use crate::profile::span;
use ike_client::tunnel::control::AddressFamily;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How packets travel to the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Carrier {
    /// UDP (RFC 3948), TCP (RFC 9329), or whichever the gateway answers on.
    pub kind: CarrierKind,
    /// Which addresses of the gateway are tried; a gateway that checks posture tags wants IPv4.
    pub family: AddressFamily,
    /// The gateway's IKE port.
    pub port: u16,
    /// The gateway's port for IKE and ESP behind NAT.
    pub nat_port: u16,
    /// Whether the first message already goes to `nat_port`, not to `port`.
    pub start_on_nat_port: bool,
    /// The gateway's TCP port.
    pub tcp_port: u16,
    /// Whether ESP is put into UDP even where no NAT is seen.
    pub force_encapsulation: bool,
    /// How many packets may overtake one another on the way: 64 to 8192.
    pub replay_window: u32,
    /// How long the gateway may be silent before it is asked whether it lives.
    #[serde(with = "span")]
    pub liveness: Duration,
}

impl Default for Carrier {
    fn default() -> Self {
        Self {
            kind: CarrierKind::Auto,
            family: AddressFamily::Any,
            port: 500,
            nat_port: 4500,
            start_on_nat_port: false,
            tcp_port: 443,
            force_encapsulation: true,
            replay_window: 1024,
            liveness: Duration::from_secs(20),
        }
    }
}

/// What carries the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CarrierKind {
    /// Datagrams; when nothing answers by them for three seconds, a TCP connection beside them.
    Auto,
    /// Datagrams.
    Udp,
    /// One TCP connection.
    Tcp,
}

impl Carrier {
    /// Checks the sizes.
    pub(super) fn check(&self) -> Result<(), Complaint> {
        if !(64..=8192).contains(&self.replay_window) {
            return complain("carrier.replay_window", "is out of range", "64 to 8192");
        }
        Ok(())
    }
}
