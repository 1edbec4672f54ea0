//! Clocks that jump and clocks that are wrong, at the endpoint and at EMS, and a day of sleep.
//!
//! The proof is that of [`crate::flapping`]: each packet of the tunnel is held against what was done.

use crate::flapping::{BOUND, HELD, Sampler, Stage};
use crate::gateway;
use crate::management::Ems;
use anyhow::{Context, Result, ensure};
use lab::client::Endpoint;
use lab::clock::Clocks;
use lab::net::until;
use lab::roadwarrior::{LIMIT, Network, work};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use postern_api::FaultName;
use std::time::Duration;

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;
/// Shorter than any key lives.
const NAP: i64 = HOUR / 6;
/// How long the clock alone may take to be noticed: it is looked at each second.
const NOTICED: Duration = Duration::from_secs(2);
/// Longer than a tunnel takes to return once nothing is in its way.
const RETURN: Duration = Duration::from_millis(2_500);
/// Longer than a packet is under way that was sent before the sleep.
const UNDER_WAY: Duration = Duration::from_millis(50);
/// For how long EMS's own tags hold without it.
const GRACE: &str = "offline_grace = \"26h\"\n";

pub fn jumped_and_slept() -> Result<()> {
    let network = Network::new()?;
    let _gateway = network.strongswan(&gateway())?;
    let (own, of_ems) = (Clocks::new(&network.folder.join("own"))?, Clocks::new(&network.folder.join("of-ems"))?);
    // Two heartbeats missed, and EMS is gone.
    let heart = &["--heartbeat-milliseconds", "1000"];
    let ems = Ems::start_with(&network, "127.0.0.1:8443", heart, of_ems.environment().into())?;
    let mut endpoint = Endpoint::new(&network.client, &network.folder.join("endpoint"))?;
    endpoint.give_environment(own.environment());
    let mut stage = Stage::with(&network, ems, endpoint, GRACE)?;
    let sampler = Sampler::start(&network)?;
    passes(&stage)?;
    to_and_fro(&mut stage, &own, &of_ems)?;
    expired(&mut stage, &own)?;
    ahead(&mut stage, &of_ems)?;
    overnight(&mut stage, &own, &of_ems)?;
    unheard(&mut stage, &own, &of_ems)?;
    forgotten(&mut stage, &own, &of_ems)?;
    drop(sampler);
    stage.judge()
}

/// Waits until packets pass, and for so long again that some pass when the next violation begins.
fn passes(stage: &Stage) -> Result<()> {
    stage.comes_back()?;
    std::thread::sleep(HELD / 4);
    Ok(())
}

/// A clock that jumps by a day, ahead and back, beside an EMS that is hours behind, ends no tunnel; and a
/// violation is one on any day.
fn to_and_fro(stage: &mut Stage, own: &Clocks, of_ems: &Clocks) -> Result<()> {
    let before = stage.up_for()?;
    of_ems.set_wall(-5 * HOUR)?;
    for day in [1, -1, 0, 1, 0, -1] {
        own.set_wall(day * DAY)?;
        std::thread::sleep(HELD / 4);
    }
    ensure!(stage.up_for()? >= before, "the tunnel was made anew\n{}", stage.endpoint.log());
    stage.mark(true)?;
    std::thread::sleep(HELD / 2);
    own.set_wall(DAY)?;
    std::thread::sleep(HELD / 2);
    own.set_wall(0)?;
    stage.mark(false)?;
    passes(stage)?;
    stage.tag(true)?;
    std::thread::sleep(HELD);
    stage.tag(false)?;
    of_ems.set_wall(0)?;
    passes(stage)
}

/// The clock is turned on, past the end of what EMS said, and EMS sets its tag. When the clock is right
/// again, what EMS said before is not.
fn expired(stage: &mut Stage, own: &Clocks) -> Result<()> {
    own.set_wall(10 * DAY)?;
    stage.violated(NOTICED);
    stage.stays_down(NOTICED, "and what EMS said has expired")?;
    stage.tag(true)?;
    std::thread::sleep(HELD / 4);
    own.set_wall(0)?;
    stage.stays_down(RETURN, "by what EMS said before it set the tag")?;
    stage.tag(false)?;
    passes(stage)
}

