//! TLS's cryptography for one channel, with every random octet drawn from that channel's own stream.
//!
//! rustls takes its randomness and its key exchanges as things of the whole process. Here they draw from the
//! [`Stream`] that [`drawing`] lends to the present thread: one seed makes one handshake, octet by octet, so that a
//! channel can be played again from the start once the owner of the client's key has signed
//! ([`channel`](super::channel)), and so that tests repeat.

use crate::crypto::kex::KeyExchange;
use crate::crypto::transform::Group;
use crate::random::{Random, RandomUnavailable};
use ring::hmac;
use rustls::crypto::{
    ActiveKeyExchange, CryptoProvider, GetRandomFailed, SecureRandom, SharedSecret, SupportedKxGroup, ring as stock,
};
use rustls::{Error, NamedGroup, PeerMisbehaved};
use std::cell::RefCell;
use std::sync::{Mutex, PoisonError};
use zeroize::Zeroizing;

thread_local! {
    static LENT: RefCell<Option<Stream>> = const { RefCell::new(None) };
}

/// A stream of octets that follows from a seed: HMAC-SHA-256 of a counter under it.
#[derive(Clone)]
pub(super) struct Stream {
    seed: Zeroizing<[u8; 32]>,
    blocks: u64,
}

impl Stream {
    /// Draws the seed.
    pub(super) fn seeded(random: &mut dyn Random) -> Result<Self, RandomUnavailable> {
        let mut seed = Zeroizing::new([0; 32]);
        random.fill(seed.as_mut_slice())?;
        Ok(Self { seed, blocks: 0 })
    }
}

impl Random for Stream {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RandomUnavailable> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.seed.as_slice());
        for chunk in bytes.chunks_mut(32) {
            let block = hmac::sign(&key, &self.blocks.to_be_bytes());
            self.blocks = self.blocks.checked_add(1).ok_or(RandomUnavailable)?;
            for (target, source) in chunk.iter_mut().zip(block.as_ref()) {
                *target = *source;
            }
        }
        Ok(())
    }
}

/// Does `work`, whose random octets come from `stream`.
pub(super) fn drawing<T>(stream: &mut Stream, work: impl FnOnce() -> T) -> T {
    LENT.with_borrow_mut(|lent| *lent = Some(stream.clone()));
    let done = work();
    LENT.with_borrow_mut(|lent| {
        if let Some(used) = lent.take() {
            *stream = used;
        }
    });
    done
}

/// The provider: ring's suites and checks, our key exchanges, the lent stream.
pub(super) fn provider() -> CryptoProvider {
    CryptoProvider { kx_groups: vec![&Curve25519, &Ecp256, &Ecp384], secure_random: &Lent, ..stock::default_provider() }
}

/// The stream that is lent to this thread; without one there is no randomness.
#[derive(Clone, Copy, Debug)]
struct Lent;

impl Random for Lent {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RandomUnavailable> {
        LENT.with_borrow_mut(|lent| lent.as_mut().ok_or(RandomUnavailable)?.fill(bytes))
    }
}

impl SecureRandom for Lent {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        let mut lent = *self;
        Random::fill(&mut lent, bytes).map_err(|_| GetRandomFailed)
    }
}

/// Declares a group by its two names.
macro_rules! group {
    ($name:ident, $ours:ident, $theirs:ident) => {
        #[derive(Debug)]
        struct $name;

        impl SupportedKxGroup for $name {
            fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
                start(Group::$ours, NamedGroup::$theirs)
            }

            fn name(&self) -> NamedGroup {
                NamedGroup::$theirs
            }
        }
    };
}

group!(Curve25519, Curve25519, X25519);
group!(Ecp256, Ecp256, secp256r1);
group!(Ecp384, Ecp384, secp384r1);

/// The octet before an uncompressed point, which IKE leaves out (RFC 5903 §7) and TLS has.
const UNCOMPRESSED: u8 = 4;

fn start(group: Group, name: NamedGroup) -> Result<Box<dyn ActiveKeyExchange>, Error> {
    let exchange = KeyExchange::generate(group, &mut Lent).map_err(|_| Error::FailedToGetRandomBytes)?;
    let mut public = exchange.public().to_vec();
    if group != Group::Curve25519 {
        public.insert(0, UNCOMPRESSED);
    }
    Ok(Box::new(Started { group, exchange: Mutex::new(exchange), name, public }))
}

struct Started {
    group: Group,
    /// rustls wants it shareable between threads; it is only ever consumed.
    exchange: Mutex<KeyExchange>,
    name: NamedGroup,
    public: Vec<u8>,
}

impl ActiveKeyExchange for Started {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let invalid = || Error::from(PeerMisbehaved::InvalidKeyShare);
        let point = match self.group {
            Group::Curve25519 => peer,
            _ => peer.strip_prefix(&[UNCOMPRESSED]).ok_or_else(invalid)?,
        };
        let exchange = self.exchange.into_inner().unwrap_or_else(PoisonError::into_inner);
        let secret = exchange.agree(point).map_err(|_| invalid())?;
        Ok(SharedSecret::from(secret.expose()))
    }

    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn group(&self) -> NamedGroup {
        self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;

    #[test]
    fn one_seed_gives_one_stream_and_nothing_is_drawn_outside_of_it() {
        let mut octets = [0; 40];
        assert!(SecureRandom::fill(&Lent, &mut octets).is_err());
        let draw = |seed| {
            let mut stream = Stream::seeded(&mut SeededRandom::new(seed)).unwrap();
            let (mut first, mut second) = ([0; 40], [0; 40]);
            drawing(&mut stream, || SecureRandom::fill(&Lent, &mut first)).unwrap();
            drawing(&mut stream, || SecureRandom::fill(&Lent, &mut second)).unwrap();
            assert_ne!(first, second);
            (first, second)
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert!(SecureRandom::fill(&Lent, &mut octets).is_err());
    }
}
