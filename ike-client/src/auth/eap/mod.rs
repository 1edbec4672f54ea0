//! EAP as the one who is asked (RFC 3748), inside IKE_AUTH (RFC 7296 §2.16).
//!
//! A [`Peer`] is made from a [`GatewayProven`]: before the gateway's IDr and AUTH verify there is nothing that
//! could answer. It reads requests and gives back a [`Step`]; name and password are asked for when they are
//! needed and wiped after use. Success counts only after the method ran to its end and proved the server.
//!
//! ```text
//! AwaitingRequest ─Identity▶ AwaitingName ─name▶ AwaitingRequest
//! AwaitingRequest ─Challenge▶ AwaitingPassword ─password▶ AwaitingProof ─Success(S=)▶ AwaitingSuccess ─Success▶ end
//! ```
//!
//! A method that is not known here is answered with Nak; MSCHAPv2 is what there is.

pub mod mschapv2;
pub mod packet;
#[cfg(test)]
pub(crate) mod tests;

use super::gateway::GatewayProven;
use crate::crypto::Secret;
use crate::random::{Random, RandomUnavailable};
use mschapv2::{Declined, MalformedPacket};
use packet::{Packet, PacketError, kind};

/// Requests that are answered before the peer gives up; a whole MSCHAPv2 takes four.
const MAX_ROUNDS: u8 = 16;

/// The peer of one EAP conversation.
pub struct Peer {
    state: State,
    name: Option<String>,
    notice: Option<String>,
    rounds: u8,
}

enum State {
    /// The server's next request: Identity, Notification, or the start of a method.
    AwaitingRequest { refused_method: Option<u8> },
    /// The user's name, to answer an Identity request.
    AwaitingName { identifier: u8 },
    /// The user's name, to answer a challenge that came without an Identity request.
    AwaitingNameFor { identifier: u8, challenge: mschapv2::Challenge },
    /// The user's password.
    AwaitingPassword { identifier: u8, name: String, challenge: mschapv2::Challenge },
    /// The server's proof that it knows the password.
    AwaitingProof(mschapv2::AwaitedProof),
    /// EAP's own Success; the method has ended well.
    AwaitingSuccess(Secret),
    /// Nothing more: it has ended one way or the other.
    Ended,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this EAP packet.
    Reply(Vec<u8>),
    /// Ask for the user's name and hand it to [`Peer::identity`].
    NeedIdentity {
        /// What the server says with its request, to be shown as plain text; often empty.
        prompt: String,
    },
    /// Ask for the password and hand it to [`Peer::password`].
    NeedPassword {
        /// Whose.
        identity: String,
        /// What the server calls itself; not proven, to be shown as plain text.
        server: String,
    },
    /// The conversation has ended well. Both sides now prove in AUTH that they have this key.
    Success(EapKey),
    /// The conversation has ended badly.
    Failed {
        /// Why.
        reason: EapFailure,
        /// A last packet that the protocol wants sent, if the IKE exchange can still carry it.
        farewell: Option<Vec<u8>>,
    },
}

/// What a method leaves behind for AUTH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EapKey {
    /// The master session key.
    MasterSessionKey(Secret),
    /// The method makes no key: SK_pi and SK_pr take its place (RFC 7296 §2.16).
    None,
}

impl EapKey {
    /// Returns the secret for [`psk::compute`](super::psk::compute): the MSK, or without one `sk_p` (SK_pi for the
    /// initiator's AUTH, SK_pr for the responder's).
    pub fn secret<'a>(&'a self, sk_p: &'a [u8]) -> &'a [u8] {
        match self {
            Self::MasterSessionKey(key) => key.expose(),
            Self::None => sk_p,
        }
    }
}

