//! What is known of the endpoint: typed facts, each with its source and its time.
//!
//! A [`Fact`] carries an [`Observation`]: known, unknown with the reason, or denied with the
//! privilege that was missing. There is no fourth state: what the sandbox hides is denied, never
//! false, and what nobody looked at is unknown, never healthy.
//!
//! [`meaning`] says of each fact what it means, where it comes from, and how it can be wrong.
//!
//! In: nothing; collectors, the agent and EMS's reader make these values. Out: the values that
//! [`crate::rules`] evaluates and EMS receives. This module never reads the system.

mod endpoint;
mod line;
#[doc = include_str!("meaning.md")]
pub mod meaning {}
mod observation;
mod people;
mod security;
mod surroundings;

pub use endpoint::{
    Antivirus, AntivirusProduct, DiskEncryption, EmsConnection, FileState, Firewall, InterfaceAddress, Kernel,
    OperatingSystem, OsFamily, Package, PackageManager, Process, ProcessList, Volume, VolumeEncryption,
};
pub use line::FactLine;
pub use observation::{Fact, Observation};
pub use people::{LoggedOnUser, Supplied, UserList, VerifiedIdentity};
pub use security::{
    AccessControl, CertificateFact, RegistryKeyFact, RegistryValue, ScreenLock, SystemSecurity, Updates,
    WindowsSecurity,
};
pub use surroundings::{DhcpLease, Gateway, Medium, NetworkInterface, Surroundings};

use crate::vulnerability::ScanResult;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Everything that is known of one endpoint at one time.
///
/// A field that a sender left out reads as unknown, and a field that we do not know is ignored, so
/// that agents and servers of different ages understand each other.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// The family of the operating system, which selects the rules that apply.
    #[serde(default)]
    pub family: OsFamily,
    /// Distribution or product, and its version.
    #[serde(default)]
    pub os: Fact<OperatingSystem>,
    /// The running kernel.
    #[serde(default)]
    pub kernel: Fact<Kernel>,
    /// The name of the host.
    #[serde(default)]
    pub host_name: Fact<String>,
    /// Installed packages.
    #[serde(default)]
    pub packages: Fact<Vec<Package>>,
    /// Applications beside the system's packages: flatpak, snap.
    #[serde(default)]
    pub applications: Fact<Vec<Package>>,
    /// How up to date the system is.
    #[serde(default)]
    pub updates: Fact<Updates>,
    /// Running processes.
    #[serde(default)]
    pub processes: Fact<ProcessList>,
    /// The files that rules ask for, by absolute path.
    #[serde(default)]
    pub files: BTreeMap<String, Fact<FileState>>,
    /// Addresses of the interfaces, without those of our own tunnels.
    #[serde(default)]
    pub addresses: Fact<Vec<InterfaceAddress>>,
    /// Antivirus products.
    #[serde(default)]
    pub antivirus: Fact<Antivirus>,
    /// The packet filter.
    #[serde(default)]
    pub firewall: Fact<Firewall>,
    /// Whether what lies on disk is encrypted.
    #[serde(default)]
    pub disk_encryption: Fact<DiskEncryption>,
    /// Secure boot, mandatory access control, screen lock.
    #[serde(default)]
    pub security: Fact<SystemSecurity>,
    /// The protections of Windows.
    #[serde(default)]
    pub windows_security: Fact<WindowsSecurity>,
    /// The registry keys that rules ask for, by path.
    #[serde(default)]
    pub registry: BTreeMap<String, Fact<RegistryKeyFact>>,
    /// The certificates in the stores, where a rule asks.
    #[serde(default)]
    pub certificates: Fact<Vec<CertificateFact>>,
    /// Who is logged on, where a rule asks.
    #[serde(default)]
    pub users: Fact<UserList>,
    /// The network around the endpoint, where a rule asks.
    #[serde(default)]
    pub surroundings: Fact<Surroundings>,
    /// Whether the hosts that rules ask for answer an echo request.
    #[serde(default)]
    pub pings: BTreeMap<IpAddr, Fact<bool>>,
    /// The version of this client.
    #[serde(default)]
    pub client_version: Fact<String>,
    /// What EMS supplies; handed in by the agent.
    #[serde(default)]
    pub supplied: Fact<Supplied>,
    /// The relation to EMS; handed in by the agent.
    #[serde(default)]
    pub ems: Fact<EmsConnection>,
    /// The last scan for vulnerabilities; handed in by the agent, unknown before the first scan.
    #[serde(default = "never_scanned")]
    pub vulnerabilities: Fact<ScanResult>,
}

/// Returns the fact of an endpoint that was never scanned.
pub fn never_scanned() -> Fact<ScanResult> {
    Fact::unknown("never scanned", "vulnerability scan", 0)
}
