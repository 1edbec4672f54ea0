//! Method 1: RSA PKCS#1 v1.5 with SHA-1, for gateways that know nothing better.
//!
//! ring checks such signatures but does not make them, so the private operation is our own: blinded by a
//! fresh random factor, with an exponentiation whose time depends only on sizes, without the Chinese
//! remainder theorem (a fault in it would give the key away), and checked before anything leaves.

use super::SignError;
use crate::auth::private_key::{RsaComponents, rsa_public_key};
use crate::random::Random;
use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, Odd};
use ring::{digest, signature};
use zeroize::{Zeroize, Zeroizing};

/// `DigestInfo` of SHA-1 up to the digest itself (RFC 8017 §9.2, note 1).
const SHA1_DIGEST_INFO: [u8; 15] =
    [0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14];

/// How often a blinding factor is drawn before the random source is held to be broken.
const BLINDING_DRAWS: usize = 64;

/// Signs `octets` with the `RSAPrivateKey` in `pkcs1`.
pub(super) fn sign(pkcs1: &[u8], octets: &[u8], random: &mut dyn Random) -> Result<Vec<u8>, SignError> {
    let key = RsaComponents::read(pkcs1).ok_or(SignError::KeyUnusable)?;
    let encoded = encode(octets, key.modulus.len()).ok_or(SignError::KeyUnusable)?;
    let signed = private_operation(&key, &encoded, random)?;
    let public = rsa_public_key(pkcs1).ok_or(SignError::KeyUnusable)?;
    signature::UnparsedPublicKey::new(&signature::RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, public)
        .verify(octets, &signed)
        .map_err(|_| SignError::SelfCheckFailed)?;
    Ok(signed)
}

/// EMSA-PKCS1-v1_5: 0, 1, at least eight 0xff, 0, DigestInfo (RFC 8017 §9.2).
fn encode(octets: &[u8], length: usize) -> Option<Vec<u8>> {
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, octets);
    let padding = length.checked_sub(3 + SHA1_DIGEST_INFO.len() + digest.as_ref().len()).filter(|left| *left >= 8)?;
    let mut encoded = vec![0, 1];
    encoded.resize(2 + padding, 0xff);
    encoded.push(0);
    encoded.extend_from_slice(&SHA1_DIGEST_INFO);
    encoded.extend_from_slice(digest.as_ref());
    Some(encoded)
}

/// Computes `message ^ d mod n` as `(message * r^e)^d * r^-1` with a random r.
fn private_operation(key: &RsaComponents<'_>, message: &[u8], random: &mut dyn Random) -> Result<Vec<u8>, SignError> {
    let bits = u32::try_from(key.modulus.len() * 8).map_err(|_| SignError::KeyUnusable)?;
    let number = |bytes: &[u8]| BoxedUint::from_be_slice(bytes, bits).map_err(|_| SignError::KeyUnusable);
    let modulus: Odd<BoxedUint> = number(key.modulus)?.into_odd().into_option().ok_or(SignError::KeyUnusable)?;
    let params = BoxedMontyParams::new(modulus.clone());
    let in_field = |value: BoxedUint| BoxedMontyForm::new(value, &params);
    let public_exponent = number(key.public_exponent)?;
    let exponent_bits = u32::try_from(key.public_exponent.len() * 8).map_err(|_| SignError::KeyUnusable)?;

    let (mut factor, mut inverse) = blinding_factor(&modulus, bits, random, in_field)?;
    let mut blinded = in_field(number(message)?).mul(&factor.pow_bounded_exp(&public_exponent, exponent_bits));
    let mut private_exponent = number(key.private_exponent)?;
    let mut power = blinded.pow(&private_exponent);
    let signed = power.mul(&inverse).retrieve().to_be_bytes().into_vec();
    private_exponent.zeroize();
    for secret in [&mut factor, &mut inverse, &mut blinded, &mut power] {
        secret.zeroize();
    }
    Ok(signed)
}

/// Draws r between 1 and n until it has an inverse, which is practically at once.
fn blinding_factor(
    modulus: &Odd<BoxedUint>,
    bits: u32,
    random: &mut dyn Random,
    in_field: impl Fn(BoxedUint) -> BoxedMontyForm,
) -> Result<(BoxedMontyForm, BoxedMontyForm), SignError> {
    let mut bytes = Zeroizing::new(vec![0; usize::try_from(bits / 8).map_err(|_| SignError::KeyUnusable)?]);
    for _ in 0..BLINDING_DRAWS {
        random.fill(&mut bytes).map_err(SignError::Random)?;
        let candidate = BoxedUint::from_be_slice(&bytes, bits).map_err(|_| SignError::KeyUnusable)?;
        if candidate >= *modulus.as_ref() {
            continue;
        }
        let factor = in_field(candidate);
        if let Some(inverse) = factor.invert().into_option() {
            return Ok((factor, inverse));
        }
    }
    Err(SignError::Random(crate::random::RandomUnavailable))
}
