//! Patterns of texts: simple, with wildcards, or regular expressions; never with regard to case.

use super::parameter::{ParameterInvalid, Text};
use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How much memory a regular expression may take when it is compiled.
const EXPRESSION_LIMIT: usize = 1 << 20;

/// How a pattern is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PatternKind {
    /// The whole text.
    #[default]
    Simple,
    /// The whole text, where `*` stands for any characters and `?` for one.
    Wildcard,
    /// A regular expression that is found in the text; its time is linear in the text's length.
    Regex,
}

/// A pattern.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Pattern {
    kind: PatternKind,
    text: Text,
    expression: Option<Regex>,
}

/// A pattern as it is written: a text alone is simple.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Plain(Text),
    Full {
        #[serde(rename = "match", default)]
        kind: PatternKind,
        text: Text,
    },
}

impl Pattern {
    /// Makes a pattern.
    pub fn new(kind: PatternKind, text: Text) -> Result<Self, ParameterInvalid> {
        let expression = match kind {
            PatternKind::Regex => {
                let mut builder = RegexBuilder::new(&text);
                builder.case_insensitive(true).size_limit(EXPRESSION_LIMIT).dfa_size_limit(EXPRESSION_LIMIT);
                Some(builder.build().map_err(|error| ParameterInvalid::Expression(error.to_string()))?)
            }
            PatternKind::Simple | PatternKind::Wildcard => None,
        };
        Ok(Self { kind, text, expression })
    }

    /// Says whether `text` fits the pattern.
    pub fn fits(&self, text: &str) -> bool {
        match (&self.expression, self.kind) {
            (Some(expression), _) => expression.is_match(text),
            (None, PatternKind::Wildcard) => {
                let folded = |text: &str| text.to_lowercase().chars().collect::<Vec<char>>();
                fits_wildcard(&folded(&self.text), &folded(text))
            }
            (None, _) => self.text.to_lowercase() == text.to_lowercase(),
        }
    }
}

/// Compares without going back further than to the last `*`.
fn fits_wildcard(pattern: &[char], text: &[char]) -> bool {
    let (mut at, mut place) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while place < text.len() {
        match (pattern.get(at), text.get(place)) {
            (Some('*'), _) => {
                star = Some((at, place));
                at += 1;
            }
            (Some(wanted), Some(found)) if *wanted == '?' || wanted == found => {
                at += 1;
                place += 1;
            }
            _ => match star {
                Some((star_at, taken)) => {
                    star = Some((star_at, taken + 1));
                    at = star_at + 1;
                    place = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(at).all(|rest| *rest == '*')
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        (self.kind, &self.text) == (other.kind, &other.text)
    }
}

impl TryFrom<Written> for Pattern {
    type Error = ParameterInvalid;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        match written {
            Written::Plain(text) => Self::new(PatternKind::Simple, text),
            Written::Full { kind, text } => Self::new(kind, text),
        }
    }
}

impl From<Pattern> for Written {
    fn from(pattern: Pattern) -> Self {
        match pattern.kind {
            PatternKind::Simple => Self::Plain(pattern.text),
            kind => Self::Full { kind, text: pattern.text },
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            PatternKind::Simple => write!(formatter, "\"{}\"", self.text),
            PatternKind::Wildcard => write!(formatter, "like \"{}\"", self.text),
            PatternKind::Regex => write!(formatter, "by the expression {}", self.text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fits(json: &str, text: &str) -> bool {
        serde_json::from_str::<Pattern>(json).unwrap().fits(text)
    }

    #[test]
    fn patterns_disregard_case() {
        assert!(fits(r#""Corp CA""#, "corp ca") && !fits(r#""Corp CA""#, "Corp CA 2"));
        assert!(fits(r#"{"match":"wildcard","text":"*.Example.com"}"#, "pc7.example.COM"));
        assert!(fits(r#"{"match":"regex","text":"^PC[0-9]+$"}"#, "pc42"));
        assert!(!fits(r#"{"match":"regex","text":"^PC[0-9]+$"}"#, "xpc42"));
    }

    #[test]
    fn wildcards_stand_for_any_and_for_one() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("**a", "bca", true),
            ("?*", "", false),
        ] {
            let json = format!(r#"{{"match":"wildcard","text":"{pattern}"}}"#);
            assert_eq!(fits(&json, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for json in [r#""""#, r#"{"match":"regex","text":"("}"#, r#"{"match":"glob","text":"a"}"#] {
            assert!(serde_json::from_str::<Pattern>(json).is_err(), "{json}");
        }
        let huge = r#"{"match":"regex","text":"(a{1000}){1000}"}"#;
        assert!(serde_json::from_str::<Pattern>(huge).is_err(), "its size is bounded");
    }

    proptest! {
        #[test]
        fn wildcards_mean_what_the_expression_means(pattern in "[ab*?]{1,8}", text in "[ab]{0,10}") {
            let expression = pattern.replace('*', ".*").replace('?', ".");
            let wildcard = Pattern::new(PatternKind::Wildcard, Text::try_from(pattern).unwrap()).unwrap();
            let regex = Regex::new(&format!("^{expression}$")).unwrap();
            prop_assert_eq!(wildcard.fits(&text), regex.is_match(&text));
        }
    }
}
