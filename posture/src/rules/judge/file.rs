//! `file`: something of this name is there.

use super::Judgement;
use crate::facts::{Facts, FileState};
use crate::rules::Truth;

pub(super) fn judge(facts: &Facts, path: &str) -> Judgement {
    let Some(fact) = facts.files.get(path) else {
        let seen = format!("files: nobody looked for {path}");
        return Judgement::new(Truth::Unknown, "files", seen, "wait for the next look at the system");
    };
    match fact.value() {
        Some(FileState::Present) => {
            Judgement::new(Truth::True, "files", format!("{path} is there"), format!("remove {path}"))
        }
        Some(FileState::Missing) => {
            Judgement::new(Truth::False, "files", format!("{path} is not there"), format!("provide {path}"))
        }
        None => Judgement::without("files", fact, format!("let Postern look at {path}")),
    }
}
