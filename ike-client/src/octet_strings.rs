//! How long octet strings cross a process boundary: in hexadecimal, two letters an octet. For serde's `with`.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt::Write as _;

pub fn serialize<S: Serializer>(strings: &[Vec<u8>], serializer: S) -> Result<S::Ok, S::Error> {
    let written = |octets: &Vec<u8>| {
        octets.iter().fold(String::with_capacity(octets.len().saturating_mul(2)), |mut text, octet| {
            // Writing to a string does not fail.
            let _ = write!(text, "{octet:02x}");
            text
        })
    };
    strings.iter().map(written).collect::<Vec<_>>().serialize(serializer)
}

pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Vec<u8>>, D::Error> {
    let read = |text: String| {
        let pairs = text.as_bytes().chunks(2);
        pairs
            .map(|pair| {
                let digits = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2 && !pair.starts_with('+'));
                digits.and_then(|digits| u8::from_str_radix(digits, 16).ok())
            })
            .collect::<Option<Vec<u8>>>()
    };
    let strings = Vec::<String>::deserialize(deserializer)?;
    let strings = strings.into_iter().map(read).collect::<Option<Vec<_>>>();
    strings.ok_or_else(|| D::Error::custom("is not hexadecimal"))
}
