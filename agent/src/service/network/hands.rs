//! Who carries out which change of the network: links, addresses, routes and rules are NET's;
//! packet filter, kernel settings and resolver are MAIN's own, because they need files and programs.

use super::link::NetLink;
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

    /// Both processes look at the same time.
    async fn look_all(&mut self, steps: &[&Step]) -> Result<Vec<Before>, SystemError> {
        let links: Vec<&Step> = steps.iter().copied().filter(|step| step.is_of_links()).collect();
        let others: Vec<&Step> = steps.iter().copied().filter(|step| !step.is_of_links()).collect();
        let (links, others) = tokio::join!(self.net.look_all(&links), self.host.look_all(&others));
        let (mut links, mut others) = (links?.into_iter(), others?.into_iter());
        let seen = |step: &&Step| {
            let before = if step.is_of_links() { links.next() } else { others.next() };
            before.ok_or_else(|| unanswered(step))
        };
        steps.iter().map(seen).collect()
    }

    async fn apply(&mut self, step: &Step, before: &Before) -> Result<(), SystemError> {
        if step.is_of_links() { self.net.apply(step, before).await } else { self.host.apply(step, before).await }
    }

    /// What follows each other and is one process's goes over together.
    async fn apply_all(&mut self, steps: &[(&Step, &Before)]) -> Result<(), (usize, SystemError)> {
        let mut done: usize = 0;
        while let Some((first, before)) = steps.get(done) {
            let rest = steps.get(done..).unwrap_or_default();
            let alike = rest.iter().take_while(|(step, _)| kind(step) == kind(first)).count();
            let group = rest.get(..alike).unwrap_or_default();
            let step = match kind(first) {
                Kind::Link => {
                    self.net
                        .apply_all(group)
                        .await
                        .map_err(|(position, error)| (done.saturating_add(position), error))?;
                    alike
                }
                Kind::Table => {
                    let tables: Vec<&Step> = group.iter().map(|(step, _)| *step).collect();
                    let last = done.saturating_add(alike).saturating_sub(1);
                    self.host.load_tables(&tables).await.map_err(|error| (last, error))?;
                    alike
                }
                Kind::Other => {
                    self.host.apply(first, before).await.map_err(|error| (done, error))?;
                    1
                }
            };
            done = done.saturating_add(step);
        }
        Ok(())
    }

    fn prepare(&mut self) {
        self.host.prepare();
    }

    fn unprepare(&mut self) {
        self.host.unprepare();
    }

    async fn undo(&mut self, step: &Step, before: &Before) -> Result<Undone, SystemError> {
        if step.is_of_links() { self.net.undo(step, before).await } else { self.host.undo(step, before).await }
    }

    async fn restore(&mut self, step: &Step, before: &Before) -> Result<bool, SystemError> {
        if step.is_of_links() { self.net.restore(step, before).await } else { self.host.restore(step, before).await }
    }

    /// What is NET's goes over together: it is asked after each look at the system.
    async fn restore_all(&mut self, steps: &[(&Step, &Before)]) -> Vec<Result<bool, SystemError>> {
        let (links, others): (Vec<_>, Vec<_>) = steps.iter().copied().partition(|(step, _)| step.is_of_links());
        let (links, others) = (self.net.restore_all(&links).await, self.host.restore_all(&others).await);
        let (mut links, mut others) = (links.into_iter(), others.into_iter());
        let restored = |(step, _): &(&Step, &Before)| {
            let restored = if step.is_of_links() { links.next() } else { others.next() };
            restored.unwrap_or_else(|| Err(unanswered(step)))
        };
        steps.iter().map(restored).collect()
    }
}

/// By whom, and with what else, a step is carried out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// By NET, with its neighbours.
    Link,
    /// By the packet filter's tool, with its neighbours in one transaction.
    Table,
    /// By MAIN, alone.
    Other,
}

const fn kind(step: &Step) -> Kind {
    match step {
        Step::Firewall { .. } => Kind::Table,
        step if step.is_of_links() => Kind::Link,
        _ => Kind::Other,
    }
}

fn unanswered(step: &Step) -> SystemError {
    SystemError::Failed { operation: step.to_string(), detail: "nobody looked what stands there".to_owned() }
}
