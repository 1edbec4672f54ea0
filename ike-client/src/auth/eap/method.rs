//! What the methods have in common: how a conversation runs one without knowing which it is.

use super::profile::{EapMethod, EapProfile};
use super::tls::Wanted;
use super::{EapFailure, EapKey, gtc, mschapv2, packet, tls, ttls};
use crate::crypto::Secret;
use crate::random::Random;

/// One run of a method.
pub(super) enum Method {
    Gtc(gtc::Login),
    Mschapv2(mschapv2::Login),
    Tls(Box<tls::Login>),
    Ttls(Box<ttls::Login>),
}

/// What a method is started with.
pub(super) struct Start<'a> {
    pub name: String,
    pub profile: &'a EapProfile,
    pub unix_now: u64,
    /// Marks what comes after a finished login.
    pub second: bool,
}

/// What a method does with what it was given.
pub(super) enum Turn {
    /// Sends this after the type; the server goes on. With a key, it may also end with Success.
    Reply { data: Vec<u8>, success: Option<EapKey> },
    /// Asks the owner.
    Ask(Question),
    /// Gives up, after this last packet.
    Decline { reason: EapFailure, farewell: Vec<u8> },
}

/// What a method asks its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// The password; with what the server calls itself or says.
    Password { server: String },
    /// A new password in the place of one that has expired.
    NewPassword { server: String },
    /// A code that is good once; with the server's challenge.
    Code { challenge: String },
    /// A signature by the key of the client's certificate.
    Signature(Wanted),
}

impl Turn {
    /// An answer after which the method goes on.
    pub(super) const fn reply(data: Vec<u8>) -> Self {
        Self::Reply { data, success: None }
    }
}

impl Method {
    /// Starts `method`; none when the profile does not say what it needs.
    pub(super) fn start(method: EapMethod, start: Start<'_>) -> Option<Self> {
        let Start { name, profile, unix_now, second } = start;
        Some(match method {
            EapMethod::Gtc => Self::Gtc(gtc::Login::new(second)),
            EapMethod::Mschapv2 => Self::Mschapv2(mschapv2::Login::new(name, profile.short_master_session_key)),
            EapMethod::Tls => Self::Tls(Box::new(tls::Login::new(profile.tls.clone()?, unix_now))),
            EapMethod::Ttls => Self::Ttls(Box::new(ttls::Login::new(name, profile.tls.clone()?, unix_now))),
        })
    }

    /// Returns the method's type number.
    pub(super) const fn kind(&self) -> u8 {
        match self {
            Self::Gtc(_) => packet::kind::GTC,
            Self::Mschapv2(_) => packet::kind::MSCHAPV2,
            Self::Tls(_) => packet::kind::TLS,
            Self::Ttls(_) => packet::kind::TTLS,
        }
    }

    /// Tells whether the server has shown by this method that it knows the user's secret.
    pub(super) const fn has_proven_server(&self) -> bool {
        match self {
            Self::Gtc(_) => false,
            Self::Mschapv2(login) => login.has_proven_server(),
            Self::Tls(login) => login.has_proven_server(),
            Self::Ttls(login) => login.has_proven_server(),
        }
    }

    /// Tells whether nothing is missing but the server's own confirmation.
    pub(super) const fn lacks_confirmation(&self) -> bool {
        matches!(self, Self::Tls(login) if login.lacks_confirmation())
    }

    /// Takes the server's request, without its type.
    pub(super) fn request(&mut self, data: &[u8], random: &mut dyn Random) -> Result<Turn, EapFailure> {
        match self {
            Self::Gtc(login) => Ok(login.request(data)),
            Self::Mschapv2(login) => login.request(data),
            Self::Tls(login) => login.request(data, random),
            Self::Ttls(login) => login.request(data, random),
        }
    }

    /// Takes the owner's answer to [`Turn::Ask`].
    pub(super) fn secret(&mut self, secret: &Secret, random: &mut dyn Random) -> Result<Turn, EapFailure> {
        match self {
            Self::Gtc(login) => login.secret(secret),
            Self::Mschapv2(login) => login.secret(secret, random),
            Self::Ttls(login) => login.secret(secret, random),
            Self::Tls(_) => Err(EapFailure::Unexpected("no request for a password, yet one was answered")),
        }
    }

    /// Takes the signature that [`Question::Signature`] asked for.
    pub(super) fn signature(&mut self, signature: Vec<u8>) -> Result<Turn, EapFailure> {
        match self {
            Self::Tls(login) => login.signature(signature),
            Self::Ttls(login) => login.signature(signature),
            Self::Gtc(_) | Self::Mschapv2(_) => {
                Err(EapFailure::Unexpected("no request for a signature, yet one was answered"))
            }
        }
    }
}
