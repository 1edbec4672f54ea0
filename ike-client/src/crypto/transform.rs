//! The transforms Postern speaks, each a row of a table: name, IANA number, sizes.
//!
//! Names are those of strongSwan's proposal strings, since administrators know them. What is weak
//! (DES, MD5, groups below 14) has no row at all and can therefore not be negotiated by accident.

use super::hash::Digest;

/// An encryption transform (IANA transform type 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encryption {
    /// AES-128-GCM with a 16-octet ICV (RFC 4106, RFC 5282).
    Aes128Gcm16,
    /// AES-256-GCM with a 16-octet ICV (RFC 4106, RFC 5282).
    Aes256Gcm16,
    /// ChaCha20-Poly1305 (RFC 7634).
    ChaCha20Poly1305,
    /// AES-128-CBC (RFC 3602).
    Aes128Cbc,
    /// AES-192-CBC (RFC 3602).
    Aes192Cbc,
    /// AES-256-CBC (RFC 3602).
    Aes256Cbc,
}

impl Encryption {
    /// Every encryption transform.
    pub const ALL: [Self; 6] = [
        Self::Aes128Gcm16,
        Self::Aes256Gcm16,
        Self::ChaCha20Poly1305,
        Self::Aes128Cbc,
        Self::Aes192Cbc,
        Self::Aes256Cbc,
    ];

    /// Returns the name in a proposal string.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aes128Gcm16 => "aes128gcm16",
            Self::Aes256Gcm16 => "aes256gcm16",
            Self::ChaCha20Poly1305 => "chacha20poly1305",
            Self::Aes128Cbc => "aes128",
            Self::Aes192Cbc => "aes192",
            Self::Aes256Cbc => "aes256",
        }
    }

    /// Returns the IANA transform number.
    pub const fn id(self) -> u16 {
        match self {
            Self::Aes128Gcm16 | Self::Aes256Gcm16 => 20,
            Self::ChaCha20Poly1305 => 28,
            Self::Aes128Cbc | Self::Aes192Cbc | Self::Aes256Cbc => 12,
        }
    }

    /// Returns the value of the Key Length attribute in bits, absent where the transform has one
    /// length only.
    pub const fn key_length_attribute(self) -> Option<u16> {
        match self {
            Self::Aes128Gcm16 | Self::Aes128Cbc => Some(128),
            Self::Aes192Cbc => Some(192),
            Self::Aes256Gcm16 | Self::Aes256Cbc => Some(256),
            Self::ChaCha20Poly1305 => None,
        }
    }

    /// Finds the transform that a proposal names by number and key length.
    pub fn from_id(id: u16, key_length: Option<u16>) -> Option<Self> {
        Self::ALL.into_iter().find(|row| row.id() == id && row.key_length_attribute() == key_length)
    }

    /// Returns whether the transform authenticates too, so that no integrity transform goes with it.
    pub const fn is_aead(self) -> bool {
        matches!(self, Self::Aes128Gcm16 | Self::Aes256Gcm16 | Self::ChaCha20Poly1305)
    }

    /// Returns the length of the cipher key alone in octets.
    pub const fn key_length(self) -> usize {
        match self {
            Self::Aes128Gcm16 | Self::Aes128Cbc => 16,
            Self::Aes192Cbc => 24,
            Self::Aes256Gcm16 | Self::Aes256Cbc | Self::ChaCha20Poly1305 => 32,
        }
    }

    /// Returns the length of the salt that follows the key in the key material, in octets.
    pub const fn salt_length(self) -> usize {
        if self.is_aead() { 4 } else { 0 }
    }

    /// Returns what the transform takes from the key material: key and salt, in octets.
    pub const fn key_material_length(self) -> usize {
        self.key_length() + self.salt_length()
    }

    /// Returns the length of the initialization vector carried in each packet, in octets.
    pub const fn iv_length(self) -> usize {
        if self.is_aead() { 8 } else { 16 }
    }

    /// Returns the length of which the encrypted part is a multiple, in octets.
    pub const fn block_length(self) -> usize {
        if self.is_aead() { 1 } else { 16 }
    }
}

/// An integrity transform (IANA transform type 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Integrity {
    /// HMAC-SHA-1 cut to 96 bits (RFC 2404); for old gateways, never in a default.
    HmacSha1_96,
    /// HMAC-SHA-256 cut to 128 bits (RFC 4868).
    HmacSha256_128,
    /// HMAC-SHA-384 cut to 192 bits (RFC 4868).
    HmacSha384_192,
    /// HMAC-SHA-512 cut to 256 bits (RFC 4868).
    HmacSha512_256,
}

impl Integrity {
    /// Every integrity transform.
    pub const ALL: [Self; 4] = [Self::HmacSha1_96, Self::HmacSha256_128, Self::HmacSha384_192, Self::HmacSha512_256];

