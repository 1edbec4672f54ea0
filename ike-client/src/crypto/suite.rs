//! Suites: one choice of transforms for an IKE SA or a CHILD SA, written as strongSwan writes it.
//!
//! `aes256gcm16-prfsha384-ecp384`, `aes256-sha256-prfsha256-modp2048` (or without the PRF, which
//! then follows the integrity transform) for IKE; `aes256gcm16-ecp384`, `aes256-sha256-esn` for
//! ESP, where a group asks for perfect forward secrecy and `noesn` is the default. Behind the group
//! `ke1_mlkem768` to `ke7_...` name additional key exchanges (RFC 9370), in both.

mod additional;

use super::transform::{Encryption, Group, Integrity, PseudoRandomFunction};
pub use additional::AdditionalExchanges;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;

/// The transforms of an IKE SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IkeSuite {
    /// How the SK payload is encrypted.
    pub encryption: Encryption,
    /// How it is authenticated; absent exactly when the encryption does that itself.
    pub integrity: Option<Integrity>,
    /// What keys are derived with.
    pub prf: PseudoRandomFunction,
    /// How the secret is agreed upon.
    pub group: Group,
    /// What is agreed upon beside it, after IKE_SA_INIT (RFC 9370).
    pub additional: AdditionalExchanges,
}

/// The transforms of a CHILD SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EspSuite {
    /// How packets are encrypted.
    pub encryption: Encryption,
    /// How they are authenticated; absent exactly when the encryption does that itself.
    pub integrity: Option<Integrity>,
    /// The group of a fresh key exchange (PFS); absent when keys come from SK_d alone.
    pub group: Option<Group>,
    /// The key exchanges that follow it (RFC 9370); none without a group.
    pub additional: AdditionalExchanges,
    /// Whether sequence numbers have 64 bits (RFC 4303 §2.2.1).
    pub esn: bool,
}

/// A proposal string that names no suite.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseSuiteError {
    /// The string has a word that is no transform Postern speaks.
    #[error("`{word}` is not a transform known here")]
    UnknownTransform {
        /// The word.
        word: String,
    },
    /// The string names two transforms of a kind of which a suite has one.
    #[error("`{word}` is the second {kind} in one proposal")]
    Repeated {
        /// The word that came second.
        word: String,
        /// The kind of transform.
        kind: &'static str,
    },
    /// The string lacks a transform.
    #[error("the proposal names no {kind}")]
    Missing {
        /// The kind of transform.
        kind: &'static str,
    },
    /// An integrity transform stands beside an encryption that authenticates by itself.
    #[error("{encryption} authenticates by itself and takes no integrity transform")]
    IntegrityBesideAead {
        /// The name of the encryption.
        encryption: &'static str,
    },
    /// The key exchange is not to be relied upon alone.
    #[error("`{word}` stands only beside another key exchange, as `ke1_{word}`")]
    NotAlone {
        /// The word.
        word: String,
    },
    /// The transform has no place in this kind of suite.
    #[error("`{word}` has no place in {suite} proposal")]
    Misplaced {
        /// The word.
        word: String,
        /// The kind of suite, with its article.
        suite: &'static str,
    },
}

/// One word of a proposal string.
enum Word {
    Encryption(Encryption),
    Integrity(Integrity),
    Prf(PseudoRandomFunction),
    Group(Group),
    Additional(u8, Group),
    Esn(bool),
}

impl Word {
    fn read(word: &str) -> Result<Self, ParseSuiteError> {
        let lower = word.to_ascii_lowercase();
        let name = lower.as_str();
        let esn = || match name {
            "esn" => Some(Self::Esn(true)),
            "noesn" => Some(Self::Esn(false)),
            _ => None,
        };
        let additional = || {
            let (place, group) = name.strip_prefix("ke")?.split_once('_')?;
            Some(Self::Additional(place.parse().ok()?, Group::named(group)?))
        };
        if let Some(group) = Group::named(name) {
            if group.is_post_quantum() {
                return Err(ParseSuiteError::NotAlone { word: word.to_owned() });
            }
            return Ok(Self::Group(group));
        }
        let encryption = Encryption::named(name).map(Self::Encryption);
        encryption
            .or_else(|| Integrity::named(name).map(Self::Integrity))
            .or_else(|| PseudoRandomFunction::named(name).map(Self::Prf))
            .or_else(additional)
            .or_else(esn)
            .ok_or_else(|| ParseSuiteError::UnknownTransform { word: word.to_owned() })
    }
}

fn place<T>(slot: &mut Option<T>, value: T, word: &str, kind: &'static str) -> Result<(), ParseSuiteError> {
    if slot.replace(value).is_some() {
        return Err(ParseSuiteError::Repeated { word: word.to_owned(), kind });
    }
    Ok(())
}

