//! Sealing and opening the bodies of SK (RFC 7296 §3.14) and SKF (RFC 7383 §2.5) payloads.
//!
//! ```text
//! | header ... SK generic header [fragment number, total] | IV | encrypted: payloads, padding, pad length | ICV |
//! |<------------------ associated ----------------------->|<---------------------- body ---------------------->|
//! ```
//! Lengths in the header and in the SK payload's generic header count IV, padding and ICV, and are
//! themselves authenticated: the caller asks [`SkCipher::body_length`] before it writes them.

use super::cipher::{Associated, Cipher};
use super::transform::{Encryption, Integrity};
use crate::random::{Random, RandomUnavailable};
use zeroize::Zeroizing;

pub use super::cipher::CipherError;

/// Why a payload was neither sealed nor opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtectError {
    /// The body is shorter than IV, padding length and ICV together, or not a multiple of the block.
    #[error("an encrypted payload of {octets} octets is too short or not whole")]
    Malformed {
        /// The length of the body.
        octets: usize,
    },
    /// The padding is longer than the text. It was authenticated: the peer itself misbehaves.
    #[error("the padding is longer than the text")]
    BadPadding,
    /// The cipher refused: see [`CipherError::AuthenticationFailed`] above all.
    #[error(transparent)]
    Cipher(#[from] CipherError),
    /// There was no randomness for the initialization vector.
    #[error(transparent)]
    Random(#[from] RandomUnavailable),
    /// The counter that initialization vectors come from has run out: the IKE SA must not be used on.
    #[error("no initialization vector is left under this key")]
    Exhausted,
}

/// One direction of an IKE SA's protection.
pub struct SkCipher {
    cipher: Cipher,
    encryption: Encryption,
    /// Counts what was sealed: with an AEAD it is the initialization vector.
    sealed: u64,
}

impl SkCipher {
    /// Takes the keys of one direction into use.
    ///
    /// # Errors
    /// [`CipherError::KeyMismatch`] when lengths and transforms do not go together.
    pub fn new(
        encryption: Encryption,
        integrity: Option<Integrity>,
        encryption_key: &[u8],
        integrity_key: &[u8],
    ) -> Result<Self, ProtectError> {
        Ok(Self { cipher: Cipher::new(encryption, integrity, encryption_key, integrity_key)?, encryption, sealed: 0 })
    }

    /// Returns the length of the body that `plaintext` octets of payloads seal to.
    pub fn body_length(&self, plaintext: usize) -> usize {
        self.encryption.iv_length() + self.padded_length(plaintext) + self.cipher.icv_length()
    }

    /// Returns how many octets of payloads fit into a body of at most `body` octets.
    pub fn plaintext_room(&self, body: usize) -> usize {
        let text = body.saturating_sub(self.encryption.iv_length() + self.cipher.icv_length());
        (text - text % self.encryption.block_length()).saturating_sub(1)
    }

    /// Seals `plaintext` and returns the body: IV, encrypted text, ICV.
    ///
    /// # Errors
    /// [`ProtectError::Random`] or [`ProtectError::Exhausted`] when no fresh IV could be had.
    pub fn seal(
        &mut self,
        random: &mut dyn Random,
        associated: &[u8],
        plaintext: &[u8],
    ) -> Result<Vec<u8>, ProtectError> {
        let mut body = vec![0; self.body_length(plaintext.len())];
        let (iv, rest) = body.split_at_mut(self.encryption.iv_length());
        let (text, icv) = rest.split_at_mut(self.padded_length(plaintext.len()));
        self.sealed = self.sealed.checked_add(1).ok_or(ProtectError::Exhausted)?;
        match &self.cipher {
            // RFC 5282 §3.1: never the same twice under one key, so a counter and not chance.
            Cipher::Aead { .. } => iv.copy_from_slice(&self.sealed.to_be_bytes()),
            Cipher::EncryptThenMac { .. } => random.fill(iv)?,
        }
        let (payloads, padding) = text.split_at_mut(plaintext.len());
        payloads.copy_from_slice(plaintext);
        // The pad length octet itself does not count; padding may hold any octets, zeros here.
        let pad_length = padding.len().saturating_sub(1);
        if let Some(last) = padding.last_mut() {
            *last = u8::try_from(pad_length).unwrap_or(u8::MAX);
        }
        self.cipher.seal(iv, Associated { aead: associated, prefix: associated, suffix: &[] }, text, icv)?;
        Ok(body)
    }

    /// Checks and opens `body` and returns the payloads inside.
    ///
    /// # Errors
    /// [`CipherError::AuthenticationFailed`] when the ICV does not match, before anything was decrypted;
    /// [`ProtectError::Malformed`] and [`ProtectError::BadPadding`] for a body no peer should have sent.
    pub fn open(&self, associated: &[u8], body: &[u8]) -> Result<Zeroizing<Vec<u8>>, ProtectError> {
        let malformed = ProtectError::Malformed { octets: body.len() };
        let (iv, sealed) = body.split_at_checked(self.encryption.iv_length()).ok_or(malformed)?;
        let text = sealed.len().checked_sub(self.cipher.icv_length()).ok_or(malformed)?;
        if text == 0 || text % self.encryption.block_length() != 0 {
            return Err(malformed);
        }
        let mut plaintext = Zeroizing::new(sealed.to_vec());
        let associated = Associated { aead: associated, prefix: associated, suffix: &[] };
        let opened = self.cipher.open(iv, associated, &mut plaintext)?;
        let pad_length = opened.last().map_or(0, |last| usize::from(*last));
        let length = opened.len().checked_sub(pad_length + 1).ok_or(ProtectError::BadPadding)?;
        plaintext.truncate(length);
        Ok(plaintext)
    }

    /// Returns the length of payloads, padding and pad length together.
    fn padded_length(&self, plaintext: usize) -> usize {
        (plaintext + 1).next_multiple_of(self.encryption.block_length())
    }
}

impl std::fmt::Debug for SkCipher {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("SkCipher").field("encryption", &self.encryption).finish_non_exhaustive()
    }
}
