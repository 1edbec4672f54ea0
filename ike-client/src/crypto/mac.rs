//! Message authentication: HMAC, and the two MACs made of AES-128 in CBC mode.
//!
//! AES-XCBC-MAC (RFC 3566) and AES-CMAC (NIST SP 800-38B, RFC 4493) chain blocks in the same way and
//! differ in how they make the two keys for the last block.

use super::hash::Digest;
use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use ring::hmac;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

const BLOCK: usize = 16;

type Block = [u8; BLOCK];

/// A MAC algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MacAlgorithm {
    /// HMAC (RFC 2104) over a digest.
    Hmac(Digest),
    /// AES-XCBC-MAC with a key of 128 bits.
    AesXcbc,
    /// AES-CMAC with a key of 128 bits.
    AesCmac,
}

impl MacAlgorithm {
    /// Returns the length of the whole output in octets.
    pub const fn output_length(self) -> usize {
        match self {
            Self::Hmac(digest) => digest.output_length(),
            Self::AesXcbc | Self::AesCmac => BLOCK,
        }
    }
}

/// A MAC under its key.
pub(crate) enum MacKey {
    Hmac(hmac::Key),
    Cbc(Box<CbcMac>),
}

impl MacKey {
    /// Takes a key of any length into use. The two MACs of AES bring it to 128 bits: AES-XCBC pads
    /// a short one with zeros and authenticates a long one under zeros (RFC 4434 §2), AES-CMAC
    /// authenticates any other length under zeros (RFC 4615 §3).
    pub(crate) fn new(algorithm: MacAlgorithm, key: &[u8]) -> Self {
        match algorithm {
            MacAlgorithm::Hmac(digest) => Self::Hmac(hmac::Key::new(digest.hmac(), key)),
            MacAlgorithm::AesXcbc if key.len() > BLOCK => {
                Self::Cbc(Box::new(CbcMac::xcbc(&shortened(&CbcMac::xcbc, key))))
            }
            MacAlgorithm::AesXcbc => Self::Cbc(Box::new(CbcMac::xcbc(&padded(key)))),
            MacAlgorithm::AesCmac if key.len() == BLOCK => Self::Cbc(Box::new(CbcMac::cmac(&padded(key)))),
            MacAlgorithm::AesCmac => Self::Cbc(Box::new(CbcMac::cmac(&shortened(&CbcMac::cmac, key)))),
        }
    }

    /// Authenticates the concatenation of `parts`.
    pub(crate) fn sign(&self, parts: &[&[u8]]) -> Tag {
        match self {
            Self::Hmac(key) => {
                let mut context = hmac::Context::with_key(key);
                parts.iter().for_each(|part| context.update(part));
                Tag::Hmac(context.sign())
            }
            Self::Cbc(key) => Tag::Cbc(Zeroizing::new(key.sign(parts))),
        }
    }
}

/// The output of a MAC.
pub(crate) enum Tag {
    Hmac(hmac::Tag),
    Cbc(Zeroizing<Block>),
}

impl AsRef<[u8]> for Tag {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Hmac(tag) => tag.as_ref(),
            Self::Cbc(tag) => tag.as_slice(),
        }
    }
}

/// AES-128 with the keys of the last block: for a whole one, and for one that had to be padded.
pub(crate) struct CbcMac {
    cipher: Aes128,
    whole: Block,
    padded: Block,
}

impl CbcMac {
    /// RFC 3566 §4: three keys out of three constants.
    fn xcbc(key: &Block) -> Self {
        let outer = Aes128::new(&(*key).into());
        let derived = |constant: u8| Zeroizing::new(encrypted(&outer, [constant; BLOCK]));
        Self { cipher: Aes128::new(&(*derived(1)).into()), whole: *derived(2), padded: *derived(3) }
    }

    /// RFC 4493 §2.3: the encrypted zero block, doubled once and twice.
    fn cmac(key: &Block) -> Self {
        let cipher = Aes128::new(&(*key).into());
        let whole = doubled(&encrypted(&cipher, [0; BLOCK]));
        let padded = doubled(&whole);
        Self { cipher, whole, padded }
    }

    fn sign(&self, parts: &[&[u8]]) -> Block {
        let mut chain = [0; BLOCK];
        // The octets of the block under way have been added to the chain already.
        let mut filled = 0;
        for octet in parts.iter().copied().flatten() {
            if filled == BLOCK {
                chain = encrypted(&self.cipher, chain);
                filled = 0;
            }
            if let Some(place) = chain.get_mut(filled) {
                *place ^= octet;
            }
            filled += 1;
        }
        let last = if filled == BLOCK {
            &self.whole
        } else {
            if let Some(place) = chain.get_mut(filled) {
                *place ^= 0x80;
            }
            &self.padded
        };
        chain.iter_mut().zip(last).for_each(|(octet, key)| *octet ^= key);
        encrypted(&self.cipher, chain)
    }
}

