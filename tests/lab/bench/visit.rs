//! One visit to one system: it is started, measured, and ended.

use super::calls;
use super::datagrams;
use super::figures::Figures;
use super::pair::Pair;
use super::process;
use super::stream::{self, Way};
use super::system::{System, Up};
use crate::net::Running;
use anyhow::{Context, Result};
use std::time::Duration;

/// What can be measured on a visit.
pub const MEASURES: &[&str] = &["tcp", "steady", "datagrams", "latency", "idle", "calls"];

/// Megabits a second of the steady load.
const STEADY: u32 = 300;
/// Datagrams a second of the overload.
const OVERLOAD: f64 = 300_000.0;
/// How long nothing is done to see what an idle system does.
const REST: Duration = Duration::from_secs(5);
/// Pings of a series, and the time between them.
const PINGS: usize = 400;
const PING_INTERVAL: Duration = Duration::from_millis(2);

/// Starts a system and measures what `wanted` names; a transfer goes on for `seconds`.
///
/// # Errors
/// When the system does not come up or a measurement cannot be made.
pub fn visit(system: &System, wanted: &dyn Fn(&str) -> bool, seconds: u32, figures: &mut Figures) -> Result<()> {
    let pair = Pair::new()?;
    let up = system.start(&pair)?;
    let server = stream::serve(&pair.gateway)?;
    let visit = Visit { system, pair: &pair, up: &up, seconds };
    // What rests is looked at first: nothing has been stirred up yet.
    if wanted("idle") {
        visit.idle(figures)?;
    }
    if wanted("latency") {
        visit.latency(figures)?;
    }
    if wanted("tcp") {
        visit.tcp(figures)?;
    }
    if wanted("steady") {
        visit.steady(figures)?;
    }
    if wanted("datagrams") {
        visit.datagrams(figures)?;
    }
    if wanted("calls") {
        visit.calls(figures)?;
    }
    if let Some(client) = up.client {
        figures.note("memory, peak", system.name, "MB", process::peak(client)?);
    }
    drop(server);
    Ok(())
}

struct Visit<'a> {
    system: &'a System,
    pair: &'a Pair,
    up: &'a Up,
    seconds: u32,
}

impl Visit<'_> {
    fn idle(&self, figures: &mut Figures) -> Result<()> {
        let Some(client) = self.up.client else { return Ok(()) };
        figures.note("memory, idle", self.system.name, "MB", process::resident(client)?);
        let before = process::switches(client)?;
        std::thread::sleep(REST);
        let switches = (process::switches(client)? - before) / REST.as_secs_f64();
        figures.note("context switches, idle", self.system.name, "1/s", switches);
        Ok(())
    }

    fn latency(&self, figures: &mut Figures) -> Result<()> {
        self.pings("ping, idle", figures)?;
        let mut load = self.pair.client.command("iperf3");
        let seconds = (self.seconds + 1).to_string();
        load.args(["-C", "cubic", "-c", &self.up.target.to_string(), "-t", &seconds]);
        let mut load = Running::start("iperf3", load.stdout(std::process::Stdio::null()))?;
        std::thread::sleep(Duration::from_millis(500));
        self.pings("ping beside one stream up", figures)?;
        load.wait(Duration::from_secs(60)).map(drop)
    }

    fn pings(&self, measure: &str, figures: &mut Figures) -> Result<()> {
        let mut times = crate::ping::times(&self.pair.client, self.up.target, PINGS, PING_INTERVAL)?;
        times.sort();
        for (name, part) in [("median", PINGS / 2), ("p99", PINGS * 99 / 100)] {
            // Answers that never came are missing at the end: the slowest.
            let time = times.get(part).or(times.last()).context("no ping was answered")?;
            figures.note(&format!("{measure}, {name}"), self.system.name, "us", time.as_secs_f64() * 1e6);
        }
        Ok(())
    }

    fn tcp(&self, figures: &mut Figures) -> Result<()> {
        for (streams, way) in [(1, Way::Up), (1, Way::Down), (4, Way::Up), (4, Way::Down)] {
            let streams_text = if streams == 1 { "one stream".to_owned() } else { format!("{streams} streams") };
            let name = format!("TCP {}, {streams_text}", direction(way));
            self.transfer(&name, way, streams, None, figures)?;
        }
        Ok(())
    }

    fn steady(&self, figures: &mut Figures) -> Result<()> {
        for way in [Way::Up, Way::Down] {
            self.transfer(&format!("{STEADY} Mbit/s {}", direction(way)), way, 1, Some(STEADY), figures)?;
        }
        Ok(())
    }

    /// At a steady rate too: there every piece of data wakes somebody.
    fn calls(&self, figures: &mut Figures) -> Result<()> {
        let Some(id) = self.up.client else { return Ok(()) };
        let Pair { client, folder, .. } = self.pair;
        for (way, megabits) in [(Way::Up, None), (Way::Down, None), (Way::Up, Some(STEADY)), (Way::Down, Some(STEADY))]
        {
            let (count, transfer) = calls::counted(id, folder, || {
                stream::transfer(client, self.up.target, way, 1, self.seconds, megabits)
            })?;
            let rate = megabits.map_or("TCP".to_owned(), |rate| format!("{rate} Mbit/s"));
            let measure = format!("system calls, {rate} {}, one stream", direction(way));
            figures.note(&measure, self.system.name, "1/GB", count as f64 / transfer.gigabytes);
        }
        Ok(())
    }

    fn transfer(&self, name: &str, way: Way, streams: u32, megabits: Option<u32>, figures: &mut Figures) -> Result<()> {
        let used = || self.up.client.map(process::processor).transpose();
        let before = used()?;
        let Pair { client, .. } = self.pair;
        let transfer = stream::transfer(client, self.up.target, way, streams, self.seconds, megabits)?;
        if megabits.is_none() {
            figures.note(name, self.system.name, "Gbit/s", transfer.rate);
        }
        if let (Some(before), Some(after)) = (before, used()?) {
            let cost = (after - before) / transfer.gigabytes;
            figures.note(&format!("processor, {name}"), self.system.name, "s/GB", cost);
        }
        Ok(())
    }

    fn datagrams(&self, figures: &mut Figures) -> Result<()> {
        let Pair { client, gateway, .. } = self.pair;
        for size in [64, 1300] {
            let rate = datagrams::lossless(client, gateway, self.up.target, size)?;
            figures.note(&format!("datagrams of {size} octets without loss"), self.system.name, "1000/s", rate / 1e3);
        }
        let span = Duration::from_secs(1);
        let outcome = datagrams::offer(client, gateway, self.up.target, 64, OVERLOAD, span)?;
        let measure = "datagrams that arrive of 300,000/s offered";
        figures.note(measure, self.system.name, "1000/s", outcome.received / 1e3);
        Ok(())
    }
}

const fn direction(way: Way) -> &'static str {
    match way {
        Way::Up => "up",
        Way::Down => "down",
    }
}
