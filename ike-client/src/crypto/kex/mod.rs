//! Key exchange: one method a file behind one trait, found by group.
//!
//! A [`KeyExchange`] makes its secret from the randomness handed in, shows its public value, and
//! agrees with the responder's: with each, where several claim to be it (RFC 7296 §2.4, §2.12). The responder's side is [`respond`]: a KEM has no
//! answer before it has seen the question. A public value from the peer is checked before use as
//! RFC 6989 asks: range for MODP, on-the-curve for NIST curves, no all-zero result for Curve25519;
//! ML-KEM's encapsulation key must be one that encoding gives (FIPS 203 §7.2).

mod curve25519;
mod ml_kem;
mod modp;
mod nist;
mod primes;

use super::{Secret, transform::Group};
use crate::random::{Random, RandomUnavailable};

/// What two parties agreed upon; input to key derivation, never a key itself.
pub type SharedSecret = Secret;

/// Why a key exchange failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyExchangeError {
    /// There was no randomness.
    #[error(transparent)]
    Random(#[from] RandomUnavailable),
    /// The peer's value has the wrong length for the group.
    #[error("key exchange data of {octets} octets does not fit {}", group.name())]
    WrongLength {
        /// The group.
        group: Group,
        /// The octets that came.
        octets: usize,
    },
    /// The peer's value is none of the group, or forces the result (RFC 6989).
    #[error("the key exchange value is not a valid element of {}", group.name())]
    InvalidValue {
        /// The group.
        group: Group,
    },
}

/// One side of a key exchange: the row behind [`KeyExchange`].
trait Method: Send {
    /// Agrees with the peer's public value, whose length has been checked.
    fn agree(&self, peer: &[u8]) -> Option<SharedSecret>;
}

/// Our side of one key exchange.
pub struct KeyExchange {
    group: Group,
    public: Vec<u8>,
    method: Box<dyn Method>,
}

impl KeyExchange {
    /// Draws a fresh secret in `group`.
    ///
    /// # Errors
    /// [`KeyExchangeError::Random`] when there is no randomness.
    pub fn generate(group: Group, random: &mut dyn Random) -> Result<Self, KeyExchangeError> {
        let (public, method) = match group {
            Group::Modp1024 => modp::generate(primes::MODP_1024, random)?,
            Group::Modp1536 => modp::generate(primes::MODP_1536, random)?,
            Group::Modp2048 => modp::generate(primes::MODP_2048, random)?,
            Group::Modp3072 => modp::generate(primes::MODP_3072, random)?,
            Group::Modp4096 => modp::generate(primes::MODP_4096, random)?,
            Group::Modp6144 => modp::generate(primes::MODP_6144, random)?,
            Group::Modp8192 => modp::generate(primes::MODP_8192, random)?,
            Group::Ecp256 => nist::generate_p256(random)?,
            Group::Ecp384 => nist::generate_p384(random)?,
            Group::Ecp521 => nist::generate_p521(random)?,
            Group::Curve25519 => curve25519::generate(random)?,
            Group::MlKem512 => ml_kem::generate_512(random)?,
            Group::MlKem768 => ml_kem::generate_768(random)?,
            Group::MlKem1024 => ml_kem::generate_1024(random)?,
        };
        Ok(Self { group, public, method })
    }

    /// Returns the group.
    pub const fn group(&self) -> Group {
        self.group
    }

    /// Returns the key exchange data to send.
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// Agrees with a responder's key exchange data. Each value is checked, so that a secret may meet
    /// several of them within one negotiation; it is never used in another.
    ///
    /// # Errors
    /// [`KeyExchangeError::WrongLength`] or [`KeyExchangeError::InvalidValue`], both the peer's doing.
    pub fn agree(&self, peer: &[u8]) -> Result<SharedSecret, KeyExchangeError> {
        let group = self.group;
        if peer.len() != group.answer_length() {
            return Err(KeyExchangeError::WrongLength { group, octets: peer.len() });
        }
        self.method.agree(peer).ok_or(KeyExchangeError::InvalidValue { group })
    }
}

/// Answers an initiator's key exchange data: returns the data to send back and the shared secret.
///
/// # Errors
/// [`KeyExchangeError::WrongLength`] or [`KeyExchangeError::InvalidValue`], both the peer's doing, and
/// [`KeyExchangeError::Random`].
pub fn respond(
    group: Group,
    peer: &[u8],
    random: &mut dyn Random,
) -> Result<(Vec<u8>, SharedSecret), KeyExchangeError> {
    if peer.len() != group.public_length() {
        return Err(KeyExchangeError::WrongLength { group, octets: peer.len() });
    }
    let encapsulated = match group {
        Group::MlKem512 => ml_kem::encapsulate_512(peer, random)?,
        Group::MlKem768 => ml_kem::encapsulate_768(peer, random)?,
        Group::MlKem1024 => ml_kem::encapsulate_1024(peer, random)?,
        _ => {
            let own = KeyExchange::generate(group, random)?;
            let public = own.public().to_vec();
            return Ok((public, own.agree(peer)?));
        }
    };
    encapsulated.ok_or(KeyExchangeError::InvalidValue { group })
}

impl std::fmt::Debug for KeyExchange {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("KeyExchange").field("group", &self.group).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
