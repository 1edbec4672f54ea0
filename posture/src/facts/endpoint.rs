//! The values of facts.

use super::Observation;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// The families of operating systems for which a tagging rule set can hold rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OsFamily {
    /// Linux of any distribution.
    #[default]
    Linux,
    /// macOS.
    Macos,
    /// Windows, desktop and server.
    Windows,
    /// iOS and iPadOS.
    Ios,
    /// Android.
    Android,
}

impl OsFamily {
    /// Returns the family this program was built for; a system without a row of its own counts as Linux.
    pub fn of_this_build() -> Self {
        match std::env::consts::OS {
            "macos" => Self::Macos,
            "windows" => Self::Windows,
            "ios" => Self::Ios,
            "android" => Self::Android,
            _ => Self::Linux,
        }
    }
}

impl fmt::Display for OsFamily {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Linux => "linux",
            Self::Macos => "macos",
            Self::Windows => "windows",
            Self::Ios => "ios",
            Self::Android => "android",
        })
    }
}

/// Which operating system runs, in the words of `os-release`(5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatingSystem {
    /// The identifier in lower case: `debian`, `ubuntu`, `windows`, `macos`.
    pub id: String,
    /// The version: `12`, `22.04`, `10.0.22631`; absent on a rolling release.
    #[serde(default)]
    pub version: Option<String>,
    /// The code name: `bookworm`.
    #[serde(default)]
    pub codename: Option<String>,
    /// The name for people: `Debian GNU/Linux 12 (bookworm)`.
    pub name: String,
}

/// The running kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kernel {
    /// Its release: `6.1.0-18-amd64`.
    pub release: String,
}

/// One installed package with the source package it was built from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Package {
    /// The binary package.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture.
    pub architecture: String,
    /// The source package, which advisories name.
    pub source_name: String,
    /// The version of the source package: without the counter of a rebuild.
    pub source_version: String,
    /// What installed it.
    #[serde(default)]
    pub manager: PackageManager,
    /// The module stream it belongs to (`nodejs:20`), for rpm packages of a module.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
}

/// What installs packages, and so orders their versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PackageManager {
    /// Debian's dpkg.
    #[default]
    Dpkg,
    /// rpm.
    Rpm,
    /// Alpine's apk.
    Apk,
    /// Flatpak, for the whole system.
    Flatpak,
    /// snapd.
    Snap,
    /// Cargo, by a lock file.
    Cargo,
    /// npm, by a lock file.
    Npm,
    /// pip and its relatives, by a lock file.
    Python,
    /// The programs that Windows lists as installed.
    Windows,
    /// The applications of macOS.
    Macos,
}

impl fmt::Display for PackageManager {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Dpkg => "dpkg",
            Self::Rpm => "rpm",
            Self::Apk => "apk",
            Self::Flatpak => "flatpak",
            Self::Snap => "snap",
            Self::Cargo => "cargo",
            Self::Npm => "npm",
            Self::Python => "python",
            Self::Windows => "windows",
            Self::Macos => "macos",
        })
    }
}

/// The processes that could be seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessList {
    /// The programs that run, each once.
    pub processes: Vec<Process>,
    /// Why some processes may be missing from the list, when that is so. A process that is not in an
    /// incomplete list is not thereby absent.
    #[serde(default)]
    pub hidden: Option<String>,
}

/// One running program. Two are the same, and a list of them has not changed, whatever their identifiers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Process {
    /// Its identifier; of several processes of one program, the first one's.
    pub pid: u32,
    /// The name the kernel keeps, which Linux cuts after 15 bytes.
    pub name: String,
    /// The path of the executable, where the system lets us see it.
    #[serde(default)]
    pub executable: Option<String>,
    /// The first word of the command line.
    #[serde(default)]
    pub command: Option<String>,
}

impl Process {
    /// Returns what makes it the program that it is.
    pub fn program(&self) -> (Option<&str>, Option<&str>, &str) {
        (self.executable.as_deref(), self.command.as_deref(), &self.name)
    }
}

impl PartialEq for Process {
    fn eq(&self, other: &Self) -> bool {
        self.program() == other.program()
    }
}

impl Eq for Process {}

/// Whether a file that a rule asks for is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileState {
    /// Something of that name exists.
    Present,
    /// Nothing of that name exists.
    Missing,
}

/// One address of one interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceAddress {
    /// The interface.
    pub interface: String,
    /// The address.
    pub address: IpAddr,
    /// The length of its network's prefix, in bits.
    pub prefix_length: u8,
    /// The hardware address of the interface, where it has one.
    #[serde(default)]
    pub hardware_address: Option<String>,
}

/// The antivirus products on the endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Antivirus {
    /// Each product that is installed or runs.
    pub products: Vec<AntivirusProduct>,
    /// Why a running product may have been overlooked, when that is so.
    #[serde(default)]
    pub hidden: Option<String>,
}

/// One antivirus product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AntivirusProduct {
    /// Its name.
    pub name: String,
    /// Whether its engine runs.
    pub running: bool,
    /// When its signatures were made, in seconds since 1970.
    pub signatures_unix: Observation<u64>,
}

/// The packet filter of the endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firewall {
    /// Whether incoming packets are filtered.
    pub active: bool,
    /// What filters: `ufw`, `nftables`, `firewalld`; empty when nothing does.
    pub provider: String,
}

/// The volumes that hold the system and its users' data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskEncryption {
    /// The volumes, by mount point.
    pub volumes: Vec<Volume>,
}

impl DiskEncryption {
    /// Says whether every volume is encrypted: false as soon as one is not, `None` when it cannot be told.
    pub fn complete(&self) -> Option<bool> {
        let mut complete = (!self.volumes.is_empty()).then_some(true);
        for volume in &self.volumes {
            match volume.encryption.known() {
                Some(VolumeEncryption::None) => return Some(false),
                Some(VolumeEncryption::Encrypted(_)) => {}
                None => complete = None,
            }
        }
        complete
    }
}

/// One mounted volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Where it is mounted.
    pub mount: String,
    /// How it is encrypted.
    pub encryption: Observation<VolumeEncryption>,
}

/// How a volume is encrypted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VolumeEncryption {
    /// Not at all.
    None,
    /// By the mechanism named: `LUKS2`.
    Encrypted(String),
}

impl VolumeEncryption {
    /// Says whether it is encrypted at all.
    pub fn is_encrypted(&self) -> bool {
        matches!(self, Self::Encrypted(_))
    }
}

/// The relation to EMS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmsConnection {
    /// Whether the endpoint is enrolled.
    pub enrolled: bool,
    /// Whether telemetry reaches EMS now.
    pub telemetry_connected: bool,
    /// EMS's name, where there is one.
    #[serde(default)]
    pub name: Option<String>,
}
