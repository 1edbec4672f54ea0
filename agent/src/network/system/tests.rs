//! Carrying out and taking back, on an imagined system that can die at any moment.

use super::*;
use crate::network::plan::PlannedStep;
use std::collections::BTreeMap;
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// What stands where, and how often the system may still be asked before it does not answer.
#[derive(Default)]
struct Imagined {
    standing: BTreeMap<String, Step>,
    applied: Vec<Step>,
    patience: Option<usize>,
    refuses: Option<Step>,
}

impl Imagined {
    /// Never returns when the patience is at its end: whoever polls has been killed.
    async fn still_alive(&mut self) {
        match self.patience.as_mut() {
            Some(0) => std::future::pending().await,
            Some(left) => *left -= 1,
            None => {}
        }
    }
}

impl System for Imagined {
    async fn look(&mut self, step: &Step) -> Result<Before, SystemError> {
        self.still_alive().await;
        Ok(if self.standing.get(&step.place()) == Some(step) { Before::Present } else { Before::Absent })
    }

    async fn apply(&mut self, step: &Step, _before: &Before) -> Result<(), SystemError> {
        self.still_alive().await;
        if self.refuses.as_ref() == Some(step) {
            return Err(SystemError::Failed { operation: step.to_string(), detail: "no".into() });
        }
        self.standing.insert(step.place(), step.clone());
        self.applied.push(step.clone());
        self.still_alive().await;
        Ok(())
    }

    async fn undo(&mut self, step: &Step, before: &Before) -> Result<Undone, SystemError> {
        self.still_alive().await;
        if *before == Before::Present {
            return Ok(Undone::LeftToOthers);
        }
        let removed = self.standing.remove(&step.place());
        self.still_alive().await;
        Ok(if removed.is_some() { Undone::Removed } else { Undone::AlreadyGone })
    }

    async fn restore(&mut self, step: &Step, _before: &Before) -> Result<bool, SystemError> {
        let gone = !self.standing.contains_key(&step.place());
        if gone {
            self.standing.insert(step.place(), step.clone());
        }
        Ok(gone)
    }
}

fn setting(number: u32, value: &str) -> Step {
    Step::Setting { name: format!("net/{number}"), value: value.into() }
}

fn plan(steps: &[(Purpose, Step)]) -> Plan {
    let steps = steps.iter().map(|(purpose, step)| PlannedStep { purpose: *purpose, step: step.clone() }).collect();
    Plan { steps, warnings: Vec::new() }
}

fn full_plan() -> Plan {
    plan(&[
        (Purpose::Guard, setting(1, "g")),
        (Purpose::Block, setting(2, "b")),
        (Purpose::Tunnel, setting(3, "t")),
        (Purpose::Tunnel, setting(4, "t")),
    ])
}

fn journal(directory: &Path) -> Journal {
    crate::network::journal::tests::reopen(directory, "boot")
}

/// Runs until the end, or until the system stops answering; then everything is dropped.
fn poll_once<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

fn places(system: &Imagined) -> Vec<&str> {
    system.standing.keys().map(String::as_str).collect()
}

#[test]
fn a_loss_uncovers_the_block_and_a_dismissal_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = journal(directory.path());
    let mut system = Imagined::default();
    poll_once(settle(&full_plan(), &mut journal, &mut system)).unwrap().unwrap();
    assert_eq!(system.applied.len(), 4);
    let blocked = full_plan().keeping(&[Purpose::Guard, Purpose::Block]);
    poll_once(settle(&blocked, &mut journal, &mut system)).unwrap().unwrap();
    assert_eq!(places(&system), ["setting net/1", "setting net/2"]);
    assert_eq!(system.applied.len(), 4, "what stands is not touched again");
    poll_once(settle(&Plan::default(), &mut journal, &mut system)).unwrap().unwrap();
    assert!(system.standing.is_empty());
    assert!(journal.outstanding().is_empty());
}

