//! Quarantine: what EMS tells of it, and the code that ends it at the endpoint.
//!
//! A quarantine has an identifier of its own, so that a code that ended one is worth nothing for the
//! next. EMS sends a digest of the code with the signed snapshot: the endpoint can try a code while
//! EMS is out of reach, and who reads the snapshot does not learn it.

use crate::ems::signed::Fingerprint;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Keeps the digest of a release code from meaning anything elsewhere.
const CONTEXT: &[u8] = b"postern-ems-quarantine-release-v1\0";
/// The longest code that is looked at, in characters.
const LONGEST_CODE: usize = 64;

/// One quarantine of one endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    /// Never used twice.
    pub id: String,
    /// The administrator's words, verbatim; the tunnel's own warning where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The digest of the code that ends it; none where only EMS can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Fingerprint>,
}

impl Quarantine {
    /// Tells whether a code as a person typed it ends this quarantine.
    pub fn is_released_by(&self, code: &str) -> bool {
        self.release.is_some_and(|release| release == release_digest(&self.id, code))
    }
}

/// Returns the digest by which a code is known. Case, spaces and dashes do not count.
pub fn release_digest(quarantine: &str, code: &str) -> Fingerprint {
    let typed = code.chars().filter(char::is_ascii_alphanumeric).take(LONGEST_CODE);
    let code: String = typed.map(|character| character.to_ascii_uppercase()).collect();
    Fingerprint::of(&[CONTEXT, quarantine.as_bytes(), b"\0", code.as_bytes()].concat())
}

/// Tells EMS that a quarantine was ended at the endpoint, and proves it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseRequest {
    /// The quarantine.
    pub quarantine: String,
    /// The code.
    pub code: String,
}

impl fmt::Debug for ReleaseRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ReleaseRequest").field("quarantine", &self.quarantine).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_known_however_it_is_typed_and_for_one_quarantine() {
        let release = Some(release_digest("q1", "ABCD-EFGH"));
        let quarantine = Quarantine { id: "q1".into(), message: None, release };
        assert!(quarantine.is_released_by(" abcd efgh\n"));
        assert!(!quarantine.is_released_by("ABCD-EFGJ"));
        let next = Quarantine { id: "q2".into(), ..quarantine };
        assert!(!next.is_released_by("ABCD-EFGH"));
    }

    #[test]
    fn without_a_code_nothing_that_is_typed_releases() {
        let quarantine = Quarantine { id: "q1".into(), message: None, release: None };
        assert!(!quarantine.is_released_by(""));
    }

    #[test]
    fn a_release_is_not_printed() {
        let request = ReleaseRequest { quarantine: "q1".into(), code: "ABCDEFGH".into() };
        assert!(!format!("{request:?}").contains("ABCDEFGH"));
    }
}
