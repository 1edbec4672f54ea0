//! Traffic Selector payloads (RFC 7296 §3.13).

use super::error::{DecodeError, DecodeErrorKind, EncodeError};
use super::reader::{Reader, fit, patch_length};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

const TYPE_IPV4_RANGE: u8 = 7;
const TYPE_IPV6_RANGE: u8 = 8;

/// A set of packets: a protocol, a range of ports, a range of addresses of one family.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TrafficSelector {
    /// The IP protocol; 0 is any.
    pub protocol: u8,
    /// The ports, both ends in; `0..=65535` is any, `65535..=0` OPAQUE (RFC 7296 §3.13.1).
    pub ports: RangeInclusive<u16>,
    /// The addresses, both ends in.
    pub addresses: RangeInclusive<IpAddr>,
}

impl TrafficSelector {
    /// Makes the selector of every protocol and port of the addresses.
    pub const fn addresses(first: IpAddr, last: IpAddr) -> Self {
        Self { protocol: 0, ports: 0..=u16::MAX, addresses: first..=last }
    }

    /// Makes the selector of everything in IPv4.
    pub const fn any_ipv4() -> Self {
        Self::addresses(IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::BROADCAST))
    }

    /// Makes the selector of everything in IPv6.
    pub const fn any_ipv6() -> Self {
        Self::addresses(IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)))
    }

    /// Tells whether `address` is one of the selector's.
    pub fn contains_address(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.addresses.start().is_ipv4() && self.addresses.contains(&address)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, DecodeError> {
        let at = reader.clone();
        let kind = reader.u8()?;
        let protocol = reader.u8()?;
        let stated = usize::from(reader.u16()?);
        let Some(length) = stated.checked_sub(4) else {
            return Err(at.error(DecodeErrorKind::BadLength { stated, reason: "a selector's header is longer" }));
        };
        let mut body = reader.split(length)?;
        // A selector of a type that we do not know selects nothing that we could carry.
        if kind != TYPE_IPV4_RANGE && kind != TYPE_IPV6_RANGE {
            return Ok(None);
        }
        let ports = body.u16()?..=body.u16()?;
        let addresses: RangeInclusive<IpAddr> = if kind == TYPE_IPV4_RANGE {
            Ipv4Addr::from(body.array::<4>()?).into()..=Ipv4Addr::from(body.array::<4>()?).into()
        } else {
            Ipv6Addr::from(body.array::<16>()?).into()..=Ipv6Addr::from(body.array::<16>()?).into()
        };
        body.finish()?;
        Ok(Some(Self { protocol, ports, addresses }))
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        let (kind, first, last) = match (self.addresses.start(), self.addresses.end()) {
            (IpAddr::V4(first), IpAddr::V4(last)) => (TYPE_IPV4_RANGE, first.octets().to_vec(), last.octets().to_vec()),
            (IpAddr::V6(first), IpAddr::V6(last)) => (TYPE_IPV6_RANGE, first.octets().to_vec(), last.octets().to_vec()),
            _ => return Err(EncodeError::MixedAddressFamilies),
        };
        out.extend_from_slice(&[kind, self.protocol, 0, 0]);
        out.extend_from_slice(&self.ports.start().to_be_bytes());
        out.extend_from_slice(&self.ports.end().to_be_bytes());
        out.extend_from_slice(&first);
        out.extend_from_slice(&last);
        patch_length(out, start.saturating_add(2), start, "traffic selector")
    }
}

/// Reads a TS payload's body. Selectors of unknown types are left out.
pub(crate) fn read_selectors(reader: &mut Reader<'_>) -> Result<Vec<TrafficSelector>, DecodeError> {
    let count = reader.u8()?;
    reader.take(3)?;
    let mut selectors = Vec::new();
    for _ in 0..count {
        selectors.extend(TrafficSelector::read(reader)?);
    }
    reader.finish()?;
    Ok(selectors)
}

pub(crate) fn write_selectors(selectors: &[TrafficSelector], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    out.push(fit("number of traffic selectors", selectors.len(), 255)?);
    out.extend_from_slice(&[0; 3]);
    selectors.iter().try_for_each(|selector| selector.write(out))
}
