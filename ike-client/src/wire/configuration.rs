//! The Configuration payload (RFC 7296 §3.15).

use super::error::{DecodeError, DecodeErrorKind, EncodeError};
use super::open::open_enum;
use super::reader::{Reader, fit};
use std::net::{Ipv4Addr, Ipv6Addr};

/// The most attributes that are taken from one payload.
pub const MAX_CONFIGURATION_ATTRIBUTES: usize = 512;

open_enum! {
    /// Whether values are asked for, given, set or acknowledged.
    pub struct ConfigurationType(u8) {
        /// Asks.
        REQUEST = 1 => "CFG_REQUEST",
        /// Answers a request.
        REPLY = 2 => "CFG_REPLY",
        /// Sets.
        SET = 3 => "CFG_SET",
        /// Acknowledges what was set.
        ACK = 4 => "CFG_ACK",
    }
}

open_enum! {
    /// Configuration attributes.
    pub struct ConfigurationAttributeType(u16) {
        /// An address for the client.
        INTERNAL_IP4_ADDRESS = 1 => "INTERNAL_IP4_ADDRESS",
        /// That address's netmask.
        INTERNAL_IP4_NETMASK = 2 => "INTERNAL_IP4_NETMASK",
        /// A DNS server.
        INTERNAL_IP4_DNS = 3 => "INTERNAL_IP4_DNS",
        /// A NetBIOS name server.
        INTERNAL_IP4_NBNS = 4 => "INTERNAL_IP4_NBNS",
        /// A DHCP server.
        INTERNAL_IP4_DHCP = 6 => "INTERNAL_IP4_DHCP",
        /// The version of the peer's application.
        APPLICATION_VERSION = 7 => "APPLICATION_VERSION",
        /// An IPv6 address and prefix length for the client.
        INTERNAL_IP6_ADDRESS = 8 => "INTERNAL_IP6_ADDRESS",
        /// An IPv6 DNS server.
        INTERNAL_IP6_DNS = 10 => "INTERNAL_IP6_DNS",
        /// An IPv6 DHCP server.
        INTERNAL_IP6_DHCP = 12 => "INTERNAL_IP6_DHCP",
        /// A network behind the gateway: address and netmask.
        INTERNAL_IP4_SUBNET = 13 => "INTERNAL_IP4_SUBNET",
        /// Asks which attributes the peer knows.
        SUPPORTED_ATTRIBUTES = 14 => "SUPPORTED_ATTRIBUTES",
        /// A network behind the gateway: address and prefix length.
        INTERNAL_IP6_SUBNET = 15 => "INTERNAL_IP6_SUBNET",
        /// A domain that the internal DNS servers answer for (RFC 8598).
        INTERNAL_DNS_DOMAIN = 25 => "INTERNAL_DNS_DOMAIN",
        /// A DNSSEC trust anchor (RFC 8598).
        INTERNAL_DNSSEC_TA = 26 => "INTERNAL_DNSSEC_TA",
    }
}

/// A Configuration payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// Asked, given, set, acknowledged.
    pub kind: ConfigurationType,
    /// The attributes, in the order of the wire.
    pub attributes: Vec<ConfigurationAttribute>,
}

impl Configuration {
    /// Returns the attributes of one type, in the order of the wire.
    pub fn of_type(&self, kind: ConfigurationAttributeType) -> impl Iterator<Item = &ConfigurationAttribute> {
        self.attributes.iter().filter(move |attribute| attribute.kind == kind)
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let kind = ConfigurationType(reader.u8()?);
        reader.take(3)?;
        let mut attributes = Vec::new();
        while !reader.is_empty() {
            if attributes.len() >= MAX_CONFIGURATION_ATTRIBUTES {
                let limit = MAX_CONFIGURATION_ATTRIBUTES;
                return Err(reader.error(DecodeErrorKind::TooMany { what: "configuration attributes", limit }));
            }
            // The top bit is reserved and ignored.
            let kind = ConfigurationAttributeType(reader.u16()? & 0x7fff);
            let length = reader.u16()?;
            attributes.push(ConfigurationAttribute { kind, value: reader.take(usize::from(length))?.to_vec() });
        }
        Ok(Self { kind, attributes })
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.extend_from_slice(&[self.kind.0, 0, 0, 0]);
        for attribute in &self.attributes {
            if attribute.kind.0 > 0x7fff {
                let value = u64::from(attribute.kind.0);
                return Err(EncodeError::BadValue { field: "configuration attribute type", value });
            }
            out.extend_from_slice(&attribute.kind.0.to_be_bytes());
            let length: u16 = fit("configuration attribute", attribute.value.len(), usize::from(u16::MAX))?;
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(&attribute.value);
        }
        Ok(())
    }
}

/// One attribute; an empty value in a request asks for any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigurationAttribute {
    /// The type.
    pub kind: ConfigurationAttributeType,
    /// The value as it stands on the wire.
    pub value: Vec<u8>,
}

impl ConfigurationAttribute {
    /// Makes an attribute.
    pub fn new(kind: ConfigurationAttributeType, value: impl Into<Vec<u8>>) -> Self {
        Self { kind, value: value.into() }
    }

    /// Returns the value as one IPv4 address or netmask (types 1, 2, 3, 4, 6).
    pub fn ipv4(&self) -> Option<Ipv4Addr> {
        <[u8; 4]>::try_from(self.value.as_slice()).ok().map(Ipv4Addr::from)
    }

    /// Returns the value as an IPv4 network: address and netmask (type 13).
    pub fn ipv4_subnet(&self) -> Option<(Ipv4Addr, Ipv4Addr)> {
        let (address, mask) = self.value.split_at_checked(4)?;
        let address = <[u8; 4]>::try_from(address).ok()?;
        let mask = <[u8; 4]>::try_from(mask).ok()?;
        Some((address.into(), mask.into()))
    }

    /// Returns the value as one IPv6 address (types 10, 12; also type 8 sent without a prefix).
    pub fn ipv6(&self) -> Option<Ipv6Addr> {
        <[u8; 16]>::try_from(self.value.as_slice()).ok().map(Ipv6Addr::from)
    }

    /// Returns the value as an IPv6 address and its prefix length (types 8 and 15).
    pub fn ipv6_prefix(&self) -> Option<(Ipv6Addr, u8)> {
        let (address, prefix) = self.value.split_at_checked(16)?;
        let address = <[u8; 16]>::try_from(address).ok()?;
        match prefix {
            [length] if *length <= 128 => Some((address.into(), *length)),
            _ => None,
        }
    }

    /// Returns the value as text, as it was sent (types 7 and 25). Not escaped: show it with care.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.value).ok()
    }
}