/// EMS's clock is hours ahead: what it says then is not believed, and what it said before neither.
fn ahead(stage: &mut Stage, of_ems: &Clocks) -> Result<()> {
    of_ems.set_wall(5 * HOUR)?;
    stage.tag(true)?;
    stage.stays_down(HELD, "and EMS has set the tag")?;
    of_ems.set_wall(0)?;
    stage.tag(false)?;
    passes(stage)
}

/// A day of sleep in which EMS sets the tag: what waits in front of the tunnel does not leave on
/// yesterday's posture.
fn overnight(stage: &mut Stage, own: &Clocks, of_ems: &Clocks) -> Result<()> {
    let asleep = Asleep::begin(stage)?;
    stage.tag(true)?;
    // The bound is over before the wake-up: not one packet may leave.
    std::thread::sleep(BOUND);
    of_ems.set_wall(DAY)?;
    asleep.end(own, DAY, DAY)?;
    stage.stays_down(HELD, "and EMS set the tag overnight")?;
    stage.tag(false)?;
    passes(stage)
}

/// A nap, which the tunnel outlives. EMS has nothing to say, and is slow to say so: until it has, nothing
/// leaves; and then the tunnel goes on.
fn unheard(stage: &mut Stage, own: &Clocks, of_ems: &Clocks) -> Result<()> {
    let asleep = Asleep::begin(stage)?;
    stage.violated(Duration::ZERO);
    stage.ems.signal(Signal::SIGSTOP)?;
    of_ems.set_wall(DAY + NAP)?;
    asleep.end(own, DAY + NAP, DAY + NAP)?;
    std::thread::sleep(BOUND);
    ensure!(work(&stage.endpoint)?.established.is_some_and(|up| up.seconds >= NAP.unsigned_abs()), "it was made anew");
    stage.kept();
    stage.ems.signal(Signal::SIGCONT)?;
    passes(stage)
}

/// EMS is gone, and the machine sleeps for longer than its tags hold without it. A clock that is turned
/// back does not prolong that.
fn forgotten(stage: &mut Stage, own: &Clocks, of_ems: &Clocks) -> Result<()> {
    let asleep = Asleep::begin(stage)?;
    stage.violated(Duration::ZERO);
    stage.ems.kill();
    asleep.end(own, DAY, 3 * DAY + 3 * HOUR)?;
    let lost = until("the end of the grace", LIMIT, || {
        let refused = |name| matches!(name, FaultName::ComplianceLost | FaultName::TagsUnknown);
        Ok(work(&stage.endpoint)?.last_fault.filter(|fault| refused(fault.name)))
    })
    .with_context(|| stage.endpoint.log())?;
    ensure!(lost.to_string().contains("out of reach"), "{lost}");
    own.set_wall(3 * DAY + 3 * HOUR)?;
    of_ems.set_wall(3 * DAY + 3 * HOUR)?;
    stage.kept();
    stage.ems.run()?;
    passes(stage)
}

/// A machine that sleeps: no process of the service runs.
struct Asleep {
    processes: Vec<Pid>,
}

impl Asleep {
    fn begin(stage: &mut Stage) -> Result<Self> {
        let ids = stage.endpoint.processes()?;
        let processes: Vec<Pid> = ids.iter().map(|id| Ok(Pid::from_raw(i32::try_from(*id)?))).collect::<Result<_>>()?;
        for process in &processes {
            // One that looked something up for the service may have ended.
            let _ = kill(*process, Signal::SIGSTOP);
        }
        // What was under way when they were stopped leaves.
        std::thread::sleep(UNDER_WAY);
        Ok(Self { processes })
    }

    /// Sets the clocks on, then wakes everybody, who moves packets first.
    fn end(self, clocks: &Clocks, wall: i64, boot: i64) -> Result<()> {
        clocks.set_wall(wall)?;
        clocks.set_boot(boot)?;
        for process in self.processes.iter().rev() {
            let _ = kill(*process, Signal::SIGCONT);
        }
        Ok(())
    }
}
