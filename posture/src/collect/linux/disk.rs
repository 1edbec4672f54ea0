//! Disk encryption: from a mount to its block device, and down to what lies below it.

use super::text;
use crate::collect::command::ask;
use crate::collect::{Context, Look};
use crate::facts::{DiskEncryption, Observation, Volume, VolumeEncryption};
use std::path::{Path, PathBuf};

/// Mounts that hold the system or its users' data.
const MOUNTS: [&str; 3] = ["/", "/home", "/var"];

/// Where ZFS's tool is installed.
const ZFS: &str = "/usr/sbin/zfs";

/// How deep stacks of device mapper, RAID and loop devices are followed.
const MAXIMUM_DEPTH: usize = 16;

pub(in crate::collect) fn disk_encryption(context: &Context) -> Look<DiskEncryption> {
    const SOURCE: &str = "/proc/self/mountinfo, /sys/dev/block";
    let mounts = match text(context, "/proc/self/mountinfo") {
        Ok(Some(mounts)) => mounts,
        Ok(None) => return Look::unknown("/proc/self/mountinfo is not there", SOURCE),
        Err(error) => return Look::new(Observation::from_error("/proc/self/mountinfo", &error), SOURCE),
    };
    let volumes: Vec<Volume> = MOUNTS
        .iter()
        // The last mount of a place covers those before it.
        .filter_map(|wanted| mounts.lines().rev().filter_map(Mount::read).find(|mount| mount.place == *wanted))
        .map(|mount| Volume { mount: mount.place.to_owned(), encryption: encryption(context, &mount) })
        .collect();
    if volumes.is_empty() {
        return Look::unknown("no mount of the system is listed", SOURCE);
    }
    Look::known(DiskEncryption { volumes }, SOURCE)
}

/// One line of `/proc/self/mountinfo` (proc(5)).
struct Mount<'a> {
    device: &'a str,
    place: &'a str,
    kind: &'a str,
    source: &'a str,
}

impl<'a> Mount<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ');
        let device = before.nth(2)?;
        let place = before.nth(1)?;
        let mut after = after.split(' ');
        Some(Self { device, place, kind: after.next()?, source: after.next()? })
    }
}

fn encryption(context: &Context, mount: &Mount<'_>) -> Observation<VolumeEncryption> {
    // Major number 0 is a file system without a block device of its own: btrfs keeps its device in
    // the source, overlays and network file systems have none.
    if !mount.device.starts_with("0:") {
        return below(&context.path("/sys/dev/block").join(mount.device), MAXIMUM_DEPTH);
    }
    match (mount.kind, mount.source.strip_prefix("/dev/")) {
        ("btrfs", Some(device)) => {
            let name = mapper_name(context, device).unwrap_or_else(|| device.to_owned());
            let devices = btrfs_devices(context, &name);
            all(devices.iter().map(|name| below(&context.path("/sys/class/block").join(name), MAXIMUM_DEPTH)))
        }
        ("zfs", _) if context.is_running_system() => zfs(context, mount.source),
        _ => Observation::Unknown(format!("{} ({}) has no block device", mount.source, mount.kind)),
    }
}

/// The devices of the file system to which `name` belongs: it may span several, of which the mount names one.
fn btrfs_devices(context: &Context, name: &str) -> Vec<String> {
    let names = |folder: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    let systems = context.path("/sys/fs/btrfs");
    let members = names(&systems).into_iter().map(|system| names(&systems.join(system).join("devices")));
    members
        .into_iter()
        .find(|devices| devices.iter().any(|device| device == name))
        .unwrap_or_else(|| vec![name.to_owned()])
}

/// ZFS encrypts by data set, and tells by its own tool.
fn zfs(context: &Context, data_set: &str) -> Observation<VolumeEncryption> {
    // A name that begins with a dash is none of a data set.
    let answer = ask(ZFS, &["get", "-H", "-o", "value", "encryption", data_set], context.settings.limit / 2);
    let text = match answer {
        Observation::Known(answer) => answer.text(ZFS),
        Observation::Unknown(reason) => Observation::Unknown(reason),
        Observation::Denied(reason) => Observation::Denied(reason),
    };
    match text {
        Observation::Known(text) => zfs_encryption(&text),
        Observation::Unknown(reason) => Observation::Unknown(reason),
        Observation::Denied(reason) => Observation::Denied(reason),
    }
}

fn zfs_encryption(text: &str) -> Observation<VolumeEncryption> {
    match text.trim() {
        "off" => Observation::Known(VolumeEncryption::None),
        "" | "-" => Observation::Unknown("zfs does not tell".to_owned()),
        suite => Observation::Known(VolumeEncryption::Encrypted(format!("ZFS {suite}"))),
    }
}

/// The kernel's name (`dm-0`) of a device under `/dev/mapper`.
fn mapper_name(context: &Context, device: &str) -> Option<String> {
    let wanted = device.strip_prefix("mapper/")?;
    std::fs::read_dir(context.path("/sys/class/block")).ok()?.flatten().find_map(|entry| {
        let name = std::fs::read_to_string(entry.path().join("dm/name")).ok()?;
        (name.trim() == wanted).then(|| entry.file_name().to_string_lossy().into_owned())
    })
}

/// A device is encrypted when it is a device of dm-crypt, or when all the devices below it are.
fn below(device: &Path, depth: usize) -> Observation<VolumeEncryption> {
    let unreadable = |path: &Path, error: &std::io::Error| Observation::from_error(&path.display().to_string(), error);
    if depth == 0 {
        return Observation::Unknown("the stack of devices is too deep".to_owned());
    }
    let identifier = device.join("dm/uuid");
    match std::fs::read_to_string(&identifier) {
        Ok(identifier) => {
            if let Some(rest) = identifier.trim().strip_prefix("CRYPT-") {
                let mechanism = rest.split('-').next().unwrap_or(rest);
                return Observation::Known(VolumeEncryption::Encrypted(mechanism.to_owned()));
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return unreadable(&identifier, &error),
    }
    let folder = device.join("slaves");
    let slaves: Vec<PathBuf> = match std::fs::read_dir(&folder) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        // A partition has no such folder, a disk has an empty one; a device that is not there at all
        // must not read as a plain disk.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && device.exists() => Vec::new(),
        Err(error) => return unreadable(device, &error),
    };
    all(slaves.iter().map(|slave| below(slave, depth - 1)))
}

/// What lies on several devices is encrypted when all of them are; what lies on none is not.
fn all(devices: impl Iterator<Item = Observation<VolumeEncryption>>) -> Observation<VolumeEncryption> {
    let mut encryption = Observation::Known(VolumeEncryption::None);
    for device in devices {
        match device {
            Observation::Known(VolumeEncryption::None) => return Observation::Known(VolumeEncryption::None),
            known @ Observation::Known(_) => {
                if encryption.known().is_some() {
                    encryption = known;
                }
            }
            other => encryption = other,
        }
    }
    encryption
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zfs_tells_its_suite_or_that_it_is_off() {
        let encrypted = Observation::Known(VolumeEncryption::Encrypted("ZFS aes-256-gcm".to_owned()));
        assert_eq!(zfs_encryption("aes-256-gcm\n"), encrypted);
        assert_eq!(zfs_encryption("off\n"), Observation::Known(VolumeEncryption::None));
        assert!(zfs_encryption("-\n").reason().is_some());
    }
}
