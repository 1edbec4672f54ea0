//! What the methods have in common: how a conversation runs one without knowing which it is.

use super::profile::{EapMethod, EapProfile};
use super::{EapFailure, EapKey, gtc, mschapv2, packet};
use crate::crypto::Secret;
use crate::random::Random;

/// One run of a method.
pub(super) enum Method {
    Gtc(gtc::Login),
    Mschapv2(mschapv2::Login),
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
}

impl Method {
    /// Starts `method` for the user `name`. `second` marks what comes after a finished login.
    pub(super) fn start(method: EapMethod, name: String, profile: &EapProfile, second: bool) -> Self {
        match method {
            EapMethod::Gtc => Self::Gtc(gtc::Login::new(second)),
            EapMethod::Mschapv2 => Self::Mschapv2(mschapv2::Login::new(name, profile.short_master_session_key)),
        }
    }

    /// Returns the method's type number.
    pub(super) const fn kind(&self) -> u8 {
        match self {
            Self::Gtc(_) => packet::kind::GTC,
            Self::Mschapv2(_) => packet::kind::MSCHAPV2,
        }
    }

    /// Tells whether the server has shown by this method that it knows the user's secret.
    pub(super) const fn has_proven_server(&self) -> bool {
        match self {
            Self::Gtc(_) => false,
            Self::Mschapv2(login) => login.has_proven_server(),
        }
    }

    /// Takes the server's request, without its type.
    pub(super) fn request(&mut self, data: &[u8]) -> Result<Turn, EapFailure> {
        match self {
            Self::Gtc(login) => Ok(login.request(data)),
            Self::Mschapv2(login) => login.request(data),
        }
    }

    /// Takes the owner's answer to [`Turn::Ask`].
    pub(super) fn secret(&mut self, secret: &Secret, random: &mut dyn Random) -> Result<Turn, EapFailure> {
        match self {
            Self::Gtc(login) => login.secret(secret),
            Self::Mschapv2(login) => login.secret(secret, random),
        }
    }
}
