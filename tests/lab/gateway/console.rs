//! The command socket: one JSON line in, one out.

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// The most bytes of a request.
const LIMIT: u64 = 64 * 1024;

/// A command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Request {
    /// `diagnose …`.
    Diagnose {
        /// The words after it.
        words: Vec<String>,
    },
    /// `set NAME VALUE…` of the tunnel's settings.
    Set {
        /// The setting.
        name: String,
        /// Its new values.
        values: Vec<String>,
    },
    /// Deletes every IKE SA, telling the clients.
    Flush,
    /// Asks every client whether it lives.
    CheckLiveness,
}

/// What a command printed, or why it failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Whether it worked.
    pub ok: bool,
    /// What it printed.
    pub text: String,
}

/// Sends a command to a gateway and returns what it printed.
///
/// # Errors
/// When the gateway does not answer, or refuses.
pub fn ask(socket: &Path, request: &Request) -> Result<String> {
    let mut stream = UnixStream::connect(socket).with_context(|| socket.display().to_string())?;
    writeln!(stream, "{}", serde_json::to_string(request)?)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    let reply: Reply = serde_json::from_str(&line).context("the gateway's reply")?;
    if !reply.ok {
        bail!("{}", reply.text);
    }
    Ok(reply.text)
}

/// Reads a command from a connection. A connection that says nothing is given up soon.
pub(super) fn read(stream: &UnixStream) -> Result<Request> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut line = String::new();
    BufReader::new(stream.take(LIMIT)).read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

/// Writes a reply to a connection.
pub(super) fn write(mut stream: &UnixStream, reply: &Reply) -> Result<()> {
    stream.set_write_timeout(Some(Duration::from_secs(1)))?;
    writeln!(stream, "{}", serde_json::to_string(reply)?)?;
    Ok(())
}
