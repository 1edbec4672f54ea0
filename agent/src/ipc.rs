//! What crosses between the two processes of the service: lines of JSON over a socket pair.
//!
//! MAIN reads the system and holds keys; NET talks to the gateway and changes the network. NET
//! gets no secret except those it asked for, and no file: even names are looked up for it. The pair closes when either dies, and
//! that is how the other learns of it.

use crate::control::line::{LineReader, to_line};
use crate::network::step::{Before, Step};
use crate::network::system::{SystemError, Undone};
use crate::platform::Capabilities;
use crate::service::rights::Confinement;
use ike_client::tunnel::control::{Command, Event};
use serde::{Deserialize, Serialize};
use std::io;
use std::net::IpAddr;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroizing;

/// The longest line, in bytes.
pub(crate) const MAXIMUM_LINE: usize = 4 << 20;

/// From MAIN to NET.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "to", rename_all = "kebab-case")]
pub enum ToNet {
    /// For the engine; `Start` makes a new one.
    Engine {
        /// The command.
        command: Box<Command>,
    },
    /// For the network.
    System {
        /// The question's number.
        id: u64,
        /// What is to be done.
        verb: Verb,
    },
    /// The answer to [`FromNet::LookUp`].
    LookedUp {
        /// The question's number.
        id: u64,
        /// The addresses, or what the resolver said.
        outcome: Result<Vec<IpAddr>, String>,
    },
}

/// What NET does to the system's network.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case")]
pub enum Verb {
    /// Looks at what stands in the places of steps.
    Look {
        /// The steps.
        steps: Vec<Step>,
    },
    /// Carries steps out in their order, up to the first that fails.
    Apply {
        /// The steps, each with what stood in its place.
        steps: Vec<(Step, Before)>,
    },
    /// Takes a step back.
    Undo {
        /// The step.
        step: Step,
        /// What stood there.
        before: Before,
    },
    /// Carries steps out once more where somebody took them away.
    Restore {
        /// The steps.
        steps: Vec<Step>,
    },
}

/// From NET to MAIN.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "kebab-case")]
pub enum FromNet {
    /// NET is up; the first line.
    Ready {
        /// What it can do here.
        capabilities: Capabilities,
        /// What it cannot do any more.
        confinement: Confinement,
        /// Whether it reads the end of the lease where MAIN writes it: then renewals are no commands.
        shares_lease: bool,
    },
    /// A gateway's name is to be looked up: NET reads no file, hence knows no resolver.
    LookUp {
        /// The question's number.
        id: u64,
        /// The name.
        name: String,
    },
    /// From the engine.
    Engine {
        /// The event.
        event: Box<Event>,
    },
    /// The answer to [`ToNet::System`].
    System {
        /// The question's number.
        id: u64,
        /// What came of it.
        outcome: Outcome,
    },
}

/// What came of a [`Verb`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "outcome", content = "value", rename_all = "kebab-case")]
pub enum Outcome {
    /// What stands there, of each step.
    Looked(Vec<Before>),
    /// All were carried out.
    Applied,
    /// One was not; those behind it were not touched.
    Stopped {
        /// Its position.
        position: usize,
        /// Why.
        error: SystemError,
    },
    /// It was taken back.
    Undone(Undone),
    /// Of each step: it stands, and whether it was gone; or it does not.
    Restored(Vec<Result<bool, SystemError>>),
    /// It was not.
    Failed(SystemError),
}

/// Reads messages until the other end is gone.
pub struct Reader<R>(LineReader<R>);

impl<R: AsyncRead + Unpin> Reader<R> {
    /// Reads from `inner`.
    pub fn new(inner: R) -> Self {
        Self(LineReader::new(inner, MAXIMUM_LINE))
    }

    /// Returns the next message, or none when the other end is gone.
    ///
    /// # Errors
    /// A line that is too long or is no message: the other end cannot be trusted with more.
    pub async fn next<T: serde::de::DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let Some(line) = self.0.next().await? else { return Ok(None) };
        // Answers hold secrets.
        let line = Zeroizing::new(line);
        serde_json::from_slice(&line).map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

/// Writes one message.
///
/// # Errors
/// Where the other end is gone.
pub async fn write<T: Serialize>(writer: &mut (impl AsyncWrite + Unpin), message: &T) -> io::Result<()> {
    let line = Zeroizing::new(to_line(message)?);
    writer.write_all(&line).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use ike_client::session::{Answer, RequestId};

    #[tokio::test]
    async fn messages_cross_and_the_end_is_seen() {
        let (near, far) = tokio::io::duplex(4096);
        let (_, mut writer) = tokio::io::split(near);
        let mut reader = Reader::new(far);
        let answer = Answer::Refused { because: "no".into() };
        let command = Box::new(Command::Answer { id: RequestId(3), answer });
        write(&mut writer, &ToNet::Engine { command: command.clone() }).await.unwrap();
        let Some(ToNet::Engine { command: read }) = reader.next().await.unwrap() else { panic!("another message") };
        assert_eq!(read, command);
    }

    #[tokio::test]
    async fn nonsense_is_an_error_and_not_a_message() {
        let mut reader = Reader::new(&b"{\"to\":\"moon\"}\n"[..]);
        assert!(reader.next::<ToNet>().await.is_err());
    }
}
