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
    /// Counts what was sealed: except with CBC it is the initialization vector.
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
        if encryption.has_implicit_iv() {
            return Err(CipherError::KeyMismatch.into());
        }
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
        if self.cipher.wants_unpredictable_iv() {
            random.fill(iv)?;
        } else {
            // RFC 5282 §3.1, RFC 5930 §2: never the same twice under one key, so a counter and not
            // chance.
            iv.copy_from_slice(&self.sealed.to_be_bytes());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;

    /// Every encryption that IKE has, with an integrity transform where it takes one.
    fn all() -> Vec<(Encryption, Option<Integrity>)> {
        let (aead, others): (Vec<_>, Vec<_>) =
            Encryption::ALL.iter().copied().filter(|row| !row.has_implicit_iv()).partition(|row| row.is_aead());
        let others = others.into_iter().zip(Integrity::ALL.iter().copied().cycle().map(Some));
        let more = Integrity::ALL.iter().map(|row| (Encryption::Aes256Cbc, Some(*row)));
        aead.into_iter().map(|row| (row, None)).chain(others).chain(more).collect()
    }

    fn cipher(encryption: Encryption, integrity: Option<Integrity>) -> SkCipher {
        let key: Vec<u8> = (0..).take(encryption.key_material_length()).collect();
        let mac: Vec<u8> = (64..).take(integrity.map_or(0, Integrity::key_length)).collect();
        SkCipher::new(encryption, integrity, &key, &mac).unwrap()
    }

    #[test]
    fn a_chacha20_poly1305_payload_opens_as_in_rfc_7634_appendix_b() {
        let key = hex::decode("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3").unwrap();
        let cipher = SkCipher::new(Encryption::ChaCha20Poly1305, None, &key, &[]).unwrap();
        let associated = hex::decode("c0c1c2c3c4c5c6c7d0d1d2d3d4d5d6d72e202500000000090000004529000029").unwrap();
        let body = hex::decode("1011121314151617610394701f8d017f7c129248896b71bfe25236efd7cdc67066906315b2").unwrap();
        assert_eq!(hex::encode(cipher.open(&associated, &body).unwrap()), "0000000c000040010000000a");
    }

    #[test]
    fn a_cbc_payload_opens_as_openssl_and_python_made_it() {
        let associated: Vec<u8> = (0..32).collect();
        let body = hex::decode(concat!(
            "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf94dca7a7427b508eb28eabfa27e5f0867569d9981409ee665c4a54bd5fdc6fab",
            "e3a671d29735daee05ff1194f6cba0be"
        ))
        .unwrap();
        let cipher = cipher(Encryption::Aes128Cbc, Some(Integrity::HmacSha256_128));
        assert_eq!(cipher.open(&associated, &body).unwrap().as_slice(), b"these are payloads");
    }

    #[test]
    fn every_cipher_opens_what_it_sealed_at_the_length_it_said() {
        let mut random = SeededRandom::new(1);
        for (encryption, integrity) in all() {
            let mut cipher = cipher(encryption, integrity);
            for length in 0..70 {
                let plaintext = vec![0x5a; length];
                let body = cipher.seal(&mut random, b"header", &plaintext).unwrap();
                assert_eq!(body.len(), cipher.body_length(length));
                assert_eq!(cipher.open(b"header", &body).unwrap().as_slice(), plaintext);
                let room = cipher.plaintext_room(body.len());
                assert!(room >= length && cipher.body_length(room) <= body.len(), "{encryption:?} {length}");
                assert!(cipher.body_length(room + 1) > body.len());
            }
        }
    }

    #[test]
    fn initialization_vectors_never_repeat() {
        let mut random = SeededRandom::new(2);
        for (encryption, integrity) in all() {
            let mut cipher = cipher(encryption, integrity);
            let iv = |body: Vec<u8>| body[..encryption.iv_length()].to_vec();
            let vectors: std::collections::HashSet<_> =
                (0..100).map(|_| iv(cipher.seal(&mut random, b"", b"same").unwrap())).collect();
            assert_eq!(vectors.len(), 100);
        }
    }

    #[test]
    fn one_changed_bit_anywhere_is_noticed_and_so_is_every_cut() {
        let mut random = SeededRandom::new(3);
        for (encryption, integrity) in all() {
            let mut cipher = cipher(encryption, integrity);
            let body = cipher.seal(&mut random, b"header", b"some payloads").unwrap();
            for at in 0..body.len() {
                let mut changed = body.clone();
                changed[at] ^= 1;
                assert_eq!(
                    cipher.open(b"header", &changed),
                    Err(ProtectError::Cipher(CipherError::AuthenticationFailed)),
                    "{encryption:?} octet {at}"
                );
                assert!(cipher.open(b"header", &body[..at]).is_err());
            }
            assert!(cipher.open(b"Header", &body).is_err());
        }
    }

    #[test]
    fn padding_longer_than_the_text_is_refused_after_the_icv() {
        let mut cipher = cipher(Encryption::Aes256Gcm16, None);
        // Sealed without our own padding: the last octet of the text claims more than there is.
        let mut body = vec![0; 8 + 3 + 16];
        cipher.sealed = 9;
        let (iv, rest) = body.split_at_mut(8);
        let (text, icv) = rest.split_at_mut(3);
        text.copy_from_slice(&[1, 2, 3]);
        cipher.cipher.seal(iv, Associated { aead: b"", prefix: b"", suffix: b"" }, text, icv).unwrap();
        assert_eq!(cipher.open(b"", &body), Err(ProtectError::BadPadding));
    }

    #[test]
    fn keys_of_another_length_and_transforms_that_do_not_match_are_refused() {
        let refused = |encryption, integrity, key: usize, mac: usize| {
            let result = SkCipher::new(encryption, integrity, &vec![0; key], &vec![0; mac]);
            assert!(matches!(result, Err(ProtectError::Cipher(CipherError::KeyMismatch))));
        };
        refused(Encryption::Aes256Gcm16, None, 32, 0);
        refused(Encryption::Aes256Gcm16Iiv, None, 36, 0);
        refused(Encryption::Aes256Gcm16, Some(Integrity::HmacSha256_128), 36, 32);
        refused(Encryption::Aes256Cbc, None, 32, 0);
        refused(Encryption::Aes256Cbc, Some(Integrity::HmacSha256_128), 32, 16);
    }
}
