//! Who somebody claims to be: the identification payload's content as a typed value (RFC 7296 §3.5).

use super::distinguished_name::{DistinguishedName, DistinguishedNameError};
use crate::wire;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The most bytes a textual identity or a key id may have here.
pub const MAX_LENGTH: usize = 1024;

const ID_IPV4_ADDR: u8 = 1;
const ID_FQDN: u8 = 2;
const ID_RFC822_ADDR: u8 = 3;
const ID_IPV6_ADDR: u8 = 5;
const ID_DER_ASN1_DN: u8 = 9;
const ID_KEY_ID: u8 = 11;

/// An identity as IKE knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Identity {
    /// An address (types 1 and 5).
    Address(IpAddr),
    /// A host name (type 2), not resolved, compared without regard to case.
    Fqdn(String),
    /// A mail address (type 3).
    Mail(String),
    /// A distinguished name (type 9).
    DistinguishedName(DistinguishedName),
    /// Opaque bytes that both sides agreed on (type 11).
    KeyId(Vec<u8>),
}

/// An identification payload or a configured identity cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The payload ends before its fixed part does.
    #[error("an identification payload of {0} bytes")]
    Truncated(usize),
    /// A type that is not supported.
    #[error("identification type {0} is not supported")]
    UnsupportedType(u8),
    /// An address of the wrong size.
    #[error("an address of {0} bytes in an identification payload")]
    AddressLength(usize),
    /// Text that is empty, too long or not printable ASCII (a NUL inside has fooled others before).
    #[error("an identity that is empty, too long or not printable ASCII")]
    Text,
    /// The distinguished name is not one.
    #[error(transparent)]
    DistinguishedName(#[from] DistinguishedNameError),
    /// A key id written with something else than pairs of hexadecimal digits after `#`.
    #[error("a key id after '#' consists of pairs of hexadecimal digits")]
    KeyIdDigits,
}

impl Identity {
    /// Reads a payload body: one byte type, three reserved, then the data.
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub fn from_body(body: &[u8]) -> Result<Self, IdentityError> {
        match body {
            [id_type, _, _, _, data @ ..] => Self::from_wire(*id_type, data),
            short => Err(IdentityError::Truncated(short.len())),
        }
    }

    /// Reads an identity from its type and data.
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub fn from_wire(id_type: u8, data: &[u8]) -> Result<Self, IdentityError> {
        let wrong_length = |_| IdentityError::AddressLength(data.len());
        Ok(match id_type {
            ID_IPV4_ADDR => Self::Address(Ipv4Addr::from(<[u8; 4]>::try_from(data).map_err(wrong_length)?).into()),
            ID_IPV6_ADDR => Self::Address(Ipv6Addr::from(<[u8; 16]>::try_from(data).map_err(wrong_length)?).into()),
            ID_FQDN => Self::Fqdn(printable(data)?),
            ID_RFC822_ADDR => Self::Mail(printable(data)?),
            ID_DER_ASN1_DN => Self::DistinguishedName(DistinguishedName::from_der(data)?),
            ID_KEY_ID if !data.is_empty() && data.len() <= MAX_LENGTH => Self::KeyId(data.to_vec()),
            ID_KEY_ID => return Err(IdentityError::Text),
            other => return Err(IdentityError::UnsupportedType(other)),
        })
    }

    /// Returns the identification type's number.
    pub fn id_type(&self) -> u8 {
        match self {
            Self::Address(IpAddr::V4(_)) => ID_IPV4_ADDR,
            Self::Address(IpAddr::V6(_)) => ID_IPV6_ADDR,
            Self::Fqdn(_) => ID_FQDN,
            Self::Mail(_) => ID_RFC822_ADDR,
            Self::DistinguishedName(_) => ID_DER_ASN1_DN,
            Self::KeyId(_) => ID_KEY_ID,
        }
    }

    /// Returns the identification data.
    pub fn data(&self) -> Vec<u8> {
        match self {
            Self::Address(IpAddr::V4(address)) => address.octets().to_vec(),
            Self::Address(IpAddr::V6(address)) => address.octets().to_vec(),
            Self::Fqdn(text) | Self::Mail(text) => text.clone().into_bytes(),
            Self::DistinguishedName(name) => name.as_der().to_vec(),
            Self::KeyId(bytes) => bytes.clone(),
        }
    }

