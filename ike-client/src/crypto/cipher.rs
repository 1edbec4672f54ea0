//! Encryption with authentication, in place: what the SK payload and ESP have in common.
//!
//! AEAD through ring; AES-CBC with HMAC as encrypt-then-MAC, where the ICV is checked in constant
//! time before anything is decrypted. Padding is the caller's, and is looked at only after
//! [`Cipher::open`] has succeeded. ring does not wipe its expanded keys on drop; the key material
//! they are made from is wiped here and in [`Secret`](super::Secret).

use super::transform::{Encryption, Integrity};
use aes::cipher::{Array, BlockModeDecrypt, BlockModeEncrypt, InnerIvInit, KeyInit, KeySizeUser};
use aes::{Aes128, Aes192, Aes256};
use ring::{aead, hmac};
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
    Aead { key: aead::LessSafeKey, salt: [u8; 4] },
    EncryptThenMac { cbc: Cbc, integrity: Integrity, mac: hmac::Key },
}

/// AES in CBC mode.
pub(crate) enum Cbc {
    Aes128(Aes128),
    Aes192(Aes192),
    Aes256(Aes256),
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
        let aead = |algorithm| {
            if integrity.is_some() {
                return Err(CipherError::KeyMismatch);
            }
            let key = aead::UnboundKey::new(algorithm, key).map_err(|_| CipherError::KeyMismatch)?;
            let salt = salt.try_into().map_err(|_| CipherError::KeyMismatch)?;
            Ok(Self::Aead { key: aead::LessSafeKey::new(key), salt })
        };
        let cbc = match encryption {
            Encryption::Aes128Gcm16 => return aead(&aead::AES_128_GCM),
            Encryption::Aes256Gcm16 => return aead(&aead::AES_256_GCM),
            Encryption::ChaCha20Poly1305 => return aead(&aead::CHACHA20_POLY1305),
            Encryption::Aes128Cbc => Cbc::Aes128(keyed(key)?),
            Encryption::Aes192Cbc => Cbc::Aes192(keyed(key)?),
            Encryption::Aes256Cbc => Cbc::Aes256(keyed(key)?),
        };
        let integrity = integrity.ok_or(CipherError::KeyMismatch)?;
        Ok(Self::EncryptThenMac { cbc, integrity, mac: hmac::Key::new(integrity.digest().hmac(), integrity_key) })
    }

    /// Returns the length of the ICV in octets.
    pub(crate) const fn icv_length(&self) -> usize {
        match self {
            Self::Aead { .. } => 16,
            Self::EncryptThenMac { integrity, .. } => integrity.icv_length(),
        }
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
            Self::EncryptThenMac { cbc, integrity, mac } => {
                cbc.encrypt(iv, text)?;
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
            Self::EncryptThenMac { cbc, integrity, mac } => {
                let length =
                    sealed.len().checked_sub(integrity.icv_length()).ok_or(CipherError::AuthenticationFailed)?;
                let (text, icv) = sealed.split_at_mut(length);
                let tag = authenticate(mac, iv, associated, text);
                let expected = tag.as_ref().get(..integrity.icv_length()).ok_or(CipherError::AuthenticationFailed)?;
                if !bool::from(expected.ct_eq(icv)) {
                    return Err(CipherError::AuthenticationFailed);
                }
                cbc.decrypt(iv, text)?;
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

fn authenticate(mac: &hmac::Key, iv: &[u8], associated: Associated<'_>, text: &[u8]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(mac);
    context.update(associated.prefix);
    context.update(iv);
    context.update(text);
    context.update(associated.suffix);
    context.sign()
}

fn keyed<C: KeyInit + KeySizeUser>(key: &[u8]) -> Result<C, CipherError> {
    C::new_from_slice(key).map_err(|_| CipherError::KeyMismatch)
}

impl Cbc {
    fn encrypt(&self, iv: &[u8], text: &mut [u8]) -> Result<(), CipherError> {
        let iv: [u8; 16] = iv.try_into().map_err(|_| CipherError::BadLength)?;
        let (blocks, rest) = Array::slice_as_chunks_mut(text);
        if !rest.is_empty() {
            return Err(CipherError::BadLength);
        }
        let iv = &iv.into();
        match self {
            Self::Aes128(aes) => cbc::Encryptor::<&Aes128>::inner_iv_init(aes, iv).encrypt_blocks(blocks),
            Self::Aes192(aes) => cbc::Encryptor::<&Aes192>::inner_iv_init(aes, iv).encrypt_blocks(blocks),
            Self::Aes256(aes) => cbc::Encryptor::<&Aes256>::inner_iv_init(aes, iv).encrypt_blocks(blocks),
        }
        Ok(())
    }

    fn decrypt(&self, iv: &[u8], text: &mut [u8]) -> Result<(), CipherError> {
        let iv: [u8; 16] = iv.try_into().map_err(|_| CipherError::BadLength)?;
        let (blocks, rest) = Array::slice_as_chunks_mut(text);
        if !rest.is_empty() {
            return Err(CipherError::BadLength);
        }
        let iv = &iv.into();
        match self {
            Self::Aes128(aes) => cbc::Decryptor::<&Aes128>::inner_iv_init(aes, iv).decrypt_blocks(blocks),
            Self::Aes192(aes) => cbc::Decryptor::<&Aes192>::inner_iv_init(aes, iv).decrypt_blocks(blocks),
            Self::Aes256(aes) => cbc::Decryptor::<&Aes256>::inner_iv_init(aes, iv).decrypt_blocks(blocks),
        }
        Ok(())
    }
}