/// Why a conversation ended badly.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EapFailure {
    /// The server declined and said why.
    #[error("the gateway declined the login: {}", .0.reason)]
    Declined(Declined),
    /// The server ended with Failure and said nothing more.
    #[error("the gateway declined the login")]
    Refused,
    /// The server insists on a method that is not known here.
    #[error("the gateway asks for EAP method {offered}, which is not supported")]
    NoSharedMethod {
        /// The method's number.
        offered: u8,
    },
    /// Success before the method had ended: an attempt to get around it.
    #[error("the gateway claimed success before the login was done")]
    EarlySuccess,
    /// The server does not know the password.
    #[error("the gateway did not prove that it knows the password")]
    ServerUnproven,
    /// An EAP packet that is malformed.
    #[error(transparent)]
    Packet(#[from] PacketError),
    /// A packet of the method that is malformed.
    #[error(transparent)]
    Method(#[from] MalformedPacket),
    /// A packet that has no place now.
    #[error("the gateway sent {0}, which has no place at this point of the login")]
    Unexpected(&'static str),
    /// More requests than a login needs.
    #[error("the gateway keeps asking")]
    TooManyRounds,
    /// Name or password cannot be carried by the method: too long, or not text.
    #[error("the name or password is too long for this login, or is not text")]
    CredentialUnusable,
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomUnavailable),
}

impl Peer {
    /// Starts a conversation with a gateway that has been proven; without `name` the peer will ask for it.
    pub fn new(_proven: &GatewayProven, name: Option<String>) -> Self {
        let state = State::AwaitingRequest { refused_method: None };
        Self { state, name, notice: None, rounds: 0 }
    }

    /// Takes the content of an EAP payload.
    pub fn handle(&mut self, packet: &[u8]) -> Step {
        let state = std::mem::replace(&mut self.state, State::Ended);
        let outcome = match Packet::decode(packet) {
            Ok(Packet::Request { identifier, kind, data }) => self.request(state, identifier, kind, data),
            Ok(Packet::Success) => match state {
                State::AwaitingSuccess(key) => Ok(Step::Success(EapKey::MasterSessionKey(key))),
                State::Ended => Err(EapFailure::Unexpected("a packet after the end")),
                _ => Err(EapFailure::EarlySuccess),
            },
            Ok(Packet::Failure) => Err(match state {
                State::AwaitingRequest { refused_method: Some(offered) } => EapFailure::NoSharedMethod { offered },
                State::Ended => EapFailure::Unexpected("a packet after the end"),
                _ => EapFailure::Refused,
            }),
            Err(error) => Err(error.into()),
        };
        self.settle(outcome)
    }

    /// Takes the name that [`Step::NeedIdentity`] asked for.
    pub fn identity(&mut self, name: String) -> Step {
        let outcome = match std::mem::replace(&mut self.state, State::Ended) {
            State::AwaitingName { identifier } => {
                let reply = self.reply_identity(identifier, &name);
                self.name = Some(name);
                reply
            }
            State::AwaitingNameFor { identifier, challenge } => {
                self.name = Some(name.clone());
                Ok(self.ask_password(identifier, name, challenge))
            }
            _ => Err(EapFailure::Unexpected("no request for a name, yet one was answered")),
        };
        self.settle(outcome)
    }

    /// Takes the password (UTF-8) that [`Step::NeedPassword`] asked for; the caller wipes its copy.
    pub fn password(&mut self, password: &[u8], random: &mut dyn Random) -> Step {
        let outcome = match std::mem::replace(&mut self.state, State::Ended) {
            State::AwaitingPassword { identifier, name, challenge } => {
                challenge.respond(&name, password, random).map_err(EapFailure::from).and_then(|(data, awaited)| {
                    self.state = State::AwaitingProof(awaited);
                    reply(identifier, kind::MSCHAPV2, &data)
                })
            }
            _ => Err(EapFailure::Unexpected("no request for a password, yet one was answered")),
        };
        self.settle(outcome)
    }

    /// Takes the text of the server's last Notification, to be shown as plain text.
    pub fn take_notice(&mut self) -> Option<String> {
        self.notice.take()
    }

    fn request(&mut self, state: State, identifier: u8, kind: u8, data: &[u8]) -> Result<Step, EapFailure> {
        self.rounds = self.rounds.saturating_add(1);
        if self.rounds > MAX_ROUNDS {
            return Err(EapFailure::TooManyRounds);
        }
        match (state, kind) {
            (State::Ended, _) => Err(EapFailure::Unexpected("a packet after the end")),
            (State::AwaitingName { .. } | State::AwaitingNameFor { .. } | State::AwaitingPassword { .. }, _) => {
                Err(EapFailure::Unexpected("a request while the last one was not answered"))
            }
            (state, kind::NOTIFICATION) => {
                self.state = state;
                self.notice = Some(mschapv2::display_text(data));
                reply(identifier, kind::NOTIFICATION, &[])
            }
            (State::AwaitingRequest { refused_method }, kind::IDENTITY) => match self.name.clone() {
                Some(name) => {
                    self.state = State::AwaitingRequest { refused_method };
                    reply(identifier, kind::IDENTITY, name.as_bytes())
                }
                None => {
                    self.state = State::AwaitingName { identifier };
                    Ok(Step::NeedIdentity { prompt: mschapv2::display_text(data) })
                }
            },
            (State::AwaitingRequest { .. }, kind::NAK) => Err(EapFailure::Unexpected("a Nak")),
            (State::AwaitingRequest { .. }, kind::MSCHAPV2) => self.start(identifier, data),
            (State::AwaitingRequest { .. }, other) => {
                self.state = State::AwaitingRequest { refused_method: Some(other) };
                reply(identifier, kind::NAK, &[kind::MSCHAPV2])
            }
            (State::AwaitingProof(awaited), kind::MSCHAPV2) => self.finish(awaited, identifier, data),
            (State::AwaitingProof(_) | State::AwaitingSuccess(_), _) => {
                Err(EapFailure::Unexpected("a request of another method"))
            }
        }
    }

    /// The method's first request.
    fn start(&mut self, identifier: u8, data: &[u8]) -> Result<Step, EapFailure> {
        match mschapv2::Request::decode(data)? {
            mschapv2::Request::Challenge(challenge) => Ok(match self.name.clone() {
                Some(name) => self.ask_password(identifier, name, challenge),
                None => {
                    self.state = State::AwaitingNameFor { identifier, challenge };
                    Step::NeedIdentity { prompt: String::new() }
                }
            }),
            mschapv2::Request::Success { .. } => Err(EapFailure::EarlySuccess),
            mschapv2::Request::Failure(_) => Err(EapFailure::Unexpected("a failure without a challenge")),
        }
    }

    fn ask_password(&mut self, identifier: u8, name: String, challenge: mschapv2::Challenge) -> Step {
        let step = Step::NeedPassword { identity: name.clone(), server: challenge.server.clone() };
        self.state = State::AwaitingPassword { identifier, name, challenge };
        step
    }

    /// The method's second request: proof or refusal.
    fn finish(&mut self, awaited: mschapv2::AwaitedProof, identifier: u8, data: &[u8]) -> Result<Step, EapFailure> {
        match mschapv2::Request::decode(data)? {
            mschapv2::Request::Success { proof } => {
                let key = awaited.check(&proof).ok_or(EapFailure::ServerUnproven)?;
                self.state = State::AwaitingSuccess(key);
                reply(identifier, kind::MSCHAPV2, &mschapv2::SUCCESS_RESPONSE)
            }
            mschapv2::Request::Failure(declined) => Ok(Step::Failed {
                reason: EapFailure::Declined(declined),
                farewell: packet::response(identifier, kind::MSCHAPV2, &mschapv2::FAILURE_RESPONSE),
            }),
            mschapv2::Request::Challenge(_) => Err(EapFailure::Unexpected("a second challenge")),
        }
    }

    fn reply_identity(&mut self, identifier: u8, name: &str) -> Result<Step, EapFailure> {
        self.state = State::AwaitingRequest { refused_method: None };
        reply(identifier, kind::IDENTITY, name.as_bytes())
    }

    /// Whatever went wrong ends the conversation for good.
    fn settle(&mut self, outcome: Result<Step, EapFailure>) -> Step {
        outcome.unwrap_or_else(|reason| {
            self.state = State::Ended;
            Step::Failed { reason, farewell: None }
        })
    }
}

fn reply(identifier: u8, kind: u8, data: &[u8]) -> Result<Step, EapFailure> {
    packet::response(identifier, kind, data).map(Step::Reply).ok_or(EapFailure::CredentialUnusable)
}

impl From<mschapv2::ResponseError> for EapFailure {
    fn from(error: mschapv2::ResponseError) -> Self {
        match error {
            mschapv2::ResponseError::CredentialUnusable => Self::CredentialUnusable,
            mschapv2::ResponseError::Random(error) => Self::Random(error),
        }
    }
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.state {
            State::AwaitingRequest { .. } => "Peer(awaiting request)",
            State::AwaitingName { .. } | State::AwaitingNameFor { .. } => "Peer(awaiting name)",
            State::AwaitingPassword { .. } => "Peer(awaiting password)",
            State::AwaitingProof(_) => "Peer(awaiting proof)",
            State::AwaitingSuccess(_) => "Peer(awaiting success)",
            State::Ended => "Peer(ended)",
        })
    }
}
