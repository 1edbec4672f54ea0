//! Bad weather on a wire: loss, reordering, duplication and delay, by a guest's netem.

use crate::uml::Guest;
use anyhow::{Context, Result, ensure};

/// The guest's wire to its clients.
const WIRE: &str = "vec0";

/// What a guest's netem did to packets since the weather began.
#[derive(Clone, Copy, Debug)]
pub struct Toll {
    /// Packets to the clients that were lost.
    pub lost_out: u64,
    /// Packets of the clients that were lost.
    pub lost_in: u64,
}

/// Disturbs what the guest sends (`out`) and what it receives (`in_`), each in netem's own words:
/// `loss 5% delay 10ms 3ms duplicate 2%`.
///
/// # Errors
/// When the guest's kernel refuses it.
pub fn begin(guest: &Guest, out: &str, in_: &str) -> Result<()> {
    guest.load("sch_netem sch_ingress ifb act_mirred cls_matchall")?;
    // What comes in has no queue of its own: it is sent through a device made for that.
    let said = guest.shell(&format!(
        "set -e\n\
         ip link show ifb0 2>/dev/null || ip link add ifb0 type ifb\n\
         ip link set ifb0 up\n\
         tc qdisc add dev {WIRE} handle ffff: ingress\n\
         tc filter add dev {WIRE} parent ffff: matchall action mirred egress redirect dev ifb0\n\
         tc qdisc add dev {WIRE} root netem {out}\n\
         tc qdisc add dev ifb0 root netem {in_}\n\
         echo disturbed"
    ))?;
    ensure!(said.ends_with("disturbed\n"), "{said}\n{}", guest.console());
    Ok(())
}

/// Ends it, and tells what it cost.
///
/// # Errors
/// When the guest does not say.
pub fn end(guest: &Guest) -> Result<Toll> {
    let toll = toll(guest)?;
    guest
        .shell(&format!("tc qdisc del dev {WIRE} root; tc qdisc del dev {WIRE} ingress; tc qdisc del dev ifb0 root"))?;
    Ok(toll)
}

/// Tells what it has cost so far.
///
/// # Errors
/// When the guest does not say.
pub fn toll(guest: &Guest) -> Result<Toll> {
    let said = guest.shell(&format!("for device in {WIRE} ifb0; do tc -s qdisc show dev $device root; done"))?;
    let mut lost = said.split("dropped ").skip(1).map(|rest| {
        let digits = rest.split(',').next().unwrap_or_default();
        digits.parse::<u64>().with_context(|| said.clone())
    });
    let mut next = || lost.next().with_context(|| said.clone())?;
    Ok(Toll { lost_out: next()?, lost_in: next()? })
}
