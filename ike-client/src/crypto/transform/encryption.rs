//! Encryption (IANA transform type 1).

use super::table;

/// How a cipher works, and how it authenticates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// AES-GCM (RFC 4106, RFC 5282).
    Gcm {
        /// The length of the ICV in octets.
        icv: usize,
        /// Whether the initialization vector is the sequence number and is not sent (RFC 8750).
        implicit_iv: bool,
    },
    /// ChaCha20-Poly1305 (RFC 7634).
    ChaCha20Poly1305 {
        /// Whether the initialization vector is the sequence number and is not sent (RFC 8750).
        implicit_iv: bool,
    },
    /// AES-CBC (RFC 3602), beside a MAC.
    Cbc,
    /// AES-CTR (RFC 3686, RFC 5930), beside a MAC.
    Counter,
}

struct Row {
    id: u16,
    /// The length of the key in octets.
    key: usize,
    mode: Mode,
}

const fn gcm(id: u16, key: usize, icv: usize) -> Row {
    Row { id, key, mode: Mode::Gcm { icv, implicit_iv: false } }
}

table! {
    /// An encryption transform.
    Encryption: Row {
        /// AES-128-GCM with a 16-octet ICV.
        Aes128Gcm16: "aes128gcm16" | "aes128gcm" | "aes128gcm128" = gcm(20, 16, 16);
        /// AES-192-GCM with a 16-octet ICV.
        Aes192Gcm16: "aes192gcm16" | "aes192gcm" | "aes192gcm128" = gcm(20, 24, 16);
        /// AES-256-GCM with a 16-octet ICV.
        Aes256Gcm16: "aes256gcm16" | "aes256gcm" | "aes256gcm128" = gcm(20, 32, 16);
        /// AES-128-GCM with a 12-octet ICV.
        Aes128Gcm12: "aes128gcm12" | "aes128gcm96" = gcm(19, 16, 12);
        /// AES-192-GCM with a 12-octet ICV.
        Aes192Gcm12: "aes192gcm12" | "aes192gcm96" = gcm(19, 24, 12);
        /// AES-256-GCM with a 12-octet ICV.
        Aes256Gcm12: "aes256gcm12" | "aes256gcm96" = gcm(19, 32, 12);
        /// AES-128-GCM with an 8-octet ICV: weak, for a gateway that has nothing else.
        Aes128Gcm8: "aes128gcm8" | "aes128gcm64" = gcm(18, 16, 8);
        /// AES-192-GCM with an 8-octet ICV: weak, for a gateway that has nothing else.
        Aes192Gcm8: "aes192gcm8" | "aes192gcm64" = gcm(18, 24, 8);
        /// AES-256-GCM with an 8-octet ICV: weak, for a gateway that has nothing else.
        Aes256Gcm8: "aes256gcm8" | "aes256gcm64" = gcm(18, 32, 8);
        /// ChaCha20-Poly1305.
        ChaCha20Poly1305: "chacha20poly1305"
            = Row { id: 28, key: 32, mode: Mode::ChaCha20Poly1305 { implicit_iv: false } };
        /// AES-128-GCM with a 16-octet ICV and an implicit IV; for ESP only.
        Aes128Gcm16Iiv: "aes128gcm16iiv" = Row { id: 30, key: 16, mode: Mode::Gcm { icv: 16, implicit_iv: true } };
        /// AES-256-GCM with a 16-octet ICV and an implicit IV; for ESP only.
        Aes256Gcm16Iiv: "aes256gcm16iiv" = Row { id: 30, key: 32, mode: Mode::Gcm { icv: 16, implicit_iv: true } };
        /// ChaCha20-Poly1305 with an implicit IV; for ESP only.
        ChaCha20Poly1305Iiv: "chacha20poly1305iiv"
            = Row { id: 31, key: 32, mode: Mode::ChaCha20Poly1305 { implicit_iv: true } };
        /// AES-128-CBC.
        Aes128Cbc: "aes128" = Row { id: 12, key: 16, mode: Mode::Cbc };
        /// AES-192-CBC.
        Aes192Cbc: "aes192" = Row { id: 12, key: 24, mode: Mode::Cbc };
        /// AES-256-CBC.
        Aes256Cbc: "aes256" = Row { id: 12, key: 32, mode: Mode::Cbc };
        /// AES-128 in counter mode.
        Aes128Ctr: "aes128ctr" = Row { id: 13, key: 16, mode: Mode::Counter };
        /// AES-192 in counter mode.
        Aes192Ctr: "aes192ctr" = Row { id: 13, key: 24, mode: Mode::Counter };
        /// AES-256 in counter mode.
        Aes256Ctr: "aes256ctr" = Row { id: 13, key: 32, mode: Mode::Counter };
    }
}

impl Encryption {
    /// Returns the IANA transform number.
    pub const fn id(self) -> u16 {
        self.row().id
    }

    /// Returns how it works.
    pub const fn mode(self) -> Mode {
        self.row().mode
    }

    /// Returns the value of the Key Length attribute in bits, absent where the transform has one
    /// length only.
    pub const fn key_length_attribute(self) -> Option<u16> {
        match (self.mode(), self.key_length()) {
            (Mode::ChaCha20Poly1305 { .. }, _) => None,
            (_, 16) => Some(128),
            (_, 24) => Some(192),
            _ => Some(256),
        }
    }

    /// Finds the transform that a proposal names by number and key length.
    pub fn from_id(id: u16, key_length: Option<u16>) -> Option<Self> {
        Self::ALL.iter().copied().find(|row| row.id() == id && row.key_length_attribute() == key_length)
    }

    /// Returns whether the transform authenticates too, so that no integrity transform goes with it.
    pub const fn is_aead(self) -> bool {
        matches!(self.mode(), Mode::Gcm { .. } | Mode::ChaCha20Poly1305 { .. })
    }

    /// Returns whether the initialization vector is implied by the sequence number, which only ESP
    /// has (RFC 8750 §3).
    pub const fn has_implicit_iv(self) -> bool {
        matches!(self.mode(), Mode::Gcm { implicit_iv: true, .. } | Mode::ChaCha20Poly1305 { implicit_iv: true })
    }

    /// Returns whether nobody should choose it who has a choice.
    pub const fn is_weak(self) -> bool {
        matches!(self.mode(), Mode::Gcm { icv: 8, .. })
    }

    /// Returns the length of the cipher key alone in octets.
    pub const fn key_length(self) -> usize {
        self.row().key
    }

    /// Returns the length of the salt that follows the key in the key material, in octets.
    pub const fn salt_length(self) -> usize {
        match self.mode() {
            Mode::Cbc => 0,
            _ => 4,
        }
    }

    /// Returns what the transform takes from the key material: key and salt, in octets.
    pub const fn key_material_length(self) -> usize {
        self.key_length() + self.salt_length()
    }

    /// Returns the length of the initialization vector carried in each packet, in octets.
    pub const fn iv_length(self) -> usize {
        match self.mode() {
            Mode::Cbc => 16,
            _ if self.has_implicit_iv() => 0,
            _ => 8,
        }
    }

    /// Returns the length of which the encrypted part is a multiple, in octets.
    pub const fn block_length(self) -> usize {
        match self.mode() {
            Mode::Cbc => 16,
            _ => 1,
        }
    }
}
