//! Who carries out which change of the network: links, addresses, routes and rules are NET's;
//! packet filter, kernel settings and resolver are MAIN's own, because they need files and programs.

use super::net_link::NetLink;
use crate::network::step::{Before, Step};
use crate::network::system::{System, SystemError, Undone};
use crate::platform::HostSettings;

/// Both processes' hands.
pub struct Hands {
    net: NetLink,
    host: HostSettings,
}

impl Hands {
    /// Puts both together.
    pub fn new(net: NetLink) -> Self {
        Self { net, host: HostSettings::default() }
    }
}

impl System for Hands {
    async fn look(&mut self, step: &Step) -> Result<Before, SystemError> {
        if step.is_of_links() { self.net.look(step).await } else { self.host.look(step).await }
    }

    async fn apply(&mut self, step: &Step, before: &Before) -> Result<(), SystemError> {
        if step.is_of_links() { self.net.apply(step, before).await } else { self.host.apply(step, before).await }
    }

    async fn undo(&mut self, step: &Step, before: &Before) -> Result<Undone, SystemError> {
        if step.is_of_links() { self.net.undo(step, before).await } else { self.host.undo(step, before).await }
    }
}
