//! What is told of each element.

use serde::Serialize;

/// What became of one element.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Where it stands.
    pub path: String,
    /// Its line.
    pub line: u32,
    /// What became of it.
    pub fate: Fate,
    /// What it became, or why it did not; never a secret.
    pub detail: String,
}

/// What becomes of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// It is in the tunnel.
    Used,
    /// It asks for what is done anyway, or for nothing.
    Idle,
    /// It is a secret.
    Secret,
    /// Postern does not do what it asks for.
    Unsupported,
}