/// Checks that exactly one of the two authenticates.
fn authenticated(encryption: Encryption, integrity: Option<Integrity>) -> Result<(), ParseSuiteError> {
    match (encryption.is_aead(), integrity) {
        (true, Some(_)) => Err(ParseSuiteError::IntegrityBesideAead { encryption: encryption.name() }),
        (false, None) => Err(ParseSuiteError::Missing { kind: "integrity transform" }),
        _ => Ok(()),
    }
}

impl IkeSuite {
    /// Returns whether a part of it is one that nobody should choose who has a choice.
    pub fn is_weak(&self) -> bool {
        self.encryption.is_weak()
            || self.integrity.is_some_and(Integrity::is_weak)
            || self.prf.is_weak()
            || self.group.is_weak()
    }
}

impl EspSuite {
    /// Returns whether a part of it is one that nobody should choose who has a choice.
    pub fn is_weak(&self) -> bool {
        self.encryption.is_weak()
            || self.integrity.is_some_and(Integrity::is_weak)
            || self.group.is_some_and(Group::is_weak)
    }

    /// Returns the suite without its key exchanges.
    #[must_use]
    pub const fn without_groups(self) -> Self {
        Self { group: None, additional: AdditionalExchanges::NONE, ..self }
    }
}

impl FromStr for IkeSuite {
    type Err = ParseSuiteError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (mut encryption, mut integrity, mut prf, mut group) = (None, None, None, None);
        let mut additional = AdditionalExchanges::NONE;
        for word in text.trim().split('-') {
            match Word::read(word)? {
                Word::Encryption(row) if row.has_implicit_iv() => {
                    return Err(ParseSuiteError::Misplaced { word: word.to_owned(), suite: "an IKE" });
                }
                Word::Encryption(row) => place(&mut encryption, row, word, "encryption")?,
                Word::Integrity(row) => place(&mut integrity, row, word, "integrity transform")?,
                Word::Prf(row) => place(&mut prf, row, word, "pseudo-random function")?,
                Word::Group(row) => place(&mut group, row, word, "key exchange group")?,
                Word::Additional(number, row) => additional.place(number, row, word)?,
                Word::Esn(_) => return Err(ParseSuiteError::Misplaced { word: word.to_owned(), suite: "an IKE" }),
            }
        }
        let encryption = encryption.ok_or(ParseSuiteError::Missing { kind: "encryption" })?;
        authenticated(encryption, integrity)?;
        let prf = prf
            .or(integrity.map(PseudoRandomFunction::matching))
            .ok_or(ParseSuiteError::Missing { kind: "pseudo-random function" })?;
        let group = group.ok_or(ParseSuiteError::Missing { kind: "key exchange group" })?;
        additional.beside(group)?;
        Ok(Self { encryption, integrity, prf, group, additional })
    }
}

impl fmt::Display for IkeSuite {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.encryption.name())?;
        if let Some(integrity) = self.integrity {
            write!(formatter, "-{}", integrity.name())?;
        }
        write!(formatter, "-{}-{}{}", self.prf.name(), self.group.name(), self.additional)
    }
}

impl FromStr for EspSuite {
    type Err = ParseSuiteError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (mut encryption, mut integrity, mut group, mut esn) = (None, None, None, None);
        let mut additional = AdditionalExchanges::NONE;
        for word in text.trim().split('-') {
            match Word::read(word)? {
                Word::Encryption(row) => place(&mut encryption, row, word, "encryption")?,
                Word::Integrity(row) => place(&mut integrity, row, word, "integrity transform")?,
                Word::Group(row) => place(&mut group, row, word, "key exchange group")?,
                Word::Additional(number, row) => additional.place(number, row, word)?,
                Word::Esn(row) => place(&mut esn, row, word, "choice of sequence numbers")?,
                Word::Prf(_) => return Err(ParseSuiteError::Misplaced { word: word.to_owned(), suite: "an ESP" }),
            }
        }
        let encryption = encryption.ok_or(ParseSuiteError::Missing { kind: "encryption" })?;
        authenticated(encryption, integrity)?;
        match group {
            Some(group) => additional.beside(group)?,
            None if additional.is_empty() => {}
            None => return Err(ParseSuiteError::Missing { kind: "key exchange group" }),
        }
        Ok(Self { encryption, integrity, group, additional, esn: esn.unwrap_or(false) })
    }
}

impl fmt::Display for EspSuite {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.encryption.name())?;
        if let Some(integrity) = self.integrity {
            write!(formatter, "-{}", integrity.name())?;
        }
        if let Some(group) = self.group {
            write!(formatter, "-{}{}", group.name(), self.additional)?;
        }
        formatter.write_str(if self.esn { "-esn" } else { "-noesn" })
    }
}

