//! The clock, the boot and files of macOS.

use crate::network::system::SystemError;
use crate::platform::MachineRoom;
use ike_client::Timestamp;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

/// This machine.
pub(in crate::platform) struct Machine;

impl MachineRoom for Machine {
    fn may_change_network() -> Result<(), String> {
        Err("Postern cannot change the network of this operating system yet".to_owned())
    }

    fn strict_reverse_path() -> bool {
        false
    }

    fn now() -> io::Result<Timestamp> {
        // On macOS this clock counts through sleep (it is mach_continuous_time), unlike std's.
        let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)?;
        Ok(Timestamp::from_start(Duration::from(time)))
    }

    fn boot() -> io::Result<String> {
        let mut name = [0_u8; 64];
        let mut length = name.len();
        // SAFETY: the name ends with a nul; `length` holds the room in `name` and is changed to
        // what was written there; nothing is set.
        let result = unsafe {
            libc::sysctlbyname(
                c"kern.bootsessionuuid".as_ptr(),
                name.as_mut_ptr().cast(),
                &mut length,
                std::ptr::null_mut(),
                0,
            )
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        let written = name.get(..length).unwrap_or(&name);
        Ok(String::from_utf8_lossy(written).trim_end_matches('\0').to_owned())
    }

    fn read_setting(name: &str) -> Result<String, SystemError> {
        Err(unsupported(name))
    }

    fn write_setting(name: &str, _value: &str) -> Result<(), SystemError> {
        Err(unsupported(name))
    }

    fn open_private(path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
    }

    fn sync_directory(directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }
}

fn unsupported(name: &str) -> SystemError {
    SystemError::Unsupported { operation: format!("the kernel setting {name}") }
}
