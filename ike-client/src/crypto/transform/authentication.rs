//! Integrity and pseudo-random functions (IANA transform types 3 and 2).

use super::table;
use crate::crypto::hash::Digest;
use crate::crypto::mac::MacAlgorithm;

struct IntegrityRow {
    id: u16,
    algorithm: MacAlgorithm,
    /// The length of the ICV in octets.
    icv: usize,
}

const fn hmac(id: u16, digest: Digest, icv: usize) -> IntegrityRow {
    IntegrityRow { id, algorithm: MacAlgorithm::Hmac(digest), icv }
}

table! {
    /// An integrity transform.
    Integrity: IntegrityRow {
        /// HMAC-SHA-1 cut to 96 bits (RFC 2404); for old gateways, never in a default.
        HmacSha1_96: "sha1" | "sha" = hmac(2, Digest::Sha1, 12);
        /// HMAC-SHA-256 cut to 128 bits (RFC 4868).
        HmacSha256_128: "sha256" | "sha2_256" = hmac(12, Digest::Sha256, 16);
        /// HMAC-SHA-384 cut to 192 bits (RFC 4868).
        HmacSha384_192: "sha384" | "sha2_384" = hmac(13, Digest::Sha384, 24);
        /// HMAC-SHA-512 cut to 256 bits (RFC 4868).
        HmacSha512_256: "sha512" | "sha2_512" = hmac(14, Digest::Sha512, 32);
        /// AES-XCBC-MAC cut to 96 bits (RFC 3566).
        AesXcbc96: "aesxcbc" = IntegrityRow { id: 5, algorithm: MacAlgorithm::AesXcbc, icv: 12 };
        /// AES-CMAC cut to 96 bits (RFC 4494).
        AesCmac96: "aescmac" = IntegrityRow { id: 8, algorithm: MacAlgorithm::AesCmac, icv: 12 };
    }
}

impl Integrity {
    /// Returns the IANA transform number.
    pub const fn id(self) -> u16 {
        self.row().id
    }

    /// Finds the transform of an IANA number.
    pub fn from_id(id: u16) -> Option<Self> {
        Self::ALL.iter().copied().find(|row| row.id() == id)
    }

    /// Returns the algorithm that is cut to the ICV.
    pub const fn algorithm(self) -> MacAlgorithm {
        self.row().algorithm
    }

    /// Returns the key length in octets: that of the whole output (RFC 4868 §2.1.1, RFC 3566 §2).
    pub const fn key_length(self) -> usize {
        self.algorithm().output_length()
    }

    /// Returns the length of the ICV in octets.
    pub const fn icv_length(self) -> usize {
        self.row().icv
    }

    /// Returns whether nobody should choose it who has a choice.
    pub const fn is_weak(self) -> bool {
        matches!(self, Self::HmacSha1_96)
    }
}

struct PrfRow {
    id: u16,
    algorithm: MacAlgorithm,
}

table! {
    /// A pseudo-random function.
    PseudoRandomFunction: PrfRow {
        /// PRF_HMAC_SHA1; for old gateways, never in a default.
        HmacSha1: "prfsha1" = PrfRow { id: 2, algorithm: MacAlgorithm::Hmac(Digest::Sha1) };
        /// PRF_HMAC_SHA2_256 (RFC 4868).
        HmacSha256: "prfsha256" = PrfRow { id: 5, algorithm: MacAlgorithm::Hmac(Digest::Sha256) };
        /// PRF_HMAC_SHA2_384 (RFC 4868).
        HmacSha384: "prfsha384" = PrfRow { id: 6, algorithm: MacAlgorithm::Hmac(Digest::Sha384) };
        /// PRF_HMAC_SHA2_512 (RFC 4868).
        HmacSha512: "prfsha512" = PrfRow { id: 7, algorithm: MacAlgorithm::Hmac(Digest::Sha512) };
        /// PRF_AES128_XCBC (RFC 4434).
        Aes128Xcbc: "prfaesxcbc" = PrfRow { id: 4, algorithm: MacAlgorithm::AesXcbc };
        /// PRF_AES128_CMAC (RFC 4615).
        Aes128Cmac: "prfaescmac" = PrfRow { id: 8, algorithm: MacAlgorithm::AesCmac };
    }
}

impl PseudoRandomFunction {
    /// Returns the IANA transform number.
    pub const fn id(self) -> u16 {
        self.row().id
    }

    /// Finds the function of an IANA number.
    pub fn from_id(id: u16) -> Option<Self> {
        Self::ALL.iter().copied().find(|row| row.id() == id)
    }

    /// Returns the MAC that it is.
    pub const fn algorithm(self) -> MacAlgorithm {
        self.row().algorithm
    }

    /// Returns the output length in octets, which is the preferred key length too.
    pub const fn output_length(self) -> usize {
        self.algorithm().output_length()
    }

    /// Returns how many octets of each nonce make the first SKEYSEED's key: for the two functions
    /// with keys of 128 bits that is the first 64 bits, else all (RFC 7296 §2.14).
    pub const fn nonce_share(self) -> Option<usize> {
        match self.algorithm() {
            MacAlgorithm::Hmac(_) => None,
            MacAlgorithm::AesXcbc | MacAlgorithm::AesCmac => Some(8),
        }
    }

    /// Returns whether nobody should choose it who has a choice.
    pub const fn is_weak(self) -> bool {
        matches!(self, Self::HmacSha1)
    }

    /// Returns the function that goes with an integrity transform when a proposal names none.
    pub const fn matching(integrity: Integrity) -> Self {
        match integrity {
            Integrity::HmacSha1_96 => Self::HmacSha1,
            Integrity::HmacSha256_128 => Self::HmacSha256,
            Integrity::HmacSha384_192 => Self::HmacSha384,
            Integrity::HmacSha512_256 => Self::HmacSha512,
            Integrity::AesXcbc96 => Self::Aes128Xcbc,
            Integrity::AesCmac96 => Self::Aes128Cmac,
        }
    }
}
