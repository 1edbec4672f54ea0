//! The operating system behind one door.
//!
//! `linux`, `macos`, `windows` and `unsupported` hold the same rooms; this file is the only
//! place that chooses between them, and the private traits below make the compiler compare their
//! signatures. What a system cannot do yet is [`SystemError::Unsupported`], never a pretence.
//!
//! | room | holds |
//! |---|---|
//! | `routes` | addresses, links, routes and policy rules |
//! | `firewall` | the packet filter |
//! | `resolver` | whom the system asks for names |
//! | `machine` | the clock, the boot, kernel settings, files |
//! | `sleep` | hearing of the machine's sleep before it begins |
//!
//! Unsafe code of the agent lives in these rooms and nowhere else.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as here;
#[cfg(target_os = "macos")]
mod macos;
#[cfg(target_os = "macos")]
use macos as here;
#[cfg(windows)]
mod windows;
#[cfg(windows)]
use windows as here;
// Also compiled into the tests of the supported systems, so that it does not rot.
#[cfg(any(test, not(any(target_os = "linux", target_os = "macos", windows))))]
mod unsupported;
#[cfg(not(any(target_os = "linux", target_os = "macos", windows)))]
use unsupported as here;

mod host;
mod links;

use crate::network::resolver::{ResolverBackend, ResolverChange};
use crate::network::step::{Before, Step};
use crate::network::system::{System, SystemError, Undone};
use ike_client::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use tokio::sync::{mpsc, oneshot};

pub use host::{HostSettings, RESOLVER_FILE};
pub use links::Links;

/// What the system says of its sleep.
#[derive(Debug)]
pub enum Sleep {
    /// Whether the system tells at all; why not, where it does not.
    Told(Result<(), String>),
    /// It is about to sleep and waits, for a moment, until this is answered or dropped.
    Begins(oneshot::Sender<()>),
    /// It is awake again, or did not sleep after all.
    Ended,
}

/// What this process can do here, probed rather than concluded from a user id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Routes, rules and addresses may be changed.
    pub change_network: bool,
    /// Firewall tables can be loaded: the tool is there and answers.
    pub firewall: bool,
    /// The kernel drops what arrives by another way than its answer would leave by
    /// (`rp_filter = 1` somewhere): answers to marked sockets need a hint then.
    pub strict_reverse_path: bool,
    /// What stands in the way of each thing that cannot be done, for `postern doctor`.
    pub reasons: Vec<String>,
}

/// Addresses, links, routes and policy rules.
trait RoutesRoom: Sized + Send {
    fn open() -> Result<Self, SystemError>;
    fn look(&mut self, step: &Step) -> impl Future<Output = Result<Before, SystemError>> + Send;
    fn apply(&mut self, step: &Step) -> impl Future<Output = Result<(), SystemError>> + Send;
    fn undo(&mut self, step: &Step) -> impl Future<Output = Result<Undone, SystemError>> + Send;
    fn restore(&mut self, _step: &Step) -> impl Future<Output = Result<bool, SystemError>> + Send {
        std::future::ready(Ok(false))
    }
    fn living_on(address: &IpAddr) -> io::Result<usize>;
}

/// The packet filter.
trait FirewallRoom {
    /// What loads rules, started and waiting for them.
    type Tool: Send;
    fn probe() -> impl Future<Output = Result<(), SystemError>> + Send;
    /// Starts what loads rules, where that takes time.
    fn prepare() -> Option<Self::Tool> {
        None
    }
    /// Loads rules, by the tool that was prepared where it still waits.
    fn load(ruleset: &str, tool: Option<Self::Tool>) -> impl Future<Output = Result<(), SystemError>> + Send;
    fn remove(table: &str) -> impl Future<Output = Result<Undone, SystemError>> + Send;
    fn stands(_table: &str) -> impl Future<Output = bool> + Send {
        std::future::ready(true)
    }
}

