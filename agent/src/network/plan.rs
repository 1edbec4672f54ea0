//! From what the gateway granted and the tunnel's settings to an ordered plan.
//!
//! Pure: nothing is read and nothing is changed. In policy-rule order (smaller is asked first),
//! with `P` = [`Places::priority`]:
//!
//! | rule | for | purpose |
//! |---|---|---|
//! | `P-7 from ADDRESS lookup TUNNEL` | sockets that use the tunnel's address | tunnel |
//! | `P-6 from ADDRESS prohibit` | ... which leave through the tunnel or not at all | guard |
//! | `P-5 not fwmark lookup TUNNEL`, default route passed over | granted networks win over the LAN | tunnel |
//! | `P-4 not fwmark lookup BLOCK`, default route passed over | ... also when the tunnel is gone | block |
//! | `P-2 to LAN lookup main`, default route passed over | the local network, if allowed | block or tunnel |
//! | `P not fwmark lookup TUNNEL` | everything the tunnel carries | tunnel |
//! | `P+1 not fwmark lookup BLOCK` | everything it would have carried: prohibited | block |
//!
//! All of these come before the main table, so a route that a rogue DHCP server pushes there
//! (TunnelVision, CVE-2024-3661) or a local network that claims foreign addresses (TunnelCrack)
//! changes nothing: the main table is asked only for marked sockets, and for private ranges when
//! the settings allow the local network. Gateway and EMS are excluded by the *mark* of our own
//! sockets, never by their addresses, so no other program reaches them past the tunnel.
//!
//! A family in which a full tunnel has no address is `unreachable`, so programs fall back to
//! the other family at once and nothing leaks around the tunnel.

mod draft;
mod request;
mod warning;

use crate::network::step::{Purpose, Step};
use crate::platform::Capabilities;
use draft::Draft;
use serde::{Deserialize, Serialize};

pub use request::{Block, DnsMode, Granted, Places, Routing, TunnelNetworkSettings};
pub use warning::Warning;

/// `IFNAMSIZ` of Linux without the nul at the end.
const LONGEST_DEVICE_NAME: usize = 15;
/// Each costs a route in two tables; an IKE message cannot name many more.
const MOST_NETWORKS: usize = 1024;

/// A step and what it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedStep {
    /// What it belongs to.
    pub purpose: Purpose,
    /// The change.
    pub step: Step,
}

/// Steps in the order in which they are carried out; they are undone from the last to the first.
///
/// The empty plan is the untouched system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<PlannedStep>,
    /// What a person should know about them.
    pub warnings: Vec<Warning>,
}

impl Plan {
    /// Returns the part of this plan that belongs to `purposes`.
    ///
    /// `keeping(&[Guard, Block])` is what stands after a loss, `keeping(&[Guard])` after a
    /// disconnect.
    pub fn keeping(&self, purposes: &[Purpose]) -> Self {
        let steps = self.steps.iter().filter(|planned| purposes.contains(&planned.purpose)).cloned().collect();
        Self { steps, warnings: Vec::new() }
    }

    /// Returns whether a block is part of this plan.
    pub fn blocks(&self) -> bool {
        self.steps.iter().any(|planned| planned.purpose == Purpose::Block)
    }
}

/// Why there is no plan. Nothing may be changed then, and the connection is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The gateway gave no address.
    #[error("the gateway gave no address for the tunnel")]
    NoAddress,
    /// The name of the tunnel's device could be read as something else by the tools it is told to.
    #[error("{0:?} cannot be the name of the tunnel's device: 1 to 15 letters, digits, '-', '_' or '.'")]
    DeviceName(String),
    /// More networks than anybody needs.
    #[error("{0} networks are more than the {MOST_NETWORKS} that a tunnel may have")]
    TooManyNetworks(usize),
    /// A split tunnel without networks.
    #[error("the gateway granted no network and the profile names none, so nothing would go through the tunnel")]
    NothingToRoute,
    /// The strict mode needs what is not there.
    #[error("the block `firewall` needs nftables: {0}")]
    FirewallMissing(String),
    /// The process cannot change the network.
    #[error("the network cannot be changed: {0}")]
    NotPermitted(String),
}

/// Makes the plan of an established tunnel, its guard and its block included.
pub fn plan(
    granted: &Granted,
    settings: &TunnelNetworkSettings,
    places: &Places,
    capabilities: &Capabilities,
) -> Result<Plan, PlanError> {
    if granted.addresses.is_empty() {
        return Err(PlanError::NoAddress);
    }
    let name = &granted.device.name;
    let plain = |letter: u8| letter.is_ascii_alphanumeric() || b"-_.".contains(&letter);
    if name.is_empty() || name.len() > LONGEST_DEVICE_NAME || !name.bytes().all(plain) {
        return Err(PlanError::DeviceName(name.clone()));
    }
    if granted.networks.len() > MOST_NETWORKS {
        return Err(PlanError::TooManyNetworks(granted.networks.len()));
    }
    if !capabilities.change_network {
        return Err(PlanError::NotPermitted(capabilities.reasons.join("; ")));
    }
    if settings.block == Block::Firewall && !capabilities.firewall {
        return Err(PlanError::FirewallMissing(capabilities.reasons.join("; ")));
    }
    let mut draft = Draft::new(granted, settings, places, capabilities)?;
    draft.guard();
    draft.block();
    draft.ways_past();
    draft.tunnel();
    Ok(draft.plan)
}

#[cfg(test)]
mod tests;
