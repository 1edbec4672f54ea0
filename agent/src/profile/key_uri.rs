//! Which key in which token: `pkcs11:` (RFC 7512).
//!
//! What says where the key is counts. What would name code to load (`module-path`, `module-name`) or hold a PIN
//! (`pin-value`, `pin-source`) is refused: an administrator names the module, and a person is asked for the PIN.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A key's place. What is not named may be anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyUri {
    text: String,
    /// The token's label.
    pub token: Option<String>,
    /// The token's serial number.
    pub serial: Option<String>,
    /// The token's manufacturer.
    pub manufacturer: Option<String>,
    /// The token's model.
    pub model: Option<String>,
    /// The key's label.
    pub object: Option<String>,
    /// The key's id.
    pub id: Option<Vec<u8>>,
}

/// A text is no place of a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyUriError {
    /// It does not begin with `pkcs11:`.
    #[error("does not begin with `pkcs11:`")]
    Scheme,
    /// An attribute cannot be read.
    #[error("`{0}` cannot be read")]
    Malformed(String),
    /// An attribute comes twice.
    #[error("`{0}` comes twice")]
    Twice(String),
    /// An attribute that has no place here.
    #[error("`{0}` is not for a profile: an administrator names the module, and the PIN is asked for")]
    NotHere(String),
    /// An attribute that is not known.
    #[error("`{0}` is not known")]
    Unknown(String),
    /// It names neither object nor id.
    #[error("names no key: `object` or `id` is missing")]
    NoKey,
    /// It is about something else than a private key.
    #[error("`type` is not `private`")]
    OtherType,
}

impl FromStr for KeyUri {
    type Err = KeyUriError;

    fn from_str(text: &str) -> Result<Self, KeyUriError> {
        let rest = text.strip_prefix("pkcs11:").ok_or(KeyUriError::Scheme)?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        if let Some(attribute) = query.split('&').find(|attribute| !attribute.is_empty()) {
            let name = attribute.split('=').next().unwrap_or_default();
            return Err(KeyUriError::NotHere(name.to_owned()));
        }
        let mut uri = Self { text: text.to_owned(), ..Self::default() };
        for attribute in path.split(';').filter(|attribute| !attribute.is_empty()) {
            let malformed = || KeyUriError::Malformed(attribute.to_owned());
            let (name, value) = attribute.split_once('=').ok_or_else(malformed)?;
            let octets = decoded(value).ok_or_else(malformed)?;
            let field = match name {
                "token" => &mut uri.token,
                "serial" => &mut uri.serial,
                "manufacturer" => &mut uri.manufacturer,
                "model" => &mut uri.model,
                "object" => &mut uri.object,
                "id" if uri.id.is_some() => return Err(KeyUriError::Twice(name.to_owned())),
                "id" => {
                    uri.id = Some(octets);
                    continue;
                }
                "type" if octets == b"private" => continue,
                "type" => return Err(KeyUriError::OtherType),
                other => return Err(KeyUriError::Unknown(other.to_owned())),
            };
            if field.is_some() {
                return Err(KeyUriError::Twice(name.to_owned()));
            }
            *field = Some(String::from_utf8(octets).map_err(|_| malformed())?);
        }
        if uri.object.is_none() && uri.id.is_none() {
            return Err(KeyUriError::NoKey);
        }
        Ok(uri)
    }
}

impl fmt::Display for KeyUri {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// Undoes percent-encoding (RFC 3986, section 2.1).
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::new();
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        match octet {
            b'%' => {
                let digit = |octet: Option<u8>| char::from(octet?).to_digit(16);
                let [high, low] = [digit(rest.next())?, digit(rest.next())?];
                octets.push(u8::try_from(high * 16 + low).ok()?);
            }
            octet if octet.is_ascii_graphic() => octets.push(octet),
            _ => return None,
        }
    }
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_named_by_its_token_and_its_label_or_id() {
        let uri: KeyUri = "pkcs11:token=My%20Card;object=alice;type=private".parse().unwrap();
        assert_eq!((uri.token.as_deref(), uri.object.as_deref()), (Some("My Card"), Some("alice")));
        assert_eq!(uri.to_string(), "pkcs11:token=My%20Card;object=alice;type=private");
        let uri: KeyUri = "pkcs11:id=%01%AB;serial=7;manufacturer=SoftHSM%20project;model=v2".parse().unwrap();
        assert_eq!((uri.id.as_deref(), uri.serial.as_deref()), (Some(&[1, 0xab][..]), Some("7")));
    }

    #[test]
    fn what_names_code_or_holds_a_pin_is_refused() {
        use KeyUriError as E;
        for (text, error) in [
            ("pkcs11:object=a?module-path=/tmp/x.so", E::NotHere("module-path".into())),
            ("pkcs11:object=a?pin-value=1234", E::NotHere("pin-value".into())),
            ("pkcs11:object=a?pin-source=file:/p", E::NotHere("pin-source".into())),
            ("pkcs11:object=a;module-path=/tmp/x.so", E::Unknown("module-path".into())),
            ("pkcs11:object=a;object=b", E::Twice("object".into())),
            ("pkcs11:id=%01;id=%02", E::Twice("id".into())),
            ("pkcs11:token=a", E::NoKey),
            ("pkcs11:object=a;type=cert", E::OtherType),
            ("pkcs11:object=%zz", E::Malformed("object=%zz".into())),
            ("pkcs11:object=%f", E::Malformed("object=%f".into())),
            ("pkcs11:object", E::Malformed("object".into())),
            ("/etc/key.pem", E::Scheme),
        ] {
            assert_eq!(text.parse::<KeyUri>().unwrap_err(), error, "{text}");
        }
    }
}
