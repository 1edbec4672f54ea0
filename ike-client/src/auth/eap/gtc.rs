//! EAP-GTC as a peer (RFC 3748 §5.6): the server asks in words, and the answer is sent as it is.
//!
//! Nothing here hides the secret from whoever is at the other end, so it runs only inside an IKE SA whose
//! gateway has proven itself, and only where a profile names it (or as the second factor that
//! [`token_after_success`](super::EapProfile::token_after_success) allows). It makes no key.

use super::method::{Question, Turn};
use super::{EapFailure, EapKey, mschapv2};
use crate::crypto::Secret;

/// The longest answer that is sent.
const MAX_SECRET: usize = 512;

/// One run of the method.
pub(super) struct Login {
    /// Whether what is asked is a code; the first thing that is asked of a login is its password.
    code: bool,
    asked: bool,
}

impl Login {
    pub(super) const fn new(second_factor: bool) -> Self {
        Self { code: second_factor, asked: false }
    }

    /// Takes the server's words, which are shown as plain text.
    pub(super) fn request(&mut self, data: &[u8]) -> Turn {
        let text = mschapv2::display_text(data);
        // Whoever asks again after a password wants something else: a code, or the next one.
        let code = std::mem::replace(&mut self.code, true);
        self.asked = true;
        Turn::Ask(if code { Question::Code { challenge: text } } else { Question::Password { server: text } })
    }

    pub(super) fn secret(&mut self, secret: &Secret) -> Result<Turn, EapFailure> {
        if !std::mem::take(&mut self.asked) {
            return Err(EapFailure::Unexpected("no request for a secret, yet one was answered"));
        }
        match secret.expose() {
            [] => Err(EapFailure::CredentialUnusable),
            octets if octets.len() > MAX_SECRET => Err(EapFailure::CredentialUnusable),
            octets => Ok(Turn::Reply { data: octets.to_vec(), success: Some(EapKey::None) }),
        }
    }
}
