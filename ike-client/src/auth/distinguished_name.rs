//! X.500 distinguished names: kept as DER, compared attribute by attribute, written and read as text.

use super::der::element;
use serde::{Deserialize, Serialize};
use x509_parser::prelude::FromDer;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// The most bytes a distinguished name may have here; real ones have a few hundred.
pub const MAX_LENGTH: usize = 4096;

/// A distinguished name in DER (an RFC 5280 `Name`), well-formed by construction.
///
/// Two names are [equivalent](Self::matches) when their attributes have the same types and texts in
/// the same order, whatever ASN.1 string type each side chose for a text.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct DistinguishedName(Vec<u8>);

/// A distinguished name cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DistinguishedNameError {
    /// The bytes are not a DER `Name`.
    #[error("not a distinguished name in DER")]
    Malformed,
    /// The name is longer than [`MAX_LENGTH`], or empty.
    #[error("a distinguished name of {0} bytes")]
    Length(usize),
    /// A part of the text is not `TYPE=value`.
    #[error("'{0}' is not of the form TYPE=value")]
    NotAnAttribute(String),
    /// The attribute's type has no number here.
    #[error("unknown attribute type '{0}' in a distinguished name")]
    UnknownType(String),
}

/// Attribute types by the names used in text, with the content octets of their object identifiers
/// (RFC 4519, RFC 4524; `E` is PKCS#9's emailAddress).
const TYPES: &[(&str, &[u8])] = &[
    ("CN", &[0x55, 4, 3]),
    ("SN", &[0x55, 4, 4]),
    ("SERIALNUMBER", &[0x55, 4, 5]),
    ("C", &[0x55, 4, 6]),
    ("L", &[0x55, 4, 7]),
    ("ST", &[0x55, 4, 8]),
    ("STREET", &[0x55, 4, 9]),
    ("O", &[0x55, 4, 10]),
    ("OU", &[0x55, 4, 11]),
    ("T", &[0x55, 4, 12]),
    ("GN", &[0x55, 4, 42]),
    ("UID", &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1]),
    ("DC", &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25]),
    ("E", &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1]),
    ("EMAILADDRESS", &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1]),
];

impl DistinguishedName {
    /// Takes over a DER `Name` after checking that it is one, whole and without trailing bytes.
    ///
    /// # Errors
    /// [`DistinguishedNameError::Length`] and [`DistinguishedNameError::Malformed`].
    pub fn from_der(der: &[u8]) -> Result<Self, DistinguishedNameError> {
        if der.is_empty() || der.len() > MAX_LENGTH {
            return Err(DistinguishedNameError::Length(der.len()));
        }
        match X509Name::from_der(der) {
            Ok(([], _)) => Ok(Self(der.to_vec())),
            _ => Err(DistinguishedNameError::Malformed),
        }
    }

    /// Reads the text form `C=CH, O=Example, CN=gateway`; a comma inside a value is written `\,`.
    ///
    /// # Errors
    /// See [`DistinguishedNameError`]; the message names the part that is wrong.
    pub fn from_text(text: &str) -> Result<Self, DistinguishedNameError> {
        let mut names = Vec::new();
        for part in split_attributes(text) {
            let (name, value) =
                part.split_once('=').ok_or_else(|| DistinguishedNameError::NotAnAttribute(part.clone()))?;
            let (name, value) = (name.trim(), value.trim());
            let oid = TYPES
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(name))
                .map(|(_, oid)| *oid)
                .ok_or_else(|| DistinguishedNameError::UnknownType(name.to_owned()))?;
            let mut attribute = element(0x06, oid);
            attribute.extend(element(string_tag(oid, value), value.as_bytes()));
            names.extend(element(0x31, &element(0x30, &attribute)));
        }
        Self::from_der(&element(0x30, &names))
    }

    /// Returns the DER bytes.
    pub fn as_der(&self) -> &[u8] {
        &self.0
    }

    /// Returns true when both name the same entity: attribute types and texts are equal, in order.
    pub fn matches(&self, other: &Self) -> bool {
        if self.0 == other.0 {
            return true;
        }
        let (Ok((_, ours)), Ok((_, theirs))) = (X509Name::from_der(&self.0), X509Name::from_der(&other.0)) else {
            return false;
        };
        let mut ours = ours.iter_rdn();
        let mut theirs = theirs.iter_rdn();
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) => return true,
                (Some(mine), Some(yours)) => {
                    let equal = mine.iter().count() == yours.iter().count()
                        && mine.iter().zip(yours.iter()).all(|(a, b)| same_attribute(a, b));
                    if !equal {
                        return false;
                    }
                }
                _ => return false,
            }
        }
    }
}

/// Compares the text where both are text, and tag and bytes where they are not.
fn same_attribute(a: &AttributeTypeAndValue<'_>, b: &AttributeTypeAndValue<'_>) -> bool {
    a.attr_type() == b.attr_type()
        && match (a.as_str(), b.as_str()) {
            (Ok(mine), Ok(yours)) => mine == yours,
            _ => a.attr_value() == b.attr_value(),
        }
}

/// Splits at commas; a backslash takes the next character literally.
fn split_attributes(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => push(&mut parts, characters.next().unwrap_or('\\')),
            ',' => parts.push(String::new()),
            other => push(&mut parts, other),
        }
    }
    parts
}

