//! A line of the service's log: when, how grave, what; and what must not be shown.

use clap::ValueEnum;
use jiff::Timestamp;
use serde::Serialize;

/// How grave a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::cli) enum Level {
    /// Something failed.
    Error,
    /// Something is not as it should be.
    Warn,
    /// What a user could notice.
    Info,
    /// How it came to that.
    Debug,
    /// Everything.
    Trace,
}

/// One line that is to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Line {
    /// When it was written, where it says so or follows one that does.
    pub(in crate::cli) time: Option<Timestamp>,
    /// How grave it is.
    pub(in crate::cli) level: Level,
    /// The line as written, without what looks like a secret.
    pub(in crate::cli) text: String,
}

/// Lets lines through that are grave and young enough. A line without time and level belongs to the one
/// before it.
#[derive(Debug)]
pub(in crate::cli) struct Filter {
    level: Level,
    since: Option<Timestamp>,
    last: (Option<Timestamp>, Level),
}

impl Filter {
    /// Lets through what is as grave as `level`, and no older than `since`.
    pub(in crate::cli) fn new(level: Level, since: Option<Timestamp>) -> Self {
        Self { level, since, last: (None, Level::Info) }
    }

    /// Takes the next line that was written.
    pub(in crate::cli) fn take(&mut self, text: &str) -> Option<Line> {
        if let Some((time, level)) = heading(text) {
            self.last = (Some(time), level);
        }
        let (time, level) = self.last;
        let old = self.since.is_some_and(|since| time.is_none_or(|time| time < since));
        (level <= self.level && !old).then(|| Line { time, level, text: without_secrets(text) })
    }
}

/// Reads the beginning of a line of ours.
fn heading(text: &str) -> Option<(Timestamp, Level)> {
    let mut words = text.split_whitespace();
    let time = words.next()?.parse().ok()?;
    let level = match words.next()? {
        "ERROR" => Level::Error,
        "WARN" => Level::Warn,
        "INFO" => Level::Info,
        "DEBUG" => Level::Debug,
        "TRACE" => Level::Trace,
        _ => return None,
    };
    Some((time, level))
}

/// What is shown in the place of a secret.
const REMOVED: &str = "[removed]";
/// Names of what is secret, alone or behind an underscore (`eap_password`).
const SECRETS: [&str; 9] =
    ["password", "passphrase", "psk", "pre_shared_key", "private_key", "secret", "token", "pin", "invitation"];

/// Returns a line without what is named like a secret (`password = "…"`, `"psk":"…"`), and without keys in
/// PEM. Nothing of ours writes secrets; what others say, and what an administrator wrote into a field that
/// it does not belong into, may.
pub(in crate::cli) fn without_secrets(text: &str) -> String {
    if text.contains("PRIVATE KEY-----") {
        return REMOVED.to_owned();
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['=', ':']) {
        let (before, after) = rest.split_at(at);
        let separator = after.get(..1).unwrap_or_default();
        let value = after.get(1..).unwrap_or_default();
        shown.push_str(before);
        shown.push_str(separator);
        // A colon names a value in JSON only; elsewhere it ends a part of a sentence.
        let quoted = before.trim_end().ends_with('"');
        if is_secret(before) && (separator == "=" || quoted) {
            let spaces = value.len() - value.trim_start_matches(' ').len();
            let (gap, value) = value.split_at(spaces);
            shown.push_str(gap);
            let (secret, remainder) = value.split_at(length(value));
            if !matches!(secret, "" | "null" | "None") {
                shown.push_str(REMOVED);
            } else {
                shown.push_str(secret);
            }
            rest = remainder;
        } else {
            rest = value;
        }
    }
    shown.push_str(rest);
    shown
}

/// Tells whether a text ends with the name of a secret.
fn is_secret(text: &str) -> bool {
    let text = text.trim_end().trim_end_matches('"');
    let begin = text.rfind(|character: char| !(character.is_alphanumeric() || "_-".contains(character)));
    let name = text.get(begin.map_or(0, |at| at + text.get(at..).map_or(1, first_length))..).unwrap_or(text);
    let name = name.to_lowercase().replace('-', "_");
    // An invitation's code; other codes, such as of an exit, are no secrets.
    name == "code"
        || SECRETS
            .iter()
            .any(|secret| name == *secret || name.strip_suffix(secret).is_some_and(|rest| rest.ends_with('_')))
}

fn first_length(text: &str) -> usize {
    text.chars().next().map_or(1, char::len_utf8)
}

/// Returns the length of the value at the beginning of a text: up to its closing quote, or to what ends a word.
fn length(text: &str) -> usize {
    let Some(inner) = text.strip_prefix('"') else {
        return text.find([' ', ',', ';', '}', ')']).unwrap_or(text.len());
    };
    let mut escaped = false;
    for (at, character) in inner.char_indices() {
        match character {
            '"' if !escaped => return at + 2,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &[&str] = &[
        "2026-11-23T15:23:42.407410Z  INFO postern_agent::service::start: ready",
        "2026-11-23T15:23:43.000000Z ERROR postern_agent::service::network::keeper: a change failed",
        "   more about it",
        "2026-11-23T15:23:44.000000Z DEBUG postern_agent::service::hub::told: progress",
        "2026-11-23T15:23:45.000000Z  WARN postern_agent::service::hub::told: the engine warns",
    ];

    fn kept(level: Level, since: Option<&str>) -> Vec<usize> {
        let mut filter = Filter::new(level, since.map(|since| since.parse().unwrap()));
        (0..LOG.len()).filter(|place| filter.take(LOG[*place]).is_some()).collect()
    }

    #[test]
    fn lines_are_kept_by_gravity_and_time_and_what_has_neither_goes_with_the_line_before() {
        assert_eq!(kept(Level::Info, None), [0, 1, 2, 4]);
        assert_eq!(kept(Level::Error, None), [1, 2]);
        assert_eq!(kept(Level::Trace, None), [0, 1, 2, 3, 4]);
        assert_eq!(kept(Level::Trace, Some("2026-11-23T15:23:43Z")), [1, 2, 3, 4]);
        assert_eq!(kept(Level::Warn, Some("2026-11-23T15:23:43.5Z")), [4]);
        assert_eq!(heading("2026-11-23T15:23:43Z SHOUT x"), None);
    }

    #[test]
    fn what_is_named_like_a_secret_is_not_shown() {
        for (text, shown) in [
            ("tunnel=work password=hunter2 to=7", "tunnel=work password=[removed] to=7"),
            ("eap_password = \"hun\\\"ter2\" # x", "eap_password = [removed] # x"),
            (r#"{"psk":"hunter2","a":1}"#, r#"{"psk":[removed],"a":1}"#),
            (r#"{"psk": null}"#, r#"{"psk": null}"#),
            ("psk_file = \"/etc/postern/psk\"", "psk_file = \"/etc/postern/psk\""),
            ("the password: nobody is there to answer", "the password: nobody is there to answer"),
            ("exit_code=3 spin=4", "exit_code=3 spin=4"),
            ("Pre-Shared-Key=hunter2", "Pre-Shared-Key=[removed]"),
            ("ä=1 token=hunter2", "ä=1 token=[removed]"),
            ("-----BEGIN PRIVATE KEY-----", "[removed]"),
            (
                "postern-ems:https://ems.example#code=K7Q2&pin=sha256/AA x",
                "postern-ems:https://ems.example#code=[removed] x",
            ),
            ("a=b:c", "a=b:c"),
            ("pin=", "pin="),
        ] {
            assert_eq!(without_secrets(text), shown, "{text}");
        }
    }
}
