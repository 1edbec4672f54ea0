//! TOML texts, and errors that a person can act on.

use crate::profile::file::read_regular;
use serde::de::DeserializeOwned;
use std::fmt;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// The longest profile or settings file, in bytes.
const MAXIMUM: u64 = 1 << 20;

/// How much of a line is shown, in characters.
const SHOWN: usize = 160;

/// Why a profile or a settings file is not valid: file, line, element, what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ProfileError {
    /// The file, or the name under which the text came.
    pub file: PathBuf,
    /// The line, from 1; 0 when the file could not be read at all.
    pub line: usize,
    /// The column, in characters from 1; 0 when only the line is known.
    pub column: usize,
    /// The line's text; empty where it is not known, or may hold a secret.
    pub written: String,
    /// The element, as a dotted path; empty for the whole file.
    pub element: String,
    /// What is wrong with it.
    pub problem: String,
    /// What would have been right; empty when the problem says it all.
    pub expected: String,
}

impl ProfileError {
    /// Makes the error of a whole file.
    pub fn whole(file: &Path, problem: String, expected: &str) -> Self {
        Self {
            file: file.to_owned(),
            line: 0,
            column: 0,
            written: String::new(),
            element: String::new(),
            problem,
            expected: expected.to_owned(),
        }
    }

    /// Makes the error of one place, by its offset in the text.
    pub fn at(file: &Path, text: &str, offset: usize, element: String, problem: String, expected: &str) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        let line = text.get(start..).unwrap_or_default().lines().next().unwrap_or_default();
        let may_be_secret = ["key", "passw", "secret", "enc"].iter().any(|word| {
            let spoken_of = |text: &str| text.to_ascii_lowercase().contains(word);
            spoken_of(line) || element.rsplit('/').next().is_some_and(spoken_of)
        });
        // In TOML nothing is secret: secrets are named by the file that holds them.
        let hidden = may_be_secret && element.starts_with('/');
        Self {
            line: before.matches('\n').count() + 1,
            column: before.get(start..).map_or(0, |rest| rest.chars().count() + 1),
            written: if hidden { String::new() } else { line.chars().take(SHOWN).collect() },
            element,
            ..Self::whole(file, problem, expected)
        }
    }

    /// Returns the error over several lines: the place, the line as written with a mark under it, and
    /// what was expected.
    pub fn pointed(&self) -> String {
        let mut shown = self.file.display().to_string();
        for number in [self.line, self.column].into_iter().filter(|number| *number > 0) {
            shown += &format!(":{number}");
        }
        if !self.element.is_empty() {
            shown += &format!(": {}", self.element);
        }
        shown += &format!(": {}", self.problem);
        if !self.written.is_empty() {
            let margin = " ".repeat(self.line.to_string().len());
            let visible: String = self.written.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            shown += &format!("\n {} | {visible}", self.line);
            if self.column > 0 {
                shown += &format!("\n {margin} | {}^", " ".repeat(self.column - 1));
            }
        }
        if !self.expected.is_empty() {
            shown += &format!("\n expected: {}", self.expected);
        }
        shown
    }
}

impl fmt::Display for ProfileError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.file.display())?;
        if self.line > 0 {
            write!(formatter, ":{}", self.line)?;
        }
        if !self.element.is_empty() {
            write!(formatter, ": {}", self.element)?;
        }
        write!(formatter, ": {}", self.problem)?;
        if !self.expected.is_empty() {
            write!(formatter, "; expected {}", self.expected)?;
        }
        Ok(())
    }
}

/// What is wrong with one element, before its line is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// The element, as a dotted path.
    pub element: &'static str,
    /// What is wrong with it.
    pub problem: String,
    /// What would have been right.
    pub expected: &'static str,
}

/// A document that has rules beyond its types.
pub trait Document: DeserializeOwned {
    /// Checks what the types alone cannot.
    ///
    /// # Errors
    /// The first element that breaks a rule.
    fn check(&self) -> Result<(), Complaint>;
}

/// Reads a document from text; `file` is only named in errors.
///
/// # Errors
/// [`ProfileError`] with line and element, for syntax, types and rules alike.
pub fn parse<T: Document>(file: &Path, text: &str) -> Result<T, ProfileError> {
    let deserializer = toml::Deserializer::parse(text).map_err(|error| explain(file, text, String::new(), &error))?;
    let document: T = serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let path = match error.path().to_string() {
            whole if whole == "." => String::new(),
            path => path,
        };
        explain(file, text, path, error.inner())
    })?;
    check(document, file, text)
}

