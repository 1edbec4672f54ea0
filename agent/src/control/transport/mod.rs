//! What carries the control socket: a Unix socket, or a named pipe on Windows.

use postern_api::method::Role;
use std::io;
use std::path::Path;
use tokio::io::{AsyncRead, AsyncWrite};

#[cfg(unix)]
#[path = "unix.rs"]
mod system;
#[cfg(windows)]
#[path = "windows.rs"]
mod system;

pub(crate) use system::Doorman;
pub use system::Listener;
pub(crate) use system::Stream;

/// Who is at the other end, before anybody was asked what that user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// The user, where users have numbers.
    pub(crate) uid: Option<u32>,
    /// Whether it administers.
    pub(crate) administrator: bool,
}

/// Who is at the other end, as the system tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The user, where users have numbers.
    pub(crate) uid: Option<u32>,
    /// What the user may do.
    pub(crate) role: Role,
}

/// Holds the systems together: the same functions with the same meaning.
trait Transport: Sized + Send {
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    fn open(path: &Path, group: &str) -> io::Result<Self>;
    /// Takes the next caller. Asks nobody but the kernel: it must not wait for anything else.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Stream, Arrival)>> + Send;
    /// Returns what settles the roles of callers.
    fn doorman(&self) -> Doorman;
    fn dial(path: &Path) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// Opens the control socket for root and the members of `group`.
///
/// # Errors
/// Where the system refuses the socket.
pub fn listen(path: &Path, group: &str) -> io::Result<Listener> {
    Transport::open(path, group)
}

pub(crate) async fn accept(listener: &mut Listener) -> io::Result<(Stream, Arrival)> {
    Transport::accept(listener).await
}

pub(crate) fn doorman(listener: &Listener) -> Doorman {
    Transport::doorman(listener)
}

pub(crate) async fn dial(path: &Path) -> io::Result<Stream> {
    <Listener as Transport>::dial(path).await
}