    /// Returns the payload's body: what follows the generic payload header, and what the signed
    /// octets cover.
    pub fn body(&self) -> Vec<u8> {
        let mut body = vec![self.id_type(), 0, 0, 0];
        body.extend(self.data());
        body
    }

    /// Returns true when both mean the same: host names and mail domains without regard to case,
    /// distinguished names attribute by attribute, the rest to the byte.
    pub fn matches(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Fqdn(a), Self::Fqdn(b)) => same_host(a, b),
            (Self::Mail(a), Self::Mail(b)) => same_mail(a, b),
            (Self::DistinguishedName(a), Self::DistinguishedName(b)) => a.matches(b),
            (a, b) => a == b,
        }
    }
}

/// Compares host names; the root's dot at the end says nothing.
pub(super) fn same_host(a: &str, b: &str) -> bool {
    a.strip_suffix('.').unwrap_or(a).eq_ignore_ascii_case(b.strip_suffix('.').unwrap_or(b))
}

/// Compares mail addresses: only the part after the last `@` is free of case (RFC 5321 §2.4).
pub(super) fn same_mail(a: &str, b: &str) -> bool {
    match (a.rsplit_once('@'), b.rsplit_once('@')) {
        (Some((a_local, a_host)), Some((b_local, b_host))) => a_local == b_local && same_host(a_host, b_host),
        _ => a == b,
    }
}

impl TryFrom<&wire::Identification> for Identity {
    type Error = IdentityError;

    fn try_from(payload: &wire::Identification) -> Result<Self, IdentityError> {
        Self::from_wire(payload.kind.0, &payload.data)
    }
}

impl From<&Identity> for wire::Identification {
    fn from(identity: &Identity) -> Self {
        Self::new(wire::IdentificationType(identity.id_type()), identity.data())
    }
}

fn printable(data: &[u8]) -> Result<String, IdentityError> {
    let fits = !data.is_empty() && data.len() <= MAX_LENGTH && data.iter().all(|byte| (0x20..0x7f).contains(byte));
    match std::str::from_utf8(data) {
        Ok(text) if fits => Ok(text.to_owned()),
        _ => Err(IdentityError::Text),
    }
}

impl FromStr for Identity {
    type Err = IdentityError;

    /// Reads what a profile says: `fqdn:`, `mail:`, `dn:`, `keyid:` before the value choose the type;
    /// without them an address, `TYPE=value` (a distinguished name), `#hex` (a key id), something with
    /// `@` (mail) or else a host name is recognised by its form.
    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let text = text.trim();
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        if let Some((prefix, rest)) = text.split_once(':') {
            match prefix.to_ascii_lowercase().as_str() {
                "fqdn" => return printable(rest.as_bytes()).map(Self::Fqdn),
                "mail" | "email" => return printable(rest.as_bytes()).map(Self::Mail),
                "dn" => return Ok(Self::DistinguishedName(DistinguishedName::from_text(rest)?)),
                "keyid" => return key_id(rest),
                _ => {}
            }
        }
        if text.starts_with('#') {
            return key_id(text);
        }
        if text.contains('=') {
            return Ok(Self::DistinguishedName(DistinguishedName::from_text(text)?));
        }
        let text = printable(text.as_bytes())?;
        Ok(if text.contains('@') { Self::Mail(text) } else { Self::Fqdn(text) })
    }
}

