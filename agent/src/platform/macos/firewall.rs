//! The packet filter: not supported here yet.

use crate::network::system::{SystemError, Undone};
use crate::platform::FirewallRoom;

/// The packet filter that cannot be changed.
pub(in crate::platform) struct Firewall;

/// What loads rules; there is none.
pub(in crate::platform) type Tool = std::convert::Infallible;

impl FirewallRoom for Firewall {
    type Tool = Tool;

    async fn probe() -> Result<(), SystemError> {
        Err(unsupported("probing the packet filter"))
    }

    async fn load(_ruleset: &str, _tool: Option<Tool>) -> Result<(), SystemError> {
        Err(unsupported("loading packet filter rules"))
    }

    async fn remove(_table: &str) -> Result<Undone, SystemError> {
        Err(unsupported("removing packet filter rules"))
    }
}

fn unsupported(operation: &str) -> SystemError {
    SystemError::Unsupported { operation: operation.to_owned() }
}
