//! Text from outside: an administrator's warning, a gateway's banner, a package's name.
//!
//! Such text is shown and never obeyed. [`PlainText`] keeps it as it came (bounded in length),
//! and each medium asks for the form that is safe there: [`PlainText::for_terminal`] for a
//! terminal, [`PlainText::for_markup`] for a notification service that renders markup.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The longest text that is kept, in characters; what is longer is cut and marked with `…`.
pub const MAXIMUM_CHARACTERS: usize = 2_000;

/// Text whose author is not the person who reads it and not this program.
///
/// `Display` gives the terminal form, so that printing one by accident is harmless.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct PlainText(String);

impl PlainText {
    /// Takes text as it came, cut at [`MAXIMUM_CHARACTERS`].
    pub fn new(text: impl Into<String>) -> Self {
        let mut text = text.into();
        if let Some((end, _)) = text.char_indices().nth(MAXIMUM_CHARACTERS) {
            text.truncate(end);
            text.push('…');
        }
        Self(text)
    }

    /// Returns the text exactly as it was received: for comparison and transport, not for display.
    pub fn as_received(&self) -> &str {
        &self.0
    }

    /// Tells whether nothing but white space is in it.
    pub fn is_blank(&self) -> bool {
        self.0.trim().is_empty()
    }

    /// Returns the text for a terminal: line feeds and tabs stay, every other control character
    /// and every bidirectional or invisible formatting character is shown as `\u{..}`.
    pub fn for_terminal(&self) -> String {
        let mut shown = String::with_capacity(self.0.len());
        for character in self.0.chars() {
            if is_obeyed_by_displays(character) {
                shown.extend(character.escape_unicode());
            } else {
                shown.push(character);
            }
        }
        shown
    }

    /// Returns the text on one line for a terminal: as [`Self::for_terminal`], with line feeds
    /// and tabs shown as escapes too.
    pub fn for_one_line(&self) -> String {
        self.for_terminal().replace('\n', "\\n").replace('\t', "\\t")
    }

    /// Returns the text for a medium that renders HTML-like markup: as [`Self::for_terminal`],
    /// with `&`, `<`, `>` and quotes as entities.
    pub fn for_markup(&self) -> String {
        let mut shown = String::with_capacity(self.0.len());
        for character in self.for_terminal().chars() {
            match character {
                '&' => shown.push_str("&amp;"),
                '<' => shown.push_str("&lt;"),
                '>' => shown.push_str("&gt;"),
                '"' => shown.push_str("&quot;"),
                '\'' => shown.push_str("&#39;"),
                other => shown.push(other),
            }
        }
        shown
    }
}

/// Tells whether a display may act on the character instead of showing it: controls other than
/// line feed and tab, bidirectional controls, zero-width and other invisible formatting
/// characters, line and paragraph separators, and tag characters (Unicode general category Cf
/// and the separators Zl, Zp, as far as displays act on them).
fn is_obeyed_by_displays(character: char) -> bool {
    match character {
        '\n' | '\t' => false,
        other if other.is_control() => true,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}' => true,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => true,
        '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => true,
        _ => false,
    }
}

/// Returns JSON that means the same and in which nothing is obeyed by a display: what `for_terminal`
/// would show stands as `\uXXXX`.
pub fn json_for_terminal(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for character in json.chars() {
        if (character.is_ascii() && character != '\u{7f}') || !is_obeyed_by_displays(character) {
            shown.push(character);
        } else {
            let mut units = [0; 2];
            character.encode_utf16(&mut units).iter().for_each(|unit| shown.push_str(&format!("\\u{unit:04x}")));
        }
    }
    shown
}

impl fmt::Display for PlainText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.for_terminal())
    }
}

impl fmt::Debug for PlainText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PlainText({:?})", self.for_terminal())
    }
}

impl<'de> Deserialize<'de> for PlainText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

impl From<&str> for PlainText {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for PlainText {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_text_is_shown_verbatim() {
        let text = "Zugang gesperrt – bitte IT anrufen.\n\tTel. 4711";
        assert_eq!(PlainText::new(text).for_terminal(), text);
    }

    #[test]
    fn escapes_and_direction_changes_are_shown_and_not_obeyed() {
        let text = PlainText::new("a\u{1b}[2Jb\u{202e}c\u{200b}d\re");
        assert_eq!(text.to_string(), "a\\u{1b}[2Jb\\u{202e}c\\u{200b}d\\u{d}e");
    }

    #[test]
    fn json_says_the_same_and_nothing_in_it_is_obeyed() {
        let text = "a\u{202e}b\u{e0001}c\u{1b}ä";
        let json = json_for_terminal(&serde_json::to_string(text).unwrap());
        assert_eq!(json, "\"a\\u202eb\\udb40\\udc01c\\u001bä\"");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }

    #[test]
    fn markup_is_shown_and_not_rendered() {
        assert_eq!(
            PlainText::new("<b>\"x\" & 'y'</b>").for_markup(),
            "&lt;b&gt;&quot;x&quot; &amp; &#39;y&#39;&lt;/b&gt;"
        );
    }

    #[test]
    fn a_text_without_end_is_cut_between_characters() {
        let text = PlainText::new("ü".repeat(MAXIMUM_CHARACTERS + 5));
        assert_eq!(text.as_received().chars().count(), MAXIMUM_CHARACTERS + 1);
        assert!(text.as_received().ends_with('…'));
    }

    #[test]
    fn the_length_bound_holds_for_json_too() {
        let json = serde_json::to_string(&"x".repeat(MAXIMUM_CHARACTERS * 2)).unwrap();
        let text: PlainText = serde_json::from_str(&json).unwrap();
        assert_eq!(text.as_received().chars().count(), MAXIMUM_CHARACTERS + 1);
    }
}
