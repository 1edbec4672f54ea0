//! AES-GCM where ring has none: keys of 192 bits, and ICVs of 8 and 12 octets (NIST SP 800-38D).

use super::CipherError;
use super::aes_modes::{Aes, with};
use aes::cipher::BlockCipherEncrypt;
use ghash::GHash;
use ghash::universal_hash::UniversalHash;
use subtle::ConstantTimeEq;

/// AES-GCM under its key.
pub(crate) struct Gcm {
    aes: Aes,
    hash: GHash,
    icv: usize,
}

impl Gcm {
    pub(super) fn new(key: &[u8], icv: usize) -> Result<Self, CipherError> {
        let aes = Aes::new(key)?;
        let mut hash_key = [0; 16].into();
        with!(&aes, aes => aes.encrypt_block(&mut hash_key));
        Ok(Self { aes, hash: GHash::new(&hash_key), icv })
    }

    pub(super) const fn icv_length(&self) -> usize {
        self.icv
    }

    pub(super) fn seal(
        &self,
        salt: &[u8; 4],
        iv: &[u8],
        associated: &[u8],
        text: &mut [u8],
        icv: &mut [u8],
    ) -> Result<(), CipherError> {
        let start = first_block(salt, iv)?;
        self.aes.add_key_stream(counted(start, 2), text);
        let tag = self.tag(start, associated, text);
        let tag = tag.get(..self.icv).filter(|tag| tag.len() == icv.len()).ok_or(CipherError::BadLength)?;
        icv.copy_from_slice(tag);
        Ok(())
    }

    pub(super) fn open<'a>(
        &self,
        salt: &[u8; 4],
        iv: &[u8],
        associated: &[u8],
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], CipherError> {
        let start = first_block(salt, iv)?;
        let length = sealed.len().checked_sub(self.icv).ok_or(CipherError::AuthenticationFailed)?;
        let (text, icv) = sealed.split_at_mut(length);
        let tag = self.tag(start, associated, text);
        let tag = tag.get(..self.icv).ok_or(CipherError::AuthenticationFailed)?;
        if !bool::from(tag.ct_eq(icv)) {
            return Err(CipherError::AuthenticationFailed);
        }
        self.aes.add_key_stream(counted(start, 2), text);
        Ok(text)
    }

    fn tag(&self, start: [u8; 12], associated: &[u8], text: &[u8]) -> [u8; 16] {
        let mut hash = self.hash.clone();
        hash.update_padded(associated);
        hash.update_padded(text);
        let bits = |octets: &[u8]| u64::try_from(octets.len()).unwrap_or(u64::MAX).saturating_mul(8).to_be_bytes();
        let lengths = [bits(associated), bits(text)];
        hash.update_padded(lengths.as_flattened());
        let mut tag: [u8; 16] = hash.finalize().into();
        self.aes.add_key_stream(counted(start, 1), &mut tag);
        tag
    }
}

fn first_block(salt: &[u8; 4], iv: &[u8]) -> Result<[u8; 12], CipherError> {
    let [a, b, c, d] = *salt;
    let [e, f, g, h, i, j, k, l] = *iv else { return Err(CipherError::BadLength) };
    Ok([a, b, c, d, e, f, g, h, i, j, k, l])
}

fn counted([a, b, c, d, e, f, g, h, i, j, k, l]: [u8; 12], count: u8) -> [u8; 16] {
    [a, b, c, d, e, f, g, h, i, j, k, l, 0, 0, 0, count]
}