/// Dies at every question to the system, on the way up and on the way down; the next life's
/// empty plan must leave exactly what others had.
#[test]
fn whatever_the_moment_of_the_kill_the_next_life_leaves_nothing_of_ours() {
    let theirs = setting(4, "t");
    for patience in 0.. {
        let directory = tempfile::tempdir().unwrap();
        let mut system = Imagined { patience: Some(patience), ..Imagined::default() };
        system.standing.insert(theirs.place(), theirs.clone());
        system.standing.insert("setting net/9".into(), setting(9, "x"));

        let mut first = journal(directory.path());
        let up = poll_once(settle(&full_plan(), &mut first, &mut system));
        let down = match &up {
            Some(_) => poll_once(settle(&Plan::default(), &mut first, &mut system)),
            None => None,
        };
        drop(first);

        system.patience = None;
        let mut second = journal(directory.path());
        poll_once(settle(&Plan::default(), &mut second, &mut system)).unwrap().unwrap();
        assert_eq!(places(&system), ["setting net/4", "setting net/9"], "killed after {patience} questions");
        assert!(second.outstanding().is_empty());
        if down.is_some() {
            return;
        }
    }
}

#[test]
fn a_new_tunnel_replaces_an_old_block_without_a_moment_between() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = journal(directory.path());
    let mut system = Imagined::default();
    let old = plan(&[(Purpose::Guard, setting(1, "old")), (Purpose::Block, setting(2, "old"))]);
    poll_once(settle(&old, &mut journal, &mut system)).unwrap().unwrap();
    let new = plan(&[(Purpose::Guard, setting(1, "new")), (Purpose::Block, setting(3, "new"))]);
    poll_once(settle(&new, &mut journal, &mut system)).unwrap().unwrap();
    assert_eq!(places(&system), ["setting net/1", "setting net/3"]);
    assert_eq!(system.standing["setting net/1"], setting(1, "new"));
    poll_once(settle(&Plan::default(), &mut journal, &mut system)).unwrap().unwrap();
    assert!(system.standing.is_empty());
}

#[test]
fn a_step_that_is_refused_takes_its_plan_back_and_leaves_the_old_one() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = journal(directory.path());
    let mut system = Imagined::default();
    let old = plan(&[(Purpose::Block, setting(2, "old"))]);
    poll_once(settle(&old, &mut journal, &mut system)).unwrap().unwrap();
    system.refuses = Some(setting(3, "t"));
    let error = poll_once(settle(&full_plan(), &mut journal, &mut system)).unwrap().unwrap_err();
    assert!(matches!(error, SettleError::System(SystemError::Failed { .. })), "{error}");
    assert_eq!(places(&system), ["setting net/2"]);
    assert_eq!(system.standing["setting net/2"], setting(2, "old"));
}

#[test]
fn what_somebody_took_away_is_set_up_again_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = journal(directory.path());
    let mut system = Imagined::default();
    system.standing.insert("setting net/4".into(), setting(4, "t"));
    poll_once(settle(&full_plan(), &mut journal, &mut system)).unwrap().unwrap();
    assert!(poll_once(restore(&journal, |_| true, &mut system)).unwrap().is_empty(), "all of it stands");
    for place in ["setting net/2", "setting net/4"] {
        system.standing.remove(place);
    }
    let gone: Vec<Step> =
        poll_once(restore(&journal, |_| true, &mut system)).unwrap().into_iter().map(|(step, _)| step).collect();
    assert_eq!(gone, [setting(2, "b")], "the fourth was somebody else's before");
    assert_eq!(places(&system), ["setting net/1", "setting net/2", "setting net/3"]);
}

#[test]
fn what_stood_before_us_is_left_to_others() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = journal(directory.path());
    let mut system = Imagined::default();
    system.standing.insert("setting net/1".into(), setting(1, "g"));
    poll_once(settle(&full_plan(), &mut journal, &mut system)).unwrap().unwrap();
    let settled = poll_once(settle(&Plan::default(), &mut journal, &mut system)).unwrap().unwrap();
    assert_eq!(settled.left_to_others, [setting(1, "g")]);
    assert_eq!(places(&system), ["setting net/1"]);
}

#[cfg(unix)]
#[test]
fn nothing_is_changed_without_a_journal() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = journal(directory.path());
    journal.break_for_test();
    let mut system = Imagined::default();
    let error = poll_once(settle(&full_plan(), &mut journal, &mut system)).unwrap().unwrap_err();
    assert!(matches!(error, SettleError::Journal(JournalError::Unusable { .. })), "{error}");
    assert!(system.standing.is_empty() && system.applied.is_empty());
}
