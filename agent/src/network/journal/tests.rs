//! Whatever the moment of the kill, the journal names what may have been changed.

use super::*;
use std::fs;

const BOOT: &str = "boot-1";

fn setting(number: u32) -> Step {
    Step::Setting { name: format!("net/{number}"), value: "1".into() }
}

fn open(directory: &Path) -> Journal {
    reopen(directory, BOOT)
}

pub(in crate::network) fn reopen(directory: &Path, boot: &str) -> Journal {
    loop {
        match Journal::open(directory, boot) {
            // A test beside this one that is starting a program holds a copy of every open file
            // between its fork and its exec, the lock on a journal just closed among them.
            Err(JournalError::InUse { .. }) => std::thread::yield_now(),
            journal => return journal.unwrap(),
        }
    }
}

fn record(journal: &mut Journal, purpose: Purpose, step: &Step, before: &Before) -> Ticket {
    journal.record(&[(purpose, step.clone(), before.clone())]).unwrap()[0]
}

fn standing(journal: &Journal) -> Vec<Step> {
    journal.outstanding().iter().map(|record| record.after.clone()).collect()
}

#[test]
fn what_was_recorded_is_outstanding_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = open(directory.path());
    let first = record(&mut journal, Purpose::Guard, &setting(1), &Before::Value("0".into()));
    let second = record(&mut journal, Purpose::Tunnel, &setting(2), &Before::Absent);
    journal.applied(&[first]).unwrap();
    drop(journal);

    let mut journal = open(directory.path());
    assert_eq!(standing(&journal), [setting(1), setting(2)]);
    assert!(journal.outstanding()[0].applied && !journal.outstanding()[1].applied);
    journal.undone(second).unwrap();
    assert!(record(&mut journal, Purpose::Tunnel, &setting(3), &Before::Absent) > second);
    drop(journal);
    assert_eq!(standing(&open(directory.path())), [setting(1), setting(3)]);
}

#[test]
fn a_journal_with_nothing_outstanding_is_empty() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = open(directory.path());
    let ticket = record(&mut journal, Purpose::Tunnel, &setting(1), &Before::Absent);
    journal.applied(&[ticket]).unwrap();
    journal.undone(ticket).unwrap();
    assert_eq!(fs::metadata(directory.path().join(FILE_NAME)).unwrap().len(), 0);
}

/// Cuts the file at every octet, as a kill or a power cut in the middle of a write would.
#[test]
fn every_change_that_was_made_before_the_cut_is_still_known_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FILE_NAME);
    let length = || usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
    let mut journal = open(directory.path());
    // From which length on the step may be standing, and from which on it is gone.
    let mut made = Vec::new();
    for number in 0..4 {
        let ticket = record(&mut journal, Purpose::Tunnel, &setting(number), &Before::Absent);
        made.push((setting(number), length(), usize::MAX));
        journal.applied(&[ticket]).unwrap();
        if number % 2 == 1 {
            made.last_mut().unwrap().2 = length();
            journal.undone(ticket).unwrap();
        }
    }
    drop(journal);
    let whole = fs::read(&path).unwrap();

    for cut in 0..=whole.len() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(FILE_NAME), &whole[..cut]).unwrap();
        let mut journal = open(directory.path());
        let known = standing(&journal);
        for (step, from, until) in &made {
            assert!(!(*from <= cut && cut <= *until) || known.contains(step), "cut at {cut}: {step} is forgotten");
        }
        assert_eq!(journal.unreadable(), 0, "a torn last line is no damage");
        record(&mut journal, Purpose::Tunnel, &setting(9), &Before::Absent);
        drop(journal);
        assert!(standing(&open(directory.path())).contains(&setting(9)), "cut at {cut}: the next record is lost");
    }
}

/// Changes that are written down together are each known from the end of their line on, and numbered in
/// their order.
#[test]
fn changes_written_down_together_are_known_as_if_one_by_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FILE_NAME);
    let mut journal = open(directory.path());
    let changes: Vec<_> = (0..4).map(|number| (Purpose::Tunnel, setting(number), Before::Absent)).collect();
    let tickets = journal.record(&changes).unwrap();
    assert!(tickets.is_sorted() && tickets.len() == 4);
    assert_eq!(journal.record(&[]).unwrap(), []);
    let whole = fs::read(&path).unwrap();
    journal.applied(&tickets[..2]).unwrap();
    drop(journal);
    let journal = open(directory.path());
    let applied: Vec<bool> = journal.outstanding().iter().map(|record| record.applied).collect();
    assert_eq!(applied, [true, true, false, false]);
    drop(journal);
    let lines: Vec<usize> = whole.iter().zip(1..).filter(|(octet, _)| **octet == b'\n').map(|(_, end)| end).collect();
    for cut in 0..=whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        // The first line names the boot.
        let known = lines.iter().skip(1).filter(|end| **end <= cut).count();
        assert_eq!(open(directory.path()).outstanding().len(), known, "cut at {cut}");
    }
}

#[test]
fn damage_in_the_middle_costs_one_line_and_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = open(directory.path());
    for number in 0..3 {
        record(&mut journal, Purpose::Tunnel, &setting(number), &Before::Absent);
    }
    drop(journal);
    let path = directory.path().join(FILE_NAME);
    let damaged = fs::read_to_string(&path).unwrap().replacen("net/1", "net\u{0}1\"", 1);
    fs::write(&path, damaged).unwrap();
    let journal = open(directory.path());
    assert_eq!(standing(&journal), [setting(0), setting(2)]);
    assert_eq!(journal.unreadable(), 1);
}

#[test]
fn another_boot_keeps_the_resolver_and_gives_the_rest_as_lost() {
    use crate::network::resolver::{ResolverBackend, ResolverChange};
    use crate::network::step::Device;
    let directory = tempfile::tempdir().unwrap();
    let resolver = Step::Resolver(ResolverChange {
        device: Device { name: "postern0".into(), index: 3 },
        servers: vec!["10.98.0.1".parse().unwrap()],
        routed: vec![],
        search: vec![],
        catch_all: true,
    });
    let backend = Before::Resolver(ResolverBackend::File("/etc/resolv.conf".into()));
    let mut journal = open(directory.path());
    record(&mut journal, Purpose::Block, &setting(1), &Before::Absent);
    record(&mut journal, Purpose::Tunnel, &resolver, &backend);
    drop(journal);

    let mut journal = reopen(directory.path(), "boot-2");
    assert_eq!(standing(&journal), [resolver]);
    assert_eq!(journal.lost_with_boot().len(), 1);
    record(&mut journal, Purpose::Block, &setting(1), &Before::Absent);
    journal.forget_lost_with_boot().unwrap();
    drop(journal);
    let journal = reopen(directory.path(), "boot-2");
    assert_eq!(journal.outstanding().len(), 2);
    assert!(journal.lost_with_boot().is_empty());
}

#[test]
fn a_second_service_finds_the_journal_in_use() {
    let directory = tempfile::tempdir().unwrap();
    let _first = open(directory.path());
    assert!(matches!(Journal::open(directory.path(), BOOT), Err(JournalError::InUse { .. })));
}

#[test]
fn a_directory_that_is_not_there_is_an_error_with_its_path() {
    let error = Journal::open(Path::new("/nowhere/at/all"), BOOT).unwrap_err();
    assert!(error.to_string().contains("/nowhere/at/all/network.journal"), "{error}");
}

impl Journal {
    /// Takes away the right to write, as a disk that has become read-only does.
    pub(crate) fn break_for_test(&mut self) {
        self.file = File::open(&self.path).unwrap();
    }
}
