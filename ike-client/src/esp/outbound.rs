//! Sealing: an inner IP packet becomes an ESP packet where it lies.

use super::selector::{Direction, Selectors};
use super::{EspSpi, HEADER, Inner};
use crate::crypto::cipher::{Associated, Cipher, CipherError};
use crate::crypto::keys::DirectionKeys;
use crate::crypto::suite::EspSuite;
use crate::crypto::transform::Encryption;
use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use ring::hmac;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use zeroize::Zeroizing;

/// Why a packet was not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Sequence numbers have run out; they never wrap (RFC 4303 §3.3.3). The SA must be rekeyed.
    #[error("the sequence numbers of the SA have run out")]
    SequenceExhausted,
    /// The buffer has no room for what ESP adds, or the packet is no IP packet.
    #[error("the buffer does not hold an IP packet with room for what ESP adds")]
    BadBuffer,
    /// The packet lies outside the CHILD SA's traffic selectors.
    #[error("the packet lies outside the traffic selectors")]
    OutsideSelectors,
    /// The cipher refused.
    #[error(transparent)]
    Cipher(#[from] CipherError),
}

/// The sending half of a CHILD SA. Can be shared; each packet takes a number of its own.
pub struct OutboundSa {
    spi: EspSpi,
    cipher: Cipher,
    encryption: Encryption,
    esn: bool,
    /// Makes unpredictable initialization vectors for CBC out of the sequence number.
    iv: Option<Aes128>,
    /// The number that the next packet takes.
    next: AtomicU64,
    selectors: Arc<Selectors>,
}

impl OutboundSa {
    /// Takes the keys of the sending direction into use. `spi` is the one the peer chose.
    ///
    /// # Errors
    /// [`CipherError::KeyMismatch`] when keys and transforms do not go together.
    pub fn new(
        spi: EspSpi,
        suite: &EspSuite,
        keys: &DirectionKeys,
        selectors: Arc<Selectors>,
    ) -> Result<Self, CipherError> {
        let cipher = Cipher::new(suite.encryption, suite.integrity, keys.encryption.expose(), keys.integrity.expose())?;
        let iv = if cipher.wants_unpredictable_iv() { Some(iv_cipher(keys)?) } else { None };
        Ok(Self { spi, cipher, encryption: suite.encryption, esn: suite.esn, iv, next: AtomicU64::new(1), selectors })
    }

    /// Returns the SPI.
    pub const fn spi(&self) -> EspSpi {
        self.spi
    }

    /// Returns what lies in front of the inner packet: SPI, sequence number, IV; in octets.
    pub const fn header_length(&self) -> usize {
        HEADER + self.encryption.iv_length()
    }

    /// Returns the length of the ICV in octets.
    pub const fn icv_length(&self) -> usize {
        self.cipher.icv_length()
    }

    /// Returns the length of the whole ESP packet for an inner packet of `inner` octets.
    pub const fn sealed_length(&self, inner: usize) -> usize {
        self.header_length() + self.text_length(inner) + self.cipher.icv_length()
    }

    /// Returns the longest inner packet whose ESP packet has at most `sealed` octets.
    pub const fn inner_room(&self, sealed: usize) -> usize {
        let text = sealed.saturating_sub(self.header_length() + self.cipher.icv_length());
        (text - text % self.alignment()).saturating_sub(2)
    }

    /// Returns the number of packets sealed so far.
    pub fn packets(&self) -> u64 {
        self.next.load(Ordering::Relaxed) - 1
    }

    /// Returns whether three quarters of the sequence numbers are used up, so that a rekey is due.
    pub fn is_nearly_exhausted(&self) -> bool {
        self.packets() >= self.limit() / 4 * 3
    }