/// Reads a key id: hexadecimal after `#`, else the text's own bytes.
fn key_id(text: &str) -> Result<Identity, IdentityError> {
    let Some(digits) = text.strip_prefix('#') else {
        return Identity::from_wire(ID_KEY_ID, text.as_bytes());
    };
    if digits.len() % 2 != 0 {
        return Err(IdentityError::KeyIdDigits);
    }
    let nibbles: Option<Vec<u8>> =
        digits.chars().map(|digit| digit.to_digit(16).and_then(|value| u8::try_from(value).ok())).collect();
    let bytes: Vec<u8> = nibbles
        .ok_or(IdentityError::KeyIdDigits)?
        .chunks_exact(2)
        .map(|pair| pair.iter().fold(0, |byte, nibble| byte << 4 | nibble))
        .collect();
    Identity::from_wire(ID_KEY_ID, &bytes)
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Fqdn(text) if text.contains(['@', '=', ':']) || text.starts_with('#') => write!(f, "fqdn:{text}"),
            Self::Mail(text) if !text.contains('@') || text.contains(['=', ':']) => write!(f, "mail:{text}"),
            Self::Fqdn(text) | Self::Mail(text) => f.write_str(text),
            Self::DistinguishedName(name) => name.fmt(f),
            Self::KeyId(bytes) => {
                f.write_str("#")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(text: &str) -> Identity {
        text.parse().unwrap()
    }

    #[test]
    fn each_form_is_recognised_and_written_back() {
        for (text, id_type) in [
            ("192.0.2.1", ID_IPV4_ADDR),
            ("2001:db8::1", ID_IPV6_ADDR),
            ("vpn.example.com", ID_FQDN),
            ("carol@example.com", ID_RFC822_ADDR),
            ("C=CH, CN=moon", ID_DER_ASN1_DN),
            ("#00ff10", ID_KEY_ID),
            ("fqdn:a@b", ID_FQDN),
            ("mail:nobody", ID_RFC822_ADDR),
        ] {
            assert_eq!(identity(text).id_type(), id_type, "{text}");
            assert_eq!(identity(text).to_string(), text);
            assert_eq!(Identity::from_body(&identity(text).body()).unwrap(), identity(text));
        }
        assert_eq!(identity("keyid:group1"), Identity::KeyId(b"group1".to_vec()));
    }

    #[test]
    fn case_matters_only_where_it_means_something() {
        assert!(identity("VPN.Example.com.").matches(&identity("vpn.example.com")));
        assert!(identity("carol@Example.com").matches(&identity("carol@example.com")));
        assert!(!identity("Carol@example.com").matches(&identity("carol@example.com")));
        assert!(!identity("fqdn:192.0.2.1").matches(&identity("192.0.2.1")));
        assert!(!identity("vpn.example.com").matches(&identity("mail:vpn.example.com")));
    }

    #[test]
    fn hostile_payloads_are_refused_by_what_is_wrong_with_them() {
        assert_eq!(Identity::from_body(&[2, 0, 0]), Err(IdentityError::Truncated(3)));
        assert_eq!(Identity::from_wire(ID_FQDN, b"good.example\0.evil"), Err(IdentityError::Text));
        assert_eq!(Identity::from_wire(ID_FQDN, b""), Err(IdentityError::Text));
        assert_eq!(Identity::from_wire(ID_FQDN, &[b'a'; MAX_LENGTH + 1]), Err(IdentityError::Text));
        assert_eq!(Identity::from_wire(ID_RFC822_ADDR, "carol@ex\u{e4}mple".as_bytes()), Err(IdentityError::Text));
        assert_eq!(Identity::from_wire(ID_IPV4_ADDR, &[1, 2, 3]), Err(IdentityError::AddressLength(3)));
        assert_eq!(Identity::from_wire(ID_IPV6_ADDR, &[0; 4]), Err(IdentityError::AddressLength(4)));
        assert_eq!(Identity::from_wire(10, b"x"), Err(IdentityError::UnsupportedType(10)));
        assert!(matches!(Identity::from_wire(ID_DER_ASN1_DN, b"x"), Err(IdentityError::DistinguishedName(_))));
        assert_eq!("#123".parse::<Identity>(), Err(IdentityError::KeyIdDigits));
        assert_eq!("#zz".parse::<Identity>(), Err(IdentityError::KeyIdDigits));
    }

    proptest::proptest! {
        #[test]
        fn what_is_read_is_written_back(body in proptest::collection::vec(proptest::num::u8::ANY, 0..60)) {
            if let Ok(identity) = Identity::from_body(&body) {
                assert_eq!(identity.id_type(), body[0]);
                assert_eq!(identity.data(), &body[4..]);
            }
        }
    }
}
