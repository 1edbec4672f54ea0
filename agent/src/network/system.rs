//! Carries a plan out and takes it back.
//!
//! The three verbs of a [`System`] (look, apply, undo) may be far away: in the service the
//! journal lies with the process that may write files, and the verbs travel to the one that may
//! change the network. [`settle`] knows neither.

use crate::network::journal::{Journal, JournalError, Record};
use crate::network::plan::{Plan, PlannedStep};
use crate::network::step::{Before, Purpose, Step};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
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

    /// Looks at what stands in the places of `steps`, before any of them is carried out.
    ///
    /// # Errors
    /// The system's, of whichever step.
    fn look_all(&mut self, steps: &[&Step]) -> impl Future<Output = Result<Vec<Before>, SystemError>> + Send
    where
        Self: Send,
    {
        async move {
            let mut all = Vec::with_capacity(steps.len());
            for step in steps {
                all.push(self.look(step).await?);
            }
            Ok(all)
        }
    }

    /// Carries `step` out. What stands there already exactly as wanted is success.
    fn apply(&mut self, step: &Step, before: &Before) -> impl Future<Output = Result<(), SystemError>> + Send;

    /// Carries steps out in their order. Those that one question answers together may go together: then
    /// either all of them stand or none.
    ///
    /// # Errors
    /// With the position of the last step that was begun; those behind it were not touched.
    fn apply_all(&mut self, steps: &[(&Step, &Before)]) -> impl Future<Output = Result<(), (usize, SystemError)>> + Send
    where
        Self: Send,
    {
        async move {
            for (position, (step, before)) in steps.iter().enumerate() {
                self.apply(step, before).await.map_err(|error| (position, error))?;
            }
            Ok(())
        }
    }

    /// Makes ready what carrying steps out will need, so that nobody waits for it then. Changes nothing.
    fn prepare(&mut self) {}

    /// Gives up what was made ready and is not needed.
    fn unprepare(&mut self) {}

    /// Takes `step` back. May be called for a step that was never carried out, or twice.
    fn undo(&mut self, step: &Step, before: &Before) -> impl Future<Output = Result<Undone, SystemError>> + Send;

    /// Carries `step` out once more where somebody else took it away meanwhile, and tells whether it
    /// was gone. What stands, also in another form, is left as it is; `before` is what was in its place.
    fn restore(&mut self, step: &Step, before: &Before) -> impl Future<Output = Result<bool, SystemError>> + Send;

    /// As [`Self::restore`], of several steps; one that fails keeps none of the others from it.
    fn restore_all(&mut self, steps: &[(&Step, &Before)]) -> impl Future<Output = Vec<Result<bool, SystemError>>> + Send
    where
        Self: Send,
    {
        async move {
            let mut all = Vec::with_capacity(steps.len());
            for (step, before) in steps {
                all.push(self.restore(step, before).await);
            }
            all
        }
    }
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
/// New steps are written to the journal together, then carried out in the plan's order; then what
/// the plan no longer names is taken back, last change first. So the new guard and block stand
/// before the old ones fall. The empty plan takes everything back.
///
/// # Errors
/// When the new steps cannot be recorded, or one cannot be carried out, those that this call had
/// added are taken back and what stood before still stands.
pub async fn settle<S: System + Send>(
    plan: &Plan,
    journal: &mut Journal,
    system: &mut S,
) -> Result<Settled, SettleError> {
    let new = look_at_new(plan, journal, system).await?;
    // One for all: writing to the disk is what takes longest here.
    let tickets = journal.record(&new)?;
    let steps: Vec<(&Step, &Before)> = new.iter().map(|(_, step, before)| (step, before)).collect();
    if let Err((position, error)) = system.apply_all(&steps).await {
        let (begun, untouched) = tickets.split_at(position.saturating_add(1).min(tickets.len()));
        for ticket in untouched.iter().rev() {
            // A journal that cannot note it has it undone once more, and finds nothing to do.
            let _ = journal.undone(*ticket);
        }
        let settled = take_back(|record| begun.contains(&record.seq), journal, system).await;
        for (step, error) in &settled.failed {
            tracing::error!("could not take back {step}: {error}");
        }
        return Err(error.into());
    }
    if let Err(error) = journal.applied(&tickets) {
        take_back(|record| tickets.contains(&record.seq), journal, system).await;
        return Err(error.into());
    }
    let unwanted = |record: &Record| {
        !plan.steps.iter().any(|planned| planned.purpose == record.purpose && planned.step == record.after)
    };
    Ok(take_back(unwanted, journal, system).await)
}

/// Returns the steps of a plan that do not stand yet, each with what stands in its place.
async fn look_at_new<S: System + Send>(
    plan: &Plan,
    journal: &Journal,
    system: &mut S,
) -> Result<Vec<(Purpose, Step, Before)>, SystemError> {
    let standing = |planned: &&PlannedStep| {
        let mut records = journal.outstanding().iter();
        records.any(|record| record.applied && record.purpose == planned.purpose && record.after == planned.step)
    };
    let new: Vec<&PlannedStep> = plan.steps.iter().filter(|planned| !standing(planned)).collect();
    // What stands in a place may be ours from an earlier plan, or will be by an earlier step of this
    // one; then what counts is what stood there before *that*.
    let mut places: BTreeMap<String, Option<Before>> = BTreeMap::new();
    let mut unknown = Vec::new();
    for planned in &new {
        let place = planned.step.place();
        if places.contains_key(&place) {
            continue;
        }
        let ours = journal.outstanding().iter().rfind(|record| record.after.place() == place);
        if ours.is_none() {
            unknown.push(&planned.step);
        }
        places.insert(place, ours.map(|record| record.before.clone()));
    }
    let looked = system.look_all(&unknown).await?;
    for (step, before) in unknown.iter().zip(looked) {
        places.insert(step.place(), Some(before));
    }
    let with_before = |planned: &PlannedStep| {
        let before = places.get(&planned.step.place()).cloned().flatten();
        before.map(|before| (planned.purpose, planned.step.clone(), before)).ok_or_else(|| SystemError::Failed {
            operation: planned.step.to_string(),
            detail: "nobody looked what stands there".to_owned(),
        })
    };
    new.into_iter().map(with_before).collect()
}

/// Sets up again what the journal says stands and somebody else took away: programs that manage the
/// network drop rules and tables that they do not know, and a tunnel or a block is none without them.
///
/// Looks at those of `which` alone, and returns the steps that were gone. Nothing is written: the journal
/// names them already.
pub async fn restore<S: System + Send>(
    journal: &Journal,
    which: impl Fn(&Step) -> bool,
    system: &mut S,
) -> Vec<(Step, Result<(), SystemError>)> {
    let alone = |before: &Before| matches!(before, Before::Absent | Before::Resolver(_));
    let ours = |record: &&Record| record.applied && alone(&record.before) && which(&record.after);
    let steps: Vec<(&Step, &Before)> =
        journal.outstanding().iter().filter(ours).map(|record| (&record.after, &record.before)).collect();
    let outcomes = system.restore_all(&steps).await;
    let gone = steps.into_iter().zip(outcomes).filter_map(|((step, _), outcome)| match outcome {
        Ok(false) => None,
        Ok(true) => Some((step.clone(), Ok(()))),
        Err(error) => Some((step.clone(), Err(error))),
    });
    gone.collect()
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
