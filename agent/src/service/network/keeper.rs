//! The task that owns the journal and settles the network.
//!
//! One job at a time, in the order in which they came. Without a journal that can be written
//! nothing is changed on the system.

use crate::network::journal::Record;
use crate::network::plan::{self, Granted, Places, Plan, PlannedStep, TunnelNetworkSettings};
use crate::network::step::{Purpose, Step};
use crate::network::system::{SettleError, Settled, System, restore, settle};
use crate::network::{Journal, PlanError};
use crate::platform::{self, Capabilities};
use postern_api::fault::{Fault, FaultName};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How often it is looked whether the guard is still needed.
const GUARDED: Duration = Duration::from_secs(2);

/// The answer to a job: words of warning.
pub type Reply = oneshot::Sender<Result<Vec<String>, Fault>>;

/// What the keeper is asked.
#[derive(Debug)]
pub enum Job {
    /// Whether the journal can be written.
    Check(Reply),
    /// A tunnel is being made: its network will be settled soon.
    Prepare,
    /// The network is to hold this tunnel, with guard and block under it.
    Tunnel {
        /// What the gateway granted.
        granted: Box<Granted>,
        /// What the profile says of it.
        settings: Box<TunnelNetworkSettings>,
        /// Where the answer goes.
        reply: Reply,
    },
    /// Everything is to be taken back except guard and block.
    Block(Reply),
    /// Everything is to be taken back; answers with what was.
    Nothing(Reply),
    /// What somebody else took away of what stands is to stand again.
    Restore,
    /// Of that, the tables of the packet filter alone.
    RestoreTables,
    /// What the process that changes the network can do.
    Capabilities(Capabilities),
}

/// The keeper's handle.
pub type Jobs = mpsc::UnboundedSender<Job>;

/// Owns the journal.
pub struct Keeper<S> {
    directory: PathBuf,
    journal: Option<Journal>,
    system: S,
    capabilities: Option<Capabilities>,
    places: Places,
    /// Whether the guard alone stands, because sockets still live on addresses of the tunnel.
    guards: bool,
    /// Whether it was told that somebody else writes what says where names are asked for.
    resolver_told: bool,
}

impl<S: System + Send> Keeper<S> {
    /// Keeps the journal in `directory` and changes the network through `system`.
    pub fn new(directory: PathBuf, system: S) -> Self {
        let places = Places::default();
        Self { directory, journal: None, system, capabilities: None, places, guards: false, resolver_told: false }
    }

    /// Works until every handle is dropped.
    pub async fn run(mut self, mut jobs: mpsc::UnboundedReceiver<Job>) {
        loop {
            let job = tokio::select! {
                job = jobs.recv() => job,
                () = tokio::time::sleep(GUARDED), if self.guards => {
                    self.let_go().await;
                    continue;
                }
            };
            let Some(job) = job else { return };
            match job {
                Job::Check(reply) => {
                    let checked =
                        self.journal().and_then(|journal| journal.check_writable().map_err(|e| unwritable(&e)));
                    let _ = reply.send(checked.map(|()| Vec::new()));
                }
                Job::Prepare => self.system.prepare(),
                Job::Tunnel { granted, settings, reply } => {
                    let outcome = self.tunnel(&granted, &settings).await;
                    self.system.unprepare();
                    let _ = reply.send(outcome);
                }
                Job::Block(reply) => {
                    self.system.unprepare();
                    let outcome = self.block().await;
                    let _ = reply.send(outcome);
                }
                Job::Nothing(reply) => {
                    self.system.unprepare();
                    let outcome = self.nothing().await;
                    let _ = reply.send(outcome);
                }
                Job::Restore => self.restore(|_| true).await,
                Job::RestoreTables => self.restore(|step| matches!(step, Step::Firewall { .. })).await,
                Job::Capabilities(capabilities) => self.capabilities = Some(capabilities),
            }
        }
    }

    async fn tunnel(&mut self, granted: &Granted, settings: &TunnelNetworkSettings) -> Result<Vec<String>, Fault> {
        let Some(capabilities) = self.capabilities.clone() else {
            return Err(Fault::new(
                FaultName::SystemChangeFailed,
                "",
                "the network process is not ready",
                "connect again",
            ));
        };
        let held = platform::addresses_besides(&granted.device.name).unwrap_or_else(|error| {
            tracing::warn!(%error, "the machine's own addresses cannot be told");
            Vec::new()
        });
        if let Some(address) = taken(granted, &held) {
            let detail = format!("failed: the gateway gave {address}, which is not its to give");
            let next = "ask the gateway's administrator; do not use this gateway until he knows why";
            return Err(Fault::new(FaultName::AddressUnavailable, "", detail, next));
        }
        let plan = plan::plan(granted, settings, &self.places, &capabilities).map_err(|error| of_plan(&error))?;
        let mut warnings: Vec<String> = plan.warnings.iter().map(ToString::to_string).collect();
        warnings.extend(words(&self.settle(&plan).await?));
        self.guards = false;
        self.resolver_told = false;
        self.forget_lost_with_boot();
        Ok(warnings)
    }

