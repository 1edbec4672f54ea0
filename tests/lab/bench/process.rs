//! What a process has used, read from /proc.

use anyhow::{Context, Result};
use std::path::PathBuf;

/// Returns the processor time of all its threads in seconds.
///
/// # Errors
/// When the process is gone.
pub fn processor(id: u32) -> Result<f64> {
    let nanoseconds: u64 = threads(id)?
        .into_iter()
        .filter_map(|thread| std::fs::read_to_string(thread.join("schedstat")).ok())
        .filter_map(|text| text.split_whitespace().next()?.parse::<u64>().ok())
        .sum();
    Ok(nanoseconds as f64 / 1e9)
}

/// Returns how often its threads were switched to and from the processor.
///
/// # Errors
/// When the process is gone.
pub fn switches(id: u32) -> Result<f64> {
    let mut sum = 0.0;
    for thread in threads(id)? {
        let status = std::fs::read_to_string(thread.join("status")).unwrap_or_default();
        let counts = status.lines().filter(|line| line.contains("ctxt_switches"));
        sum += counts.filter_map(|line| line.split_whitespace().last()?.parse::<f64>().ok()).sum::<f64>();
    }
    Ok(sum)
}

/// Returns the most memory that it has held, in megabytes (`VmHWM`, file pages included).
///
/// # Errors
/// When the process is gone.
pub fn peak(id: u32) -> Result<f64> {
    field(id, "VmHWM:")
}

/// Returns the memory that it holds, in megabytes (`VmRSS`, file pages included).
///
/// # Errors
/// When the process is gone.
pub fn resident(id: u32) -> Result<f64> {
    field(id, "VmRSS:")
}

fn field(id: u32, name: &str) -> Result<f64> {
    let path = format!("/proc/{id}/status");
    let status = std::fs::read_to_string(&path).context(path)?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).context("a process without memory")?;
    let kilobytes: f64 = line.trim().trim_end_matches("kB").trim().parse().context("a process's memory")?;
    Ok(kilobytes / 1024.0)
}

fn threads(id: u32) -> Result<Vec<PathBuf>> {
    let path = format!("/proc/{id}/task");
    let entries = std::fs::read_dir(&path).context(path)?;
    Ok(entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
}