/// Whom the system asks for names.
trait ResolverRoom {
    fn backend(file: &Path) -> impl Future<Output = Result<ResolverBackend, SystemError>> + Send;
    fn apply(
        backend: &ResolverBackend,
        change: &ResolverChange,
    ) -> impl Future<Output = Result<(), SystemError>> + Send;
    fn undo(
        backend: &ResolverBackend,
        change: &ResolverChange,
    ) -> impl Future<Output = Result<Undone, SystemError>> + Send;
    /// Carries a change out once more where somebody wrote over it; tells whether somebody had.
    fn restore(
        _backend: &ResolverBackend,
        _change: &ResolverChange,
    ) -> impl Future<Output = Result<bool, SystemError>> + Send {
        std::future::ready(Ok(false))
    }
}

/// The network of this operating system, where one process may change all of it.
pub struct SystemNetwork {
    links: Links,
    host: HostSettings,
}

impl SystemNetwork {
    /// Opens the system's network for changes. Needs a tokio runtime.
    pub fn open() -> Result<Self, SystemError> {
        Ok(Self { links: Links::open()?, host: HostSettings::default() })
    }

    /// Takes `file` for the resolver's file where no service owns it; the default is
    /// `/etc/resolv.conf`.
    pub fn with_resolver_file(mut self, file: PathBuf) -> Self {
        self.host = HostSettings::with_resolver_file(file);
        self
    }
}

impl System for SystemNetwork {
    async fn look(&mut self, step: &Step) -> Result<Before, SystemError> {
        if step.is_of_links() { self.links.look(step).await } else { self.host.look(step).await }
    }

    async fn apply(&mut self, step: &Step, before: &Before) -> Result<(), SystemError> {
        if step.is_of_links() { self.links.apply(step, before).await } else { self.host.apply(step, before).await }
    }

    async fn undo(&mut self, step: &Step, before: &Before) -> Result<Undone, SystemError> {
        if step.is_of_links() { self.links.undo(step, before).await } else { self.host.undo(step, before).await }
    }

    async fn restore(&mut self, step: &Step, before: &Before) -> Result<bool, SystemError> {
        if step.is_of_links() { self.links.restore(step, before).await } else { self.host.restore(step, before).await }
    }
}

/// The system's sleep.
trait SleepRoom {
    fn watch(told: mpsc::UnboundedSender<Sleep>) -> impl Future<Output = ()> + Send;
}

/// The clock, the boot, kernel settings, files.
trait MachineRoom {
    fn may_change_network() -> Result<(), String>;
    fn strict_reverse_path() -> bool;
    fn now() -> io::Result<Timestamp>;
    fn boot() -> io::Result<String>;
    fn read_setting(name: &str) -> Result<String, SystemError>;
    fn write_setting(name: &str, value: &str) -> Result<(), SystemError>;
    fn open_private(path: &Path) -> io::Result<File>;
    fn sync_directory(directory: &Path) -> io::Result<()>;
    fn addresses_besides(_device: &str) -> io::Result<Vec<IpAddr>> {
        Ok(Vec::new())
    }
    fn default_route() -> Option<DefaultRoute> {
        None
    }
    fn every_packet() -> io::Result<File> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }
}

/// Probes what this process can do.
pub async fn capabilities() -> Capabilities {
    of_host(of_links()).await
}

/// Probes what can be done with links, addresses, routes and rules; nothing is said of the rest.
pub fn of_links() -> Capabilities {
    let change = here::machine::Machine::may_change_network();
    Capabilities {
        change_network: change.is_ok(),
        firewall: false,
        strict_reverse_path: false,
        reasons: change.err().into_iter().collect(),
    }
}

/// Adds what this process can do besides, with the packet filter and the kernel's settings.
pub async fn of_host(links: Capabilities) -> Capabilities {
    let firewall = here::firewall::Firewall::probe().await;
    let mut reasons = links.reasons;
    reasons.extend(firewall.as_ref().err().map(ToString::to_string));
    Capabilities {
        firewall: firewall.is_ok(),
        strict_reverse_path: here::machine::Machine::strict_reverse_path(),
        reasons,
        ..links
    }
}

