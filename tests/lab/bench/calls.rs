//! System calls of a process while something is done, counted by `strace -c`.
//!
//! Being traced makes each call some ten times as long: the rates of such a run say nothing, how many
//! calls a gigabyte takes says much.

use crate::net::{Running, until};
use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long attaching to the process, and letting go of it, may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Returns how many calls all threads of a process made while `work` was done, and what came of that.
///
/// # Errors
/// When strace cannot attach, or the work fails.
pub fn counted<T>(id: u32, folder: &Path, work: impl FnOnce() -> Result<T>) -> Result<(u64, T)> {
    let summary = folder.join("calls");
    let mut command = Command::new("strace");
    command.args(["-f", "-c", "-q", "-p", &id.to_string(), "-o"]).arg(&summary);
    let mut tracer = Running::start("strace", command.stdout(Stdio::null()).stderr(Stdio::null()))?;
    until("strace at every thread", LIMIT, || Ok(is_traced(id)?.then_some(())))?;
    let outcome = work()?;
    tracer.signal(Signal::SIGINT)?;
    tracer.wait(LIMIT)?;
    let text = std::fs::read_to_string(&summary).context("strace's summary")?;
    Ok((sum(&text), outcome))
}

fn is_traced(id: u32) -> Result<bool> {
    let path = format!("/proc/{id}/task");
    for thread in std::fs::read_dir(&path).context(path)? {
        let status = std::fs::read_to_string(thread?.path().join("status")).unwrap_or_default();
        let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
        if tracer.is_none_or(|tracer| tracer.trim() == "0") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Adds the column of calls up. A line is: share, seconds, microseconds a call, calls, errors if any, name.
fn sum(summary: &str) -> u64 {
    let lines = summary.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_call = fields.last().is_some_and(|name| *name != "total");
        fields.get(3).filter(|_| is_call)?.parse::<u64>().ok()
    });
    lines.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_added_up_with_errors_and_without_and_the_total_is_not() {
        let summary = "% time     seconds  usecs/call     calls    errors syscall\n\
                       ------ ----------- ----------- --------- --------- ----------------\n\
                       \x20 90.12    0.123456          12     10288           recvmmsg\n\
                       \x20  9.88    0.000331           3        99         5 read\n\
                       ------ ----------- ----------- --------- --------- ----------------\n\
                       100.00    0.123787          11     10387         5 total\n";
        assert_eq!(sum(summary), 10_387);
        assert_eq!(sum(""), 0);
    }
}
