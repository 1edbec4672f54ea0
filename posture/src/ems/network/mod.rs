//! How the packets reach EMS.
//!
//! EMS must stay reachable under a full tunnel, a block and changed DNS. So the agent may hand in
//! how a name becomes a connection: a [`Dial`] that resolves where it wants and marks its socket.
//! The HTTP client has no door for foreign sockets, but it can speak through a local one; the
//! relay is that door, and TLS runs through it from end to end.

#[cfg_attr(not(unix), path = "relay_unsupported.rs")]
pub(super) mod relay;

use std::fmt;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

/// What a [`Dial`] returns.
pub type Dialling<'a> = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send + 'a>>;

/// Makes connections to EMS, its own way.
pub trait Dial: Send + Sync + 'static {
    /// Resolves the host where it is a name, and connects. Its own time limit is not needed.
    fn dial<'a>(&'a self, host: &'a str, port: u16) -> Dialling<'a>;
}

/// Bounds in bytes and time.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Until a connection stands, TLS included.
    pub connect: Duration,
    /// Until a reply is read to its end, counted from the start of the request.
    pub reply: Duration,
    /// The longest reply, in bytes.
    pub reply_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), reply: Duration::from_secs(10), reply_bytes: 16 << 20 }
    }
}

/// How to reach EMS.
#[derive(Clone, Default)]
pub struct Network {
    /// How connections are made; the system's way when absent.
    pub dial: Option<Arc<dyn Dial>>,
    /// Where the relay's socket lives while a [`Dial`] is used; the system's place for temporary
    /// files when absent. The socket is in a directory of its own, closed to other users.
    pub relay_directory: Option<PathBuf>,
    /// Bounds.
    pub limits: Limits,
}

impl fmt::Debug for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Network")
            .field("dial", &self.dial.is_some())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
