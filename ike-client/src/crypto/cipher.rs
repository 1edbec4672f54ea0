//! Encryption with authentication, in place: what the SK payload and ESP have in common.
//!
//! AEAD through ring where it has the transform, through [`gcm`] where it has not (192-bit keys,
//! short ICVs); AES-CBC and AES-CTR with a MAC as encrypt-then-MAC, where the ICV is checked in
//! constant time before anything is decrypted. Padding is the caller's, and is looked at only after
//! [`Cipher::open`] has succeeded. ring does not wipe its expanded keys on drop; the key material
//! they are made from is wiped here and in [`Secret`](super::Secret).

mod aes_modes;
mod gcm;

use super::mac::{MacKey, Tag};
use super::transform::{Encryption, Integrity, Mode};
use aes_modes::{Cbc, Counter};
use gcm::Gcm;
use ring::aead;
use subtle::ConstantTimeEq;

/// Why nothing was sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CipherError {
    /// Key material does not have the length that the transform asks for, or transforms do not go together.
    #[error("the key material does not fit the transforms")]
    KeyMismatch,
    /// The ICV does not match: forged, damaged, or under another key.
    #[error("the integrity check value does not match")]
    AuthenticationFailed,
    /// The text to be sealed has a length that the transform cannot take.
    #[error("the text has a length that the transform cannot take")]
    BadLength,
}

/// What is authenticated beside the encrypted text.
#[derive(Clone, Copy)]
pub(crate) struct Associated<'a> {
    /// The associated data of an AEAD.
    pub(crate) aead: &'a [u8],
    /// What a MAC covers in front of the initialization vector.
    pub(crate) prefix: &'a [u8],
    /// What a MAC covers after the text without being sent (the high half of an ESN).
    pub(crate) suffix: &'a [u8],
}

/// A cipher under its keys, for one direction.
pub(crate) enum Cipher {
    Aead { key: Box<aead::LessSafeKey>, salt: [u8; 4] },
    Gcm { key: Box<Gcm>, salt: [u8; 4] },
    EncryptThenMac { text: Box<TextCipher>, integrity: Integrity, mac: MacKey },
}

/// What encrypts beside a MAC.
pub(crate) enum TextCipher {
    Cbc(Cbc),
    Counter(Counter),
}

impl Cipher {
    /// Takes the keys into use. `encryption_key` holds key and salt as they come from the key material.
    pub(crate) fn new(
        encryption: Encryption,
        integrity: Option<Integrity>,
        encryption_key: &[u8],
        integrity_key: &[u8],
    ) -> Result<Self, CipherError> {
        if encryption_key.len() != encryption.key_material_length()
            || integrity_key.len() != integrity.map_or(0, Integrity::key_length)
        {
            return Err(CipherError::KeyMismatch);
        }
        let (key, salt) = encryption_key.split_at_checked(encryption.key_length()).ok_or(CipherError::KeyMismatch)?;
        let salted = || <[u8; 4]>::try_from(salt).map_err(|_| CipherError::KeyMismatch);
        if encryption.is_aead() != integrity.is_none() {
            return Err(CipherError::KeyMismatch);
        }
        let text = match encryption.mode() {
            Mode::Gcm { icv, .. } => {
                let algorithm = match (key.len(), icv) {
                    (16, 16) => &aead::AES_128_GCM,
                    (32, 16) => &aead::AES_256_GCM,
                    _ => return Ok(Self::Gcm { key: Box::new(Gcm::new(key, icv)?), salt: salted()? }),
                };
                return Ok(Self::Aead { key: ring_key(algorithm, key)?, salt: salted()? });
            }
            Mode::ChaCha20Poly1305 { .. } => {
                return Ok(Self::Aead { key: ring_key(&aead::CHACHA20_POLY1305, key)?, salt: salted()? });
            }
            Mode::Cbc => TextCipher::Cbc(Cbc::new(key)?),
            Mode::Counter => TextCipher::Counter(Counter::new(key, salted()?)?),
        };
        let (text, integrity) = (Box::new(text), integrity.ok_or(CipherError::KeyMismatch)?);
        Ok(Self::EncryptThenMac { text, integrity, mac: MacKey::new(integrity.algorithm(), integrity_key) })
    }

    /// Returns the length of the ICV in octets.
    pub(crate) const fn icv_length(&self) -> usize {
        match self {
            Self::Aead { .. } => 16,
            Self::Gcm { key, .. } => key.icv_length(),
            Self::EncryptThenMac { integrity, .. } => integrity.icv_length(),
        }
    }

