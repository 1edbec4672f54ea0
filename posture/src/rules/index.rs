//! Facts arranged for many questions: what a thousand rules look up is searched for once.

use crate::facts::{Facts, ProcessList};
use crate::vulnerability::{Finding, ScanResult, Severity};
use std::cell::OnceCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};

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
    by_name: OnceCell<Names<'a>>,
}

impl<'a> Findings<'a> {
    fn new(scan: &'a ScanResult) -> Self {
        let mut counted: Vec<&Finding> = scan.counted().collect();
        // They come gravest first; of what another sent that is not certain.
        counted.sort_by_key(|finding| std::cmp::Reverse(rated(finding)));
        Self { counted, by_name: OnceCell::new() }
    }

    /// Returns the gravest finding of at least `threshold`, and how many there are.
    pub(super) fn of_severity(&self, threshold: Severity) -> Option<(&'a Finding, usize)> {
        let number = self.counted.partition_point(|finding| rated(finding) >= threshold);
        self.counted.first().filter(|_| number > 0).map(|first| (*first, number))
    }

    /// Returns the gravest finding that has one of these names, and how many have one.
    pub(super) fn named(&self, names: &[String]) -> Option<(&'a Finding, usize)> {
        let index = self.by_name.get_or_init(|| Names::new(&self.counted));
        let mut places: Vec<usize> = names.iter().flat_map(|name| index.places(name.trim())).collect();
        places.sort_unstable();
        places.dedup();
        let first = places.first().and_then(|place| self.counted.get(*place))?;
        Some((first, places.len()))
    }
}

/// The names of findings. Those of one name are chained, so that nothing is allocated for each.
struct Names<'a> {
    last: HashMap<Folded<'a>, usize, BuildHasherDefault<Fnv>>,
    chain: Vec<(usize, Option<usize>)>,
}

impl<'a> Names<'a> {
    fn new(findings: &[&'a Finding]) -> Self {
        let mut names = Self {
            last: HashMap::with_capacity_and_hasher(findings.len().saturating_mul(2), BuildHasherDefault::default()),
            chain: Vec::with_capacity(findings.len().saturating_mul(2)),
        };
        for (place, finding) in findings.iter().enumerate() {
            for name in std::iter::once(&finding.identifier).chain(&finding.cves) {
                let before = names.last.insert(Folded(name), names.chain.len());
                names.chain.push((place, before));
            }
        }
        names
    }

    /// Returns the places of the findings of this name, whatever its case.
    fn places<'b>(&'b self, name: &'b str) -> impl Iterator<Item = usize> + use<'a, 'b> {
        let mut next = self.last.get(&Folded(name)).copied();
        std::iter::from_fn(move || {
            let (place, before) = self.chain.get(next?)?;
            next = *before;
            Some(*place)
        })
    }
}

/// A text that equals another one in any case of its ASCII letters.
struct Folded<'a>(&'a str);

impl PartialEq for Folded<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(other.0)
    }
}

impl Eq for Folded<'_> {}

impl Hash for Folded<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.bytes().for_each(|byte| state.write_u8(byte.to_ascii_uppercase()));
    }
}

/// The hash of Fowler, Noll and Vo (FNV-1a): names are short, and who could choose them to collide could
/// as well send more of them.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u8(*byte));
    }

    fn write_u8(&mut self, byte: u8) {
        self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
}

/// What nobody rated counts as low.
fn rated(finding: &Finding) -> Severity {
    finding.severity.max(Severity::Low)
}