impl Drop for CbcMac {
    fn drop(&mut self) {
        self.whole.zeroize();
        self.padded.zeroize();
    }
}

impl ZeroizeOnDrop for CbcMac {}

fn encrypted(cipher: &Aes128, block: Block) -> Block {
    let mut block = block.into();
    cipher.encrypt_block(&mut block);
    block.into()
}

/// Multiplies by x in the field of RFC 4493 §2.3, without a branch on the secret.
fn doubled(block: &Block) -> Block {
    let value = u128::from_be_bytes(*block);
    let carry = value >> 127;
    ((value << 1) ^ (carry * 0x87)).to_be_bytes()
}

fn padded(key: &[u8]) -> Zeroizing<Block> {
    let mut block = Zeroizing::new([0; BLOCK]);
    block.iter_mut().zip(key).for_each(|(octet, key)| *octet = *key);
    block
}

fn shortened(mac: &dyn Fn(&Block) -> CbcMac, key: &[u8]) -> Zeroizing<Block> {
    Zeroizing::new(mac(&[0; BLOCK]).sign(&[key]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mac(algorithm: MacAlgorithm, key: &str, message: &[u8]) -> String {
        let (head, tail) = message.split_at(message.len() / 3);
        hex::encode(MacKey::new(algorithm, &hex::decode(key).unwrap()).sign(&[head, b"", tail]))
    }

    fn counting(octets: u8) -> Vec<u8> {
        (0..octets).collect()
    }

    #[test]
    fn aes_xcbc_gives_the_values_of_rfc_3566_and_rfc_4434() {
        let key = "000102030405060708090a0b0c0d0e0f";
        for (length, value) in [
            (0, "75f0251d528ac01c4573dfd584d79f29"),
            (3, "5b376580ae2f19afe7219ceef172756f"),
            (16, "d2a246fa349b68a79998a4394ff7a263"),
            (20, "47f51b4564966215b8985c63055ed308"),
            (32, "f54f0ec8d2b9f3d36807734bd5283fd4"),
            (34, "becbb3bccdb518a30677d5481fb6b4d8"),
        ] {
            assert_eq!(mac(MacAlgorithm::AesXcbc, key, &counting(length)), value, "{length} octets");
        }
        assert_eq!(mac(MacAlgorithm::AesXcbc, key, &[0; 1000]), "f0dafee895db30253761103b5d84528f");
        // RFC 4434 §2: keys of 10 and of 18 octets.
        let short = "00010203040506070809";
        assert_eq!(mac(MacAlgorithm::AesXcbc, short, &counting(20)), "0fa087af7d866e7653434e602fdde835");
        let long = "000102030405060708090a0b0c0d0e0fedcb";
        assert_eq!(mac(MacAlgorithm::AesXcbc, long, &counting(20)), "8cd3c93ae598a9803006ffb67c40e9e4");
    }

    #[test]
    fn aes_cmac_gives_the_values_of_rfc_4493_and_rfc_4615() {
        let key = "2b7e151628aed2a6abf7158809cf4f3c";
        let message = hex::decode(concat!(
            "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51",
            "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
        ))
        .unwrap();
        for (length, value) in [
            (0, "bb1d6929e95937287fa37d129b756746"),
            (16, "070a16b46b4d4144f79bdd9dd04a287c"),
            (40, "dfa66747de9ae63030ca32611497c827"),
            (64, "51f0bebf7e3b9d92fc49741779363cfe"),
        ] {
            assert_eq!(mac(MacAlgorithm::AesCmac, key, &message[..length]), value, "{length} octets");
        }
        // RFC 4615 §4: keys of 18, 16 and 10 octets.
        for (key, value) in [
            ("000102030405060708090a0b0c0d0e0fedcb", "84a348a4a45d235babfffc0d2b4da09a"),
            ("000102030405060708090a0b0c0d0e0f", "980ae87b5f4c9c5214f5b6a8455e4c2d"),
            ("00010203040506070809", "290d9e112edb09ee141fcf64c0b72f3d"),
        ] {
            assert_eq!(mac(MacAlgorithm::AesCmac, key, &counting(20)), value, "{key}");
        }
    }
}
