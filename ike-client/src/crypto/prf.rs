//! The pseudo-random function and its expansion `prf+` (RFC 7296 §2.13).

use super::mac::MacKey;
use super::{Secret, transform::PseudoRandomFunction};
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
        Secret::from(MacKey::new(self.function.algorithm(), key).sign(parts).as_ref())
    }

    /// Computes `prf+(key, seed | seed | ...)` to `octets` octets.
    ///
    /// # Errors
    /// [`ExpansionTooLong`] beyond 255 outputs of the function.
    pub fn expand(self, key: &[u8], seed: &[&[u8]], octets: usize) -> Result<Secret, ExpansionTooLong> {
        let key = MacKey::new(self.function.algorithm(), key);
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
            let output = key.sign(&parts);
            material.extend_from_slice(output.as_ref());
            previous.clear();
            previous.extend_from_slice(output.as_ref());
        }
        let mut material = Secret::new(material);
        material.truncate(octets);
        Ok(material)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_function_gives_the_values_of_rfc_4231() {
        let prf = |function| {
            hex::encode(Prf::new(function).compute(b"Jefe", &[b"what do ya want ", b"for nothing?"]).expose())
        };
        assert_eq!(
            prf(PseudoRandomFunction::HmacSha256),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert!(prf(PseudoRandomFunction::HmacSha384).starts_with("af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47"));
        assert!(prf(PseudoRandomFunction::HmacSha512).starts_with("164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd6"));
        // RFC 2202 §3, the second case.
        assert_eq!(prf(PseudoRandomFunction::HmacSha1), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    }

    #[test]
    fn the_expansion_gives_the_value_of_another_implementation() {
        // Python's hmac over the definition of prf+.
        let key: Vec<u8> = (0..32).collect();
        let material =
            Prf::new(PseudoRandomFunction::HmacSha384).expand(&key, &[b"nonces ", b"and ", b"spis"], 100).unwrap();
        assert_eq!(
            hex::encode(material.expose()),
            concat!(
                "bd4625bd8504815f19c4ecc4498d3649c2716d2ad0aa574d8299dd0ab9708b25d285fd4c64edac34c5ceabd13ae99e80",
                "b42cd28321ea5a8783fbb1328ca1d279d8f1a63445595ec0df6ca304de53a15fde2a83bfa7397f4a7cd1a2adfa59169b",
                "bb0f3511"
            )
        );
    }

    #[test]
    fn the_expansion_ends_after_255_outputs() {
        let prf = Prf::new(PseudoRandomFunction::HmacSha256);
        assert_eq!(prf.expand(b"k", &[], 255 * 32).unwrap().length(), 255 * 32);
        assert_eq!(prf.expand(b"k", &[], 255 * 32 + 1), Err(ExpansionTooLong { octets: 255 * 32 + 1 }));
    }
}
