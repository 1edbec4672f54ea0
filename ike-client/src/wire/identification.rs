//! Identification payloads (RFC 7296 §3.5).

use super::error::DecodeError;
use super::open::open_enum;
use super::reader::Reader;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

open_enum! {
    /// The kinds of identity.
    pub struct IdentificationType(u8) {
        /// An IPv4 address, four bytes.
        IPV4 = 1 => "ipv4",
        /// A host name without terminator.
        FQDN = 2 => "fqdn",
        /// A mail address without terminator.
        RFC822 = 3 => "rfc822",
        /// An IPv6 address, sixteen bytes.
        IPV6 = 5 => "ipv6",
        /// The DER of an X.500 distinguished name.
        DISTINGUISHED_NAME = 9 => "dn",
        /// The DER of an X.500 general name.
        GENERAL_NAME = 10 => "gn",
        /// An opaque key id.
        KEY_ID = 11 => "key-id",
    }
}

/// Who a side says it is.
///
/// As text (`Display`, `FromStr`, serde): the kind, a colon, the value: `fqdn:vpn.example.test`,
/// `ipv4:10.0.0.1`; what is not printable ASCII stands as `0x` and hex digits: `dn:0x3010…`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Identification {
    /// The kind.
    pub kind: IdentificationType,
    /// The value as it stands on the wire.
    pub data: Vec<u8>,
    // AUTH covers the payload's body as it was sent, reserved bytes included (RFC 7296 §2.15).
    reserved: [u8; 3],
}

impl Identification {
    /// Makes an identity from its kind and wire value.
    pub const fn new(kind: IdentificationType, data: Vec<u8>) -> Self {
        Self { kind, data, reserved: [0; 3] }
    }

    /// Makes a host-name identity.
    pub fn fqdn(name: &str) -> Self {
        Self::new(IdentificationType::FQDN, name.as_bytes().to_vec())
    }

    /// Makes a mail-address identity.
    pub fn rfc822(address: &str) -> Self {
        Self::new(IdentificationType::RFC822, address.as_bytes().to_vec())
    }

    /// Makes a key-id identity.
    pub fn key_id(bytes: &[u8]) -> Self {
        Self::new(IdentificationType::KEY_ID, bytes.to_vec())
    }

    /// Makes a distinguished-name identity from the name's DER.
    pub fn distinguished_name(der: &[u8]) -> Self {
        Self::new(IdentificationType::DISTINGUISHED_NAME, der.to_vec())
    }

    /// Makes an address identity.
    pub fn address(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::new(IdentificationType::IPV4, v4.octets().to_vec()),
            IpAddr::V6(v6) => Self::new(IdentificationType::IPV6, v6.octets().to_vec()),
        }
    }

    /// Returns the address of an address identity with a value of the right length.
    pub fn as_address(&self) -> Option<IpAddr> {
        match self.kind {
            IdentificationType::IPV4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(self.data.as_slice()).ok()?).into()),
            IdentificationType::IPV6 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(self.data.as_slice()).ok()?).into()),
            _ => None,
        }
    }

    /// Returns the payload's body as sent or received: kind, reserved bytes, value. This is what
    /// the AUTH payload's MACedID covers.
    pub fn body(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.data.len().saturating_add(4));
        self.write(&mut out);
        out
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let kind = IdentificationType(reader.u8()?);
        let reserved = reader.array()?;
        Ok(Self { kind, data: reader.rest().to_vec(), reserved })
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.push(self.kind.0);
        out.extend_from_slice(&self.reserved);
        out.extend_from_slice(&self.data);
    }
}

/// Two identities are equal when kind and value are; reserved bytes do not count.
impl PartialEq for Identification {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.data == other.data
    }
}

impl Eq for Identification {}

impl std::hash::Hash for Identification {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.kind.hash(state);
        self.data.hash(state);
    }
}

impl fmt::Display for Identification {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind.name() {
            Some(name) => write!(out, "{name}:")?,
            None => write!(out, "type-{}:", self.kind.0)?,
        }
        let is_name =
            matches!(self.kind, IdentificationType::FQDN | IdentificationType::RFC822 | IdentificationType::KEY_ID);
        match std::str::from_utf8(&self.data) {
            _ if self.as_address().is_some() => {
                write!(out, "{}", self.as_address().unwrap_or(Ipv4Addr::UNSPECIFIED.into()))
            }
            Ok(text)
                if is_name
                    && !text.starts_with("0x")
                    && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') =>
            {
                out.write_str(text)
            }
            _ => {
                out.write_str("0x")?;
                self.data.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
            }
        }
    }
}

impl fmt::Debug for Identification {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Identification({self})")
    }
}

/// A text that names no identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an identity: write KIND:VALUE with KIND one of ipv4, ipv6, fqdn, rfc822, dn, key-id")]
pub struct IdentificationSyntax(String);

impl FromStr for Identification {
    type Err = IdentificationSyntax;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || IdentificationSyntax(text.to_owned());
        let (kind, value) = text.split_once(':').ok_or_else(wrong)?;
        let kind = match kind {
            "ipv4" => IdentificationType::IPV4,
            "fqdn" => IdentificationType::FQDN,
            "rfc822" => IdentificationType::RFC822,
            "ipv6" => IdentificationType::IPV6,
            "dn" => IdentificationType::DISTINGUISHED_NAME,
            "gn" => IdentificationType::GENERAL_NAME,
            "key-id" => IdentificationType::KEY_ID,
            other => IdentificationType(other.strip_prefix("type-").and_then(|n| n.parse().ok()).ok_or_else(wrong)?),
        };
        if let Some(digits) = value.strip_prefix("0x") {
            return Ok(Self::new(kind, decode_hex(digits).ok_or_else(wrong)?));
        }
        match kind {
            IdentificationType::FQDN | IdentificationType::RFC822 | IdentificationType::KEY_ID => {
                Ok(Self::new(kind, value.as_bytes().to_vec()))
            }
            IdentificationType::IPV4 => value.parse::<Ipv4Addr>().map(|a| Self::address(a.into())).map_err(|_| wrong()),
            IdentificationType::IPV6 => value.parse::<Ipv6Addr>().map(|a| Self::address(a.into())).map_err(|_| wrong()),
            _ => Err(wrong()),
        }
    }
}

impl From<Identification> for String {
    fn from(identification: Identification) -> Self {
        identification.to_string()
    }
}

impl TryFrom<String> for Identification {
    type Error = IdentificationSyntax;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

fn decode_hex(digits: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> =
        digits.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect::<Option<_>>()?;
    let pairs = digits.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    Some(pairs.map(|pair| pair.iter().fold(0, |byte: u8, digit| (byte << 4) | digit)).collect())
}
