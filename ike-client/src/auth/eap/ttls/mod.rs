//! EAP-TTLS as a peer (RFC 5281; with TLS 1.3 RFC 9427): a password inside a TLS channel whose server is known.
//!
//! The channel's server must show a certificate under the login's own authorities (or a pinned key) for the name
//! that the profile gives; nothing of the user leaves before. Inside goes MSCHAPv2, whose answer proves that the
//! server knows the password, or PAP, which shows it the password.

mod avp;

use super::method::{Question, Turn};
use super::mschapv2::{AwaitedProof, Declined, proof, tunnelled};
use super::profile::{InnerMethod, TlsProfile};
use super::tls::{ACKNOWLEDGEMENT, Channel, Framing, Progress, Received, Wanted, master_session_key};
use super::{EapFailure, packet};
use crate::crypto::Secret;
use crate::random::Random;
use avp::MICROSOFT;
use zeroize::Zeroizing;

const USER_NAME: u32 = 1;
const USER_PASSWORD: u32 = 2;
/// Of Microsoft (RFC 2548 §2).
const MS_CHAP_ERROR: u32 = 2;
const MS_CHAP_CHALLENGE: u32 = 11;
const MS_CHAP2_RESPONSE: u32 = 25;
const MS_CHAP2_SUCCESS: u32 = 26;

/// The exporter's labels (RFC 5281 §8, §11.1): the key's before TLS 1.3, and that of MSCHAPv2's challenge.
const LABEL_TLS12: &[u8] = b"ttls keying material";
const LABEL_CHALLENGE: &[u8] = b"ttls challenge";
/// A challenge and an identifier.
const CHALLENGE: usize = 17;

/// One run of the method.
pub(super) struct Login {
    name: String,
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
    /// The user's password; with the rest of the handshake that goes along.
    AwaitingPassword(Box<Channel>, Vec<u8>),
    /// The server's proof that it knows the password.
    AwaitingProof(Box<Channel>, AwaitedProof, u8),
    /// What the server still says after PAP, or Success.
    AwaitingWord(Box<Channel>),
    /// The server has proven that it knows the password.
    Proven,
    /// It has ended badly.
    Ended,
}

impl Login {
    pub(super) fn new(name: String, profile: TlsProfile, unix_now: u64) -> Self {
        Self { name, profile, unix_now, framing: Framing::new(true), stage: Stage::AwaitingStart }
    }

    /// Tells whether the server has shown that it knows the password.
    pub(super) const fn has_proven_server(&self) -> bool {
        matches!(self.stage, Stage::Proven)
    }

    pub(super) fn request(&mut self, data: &[u8], random: &mut dyn Random) -> Result<Turn, EapFailure> {
        let stage = std::mem::replace(&mut self.stage, Stage::Ended);
        let message = match (self.framing.receive(data)?, &stage) {
            (Received::Start, Stage::AwaitingStart) => {
                let (channel, hello) = Channel::begin(&self.profile, self.unix_now, random)?;
                self.stage = Stage::Handshaking(Box::new(channel));
                return Ok(Turn::reply(self.framing.send(hello)));
            }
            (Received::Start, _) => return Err(EapFailure::Unexpected("a second start")),
            (Received::Part, _) => {
                self.stage = stage;
                return Ok(Turn::reply(ACKNOWLEDGEMENT.to_vec()));
            }
            (Received::Message(message), _) => message,
        };
        if self.framing.has_more() {
            if !message.is_empty() {
                return Err(EapFailure::Unexpected("TLS while fragments were on their way to it"));
            }
            let data = self.framing.next();
            // After PAP's last fragment the server may be content at once.
            let success = match &stage {
                Stage::AwaitingWord(channel) if !self.framing.has_more() => {
                    Some(master_session_key(channel, packet::kind::TTLS, LABEL_TLS12)?)
                }
                _ => None,
            };
            self.stage = stage;
            return Ok(Turn::Reply { data, success });
        }
        match stage {
            Stage::Handshaking(mut channel) => match channel.receive(&message)? {
                Progress::Send(out) => Ok(self.handshaken(channel, out)),
                Progress::Sign(wanted) => {
                    self.stage = Stage::AwaitingSignature(channel, wanted.clone());
                    Ok(Turn::Ask(Question::Signature(wanted)))
                }
            },
            Stage::AwaitingProof(channel, awaited, identifier) => self.judge(channel, awaited, identifier, &message),
            Stage::AwaitingWord(mut channel) => {
                let (_, out) = inside(&mut channel, &message)?;
                let success = Some(master_session_key(&channel, packet::kind::TTLS, LABEL_TLS12)?);
                self.stage = Stage::AwaitingWord(channel);
                Ok(Turn::Reply { data: self.framing.send(out), success })
            }
            Stage::AwaitingStart => Err(EapFailure::Unexpected("TLS before its start")),
            Stage::Proven => Err(EapFailure::Unexpected("a request after the method's end")),
            Stage::AwaitingPassword(..) | Stage::AwaitingSignature(..) | Stage::Ended => {
                Err(EapFailure::Unexpected("a request while the last one was not answered"))
            }
        }
    }

