//! The hostile gateway and the hostile network of `tests/rogue/`: Python, with an IKEv2 of its own.

use crate::net::{Host, Running, until};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

/// The interpreter that Debian's `python3-cryptography` belongs to.
const PYTHON: &str = "/usr/bin/python3";

/// One that runs.
#[derive(Debug)]
pub struct Rogue {
    running: Running,
    said: PathBuf,
}

impl Rogue {
    /// Starts one on a host with this behaviour and these arguments, and waits until it listens.
    ///
    /// # Errors
    /// When it does not come up; what it printed is in the error.
    pub fn start(host: &Host, folder: &Path, behaviour: &str, arguments: &[&str]) -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("rogue/rogue.py");
        let said = folder.join(format!("rogue-{behaviour}.said"));
        let output = std::fs::File::create(&said)?;
        let trouble = std::fs::File::create(folder.join(format!("rogue-{behaviour}.log")))?;
        let mut command = host.command(PYTHON);
        command.arg("-B").arg(script).arg(behaviour).args(arguments).stdout(output).stderr(trouble);
        let mut rogue = Self { running: Running::start("rogue.py", &mut command)?, said };
        until("the rogue listening", LIMIT, || match rogue.running.ended()? {
            Some(status) => bail!("rogue.py ended: {status}; does {PYTHON} have the package cryptography?"),
            None => Ok((!rogue.heard("ready").is_empty()).then_some(())),
        })?;
        Ok(rogue)
    }

    /// Returns every line about `what`, such as `eap` or `asked`.
    pub fn heard(&self, what: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.said).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line.get("what").and_then(Value::as_str) == Some(what)).collect()
    }

    /// Waits for a line about `what`.
    ///
    /// # Errors
    /// When there is none in time; everything that it said is in the error.
    pub fn wait_for(&self, what: &str) -> Result<()> {
        until(&format!("the rogue saying {what:?}"), LIMIT, || Ok((!self.heard(what).is_empty()).then_some(())))
            .with_context(|| std::fs::read_to_string(&self.said).unwrap_or_default())
    }

    /// Returns every EAP packet that it was sent.
    ///
    /// # Errors
    /// When its words cannot be understood.
    pub fn eap_answers(&self) -> Result<Vec<Vec<u8>>> {
        let packets = self.heard("eap");
        let octets = packets.iter().map(|line| line.get("octets").and_then(Value::as_str).unwrap_or_default());
        octets.map(|octets| hex::decode(octets).context("octets in hexadecimal")).collect()
    }
}

/// Returns the memory that a process holds for itself, in kB (`RssAnon`).
///
/// Not `VmHWM`: that also counts the pages of the program's file that were used so far, which for a
/// debug build are tens of megabytes, and which the system takes back when it likes.
///
/// # Errors
/// When there is no such process.
fn private_memory(process: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).context("a process's status")?;
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).context("no RssAnon")?;
    line.split_whitespace().nth(1).context("no number")?.parse().context("a number of kB")
}

/// Watches the private memory of a process until it is asked for the peak.
pub struct MemoryWatch {
    process: u32,
    before: u64,
    over: Arc<AtomicBool>,
    watcher: std::thread::JoinHandle<u64>,
}

impl MemoryWatch {
    /// Begins.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn start(process: u32) -> Result<Self> {
        let before = private_memory(process)?;
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        let watcher = std::thread::spawn(move || {
            let mut peak = before;
            while !seen.load(Ordering::Relaxed) {
                peak = private_memory(process).map_or(peak, |held| peak.max(held));
                std::thread::sleep(Duration::from_millis(5));
            }
            peak
        });
        Ok(Self { process, before, over, watcher })
    }

    /// Returns by how much the process has grown at most, in kB.
    ///
    /// # Errors
    /// When the process is gone: what is no more has no memory to be measured.
    pub fn gained(self) -> Result<u64> {
        self.over.store(true, Ordering::Relaxed);
        let last = private_memory(self.process)?;
        let peak = self.watcher.join().map_err(|_| anyhow::anyhow!("the watch of the memory has panicked"))?;
        Ok(peak.max(last).saturating_sub(self.before))
    }
}
