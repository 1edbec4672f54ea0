//! Parameters of rules, each within the limits that the product family gives it. A rule whose parameter
//! is outside of them cannot be read, and is unknown.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Deref;

/// A text of 1 to 256 characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Text(String);

/// A parameter is outside of its limits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParameterInvalid {
    /// A text is empty or too long.
    #[error("a text must have 1 to {} characters", Text::LIMIT)]
    Text,
    /// A number of days is 0 or too big.
    #[error("days must be 1 to {}", Days::LIMIT)]
    Days,
    /// A score is too big.
    #[error("a score must be 0 to 100")]
    Score,
    /// A regular expression cannot be read.
    #[error("the regular expression cannot be read: {0}")]
    Expression(String),
}

impl Text {
    /// How many characters it may have.
    pub const LIMIT: usize = 256;
}

impl TryFrom<String> for Text {
    type Error = ParameterInvalid;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.chars().count() {
            1..=Self::LIMIT => Ok(Self(text)),
            _ => Err(ParameterInvalid::Text),
        }
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.0
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A number of days, 1 to 3653.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Days(u32);

impl Days {
    /// The most days: ten years.
    pub const LIMIT: u32 = 3_653;

    /// Returns them in seconds.
    pub fn seconds(self) -> u64 {
        u64::from(self.0) * 86_400
    }
}

impl TryFrom<u32> for Days {
    type Error = ParameterInvalid;

    fn try_from(days: u32) -> Result<Self, Self::Error> {
        if (1..=Self::LIMIT).contains(&days) { Ok(Self(days)) } else { Err(ParameterInvalid::Days) }
    }
}

impl From<Days> for u32 {
    fn from(days: Days) -> Self {
        days.0
    }
}

impl fmt::Display for Days {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 1 { formatter.write_str("1 day") } else { write!(formatter, "{} days", self.0) }
    }
}

/// A score, 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Score(u8);

impl TryFrom<u8> for Score {
    type Error = ParameterInvalid;

    fn try_from(score: u8) -> Result<Self, Self::Error> {
        if score <= 100 { Ok(Self(score)) } else { Err(ParameterInvalid::Score) }
    }
}

impl From<Score> for u8 {
    fn from(score: Score) -> Self {
        score.0
    }
}

impl fmt::Display for Score {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_those_of_the_product_family() {
        let text = |length: usize| Text::try_from("é".repeat(length));
        assert!(text(0).is_err() && text(1).is_ok() && text(256).is_ok() && text(257).is_err());
        let days = |days: u32| Days::try_from(days).is_ok();
        assert!(!days(0) && days(1) && days(3_653) && !days(3_654));
        assert!(Score::try_from(100).is_ok() && Score::try_from(101).is_err());
    }
}
