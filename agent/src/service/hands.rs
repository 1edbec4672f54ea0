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

    async fn apply_all(&mut self, steps: &[(&Step, &Before)]) -> Result<(), (usize, SystemError)> {
        let mut done = 0;
        while let Some((step, before)) = steps.get(done) {
            let rest = steps.get(done..).unwrap_or_default();
            let tables: Vec<&Step> = rest.iter().map(|(step, _)| *step).take_while(|step| is_table(step)).collect();
            if tables.len() > 1 {
                let last = done.saturating_add(tables.len()).saturating_sub(1);
                self.host.load_tables(&tables).await.map_err(|error| (last, error))?;
                done = last;
            } else {
                self.apply(step, before).await.map_err(|error| (done, error))?;
            }
            done = done.saturating_add(1);
        }
        Ok(())
    }

    async fn undo(&mut self, step: &Step, before: &Before) -> Result<Undone, SystemError> {
        if step.is_of_links() { self.net.undo(step, before).await } else { self.host.undo(step, before).await }
    }

    async fn restore(&mut self, step: &Step) -> Result<bool, SystemError> {
        if step.is_of_links() { self.net.restore(step).await } else { self.host.restore(step).await }
    }
}

const fn is_table(step: &Step) -> bool {
    matches!(step, Step::Firewall { .. })
}
