//! Ranges of addresses in the forms administrators write.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A range of addresses: `10.1.0.0/16`, `10.1.0.5-10.1.0.9` or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum AddressRange {
    /// All addresses of a network.
    Network(IpNet),
    /// All addresses from the first to the last, both included, of one family.
    Span(IpAddr, IpAddr),
}

/// The text is not a range of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is not a range of addresses: write a network (10.1.0.0/16), a span (10.1.0.5-10.1.0.9) or one address"
)]
pub struct AddressRangeInvalid(String);

impl AddressRange {
    /// Says whether `address` lies in the range; an address of the other family never does.
    pub fn contains(&self, address: IpAddr) -> bool {
        match self {
            Self::Network(network) => network.contains(&address),
            Self::Span(first, last) => first.is_ipv4() == address.is_ipv4() && (*first..=*last).contains(&address),
        }
    }
}

impl FromStr for AddressRange {
    type Err = AddressRangeInvalid;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || AddressRangeInvalid(text.to_owned());
        let text = text.trim();
        if let Ok(network) = text.parse::<IpNet>() {
            return Ok(Self::Network(network.trunc()));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Span(address, address));
        }
        let (first, last) = text.split_once('-').ok_or_else(invalid)?;
        let first: IpAddr = first.trim().parse().map_err(|_| invalid())?;
        let last: IpAddr = last.trim().parse().map_err(|_| invalid())?;
        if first.is_ipv4() == last.is_ipv4() && first <= last { Ok(Self::Span(first, last)) } else { Err(invalid()) }
    }
}

impl TryFrom<String> for AddressRange {
    type Error = AddressRangeInvalid;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<AddressRange> for String {
    fn from(range: AddressRange) -> Self {
        range.to_string()
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => write!(formatter, "{network}"),
            Self::Span(first, last) if first == last => write!(formatter, "{first}"),
            Self::Span(first, last) => write!(formatter, "{first}-{last}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(range: &str, address: &str) -> bool {
        range.parse::<AddressRange>().unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn a_network_a_span_and_one_address_are_ranges() {
        assert!(holds("10.1.0.0/16", "10.1.255.255"));
        assert!(!holds("10.1.0.0/16", "10.2.0.0"));
        assert!(holds("10.1.0.5 - 10.1.0.9", "10.1.0.9"));
        assert!(!holds("10.1.0.5-10.1.0.9", "10.1.0.10"));
        assert!(holds("2001:db8::7", "2001:db8::7"));
        assert!(!holds("0.0.0.0/0", "2001:db8::7"));
        assert!(!holds("0.0.0.0-255.255.255.255", "::1"));
    }

    #[test]
    fn what_is_not_a_range_is_refused() {
        for text in ["", "10.1", "10.1.0.9-10.1.0.5", "10.0.0.1-::1", "10.0.0.0/33", "a-b"] {
            assert!(text.parse::<AddressRange>().is_err(), "{text}");
        }
    }
}
