//! The clock and files of Windows.

use crate::network::system::SystemError;
use crate::platform::MachineRoom;
use ike_client::Timestamp;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use windows::Win32::System::SystemInformation::GetTickCount64;

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
        // SAFETY: takes nothing and only returns a number. It counts through sleep.
        let since_start = unsafe { GetTickCount64() };
        Ok(Timestamp::from_start(Duration::from_millis(since_start)))
    }

    fn boot() -> io::Result<String> {
        // The moment of the start, to the minute: the wall clock may be corrected by seconds.
        let up = Self::now()?.since_start();
        let started = SystemTime::now().checked_sub(up).and_then(|start| start.duration_since(UNIX_EPOCH).ok());
        Ok(format!("started-{}", started.unwrap_or_default().as_secs() / 60))
    }

    fn read_setting(name: &str) -> Result<String, SystemError> {
        Err(unsupported(name))
    }

    fn write_setting(name: &str, _value: &str) -> Result<(), SystemError> {
        Err(unsupported(name))
    }

    fn open_private(path: &Path) -> io::Result<File> {
        // The state directory hands its access list down; a file has no mode here.
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
    }

    fn sync_directory(_directory: &Path) -> io::Result<()> {
        // NTFS journals renames by itself; a directory cannot be synced here.
        Ok(())
    }
}

fn unsupported(name: &str) -> SystemError {
    SystemError::Unsupported { operation: format!("the kernel setting {name}") }
}
