//! Group 31: Curve25519 (RFC 8031, RFC 7748).

use super::{KeyExchangeError, Method, Secret, SharedSecret};
use crate::random::Random;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

struct Curve25519(StaticSecret);

pub(super) fn generate(random: &mut dyn Random) -> Result<(Vec<u8>, Box<dyn Method>), KeyExchangeError> {
    let mut octets = Zeroizing::new([0; 32]);
    random.fill(octets.as_mut())?;
    let secret = StaticSecret::from(*octets);
    Ok((PublicKey::from(&secret).as_bytes().to_vec(), Box::new(Curve25519(secret))))
}

impl Method for Curve25519 {
    fn agree(&self, peer: &[u8]) -> Option<SharedSecret> {
        let peer: [u8; 32] = peer.try_into().ok()?;
        let shared = self.0.diffie_hellman(&PublicKey::from(peer));
        // RFC 7748 §6.1: an all-zero result means that the peer chose a point of small order.
        shared.was_contributory().then(|| Secret::from(shared.as_bytes().as_slice()))
    }
}
