//! The pseudo-random function and its expansion `prf+` (RFC 7296 §2.13).

use super::{Secret, transform::PseudoRandomFunction};
use ring::hmac;
use zeroize::Zeroizing;

/// A pseudo-random function bound to its algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prf {
    /// The algorithm.
    pub function: PseudoRandomFunction,
}

/// More key material was asked for than `prf+` can give: 255 outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("prf+ gives at most 255 outputs; {octets} octets were asked for")]
pub struct ExpansionTooLong {
    /// The octets asked for.
    pub octets: usize,
}

impl Prf {
    /// Binds `function`.
    pub const fn new(function: PseudoRandomFunction) -> Self {
        Self { function }
    }

    /// Returns the output length in octets.
    pub const fn output_length(self) -> usize {
        self.function.output_length()
    }

    /// Computes `prf(key, part | part | ...)`.
    pub fn compute(self, key: &[u8], parts: &[&[u8]]) -> Secret {
        Secret::from(self.sign(&hmac::Key::new(self.function.digest().hmac(), key), parts).as_ref())
    }

    /// Computes `prf+(key, seed | seed | ...)` to `octets` octets.
    ///
    /// # Errors
    /// [`ExpansionTooLong`] beyond 255 outputs of the function.
    pub fn expand(self, key: &[u8], seed: &[&[u8]], octets: usize) -> Result<Secret, ExpansionTooLong> {
        let key = hmac::Key::new(self.function.digest().hmac(), key);
        // The whole room at once: a vector that grows would leave unwiped copies behind.
        let rounds = octets.div_ceil(self.output_length());
        let mut material = Vec::with_capacity(rounds * self.output_length());
        let mut previous = Zeroizing::new(Vec::with_capacity(self.output_length()));
        for round in 1..=rounds {
            let counter = [u8::try_from(round).map_err(|_| ExpansionTooLong { octets })?];
            let mut parts: Vec<&[u8]> = Vec::with_capacity(seed.len() + 2);
            parts.push(&previous);
            parts.extend_from_slice(seed);
            parts.push(&counter);
            let output = self.sign(&key, &parts);
            material.extend_from_slice(output.as_ref());
            previous.clear();
            previous.extend_from_slice(output.as_ref());
        }
        let mut material = Secret::new(material);
        material.truncate(octets);
        Ok(material)
    }

    fn sign(self, key: &hmac::Key, parts: &[&[u8]]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(key);
        for part in parts {
            context.update(part);
        }
        context.sign()
    }
}
