//! Hosts and wires: network namespaces, veth pairs, and work done inside a namespace.

use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::fs::File;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// One host: a named network namespace with its loopback up.
#[derive(Clone, Debug)]
pub struct Host {
    name: String,
}

impl Host {
    /// Makes the namespace.
    ///
    /// # Errors
    /// When `ip netns add` fails; its words are in the error.
    pub fn new(name: &str) -> Result<Self> {
        shell(&format!("ip netns add {name}"))?;
        let host = Self { name: name.into() };
        host.shell(
            "ip link set lo up
             echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter
             echo 0 > /proc/sys/net/ipv4/conf/default/rp_filter",
        )?;
        Ok(host)
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives the host its own file in `/etc`, seen by every program that runs on it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn etc(&self, file: &str, content: &str) -> Result<()> {
        let folder = format!("/etc/netns/{}", self.name);
        std::fs::create_dir_all(&folder).with_context(|| folder.clone())?;
        std::fs::write(format!("{folder}/{file}"), content).with_context(|| format!("{folder}/{file}"))
    }

    /// Returns a command that will run on this host.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program.as_ref());
        command
    }

    /// Runs a shell line on this host and returns what it printed.
    ///
    /// # Errors
    /// When it exits non-zero; what it printed is in the error.
    pub fn shell(&self, line: &str) -> Result<String> {
        let mut command = self.command("sh");
        command.args(["-ec", line]);
        output_of(&mut command).with_context(|| format!("on {}: {line}", self.name))
    }

    /// Runs a function in a thread that stands on this host: sockets it opens belong to the host.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or as the function says.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let path = format!("/run/netns/{}", self.name);
        std::thread::scope(|scope| {
            scope
                .spawn(move || {
                    let namespace = File::open(&path).with_context(|| path.clone())?;
                    nix::sched::setns(&namespace, nix::sched::CloneFlags::CLONE_NEWNET)
                        .with_context(|| format!("entering {path}"))?;
                    work()
                })
                .join()
                .map_err(|_| anyhow::anyhow!("work inside {} panicked", self.name))?
        })
    }
}

/// Connects two hosts by a wire (a veth pair). Each end is `(host, interface, addresses)`, the
/// addresses with their prefix lengths, separated by spaces.
///
/// # Errors
/// When a command fails; its words are in the error.
pub fn wire(left: (&Host, &str, &str), right: (&Host, &str, &str)) -> Result<()> {
    shell(&format!(
        "ip link add {} netns {} type veth peer name {} netns {}",
        left.1, left.0.name, right.1, right.0.name
    ))?;
    for (host, interface, addresses) in [left, right] {
        for address in addresses.split_whitespace() {
            // `nodad`: an address is usable at once, so no test has to wait for it.
            let nodad = if address.contains(':') { " nodad" } else { "" };
            host.shell(&format!("ip address add {address} dev {interface}{nodad}"))?;
        }
        host.shell(&format!("ip link set {interface} up"))?;
    }
    Ok(())
}

/// Runs a shell line and returns what it printed.
///
/// # Errors
/// When it exits non-zero; what it printed is in the error.
pub fn shell(line: &str) -> Result<String> {
    let mut command = Command::new("sh");
    command.args(["-ec", line]);
    output_of(&mut command).with_context(|| line.to_owned())
}

/// Runs a command to its end and returns what it printed.
///
/// # Errors
/// When it cannot be started or exits non-zero; what it printed is in the error.
pub fn output_of(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().context("starting the command")?;
    if !output.status.success() {
        bail!("{}: {}{}", output.status, text(&output.stdout), text(&output.stderr));
    }
    Ok(text(&output.stdout))
}

/// Returns a finished command's exit code and what it printed, standard output and error apart.
///
/// # Errors
/// When it cannot be started or was killed by a signal.
pub fn finish(command: &mut Command) -> Result<(i32, String, String)> {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().context("starting the command")?;
    let code = status.code().with_context(|| format!("ended by a signal: {status}"))?;
    Ok((code, text(&stdout), text(&stderr)))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Waits until `condition` gives a value, asking often; fails with `what` after `limit`.
///
/// For what cannot be waited for by an event, such as another program's log line. The limit is
/// there to end a hung test, not to measure anything.
///
/// # Errors
/// When the limit passes, or as the condition says.
pub fn until<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if Instant::now() > deadline {
            bail!("waited {} s for this, in vain: {what}", limit.as_secs());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A program that is ended when this value goes.
#[derive(Debug)]
pub struct Running {
    child: Child,
    name: String,
}

impl Running {
    /// Starts the command.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(name: &str, command: &mut Command) -> Result<Self> {
        let child = command.stdin(Stdio::null()).spawn().with_context(|| format!("starting {name}"))?;
        Ok(Self { child, name: name.into() })
    }

    /// Returns its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it is gone already.
    pub fn signal(&self, signal: nix::sys::signal::Signal) -> Result<()> {
        let id = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).context("a process id fits 31 bits")?);
        nix::sys::signal::kill(id, signal).with_context(|| format!("signalling {}", self.name))
    }

    /// Tells whether it has ended, and how.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn ended(&mut self) -> Result<Option<std::process::ExitStatus>> {
        self.child.try_wait().with_context(|| format!("asking for {}", self.name))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it has not ended after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<std::process::ExitStatus> {
        let name = self.name.clone();
        until(&format!("the end of {name}"), limit, || self.ended())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; both calls then do nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