    /// Returns the name in a proposal string.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HmacSha1_96 => "sha1",
            Self::HmacSha256_128 => "sha256",
            Self::HmacSha384_192 => "sha384",
            Self::HmacSha512_256 => "sha512",
        }
    }

    /// Returns the IANA transform number.
    pub const fn id(self) -> u16 {
        match self {
            Self::HmacSha1_96 => 2,
            Self::HmacSha256_128 => 12,
            Self::HmacSha384_192 => 13,
            Self::HmacSha512_256 => 14,
        }
    }

    /// Finds the transform of an IANA number.
    pub fn from_id(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|row| row.id() == id)
    }

    /// Returns the digest under the HMAC.
    pub const fn digest(self) -> Digest {
        match self {
            Self::HmacSha1_96 => Digest::Sha1,
            Self::HmacSha256_128 => Digest::Sha256,
            Self::HmacSha384_192 => Digest::Sha384,
            Self::HmacSha512_256 => Digest::Sha512,
        }
    }

    /// Returns the key length in octets: that of the whole digest (RFC 4868 §2.1.1).
    pub const fn key_length(self) -> usize {
        self.digest().output_length()
    }

    /// Returns the length of the ICV in octets.
    pub const fn icv_length(self) -> usize {
        match self {
            Self::HmacSha1_96 => 12,
            Self::HmacSha256_128 => 16,
            Self::HmacSha384_192 => 24,
            Self::HmacSha512_256 => 32,
        }
    }
}

/// A pseudo-random function (IANA transform type 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PseudoRandomFunction {
    /// PRF_HMAC_SHA1; for old gateways, never in a default.
    HmacSha1,
    /// PRF_HMAC_SHA2_256 (RFC 4868).
    HmacSha256,
    /// PRF_HMAC_SHA2_384 (RFC 4868).
    HmacSha384,
    /// PRF_HMAC_SHA2_512 (RFC 4868).
    HmacSha512,
}

impl PseudoRandomFunction {
    /// Every pseudo-random function.
    pub const ALL: [Self; 4] = [Self::HmacSha1, Self::HmacSha256, Self::HmacSha384, Self::HmacSha512];

    /// Returns the name in a proposal string.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HmacSha1 => "prfsha1",
            Self::HmacSha256 => "prfsha256",
            Self::HmacSha384 => "prfsha384",
            Self::HmacSha512 => "prfsha512",
        }
    }

    /// Returns the IANA transform number.
    pub const fn id(self) -> u16 {
        match self {
            Self::HmacSha1 => 2,
            Self::HmacSha256 => 5,
            Self::HmacSha384 => 6,
            Self::HmacSha512 => 7,
        }
    }

    /// Finds the function of an IANA number.
    pub fn from_id(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|row| row.id() == id)
    }

    /// Returns the digest under the HMAC.
    pub const fn digest(self) -> Digest {
        match self {
            Self::HmacSha1 => Digest::Sha1,
            Self::HmacSha256 => Digest::Sha256,
            Self::HmacSha384 => Digest::Sha384,
            Self::HmacSha512 => Digest::Sha512,
        }
    }

    /// Returns the output length in octets, which is the preferred key length too.
    pub const fn output_length(self) -> usize {
        self.digest().output_length()
    }

    /// Returns the function that goes with an integrity transform when a proposal names none.
    pub const fn matching(integrity: Integrity) -> Self {
        match integrity {
            Integrity::HmacSha1_96 => Self::HmacSha1,
            Integrity::HmacSha256_128 => Self::HmacSha256,
            Integrity::HmacSha384_192 => Self::HmacSha384,
            Integrity::HmacSha512_256 => Self::HmacSha512,
        }
    }
}

/// A key exchange group (IANA transform type 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// Group 14: 2048-bit MODP (RFC 3526).
    Modp2048,
    /// Group 15: 3072-bit MODP (RFC 3526).
    Modp3072,
    /// Group 16: 4096-bit MODP (RFC 3526).
    Modp4096,
    /// Group 17: 6144-bit MODP (RFC 3526).
    Modp6144,
    /// Group 18: 8192-bit MODP (RFC 3526).
    Modp8192,
    /// Group 19: NIST P-256 (RFC 5903).
    Ecp256,
    /// Group 20: NIST P-384 (RFC 5903).
    Ecp384,
    /// Group 31: Curve25519 (RFC 8031).
    Curve25519,
}

impl Group {
    /// Every group.
    pub const ALL: [Self; 8] = [
        Self::Modp2048,
        Self::Modp3072,
        Self::Modp4096,
        Self::Modp6144,
        Self::Modp8192,
        Self::Ecp256,
        Self::Ecp384,
        Self::Curve25519,
    ];

    /// Returns the name in a proposal string.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Modp2048 => "modp2048",
            Self::Modp3072 => "modp3072",
            Self::Modp4096 => "modp4096",
            Self::Modp6144 => "modp6144",
            Self::Modp8192 => "modp8192",
            Self::Ecp256 => "ecp256",
            Self::Ecp384 => "ecp384",
            Self::Curve25519 => "x25519",
        }
    }

    /// Returns the IANA transform number.
    pub const fn id(self) -> u16 {
        match self {
            Self::Modp2048 => 14,
            Self::Modp3072 => 15,
            Self::Modp4096 => 16,
            Self::Modp6144 => 17,
            Self::Modp8192 => 18,
            Self::Ecp256 => 19,
            Self::Ecp384 => 20,
            Self::Curve25519 => 31,
        }
    }

    /// Finds the group of an IANA number.
    pub fn from_id(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|row| row.id() == id)
    }

    /// Returns the length of the key exchange data in octets.
    pub const fn public_length(self) -> usize {
        match self {
            Self::Modp2048 => 256,
            Self::Modp3072 => 384,
            Self::Modp4096 => 512,
            Self::Modp6144 => 768,
            Self::Modp8192 => 1024,
            Self::Ecp256 => 64,
            Self::Ecp384 => 96,
            Self::Curve25519 => 32,
        }
    }
}
