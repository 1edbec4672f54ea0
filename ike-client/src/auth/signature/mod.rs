//! Signatures in the AUTH payload: methods 1, 9, 10, 11 and 14.
//!
//! [`sign()`] is given the own [`PrivateKey`](super::PrivateKey) and what the peer announced; [`choose`] says how.
//! [`PublicKey::verify`] is given what a [`SignaturePolicy`] allows. Both sides hash for themselves: what goes
//! in are always the signed octets of RFC 7296 §2.15, whole.

mod algorithm_identifier;
mod hashes;
mod rsa_sha1;
mod scheme;
mod sign;
#[cfg(test)]
mod tests;
mod token;
mod verify;
#[cfg(test)]
mod wycheproof;

pub use hashes::{HashAlgorithm, HashListMalformed, SignatureHashes};
pub use scheme::{KeyKind, RsaPadding, SignatureAlgorithm, SignatureScheme, choose, method};
pub use sign::{SignError, Signed, sign, sign_bare, sign_with};
pub use token::{bare_of_token, of_token};
pub use verify::{PublicKey, PublicKeyError, SignatureError, SignaturePolicy};
