//! Groups 2, 5 and 14 to 18: modular exponentiation (RFC 2409, RFC 3526), in constant time.
//!
//! Exponents have 512 bits: twice the strength of the strongest group (RFC 3526 §8) and half of
//! the work that a full-length exponent costs in the smallest.

use super::{KeyExchangeError, Method, Secret, SharedSecret};
use crate::random::Random;
use crypto_bigint::{
    BoxedUint, Odd, Resize,
    modular::{BoxedMontyForm, BoxedMontyParams},
};
use zeroize::{Zeroize, Zeroizing};

/// The length of our secret exponents in bits.
const EXPONENT_BITS: u32 = 512;

struct Modp {
    params: BoxedMontyParams,
    prime: Odd<BoxedUint>,
    exponent: BoxedUint,
}

pub(super) fn generate(prime: &str, random: &mut dyn Random) -> Result<(Vec<u8>, Box<dyn Method>), KeyExchangeError> {
    let bits = u32::try_from(prime.len()).unwrap_or(u32::MAX).saturating_mul(4);
    let prime = BoxedUint::from_be_hex(prime, bits)
        .into_option()
        .and_then(|prime| prime.into_odd().into_option())
        .expect("the primes in the table are odd numbers in hexadecimal");
    let params = BoxedMontyParams::new_vartime(prime.clone());
    let mut octets = Zeroizing::new([0; EXPONENT_BITS as usize / 8]);
    random.fill(octets.as_mut())?;
    let exponent = BoxedUint::from_be_slice_truncated(octets.as_ref(), EXPONENT_BITS);
    let modp = Modp { params, prime, exponent };
    let public = modp.power(BoxedUint::from(2_u8).resize(bits)).to_vec();
    Ok((public, Box::new(modp)))
}

impl Modp {
    /// Raises `base` to our exponent: big-endian octets of the length of the prime.
    fn power(&self, base: BoxedUint) -> Zeroizing<Vec<u8>> {
        let mut power = BoxedMontyForm::new(base, &self.params).pow_bounded_exp(&self.exponent, EXPONENT_BITS);
        let mut value = power.retrieve();
        let octets = Zeroizing::new(value.to_be_bytes().into_vec());
        value.zeroize();
        power.zeroize();
        octets
    }
}

impl Method for Modp {
    fn agree(&self, peer: &[u8]) -> Option<SharedSecret> {
        let bits = self.prime.bits_precision();
        let peer = BoxedUint::from_be_slice(peer, bits).ok()?;
        let one = BoxedUint::one_with_precision(bits);
        // RFC 6989 §2.1: 1 < y < p - 1. The peer's value is public, so time may depend on it.
        if peer <= one || peer >= self.prime.as_ref().wrapping_sub(&one) {
            return None;
        }
        Some(Secret::from(self.power(peer).as_slice()))
    }
}

impl Drop for Modp {
    fn drop(&mut self) {
        self.exponent.zeroize();
    }
}
