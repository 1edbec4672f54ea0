//! EAP as the one who is asked (RFC 3748), inside IKE_AUTH (RFC 7296 §2.16).
//!
//! A [`Peer`] is made from a [`GatewayProven`]: before the gateway's IDr and AUTH verify there is nothing that
//! could answer. It reads requests and gives back a [`Step`]; names and secrets are asked for when they are
//! needed and wiped after use. Success counts only after a method ran to its end; a method that can prove the
//! server must have done so.
//!
//! ```text
//! AwaitingRequest ─Identity▶ AwaitingName ─name▶ AwaitingRequest
//! AwaitingRequest ─a method's first request▶ InMethod ◀─answer─▶ AwaitingAnswer
//! InMethod (with a key) ─Success▶ end
//! InMethod (MSCHAPv2, server proven) ─Success of five octets▶ AwaitingSecondFactor ─GTC▶ InMethod
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`profile`] | which methods a login may use |
//! | [`packet`] | EAP's own packet |
//! | `method` | what the methods have in common |
//! | [`mschapv2`], `gtc`, [`tls`], `ttls` | the methods |
//!
//! **FortiGate's second factor** is a form of its own: where the profile says
//! [`token_after_success`](EapProfile::token_after_success), and only after MSCHAPv2 has proven the server, a
//! Success of five octets whose last one is 6 opens one GTC round. The peer answers it with [`Step::Continue`]: an
//! IKE_AUTH request without any payload, so that the gateway can send the GTC request in its response. That is our
//! reading; nothing public says what a FortiClient sends there. The key of such a login is [`EapKey::None`].

mod failure;
mod gtc;
mod method;
pub mod mschapv2;
pub mod packet;
pub mod profile;
#[cfg(test)]
pub(crate) mod tests;
pub mod tls;
mod ttls;

use super::gateway::GatewayProven;
use crate::auth::signature::SignatureAlgorithm;
use crate::crypto::Secret;
use crate::random::Random;
use method::{Method, Question, Start, Turn};
use packet::{Packet, kind};

pub use failure::EapFailure;
pub use profile::{EapMethod, EapProfile, InnerMethod, TlsProfile, TlsVersion};

/// Requests that are answered before the peer gives up; a whole MSCHAPv2 takes four.
const MAX_ROUNDS: u16 = 16;
/// Requests of a method in TLS, whose certificates travel in fragments.
const MAX_TLS_ROUNDS: u16 = 160;

/// The peer of one EAP conversation.
pub struct Peer {
    state: State,
    profile: EapProfile,
    name: Option<String>,
    notice: Option<String>,
    rounds: u16,
    unix_now: u64,
    /// Whether the login has proven both sides to each other.
    mutual: bool,
}

/// Witness of a login that proved both sides to each other and left a key, by which alone a gateway can be proven
/// ([`prove_by_login`](super::gateway::prove_by_login)). Only a finished [`Peer`] makes one.
#[derive(Debug)]
pub struct MutualLogin(());

