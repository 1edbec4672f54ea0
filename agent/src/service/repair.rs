//! `posternd repair`: takes back what a service that died left on the network, without starting one.
//!
//! The service does the same when it begins; this is for where it does not, or is not to, begin. By the same
//! keeper and the same journal, and under the same locks, so that it never works beside a service. A block after
//! a lost compliance stays, and is set up again where a boot took it, unless it is told to be lifted: that a
//! service died is no reason to let out what it kept in.

use crate::network::Journal;
use crate::network::journal::Record;
use crate::network::system::System;
use crate::platform::{self, SystemNetwork};
use crate::profile::Paths;
use crate::service::hub::block_note;
use crate::service::network::keeper::{Job, Keeper};
use crate::service::start;
use anyhow::Context;
use std::io::{self, Write};
use tokio::sync::{mpsc, oneshot};

/// What was taken back, and what stands still.
#[derive(Debug, Default, PartialEq, Eq)]
struct Repaired {
    undone: Vec<String>,
    kept: Vec<String>,
    /// The tunnel whose networks stay blocked.
    blocked: Option<String>,
}

/// Takes back what is left, prints it, and returns.
///
/// # Errors
/// When a service runs, when this is not root, or when something cannot be taken back.
pub fn main(paths: &Paths, lift_block: bool) -> anyhow::Result<()> {
    let _lock = start::take_directories(paths).context("nothing was changed")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let repaired = runtime.block_on(async {
        let system = SystemNetwork::open().context("the network cannot be changed (is this root?)")?;
        repair(paths, lift_block, system).await
    })?;
    Ok(print(&repaired, &mut io::stdout().lock())?)
}

async fn repair(paths: &Paths, lift_block: bool, system: impl System + Send + 'static) -> anyhow::Result<Repaired> {
    let boot = platform::boot()?;
    let standing = || Journal::peek(&paths.state, &boot);
    let before = standing()?;
    let blocked = block_note::read(&paths.state).map(|note| note.tunnel).filter(|_| !lift_block);
    let (jobs, jobs_in) = mpsc::unbounded_channel();
    let (reply, outcome) = oneshot::channel();
    jobs.send(if blocked.is_some() { Job::Block(reply) } else { Job::Nothing(reply) })?;
    drop(jobs);
    Keeper::new(paths.state.clone(), system).run(jobs_in).await;
    let warnings = outcome.await?.map_err(|fault| anyhow::anyhow!("{fault}"))?;
    if blocked.is_some() {
        warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    } else {
        block_note::remove(&paths.state).context("the note of the block cannot be removed")?;
    }
    let after = standing()?;
    let undone = before.iter().filter(|record| !after.iter().any(|left| left.after == record.after)).map(line);
    Ok(Repaired { undone: undone.collect(), kept: after.iter().map(line).collect(), blocked })
}

fn line(record: &Record) -> String {
    record.after.to_string()
}

fn print(repaired: &Repaired, out: &mut impl Write) -> io::Result<()> {
    if repaired.undone.is_empty() && repaired.kept.is_empty() {
        return writeln!(out, "nothing was left behind");
    }
    repaired.undone.iter().try_for_each(|line| writeln!(out, "undone: {line}"))?;
    repaired.kept.iter().try_for_each(|line| writeln!(out, "kept: {line}"))?;
    match &repaired.blocked {
        Some(tunnel) => writeln!(out, "what {tunnel:?} protected stays blocked; to lift that: --lift-block"),
        None if repaired.kept.is_empty() => Ok(()),
        None => writeln!(out, "programs still hold the tunnel's addresses: end them, then repair again"),
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::network::plan::{Plan, PlannedStep};
    use crate::network::resolver::ResolverChange;
    use crate::network::settle;
    use crate::network::step::{Device, Purpose, Step};
    use crate::platform::HostSettings;
    use std::fs;

    fn resolver(number: u32) -> Step {
        Step::Resolver(ResolverChange {
            device: Device { name: "postern0".into(), index: number },
            servers: vec!["10.98.0.1".parse().unwrap()],
            routed: vec![],
            search: vec![],
            catch_all: true,
        })
    }

    /// The directories of a service that died with a tunnel up, and the resolver's file that it changed.
    async fn died(blocked: bool) -> (tempfile::TempDir, Paths, std::path::PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| Some(directory.path().join(name));
        let paths = Paths::settle(place("etc"), place("state"), place("run"));
        fs::create_dir_all(&paths.state).unwrap();
        let file = directory.path().join("resolv.conf");
        fs::write(&file, "nameserver 192.0.2.53\n").unwrap();
        let mut journal = Journal::open(&paths.state, &platform::boot().unwrap()).unwrap();
        let purpose = if blocked { Purpose::Block } else { Purpose::Tunnel };
        let steps = vec![PlannedStep { purpose, step: resolver(7) }];
        let mut host = HostSettings::with_resolver_file(file.clone());
        settle(&Plan { steps, warnings: vec![] }, &mut journal, &mut host).await.unwrap();
        if blocked {
            let note = r#"{"tunnel":"work","why":{"name":"ComplianceLost","detail":"x"},"owner":1000}"#;
            fs::write(paths.state.join("block.json"), note).unwrap();
            assert!(block_note::read(&paths.state).is_some());
        }
        (directory, paths, file)
    }

    #[tokio::test]
    async fn what_a_dead_service_left_is_taken_back_once() {
        let (_directory, paths, file) = died(false).await;
        let repaired = repair(&paths, false, HostSettings::default()).await.unwrap();
        assert_eq!(repaired, Repaired { undone: vec![resolver(7).to_string()], ..Repaired::default() });
        assert_eq!(fs::read_to_string(&file).unwrap(), "nameserver 192.0.2.53\n");
        let again = repair(&paths, false, HostSettings::default()).await.unwrap();
        assert_eq!(again, Repaired::default());
        let mut said = Vec::new();
        print(&again, &mut said).unwrap();
        assert_eq!(said, b"nothing was left behind\n");
    }

    #[tokio::test]
    async fn a_block_stays_until_it_is_told_to_be_lifted() {
        let (_directory, paths, file) = died(true).await;
        let blocked = fs::read_to_string(&file).unwrap();
        let kept = vec![resolver(7).to_string()];
        let repaired = repair(&paths, false, HostSettings::default()).await.unwrap();
        assert_eq!(repaired, Repaired { kept: kept.clone(), blocked: Some("work".into()), ..Repaired::default() });
        assert_eq!(fs::read_to_string(&file).unwrap(), blocked);
        let lifted = repair(&paths, true, HostSettings::default()).await.unwrap();
        assert_eq!(lifted, Repaired { undone: kept, ..Repaired::default() });
        assert!(block_note::read(&paths.state).is_none());
        assert_eq!(fs::read_to_string(&file).unwrap(), "nameserver 192.0.2.53\n");
    }

    #[test]
    fn nothing_is_touched_while_a_service_runs() {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| Some(directory.path().join(name));
        let paths = Paths::settle(place("etc"), place("state"), place("run"));
        let _service = start::take_directories(&paths).unwrap();
        let refused = main(&paths, true).unwrap_err();
        assert!(format!("{refused:#}").contains("another posternd runs"), "{refused:#}");
    }
}
