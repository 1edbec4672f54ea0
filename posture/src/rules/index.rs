//! Facts arranged for many questions: what a thousand rules look up is searched for once.

use crate::facts::{Facts, ProcessList};
use crate::vulnerability::{Finding, ScanResult, Severity};
use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap};

/// Facts with what is made of them at the first question.
pub(super) struct Index<'a> {
    pub(super) facts: &'a Facts,
    processes: OnceCell<Processes<'a>>,
    findings: OnceCell<Findings<'a>>,
}

impl<'a> Index<'a> {
    pub(super) fn new(facts: &'a Facts) -> Self {
        Self { facts, processes: OnceCell::new(), findings: OnceCell::new() }
    }

    /// Arranges the processes of `list`, which must be those of the facts.
    pub(super) fn processes(&self, list: &'a ProcessList) -> &Processes<'a> {
        self.processes.get_or_init(|| Processes::new(list))
    }

    /// Arranges the findings of `scan`, which must be those of the facts.
    pub(super) fn findings(&self, scan: &'a ScanResult) -> &Findings<'a> {
        self.findings.get_or_init(|| Findings::new(scan))
    }
}

/// Processes by what is known of their executable.
pub(super) struct Processes<'a> {
    /// By path and by file name: of the executable, else of the first word of the command line.
    by_path: HashMap<&'a str, u32>,
    /// Those whose executable cannot be seen, by the kernel's name.
    unseen: HashMap<&'a str, u32>,
}

impl<'a> Processes<'a> {
    fn new(list: &'a ProcessList) -> Self {
        let mut processes = Self { by_path: HashMap::new(), unseen: HashMap::new() };
        for process in &list.processes {
            if let Some(path) = process.executable.as_deref().or(process.command.as_deref()) {
                let path = path.strip_suffix(" (deleted)").unwrap_or(path);
                processes.by_path.entry(path).or_insert(process.pid);
                processes.by_path.entry(path.rsplit('/').next().unwrap_or(path)).or_insert(process.pid);
            }
            if process.executable.is_none() {
                processes.unseen.entry(&process.name).or_insert(process.pid);
            }
        }
        processes
    }

    /// Returns a process whose executable has this file name, or this path where it holds a `/`.
    pub(super) fn running(&self, name: &str) -> Option<u32> {
        self.by_path.get(name).copied()
    }

    /// Returns a process whose executable cannot be seen and to which the kernel gives this name.
    pub(super) fn unseen(&self, kernel_name: &str) -> Option<u32> {
        self.unseen.get(kernel_name).copied()
    }
}

/// The findings that rules count, by severity and by identifier.
pub(super) struct Findings<'a> {
    counted: Vec<&'a Finding>,
    by_identifier: HashMap<String, Vec<usize>>,
}

impl<'a> Findings<'a> {
    fn new(scan: &'a ScanResult) -> Self {
        let mut counted: Vec<&Finding> = scan.counted().collect();
        // They come gravest first; of what another sent that is not certain.
        counted.sort_by_key(|finding| std::cmp::Reverse(rated(finding)));
        let mut by_identifier: HashMap<String, Vec<usize>> = HashMap::new();
        for (place, finding) in counted.iter().enumerate() {
            for name in std::iter::once(&finding.identifier).chain(&finding.cves) {
                by_identifier.entry(name.to_ascii_uppercase()).or_default().push(place);
            }
        }
        Self { counted, by_identifier }
    }

    /// Returns the gravest finding of at least `threshold`, and how many there are.
    pub(super) fn of_severity(&self, threshold: Severity) -> Option<(&'a Finding, usize)> {
        let number = self.counted.partition_point(|finding| rated(finding) >= threshold);
        self.counted.first().filter(|_| number > 0).map(|first| (*first, number))
    }

    /// Returns the gravest finding that has one of these names, and how many have one.
    pub(super) fn named(&self, names: &[String]) -> Option<(&'a Finding, usize)> {
        let places: BTreeSet<usize> = names
            .iter()
            .filter_map(|name| self.by_identifier.get(&name.trim().to_ascii_uppercase()))
            .flatten()
            .copied()
            .collect();
        let first = places.first().and_then(|place| self.counted.get(*place))?;
        Some((first, places.len()))
    }
}

/// What nobody rated counts as low.
fn rated(finding: &Finding) -> Severity {
    finding.severity.max(Severity::Low)
}
