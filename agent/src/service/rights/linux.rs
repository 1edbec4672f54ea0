//! Linux capabilities.

use caps::{CapSet, Capability, CapsHashSet};

/// What NET needs: the device, routes, rules, marks and sockets; ports below 1024.
const NET: &[Capability] = &[Capability::CAP_NET_ADMIN, Capability::CAP_NET_BIND_SERVICE, Capability::CAP_NET_RAW];

/// What MAIN needs: reading the system's files and other users' processes; giving the socket to
/// its group.
const MAIN: &[Capability] = &[Capability::CAP_DAC_READ_SEARCH, Capability::CAP_SYS_PTRACE, Capability::CAP_CHOWN];

/// NET gives up everything else for good, its children (`nft`) included.
pub(crate) fn keep_for_net() -> Result<(), caps::errors::CapsError> {
    let held = caps::read(None, CapSet::Permitted)?;
    let kept: CapsHashSet = NET.iter().copied().filter(|capability| held.contains(capability)).collect();
    if held.contains(&Capability::CAP_SETPCAP) {
        for capability in caps::read(None, CapSet::Bounding)?.difference(&kept) {
            caps::drop(None, CapSet::Bounding, *capability)?;
        }
    }
    caps::set(None, CapSet::Inheritable, &kept)?;
    caps::set(None, CapSet::Ambient, &kept)?;
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)
}

/// MAIN works with what reading needs. What NET needs stays permitted, because a NET that died is
/// started again, but is not in effect here.
pub(crate) fn keep_for_main() -> Result<(), caps::errors::CapsError> {
    let held = caps::read(None, CapSet::Permitted)?;
    let of = |list: &[Capability]| -> CapsHashSet {
        list.iter().copied().filter(|capability| held.contains(capability)).collect()
    };
    let (main, net) = (of(MAIN), of(NET));
    let both: CapsHashSet = main.union(&net).copied().collect();
    caps::set(None, CapSet::Effective, &main)?;
    caps::set(None, CapSet::Inheritable, &net)?;
    caps::set(None, CapSet::Ambient, &net)?;
    let permitted: CapsHashSet = match held.contains(&Capability::CAP_SETPCAP) {
        // NET needs it for a moment, to empty its bounding set.
        true => both.iter().copied().chain([Capability::CAP_SETPCAP]).collect(),
        false => both,
    };
    caps::set(None, CapSet::Permitted, &permitted)
}