    /// Keeps guard and block, and sets them up again where a boot took them.
    async fn block(&mut self) -> Result<Vec<String>, Fault> {
        let lost: Vec<PlannedStep> = self.journal()?.lost_with_boot().iter().map(planned).collect();
        if !lost.is_empty() {
            tracing::warn!("the block of an earlier boot is set up again");
        }
        let standing = self.standing().steps;
        let steps = lost.into_iter().chain(standing).collect();
        let block = Plan { steps, warnings: Vec::new() }.keeping(&[Purpose::Guard, Purpose::Block]);
        let settled = self.settle(&block).await?;
        self.guards = false;
        self.forget_lost_with_boot();
        Ok(words(&settled))
    }

    /// Sets up again what somebody else took away.
    async fn restore(&mut self, which: impl Fn(&Step) -> bool) {
        let Some(journal) = &self.journal else { return };
        for (step, outcome) in restore(journal, which, &mut self.system).await {
            // Whoever writes the resolver's file does so again and again: once for a tunnel is enough.
            if matches!(step, Step::Resolver(_)) && std::mem::replace(&mut self.resolver_told, true) {
                tracing::debug!(%step, ?outcome, "somebody wrote over this again");
                continue;
            }
            match outcome {
                Ok(()) => tracing::warn!(%step, "somebody took this away: it is set up again"),
                Err(error) => tracing::warn!(%step, %error, "whether this still stands cannot be told"),
            }
        }
    }

    /// Takes everything back; the guard last, when nothing can send from the tunnel's addresses.
    async fn withdraw(&mut self) -> Result<Settled, Fault> {
        let guard = self.standing().keeping(&[Purpose::Guard]);
        // With the addresses their connections end.
        let first = self.settle(&guard).await?;
        let living = living_on(&guard);
        self.guards = living > 0;
        if self.guards {
            tracing::warn!(
                sockets = living,
                "programs still hold the tunnel's addresses: the guard stands until they let go"
            );
            return Ok(first);
        }
        let mut settled = self.settle(&Plan::default()).await?;
        settled.left_to_others.extend(first.left_to_others);
        Ok(settled)
    }

    /// Looks whether the guard is still needed.
    async fn let_go(&mut self) {
        if living_on(&self.standing().keeping(&[Purpose::Guard])) > 0 {
            return;
        }
        self.guards = false;
        match self.settle(&Plan::default()).await {
            Ok(_) => tracing::info!("nothing holds the tunnel's addresses any more: the guard is taken back"),
            Err(fault) => tracing::error!(%fault, "the guard cannot be taken back"),
        }
    }

    fn forget_lost_with_boot(&mut self) {
        if let Some(Err(error)) = self.journal.as_mut().map(Journal::forget_lost_with_boot) {
            tracing::warn!(%error, "the journal of an earlier boot stays");
        }
    }

    async fn nothing(&mut self) -> Result<Vec<String>, Fault> {
        let standing = self.standing();
        let settled = self.withdraw().await?;
        self.forget_lost_with_boot();
        if let Some((step, error)) = settled.failed.first() {
            let detail = format!("could not be taken back: {step} ({error})");
            return Err(Fault::new(FaultName::SystemChangeFailed, "", detail, "postern repair"));
        }
        let kept = self.standing();
        let stays = |step: &Step| kept.steps.iter().any(|planned| planned.step == *step);
        let left = |step: &Step| settled.left_to_others.contains(step) || stays(step);
        Ok(standing
            .steps
            .iter()
            .map(|planned| &planned.step)
            .filter(|step| !left(step))
            .map(ToString::to_string)
            .collect())
    }

    /// Returns what the journal says stands, as a plan.
    fn standing(&mut self) -> Plan {
        let Ok(journal) = self.journal() else { return Plan::default() };
        Plan { steps: journal.outstanding().iter().map(planned).collect(), warnings: Vec::new() }
    }

