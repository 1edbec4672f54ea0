//! The three states of knowledge, and a fact as an observation with its source and time.

use serde::{Deserialize, Serialize};

/// What an attempt to look at something gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", content = "value", rename_all = "lowercase")]
pub enum Observation<T> {
    /// It was seen.
    Known(T),
    /// It could not be told, for the reason given.
    Unknown(String),
    /// The system did not let us look; names the privilege or the permission that was missing.
    Denied(String),
}

impl<T> Observation<T> {
    /// Returns the value, where there is one.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unknown(_) | Self::Denied(_) => None,
        }
    }

    /// Returns why there is no value, where there is none.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Known(_) => None,
            Self::Unknown(reason) | Self::Denied(reason) => Some(reason),
        }
    }

    /// Applies `change` to a known value and leaves the other states as they are.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Observation<U> {
        match self {
            Self::Known(value) => Observation::Known(change(value)),
            Self::Unknown(reason) => Observation::Unknown(reason),
            Self::Denied(reason) => Observation::Denied(reason),
        }
    }

    /// Turns a failed read into the state it means: denied for a missing permission, else unknown.
    pub fn from_error(what: &str, error: &std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::PermissionDenied {
            Self::Denied(format!("{what}: no permission to read it"))
        } else {
            Self::Unknown(format!("{what}: {error}"))
        }
    }
}

/// An observation with where it comes from and when it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact<T> {
    /// What was seen.
    pub observation: Observation<T>,
    /// The file, interface or service that told it.
    pub source: String,
    /// When it was gathered, in seconds since 1970.
    pub gathered_unix: u64,
}

impl<T> Fact<T> {
    /// Makes a fact from an observation.
    pub fn new(observation: Observation<T>, source: impl Into<String>, gathered_unix: u64) -> Self {
        Self { observation, source: source.into(), gathered_unix }
    }

    /// Makes a fact that is known.
    pub fn known(value: T, source: impl Into<String>, gathered_unix: u64) -> Self {
        Self::new(Observation::Known(value), source, gathered_unix)
    }

    /// Makes a fact that is unknown for `reason`.
    pub fn unknown(reason: impl Into<String>, source: impl Into<String>, gathered_unix: u64) -> Self {
        Self::new(Observation::Unknown(reason.into()), source, gathered_unix)
    }

    /// Makes a fact that the system did not let us see for want of `privilege`.
    pub fn denied(privilege: impl Into<String>, source: impl Into<String>, gathered_unix: u64) -> Self {
        Self::new(Observation::Denied(privilege.into()), source, gathered_unix)
    }

    /// Returns the value, where there is one.
    pub fn value(&self) -> Option<&T> {
        self.observation.known()
    }
}

impl<T: PartialEq> Fact<T> {
    /// Says whether both facts tell the same, whenever they were gathered.
    pub fn tells_the_same(&self, other: &Self) -> bool {
        self.observation == other.observation
    }
}

impl<T> Default for Fact<T> {
    fn default() -> Self {
        Self::unknown("not collected", "", 0)
    }
}
