//! Signatures in the AUTH payload: methods 1, 9, 10 and 14.
//!
//! [`choose`] picks a [`SignatureScheme`] from the own key and from what the peer announced.

mod hashes;
mod scheme;

pub use hashes::{HashAlgorithm, HashListMalformed, SignatureHashes};
pub use scheme::{KeyKind, SignatureAlgorithm, SignatureScheme, choose, method};
