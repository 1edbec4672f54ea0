//! How a value must compare with the one that a rule names.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How two versions compare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    /// The same.
    #[default]
    #[serde(rename = "=")]
    Equal,
    /// Not the same.
    #[serde(rename = "!=")]
    NotEqual,
    /// Newer.
    #[serde(rename = ">")]
    Newer,
    /// The same or newer.
    #[serde(rename = ">=")]
    AtLeast,
    /// Older.
    #[serde(rename = "<")]
    Older,
    /// The same or older.
    #[serde(rename = "<=")]
    AtMost,
}

impl Comparison {
    /// Says whether `ordering`, of what is there against what the rule names, satisfies the comparison.
    pub fn accepts(self, ordering: std::cmp::Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::NotEqual => ordering.is_ne(),
            Self::Newer => ordering.is_gt(),
            Self::AtLeast => ordering.is_ge(),
            Self::Older => ordering.is_lt(),
            Self::AtMost => ordering.is_le(),
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Newer => ">",
            Self::AtLeast => ">=",
            Self::Older => "<",
            Self::AtMost => "<=",
        })
    }
}
