//! The task that owns the journal and settles the network.
//!
//! One job at a time, in the order in which they came. Without a journal that can be written
//! nothing is changed on the system.

use crate::network::plan::{self, Granted, Places, Plan, PlannedStep, TunnelNetworkSettings};
use crate::network::step::Purpose;
use crate::network::system::{SettleError, Settled, System, settle};
use crate::network::{Journal, PlanError};
use crate::platform::{self, Capabilities};
use postern_api::fault::{Fault, FaultName};
use std::path::PathBuf;
use tokio::sync::{mpsc, oneshot};

/// The answer to a job: words of warning.
pub type Reply = oneshot::Sender<Result<Vec<String>, Fault>>;

/// What the keeper is asked.
#[derive(Debug)]
pub enum Job {
    /// Whether the journal can be written.
    Check(Reply),
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
}

impl<S: System> Keeper<S> {
    /// Keeps the journal in `directory` and changes the network through `system`.
    pub fn new(directory: PathBuf, system: S) -> Self {
        Self { directory, journal: None, system, capabilities: None, places: Places::default() }
    }

    /// Works until every handle is dropped.
    pub async fn run(mut self, mut jobs: mpsc::UnboundedReceiver<Job>) {
        while let Some(job) = jobs.recv().await {
            match job {
                Job::Check(reply) => {
                    let checked =
                        self.journal().and_then(|journal| journal.check_writable().map_err(|e| unwritable(&e)));
                    let _ = reply.send(checked.map(|()| Vec::new()));
                }
                Job::Tunnel { granted, settings, reply } => {
                    let outcome = self.tunnel(&granted, &settings).await;
                    let _ = reply.send(outcome);
                }
                Job::Block(reply) => {
                    let standing = self.standing().keeping(&[Purpose::Guard, Purpose::Block]);
                    let outcome = self.settle(&standing).await;
                    let _ = reply.send(outcome.map(|settled| words(&settled)));
                }
                Job::Nothing(reply) => {
                    let outcome = self.nothing().await;
                    let _ = reply.send(outcome);
                }
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
        let plan = plan::plan(granted, settings, &self.places, &capabilities).map_err(|error| of_plan(&error))?;
        let mut warnings: Vec<String> = plan.warnings.iter().map(ToString::to_string).collect();
        warnings.extend(words(&self.settle(&plan).await?));
        Ok(warnings)
    }

    async fn nothing(&mut self) -> Result<Vec<String>, Fault> {
        let standing = self.standing();
        let settled = self.settle(&Plan::default()).await?;
        if let Some((step, error)) = settled.failed.first() {
            let detail = format!("could not be taken back: {step} ({error})");
            return Err(Fault::new(FaultName::SystemChangeFailed, "", detail, "postern repair"));
        }
        let left = |step| settled.left_to_others.contains(step);
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
        let steps = journal.outstanding().iter();
        let steps = steps.map(|record| PlannedStep { purpose: record.purpose, step: record.after.clone() }).collect();
        Plan { steps, warnings: Vec::new() }
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
            let mut journal = Journal::open(&self.directory, &boot).map_err(|error| unwritable(&error))?;
            if let Err(error) = journal.forget_lost_with_boot() {
                tracing::warn!(%error, "the journal of an earlier boot stays");
            }
            self.journal = Some(journal);
        }
        self.journal.as_mut().ok_or_else(|| Fault::new(FaultName::Internal, "", "the journal vanished", ""))
    }
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
