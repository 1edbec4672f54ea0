//! What each process of the service may do. Held per thread, so this runs before any other thread.
//!
//! | process | user | capabilities | files | system calls |
//! |---|---|---|---|---|
//! | MAIN | the service's | reading others' files and processes, the socket's group; NET_ADMIN only for the children it starts | all it may read | all |
//! | NET | `postern-net` where there is one | NET_ADMIN | `/dev/net/tun` | none that run programs, reach into processes, mount, or open sockets besides those of the network |
//! | look-up | `postern-net` where there is one | none | what the resolver reads | as NET, and local sockets |
//! | inquiry | as look-up | none | as look-up | as look-up |
//! | scan | the service's | reading others' files | all it may read | as NET, and no socket at all |
//! | token | the service's | none | all that its user may read | all |
//!
//! A measure that the system does not offer is left out and told ([`Measure::in_force`]); one that
//! it offers and refuses ends the process.

#[cfg(target_os = "linux")]
#[path = "linux/mod.rs"]
mod system;
#[cfg(not(target_os = "linux"))]
#[path = "other.rs"]
mod system;

use serde::{Deserialize, Serialize};
use std::fmt;

pub(crate) use system::{confine_look_up, confine_net, confine_scan, confine_token, keep_for_main, mark};

/// What confines a process, measure by measure, as it found when it began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// The measures.
    pub measures: Vec<Measure>,
}

/// One of the walls around a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measure {
    /// What it is about: `user`, `capabilities`, `files`, `system calls`.
    pub about: String,
    /// Whether it holds.
    pub in_force: bool,
    /// What holds, or why nothing does.
    pub detail: String,
    /// What would make it hold, where somebody can do something.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub next: String,
}

impl Measure {
    #[cfg_attr(not(target_os = "linux"), expect(dead_code))]
    fn holds(about: &str, detail: impl Into<String>) -> Self {
        Self { about: about.into(), in_force: true, detail: detail.into(), next: String::new() }
    }

    fn lacks(about: &str, detail: impl Into<String>, next: &str) -> Self {
        Self { about: about.into(), in_force: false, detail: detail.into(), next: next.into() }
    }
}

impl fmt::Display for Confinement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, measure) in self.measures.iter().enumerate() {
            let lacks = if measure.in_force { "" } else { "NOT CONFINED: " };
            write!(formatter, "{}{}: {lacks}{}", if number == 0 { "" } else { "; " }, measure.about, measure.detail)?;
        }
        Ok(())
    }
}
