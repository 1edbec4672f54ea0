//! The packet filter, the kernel's settings and the resolver: what needs files, programs and the
//! system's bus, and so belongs to a process that reads nothing a stranger sent.

use super::{FirewallRoom, MachineRoom, ResolverRoom, here};
use crate::network::ruleset;
use crate::network::step::{Before, Step};
use crate::network::system::{System, SystemError, Undone};
use std::path::PathBuf;

/// The part of the network that is the host's and not a link's.
pub struct HostSettings {
    resolver_file: PathBuf,
    /// The packet filter's tool, started and waiting for what it is to load.
    tool: Option<here::firewall::Tool>,
}

impl Default for HostSettings {
    fn default() -> Self {
        Self::with_resolver_file(PathBuf::from("/etc/resolv.conf"))
    }
}

impl HostSettings {
    /// Takes `file` for the resolver's file where no service owns it.
    pub const fn with_resolver_file(file: PathBuf) -> Self {
        Self { resolver_file: file, tool: None }
    }

    /// Loads tables of the packet filter in one transaction: all of them, or none. Where none of them stands
    /// that is quick; those that do are replaced.
    ///
    /// # Errors
    /// The system's; a step that is no table.
    pub async fn load_tables(&mut self, steps: &[&Step]) -> Result<(), SystemError> {
        let (mut replacing, mut fresh) = (String::new(), Some(String::new()));
        for step in steps {
            let Step::Firewall { table, ruleset } = step else { return Err(elsewhere(step)) };
            replacing.push_str(ruleset);
            replacing.push('\n');
            fresh = fresh.zip(ruleset::into_empty_place(table, ruleset)).map(|(fresh, next)| fresh + &next + "\n");
        }
        if let Some(fresh) = fresh
            && here::firewall::Firewall::load(&fresh, self.tool.take()).await.is_ok()
        {
            return Ok(());
        }
        here::firewall::Firewall::load(&replacing, None).await
    }
}

/// A step for [`super::Links`] is refused here.
fn elsewhere(step: &Step) -> SystemError {
    SystemError::NotPermitted { operation: step.to_string(), detail: "not by this process".to_owned() }
}

impl System for HostSettings {
    async fn look(&mut self, step: &Step) -> Result<Before, SystemError> {
        match step {
            // The name is ours: what stands there is a leftover of ours and is replaced.
            Step::Firewall { .. } => Ok(Before::Absent),
            Step::Setting { name, value } => {
                let standing = here::machine::Machine::read_setting(name)?;
                Ok(if standing == *value { Before::Present } else { Before::Value(standing) })
            }
            Step::Resolver(_) => Ok(Before::Resolver(here::resolver::Resolver::backend(&self.resolver_file).await?)),
            _ => Err(elsewhere(step)),
        }
    }

    async fn apply(&mut self, step: &Step, before: &Before) -> Result<(), SystemError> {
        match (step, before) {
            (_, Before::Present) => Ok(()),
            (Step::Firewall { .. }, _) => self.load_tables(&[step]).await,
            (Step::Setting { name, value }, _) => here::machine::Machine::write_setting(name, value),
            (Step::Resolver(change), Before::Resolver(backend)) => {
                here::resolver::Resolver::apply(backend, change).await
            }
            (Step::Resolver(_), _) => Err(SystemError::Failed {
                operation: step.to_string(),
                detail: "nobody looked who answers for the resolver".to_owned(),
            }),
            _ => Err(elsewhere(step)),
        }
    }

    fn prepare(&mut self) {
        self.tool = here::firewall::Firewall::prepare();
    }

    fn unprepare(&mut self) {
        self.tool = None;
    }

    async fn undo(&mut self, step: &Step, before: &Before) -> Result<Undone, SystemError> {
        match (step, before) {
            (_, Before::Present) => Ok(Undone::LeftToOthers),
            (Step::Firewall { table, .. }, _) => here::firewall::Firewall::remove(table).await,
            (Step::Setting { name, value }, Before::Value(earlier)) => {
                if here::machine::Machine::read_setting(name)? != *value {
                    return Ok(Undone::LeftToOthers);
                }
                here::machine::Machine::write_setting(name, earlier).map(|()| Undone::Removed)
            }
            (Step::Resolver(change), Before::Resolver(backend)) => {
                here::resolver::Resolver::undo(backend, change).await
            }
            (Step::Setting { .. } | Step::Resolver(_), _) => Ok(Undone::AlreadyGone),
            _ => Err(elsewhere(step)),
        }
    }

    async fn restore(&mut self, step: &Step) -> Result<bool, SystemError> {
        match step {
            Step::Firewall { table, .. } => {
                if here::firewall::Firewall::stands(table).await {
                    return Ok(false);
                }
                self.load_tables(&[step]).await.map(|()| true)
            }
            // Whoever else writes these has a say in them.
            Step::Setting { .. } | Step::Resolver(_) => Ok(false),
            _ => Err(elsewhere(step)),
        }
    }
}
