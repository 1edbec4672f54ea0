//! Linux capabilities.

use super::super::Measure;
use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};
use std::io;
use std::os::fd::AsFd;

/// What NET needs: the device, addresses, routes, rules, marks; ending the sockets of an address.
/// MAIN lends it to the children it starts: NET, and the tool that loads firewall rules.
const NET: &[Capability] = &[Capability::CAP_NET_ADMIN];

/// What MAIN needs: reading the system's files and other users' processes; giving the socket to
/// its group; ending a NET that hangs, which belongs to another user.
const MAIN: &[Capability] =
    &[Capability::CAP_DAC_READ_SEARCH, Capability::CAP_SYS_PTRACE, Capability::CAP_CHOWN, Capability::CAP_KILL];

/// What a child needs for a moment: to empty its bounding set and to take another user.
const PASSING: &[Capability] = &[Capability::CAP_SETPCAP, Capability::CAP_SETUID, Capability::CAP_SETGID];

/// NET gives up everything else for good.
pub(super) fn keep_for_net() -> io::Result<Measure> {
    let kept = keep(NET).map_err(io::Error::other)?;
    let mut names: Vec<String> = kept.iter().map(ToString::to_string).collect();
    names.sort();
    Ok(match names.is_empty() {
        true => Measure::lacks("capabilities", "CAP_NET_ADMIN is missing", "run the service as root"),
        false => Measure::holds("capabilities", format!("{} alone", names.join(" "))),
    })
}

/// The look-up gives up everything for good.
pub(super) fn keep_nothing() -> io::Result<Measure> {
    keep(&[]).map_err(io::Error::other)?;
    Ok(Measure::holds("capabilities", "none"))
}

/// The scan reads what others' files say is installed, and gives up everything else for good.
pub(super) fn keep_for_scan() -> io::Result<Measure> {
    let kept = keep(&[Capability::CAP_DAC_READ_SEARCH]).map_err(io::Error::other)?;
    let alone = if kept.is_empty() { "none" } else { "CAP_DAC_READ_SEARCH alone" };
    Ok(Measure::holds("capabilities", alone))
}

fn keep(list: &[Capability]) -> Result<CapsHashSet, CapsError> {
    let held = caps::read(None, CapSet::Permitted)?;
    let kept = of(list, &held);
    if held.contains(&Capability::CAP_SETPCAP) {
        // Leaving root may have taken the effect.
        caps::raise(None, CapSet::Effective, Capability::CAP_SETPCAP)?;
        for capability in caps::read(None, CapSet::Bounding)?.difference(&kept) {
            caps::drop(None, CapSet::Bounding, *capability)?;
        }
    }
    // Nothing is handed on: there are no children.
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)?;
    Ok(kept)
}

/// MAIN works with what reading needs. What its children need stays permitted, because a NET that
/// died is started again, but is not in effect here.
pub(crate) fn keep_for_main() -> Result<(), CapsError> {
    let held = caps::read(None, CapSet::Permitted)?;
    let (main, net, passing) = (of(MAIN, &held), of(NET, &held), of(PASSING, &held));
    caps::set(None, CapSet::Effective, &main)?;
    caps::set(None, CapSet::Inheritable, &net)?;
    caps::set(None, CapSet::Ambient, &net)?;
    caps::set(None, CapSet::Permitted, &main.iter().chain(&net).chain(&passing).copied().collect())
}

/// Marks a socket of MAIN, for which NET_ADMIN is in effect in this thread and for this one call only.
pub(crate) fn mark(socket: &impl AsFd, mark: u32) -> io::Result<()> {
    caps::raise(None, CapSet::Effective, Capability::CAP_NET_ADMIN).map_err(io::Error::other)?;
    let marked = nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::Mark, &mark);
    caps::drop(None, CapSet::Effective, Capability::CAP_NET_ADMIN).map_err(io::Error::other)?;
    Ok(marked?)
}

fn of(list: &[Capability], held: &CapsHashSet) -> CapsHashSet {
    list.iter().copied().filter(|capability| held.contains(capability)).collect()
}