/// Applies the rules of a document that was read from `text`.
///
/// # Errors
/// [`ProfileError`] with the line of the element.
pub fn check<T: Document>(document: T, file: &Path, text: &str) -> Result<T, ProfileError> {
    match document.check() {
        Ok(()) => Ok(document),
        Err(Complaint { element, problem, expected }) => {
            Err(ProfileError::at(file, text, offset_of_element(text, element), element.into(), problem, expected))
        }
    }
}

/// Reads a document from a file.
///
/// # Errors
/// As [`parse`]; line 0 when the file cannot be read.
pub fn load<T: Document>(file: &Path) -> Result<T, ProfileError> {
    parse(file, &read(file)?)
}

/// Reads a file as text.
///
/// # Errors
/// [`ProfileError`] with line 0.
pub fn read(file: &Path) -> Result<String, ProfileError> {
    let unreadable = |problem: String| ProfileError::whole(file, problem, "a readable UTF-8 file");
    let octets = read_regular(file, MAXIMUM).map_err(|error| unreadable(error.to_string()))?;
    String::from_utf8(octets).map_err(|_| unreadable("is not UTF-8".into()))
}

fn explain(file: &Path, text: &str, element: String, error: &toml::de::Error) -> ProfileError {
    let message = error.message().trim().replace('\n', ", ");
    let (problem, expected) = match message.split_once(", expected ") {
        Some((problem, expected)) => (problem.to_owned(), expected.to_owned()),
        None => (message, String::new()),
    };
    let offset = match error.span() {
        Some(span) => span.start,
        None => offset_of_element(text, &element),
    };
    ProfileError::at(file, text, offset, element, problem, &expected)
}

/// Finds where a dotted path stands; its nearest parent when the element itself is not written.
fn offset_of_element(text: &str, element: &str) -> usize {
    let Ok(document) = DeTable::parse(text) else { return 0 };
    let mut offset = 0;
    let mut table = Some(document.get_ref());
    for key in element.split('.').filter(|key| !key.is_empty()) {
        let found = table.and_then(|table| table.iter().find(|(name, _)| name.get_ref().as_ref() == key));
        let Some((name, value)) = found else { return offset };
        offset = name.span().start;
        table = match value.get_ref() {
            DeValue::Table(inner) => Some(inner),
            _ => None,
        };
    }
    offset
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        inner: Inner,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        port: u16,
    }

    impl Document for Sample {
        fn check(&self) -> Result<(), Complaint> {
            match self.inner.port {
                0 => Err(Complaint { element: "inner.port", problem: "is 0".into(), expected: "a port from 1" }),
                _ => Ok(()),
            }
        }
    }

    fn error_of(text: &str) -> String {
        parse::<Sample>(Path::new("t.toml"), text).expect_err("the text is wrong").to_string()
    }

    #[test]
    fn a_wrong_type_names_file_line_element_and_expectation() {
        assert_eq!(
            error_of("# a comment\n[inner]\nport = \"x\"\n"),
            "t.toml:3: inner.port: invalid type: string \"x\"; expected u16"
        );
    }

    #[test]
    fn an_error_points_at_its_place() {
        let error = parse::<Sample>(Path::new("t.toml"), "[inner]\nport = \"x\"\n").unwrap_err();
        assert_eq!(
            error.pointed(),
            "t.toml:2:8: inner.port: invalid type: string \"x\"\n 2 | port = \"x\"\n   |        ^\n expected: u16"
        );
    }

    #[test]
    fn a_line_that_may_hold_a_secret_is_not_shown() {
        let text = "<a>\n<preshared_key>hunter2 & co</preshared_key>\n</a>";
        let at = text.find('&').unwrap();
        let error = ProfileError::at(Path::new("f"), text, at, "/a/preshared_key".into(), "is broken".into(), "");
        assert_eq!((error.line, error.column), (2, 24));
        assert!(!error.pointed().contains("hunter2"), "{}", error.pointed());
    }

    #[test]
    fn an_unknown_element_names_the_known_ones() {
        assert_eq!(error_of("[inner]\nprt = 1\n"), "t.toml:2: inner.prt: unknown field `prt`; expected `port`");
    }

    #[test]
    fn broken_syntax_names_the_line() {
        assert!(error_of("[inner]\nport = = 1\n").starts_with("t.toml:2: "));
    }

    #[test]
    fn a_broken_rule_names_the_line_of_its_element() {
        assert_eq!(error_of("\n[inner]\n\nport = 0\n"), "t.toml:4: inner.port: is 0; expected a port from 1");
    }
}
