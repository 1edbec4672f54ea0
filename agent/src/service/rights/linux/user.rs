//! Another user than root for the processes that read what strangers sent.

use super::super::Measure;
use nix::sys::prctl;
use nix::unistd::{Gid, User, getegid, geteuid, setgroups, setresgid, setresuid};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The user made for this by the package; and the one for whom there is nothing.
const USERS: [&str; 2] = ["postern-net", "nobody"];
const ABOUT: &str = "user";

/// Becomes another user where this one is root and another can be had, and keeps what it may do.
///
/// `device` is what has to be opened afterwards, if anything.
///
/// # Errors
/// Where the system refuses what it should grant; the process is in no state to go on then.
pub(super) fn leave_root(device: Option<&Path>) -> io::Result<Measure> {
    if !geteuid().is_root() {
        return Ok(Measure::holds(ABOUT, format!("uid {}, as the service", geteuid())));
    }
    let Some(user) = USERS.iter().find_map(|name| User::from_name(name).ok().flatten()) else {
        return Ok(Measure::lacks(ABOUT, "root: there is no user postern-net", "systemd-sysusers, then start again"));
    };
    let (uid, gid) = (user.uid, user.gid);
    if !(is_mapped("/proc/self/uid_map", uid.as_raw()) && is_mapped("/proc/self/gid_map", gid.as_raw())) {
        let detail = "root of this user namespace only, which knows no other user";
        return Ok(Measure::holds(ABOUT, detail));
    }
    let gid = match device.map(|device| group_for(device, gid)) {
        None => gid,
        Some(Ok(gid)) => gid,
        Some(Err(why)) => return Ok(Measure::lacks(ABOUT, format!("root: {why}"), "let udev make the device")),
    };
    for capability in [caps::Capability::CAP_SETUID, caps::Capability::CAP_SETGID] {
        if !caps::has_cap(None, caps::CapSet::Effective, capability).map_err(io::Error::other)? {
            return Ok(Measure::lacks(ABOUT, format!("root: {capability} is missing"), "grant it in the unit"));
        }
    }
    prctl::set_keepcaps(true)?;
    setgroups(&[])?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    prctl::set_keepcaps(false)?;
    if geteuid() != uid || getegid() != gid {
        return Err(io::Error::other("the user could not be changed"));
    }
    let foreign = if user.name == USERS[0] { "" } else { ", for want of a user postern-net" };
    Ok(Measure::holds(ABOUT, format!("{} (uid {uid}){foreign}", user.name)))
}

/// Tells whether a user namespace knows a number: lines of inside, outside, count.
fn is_mapped(map: &str, number: u32) -> bool {
    fs::read_to_string(map).is_ok_and(|text| text.lines().any(|line| holds(line, number)))
}

fn holds(line: &str, number: u32) -> bool {
    let mut words = line.split_whitespace().map(str::parse::<u64>);
    let (Some(Ok(first)), Some(Ok(_)), Some(Ok(count))) = (words.next(), words.next(), words.next()) else {
        return false;
    };
    (first..first.saturating_add(count)).contains(&u64::from(number))
}

/// Returns the group with which the device can be opened: the user's own where the device is for
/// everybody, else the device's.
fn group_for(device: &Path, own: Gid) -> Result<Gid, String> {
    match fs::metadata(device) {
        Ok(found) if found.mode() & 0o006 == 0o006 => Ok(own),
        Ok(found) if found.mode() & 0o060 == 0o060 && found.gid() != 0 => Ok(Gid::from_raw(found.gid())),
        Ok(found) => Err(format!("{} is for its owner only (mode {:o})", device.display(), found.mode() & 0o777)),
        // Nothing to be opened yet; when it comes, udev makes it for everybody.
        Err(_) => Ok(own),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_number_is_mapped_if_a_line_of_the_map_holds_it() {
        assert!(holds("         0          0 4294967295", 998));
        assert!(!holds("         0       1000          1", 998));
        assert!(holds("         0       1000          1", 0));
        assert!(holds("1 100000 65536", 65536) && !holds("1 100000 65536", 65537));
        assert!(!holds("nonsense", 0) && !holds("", 0));
    }

    #[test]
    fn the_group_is_the_one_that_can_open_the_device() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let with = |mode| {
            fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
            group_for(file.path(), Gid::from_raw(77))
        };
        assert_eq!(with(0o666), Ok(Gid::from_raw(77)));
        assert!(with(0o600).unwrap_err().contains("mode 600"));
        let group = fs::metadata(file.path()).unwrap().gid();
        match group {
            // Root's group would be no step away from root.
            0 => assert!(with(0o660).is_err()),
            group => assert_eq!(with(0o660), Ok(Gid::from_raw(group))),
        }
        assert_eq!(group_for(Path::new("/no/such/device"), Gid::from_raw(77)), Ok(Gid::from_raw(77)));
    }
}
