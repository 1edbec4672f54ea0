//! The clock, the boot, kernel settings and files of Linux.

use crate::network::system::SystemError;
use crate::platform::MachineRoom;
use ike_client::Timestamp;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// This machine.
pub(in crate::platform) struct Machine;

impl MachineRoom for Machine {
    fn may_change_network() -> Result<(), String> {
        match caps::has_cap(None, caps::CapSet::Effective, caps::Capability::CAP_NET_ADMIN) {
            Ok(true) => Ok(()),
            Ok(false) => Err("the capability CAP_NET_ADMIN is missing".to_owned()),
            Err(error) => Err(format!("the capabilities cannot be read: {error}")),
        }
    }

    /// Each interface uses the larger of its own value and that of `all`.
    fn strict_reverse_path() -> bool {
        let Ok(interfaces) = fs::read_dir("/proc/sys/net/ipv4/conf") else { return false };
        interfaces
            .flatten()
            .filter_map(|interface| fs::read_to_string(interface.path().join("rp_filter")).ok())
            .any(|value| value.trim() == "1")
    }

    fn now() -> io::Result<Timestamp> {
        let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME)?;
        Ok(Timestamp::from_start(Duration::from(time)))
    }

    fn boot() -> io::Result<String> {
        Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
    }

    fn read_setting(name: &str) -> Result<String, SystemError> {
        let path = setting(name);
        match fs::read_to_string(&path) {
            Ok(value) => Ok(value.trim().to_owned()),
            Err(error) => Err(failed("reading", &path, &error)),
        }
    }

    fn write_setting(name: &str, value: &str) -> Result<(), SystemError> {
        let path = setting(name);
        fs::write(&path, value).map_err(|error| failed("writing", &path, &error))
    }

    fn open_private(path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
    }

    fn sync_directory(directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }
}

fn setting(name: &str) -> PathBuf {
    Path::new("/proc/sys").join(name)
}

fn failed(verb: &str, path: &Path, error: &io::Error) -> SystemError {
    let operation = format!("{verb} {}", path.display());
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            SystemError::NotPermitted { operation, detail: error.to_string() }
        }
        _ => SystemError::Failed { operation, detail: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_moves_and_the_boot_has_a_name() {
        let earlier = Machine::now().unwrap();
        assert!(Machine::now().unwrap() >= earlier);
        assert_eq!(Machine::boot().unwrap().len(), 36);
    }

    #[test]
    fn a_private_file_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let file = Machine::open_private(&directory.path().join("journal")).unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        Machine::sync_directory(directory.path()).unwrap();
    }
}
