//! Looks at the system and makes facts of what it sees.
//!
//! Every look runs in a thread of its own and is waited for no longer than [`Settings::limit`]; one
//! that hangs (a dead network mount, a stuck device) makes its fact unknown and is not started again
//! until it returns. What the system or the sandbox does not let us see is denied. Nothing is written.
//!
//! The root folder is a setting, so that a tree of fixtures can stand in for the system; processes,
//! addresses and the packet filter belong to the running system and are unknown for any other root.
//!
//! `linux`, `macos` and `windows` hold the same functions; this file is the door between them, and
//! the only place of this crate that asks which system it is built for.

mod addresses;
#[cfg(not(target_os = "windows"))]
mod antivirus;
mod command;
mod files;
mod look;
mod pem;
mod processes;
mod watch;

pub use pem::certificates;
pub use watch::{FirewallListener, Notices, Noticing, file_changes, network_changes, process_changes, service_changes};

// What other systems' tools print is read by code that is tested on this one.
#[cfg(any(test, target_os = "macos"))]
#[path = "macos/answer.rs"]
mod macos_answer;
#[cfg(any(test, target_os = "windows"))]
#[path = "windows/answer.rs"]
mod windows_answer;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "macos")]
mod macos;
mod unsupported;
#[cfg(target_os = "windows")]
mod windows;

#[cfg(target_os = "linux")]
use linux as platform;
#[cfg(target_os = "macos")]
use macos as platform;
#[cfg(not(any(target_os = "linux", target_os = "macos", target_os = "windows")))]
use unsupported as platform;
#[cfg(target_os = "windows")]
use windows as platform;

use crate::facts::{Fact, Facts, FileState, OsFamily, ProcessList, never_scanned};
use crate::rules::Asked;
use look::{Bench, Look};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a collector may be told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// A dpkg status file that is read in the place of the system's package database.
    pub dpkg_status: Option<PathBuf>,
    /// Interfaces whose addresses are not the endpoint's own: the devices of our tunnels. Otherwise a
    /// tunnel could give the very address by which it is allowed.
    pub ignored_interfaces: Vec<String>,
    /// Folders that the sandbox hides or empties: what lies there is denied, not missing.
    pub hidden_folders: Vec<PathBuf>,
    /// Tables of the packet filter that are ours and therefore say nothing about the endpoint, by the
    /// beginning of their name.
    pub own_table_prefix: String,
    /// Antivirus products beside the known ones.
    pub antivirus_products: Vec<AntivirusPattern>,
    /// How long one look may take.
    pub limit: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            dpkg_status: None,
            ignored_interfaces: Vec::new(),
            hidden_folders: Vec::new(),
            own_table_prefix: "postern".to_owned(),
            antivirus_products: Vec::new(),
            limit: Duration::from_secs(5),
        }
    }
}

/// By what an antivirus product is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AntivirusPattern {
    /// The product's name.
    pub name: String,
    /// The file name of its engine's executable.
    pub executable: String,
    /// A path that is there when it is installed.
    pub installed: PathBuf,
}

/// What is seen first of a whole look: what changes most often, and quickest to see.
#[derive(Clone, Debug)]
pub struct Glimpse {
    /// The files that rules ask for.
    pub files: BTreeMap<String, Fact<FileState>>,
    /// Running processes.
    pub processes: Fact<ProcessList>,
}

/// Looks at one system.
#[derive(Debug)]
pub struct Collector {
    context: Mutex<Arc<Context>>,
    bench: Bench,
    files: files::Files,
}

/// What every look needs to know.
#[derive(Debug)]
struct Context {
    root: PathBuf,
    settings: Settings,
}

impl Context {
    /// Returns where an absolute path of the endpoint lies below the root.
    fn path(&self, absolute: impl AsRef<Path>) -> PathBuf {
        let absolute = absolute.as_ref();
        if self.is_running_system() {
            return absolute.to_owned();
        }
        self.root.join(absolute.strip_prefix("/").unwrap_or(absolute))
    }

    /// Says whether the root is the system that runs, and not a tree that stands in for it.
    fn is_running_system(&self) -> bool {
        self.root == Path::new("/")
    }
}

impl Collector {
    /// Makes a collector for the system below `root`; `/` is the running system.
    pub fn new(root: impl Into<PathBuf>, settings: Settings) -> Self {
        Self {
            context: Mutex::new(Arc::new(Context { root: root.into(), settings })),
            bench: Bench::default(),
            files: files::Files::default(),
        }
    }

