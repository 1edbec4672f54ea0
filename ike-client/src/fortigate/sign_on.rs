//! SAML before IKE (Fortinet document 951346): the user signs on in a browser, which is then sent to
//! a port of this machine with a token; EAP goes on with the UID as the name and the token as the
//! password.
//!
//! ```text
//! browser ── POST https://GATEWAY:1001/saml_login?  UID=…&REDIRECT_PORT=… ──▶ gateway
//!         ◀─ a page that leads to the identity provider, and from there back to the gateway
//!         ── GET http://localhost:PORT/?tokenid=…&username=… ──▶ this machine
//! ```
//! There is no `state` in the protocol. What this module reads is text that a stranger may have
//! sent: it is bounded and only ever compared or handed on.

use super::Uid;
use crate::crypto::Secret;

/// The gateway's port for the sign-on (`auth-ike-saml-port`).
pub const PORT: u16 = 1001;

/// Where the sign-on begins on the gateway.
pub const LOGIN: &str = "/saml_login?";

/// The longest token that is taken.
const LONGEST_TOKEN: usize = 1024;
/// The longest name that is shown.
const LONGEST_NAME: usize = 256;

/// What the browser brings back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedOn {
    /// The token: the password of the login, good once.
    pub token: Secret,
    /// Who signed on, as the gateway names him; only to be shown, as plain text.
    pub user: String,
}

/// Why what the browser brought is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallbackError {
    /// No `tokenid`, or more than one.
    #[error("there is no token in the address, or there are two")]
    NoToken,
    /// A token that is empty, too long, or not of visible ASCII.
    #[error("the token is not one")]
    BadToken,
    /// Text that is not percent-encoded as it should be.
    #[error("the address is malformed")]
    Malformed,
}

/// Returns where the browser's form goes, for a gateway by name or address.
pub fn action(gateway: &str, port: u16) -> String {
    if gateway.contains(':') {
        format!("https://[{gateway}]:{port}{LOGIN}")
    } else {
        format!("https://{gateway}:{port}{LOGIN}")
    }
}

/// Returns the form's fields.
pub fn fields(uid: &Uid, redirect_port: u16) -> [(&'static str, String); 2] {
    [("UID", uid.to_string()), ("REDIRECT_PORT", redirect_port.to_string())]
}

/// Reads the query of the address that the browser was sent to.
///
/// # Errors
/// See [`CallbackError`].
pub fn callback(query: &str) -> Result<SignedOn, CallbackError> {
    let (mut token, mut user) = (None, String::new());
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "tokenid" if token.is_some() => return Err(CallbackError::NoToken),
            "tokenid" => token = Some(decoded(value)?),
            "username" => user = String::from_utf8_lossy(&decoded(value)?).chars().take(LONGEST_NAME).collect(),
            _ => {}
        }
    }
    let token = token.ok_or(CallbackError::NoToken)?;
    let fits = (1..=LONGEST_TOKEN).contains(&token.len()) && token.iter().all(u8::is_ascii_graphic);
    if fits { Ok(SignedOn { token: Secret::new(token), user }) } else { Err(CallbackError::BadToken) }
}

/// Decodes `application/x-www-form-urlencoded`.
fn decoded(text: &str) -> Result<Vec<u8>, CallbackError> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = match (first, tail) {
            (b'%', [high, low, tail @ ..]) => {
                let digit = |octet: u8| char::from(octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                let (high, low) = digit(*high).zip(digit(*low)).ok_or(CallbackError::Malformed)?;
                octets.push(high << 4 | low);
                tail
            }
            (b'%', _) => return Err(CallbackError::Malformed),
            (b'+', tail) => {
                octets.push(b' ');
                tail
            }
            (other, tail) => {
                octets.push(*other);
                tail
            }
        };
    }
    Ok(octets)
}
