//! Groups 19, 20 and 21: the NIST curves P-256, P-384 and P-521 (RFC 5903).
//!
//! Key exchange data is `x | y` without the leading octet of SEC 1, the shared secret is `x` alone
//! (RFC 5903 §7). Decoding a point checks that it lies on the curve.

use super::{KeyExchangeError, Method, Secret, SharedSecret};
use crate::random::Random;
use zeroize::Zeroizing;

/// The leading octet of an uncompressed point in SEC 1.
const UNCOMPRESSED: u8 = 4;

/// Makes `generate` and the method for one curve.
macro_rules! curve {
    ($generate:ident, $method:ident, $curve:ident, $octets:literal, $first:literal) => {
        struct $method($curve::SecretKey);

        pub(super) fn $generate(random: &mut dyn Random) -> Result<(Vec<u8>, Box<dyn Method>), KeyExchangeError> {
            let mut octets = Zeroizing::new([0; $octets]);
            let secret = loop {
                random.fill(octets.as_mut())?;
                if let Some(first) = octets.first_mut() {
                    *first &= $first;
                }
                // Zero and what exceeds the order are drawn again; the chance is below 2^-32.
                if let Ok(secret) = $curve::SecretKey::from_slice(octets.as_ref()) {
                    break secret;
                }
            };
            let point = secret.public_key().to_sec1_bytes();
            let public = point.get(point.len().saturating_sub(2 * $octets)..).unwrap_or_default().to_vec();
            Ok((public, Box::new($method(secret))))
        }

        impl Method for $method {
            fn agree(&self, peer: &[u8]) -> Option<SharedSecret> {
                let mut point = vec![UNCOMPRESSED];
                point.extend_from_slice(peer);
                let peer = $curve::PublicKey::from_sec1_bytes(&point).ok()?;
                let shared = self.0.diffie_hellman(&peer);
                Some(Secret::from(shared.raw_secret_bytes().as_slice()))
            }
        }
    };
}

// The last column masks the first octet of a secret: an order of 521 bits leaves one bit of it.
curve!(generate_p256, P256, p256, 32, 0xff);
curve!(generate_p384, P384, p384, 48, 0xff);
curve!(generate_p521, P521, p521, 66, 0x01);