    fn context(&self) -> Arc<Context> {
        Arc::clone(&self.context.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes an interface for the device of one of our tunnels from now on: see
    /// [`Settings::ignored_interfaces`].
    pub fn ignore(&self, interface: &str) {
        let mut context = self.context.lock().unwrap_or_else(PoisonError::into_inner);
        if context.settings.ignored_interfaces.iter().any(|known| known == interface) {
            return;
        }
        let mut settings = context.settings.clone();
        settings.ignored_interfaces.push(interface.to_owned());
        *context = Arc::new(Context { root: context.root.clone(), settings });
    }

    /// Returns the path of the package database that this collector reads, where there is one.
    pub fn package_database(&self) -> Option<PathBuf> {
        platform::package_database(&self.context())
    }

    /// Returns the paths whose change may change a fact that is asked for: the files themselves, the
    /// package database, and what tells of the rest.
    pub fn telling_paths(&self, asked: &Asked) -> Vec<PathBuf> {
        let files = asked.files.iter().filter(|path| Path::new(path).is_absolute()).map(PathBuf::from);
        let others = platform::telling_files(asked);
        let mut paths: Vec<PathBuf> = files.chain(others).map(|path| self.context().path(path)).collect();
        paths.extend(self.package_database());
        paths
    }

    /// Returns the programs whose start and end may change a fact that is asked for, by the names of their
    /// files.
    pub fn telling_programs(&self, asked: &Asked) -> BTreeSet<String> {
        let mut programs = asked.programs.clone();
        #[cfg(not(target_os = "windows"))]
        if asked.antivirus {
            programs.extend(antivirus::executables(&self.context()));
        }
        programs
    }

    /// Returns the root below which this collector looks, and the status file that it reads in the place
    /// of the system's package database: what a scan must be told to see the same packages.
    pub fn inventory_place(&self) -> (PathBuf, Option<PathBuf>) {
        (self.context().root.clone(), self.context().settings.dpkg_status.clone())
    }

    /// Looks at everything that is always looked at, and at what rules ask for.
    ///
    /// EMS connection, what EMS supplies, and vulnerabilities are not on the system to be seen: the
    /// caller sets them. Takes no longer than twice [`Settings::limit`]. It blocks: an asynchronous
    /// caller gives it a thread.
    pub fn collect(&self, asked: &Asked) -> Facts {
        self.collect_with(asked, |_| ())
    }

    /// As [`Self::collect`]; `glimpse` hears what is seen first while the rest is still looked at.
    pub fn collect_with(&self, asked: &Asked, glimpse: impl FnOnce(Glimpse)) -> Facts {
        let bench = &self.bench;
        let context = &self.context();
        let os = bench.start("os", context, platform::operating_system);
        let kernel = bench.start("kernel", context, platform::kernel);
        let host_name = bench.start("host", context, platform::host_name);
        let packages = bench.start("packages", context, platform::packages);
        let processes = bench.start("processes", context, processes::processes);
        let addresses = bench.start("addresses", context, addresses::addresses);
        let disk_encryption = bench.start("disk", context, platform::disk_encryption);
        let applications = bench.start("applications", context, platform::applications);
        let updates = bench.start("updates", context, platform::updates);
        let security = bench.start("security", context, platform::security);
        let windows_security = bench.start("windows", context, platform::windows_security);
        let certificates = asked.certificates.then(|| bench.start("certificates", context, platform::certificates));
        let users = asked.users.then(|| bench.start("users", context, platform::users));
        let surroundings = asked.surroundings.then(|| bench.start("surroundings", context, platform::surroundings));
        let pings = asked.ping.clone();
        let pings =
            (!pings.is_empty()).then(|| bench.start("ping", context, |context| platform::pings(context, pings)));
        let registry = asked.registry.clone();
        let registry = (!registry.is_empty())
            .then(|| bench.start("registry", context, |context| platform::registry(context, registry)));
        let wanted = asked.files.clone();
        let (reader, whole) = (self.files.clone(), Arc::clone(context));
        let files = bench.start("files", context, move |_| reader.look(&whole, wanted));

        let deadline = look::deadline(context.settings.limit);
        let processes = processes.finish(deadline);
        let running = Arc::new(processes.observation.clone());
        let seen = Arc::clone(&running);
        let antivirus = bench.start("antivirus", context, move |context| platform::antivirus(context, &seen));
        let firewall = bench.start("firewall", context, move |context| platform::firewall(context, &running));
        let files = files.finish(deadline);
        let asked_files = asked.files.iter().map(|path| (path.clone(), look::one(path, path, &files)));
        let asked_files = asked_files.collect::<BTreeMap<_, _>>();
        glimpse(Glimpse { files: asked_files.clone(), processes: processes.clone() });
        let registry = registry.map(|look| look.finish(deadline));
        let keys =
            asked.registry.keys().filter_map(|path| Some((path.clone(), look::one(path, path, registry.as_ref()?))));
        let pings = pings.map(|look| look.finish(deadline));
        let hosts =
            asked.ping.iter().filter_map(|host| Some((*host, look::one(host, "echo requests", pings.as_ref()?))));
        let mut facts = Facts {
            family: OsFamily::of_this_build(),
            os: os.finish(deadline),
            kernel: kernel.finish(deadline),
            host_name: host_name.finish(deadline),
            packages: packages.finish(deadline),
            applications: applications.finish(deadline),
            updates: updates.finish(deadline),
            processes,
            files: asked_files,
            registry: keys.collect(),
            pings: hosts.collect(),
            security: security.finish(deadline),
            windows_security: windows_security.finish(deadline),
            certificates: certificates.map_or_else(nobody_asks, |look| look.finish(deadline)),
            users: users.map_or_else(nobody_asks, |look| look.finish(deadline)),
            surroundings: surroundings.map_or_else(nobody_asks, |look| look.finish(deadline)),
            client_version: Fact::known(env!("CARGO_PKG_VERSION").to_owned(), "this program", now_unix()),
            addresses: addresses.finish(deadline),
            disk_encryption: disk_encryption.finish(deadline),
            vulnerabilities: never_scanned(),
            ..Facts::default()
        };
        let deadline = look::deadline(context.settings.limit);
        facts.antivirus = antivirus.finish(deadline);
        facts.firewall = firewall.finish(deadline);
        facts
    }

    /// Looks only at what advisories are matched on: the operating system and the packages.
    pub fn collect_inventory(&self) -> Facts {
        let os = self.bench.start("os", &self.context(), platform::operating_system);
        let packages = self.bench.start("packages", &self.context(), platform::packages);
        let deadline = look::deadline(self.context().settings.limit);
        Facts {
            family: OsFamily::of_this_build(),
            os: os.finish(deadline),
            packages: packages.finish(deadline),
            ..Facts::default()
        }
    }
}

/// The fact of what is looked at only where a rule asks.
fn nobody_asks<T>() -> Fact<T> {
    Fact::unknown("no rule asks for it", "", 0)
}

/// Returns the time in seconds since 1970; zero for a clock before that.
fn now_unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
