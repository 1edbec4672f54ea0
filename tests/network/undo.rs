//! Undoing: exactly ours, whatever happened meanwhile and at whatever moment it ended.

use crate::client::{Client, block_on, full, journal, picture, split};
use anyhow::{Context, Result, bail, ensure};
use lab::net::shell;
use postern_agent::network::plan::{Plan, TunnelNetworkSettings};
use postern_agent::network::step::{Before, Purpose, Step};
use postern_agent::network::system::{SettleError, System, SystemError, Undone, restore};
use postern_agent::network::{Block, PlanError, settle};
use postern_agent::platform::SystemNetwork;
use std::path::Path;
use std::process::{Command, ExitCode};

/// Tells a child how many questions to the system it lives for.
const LIFE: &str = "POSTERN_TEST_LIFE";

fn strict() -> TunnelNetworkSettings {
    TunnelNetworkSettings { block: Block::Firewall, allow_local_network: true, ..full() }
}

pub fn gives_back_the_same() -> Result<()> {
    let client = Client::new()?;
    // So that the hint for strict kernels is part of it.
    shell("sysctl -qw net.ipv4.conf.eth0.rp_filter=1")?;
    let before = picture()?;
    block_on(async {
        client.settle(&client.plan(&strict()).await?).await?;
        let during = picture()?;
        for ours in ["lookup 20591", "proto 80", "table inet postern_block", "postern_answers", "nameserver 10.98.0.1"]
        {
            ensure!(during.contains(ours), "{ours:?} is missing in:\n{during}");
        }
        ensure!(during.contains("10.97.0.5/32"), "the address is missing in:\n{during}");
        client.settle(&Plan::default()).await
    })?;
    same(&before)
}

pub fn keeps_what_others_made() -> Result<()> {
    let client = Client::new()?;
    block_on(async {
        client.settle(&client.plan(&full()).await?).await?;
        shell(
            "ip rule add priority 20591 to 203.0.113.0/24 lookup main
             ip route add 203.0.113.0/24 via 10.99.0.1 dev eth0 table 20591
             ip route add 203.0.114.0/24 via 10.99.0.1
             nft add table inet theirs
             echo 'nameserver 203.0.113.53' >> /etc/resolv.conf",
        )?;
        client.settle(&Plan::default()).await
    })?;
    let after = picture()?;
    for theirs in [
        "to 203.0.113.0/24 lookup main",
        "203.0.113.0/24 via 10.99.0.1 dev eth0 table 20591",
        "203.0.114.0/24",
        "inet theirs",
    ] {
        ensure!(after.contains(theirs), "{theirs:?} is gone:\n{after}");
    }
    for ours in ["proto 80", "postern", "prohibit", "10.98.0.1", "10.97.0.5"] {
        ensure!(!after.contains(ours), "{ours:?} is still there:\n{after}");
    }
    let resolver = std::fs::read_to_string("/etc/resolv.conf")?;
    ensure!(
        resolver == "# by hand\nnameserver 192.0.2.53\nsearch home.example\nnameserver 203.0.113.53\n",
        "{resolver}"
    );
    Ok(())
}

/// The real service cannot choose its moment either: a child is killed by SIGKILL after the
/// first, the second, ... of its questions to the system, until one lives through them all.
pub fn any_kill_is_undone() -> Result<()> {
    let client = Client::new()?;
    let before = picture()?;
    let directory = Path::new("/run/state");
    std::fs::create_dir_all(directory)?;
    let plan = block_on(client.plan(&strict()))?;
    std::fs::write("/run/plan", serde_json::to_vec(&plan)?)?;
    for life in 0_usize.. {
        let status = Command::new(std::env::current_exe()?).env(LIFE, life.to_string()).status()?;
        let mut journal = journal(directory)?;
        if status.code().is_none() && !journal.outstanding().is_empty() {
            // What is armed already must not depend on who lives.
            let guarded = journal.outstanding().iter().any(|record| record.applied && record.purpose == Purpose::Guard);
            ensure!(!guarded || picture()?.contains("from 10.97.0.5") || life < 8, "no guard after {life}");
        }
        block_on(async {
            let settled = settle(&Plan::default(), &mut journal, &mut client.system()?).await?;
            ensure!(settled.failed.is_empty(), "after {life}: {:?}", settled.failed);
            Ok(())
        })?;
        same(&before).with_context(|| format!("killed after {life} questions"))?;
        if status.success() {
            ensure!(life > 2 * plan.steps.len(), "{life} questions are too few for {} steps", plan.steps.len());
            return Ok(());
        }
        ensure!(status.code().is_none(), "the child ended by itself: {status}");
    }
    bail!("no child lived through")
}

/// In the child of [`any_kill_is_undone`]: settles, and dies when its time has come.
pub fn short_life() -> Option<ExitCode> {
    let life: usize = std::env::var(LIFE).ok()?.parse().ok()?;
    let lived = block_on(async {
        let plan: Plan = serde_json::from_slice(&std::fs::read("/run/plan")?)?;
        let mut journal = journal(Path::new("/run/state"))?;
        let mut system = Mortal { system: SystemNetwork::open()?, left: life };
        settle(&plan, &mut journal, &mut system).await?;
        Ok(())
    });
    Some(match lived {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    })
}

