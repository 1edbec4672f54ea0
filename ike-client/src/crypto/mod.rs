//! Cryptography of IKEv2 and ESP: transforms by name, key exchange, key derivation, protection.
//!
//! | module | holds |
//! |---|---|
//! | [`transform`], [`suite`] | transforms as tables, and suites read from proposal strings |
//! | [`kex`] | key exchange by group, with the checks of the peer's value |
//! | [`hash`], [`mac`], [`prf`], [`keys`] | digests, MACs, `prf+`, and what they derive: IKE and CHILD SA keys |
//! | [`protect`] | sealing and opening SK and SKF payloads |
//!
//! Nothing here reads a clock, a socket or the operating system's randomness; randomness comes in
//! as [`Random`](crate::random::Random). Secrets are wiped when dropped and cannot be printed.

pub mod hash;
pub mod kex;
pub mod keys;
pub mod mac;
pub mod prf;
pub mod protect;
mod secret;
pub mod suite;
pub mod transform;

pub(crate) mod cipher;
#[cfg(test)]
mod wycheproof;

pub use secret::Secret;
