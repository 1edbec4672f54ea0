//! What can be seen on Linux: files below `/etc`, `/proc`, `/sys` and `/var`, and `nft`.

mod applications;
mod certificates;
mod clamav;
mod disk;
mod firewall;
mod ping;
mod release;
mod security;
mod sessions;
mod surroundings;
mod updates;
mod users;
mod watch;

pub(super) use applications::applications;
pub(super) use certificates::certificates;
pub(super) use clamav::antivirus;
pub(super) use disk::disk_encryption;
pub(super) use firewall::firewall;
pub(super) use ping::pings;
pub(super) use release::{host_name, kernel, operating_system};
pub(super) use security::security;
pub(super) use surroundings::surroundings;
pub(super) use updates::updates;
pub(super) use users::users;
pub(super) use watch::{FirewallListener, bus_changes, file_changes, network_changes, process_changes};
// What only another system has.
pub(super) use super::unsupported::{registry, windows_security};

use super::{Context, Look};
use crate::facts::{Observation, OperatingSystem, Package};
use crate::rules::Asked;
use crate::vulnerability::inventory::{self, PackageDatabase};
use std::path::PathBuf;

/// Returns the package database that is read: the one of the settings, else the system's.
pub(super) fn package_database(context: &Context) -> Option<PathBuf> {
    let configured = context.settings.dpkg_status.clone();
    configured.or_else(|| PackageDatabase::find(&context.root, os(context).as_ref()).map(|database| database.path))
}

/// Files that tell of what is asked beside the files themselves: of the system, of signatures, of who is
/// logged on, of the network around, of certificates.
pub(super) fn telling_files(asked: &Asked) -> Vec<PathBuf> {
    const ALWAYS: [&str; 2] = ["/etc/os-release", "/usr/lib/os-release"];
    let mut files: Vec<&str> = ALWAYS.to_vec();
    if asked.antivirus {
        files.extend(clamav::CLAMAV_DAILY);
    }
    if asked.users {
        files.extend(["/run/systemd/sessions", "/run/utmp", "/etc/passwd", "/etc/group", "/etc/sssd/sssd.conf"]);
    }
    if asked.surroundings {
        files.extend(["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf", "/run/systemd/netif/leases"]);
    }
    if asked.certificates {
        files.extend(certificates::BUNDLES);
    }
    files.into_iter().map(PathBuf::from).collect()
}

fn os(context: &Context) -> Option<OperatingSystem> {
    operating_system(context).observation.known().cloned()
}

pub(super) fn packages(context: &Context) -> Look<Vec<Package>> {
    match inventory::read(&context.root, context.settings.dpkg_status.as_deref(), os(context).as_ref()) {
        Ok((database, packages)) => Look::known(packages, database.path.display().to_string()),
        Err(error) if error.is_denied() => Look::new(Observation::Denied(error.to_string()), "package database"),
        Err(error) => Look::unknown(error.to_string(), "package database"),
    }
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
