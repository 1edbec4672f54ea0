//! Which signature goes into an AUTH payload: by key, and by what the peer can check.

use super::{HashAlgorithm, SignatureHashes};
use serde::{Deserialize, Serialize};

/// AUTH method numbers (RFC 7296 §3.8, RFC 4754, RFC 7427).
pub mod method {
    /// RSA digital signature: PKCS#1 v1.5, in practice with SHA-1.
    pub const RSA: u8 = 1;
    /// Shared key message integrity code.
    pub const SHARED_KEY: u8 = 2;
    /// ECDSA with SHA-256 on P-256.
    pub const ECDSA_256: u8 = 9;
    /// ECDSA with SHA-384 on P-384.
    pub const ECDSA_384: u8 = 10;
    /// ECDSA with SHA-512 on P-521.
    pub const ECDSA_521: u8 = 11;
    /// Digital signature with an AlgorithmIdentifier in front.
    pub const DIGITAL_SIGNATURE: u8 = 14;
}

/// The kind of a key, as far as the choice of a signature depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyKind {
    /// RSA of at least 2048 bits.
    Rsa,
    /// ECDSA on NIST P-256.
    EcdsaP256,
    /// ECDSA on NIST P-384.
    EcdsaP384,
    /// ECDSA on NIST P-521.
    EcdsaP521,
    /// EdDSA on Curve25519.
    Ed25519,
}

impl std::fmt::Display for KeyKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Rsa => "RSA",
            Self::EcdsaP256 => "ECDSA P-256",
            Self::EcdsaP384 => "ECDSA P-384",
            Self::EcdsaP521 => "ECDSA P-521",
            Self::Ed25519 => "Ed25519",
        })
    }
}

/// One way to sign the octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignatureScheme {
    /// Method 1: RSA PKCS#1 v1.5 with SHA-1. Only with a peer that does not know method 14.
    RsaSha1,
    /// Method 9: raw r and s of 32 bytes each.
    EcdsaP256,
    /// Method 10: raw r and s of 48 bytes each.
    EcdsaP384,
    /// Method 11: raw r and s of 66 bytes each.
    EcdsaP521,
    /// Method 14 with this algorithm.
    Rfc7427(SignatureAlgorithm),
}

/// The algorithms of method 14.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignatureAlgorithm {
    /// RSA PKCS#1 v1.5 with SHA2-256.
    RsaPkcs1Sha256,
    /// RSA PKCS#1 v1.5 with SHA2-384.
    RsaPkcs1Sha384,
    /// RSA PKCS#1 v1.5 with SHA2-512.
    RsaPkcs1Sha512,
    /// RSA PSS with SHA2-256, MGF1 with the same hash, salt of the hash's length.
    RsaPssSha256,
    /// RSA PSS with SHA2-384.
    RsaPssSha384,
    /// RSA PSS with SHA2-512.
    RsaPssSha512,
    /// ECDSA with SHA2-256, r and s in DER.
    EcdsaSha256,
    /// ECDSA with SHA2-384, r and s in DER.
    EcdsaSha384,
    /// ECDSA with SHA2-512, r and s in DER.
    EcdsaSha512,
    /// EdDSA on Curve25519, which hashes by itself (RFC 8420).
    Ed25519,
}

impl SignatureAlgorithm {
    /// Every algorithm, in the order of preference among those that fit a key.
    pub const ALL: [Self; 10] = [
        Self::RsaPkcs1Sha256,
        Self::RsaPkcs1Sha384,
        Self::RsaPkcs1Sha512,
        Self::RsaPssSha256,
        Self::RsaPssSha384,
        Self::RsaPssSha512,
        Self::EcdsaSha256,
        Self::EcdsaSha384,
        Self::EcdsaSha512,
        Self::Ed25519,
    ];

    /// Returns the hash it uses.
    pub const fn hash(self) -> HashAlgorithm {
        match self {
            Self::RsaPkcs1Sha256 | Self::RsaPssSha256 | Self::EcdsaSha256 => HashAlgorithm::SHA2_256,
            Self::RsaPkcs1Sha384 | Self::RsaPssSha384 | Self::EcdsaSha384 => HashAlgorithm::SHA2_384,
            Self::RsaPkcs1Sha512 | Self::RsaPssSha512 | Self::EcdsaSha512 => HashAlgorithm::SHA2_512,
            Self::Ed25519 => HashAlgorithm::IDENTITY,
        }
    }

    /// Returns true when a key of `kind` can make or check it.
    pub const fn fits(self, kind: KeyKind) -> bool {
        match self {
            Self::EcdsaSha256 | Self::EcdsaSha384 | Self::EcdsaSha512 => {
                matches!(kind, KeyKind::EcdsaP256 | KeyKind::EcdsaP384 | KeyKind::EcdsaP521)
            }
            Self::Ed25519 => matches!(kind, KeyKind::Ed25519),
            _ => matches!(kind, KeyKind::Rsa),
        }
    }
}

impl SignatureScheme {
    /// Returns the AUTH method's number.
    pub const fn method(self) -> u8 {
        match self {
            Self::RsaSha1 => method::RSA,
            Self::EcdsaP256 => method::ECDSA_256,
            Self::EcdsaP384 => method::ECDSA_384,
            Self::EcdsaP521 => method::ECDSA_521,
            Self::Rfc7427(_) => method::DIGITAL_SIGNATURE,
        }
    }
}

/// How an RSA key signs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RsaPadding {
    /// PKCS#1 v1.5, which every peer knows. RFC 8247 §3.2 has both as a must and would rather have PSS; but method 14
    /// cannot tell whether a peer knows PSS, and one that does not refuses the login without saying why.
    #[default]
    Pkcs1,
    /// PSS and nothing else: a peer that does not know method 14 gets no signature.
    Pss,
}

