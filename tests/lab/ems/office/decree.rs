//! What an administrator decrees over one endpoint: quarantine, and its opposite, the break-glass code.

use super::audit::Note;
use super::enrolment::{grouped, random_code};
use super::{Denial, Office};
use crate::ems::stamp::Stamp;
use posture::ems::break_glass::{BreakGlass, MOST_SECONDS};
use posture::ems::protocol::{Quarantine, release_digest};
use serde_json::{Value, json};

/// The longest message or reason, in bytes.
const LONGEST_TEXT: usize = 4_096;
/// The characters of a release code: 80 bits, which nobody finds by trying.
const RELEASE_CODE: usize = 16;

impl Office {
    /// Puts an endpoint into quarantine. Of the code only a digest is kept: the answer is the only
    /// place where it stands.
    pub(super) fn quarantine(
        &mut self,
        endpoint: &str,
        message: Option<String>,
        note: Option<&mut Note>,
    ) -> Result<Value, Denial> {
        let endpoint = self.named(endpoint)?;
        if message.as_ref().is_some_and(|message| message.len() > LONGEST_TEXT) {
            return Err(Denial::invalid("the message is too long"));
        }
        let (id, code) = (random_code()?, random_code()?);
        let code: String = code.chars().take(RELEASE_CODE).collect();
        let message = message.filter(|message| !message.trim().is_empty());
        let quarantine = Quarantine { release: Some(release_digest(&id, &code)), id, message };
        self.store.set_quarantine(&endpoint.id, Some(&quarantine))?;
        if let Some(note) = note {
            note.detail.clone_from(&quarantine.id);
        }
        Ok(json!({
            "endpoint": endpoint.id,
            "quarantined": true,
            "quarantine": quarantine.id,
            "release_code": grouped(&code),
        }))
    }

    /// Makes a break-glass code. Its number is stored before it is told to anybody.
    pub(super) fn make_break_glass(
        &mut self,
        endpoint: &str,
        use_within_seconds: u32,
        lasts_seconds: u32,
        reason: &str,
        now: Stamp,
    ) -> Result<Value, Denial> {
        let endpoint = self.named(endpoint)?;
        if use_within_seconds > MOST_SECONDS || lasts_seconds > MOST_SECONDS || lasts_seconds == 0 {
            return Err(Denial::invalid(format!("a break-glass code lasts from 1 to {MOST_SECONDS} s")));
        }
        if reason.trim().is_empty() || reason.len() > LONGEST_TEXT {
            return Err(Denial::invalid("a break-glass code needs a reason"));
        }
        let number = self.store.next_break_glass(&endpoint.id)?;
        let code = BreakGlass { number, issued_unix: now.unix_seconds(), use_within_seconds, lasts_seconds };
        let signature = self.authority.sign_bytes(&code.message(&self.authority.ems(), &endpoint.id));
        Ok(json!({"endpoint": endpoint.id, "number": number, "code": code.to_text(&signature)}))
    }
}
