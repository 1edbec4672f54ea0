//! The packet filter, the kernel's settings and the resolver: what needs files, programs and the
//! system's bus, and so belongs to a process that reads nothing a stranger sent.

use super::{FirewallRoom, MachineRoom, ResolverRoom, here};
use crate::network::ruleset;
use crate::network::step::{Before, Step};
use crate::network::system::{System, SystemError, Undone};
use std::path::PathBuf;

/// By which everybody asks for names where no service answers for it.
pub const RESOLVER_FILE: &str = "/etc/resolv.conf";

/// The part of the network that is the host's and not a link's.
pub struct HostSettings {
    resolver_file: PathBuf,
    /// The packet filter's tool, started and waiting for what it is to load.
    tool: Option<here::firewall::Tool>,
}

impl Default for HostSettings {
    fn default() -> Self {
        Self::with_resolver_file(PathBuf::from(RESOLVER_FILE))
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

    async fn restore(&mut self, step: &Step, before: &Before) -> Result<bool, SystemError> {
        match (step, before) {
            (Step::Firewall { table, .. }, _) => {
                if here::firewall::Firewall::stands(table).await {
                    return Ok(false);
                }
                self.load_tables(&[step]).await.map(|()| true)
            }
            (Step::Resolver(change), Before::Resolver(backend)) => {
                here::resolver::Resolver::restore(backend, change).await
            }
            // Whoever else writes these has a say in them.
            (Step::Setting { .. } | Step::Resolver(_), _) => Ok(false),
            _ => Err(elsewhere(step)),
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::network::Journal;
    use crate::network::plan::{Plan, PlannedStep};
    use crate::network::resolver::{ResolverChange, holds_ours};
    use crate::network::step::{Device, Purpose};
    use crate::network::system::{restore, settle};
    use std::fs;

    #[tokio::test]
    async fn a_resolver_s_file_that_others_wrote_over_while_connected_is_set_again() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("resolv.conf");
        fs::write(&file, "nameserver 192.0.2.53\n").unwrap();
        let change = ResolverChange {
            device: Device { name: "postern0".into(), index: 7 },
            servers: vec!["10.98.0.1".parse().unwrap()],
            routed: vec![],
            search: vec!["corp.example".into()],
            catch_all: true,
        };
        let step = PlannedStep { purpose: Purpose::Tunnel, step: Step::Resolver(change) };
        let mut host = HostSettings::with_resolver_file(file.clone());
        let mut journal = Journal::open(directory.path(), "boot").unwrap();
        let read = || fs::read_to_string(&file).unwrap();
        settle(&Plan { steps: vec![step], warnings: vec![] }, &mut journal, &mut host).await.unwrap();
        let ours = read();
        assert!(restore(&journal, |_| true, &mut host).await.is_empty(), "it stands");
        // As a program for the network does it: the whole file anew.
        fs::remove_file(&file).unwrap();
        fs::write(&file, "nameserver 192.0.2.54\n").unwrap();
        assert_eq!(restore(&journal, |_| true, &mut host).await.len(), 1);
        assert_eq!(read(), ours.replace("192.0.2.53", "192.0.2.54"));
        settle(&Plan::default(), &mut journal, &mut host).await.unwrap();
        assert_eq!(read(), "nameserver 192.0.2.54\n");
        assert!(restore(&journal, |_| true, &mut host).await.is_empty() && !holds_ours(&read()), "ours no more");
    }
}
