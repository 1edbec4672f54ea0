//! How the service and its surroundings stand, for `postern doctor`.

use crate::text::PlainText;
use serde::{Deserialize, Serialize};

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What.
    pub check: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// How it is.
    pub detail: PlainText,
    /// What to do about it, if anything.
    pub next: PlainText,
}

impl Check {
    /// Makes a check that found all well.
    pub fn good(check: &str, detail: impl Into<PlainText>) -> Self {
        Self { check: check.to_owned(), ok: true, detail: detail.into(), next: "".into() }
    }

    /// Makes a check that found something to mend, and says how.
    pub fn bad(check: &str, detail: impl Into<PlainText>, next: impl Into<PlainText>) -> Self {
        Self { check: check.to_owned(), ok: false, detail: detail.into(), next: next.into() }
    }
}
