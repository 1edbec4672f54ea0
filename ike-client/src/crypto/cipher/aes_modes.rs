//! AES in CBC mode (RFC 3602) and in counter mode (RFC 3686).

use super::CipherError;
use aes::cipher::{Array, BlockModeDecrypt, BlockModeEncrypt, InnerIvInit, KeyInit, StreamCipherCore};
use aes::{Aes128, Aes192, Aes256};
use ctr::CtrCore;
use ctr::flavors::Ctr32BE;

/// AES under a key of one of its three lengths.
pub(super) enum Aes {
    Aes128(Aes128),
    Aes192(Aes192),
    Aes256(Aes256),
}

/// Does the same with each key length.
macro_rules! with {
    ($aes:expr, $cipher:ident => $done:expr) => {
        match $aes {
            Aes::Aes128($cipher) => $done,
            Aes::Aes192($cipher) => $done,
            Aes::Aes256($cipher) => $done,
        }
    };
}
pub(super) use with;

impl Aes {
    pub(super) fn new(key: &[u8]) -> Result<Self, CipherError> {
        let aes = match key.len() {
            16 => Aes128::new_from_slice(key).map(Self::Aes128),
            24 => Aes192::new_from_slice(key).map(Self::Aes192),
            _ => Aes256::new_from_slice(key).map(Self::Aes256),
        };
        aes.map_err(|_| CipherError::KeyMismatch)
    }

    /// Adds the key stream that starts with the counter block `start`, of which the last 32 bits
    /// count.
    pub(super) fn add_key_stream(&self, start: [u8; 16], text: &mut [u8]) {
        with!(self, aes => {
            let core = CtrCore::<_, Ctr32BE>::inner_iv_init(aes, &start.into());
            core.apply_keystream_partial(text.into());
        });
    }
}

/// AES in CBC mode.
pub(crate) struct Cbc(Aes);

impl Cbc {
    pub(super) fn new(key: &[u8]) -> Result<Self, CipherError> {
        Aes::new(key).map(Self)
    }

    pub(super) fn encrypt(&self, iv: &[u8], text: &mut [u8]) -> Result<(), CipherError> {
        let iv: [u8; 16] = iv.try_into().map_err(|_| CipherError::BadLength)?;
        let (blocks, rest) = Array::slice_as_chunks_mut(text);
        if !rest.is_empty() {
            return Err(CipherError::BadLength);
        }
        with!(&self.0, aes => cbc::Encryptor::inner_iv_init(aes, &iv.into()).encrypt_blocks(blocks));
        Ok(())
    }

    pub(super) fn decrypt(&self, iv: &[u8], text: &mut [u8]) -> Result<(), CipherError> {
        let iv: [u8; 16] = iv.try_into().map_err(|_| CipherError::BadLength)?;
        let (blocks, rest) = Array::slice_as_chunks_mut(text);
        if !rest.is_empty() {
            return Err(CipherError::BadLength);
        }
        with!(&self.0, aes => cbc::Decryptor::inner_iv_init(aes, &iv.into()).decrypt_blocks(blocks));
        Ok(())
    }
}

/// AES in counter mode: the counter block is nonce, initialization vector, and a count from one
/// (RFC 3686 §4).
pub(crate) struct Counter {
    aes: Aes,
    nonce: [u8; 4],
}

impl Counter {
    pub(super) fn new(key: &[u8], nonce: [u8; 4]) -> Result<Self, CipherError> {
        Ok(Self { aes: Aes::new(key)?, nonce })
    }

    /// Encrypts or decrypts.
    pub(super) fn apply(&self, iv: &[u8], text: &mut [u8]) -> Result<(), CipherError> {
        let [a, b, c, d] = self.nonce;
        let [e, f, g, h, i, j, k, l] = *iv else { return Err(CipherError::BadLength) };
        self.aes.add_key_stream([a, b, c, d, e, f, g, h, i, j, k, l, 0, 0, 0, 1], text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counter_mode_gives_the_values_of_rfc_3686() {
        let octets = |text: &str| hex::decode(text.replace(' ', "")).unwrap();
        // RFC 3686 §6, test vectors 1, 2, 6 and 9: key, nonce, IV, plaintext, ciphertext.
        for [key, nonce, iv, plaintext, ciphertext] in [
            [
                "ae6852f8121067cc4bf7a5765577f39e",
                "00000030",
                "0000000000000000",
                "53696e676c6520626c6f636b206d7367",
                "e4095d4fb7a7b3792d6175a3261311b8",
            ],
            [
                "7e24067817fae0d743d6ce1f32539163",
                "006cb6db",
                "c0543b59da48d90b",
                "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
                "5104a106168a72d9790d41ee8edad388eb2e1efc46da57c8fce630df9141be28",
            ],
            [
                "02bf391ee8ecb159b959617b0965279bf59b60a786d3e0fe",
                "0007bdfd",
                "5cbd60278dcc0912",
                "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223",
                "96893fc55e5c722f540b7dd1ddf7e758d288bc95c69165884536c811662f2188abee0935",
            ],
            [
                "ff7a617ce69148e4f1726e2f43581de2aa62d9f805532edff1eed687fb54153d",
                "001cc5b7",
                "51a51d70a1c11148",
                "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223",
                "eb6c52821d0bbbf7ce7594462aca4faab407df866569fd07f48cc0b583d6071f1ec0e6b8",
            ],
        ] {
            let counter = Counter::new(&octets(key), octets(nonce).try_into().unwrap()).unwrap();
            let mut text = octets(plaintext);
            counter.apply(&octets(iv), &mut text).unwrap();
            assert_eq!(hex::encode(&text), ciphertext);
        }
    }
}
