//! Octets that must not be printed, and are wiped when dropped.

use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Secret octets: wiped on drop, compared in constant time, shown only as their length.
#[derive(Clone, Default)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes over `octets`.
    pub fn new(octets: Vec<u8>) -> Self {
        Self(Zeroizing::new(octets))
    }

    /// Lends the octets to what computes with them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Returns the number of octets.
    pub fn length(&self) -> usize {
        self.0.len()
    }

    /// Keeps the first `octets` octets; the rest is wiped with them on drop.
    pub(crate) fn truncate(&mut self, octets: usize) {
        self.0.truncate(octets);
    }
}

impl From<&[u8]> for Secret {
    fn from(octets: &[u8]) -> Self {
        Self::new(octets.to_vec())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Secret({} octets)", self.0.len())
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Secret {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_its_length_and_nothing_else() {
        assert_eq!(format!("{:?}", Secret::new(vec![0x41; 3])), "Secret(3 octets)");
    }
}
