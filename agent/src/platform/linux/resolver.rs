//! systemd-resolved where it owns `resolv.conf`, else the file itself.

use crate::network::resolver::{ResolverBackend, ResolverChange, holds_ours, with_ours, without_ours};
use crate::network::system::{SystemError, Undone};
use crate::platform::ResolverRoom;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

/// The addresses on which systemd-resolved listens (resolved's manual page).
const STUBS: [&str; 2] = ["127.0.0.53", "127.0.0.54"];
const BUS_NAME: &str = "org.freedesktop.resolve1";
/// `AF_INET` and `AF_INET6`, as resolved's interface wants them.
const AF_INET: i32 = 2;
const AF_INET6: i32 = 10;

/// How long the bus and resolved may take. The next change of the network waits for them.
const LIMIT: Duration = Duration::from_secs(5);

/// The system's resolver.
pub(in crate::platform) struct Resolver;

#[zbus::proxy(
    interface = "org.freedesktop.resolve1.Manager",
    default_service = "org.freedesktop.resolve1",
    default_path = "/org/freedesktop/resolve1",
    gen_blocking = false
)]
trait Resolved {
    #[zbus(name = "SetLinkDNS")]
    fn set_link_dns(&self, index: i32, servers: &[(i32, Vec<u8>)]) -> zbus::Result<()>;
    fn set_link_domains(&self, index: i32, domains: &[(&str, bool)]) -> zbus::Result<()>;
    fn set_link_default_route(&self, index: i32, enable: bool) -> zbus::Result<()>;
    fn revert_link(&self, index: i32) -> zbus::Result<()>;
    fn flush_caches(&self) -> zbus::Result<()>;
}

impl ResolverRoom for Resolver {
    /// resolved is taken only when the file sends everybody to it *and* it answers on the bus.
    async fn backend(file: &Path) -> Result<ResolverBackend, SystemError> {
        let text = fs::read_to_string(file).unwrap_or_default();
        if asks_resolved(&text) && tokio::time::timeout(LIMIT, resolved_answers()).await.unwrap_or(false) {
            return Ok(ResolverBackend::Resolved);
        }
        Ok(ResolverBackend::File(file.to_owned()))
    }

    async fn apply(backend: &ResolverBackend, change: &ResolverChange) -> Result<(), SystemError> {
        match backend {
            ResolverBackend::Resolved => in_time(tell_resolved(change)).await.map_err(|error| on_bus(&error)),
            ResolverBackend::File(file) => {
                edit(file, |text| with_ours(text, change)).map(|_| ()).map_err(|error| on_file(file, &error))
            }
        }
    }

    async fn restore(backend: &ResolverBackend, change: &ResolverChange) -> Result<bool, SystemError> {
        match backend {
            // What it was told of a link it keeps, also when it is started anew.
            ResolverBackend::Resolved => Ok(false),
            ResolverBackend::File(file) => {
                edit(file, |text| with_ours(text, change)).map_err(|error| on_file(file, &error))
            }
        }
    }

    async fn undo(backend: &ResolverBackend, change: &ResolverChange) -> Result<Undone, SystemError> {
        match backend {
            ResolverBackend::Resolved => match in_time(revert_resolved(change)).await {
                Ok(()) => Ok(Undone::Removed),
                // Per-link settings vanish with the link, and with resolved.
                Err(error) if is_gone(&error) => Ok(Undone::AlreadyGone),
                Err(error) => Err(on_bus(&error)),
            },
            ResolverBackend::File(file) => match edit(file, without_ours) {
                Ok(true) => Ok(Undone::Removed),
                Ok(false) => Ok(Undone::AlreadyGone),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Undone::AlreadyGone),
                Err(error) => Err(on_file(file, &error)),
            },
        }
    }
}

/// Returns whether every server in a `resolv.conf` is resolved's own.
fn asks_resolved(text: &str) -> bool {
    let mut servers = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver")).map(str::trim).peekable();
    servers.peek().is_some() && servers.all(|server| STUBS.contains(&server)) && !holds_ours(text)
}

/// A bus or a service that hangs costs its own change only.
async fn in_time<T>(call: impl Future<Output = zbus::Result<T>>) -> zbus::Result<T> {
    let hangs = |_| zbus::Error::Failure(format!("no answer within {} s", LIMIT.as_secs()));
    tokio::time::timeout(LIMIT, call).await.map_err(hangs).and_then(|answer| answer)
}

async fn resolved_answers() -> bool {
    let Ok(bus) = zbus::Connection::system().await else { return false };
    let Ok(bus) = zbus::fdo::DBusProxy::new(&bus).await else { return false };
    let Ok(name) = zbus::names::BusName::try_from(BUS_NAME) else { return false };
    bus.name_has_owner(name).await.unwrap_or(false)
}

