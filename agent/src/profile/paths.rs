//! Where the files lie.
//!
//! Each directory comes from the command line, else from systemd's environment, else from the
//! fixed table, so that many services can live on one machine, each in its namespace.

use std::env;
use std::path::{Path, PathBuf};

/// The three directories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// `postern.toml`, `postern.d/`, `tunnels.d/`.
    pub configuration: PathBuf,
    /// Identity, cache, journal.
    pub state: PathBuf,
    /// The control socket.
    pub runtime: PathBuf,
}

impl Paths {
    /// Settles the directories.
    pub fn settle(configuration: Option<PathBuf>, state: Option<PathBuf>, runtime: Option<PathBuf>) -> Self {
        let settle = |given: Option<PathBuf>, variable: &str, fixed: &str| {
            given.or_else(|| first_of(env::var_os(variable)?)).unwrap_or_else(|| PathBuf::from(fixed))
        };
        Self {
            configuration: settle(configuration, "CONFIGURATION_DIRECTORY", "/etc/postern"),
            state: settle(state, "STATE_DIRECTORY", "/var/lib/postern"),
            runtime: settle(runtime, "RUNTIME_DIRECTORY", "/run/postern"),
        }
    }

    /// Returns the service's settings file.
    pub fn settings(&self) -> PathBuf {
        self.configuration.join("postern.toml")
    }

    /// Returns the directory of the settings' drop-ins.
    pub fn drop_ins(&self) -> PathBuf {
        self.configuration.join("postern.d")
    }

    /// Returns the directory of the local tunnels.
    pub fn tunnels(&self) -> PathBuf {
        self.configuration.join("tunnels.d")
    }

    /// Returns the file of one local tunnel.
    pub fn tunnel(&self, name: &str) -> PathBuf {
        self.tunnels().join(format!("{name}.toml"))
    }

    /// Returns the invitation that may lie ready for an enrolment without a person.
    pub fn invitation(&self) -> PathBuf {
        self.configuration.join("invitation")
    }

    /// Returns the list of invitations that were used without a person, as digests.
    pub fn used_invitations(&self) -> PathBuf {
        self.state.join("invitations-used")
    }

    /// Returns the directory of users' own tunnels, a directory a user.
    pub fn users(&self) -> PathBuf {
        self.state.join("users")
    }

    /// Returns the file of a user's own tunnel.
    pub fn own_tunnel(&self, uid: u32, name: &str) -> PathBuf {
        self.users().join(uid.to_string()).join(format!("{name}.toml"))
    }

    /// Returns the control socket.
    pub fn socket(&self) -> PathBuf {
        self.runtime.join("control.sock")
    }

    /// Returns the directory of stored credentials.
    pub fn secrets(&self) -> PathBuf {
        self.state.join("secrets")
    }

    /// Returns the directory of the undo journal.
    pub fn journal(&self) -> PathBuf {
        self.state.join("journal")
    }

    /// Returns the directory of the enrolment.
    pub fn enrolment(&self) -> PathBuf {
        self.state.join("ems")
    }
}

/// systemd gives a list separated by colons where a unit names several directories.
fn first_of(list: std::ffi::OsString) -> Option<PathBuf> {
    let first = env::split_paths(&list).next()?;
    (first != Path::new("")).then_some(first)
}
