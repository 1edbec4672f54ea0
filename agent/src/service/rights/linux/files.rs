//! The file system, by Landlock: everything is refused but what is named.
//!
//! Landlock remembers files by what they are and not by their names, so a file that others replace
//! by renaming would be lost. That is why NET is granted none: the resolver, the firewall's tool and
//! the kernel's settings are MAIN's work. The look-up lives for one question and finds the files as
//! they are.

use super::super::Measure;
use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, LandlockStatus, PathBeneath, PathFd, RestrictionStatus,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use std::fs::File;
use std::io;
use std::path::Path;

const ABOUT: &str = "files";
/// The newest of Landlock's versions that was looked at; an older kernel holds what it knows.
const NEWEST: ABI = ABI::V7;

/// What glibc's resolver and its plug-ins read: libraries, and the files that say whom to ask.
const RESOLVER: &[&str] = &[
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/libexec",
    "/usr/share/zoneinfo",
    "/lib",
    "/lib64",
    "/usr/local/lib",
    "/nix/store",
    "/gnu/store",
    "/etc/ld.so.cache",
    "/etc/ld.so.preload",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/run/systemd/resolve",
    "/run/nscd",
    "/run/avahi-daemon",
];

/// A path and what may be done beneath it.
type Grant<'a> = (&'a Path, BitFlags<AccessFs>);

/// NET opens the device from which tunnels are made, and nothing else.
pub(super) fn only_the_tunnel_device(device: &Path) -> Measure {
    let rights = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev;
    told(restrict(&[(device, rights)], true), "nothing but /dev/net/tun")
}

/// The look-up reads what says whom to ask, and speaks with local services that answer for it.
pub(super) fn only_what_the_resolver_reads() -> Measure {
    let read: Vec<Grant<'_>> =
        RESOLVER.iter().map(|path| (Path::new(path), AccessFs::ReadFile | AccessFs::ReadDir)).collect();
    told(restrict(&read, false), "nothing but what the resolver reads")
}

fn restrict(grants: &[Grant<'_>], alone: bool) -> Result<RestrictionStatus, RulesetError> {
    let mut ruleset =
        Ruleset::default().set_compatibility(CompatLevel::BestEffort).handle_access(AccessFs::from_all(NEWEST))?;
    if alone {
        // Neither signals nor abstract sockets reach another process.
        ruleset = ruleset.scope(Scope::from_all(NEWEST))?;
    }
    let mut created = ruleset.create()?;
    for (path, rights) in grants {
        // What is not there cannot be granted.
        let Ok(found) = PathFd::new(path) else { continue };
        let rights = if path.is_dir() { *rights } else { *rights & AccessFs::from_file(NEWEST) };
        created = created.add_rule(PathBeneath::new(found, rights))?;
    }
    created.restrict_self()
}

fn told(outcome: Result<RestrictionStatus, RulesetError>, granted: &str) -> Measure {
    let next = "a kernel of 5.13 or later with landlock among its security modules";
    let status = match outcome {
        Ok(status) if status.ruleset != RulesetStatus::NotEnforced => status,
        Ok(_) => return Measure::lacks(ABOUT, "this kernel has no Landlock: whatever the user may read", next),
        Err(error) => return Measure::lacks(ABOUT, format!("Landlock refuses: {error}"), next),
    };
    // Said by the kernel's deed, not by its word.
    match File::open("/") {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
        _ => return Measure::lacks(ABOUT, "Landlock was switched on and does not hold", next),
    }
    match status.landlock {
        LandlockStatus::Available { effective_abi, .. } => {
            Measure::holds(ABOUT, format!("{granted} (Landlock, version {})", effective_abi as i32))
        }
        _ => Measure::holds(ABOUT, format!("{granted} (Landlock)")),
    }
}
