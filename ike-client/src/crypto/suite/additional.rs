//! The additional key exchanges of a suite (RFC 9370).

use super::ParseSuiteError;
use crate::crypto::transform::Group;
use std::fmt;

/// Up to seven key exchanges that follow the first one, in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AdditionalExchanges([Option<Group>; 7]);

impl AdditionalExchanges {
    /// No additional exchange.
    pub const NONE: Self = Self([None; 7]);

    /// Returns whether there is none.
    pub fn is_empty(self) -> bool {
        self == Self::NONE
    }

    /// Returns the exchanges in the order in which they are done, each with its place from 1 to 7.
    pub fn iter(self) -> impl Iterator<Item = (u8, Group)> {
        (1..).zip(self.0).filter_map(|(place, group)| Some((place, group?)))
    }

    /// Returns whether one of them is thought to withstand a quantum computer.
    pub fn is_post_quantum(self) -> bool {
        self.iter().any(|(_, group)| group.is_post_quantum())
    }

    /// Takes what a proposal names at a place.
    pub(super) fn place(&mut self, number: u8, group: Group, word: &str) -> Result<(), ParseSuiteError> {
        let repeated = self.iter().any(|(_, other)| other == group);
        let slot = usize::from(number).checked_sub(1).and_then(|place| self.0.get_mut(place));
        let slot = slot.ok_or_else(|| ParseSuiteError::UnknownTransform { word: word.to_owned() })?;
        if repeated || slot.replace(group).is_some() {
            return Err(ParseSuiteError::Repeated { word: word.to_owned(), kind: "additional key exchange" });
        }
        Ok(())
    }

    /// Checks that the first group does not come again (RFC 9370 §2.2.1).
    pub(super) fn beside(self, first: Group) -> Result<(), ParseSuiteError> {
        match self.iter().find(|(_, group)| *group == first) {
            Some((place, group)) => {
                let word = format!("ke{place}_{}", group.name());
                Err(ParseSuiteError::Repeated { word, kind: "key exchange of this method" })
            }
            None => Ok(()),
        }
    }
}

impl fmt::Display for AdditionalExchanges {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|(place, group)| write!(formatter, "-ke{place}_{}", group.name()))
    }
}
