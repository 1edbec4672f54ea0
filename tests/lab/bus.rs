//! A system bus of the scenario's own, at the place where programs look for the system's, and
//! systemd-logind played on it.

use crate::net::{Running, until};
use anyhow::{Context, Result};
use std::io::{PipeReader, Read};
use std::os::fd::OwnedFd as Descriptor;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;
use zbus::zvariant::OwnedFd;

const CONFIGURATION: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <policy context="default">
    <allow own="*"/>
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
    <allow user="*"/>
  </policy>
</busconfig>
"#;
const LOGIND: &str = "org.freedesktop.login1";
const MANAGER: &str = "org.freedesktop.login1.Manager";
const MANAGER_PATH: &str = "/org/freedesktop/login1";

/// Starts the bus; it ends with the value.
///
/// # Errors
/// When `dbus-daemon` does not come up.
pub fn system() -> Result<Running> {
    std::fs::create_dir_all("/run/dbus")?;
    std::fs::write("/run/bus.conf", CONFIGURATION)?;
    let mut command = Command::new("dbus-daemon");
    let bus = Running::start("dbus-daemon", command.args(["--config-file=/run/bus.conf", "--nofork"]))?;
    until("the bus", Duration::from_secs(10), || {
        Ok(std::os::unix::net::UnixStream::connect("/run/dbus/system_bus_socket").ok())
    })?;
    Ok(bus)
}

/// A lock that somebody took against sleep: what it is for, and a pipe whose other end he holds.
#[derive(Debug)]
pub struct Lock {
    /// `what`, `who` and `mode`, as they were asked for.
    pub asked: [String; 3],
    held: PipeReader,
}

impl Lock {
    /// Waits until it is let go.
    ///
    /// # Errors
    /// When the pipe cannot be read.
    pub fn wait_until_let_go(mut self) -> Result<()> {
        let read = self.held.read(&mut [0; 1])?;
        anyhow::ensure!(read == 0, "somebody wrote into the lock");
        Ok(())
    }
}

struct Manager(mpsc::Sender<Lock>);

#[zbus::interface(name = "org.freedesktop.login1.Manager")]
impl Manager {
    fn inhibit(&self, what: String, who: String, _why: String, mode: String) -> zbus::fdo::Result<OwnedFd> {
        let failed = |error: std::io::Error| zbus::fdo::Error::Failed(error.to_string());
        let (held, lock) = std::io::pipe().map_err(failed)?;
        let _ = self.0.send(Lock { asked: [what, who, mode], held });
        Ok(Descriptor::from(lock).into())
    }
}

/// systemd-logind, as far as sleep goes.
#[derive(Debug)]
pub struct Logind {
    runtime: tokio::runtime::Runtime,
    connection: zbus::Connection,
    locks: mpsc::Receiver<Lock>,
}

impl Logind {
    /// Takes its name on the system bus.
    ///
    /// # Errors
    /// When the bus does not let it.
    pub fn start() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let (taken, locks) = mpsc::channel();
        let connection = runtime.block_on(async {
            zbus::connection::Builder::system()?.name(LOGIND)?.serve_at(MANAGER_PATH, Manager(taken))?.build().await
        })?;
        Ok(Self { runtime, connection, locks })
    }

    /// Waits for the next lock that somebody takes.
    ///
    /// # Errors
    /// When nobody does within the limit.
    pub fn lock(&self, limit: Duration) -> Result<Lock> {
        self.locks.recv_timeout(limit).context("nobody takes a lock against sleep")
    }

    /// Says that sleep is about to begin, or that it is over.
    ///
    /// # Errors
    /// When the bus is gone.
    pub fn prepare_for_sleep(&self, begins: bool) -> Result<()> {
        let body = (begins,);
        let told = self.connection.emit_signal(None::<&str>, MANAGER_PATH, MANAGER, "PrepareForSleep", &body);
        Ok(self.runtime.block_on(told)?)
    }
}
