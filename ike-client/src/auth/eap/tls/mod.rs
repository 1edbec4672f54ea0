//! EAP-TLS as a peer (RFC 5216; with TLS 1.3 RFC 9190): both sides show certificates, and both have a key after it.
//!
//! ```text
//! server                                  we
//! Start                            ──▶
//!                                  ◀──    ClientHello
//! ServerHello … Finished / Done    ──▶                    its certificate is checked here; ours is signed
//!                                  ◀──    Certificate … Finished
//! TLS 1.2: Finished                ──▶
//! TLS 1.3: one octet 0 inside      ──▶                    the protected success indication
//!                                  ◀──    (empty)
//! Success                          ──▶
//! ```
//!
//! | module | holds |
//! |---|---|
//! | `framing` | flags, lengths and fragments |
//! | `channel` | one TLS connection, played again when a signature has come |
//! | `provider` | its cryptography and randomness |
//! | `server`, `client` | whom it trusts, and what it shows |

mod channel;
mod client;
mod framing;
mod provider;
mod server;
#[cfg(test)]
pub(super) mod tests;

pub use channel::TlsError;
pub(super) use channel::{Channel, Progress};
pub(super) use client::Wanted;
pub use framing::FramingError;
pub(super) use framing::{ACKNOWLEDGEMENT, Framing, Received};

use super::method::{Question, Turn};
use super::profile::TlsProfile;
use super::{EapFailure, EapKey, packet};
use crate::random::Random;

/// The octets that are exported; the first half is the MSK, the rest the extended one, which nobody uses.
const EXPORTED: usize = 128;
const MASTER_SESSION_KEY: usize = 64;
/// The exporter's label before TLS 1.3 (RFC 5216 §2.3) and from then on (RFC 9190 §2.3).
const LABEL_TLS12: &[u8] = b"client EAP encryption";
const LABEL_TLS13: &[u8] = b"EXPORTER_EAP_TLS_Key_Material";

/// One run of the method.
pub(super) struct Login {
    profile: TlsProfile,
    unix_now: u64,
    framing: Framing,
    stage: Stage,
}

enum Stage {
    /// The server's start.
    AwaitingStart,
    /// The server's next flight.
    Handshaking(Box<Channel>),
    /// A signature by the client's key.
    AwaitingSignature(Box<Channel>, Wanted),
    /// With TLS 1.3: the server's protected word that it, too, is content.
    AwaitingIndication(Box<Channel>),
    /// Both sides are done; the last fragments or Success.
    Done,
    /// It has ended badly.
    Ended,
}

/// Returns the MSK of a channel: of EAP-TLS, or under TLS 1.3 of another method that runs in TLS (RFC 9427 §2.1).
pub(super) fn master_session_key(channel: &Channel, kind: u8, label_tls12: &[u8]) -> Result<EapKey, EapFailure> {
    let mut key = if channel.is_tls13() {
        channel.export(EXPORTED, LABEL_TLS13, Some(&[kind]))?
    } else {
        channel.export(EXPORTED, label_tls12, None)?
    };
    key.truncate(MASTER_SESSION_KEY);
    Ok(EapKey::MasterSessionKey(key))
}

impl Login {
    pub(super) fn new(profile: TlsProfile, unix_now: u64) -> Self {
        Self { profile, unix_now, framing: Framing::new(false), stage: Stage::AwaitingStart }
    }

    /// Tells whether the server's certificate was accepted and its handshake has ended well.
    pub(super) const fn has_proven_server(&self) -> bool {
        matches!(self.stage, Stage::Done)
    }

    /// Tells whether the handshake has ended well under TLS 1.3, and the server has not said yet that it thinks so too.
    pub(super) const fn lacks_confirmation(&self) -> bool {
        matches!(self.stage, Stage::AwaitingIndication(_))
    }

    pub(super) fn request(&mut self, data: &[u8], random: &mut dyn Random) -> Result<Turn, EapFailure> {
        let stage = std::mem::replace(&mut self.stage, Stage::Ended);
        match (self.framing.receive(data)?, stage) {
            (Received::Start, Stage::AwaitingStart) => {
                let (channel, hello) = Channel::begin(&self.profile, self.unix_now, random)?;
                self.stage = Stage::Handshaking(Box::new(channel));
                Ok(Turn::reply(self.framing.send(hello)))
            }
            (Received::Start, _) => Err(EapFailure::Unexpected("a second start")),
            (_, Stage::AwaitingStart) => Err(EapFailure::Unexpected("TLS before its start")),
            (_, Stage::AwaitingSignature(..) | Stage::Ended) => {
                Err(EapFailure::Unexpected("a request while the last one was not answered"))
            }
            (Received::Part, stage) => {
                self.stage = stage;
                Ok(Turn::reply(ACKNOWLEDGEMENT.to_vec()))
            }
            (Received::Message(message), stage) if self.framing.has_more() => {
                if !message.is_empty() {
                    return Err(EapFailure::Unexpected("TLS while fragments were on their way to it"));
                }
                self.stage = stage;
                Ok(Turn::reply(self.framing.next()))
            }
            (Received::Message(message), Stage::Handshaking(mut channel)) => match channel.receive(&message)? {
                Progress::Send(out) => self.handshaken(channel, out),
                Progress::Sign(wanted) => {
                    self.stage = Stage::AwaitingSignature(channel, wanted.clone());
                    Ok(Turn::Ask(Question::Signature(wanted)))
                }
            },
            (Received::Message(message), Stage::AwaitingIndication(mut channel)) => {
                let Progress::Send(out) = channel.receive(&message)? else {
                    return Err(EapFailure::Unexpected("a second request for the client's certificate"));
                };
                match channel.open()?.as_slice() {
                    // A ticket may come before it, which is not used here.
                    [] => {
                        self.stage = Stage::AwaitingIndication(channel);
                        Ok(Turn::reply(self.framing.send(out)))
                    }
                    [0] => self.done(&channel, out),
                    _ => Err(EapFailure::Unexpected("something else than its protected success")),
                }
            }
            (Received::Message(_), Stage::Done) => Err(EapFailure::Unexpected("a request after the method's end")),
        }
    }

    pub(super) fn signature(&mut self, signature: Vec<u8>) -> Result<Turn, EapFailure> {
        match std::mem::replace(&mut self.stage, Stage::Ended) {
            Stage::AwaitingSignature(mut channel, wanted) => {
                let out = channel.signed(wanted, signature)?;
                self.handshaken(channel, out)
            }
            _ => Err(EapFailure::Unexpected("no request for a signature, yet one was answered")),
        }
    }

    /// Goes on after a flight of the server, with the flight of ours that answers it.
    fn handshaken(&mut self, channel: Box<Channel>, out: Vec<u8>) -> Result<Turn, EapFailure> {
        if !channel.is_up() {
            self.stage = Stage::Handshaking(channel);
            return Ok(Turn::reply(self.framing.send(out)));
        }
        if channel.is_tls13() {
            self.stage = Stage::AwaitingIndication(channel);
            return Ok(Turn::reply(self.framing.send(out)));
        }
        self.done(&channel, out)
    }

    fn done(&mut self, channel: &Channel, out: Vec<u8>) -> Result<Turn, EapFailure> {
        let success = Some(master_session_key(channel, packet::kind::TLS, LABEL_TLS12)?);
        self.stage = Stage::Done;
        Ok(Turn::Reply { data: self.framing.send(out), success })
    }
}