    async fn settle(&mut self, plan: &Plan) -> Result<Settled, Fault> {
        self.journal()?;
        let Some(journal) = self.journal.as_mut() else {
            return Err(Fault::new(FaultName::Internal, "", "the journal vanished", ""));
        };
        let settled = settle(plan, journal, &mut self.system).await.map_err(|error| match error {
            SettleError::Journal(error) => unwritable(&error),
            SettleError::System(error) => {
                Fault::new(FaultName::SystemChangeFailed, "", error.to_string(), "postern doctor")
            }
        })?;
        for (step, error) in &settled.failed {
            tracing::error!(%step, %error, "a change of the network could not be taken back");
        }
        Ok(settled)
    }

    /// Opens the journal, or tries again when that failed before.
    fn journal(&mut self) -> Result<&mut Journal, Fault> {
        if self.journal.is_none() {
            let boot = platform::boot().map_err(|error| unwritable(&error))?;
            self.journal = Some(Journal::open(&self.directory, &boot).map_err(|error| unwritable(&error))?);
        }
        self.journal.as_mut().ok_or_else(|| Fault::new(FaultName::Internal, "", "the journal vanished", ""))
    }
}

/// Finds an address given for the tunnel that is this machine's already, or the gateway's own: with it
/// would go everything that the machine does by that address, also when the tunnel is taken down.
fn taken(granted: &Granted, held: &[IpAddr]) -> Option<IpAddr> {
    let foreign = |address: &&IpAddr| held.contains(address) || **address == granted.gateway.ip();
    granted.addresses.iter().find(foreign).copied()
}

fn planned(record: &Record) -> PlannedStep {
    PlannedStep { purpose: record.purpose, step: record.after.clone() }
}

/// Returns how many sockets could send from the addresses that a guard is for.
fn living_on(guard: &Plan) -> usize {
    let addresses = guard.steps.iter().filter_map(|planned| match &planned.step {
        Step::Rule(rule) => rule.from.map(|from| from.addr()),
        _ => None,
    });
    let living = addresses.map(|address| {
        platform::sockets_living_on(&address).unwrap_or_else(|error| {
            tracing::warn!(%error, %address, "the sockets of the tunnel's address cannot be counted");
            0
        })
    });
    living.sum()
}

fn words(settled: &Settled) -> Vec<String> {
    let left = settled.left_to_others.iter().map(|step| format!("left to others: {step}"));
    left.chain(settled.failed.iter().map(|(step, error)| format!("not taken back: {step} ({error})"))).collect()
}

fn unwritable(error: &impl std::fmt::Display) -> Fault {
    Fault::new(
        FaultName::StateUnwritable,
        "",
        format!("nothing was changed: {error}"),
        "make the state directory writable and connect again",
    )
}

fn of_plan(error: &PlanError) -> Fault {
    match error {
        PlanError::NoAddress => {
            Fault::new(FaultName::AddressUnavailable, "", error.to_string(), "ask the gateway's administrator")
        }
        PlanError::DeviceName(_) | PlanError::TooManyNetworks(_) => {
            Fault::new(FaultName::ProfileInvalid, "", error.to_string(), "mend the tunnel's profile")
        }
        PlanError::NothingToRoute => Fault::new(
            FaultName::TrafficSelectorsUnacceptable,
            "",
            error.to_string(),
            "name networks in network.routes",
        ),
        PlanError::FirewallMissing(_) | PlanError::NotPermitted(_) => {
            Fault::new(FaultName::SystemChangeFailed, "", error.to_string(), "postern doctor")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_the_machine_s_or_the_gateway_s_own_is_not_taken_from_a_gateway() {
        let given = |address: &str| Granted {
            device: crate::network::step::Device { name: "postern0".into(), index: 7 },
            mtu: crate::network::step::Mtu(1400),
            gateway: "192.0.2.1:4500".parse().unwrap(),
            other_gateways: Vec::new(),
            addresses: vec!["10.8.0.2".parse().unwrap(), address.parse().unwrap()],
            networks: vec![],
            dns: vec![],
            domains: vec![],
        };
        let held: Vec<IpAddr> = ["127.0.0.1", "192.0.2.9", "2001:db8::9"].map(|text| text.parse().unwrap()).into();
        for address in ["127.0.0.1", "192.0.2.9", "2001:db8::9", "192.0.2.1"] {
            assert_eq!(taken(&given(address), &held), Some(address.parse().unwrap()));
        }
        assert_eq!(taken(&given("10.8.0.3"), &held), None);
    }
}
