//! The SIGNATURE_HASH_ALGORITHMS notify: which hashes a side can check in method 14 (RFC 7427 §4).

use serde::{Deserialize, Serialize};

/// A hash algorithm by its IANA number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HashAlgorithm(pub u16);

impl HashAlgorithm {
    /// SHA-1. Known by number only: never announced, never accepted inside method 14.
    pub const SHA1: Self = Self(1);
    /// SHA2-256.
    pub const SHA2_256: Self = Self(2);
    /// SHA2-384.
    pub const SHA2_384: Self = Self(3);
    /// SHA2-512.
    pub const SHA2_512: Self = Self(4);
    /// The algorithm hashes by itself (RFC 8420).
    pub const IDENTITY: Self = Self(5);
}

/// The set that one side announced; empty when it sent no such notify.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SignatureHashes(Vec<HashAlgorithm>);

/// The notify's data is not a list of 16-bit numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("SIGNATURE_HASH_ALGORITHMS with {0} bytes of data, which is not a list of 16-bit numbers")]
pub struct HashListMalformed(usize);

impl SignatureHashes {
    /// What this client announces: SHA2-256, SHA2-384, SHA2-512, and Identity for Ed25519.
    pub fn ours() -> Self {
        Self(vec![HashAlgorithm::SHA2_256, HashAlgorithm::SHA2_384, HashAlgorithm::SHA2_512, HashAlgorithm::IDENTITY])
    }

    /// Reads the notify's data.
    ///
    /// # Errors
    /// [`HashListMalformed`] for an odd number of bytes, or none.
    pub fn decode(data: &[u8]) -> Result<Self, HashListMalformed> {
        let (pairs, rest) = data.as_chunks::<2>();
        if pairs.is_empty() || !rest.is_empty() {
            return Err(HashListMalformed(data.len()));
        }
        Ok(pairs.iter().map(|pair| HashAlgorithm(u16::from_be_bytes(*pair))).collect())
    }

    /// Writes the notify's data.
    pub fn encode(&self) -> Vec<u8> {
        self.0.iter().flat_map(|hash| hash.0.to_be_bytes()).collect()
    }

    /// Returns true when `hash` was announced.
    pub fn contains(&self, hash: HashAlgorithm) -> bool {
        self.0.contains(&hash)
    }

    /// Returns true when nothing was announced: the peer does not know method 14.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<HashAlgorithm> for SignatureHashes {
    fn from_iter<I: IntoIterator<Item = HashAlgorithm>>(hashes: I) -> Self {
        let mut set = Self::default();
        for hash in hashes {
            if !set.contains(hash) {
                set.0.push(hash);
            }
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_and_written_back_without_doubles() {
        let hashes = SignatureHashes::decode(&[0, 2, 0, 4, 0, 2, 0x12, 0x34]).unwrap();
        assert!(hashes.contains(HashAlgorithm::SHA2_512) && !hashes.contains(HashAlgorithm::SHA1));
        assert_eq!(hashes.encode(), [0, 2, 0, 4, 0x12, 0x34]);
    }

    #[test]
    fn half_a_number_or_nothing_is_refused() {
        assert_eq!(SignatureHashes::decode(&[0, 2, 0]), Err(HashListMalformed(3)));
        assert_eq!(SignatureHashes::decode(&[]), Err(HashListMalformed(0)));
    }

    #[test]
    fn sha1_is_never_announced() {
        assert_eq!(SignatureHashes::ours().encode(), [0, 2, 0, 3, 0, 4, 0, 5]);
    }
}
