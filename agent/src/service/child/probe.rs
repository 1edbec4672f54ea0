//! Tries what the network process must not be able to do, under the very confinement it has.
//!
//! `posternd net-probe PATH...` puts itself under that confinement, then tries to read the named
//! files and to do a few things that whoever broke into NET would do next, and prints what came of
//! each, one object a line. So an administrator can see on his own machine what holds there.

use crate::service::rights::{self, Measure};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// One line of a probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "kebab-case")]
pub enum Line {
    /// A measure of the confinement.
    Measure(Measure),
    /// Something that was tried.
    Tried {
        /// What.
        what: String,
        /// Whether it could be done.
        done: bool,
        /// What the system said.
        said: String,
    },
}

/// Confines this process as NET and tries. Called before any thread is made.
///
/// # Errors
/// When the confinement itself fails, or nobody reads the lines.
pub fn main(paths: &[PathBuf]) -> io::Result<()> {
    let confinement = rights::confine_net()?;
    let mut lines: Vec<Line> = confinement.measures.into_iter().map(Line::Measure).collect();
    let mut attempt = |what: String, outcome: io::Result<()>| {
        let said = outcome.as_ref().err().map(ToString::to_string).unwrap_or_default();
        lines.push(Line::Tried { what, done: outcome.is_ok(), said });
    };
    for path in paths {
        attempt(format!("read {}", path.display()), read(path));
        attempt(format!("write {}", path.display()), OpenOptions::new().append(true).open(path).map(drop));
    }
    attempt("list /".into(), fs::read_dir("/").map(drop));
    attempt("run /bin/sh".into(), Command::new("/bin/sh").arg("-c").arg(":").status().map(drop));
    #[cfg(unix)]
    attempt("open a local socket".into(), std::os::unix::net::UnixDatagram::unbound().map(drop));
    #[cfg(target_os = "linux")]
    {
        let parent = nix::unistd::getppid();
        attempt(
            "signal the process that started this one".into(),
            nix::sys::signal::kill(parent, None).map_err(Into::into),
        );
        attempt("take root back".into(), take_root());
        let device = OpenOptions::new().read(true).write(true).open("/dev/net/tun");
        attempt("open the tunnel device".into(), device.map(drop));
        attempt("open a datagram socket".into(), std::net::UdpSocket::bind("127.0.0.1:0").map(drop));
    }
    let mut out = io::stdout().lock();
    lines.iter().try_for_each(|line| writeln!(out, "{}", serde_json::to_string(line)?))
}

fn read(path: &Path) -> io::Result<()> {
    if path.is_dir() { fs::read_dir(path).map(drop) } else { File::open(path).map(drop) }
}

#[cfg(target_os = "linux")]
fn take_root() -> io::Result<()> {
    use nix::unistd::{Uid, geteuid, setresuid};
    let root = Uid::from_raw(0);
    if geteuid().is_root() {
        return Err(io::Error::other("is root already, of the same user namespace as the service"));
    }
    setresuid(root, root, root).map_err(Into::into)
}
