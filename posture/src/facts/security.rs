//! Facts about what protects the system beside antivirus, firewall and disk encryption.

use super::Observation;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The protections of the system itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemSecurity {
    /// Whether the firmware starts only what is signed (UEFI Secure Boot).
    pub secure_boot: Observation<bool>,
    /// Which mandatory access control confines programs, and whether it enforces.
    pub access_control: Observation<AccessControl>,
    /// Whether the screen locks by itself.
    pub screen_lock: Observation<ScreenLock>,
}

/// Mandatory access control: SELinux, AppArmor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessControl {
    /// Its name; empty where there is none.
    pub name: String,
    /// Whether it refuses what its policy forbids, and does not only write it down.
    pub enforcing: bool,
}

/// The lock of the screen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScreenLock {
    /// Whether it locks without being told to.
    pub automatic: bool,
    /// After how many idle seconds, where that is known.
    #[serde(default)]
    pub after_seconds: Option<u64>,
}

/// The protections of Windows that a rule of type `windows-security` can name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowsSecurity {
    /// Microsoft Defender's real-time protection.
    pub defender: Observation<bool>,
    /// BitLocker on the system's volume.
    pub bitlocker: Observation<bool>,
    /// Exploit Guard (network protection or controlled folder access).
    pub exploit_guard: Observation<bool>,
    /// Application Guard.
    pub application_guard: Observation<bool>,
    /// Windows Firewall in every profile that is in use.
    pub firewall: Observation<bool>,
}

/// How up to date the system is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Updates {
    /// When packages were last installed or upgraded, or found to need nothing, in seconds since 1970.
    pub last_unix: Observation<u64>,
    /// How many updates are known to wait.
    pub pending: Observation<u64>,
}

/// One certificate of a store of the system.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CertificateFact {
    /// The common name of its subject; empty where it has none.
    pub subject: String,
    /// The common name of its issuer; empty where it has none.
    pub issuer: String,
    /// Its last second of validity, in seconds since 1970.
    pub not_after_unix: u64,
    /// Its first second of validity, in seconds since 1970.
    pub not_before_unix: u64,
    /// SHA-256 over it, in hexadecimal.
    pub sha256: String,
    /// The store: `system roots`, `current user`, `local computer`.
    pub store: String,
}

/// A key of the Windows registry that a rule asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryKeyFact {
    /// Whether the key is there.
    pub present: bool,
    /// The values that rules ask for, by name in lower case; a value that is not there is not named.
    #[serde(default)]
    pub values: std::collections::BTreeMap<String, RegistryValue>,
}

/// One value of the registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RegistryValue {
    /// A number (`REG_DWORD`, `REG_QWORD`).
    Number(u64),
    /// A text (`REG_SZ`, `REG_EXPAND_SZ`).
    Text(String),
    /// Of another type.
    Other,
}

impl fmt::Display for RegistryValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(formatter, "{number}"),
            Self::Text(text) => write!(formatter, "\"{text}\""),
            Self::Other => formatter.write_str("a value of another type"),
        }
    }
}
