//! Who is logged on: the sessions of systemd-logind, else the records of utmp(5).

use super::text;
use crate::collect::Context;
use crate::facts::Observation;
use std::collections::BTreeSet;

const SESSIONS: &str = "/run/systemd/sessions";
const RECORDS: &str = "/run/utmp";

/// The form of one record of utmp on Linux, whatever the word size (utmp(5)).
const RECORD_LENGTH: usize = 384;
const USER_PROCESS: u16 = 7;
const USER_AT: usize = 44;
const USER_LENGTH: usize = 32;

/// Returns the names of the users who are logged on.
pub(super) fn users(context: &Context) -> Observation<BTreeSet<String>> {
    match sessions(context) {
        Observation::Known(Some(sessions)) => {
            Observation::Known(sessions.into_iter().filter(Session::is_of_a_user).map(|session| session.user).collect())
        }
        Observation::Known(None) => match std::fs::read(context.path(RECORDS)) {
            Ok(bytes) => Observation::Known(recorded(&bytes)),
            Err(error) => Observation::from_error(RECORDS, &error),
        },
        Observation::Unknown(reason) => Observation::Unknown(reason),
        Observation::Denied(reason) => Observation::Denied(reason),
    }
}

/// Returns the names of the users with a graphical session.
pub(super) fn graphical(context: &Context) -> Observation<BTreeSet<String>> {
    sessions(context).map(|sessions| {
        let of_desktop =
            |session: &Session| session.is_of_a_user() && matches!(session.kind.as_str(), "x11" | "wayland" | "mir");
        sessions.into_iter().flatten().filter(of_desktop).map(|session| session.user).collect()
    })
}

/// Returns a user's home by `/etc/passwd`.
pub(super) fn home(context: &Context, user: &str) -> Option<String> {
    let passwd = text(context, "/etc/passwd").ok()??;
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == user).then(|| fields.nth(4).map(str::to_owned)).flatten()
    })
}

struct Session {
    user: String,
    class: String,
    kind: String,
    state: String,
}

impl Session {
    /// A greeter's session is nobody's, and one that is closing is over.
    fn is_of_a_user(&self) -> bool {
        !self.user.is_empty() && self.class.starts_with("user") && self.state != "closing"
    }
}

/// Returns logind's sessions; none where there is no logind.
fn sessions(context: &Context) -> Observation<Option<Vec<Session>>> {
    let entries = match std::fs::read_dir(context.path(SESSIONS)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Observation::Known(None),
        Err(error) => return Observation::from_error(SESSIONS, &error),
    };
    let mut sessions = Vec::new();
    for entry in entries.flatten() {
        // Beside each session lies a pipe by which logind hears that it has ended: `2.ref`.
        if entry.file_type().is_ok_and(|kind| kind.is_file()) {
            match text(context, &format!("{SESSIONS}/{}", entry.file_name().to_string_lossy())) {
                Ok(Some(file)) => {
                    let value = |key: &str| {
                        let line = file.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
                        line.unwrap_or_default().to_owned()
                    };
                    sessions.push(Session {
                        user: value("USER"),
                        class: value("CLASS"),
                        kind: value("TYPE"),
                        state: value("STATE"),
                    });
                }
                Ok(None) => {}
                Err(error) => return Observation::from_error(SESSIONS, &error),
            }
        }
    }
    Observation::Known(Some(sessions))
}

fn recorded(bytes: &[u8]) -> BTreeSet<String> {
    let user = |record: &[u8]| {
        let kind = u16::from_ne_bytes(*record.first_chunk()?);
        let name = record.get(USER_AT..USER_AT + USER_LENGTH)?;
        let name = name.split(|byte| *byte == 0).next()?;
        (kind == USER_PROCESS && !name.is_empty()).then(|| String::from_utf8_lossy(name).into_owned())
    };
    bytes.chunks_exact(RECORD_LENGTH).filter_map(user).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_tell_who_is_logged_on() {
        let record = |kind: u16, user: &str| {
            let mut bytes = vec![0; RECORD_LENGTH];
            bytes[..2].copy_from_slice(&kind.to_ne_bytes());
            bytes[USER_AT..USER_AT + user.len()].copy_from_slice(user.as_bytes());
            bytes
        };
        let longest = "u".repeat(USER_LENGTH);
        let all = [record(7, "ann"), record(8, "gone"), record(7, "ann"), record(7, &longest), vec![7, 0, 9]].concat();
        assert_eq!(recorded(&all), BTreeSet::from(["ann".to_owned(), longest]));
        assert!(recorded(&[]).is_empty());
    }
}
