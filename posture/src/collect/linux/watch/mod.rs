//! Hearing of change on Linux: the kernel tells, by netlink and inotify, and services by the system bus.

mod bus;
mod files;
mod firewall;
mod network;
mod processes;

pub(in crate::collect) use bus::bus_changes;
pub(in crate::collect) use files::file_changes;
pub(in crate::collect) use firewall::FirewallListener;
pub(in crate::collect) use network::network_changes;
pub(in crate::collect) use processes::process_changes;

use std::time::Duration;
use tokio::sync::mpsc;

/// How long changes are gathered into one: what makes one change mostly makes several.
const QUIET: Duration = Duration::from_millis(100);

/// Tells that something changed; several changes are one while the listener is busy. Returns whether
/// anybody listens.
fn tell(changed: &mpsc::Sender<()>) -> bool {
    !matches!(changed.try_send(()), Err(mpsc::error::TrySendError::Closed(())))
}
