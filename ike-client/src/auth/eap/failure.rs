//! Why a login ended badly.

use super::mschapv2::{Declined, MalformedPacket, ResponseError};
use super::packet::PacketError;
use super::tls::{FramingError, TlsError};
use crate::random::RandomUnavailable;

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
    /// The server insists on a method that is not allowed here, or not known.
    #[error("the gateway asks for EAP method {offered}, which this tunnel does not allow")]
    NoSharedMethod {
        /// The method's number.
        offered: u8,
    },
    /// Success before the method had ended: an attempt to get around it.
    #[error("the gateway claimed success before the login was done")]
    EarlySuccess,
    /// Success by EAP's own word, which anybody may have sent, where TLS 1.3 is to say so under its keys
    /// (RFC 9190 §2.5).
    #[error("the gateway did not confirm within TLS that the login has succeeded")]
    SuccessUnconfirmed,
    /// The server does not know the password.
    #[error("the gateway did not prove that it knows the password")]
    ServerUnproven,
    /// An EAP packet that is malformed.
    #[error(transparent)]
    Packet(#[from] PacketError),
    /// A packet of the method that is malformed.
    #[error(transparent)]
    Method(#[from] MalformedPacket),
    /// TLS in EAP that is malformed, or more than any login needs.
    #[error(transparent)]
    Framing(#[from] FramingError),
    /// The TLS channel to the login server failed.
    #[error(transparent)]
    Tls(#[from] TlsError),
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

impl From<ResponseError> for EapFailure {
    fn from(error: ResponseError) -> Self {
        match error {
            ResponseError::CredentialUnusable => Self::CredentialUnusable,
            ResponseError::Random(error) => Self::Random(error),
        }
    }
}