    /// Seals the inner packet at `packet[header_length..header_length + inner]` in place and returns
    /// the length of the ESP packet, which starts at `packet[0]`.
    ///
    /// # Errors
    /// See [`SealError`]; the buffer then holds nothing that may be sent.
    pub fn seal_in_place(&self, packet: &mut [u8], inner: usize) -> Result<usize, SealError> {
        let total = self.sealed_length(inner);
        let packet = packet.get_mut(..total).ok_or(SealError::BadBuffer)?;
        let (header, rest) = packet.split_at_mut(self.header_length());
        let (text, icv) = rest.split_at_mut(self.text_length(inner));
        let plain = text.get(..inner).ok_or(SealError::BadBuffer)?;
        let kind = Inner::of(plain).ok_or(SealError::BadBuffer)?;
        if !self.selectors.admit(Direction::Outbound, plain) {
            return Err(SealError::OutsideSelectors);
        }
        let sequence = self.next.fetch_add(1, Ordering::Relaxed);
        if sequence > self.limit() {
            return Err(SealError::SequenceExhausted);
        }

        let padding = text.get_mut(inner..).ok_or(SealError::BadBuffer)?;
        let pad_length = padding.len().saturating_sub(2);
        // RFC 4303 §2.4: padding counts 1, 2, 3, ...; then its length and the next header.
        for (octet, count) in padding.iter_mut().zip(1_u8..) {
            *octet = count;
        }
        if let [.., length, next_header] = padding {
            *length = u8::try_from(pad_length).map_err(|_| SealError::BadBuffer)?;
            *next_header = kind.next_header();
        }

        let [.., s4, s5, s6, s7] = sequence.to_be_bytes();
        let (fixed, iv) = header.split_at_mut(HEADER);
        fixed.copy_from_slice(&[self.spi.0.to_be_bytes(), [s4, s5, s6, s7]].concat_fixed());
        let number = sequence.to_be_bytes();
        match &self.iv {
            // RFC 8750 §4: the number is the vector and is not sent a second time.
            None if iv.is_empty() => {}
            // RFC 4106 §3.1: unique for the key, which the 64-bit number is.
            None => iv.copy_from_slice(&number),
            Some(aes) => {
                let mut block = [[0; 8], sequence.to_be_bytes()].concat_fixed().into();
                aes.encrypt_block(&mut block);
                iv.copy_from_slice(&block);
            }
        }
        let extended = extended_header(self.spi, sequence);
        let associated = associated(self.esn, fixed, &extended);
        let iv = if iv.is_empty() { &number[..] } else { iv };
        self.cipher.seal(iv, associated, text, icv)?;
        Ok(total)
    }

    /// Lets the next packet take `sequence`.
    #[cfg(test)]
    pub(super) fn skip_to(&self, sequence: u64) {
        self.next.store(sequence, Ordering::Relaxed);
    }

    const fn limit(&self) -> u64 {
        if self.esn { u64::MAX - 1 } else { 0xffff_ffff }
    }

    /// Returns what inner packet and ESP trailer together are a multiple of, in octets.
    pub const fn alignment(&self) -> usize {
        // RFC 4303 §2.4: the trailer ends on four octets, whatever the cipher wants.
        if self.encryption.block_length() > 4 { self.encryption.block_length() } else { 4 }
    }

    const fn text_length(&self, inner: usize) -> usize {
        (inner + 2).next_multiple_of(self.alignment())
    }
}

impl std::fmt::Debug for OutboundSa {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("OutboundSa")
            .field("spi", &self.spi)
            .field("packets", &self.packets())
            .finish_non_exhaustive()
    }
}

/// Joins two arrays of equal length without allocating.
trait ConcatFixed<const TOTAL: usize> {
    fn concat_fixed(self) -> [u8; TOTAL];
}

impl ConcatFixed<8> for [[u8; 4]; 2] {
    fn concat_fixed(self) -> [u8; 8] {
        let [[a, b, c, d], [e, f, g, h]] = self;
        [a, b, c, d, e, f, g, h]
    }
}

impl ConcatFixed<16> for [[u8; 8]; 2] {
    fn concat_fixed(self) -> [u8; 16] {
        let mut joined = [0; 16];
        for (target, source) in joined.iter_mut().zip(self.as_flattened()) {
            *target = *source;
        }
        joined
    }
}

/// Derives the cipher that turns sequence numbers into initialization vectors nobody can foretell
/// (NIST SP 800-38A appendix C, first method, under a key of its own).
fn iv_cipher(keys: &DirectionKeys) -> Result<Aes128, CipherError> {
    let derive = hmac::Key::new(hmac::HMAC_SHA256, keys.encryption.expose());
    let tag = hmac::sign(&derive, b"initialization vectors of ESP in CBC mode");
    let key = Zeroizing::new(tag.as_ref().get(..16).ok_or(CipherError::KeyMismatch)?.to_vec());
    Aes128::new_from_slice(&key).map_err(|_| CipherError::KeyMismatch)
}

/// `SPI | high half | low half`: what an AEAD authenticates with ESN (RFC 4106 §5).
pub(super) fn extended_header(spi: EspSpi, sequence: u64) -> [u8; 12] {
    let [a, b, c, d] = spi.0.to_be_bytes();
    let [e, f, g, h, i, j, k, l] = sequence.to_be_bytes();
    [a, b, c, d, e, f, g, h, i, j, k, l]
}

/// Chooses what is authenticated: with ESN the high half counts without being sent.
pub(super) fn associated<'a>(esn: bool, header: &'a [u8], extended: &'a [u8; 12]) -> Associated<'a> {
    if !esn {
        return Associated { aead: header, prefix: header, suffix: &[] };
    }
    let [_, _, _, _, high @ .., _, _, _, _] = extended;
    Associated { aead: extended, prefix: header, suffix: high }
}
