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

fn standing(journal: &Journal) -> Vec<Step> {
    journal.outstanding().iter().map(|record| record.after.clone()).collect()
}

#[test]
fn what_was_recorded_is_outstanding_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = open(directory.path());
    let first = journal.record(Purpose::Guard, &setting(1), &Before::Value("0".into())).unwrap();
    let second = journal.record(Purpose::Tunnel, &setting(2), &Before::Absent).unwrap();
    journal.applied(first).unwrap();
    drop(journal);

    let mut journal = open(directory.path());
    assert_eq!(standing(&journal), [setting(1), setting(2)]);
    assert!(journal.outstanding()[0].applied && !journal.outstanding()[1].applied);
    journal.undone(second).unwrap();
    assert!(journal.record(Purpose::Tunnel, &setting(3), &Before::Absent).unwrap() > second);
    drop(journal);
    assert_eq!(standing(&open(directory.path())), [setting(1), setting(3)]);
}

#[test]
fn a_journal_with_nothing_outstanding_is_empty() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = open(directory.path());
    let ticket = journal.record(Purpose::Tunnel, &setting(1), &Before::Absent).unwrap();
    journal.applied(ticket).unwrap();
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
        let ticket = journal.record(Purpose::Tunnel, &setting(number), &Before::Absent).unwrap();
        made.push((setting(number), length(), usize::MAX));
        journal.applied(ticket).unwrap();
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
        journal.record(Purpose::Tunnel, &setting(9), &Before::Absent).unwrap();
        drop(journal);
        assert!(standing(&open(directory.path())).contains(&setting(9)), "cut at {cut}: the next record is lost");
    }
}

#[test]
fn damage_in_the_middle_costs_one_line_and_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = open(directory.path());
    for number in 0..3 {
        journal.record(Purpose::Tunnel, &setting(number), &Before::Absent).unwrap();
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
    journal.record(Purpose::Block, &setting(1), &Before::Absent).unwrap();
    journal.record(Purpose::Tunnel, &resolver, &backend).unwrap();
    drop(journal);

    let mut journal = reopen(directory.path(), "boot-2");
    assert_eq!(standing(&journal), [resolver]);
    assert_eq!(journal.lost_with_boot().len(), 1);
    journal.record(Purpose::Block, &setting(1), &Before::Absent).unwrap();
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
