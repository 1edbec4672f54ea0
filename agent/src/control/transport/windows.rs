//! The control socket as a named pipe.
//!
//! Windows tells no more of a caller than a process number, which another process may have taken
//! over by the time it is looked up. The door is therefore the pipe's default access control
//! (full access for SYSTEM and administrators, read for everybody), and remote callers are
//! refused; whoever can write to the pipe is an administrator.

use super::{Arrival, Peer, Transport};
use postern_api::method::Role;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::windows::named_pipe::{ClientOptions, NamedPipeClient, NamedPipeServer, ServerOptions};

/// One end of a pipe.
pub(crate) enum Stream {
    Server(NamedPipeServer),
    Client(NamedPipeClient),
}

/// The pipe that the next caller will take.
pub struct Listener {
    name: OsString,
    next: NamedPipeServer,
}

/// Settles the roles of callers.
#[derive(Clone)]
pub(crate) struct Doorman;

impl Doorman {
    /// Whoever came in administers.
    pub(crate) async fn settle(&self, arrival: Arrival, _stream: &Stream) -> io::Result<Peer> {
        Ok(Peer { uid: arrival.uid, role: Role::Administrator })
    }
}

fn name_of(path: &Path) -> OsString {
    let mut name = OsString::from(r"\\.\pipe\");
    let tail: String =
        path.to_string_lossy().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    name.push(tail);
    name
}

impl Transport for Listener {
    type Stream = Stream;

    fn open(path: &Path, _group: &str) -> io::Result<Self> {
        let name = name_of(path);
        let next = ServerOptions::new().first_pipe_instance(true).reject_remote_clients(true).create(&name)?;
        Ok(Self { name, next })
    }

    async fn accept(&mut self) -> io::Result<(Stream, Arrival)> {
        self.next.connect().await?;
        let following = ServerOptions::new().reject_remote_clients(true).create(&self.name)?;
        let taken = std::mem::replace(&mut self.next, following);
        Ok((Stream::Server(taken), Arrival { uid: None, administrator: true }))
    }

    fn doorman(&self) -> Doorman {
        Doorman
    }

    async fn dial(path: &Path) -> io::Result<Stream> {
        Ok(Stream::Client(ClientOptions::new().open(name_of(path))?))
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Server(pipe) => Pin::new(pipe).poll_read(context, buffer),
            Self::Client(pipe) => Pin::new(pipe).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Server(pipe) => Pin::new(pipe).poll_write(context, bytes),
            Self::Client(pipe) => Pin::new(pipe).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Server(pipe) => Pin::new(pipe).poll_flush(context),
            Self::Client(pipe) => Pin::new(pipe).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Server(pipe) => Pin::new(pipe).poll_shutdown(context),
            Self::Client(pipe) => Pin::new(pipe).poll_shutdown(context),
        }
    }
}