enum State {
    /// The server's next request: Identity, Notification, or the start of a method.
    AwaitingRequest { refused_method: Option<u8> },
    /// The user's name, to answer an Identity request.
    AwaitingName { identifier: u8 },
    /// The user's name, for a method that was started without an Identity request.
    AwaitingNameFor { identifier: u8, method: EapMethod, data: Vec<u8> },
    /// The server's next request of the method; with a key, also EAP's own Success.
    InMethod { method: Method, success: Option<EapKey> },
    /// The owner's answer, for the method.
    AwaitingAnswer { identifier: u8, method: Method },
    /// GTC, which FortiGate's form of Success has announced.
    AwaitingSecondFactor,
    /// Nothing more: it has ended one way or the other.
    Ended,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this EAP packet.
    Reply(Vec<u8>),
    /// Send an IKE_AUTH request without EAP, for the gateway to go on.
    Continue,
    /// Ask for the user's name and hand it to [`Peer::identity`].
    NeedIdentity {
        /// What the server says with its request, to be shown as plain text; often empty.
        prompt: String,
    },
    /// Ask for the password and hand it to [`Peer::secret`].
    NeedPassword {
        /// Whose.
        identity: String,
        /// What the server calls itself or says; not proven, to be shown as plain text.
        server: String,
    },
    /// The password has expired: ask for a new one and hand it to [`Peer::secret`].
    NeedNewPassword {
        /// Whose.
        identity: String,
        /// What the server says, to be shown as plain text.
        server: String,
    },
    /// Ask for a code that is good once and hand it to [`Peer::secret`].
    NeedCode {
        /// Whose.
        identity: String,
        /// What the server says, to be shown as plain text.
        challenge: String,
    },
    /// Have the key of the client's certificate sign and hand the signature to [`Peer::signature`].
    NeedSignature {
        /// By which algorithm; the signature is bare, in the form that TLS has.
        algorithm: SignatureAlgorithm,
        /// What is to be signed, before any hash.
        octets: Vec<u8>,
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

impl Peer {
    /// Starts a conversation with a gateway that has been proven; without `name` the peer will ask for it.
    /// `unix_now` is the time in seconds since 1970, by which certificates are judged.
    pub const fn new(_proven: &GatewayProven, name: Option<String>, profile: EapProfile, unix_now: u64) -> Self {
        let state = State::AwaitingRequest { refused_method: None };
        Self { state, profile, name, notice: None, rounds: 0, unix_now, mutual: false }
    }

    /// Starts a conversation with a gateway whose proof is the login itself (RFC 5998); none unless every method
    /// of the profile [suffices for that](EapMethod::suffices_alone).
    pub fn alone(name: Option<String>, profile: EapProfile, unix_now: u64) -> Option<Self> {
        let suffices = !profile.methods.is_empty() && profile.methods.iter().all(|method| method.suffices_alone());
        let state = State::AwaitingRequest { refused_method: None };
        (suffices && !profile.token_after_success).then_some(Self {
            state,
            profile,
            name,
            notice: None,
            rounds: 0,
            unix_now,
            mutual: false,
        })
    }

    /// Takes the content of an EAP payload.
    pub fn handle(&mut self, packet: &[u8], random: &mut dyn Random) -> Step {
        let state = std::mem::replace(&mut self.state, State::Ended);
        let outcome = match Packet::decode(packet) {
            Ok(Packet::Request { identifier, kind, data }) => self.request(state, identifier, kind, data, random),
            Ok(Packet::Success) => match state {
                State::InMethod { success: Some(key), method } => {
                    let alone = self.profile.methods.iter().find(|known| known.kind() == method.kind());
                    self.mutual = method.has_proven_server() && alone.is_some_and(|known| known.suffices_alone());
                    Ok(Step::Success(key))
                }
                State::Ended => Err(EapFailure::Unexpected("a packet after the end")),
                State::InMethod { method, .. } if method.lacks_confirmation() => Err(EapFailure::SuccessUnconfirmed),
                _ => Err(EapFailure::EarlySuccess),
            },
            Ok(Packet::SuccessThen { kind }) => self.success_then(state, kind, packet.len()),
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
    pub fn identity(&mut self, name: String, random: &mut dyn Random) -> Step {
        let outcome = match std::mem::replace(&mut self.state, State::Ended) {
            State::AwaitingName { identifier } => {
                self.state = State::AwaitingRequest { refused_method: None };
                self.name = Some(name);
                reply(identifier, kind::IDENTITY, self.outer_identity().as_bytes())
            }
            State::AwaitingNameFor { identifier, method, data } => {
                self.name = Some(name);
                self.begin(identifier, method, false, &data, random)
            }
            _ => Err(EapFailure::Unexpected("no request for a name, yet one was answered")),
        };
        self.settle(outcome)
    }

    /// Takes the password or code that a [`Step`] asked for (passwords in UTF-8).
    pub fn secret(&mut self, secret: &Secret, random: &mut dyn Random) -> Step {
        let outcome = match std::mem::replace(&mut self.state, State::Ended) {
            State::AwaitingAnswer { identifier, mut method } => {
                method.secret(secret, random).and_then(|turn| self.turn(identifier, method, turn))
            }
            _ => Err(EapFailure::Unexpected("no request for a password, yet one was answered")),
        };
        self.settle(outcome)
    }

    /// Takes the signature that [`Step::NeedSignature`] asked for.
    pub fn signature(&mut self, signature: Vec<u8>) -> Step {
        let outcome = match std::mem::replace(&mut self.state, State::Ended) {
            State::AwaitingAnswer { identifier, mut method } => {
                method.signature(signature).and_then(|turn| self.turn(identifier, method, turn))
            }
            _ => Err(EapFailure::Unexpected("no request for a signature, yet one was answered")),
        };
        self.settle(outcome)
    }

    /// Returns the witness of a login that has ended well and has proven both sides to each other.
    pub fn into_mutual(self) -> Option<MutualLogin> {
        self.mutual.then_some(MutualLogin(()))
    }

    /// Takes the text of the server's last Notification, to be shown as plain text.
    pub fn take_notice(&mut self) -> Option<String> {
        self.notice.take()
    }

    fn request(
        &mut self,
        state: State,
        identifier: u8,
        kind: u8,
        data: &[u8],
        random: &mut dyn Random,
    ) -> Result<Step, EapFailure> {
        self.rounds = self.rounds.saturating_add(1);
        let in_tls = matches!(&state, State::InMethod { method: Method::Tls(_) | Method::Ttls(_), .. });
        if self.rounds > if in_tls { MAX_TLS_ROUNDS } else { MAX_ROUNDS } {
            return Err(EapFailure::TooManyRounds);
        }
        match (state, kind) {
            (State::Ended, _) => Err(EapFailure::Unexpected("a packet after the end")),
            (State::AwaitingName { .. } | State::AwaitingNameFor { .. } | State::AwaitingAnswer { .. }, _) => {
                Err(EapFailure::Unexpected("a request while the last one was not answered"))
            }
            (state, kind::NOTIFICATION) => {
                self.state = state;
                self.notice = Some(mschapv2::display_text(data));
                reply(identifier, kind::NOTIFICATION, &[])
            }
            (State::AwaitingRequest { refused_method }, kind::IDENTITY) => match &self.name {
                Some(_) => {
                    self.state = State::AwaitingRequest { refused_method };
                    reply(identifier, kind::IDENTITY, self.outer_identity().as_bytes())
                }
                None => {
                    self.state = State::AwaitingName { identifier };
                    Ok(Step::NeedIdentity { prompt: mschapv2::display_text(data) })
                }
            },
            (State::AwaitingRequest { .. }, kind::NAK) => Err(EapFailure::Unexpected("a Nak")),
            (State::AwaitingRequest { .. }, other) => self.start(identifier, other, data, random),
            (State::AwaitingSecondFactor, kind::GTC) => self.begin(identifier, EapMethod::Gtc, true, data, random),
            (State::AwaitingSecondFactor, _) => Err(EapFailure::Unexpected("another method than was announced")),
            (State::InMethod { method, .. }, kind) if method.kind() == kind => {
                self.in_method(identifier, method, data, random)
            }
            (State::InMethod { .. }, _) => Err(EapFailure::Unexpected("a request of another method")),
        }
    }

    /// The first request of a method; one that the profile does not name gets a Nak with those that it does.
    fn start(&mut self, identifier: u8, kind: u8, data: &[u8], random: &mut dyn Random) -> Result<Step, EapFailure> {
        let allowed: Vec<EapMethod> =
            self.profile.methods.iter().copied().filter(|method| self.profile.allows(*method)).collect();
        let Some(method) = allowed.iter().copied().find(|method| method.kind() == kind) else {
            let mut wanted: Vec<u8> = allowed.into_iter().map(EapMethod::kind).collect();
            if wanted.is_empty() {
                // "None at all" (RFC 3748 §5.3.1).
                wanted.push(0);
            }
            self.state = State::AwaitingRequest { refused_method: Some(kind) };
            return reply(identifier, kind::NAK, &wanted);
        };
        match self.name {
            Some(_) => self.begin(identifier, method, false, data, random),
            None => {
                self.state = State::AwaitingNameFor { identifier, method, data: data.to_vec() };
                Ok(Step::NeedIdentity { prompt: String::new() })
            }
        }
    }

    /// FortiGate's form of Success: see the module's description.
    fn success_then(&mut self, state: State, kind: u8, length: usize) -> Result<Step, EapFailure> {
        match state {
            State::InMethod { method, success: Some(_) }
                if self.profile.token_after_success && kind == kind::GTC && method.has_proven_server() =>
            {
                self.state = State::AwaitingSecondFactor;
                Ok(Step::Continue)
            }
            _ => Err(packet::PacketError::Length { said: length, present: 4 }.into()),
        }
    }

    /// Starts a method with the server's first request of it.
    fn begin(
        &mut self,
        identifier: u8,
        method: EapMethod,
        second: bool,
        data: &[u8],
        random: &mut dyn Random,
    ) -> Result<Step, EapFailure> {
        let name = self.name.clone().unwrap_or_default();
        let start = Start { name, profile: &self.profile, unix_now: self.unix_now, second };
        let run = Method::start(method, start).ok_or(EapFailure::NoSharedMethod { offered: method.kind() })?;
        self.in_method(identifier, run, data, random)
    }

    /// What is said outside of any protection but the IKE SA's; the server behind the gateway gets the name inside.
    fn outer_identity(&self) -> &str {
        let only_ttls = self.profile.methods == [EapMethod::Ttls];
        let outer = self.profile.tls.as_ref().and_then(|tls| tls.outer_identity.as_deref()).filter(|_| only_ttls);
        outer.or(self.name.as_deref()).unwrap_or_default()
    }

    fn in_method(
        &mut self,
        identifier: u8,
        mut method: Method,
        data: &[u8],
        random: &mut dyn Random,
    ) -> Result<Step, EapFailure> {
        let turn = method.request(data, random)?;
        self.turn(identifier, method, turn)
    }

    fn turn(&mut self, identifier: u8, method: Method, turn: Turn) -> Result<Step, EapFailure> {
        match turn {
            Turn::Reply { data, success } => {
                let kind = method.kind();
                self.state = State::InMethod { method, success };
                reply(identifier, kind, &data)
            }
            Turn::Ask(question) => {
                self.state = State::AwaitingAnswer { identifier, method };
                let identity = self.name.clone().unwrap_or_default();
                Ok(match question {
                    Question::Code { challenge } => Step::NeedCode { identity, challenge },
                    Question::NewPassword { server } => Step::NeedNewPassword { identity, server },
                    Question::Password { server } => Step::NeedPassword { identity, server },
                    Question::Signature(wanted) => {
                        Step::NeedSignature { algorithm: wanted.algorithm, octets: wanted.octets }
                    }
                })
            }
            Turn::Decline { reason, farewell } => {
                let farewell = packet::response(identifier, method.kind(), &farewell);
                Ok(Step::Failed { reason, farewell })
            }
        }
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

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.state {
            State::AwaitingRequest { .. } => "Peer(awaiting request)",
            State::AwaitingName { .. } | State::AwaitingNameFor { .. } => "Peer(awaiting name)",
            State::InMethod { success: None, .. } => "Peer(in a method)",
            State::InMethod { success: Some(_), .. } => "Peer(awaiting success)",
            State::AwaitingAnswer { .. } => "Peer(awaiting answer)",
            State::AwaitingSecondFactor => "Peer(awaiting second factor)",
            State::Ended => "Peer(ended)",
        })
    }
}
