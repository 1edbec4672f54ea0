//! The compliance loop when the way to EMS is disturbed, and when EMS forgets what it said.
//!
//! The proof is that of [`crate::flapping`]: each packet of the tunnel is held against what was done.

use crate::flapping::{HELD, Sampler, Stage};
use crate::gateway;
use crate::management::Ems;
use crate::way::{Manner, Way};
use anyhow::{Result, ensure};
use lab::net::until;
use lab::roadwarrior::{LIMIT, Network};
use nix::sys::signal::Signal;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Where EMS listens; before it stands the way.
const EMS_AT: &str = "127.0.0.2:8443";
/// The tick of the loop.
const SETTINGS: &str = "[compliance]\ninterval = \"2s\"\n";
/// Design §2, while EMS does not push: the tick and a second.
const WITHOUT_PUSH: Duration = Duration::from_secs(3);
/// Longer than a tunnel takes to return once nothing is in its way.
const RETURN: Duration = Duration::from_millis(5_500);

pub fn old_late_and_lost() -> Result<()> {
    let network = Network::new()?;
    let _gateway = network.strongswan(&gateway())?;
    let ems = Ems::start_at(&network, EMS_AT)?;
    let identity = network.folder.join("endpoint/state/ems/identity.json");
    let way = Way::open(&network.client, ems.state(), EMS_AT, identity)?;
    let mut stage = Stage::set(&network, ems, SETTINGS)?;
    let sampler = Sampler::start(&network)?;
    passes(&stage)?;
    // What a machine that lost its power at this moment would have.
    let copy = network.folder.join("yesterday");
    stage.ems.signal(Signal::SIGSTOP)?;
    let copied = put(stage.ems.state(), &copy);
    stage.ems.signal(Signal::SIGCONT)?;
    copied?;
    late(&mut stage, &way)?;
    lost(&mut stage, &way)?;
    out_of_order(&mut stage, &way)?;
    forgotten(&mut stage, &way, &copy)?;
    drop(sampler);
    stage.judge()
}

/// Waits until packets pass, and for as long again as makes it certain that some are passing when the next
/// violation begins.
fn passes(stage: &Stage) -> Result<()> {
    stage.comes_back()?;
    std::thread::sleep(HELD / 2);
    Ok(())
}

/// Pushes arrive late, by less than the bound leaves: the last word counts.
fn late(stage: &mut Stage, way: &Way) -> Result<()> {
    way.set(Manner::Late(Duration::from_millis(300)));
    for violates in [true, false, true] {
        stage.tag(violates)?;
    }
    stage.stays_down(HELD, "and EMS's last word was late")?;
    way.set(Manner::Straight);
    stage.tag(false)?;
    passes(stage)
}

/// A push is lost with its stream: the endpoint asks what it was. EMS starts anew, and has a lot to say.
fn lost(stage: &mut Stage, way: &Way) -> Result<()> {
    stage.pushes_again()?;
    way.set(Manner::LostOnce);
    stage.tag(true)?;
    stage.stays_down(HELD, "and a push was lost")?;
    ensure!(way.manner() == Manner::Straight, "no push was lost");
    goes_and_comes(stage, || Ok(()))?;
    changes(stage, 10)?;
    passes(stage)
}

/// The newest push comes first and twice, and all the older ones after it: none of them is believed again.
fn out_of_order(stage: &mut Stage, way: &Way) -> Result<()> {
    let before = way.passed();
    way.set(Manner::Shuffled);
    for violates in [true, false, true] {
        stage.tag(violates)?;
    }
    until("pushes out of order", LIMIT, || Ok((way.passed() == before + 3).then_some(())))?;
    way.set(Manner::Straight);
    stage.stays_down(RETURN, "by an older push")?;
    stage.tag(false)?;
    passes(stage)
}

/// There are no pushes, and then EMS comes back from an old copy: what it says is signed, and older than
/// what it said. The endpoint does not go back with it.
fn forgotten(stage: &mut Stage, way: &Way, copy: &Path) -> Result<()> {
    way.set(Manner::None);
    // By then it has asked what it may have missed.
    passes(stage)?;
    stage.tag_within(true, WITHOUT_PUSH)?;
    stage.stays_down(WITHOUT_PUSH + HELD / 4, "and EMS was not asked")?;

    let refused = |stage: &Stage| stage.endpoint.log().matches("older than one seen before").count();
    let before = refused(stage);
    way.set(Manner::Everything);
    let state = stage.ems.state().to_owned();
    goes_and_comes(stage, || {
        std::fs::remove_dir_all(&state)?;
        put(copy, &state)
    })?;
    stage.stays_down(RETURN, "by an old word of EMS")?;
    ensure!(refused(stage) > before, "EMS said nothing old\n{}", stage.endpoint.log());
    // Once EMS has said more than it had, it is heard again.
    changes(stage, 40)?;
    passes(stage)
}

/// Sets the tag and takes it, so many times.
fn changes(stage: &mut Stage, times: usize) -> Result<()> {
    [true, false].repeat(times).into_iter().try_for_each(|violates| stage.tag(violates))
}

/// EMS goes, the endpoint notices it, and EMS comes again.
fn goes_and_comes(stage: &mut Stage, meanwhile: impl FnOnce() -> Result<()>) -> Result<()> {
    stage.ems.kill();
    until("the loss of EMS", LIMIT, || Ok((!stage.endpoint.status()?.posture.telemetry_connected).then_some(())))?;
    meanwhile()?;
    stage.ems.run()?;
    stage.pushes_again()
}

fn put(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status()?;
    ensure!(status.success(), "cp: {status}");
    Ok(())
}