async fn tell_resolved(change: &ResolverChange) -> zbus::Result<()> {
    let resolved = ResolvedProxy::new(&zbus::Connection::system().await?).await?;
    let index = link(change);
    let servers: Vec<(i32, Vec<u8>)> = change
        .servers
        .iter()
        .map(|server| match server {
            IpAddr::V4(server) => (AF_INET, server.octets().to_vec()),
            IpAddr::V6(server) => (AF_INET6, server.octets().to_vec()),
        })
        .collect();
    // Search domains are asked of the link too; the others are for routing only.
    let mut domains: Vec<(&str, bool)> = change.search.iter().map(|domain| (domain.as_str(), false)).collect();
    domains.extend(
        change.routed.iter().filter(|domain| !change.search.contains(domain)).map(|domain| (domain.as_str(), true)),
    );
    if change.catch_all {
        domains.push((".", true));
    }
    resolved.set_link_dns(index, &servers).await?;
    resolved.set_link_domains(index, &domains).await?;
    // Always said: what it means when nothing is said changed with systemd 257.
    resolved.set_link_default_route(index, change.catch_all).await?;
    resolved.flush_caches().await
}

async fn revert_resolved(change: &ResolverChange) -> zbus::Result<()> {
    let resolved = ResolvedProxy::new(&zbus::Connection::system().await?).await?;
    resolved.revert_link(link(change)).await?;
    resolved.flush_caches().await
}

fn link(change: &ResolverChange) -> i32 {
    i32::try_from(change.device.index).unwrap_or(i32::MAX)
}

fn is_gone(error: &zbus::Error) -> bool {
    match error {
        zbus::Error::MethodError(name, ..) => {
            ["org.freedesktop.resolve1.NoSuchLink", "org.freedesktop.DBus.Error.ServiceUnknown"]
                .contains(&name.as_str())
        }
        zbus::Error::InputOutput(_) => true,
        _ => false,
    }
}

fn on_bus(error: &zbus::Error) -> SystemError {
    SystemError::Failed { operation: "telling systemd-resolved".to_owned(), detail: error.to_string() }
}

fn on_file(file: &Path, error: &io::Error) -> SystemError {
    let operation = format!("writing {}", file.display());
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            SystemError::NotPermitted { operation, detail: error.to_string() }
        }
        _ => SystemError::Failed { operation, detail: error.to_string() },
    }
}

/// Rewrites a file in place and returns whether it changed.
///
/// Never by renaming: the file may be a bind mount or a link that others hold. A shorter text is
/// filled up with blank lines before the file is cut, so that being killed between the two
/// leaves no piece of the old text behind the new one.
fn edit(file: &Path, change: impl FnOnce(&str) -> String) -> io::Result<bool> {
    let old = match fs::read_to_string(file) {
        Ok(old) => old,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    let new = change(&old);
    if new == old {
        return Ok(false);
    }
    let mut filled = new.clone();
    filled.extend(std::iter::repeat_n('\n', old.len().saturating_sub(new.len())));
    let is_new = !file.exists();
    let mut open = OpenOptions::new().write(true).create(true).truncate(false).open(file)?;
    if is_new {
        // Everybody asks by it, whatever the service's own files are like.
        open.set_permissions(fs::Permissions::from_mode(0o644))?;
    }
    open.write_all(filled.as_bytes())?;
    open.set_len(u64::try_from(new.len()).unwrap_or(u64::MAX))?;
    open.sync_all()?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn only_a_file_that_names_nobody_else_belongs_to_resolved() {
        assert!(asks_resolved("# managed\nnameserver 127.0.0.53\noptions edns0\n"));
        assert!(!asks_resolved("nameserver 127.0.0.53\nnameserver 192.0.2.1\n"));
        assert!(!asks_resolved(""));
    }

    #[test]
    fn a_file_is_rewritten_in_place_and_never_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("resolv.conf");
        fs::write(&file, "nameserver 192.0.2.1\nnameserver 192.0.2.2\n").unwrap();
        let inode = fs::metadata(&file).unwrap().ino();
        assert!(edit(&file, |_| "nameserver 10.0.0.1\n".to_owned()).unwrap());
        assert_eq!(fs::read_to_string(&file).unwrap(), "nameserver 10.0.0.1\n");
        assert_eq!(fs::metadata(&file).unwrap().ino(), inode);
        assert!(!edit(&file, str::to_owned).unwrap());
        let new = directory.path().join("new.conf");
        assert!(edit(&new, |_| "nameserver 10.0.0.1\n".to_owned()).unwrap());
        assert_eq!(fs::metadata(&new).unwrap().mode() & 0o777, 0o644, "programs of all users ask by it");
    }
}