/// Writes and reads a suite as its proposal string.
macro_rules! serde_as_text {
    ($($suite:ty),*) => {$(
        impl Serialize for $suite {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $suite {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    )*};
}
serde_as_text!(IkeSuite, EspSuite);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_reading_and_writing() {
        for name in [
            "aes256gcm16-prfsha384-ecp384",
            "aes256-sha256-prfsha256-modp2048",
            "chacha20poly1305-prfsha256-x25519",
            "aes192ctr-aesxcbc-prfaesxcbc-modp8192",
            "aes128gcm8-prfaescmac-ecp521",
            "aes256-sha1-prfsha1-modp1024",
            "aes256gcm16-prfsha384-ecp384-ke1_mlkem768",
            "aes256gcm12-prfsha512-x25519-ke1_mlkem1024-ke3_ecp521",
        ] {
            assert_eq!(name.parse::<IkeSuite>().unwrap().to_string(), name);
        }
        for name in [
            "aes256gcm16-ecp384-noesn",
            "aes128-sha512-esn",
            "chacha20poly1305-noesn",
            "aes256gcm16iiv-ecp384-esn",
            "aes256ctr-aescmac-modp1536-noesn",
            "aes256gcm16-x25519-ke1_mlkem512-noesn",
        ] {
            assert_eq!(name.parse::<EspSuite>().unwrap().to_string(), name);
        }
    }

    #[test]
    fn other_names_of_a_transform_are_read_too() {
        let read = |name: &str| name.parse::<IkeSuite>().unwrap().to_string();
        assert_eq!(read("AES256GCM128-prfsha256-curve25519"), "aes256gcm16-prfsha256-x25519");
        assert_eq!(read("aes128gcm64-prfsha1-modp1536"), "aes128gcm8-prfsha1-modp1536");
        assert_eq!(read("aes128-sha2_256-modp2048"), "aes128-sha256-prfsha256-modp2048");
    }

    #[test]
    fn what_is_weak_says_so() {
        for name in
            ["aes256-sha256-modp1024", "aes256-sha256-modp1536", "aes256-sha1-ecp256", "aes256gcm8-prfsha256-ecp256"]
        {
            assert!(name.parse::<IkeSuite>().unwrap().is_weak(), "{name}");
        }
        assert!("aes256gcm16-modp1024".parse::<EspSuite>().unwrap().is_weak());
        assert!(!"aes256ctr-aesxcbc-modp2048".parse::<IkeSuite>().unwrap().is_weak());
    }

    #[test]
    fn additional_exchanges_stand_behind_a_group_each_method_once() {
        let ike = |name: &str| name.parse::<IkeSuite>().unwrap_err();
        assert!(matches!(ike("aes256gcm16-prfsha384-mlkem768"), ParseSuiteError::NotAlone { .. }));
        assert!(matches!(ike("aes256gcm16-prfsha384-ecp384-ke8_mlkem768"), ParseSuiteError::UnknownTransform { .. }));
        assert!(matches!(ike("aes256gcm16-prfsha384-ecp384-ke0_mlkem768"), ParseSuiteError::UnknownTransform { .. }));
        let twice =
            ["aes256gcm16-prfsha384-ecp384-ke1_ecp384", "aes256gcm16-prfsha384-ecp384-ke1_mlkem768-ke2_mlkem768"];
        for name in twice.into_iter().chain(["aes256gcm16-prfsha384-ecp384-ke1_mlkem768-ke1_mlkem512"]) {
            assert!(matches!(ike(name), ParseSuiteError::Repeated { .. }), "{name}");
        }
        assert_eq!(
            "aes256gcm16-ke1_mlkem768".parse::<EspSuite>(),
            Err(ParseSuiteError::Missing { kind: "key exchange group" })
        );
    }

    #[test]
    fn an_implicit_iv_is_for_esp_alone() {
        assert!(matches!(
            "aes256gcm16iiv-prfsha384-ecp384".parse::<IkeSuite>(),
            Err(ParseSuiteError::Misplaced { .. })
        ));
    }

    #[test]
    fn the_prf_follows_the_integrity_transform_when_it_is_not_named() {
        let suite: IkeSuite = "aes128-sha256-modp2048".parse().unwrap();
        assert_eq!(suite.prf, PseudoRandomFunction::HmacSha256);
        assert_eq!(
            "aes128gcm16-ecp256".parse::<IkeSuite>(),
            Err(ParseSuiteError::Missing { kind: "pseudo-random function" })
        );
    }

    #[test]
    fn what_authenticates_twice_or_not_at_all_is_refused() {
        assert!(matches!("aes256gcm16-sha256".parse::<EspSuite>(), Err(ParseSuiteError::IntegrityBesideAead { .. })));
        assert_eq!("aes256".parse::<EspSuite>(), Err(ParseSuiteError::Missing { kind: "integrity transform" }));
        assert!(matches!("aes256-md5-modp1024".parse::<IkeSuite>(), Err(ParseSuiteError::UnknownTransform { .. })));
        assert!(matches!("aes256-aes128-sha256".parse::<EspSuite>(), Err(ParseSuiteError::Repeated { .. })));
    }

    #[test]
    fn suites_are_strings_in_json() {
        let suite: EspSuite = serde_json::from_str("\"aes256gcm16\"").unwrap();
        assert_eq!(serde_json::to_string(&suite).unwrap(), "\"aes256gcm16-noesn\"");
    }
}