/// A system whose caller is killed by the kernel when the time has come.
struct Mortal {
    system: SystemNetwork,
    left: usize,
}

impl Mortal {
    fn grow_older(&mut self) {
        if self.left == 0 {
            // Nothing to handle: there is no time after this line.
            let _ = nix::sys::signal::kill(nix::unistd::getpid(), nix::sys::signal::Signal::SIGKILL);
        }
        self.left = self.left.saturating_sub(1);
    }
}

impl System for Mortal {
    async fn look(&mut self, step: &Step) -> Result<Before, SystemError> {
        self.grow_older();
        self.system.look(step).await
    }

    async fn apply(&mut self, step: &Step, before: &Before) -> Result<(), SystemError> {
        self.grow_older();
        self.system.apply(step, before).await?;
        self.grow_older();
        Ok(())
    }

    async fn undo(&mut self, step: &Step, before: &Before) -> Result<Undone, SystemError> {
        self.grow_older();
        self.system.undo(step, before).await
    }

    async fn restore(&mut self, step: &Step, before: &Before) -> Result<bool, SystemError> {
        self.grow_older();
        self.system.restore(step, before).await
    }
}

/// A program that manages the network, and a firewall that is loaded anew, take away what they do not
/// know.
pub fn what_others_take_is_restored() -> Result<()> {
    let client = Client::new()?;
    let before = picture()?;
    block_on(async {
        let mut journal = journal(Path::new("/run"))?;
        let mut system = client.system()?;
        settle(&client.plan(&strict()).await?, &mut journal, &mut system).await?;
        let during = standing()?;
        ensure!(restore(&journal, |_| true, &mut system).await.is_empty(), "something was missed:\n{during}");
        shell(
            "for family in -4 -6; do
                 ip $family rule show | sed -n 's/^\\(20[0-9]*\\):.*/\\1/p' | while read p; do ip $family rule del pref $p; done
                 for table in 20591 20592; do ip $family route flush table $table 2>/dev/null || true; done
             done
             ip -4 address flush dev postern0
             nft flush ruleset",
        )?;
        ensure!(!standing()?.contains("proto 80"), "still there:\n{}", standing()?);
        let restored = restore(&journal, |_| true, &mut system).await;
        ensure!(restored.len() > 5 && restored.iter().all(|(_, outcome)| outcome.is_ok()), "{restored:?}");
        ensure!(standing()? == during, "before:\n{during}\nafter:\n{}", standing()?);
        ensure!(restore(&journal, |_| true, &mut system).await.is_empty());
        settle(&Plan::default(), &mut journal, &mut system).await?;
        Ok(())
    })?;
    same(&before)
}

/// What stands, in an order of its own and without counts of packets.
fn standing() -> Result<String> {
    let picture = picture()?;
    let mut lines: Vec<&str> = picture.lines().map(|line| line.split(" counter ").next().unwrap_or(line)).collect();
    lines.sort_unstable();
    Ok(lines.join("\n"))
}

pub fn full_disk_changes_nothing() -> Result<()> {
    let client = Client::new()?;
    let before = picture()?;
    shell("mkdir /run/small && mount -t tmpfs -o size=8k tmpfs /run/small")?;
    block_on(async {
        let plan = client.plan(&strict()).await?;
        let mut journal = journal(Path::new("/run/small"))?;
        journal.check_writable()?;
        // The page of the journal itself is there already; fill that too, but for a few octets.
        shell("head -c 4096 /dev/zero > /run/small/rest")?;
        match settle(&plan, &mut journal, &mut client.system()?).await {
            Err(SettleError::Journal(error)) => ensure!(error.to_string().contains("network.journal"), "{error}"),
            Err(error) => bail!("another error: {error}"),
            Ok(_) => bail!("the whole plan found room in 4096 octets"),
        }
        ensure!(journal.outstanding().is_empty(), "{:?}", journal.outstanding());
        Ok(())
    })?;
    same(&before)
}

pub fn without_nftables() -> Result<()> {
    let client = Client::new()?;
    shell("for tool in /usr/sbin/nft /sbin/nft; do mount --bind /dev/null $tool || true; done")?;
    block_on(async {
        let error = client.plan(&split(Block::Firewall)?).await.unwrap_err();
        let error = error.downcast_ref::<PlanError>().context("a plan error")?;
        ensure!(matches!(error, PlanError::FirewallMissing(_)), "{error}");
        client.settle(&client.plan(&split(Block::ProhibitRoutes)?).await?).await?;
        ensure!(shell("ip rule")?.contains("from 10.97.0.5 prohibit"), "{}", shell("ip rule")?);
        client.settle(&Plan::default()).await
    })
}

fn same(before: &str) -> Result<()> {
    let after = picture()?;
    ensure!(after == before, "before:\n{before}\nafter:\n{after}");
    Ok(())
}