/// Chooses how a key of `kind` signs for a peer that announced `announced`.
///
/// Method 14 wherever a hash is shared. Without one, ECDSA falls back to its own method, whose hash is as
/// good; RSA falls back to method 1, whose hash is SHA-1, only where the peer announced nothing at all and
/// `padding` is the one that method 1 has.
pub fn choose(kind: KeyKind, announced: &SignatureHashes, padding: RsaPadding) -> Option<SignatureScheme> {
    use SignatureAlgorithm::{EcdsaSha256, EcdsaSha384, EcdsaSha512, Ed25519};
    use SignatureAlgorithm::{RsaPssSha256, RsaPssSha384, RsaPssSha512};
    let preferred: &[SignatureAlgorithm] = match kind {
        KeyKind::Rsa if padding == RsaPadding::Pss => &[RsaPssSha256, RsaPssSha384, RsaPssSha512],
        KeyKind::Rsa => &SignatureAlgorithm::ALL,
        KeyKind::EcdsaP256 => &[EcdsaSha256],
        KeyKind::EcdsaP384 => &[EcdsaSha384],
        KeyKind::EcdsaP521 => &[EcdsaSha512],
        KeyKind::Ed25519 => &[Ed25519],
    };
    let shared = preferred.iter().find(|algorithm| algorithm.fits(kind) && announced.contains(algorithm.hash()));
    match (shared, kind) {
        (Some(algorithm), _) => Some(SignatureScheme::Rfc7427(*algorithm)),
        (None, KeyKind::EcdsaP256) => Some(SignatureScheme::EcdsaP256),
        (None, KeyKind::EcdsaP384) => Some(SignatureScheme::EcdsaP384),
        (None, KeyKind::EcdsaP521) => Some(SignatureScheme::EcdsaP521),
        // Method 14 is the only one there is for it.
        (None, KeyKind::Ed25519) => None,
        (None, KeyKind::Rsa) if announced.is_empty() && padding == RsaPadding::Pkcs1 => Some(SignatureScheme::RsaSha1),
        (None, KeyKind::Rsa) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(kind: KeyKind, announced: &SignatureHashes) -> Option<SignatureScheme> {
        super::choose(kind, announced, RsaPadding::Pkcs1)
    }

    fn announced(numbers: &[u16]) -> SignatureHashes {
        numbers.iter().copied().map(HashAlgorithm).collect()
    }

    #[test]
    fn method_14_is_chosen_wherever_a_hash_is_shared() {
        use SignatureAlgorithm as A;
        for (kind, hashes, algorithm) in [
            (KeyKind::Rsa, &[1, 2, 3, 4][..], A::RsaPkcs1Sha256),
            (KeyKind::Rsa, &[4], A::RsaPkcs1Sha512),
            (KeyKind::EcdsaP256, &[2], A::EcdsaSha256),
            (KeyKind::EcdsaP384, &[2, 3], A::EcdsaSha384),
            (KeyKind::EcdsaP521, &[2, 4], A::EcdsaSha512),
        ] {
            assert_eq!(choose(kind, &announced(hashes)), Some(SignatureScheme::Rfc7427(algorithm)));
        }
    }

    #[test]
    fn a_key_that_is_to_sign_by_pss_signs_by_nothing_else() {
        use SignatureAlgorithm as A;
        let choose = |hashes: &[u16]| super::choose(KeyKind::Rsa, &announced(hashes), RsaPadding::Pss);
        assert_eq!(choose(&[1, 2, 3, 4]), Some(SignatureScheme::Rfc7427(A::RsaPssSha256)));
        assert_eq!(choose(&[4]), Some(SignatureScheme::Rfc7427(A::RsaPssSha512)));
        assert_eq!(choose(&[1]), None);
        assert_eq!(choose(&[]), None, "no method 1");
        let other = super::choose(KeyKind::EcdsaP256, &announced(&[2]), RsaPadding::Pss);
        assert_eq!(other, Some(SignatureScheme::Rfc7427(A::EcdsaSha256)), "it is about RSA alone");
    }

    #[test]
    fn ecdsa_has_a_method_of_its_own_to_fall_back_to() {
        assert_eq!(choose(KeyKind::EcdsaP256, &announced(&[])), Some(SignatureScheme::EcdsaP256));
        assert_eq!(choose(KeyKind::EcdsaP384, &announced(&[2])), Some(SignatureScheme::EcdsaP384));
        assert_eq!(choose(KeyKind::EcdsaP521, &announced(&[2])), Some(SignatureScheme::EcdsaP521));
    }

    #[test]
    fn ed25519_needs_a_peer_that_announced_it() {
        let algorithm = SignatureScheme::Rfc7427(SignatureAlgorithm::Ed25519);
        assert_eq!(choose(KeyKind::Ed25519, &announced(&[2, 5])), Some(algorithm));
        assert_eq!(choose(KeyKind::Ed25519, &announced(&[2, 3, 4])), None);
        assert_eq!(choose(KeyKind::Ed25519, &announced(&[])), None);
    }

    #[test]
    fn sha1_is_signed_only_for_a_peer_that_announced_no_hashes_at_all() {
        assert_eq!(choose(KeyKind::Rsa, &announced(&[])), Some(SignatureScheme::RsaSha1));
        assert_eq!(choose(KeyKind::Rsa, &announced(&[1])), None);
        assert_eq!(choose(KeyKind::Rsa, &announced(&[5])), None);
    }
}
