//! The packet filter: not supported here yet.

use crate::network::system::{SystemError, Undone};
use crate::platform::FirewallRoom;

/// The packet filter that cannot be changed.
pub(in crate::platform) struct Firewall;

impl FirewallRoom for Firewall {
    async fn probe() -> Result<(), SystemError> {
        Err(unsupported("probing the packet filter"))
    }

    async fn load(_ruleset: &str) -> Result<(), SystemError> {
        Err(unsupported("loading packet filter rules"))
    }

    async fn remove(_table: &str) -> Result<Undone, SystemError> {
        Err(unsupported("removing packet filter rules"))
    }
}

fn unsupported(operation: &str) -> SystemError {
    SystemError::Unsupported { operation: operation.to_owned() }
}
