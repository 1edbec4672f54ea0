//! Rules over the system itself: version, processes, files, addresses, EMS.

use super::Judgement;
use crate::facts::{Facts, FileState};
use crate::rules::index::Index;
use crate::rules::{AddressRange, Comparison, Truth};
use std::cmp::Ordering;

/// How many bytes of a process's name Linux keeps (`TASK_COMM_LEN` less the terminator).
const KERNEL_NAME_LENGTH: usize = 15;

pub(super) fn os_version(facts: &Facts, system: &str, comparison: Comparison, version: Option<&str>) -> Judgement {
    let Some(os) = facts.os.value() else {
        return Judgement::without("os", &facts.os, "let Postern read the system's release file");
    };
    let wish = match version {
        Some(version) => format!("{system} {comparison} {version}"),
        None => system.to_owned(),
    };
    let change = format!("the rule speaks of {wish}");
    if !os.id.eq_ignore_ascii_case(system.trim()) {
        return Judgement::new(Truth::False, "os", &os.name, change);
    }
    let Some(wanted) = version else {
        return Judgement::new(Truth::True, "os", &os.name, change);
    };
    match os.version.as_deref().and_then(|here| compare_versions(here, wanted)) {
        Some(ordering) => Judgement::new(comparison.accepts(ordering).into(), "os", &os.name, change),
        None => Judgement::new(
            Truth::Unknown,
            "os",
            format!("{}: its version cannot be compared with {wanted}", os.name),
            "correct the rule's version",
        ),
    }
}

/// Compares as many numbers of `here` as `wanted` has; `None` when either is not made of numbers.
fn compare_versions(here: &str, wanted: &str) -> Option<Ordering> {
    let mut numbers = here.trim().split('.');
    for wanted in wanted.trim().split('.') {
        let wanted: u64 = wanted.parse().ok()?;
        let here: u64 = numbers.next().map_or(Some(0), |number| number.parse().ok())?;
        match here.cmp(&wanted) {
            Ordering::Equal => {}
            decided => return Some(decided),
        }
    }
    Some(Ordering::Equal)
}

/// The kernel's name of a process is sure only where the executable can be seen: it may be cut, and a
/// process can give itself another. It serves to say that a process may be the one.
pub(super) fn running_process(index: &Index<'_>, name: &str) -> Judgement {
    let observed = &index.facts.processes;
    let Some(list) = observed.value() else {
        return Judgement::without("processes", observed, "let Postern see the running processes");
    };
    let processes = index.processes(list);
    if let Some(pid) = processes.running(name) {
        return Judgement::new(
            Truth::True,
            "processes",
            format!("{name} runs (process {pid})"),
            format!("stop {name}"),
        );
    }
    let file_name = name.rsplit('/').next().unwrap_or(name);
    let kept = file_name.as_bytes().get(..KERNEL_NAME_LENGTH).unwrap_or(file_name.as_bytes());
    if let Some(pid) = std::str::from_utf8(kept).ok().and_then(|kept| processes.unseen(kept)) {
        let seen = format!("process {pid} may be {name}: its executable cannot be seen");
        return Judgement::new(Truth::Unknown, "processes", seen, "let Postern see the executables of all processes");
    }
    match &list.hidden {
        Some(reason) => Judgement::new(
            Truth::Unknown,
            "processes",
            format!("{name} was not seen, but processes are hidden ({reason})"),
            "let Postern see all processes",
        ),
        None => Judgement::new(Truth::False, "processes", format!("{name} does not run"), format!("start {name}")),
    }
}

pub(super) fn file(facts: &Facts, path: &str) -> Judgement {
    let Some(fact) = facts.files.get(path) else {
        let seen = format!("files: nobody looked for {path}");
        return Judgement::new(Truth::Unknown, "files", seen, "wait for the next look at the system");
    };
    match fact.value() {
        Some(FileState::Present) => {
            Judgement::new(Truth::True, "files", format!("{path} is there"), format!("remove {path}"))
        }
        Some(FileState::Missing) => {
            Judgement::new(Truth::False, "files", format!("{path} is not there"), format!("provide {path}"))
        }
        None => Judgement::without("files", fact, format!("let Postern look at {path}")),
    }
}

pub(super) fn ip_range(facts: &Facts, ranges: &[AddressRange]) -> Judgement {
    let Some(addresses) = facts.addresses.value() else {
        return Judgement::without("addresses", &facts.addresses, "let Postern see the interfaces");
    };
    let mine = || addresses.iter().filter(|entry| !entry.address.is_loopback());
    let inside = mine().find(|entry| ranges.iter().any(|range| range.contains(entry.address)));
    if let Some(entry) = inside {
        let seen = format!("{} on {}", entry.address, entry.interface);
        return Judgement::new(Truth::True, "addresses", seen, "leave this network");
    }
    let shown: Vec<String> = mine().map(|entry| entry.address.to_string()).collect();
    let seen = if shown.is_empty() { "no address".to_owned() } else { format!("only {}", shown.join(", ")) };
    Judgement::new(Truth::False, "addresses", seen, "join a network of the rule")
}

pub(super) fn ems_management(facts: &Facts) -> Judgement {
    let Some(ems) = facts.ems.value() else {
        return Judgement::without("ems", &facts.ems, "wait until the state of telemetry is known");
    };
    match (ems.enrolled, ems.telemetry_connected) {
        (true, true) => Judgement::new(Truth::True, "ems", "telemetry connected", ""),
        (true, false) => {
            Judgement::new(Truth::False, "ems", "enrolled, but telemetry is not connected", "bring EMS within reach")
        }
        (false, _) => Judgement::new(Truth::False, "ems", "not enrolled", "postern enroll"),
    }
}