    /// Returns whether initialization vectors must be such as nobody can foretell, and not merely
    /// different from each other.
    pub(crate) fn wants_unpredictable_iv(&self) -> bool {
        matches!(self, Self::EncryptThenMac { text, .. } if matches!(**text, TextCipher::Cbc(_)))
    }

    /// Encrypts `text` in place and writes the ICV.
    pub(crate) fn seal(
        &self,
        iv: &[u8],
        associated: Associated<'_>,
        text: &mut [u8],
        icv: &mut [u8],
    ) -> Result<(), CipherError> {
        match self {
            Self::Aead { key, salt } => {
                let tag = key
                    .seal_in_place_separate_tag(nonce(salt, iv)?, aead::Aad::from(associated.aead), text)
                    .map_err(|_| CipherError::BadLength)?;
                if icv.len() != tag.as_ref().len() {
                    return Err(CipherError::BadLength);
                }
                icv.copy_from_slice(tag.as_ref());
            }
            Self::Gcm { key, salt } => key.seal(salt, iv, associated.aead, text, icv)?,
            Self::EncryptThenMac { text: cipher, integrity, mac } => {
                cipher.encrypt(iv, text)?;
                let tag = authenticate(mac, iv, associated, text);
                let tag = tag.as_ref().get(..integrity.icv_length()).ok_or(CipherError::BadLength)?;
                if icv.len() != tag.len() {
                    return Err(CipherError::BadLength);
                }
                icv.copy_from_slice(tag);
            }
        }
        Ok(())
    }

    /// Checks the ICV at the end of `sealed`, decrypts the rest in place and returns it.
    pub(crate) fn open<'a>(
        &self,
        iv: &[u8],
        associated: Associated<'_>,
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], CipherError> {
        match self {
            Self::Aead { key, salt } => key
                .open_in_place(nonce(salt, iv)?, aead::Aad::from(associated.aead), sealed)
                .map_err(|_| CipherError::AuthenticationFailed),
            Self::Gcm { key, salt } => key.open(salt, iv, associated.aead, sealed),
            Self::EncryptThenMac { text: cipher, integrity, mac } => {
                let length =
                    sealed.len().checked_sub(integrity.icv_length()).ok_or(CipherError::AuthenticationFailed)?;
                let (text, icv) = sealed.split_at_mut(length);
                let tag = authenticate(mac, iv, associated, text);
                let expected = tag.as_ref().get(..integrity.icv_length()).ok_or(CipherError::AuthenticationFailed)?;
                if !bool::from(expected.ct_eq(icv)) {
                    return Err(CipherError::AuthenticationFailed);
                }
                cipher.decrypt(iv, text)?;
                Ok(text)
            }
        }
    }
}

fn nonce(salt: &[u8; 4], iv: &[u8]) -> Result<aead::Nonce, CipherError> {
    let mut nonce = [0; aead::NONCE_LEN];
    let (head, tail) = nonce.split_at_mut(salt.len());
    if iv.len() != tail.len() {
        return Err(CipherError::BadLength);
    }
    head.copy_from_slice(salt);
    tail.copy_from_slice(iv);
    Ok(aead::Nonce::assume_unique_for_key(nonce))
}

fn ring_key(algorithm: &'static aead::Algorithm, key: &[u8]) -> Result<Box<aead::LessSafeKey>, CipherError> {
    let key = aead::UnboundKey::new(algorithm, key).map_err(|_| CipherError::KeyMismatch)?;
    Ok(Box::new(aead::LessSafeKey::new(key)))
}

fn authenticate(mac: &MacKey, iv: &[u8], associated: Associated<'_>, text: &[u8]) -> Tag {
    mac.sign(&[associated.prefix, iv, text, associated.suffix])
}

impl TextCipher {
    fn encrypt(&self, iv: &[u8], text: &mut [u8]) -> Result<(), CipherError> {
        match self {
            Self::Cbc(cbc) => cbc.encrypt(iv, text),
            Self::Counter(counter) => counter.apply(iv, text),
        }
    }

    fn decrypt(&self, iv: &[u8], text: &mut [u8]) -> Result<(), CipherError> {
        match self {
            Self::Cbc(cbc) => cbc.decrypt(iv, text),
            Self::Counter(counter) => counter.apply(iv, text),
        }
    }
}
