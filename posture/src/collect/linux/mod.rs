//! What can be seen on Linux: files below `/etc`, `/proc`, `/sys` and `/var`, and `nft`.

mod antivirus;
mod disk;
mod firewall;
mod release;

pub(super) use antivirus::antivirus;
pub(super) use disk::disk_encryption;
pub(super) use firewall::firewall;
pub(super) use release::{host_name, kernel, operating_system};

use super::{AntivirusPattern, Context, Look};
use crate::facts::{Observation, Package};
use crate::vulnerability::inventory;
use std::path::PathBuf;

/// Where dpkg keeps what is installed.
const DPKG_STATUS: &str = "/var/lib/dpkg/status";

pub(super) fn package_database(context: &Context) -> PathBuf {
    context.settings.dpkg_status.clone().unwrap_or_else(|| context.path(DPKG_STATUS))
}

pub(super) fn packages(context: &Context) -> Look<Vec<Package>> {
    let path = package_database(context);
    let source = path.display().to_string();
    let observation = match inventory::read_dpkg_status(&path) {
        Ok(packages) => Observation::Known(packages),
        Err(error) => Observation::from_error(&source, &error),
    };
    Look::new(observation, source)
}

/// Reads a small text file; `None` when it is not there.
fn text(context: &Context, path: &str) -> Result<Option<String>, std::io::Error> {
    const LIMIT: u64 = 1 << 20;
    use std::io::Read;
    let file = match std::fs::File::open(context.path(path)) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(LIMIT).read_to_end(&mut bytes)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}