    pub(super) fn signature(&mut self, signature: Vec<u8>) -> Result<Turn, EapFailure> {
        match std::mem::replace(&mut self.stage, Stage::Ended) {
            Stage::AwaitingSignature(mut channel, wanted) => {
                let out = channel.signed(wanted, signature)?;
                Ok(self.handshaken(channel, out))
            }
            _ => Err(EapFailure::Unexpected("no request for a signature, yet one was answered")),
        }
    }

    /// Takes the user's password and puts it, or an answer by it, into the channel.
    pub(super) fn secret(&mut self, secret: &Secret, random: &mut dyn Random) -> Result<Turn, EapFailure> {
        let Stage::AwaitingPassword(mut channel, mut out) = std::mem::replace(&mut self.stage, Stage::Ended) else {
            return Err(EapFailure::Unexpected("no request for a password, yet one was answered"));
        };
        let mut inside = Zeroizing::new(Vec::new());
        let unusable = EapFailure::CredentialUnusable;
        avp::write(&mut inside, USER_NAME, 0, self.name.as_bytes()).ok_or(unusable.clone())?;
        match self.profile.inner {
            InnerMethod::Pap => {
                // The length does not show: zeros fill up to a multiple of 16 (RFC 5281 §11.2.5).
                let mut password = Zeroizing::new(secret.expose().to_vec());
                if password.is_empty() || password.contains(&0) {
                    return Err(unusable);
                }
                let padded = password.len().next_multiple_of(16);
                password.resize(padded, 0);
                avp::write(&mut inside, USER_PASSWORD, 0, &password).ok_or(unusable)?;
                out.extend(channel.seal(&inside)?);
                let data = self.framing.send(out);
                let success = match self.framing.has_more() {
                    true => None,
                    false => Some(master_session_key(&channel, packet::kind::TTLS, LABEL_TLS12)?),
                };
                self.stage = Stage::AwaitingWord(channel);
                Ok(Turn::Reply { data, success })
            }
            InnerMethod::Mschapv2 => {
                let implicit = channel.export(CHALLENGE, LABEL_CHALLENGE, None)?;
                let Some((challenge, &[identifier])) = implicit.expose().split_first_chunk::<16>() else {
                    return Err(EapFailure::Unexpected("a channel without keys"));
                };
                let (response, awaited) = tunnelled(challenge, identifier, &self.name, secret, random)?;
                avp::write(&mut inside, MS_CHAP_CHALLENGE, MICROSOFT, challenge).ok_or(unusable.clone())?;
                avp::write(&mut inside, MS_CHAP2_RESPONSE, MICROSOFT, &response).ok_or(unusable)?;
                out.extend(channel.seal(&inside)?);
                self.stage = Stage::AwaitingProof(channel, awaited, identifier);
                Ok(Turn::reply(self.framing.send(out)))
            }
        }
    }

    fn handshaken(&mut self, channel: Box<Channel>, out: Vec<u8>) -> Turn {
        if !channel.is_up() {
            self.stage = Stage::Handshaking(channel);
            return Turn::reply(self.framing.send(out));
        }
        self.stage = Stage::AwaitingPassword(channel, out);
        Turn::Ask(Question::Password { server: self.profile.server_name.clone() })
    }

    /// Looks for the server's proof, or its refusal, in what came.
    fn judge(
        &mut self,
        mut channel: Box<Channel>,
        awaited: AwaitedProof,
        identifier: u8,
        message: &[u8],
    ) -> Result<Turn, EapFailure> {
        let (octets, out) = inside(&mut channel, message)?;
        let attributes = avp::read(&octets).ok_or(EapFailure::Unexpected("malformed attributes"))?;
        if attributes.is_empty() {
            // Tickets of TLS 1.3, which are not used here.
            self.stage = Stage::AwaitingProof(channel, awaited, identifier);
            return Ok(Turn::reply(self.framing.send(out)));
        }
        for attribute in attributes {
            match (attribute.vendor, attribute.code, attribute.value) {
                (MICROSOFT, MS_CHAP2_SUCCESS, [repeated, text @ ..]) if *repeated == identifier => {
                    let shown = proof(text).ok_or(EapFailure::ServerUnproven)?;
                    awaited.check(&shown).ok_or(EapFailure::ServerUnproven)?;
                    let success = Some(master_session_key(&channel, packet::kind::TTLS, LABEL_TLS12)?);
                    self.stage = Stage::Proven;
                    return Ok(Turn::Reply { data: self.framing.send(out), success });
                }
                (MICROSOFT, MS_CHAP_ERROR, [_, text @ ..]) => {
                    let reason = EapFailure::Declined(Declined::read(text));
                    return Ok(Turn::Decline { reason, farewell: ACKNOWLEDGEMENT.to_vec() });
                }
                _ if attribute.mandatory => {
                    return Err(EapFailure::Unexpected("an attribute that must be understood and is not"));
                }
                _ => {}
            }
        }
        Err(EapFailure::ServerUnproven)
    }
}

/// Takes what the server has sent inside, and what the channel itself answers.
fn inside(channel: &mut Channel, message: &[u8]) -> Result<(Vec<u8>, Vec<u8>), EapFailure> {
    match channel.receive(message)? {
        Progress::Send(out) => Ok((channel.open()?, out)),
        Progress::Sign(_) => Err(EapFailure::Unexpected("a second request for the client's certificate")),
    }
}
