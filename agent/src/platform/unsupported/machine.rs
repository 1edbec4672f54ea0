//! A machine of which nothing is known but std.

use crate::network::system::SystemError;
use crate::platform::MachineRoom;
use ike_client::Timestamp;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

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
        // std has no clock that surely counts through suspend; the wall clock does.
        Ok(Timestamp::from_start(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()))
    }

    fn boot() -> io::Result<String> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }

    fn read_setting(name: &str) -> Result<String, SystemError> {
        Err(unsupported(name))
    }

    fn write_setting(name: &str, _value: &str) -> Result<(), SystemError> {
        Err(unsupported(name))
    }

    fn open_private(path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
    }

    fn sync_directory(_directory: &Path) -> io::Result<()> {
        Ok(())
    }
}

fn unsupported(name: &str) -> SystemError {
    SystemError::Unsupported { operation: format!("the kernel setting {name}") }
}
