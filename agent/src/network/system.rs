//! Carries a plan out and takes it back.
//!
//! The three verbs of a [`System`] (look, apply, undo) may be far away: in the service the
//! journal lies with the process that may write files, and the verbs travel to the one that may
//! change the network. [`settle`] knows neither.

use crate::network::journal::{Journal, JournalError, Record, Ticket};
use crate::network::plan::Plan;
use crate::network::step::{Before, Purpose, Step};
use serde::{Deserialize, Serialize};
use std::future::Future;

/// Why the system did not take a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum SystemError {
    /// The process lacks the right.
    #[error("not permitted: {operation}: {detail}")]
    NotPermitted {
        /// What was tried.
        operation: String,
        /// What the system said.
        detail: String,
    },
    /// A program or service that the change needs is not there.
    #[error("{operation} needs {what}, which is not there")]
    Missing {
        /// What was tried.
        operation: String,
        /// What is missing.
        what: String,
    },
    /// The system refused or failed.
    #[error("{operation} failed: {detail}")]
    Failed {
        /// What was tried.
        operation: String,
        /// What the system said.
        detail: String,
    },
    /// Postern cannot do this on this operating system yet.
    #[error("{operation} is not supported on this operating system yet")]
    Unsupported {
        /// What was tried.
        operation: String,
    },
}

/// What undoing a step found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undone {
    /// Ours was there and is gone now.
    Removed,
    /// Ours was gone already.
    AlreadyGone,
    /// Somebody else has changed it meanwhile, or had it before us: left as it is.
    LeftToOthers,
}

/// A system whose network can be changed.
pub trait System {
    /// Looks at what stands in the place of `step`, before it is carried out.
    fn look(&mut self, step: &Step) -> impl Future<Output = Result<Before, SystemError>> + Send;

    /// Carries `step` out. What stands there already exactly as wanted is success.
    fn apply(&mut self, step: &Step, before: &Before) -> impl Future<Output = Result<(), SystemError>> + Send;

    /// Takes `step` back. May be called for a step that was never carried out, or twice.
    fn undo(&mut self, step: &Step, before: &Before) -> impl Future<Output = Result<Undone, SystemError>> + Send;
}

/// Why a plan was not carried out. What had been done for it has been taken back.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// The journal could not be written: nothing is changed without it.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The system did not take a change.
    #[error(transparent)]
    System(#[from] SystemError),
}

/// What taking back the steps that are no longer wanted came to.
#[derive(Debug, Default)]
pub struct Settled {
    /// Steps that were left because somebody else had changed their place meanwhile.
    pub left_to_others: Vec<Step>,
    /// Steps that could not be taken back; they stay in the journal for the next time.
    pub failed: Vec<(Step, SystemError)>,
    /// Set when the journal could not note that something was taken back. Harmless for the
    /// system: it will be taken back once more and found gone.
    pub journal: Option<JournalError>,
}

/// Makes the system hold exactly `plan` of ours, neither more nor less.
///
/// New steps are carried out in the plan's order, each written to the journal first; then what
/// the plan no longer names is taken back, last change first. So the new guard and block stand
/// before the old ones fall. The empty plan takes everything back.
///
/// # Errors
/// When a new step cannot be recorded or carried out, the steps that this call had added are
/// taken back and what stood before still stands.
pub async fn settle<S: System>(plan: &Plan, journal: &mut Journal, system: &mut S) -> Result<Settled, SettleError> {
    let mut added = Vec::new();
    for planned in &plan.steps {
        let standing = journal
            .outstanding()
            .iter()
            .any(|record| record.applied && record.purpose == planned.purpose && record.after == planned.step);
        if standing {
            continue;
        }
        if let Err(error) = add(planned.purpose, &planned.step, journal, system, &mut added).await {
            let unwanted = |record: &Record| added.contains(&record.seq);
            let settled = take_back(unwanted, journal, system).await;
            for (step, error) in &settled.failed {
                tracing::error!("could not take back {step}: {error}");
            }
            return Err(error);
        }
    }
    let unwanted = |record: &Record| {
        !plan.steps.iter().any(|planned| planned.purpose == record.purpose && planned.step == record.after)
    };
    Ok(take_back(unwanted, journal, system).await)
}

async fn add<S: System>(
    purpose: Purpose,
    step: &Step,
    journal: &mut Journal,
    system: &mut S,
    added: &mut Vec<Ticket>,
) -> Result<(), SettleError> {
    // What stands in this place may be ours from an earlier plan; then what counts is what stood
    // there before *that*.
    let place = step.place();
    let earlier = journal.outstanding().iter().rfind(|record| record.after.place() == place);
    let before = match earlier {
        Some(record) => record.before.clone(),
        None => system.look(step).await?,
    };
    let ticket = journal.record(purpose, step, &before)?;
    added.push(ticket);
    system.apply(step, &before).await?;
    journal.applied(ticket)?;
    Ok(())
}

/// Undoes the records that are `unwanted`, last one first, as far as no wanted record holds the
/// same place.
async fn take_back<S: System>(unwanted: impl Fn(&Record) -> bool, journal: &mut Journal, system: &mut S) -> Settled {
    let mut settled = Settled::default();
    let records: Vec<Record> = journal.outstanding().iter().rev().cloned().collect();
    for record in records.iter().filter(|record| unwanted(record)) {
        let place = record.after.place();
        let replaced = records.iter().find(|other| !unwanted(other) && other.after.place() == place);
        let undone = match replaced {
            // A replacement that failed half-way may have left the place in either state.
            Some(wanted) if wanted.seq < record.seq => {
                system.apply(&wanted.after, &wanted.before).await.map(|()| Undone::Removed)
            }
            Some(_) => Ok(Undone::Removed),
            None => system.undo(&record.after, &record.before).await,
        };
        match undone {
            Ok(Undone::LeftToOthers) => settled.left_to_others.push(record.after.clone()),
            Ok(Undone::Removed | Undone::AlreadyGone) => {}
            Err(error) => {
                settled.failed.push((record.after.clone(), error));
                continue;
            }
        }
        if let Err(error) = journal.undone(record.seq) {
            settled.journal = Some(error);
        }
    }
    settled
}

#[cfg(test)]
mod tests;