/// Returns how many sockets could still send from `address` after the machine has lost it.
///
/// # Errors
/// When the system cannot tell.
pub fn sockets_living_on(address: &IpAddr) -> io::Result<usize> {
    here::routes::Routes::living_on(address)
}

/// Tells of the machine's sleep until nobody listens.
pub async fn watch_sleep(told: mpsc::UnboundedSender<Sleep>) {
    here::sleep::SystemSleep::watch(told).await;
}

/// Reads the clock that keeps counting while the machine is suspended.
pub fn now() -> io::Result<Timestamp> {
    here::machine::Machine::now()
}

/// Returns a name for this boot of the machine.
pub fn boot() -> io::Result<String> {
    here::machine::Machine::boot()
}

/// Returns the addresses of this machine that are not on devices called as `device` is, up to the
/// number at the end; none where the system does not tell.
///
/// # Errors
/// When the system cannot tell at the moment.
pub fn addresses_besides(device: &str) -> io::Result<Vec<IpAddr>> {
    here::machine::Machine::addresses_besides(device)
}

/// Where packets go that have no other way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultRoute {
    /// Interface and gateway, as text.
    pub way: String,
    /// The gateway's hardware address, where it is known at the moment.
    pub neighbour: Option<String>,
}

/// Describes the default route of this machine; none where there is none, or the system does not
/// tell.
pub fn default_route() -> Option<DefaultRoute> {
    here::machine::Machine::default_route()
}

/// Opens what hands out a copy of every packet of this network, from its IP header on: one a read,
/// which gives up after a moment without any. For root.
///
/// # Errors
/// When the caller may not, or the system has no such thing.
pub fn every_packet() -> io::Result<File> {
    here::machine::Machine::every_packet()
}

/// Opens `path` for reading and writing, made if it is missing, for this user only.
pub fn open_private(path: &Path) -> io::Result<File> {
    here::machine::Machine::open_private(path)
}

/// Returns where this program can be started from, for its children: where a package has been replaced under
/// the running service, by the kernel's own link to it, so that they are of the same build.
pub fn own_program() -> io::Result<PathBuf> {
    let there = std::env::current_exe()?;
    let link = Path::new("/proc/self/exe");
    Ok(if there.exists() || !link.exists() { there } else { link.to_owned() })
}

/// Makes what was renamed into or removed from `directory` durable, where that can be done.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    here::machine::Machine::sync_directory(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a system of which nothing is known says to a change: no, and never "done".
    #[tokio::test]
    async fn an_unknown_system_refuses_by_name() {
        let setting = Step::Setting { name: "net/x".into(), value: "1".into() };
        let mut routes = unsupported::routes::Routes::open().unwrap();
        assert!(matches!(routes.look(&setting).await, Err(SystemError::Unsupported { .. })));
        assert!(matches!(routes.apply(&setting).await, Err(SystemError::Unsupported { .. })));
        assert!(matches!(routes.undo(&setting).await, Err(SystemError::Unsupported { .. })));
        assert!(unsupported::firewall::Firewall::probe().await.is_err());
        assert!(unsupported::firewall::Firewall::load("", None).await.is_err());
        assert!(unsupported::firewall::Firewall::remove("").await.is_err());
        assert!(unsupported::resolver::Resolver::backend(Path::new("/")).await.is_err());
        assert!(unsupported::machine::Machine::may_change_network().is_err());
        assert!(unsupported::machine::Machine::read_setting("x").is_err());
        assert!(unsupported::machine::Machine::write_setting("x", "1").is_err());
        assert!(unsupported::machine::Machine::boot().is_err());
        let (told, mut telling) = mpsc::unbounded_channel();
        unsupported::sleep::SystemSleep::watch(told).await;
        assert!(matches!(telling.recv().await, Some(Sleep::Told(Err(_)))));
    }
}