fn push(parts: &mut [String], character: char) {
    if let Some(last) = parts.last_mut() {
        last.push(character);
    }
}

/// countryName and serialNumber are PrintableString by definition, mail and domain components
/// IA5String; for the rest RFC 5280 §4.1.2.4 asks for UTF8String.
fn string_tag(oid: &[u8], value: &str) -> u8 {
    match oid {
        [0x55, 4, 5 | 6] if value.is_ascii() => 0x13,
        [0x2a, .., 9, 1] | [0x09, .., 1, 25] if value.is_ascii() => 0x16,
        _ => 0x0c,
    }
}

impl std::fmt::Display for DistinguishedName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Ok((_, name)) = X509Name::from_der(&self.0) else { return Err(std::fmt::Error) };
        for (index, attribute) in name.iter_attributes().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            let oid = attribute.attr_type().as_bytes();
            match TYPES.iter().find(|(_, known)| *known == oid) {
                Some((short, _)) => f.write_str(short)?,
                None => write!(f, "{}", attribute.attr_type())?,
            }
            match attribute.as_str() {
                Ok(text) => write!(f, "={}", escape(text))?,
                Err(_) => f.write_str("=(not text)")?,
            }
        }
        Ok(())
    }
}

/// Makes a value readable by [`DistinguishedName::from_text`], and harmless to a terminal: what cannot be seen or
/// turns the writing direction is spelled out.
fn escape(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        match character {
            ',' | '\\' => out.extend(['\\', character]),
            '\'' | '"' => out.push(character),
            other => out.extend(other.escape_debug()),
        }
    }
    out
}

impl std::fmt::Debug for DistinguishedName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DistinguishedName({self})")
    }
}

impl TryFrom<Vec<u8>> for DistinguishedName {
    type Error = DistinguishedNameError;

    fn try_from(der: Vec<u8>) -> Result<Self, Self::Error> {
        Self::from_der(&der)
    }
}

impl From<DistinguishedName> for Vec<u8> {
    fn from(name: DistinguishedName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> DistinguishedName {
        DistinguishedName::from_text(text).unwrap()
    }

    #[test]
    fn text_and_der_name_the_same_thing() {
        let text = "C=CH, O=Example\\, Inc., CN=gateway.example.com";
        assert_eq!(name(text).to_string(), text);
        assert_eq!(DistinguishedName::from_der(name(text).as_der()).unwrap(), name(text));
    }

    #[test]
    fn the_string_type_does_not_matter_but_text_order_and_type_do() {
        let utf8 = name("O=Example, CN=moon");
        let mut printable = utf8.as_der().to_vec();
        for byte in &mut printable {
            if *byte == 0x0c {
                *byte = 0x13;
            }
        }
        let printable = DistinguishedName::from_der(&printable).unwrap();
        assert_ne!(utf8, printable);
        assert!(utf8.matches(&printable));
        assert!(!utf8.matches(&name("CN=moon, O=Example")));
        assert!(!utf8.matches(&name("O=Example, CN=sun")));
        assert!(!utf8.matches(&name("O=Example, CN=Moon")));
        assert!(!utf8.matches(&name("O=Example")));
        assert!(!utf8.matches(&name("O=Example, OU=moon")));
    }

    #[test]
    fn what_is_not_a_name_is_refused_with_the_part_that_is_wrong() {
        use DistinguishedNameError as E;
        assert_eq!(DistinguishedName::from_text("moon"), Err(E::NotAnAttribute("moon".into())));
        assert_eq!(DistinguishedName::from_text("XX=moon"), Err(E::UnknownType("XX".into())));
        assert_eq!(DistinguishedName::from_der(&[]), Err(E::Length(0)));
        assert_eq!(DistinguishedName::from_der(&[0x30, 5, 1]), Err(E::Malformed));
        let mut trailing = name("CN=a").as_der().to_vec();
        trailing.push(0);
        assert_eq!(DistinguishedName::from_der(&trailing), Err(E::Malformed));
        assert_eq!(DistinguishedName::from_der(&[0x30; MAX_LENGTH + 1]), Err(E::Length(MAX_LENGTH + 1)));
    }

    #[test]
    fn nothing_in_a_name_reaches_a_terminal_unseen() {
        let hostile = name("CN=\u{1b}[2Jgood\u{202e}live\u{7}");
        assert_eq!(hostile.to_string(), "CN=\\u{1b}[2Jgood\\u{202e}live\\u{7}");
        assert_eq!(name("CN=O'Neill \"x\"").to_string(), "CN=O'Neill \"x\"");
    }

    #[test]
    fn a_long_value_has_a_long_form_length() {
        let long = "x".repeat(300);
        assert_eq!(name(&format!("CN={long}")).to_string(), format!("CN={long}"));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(der in proptest::collection::vec(proptest::num::u8::ANY, 0..80)) {
            if let Ok(name) = DistinguishedName::from_der(&der) {
                assert!(name.matches(&name));
                let _ = name.to_string();
            }
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "[ -~]{0,60}") {
            let _ = DistinguishedName::from_text(&text);
        }
    }
}
