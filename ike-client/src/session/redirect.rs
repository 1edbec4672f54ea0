//! Redirects to another gateway (RFC 5685).
//!
//! ```text
//! type (1: IPv4, 2: IPv6, 3: name) | length | gateway | nonce (in IKE_SA_INIT alone)
//! ```
//! In IKE_SA_INIT nobody has proven anything: the answer must carry our nonce, and counts like any
//! refusal only when no better answer came within the grace. In IKE_AUTH and later the gateway that
//! redirects has proven itself. Wherever it leads, the other gateway must prove the identity that was
//! configured. How often redirects are followed is counted by whoever makes the next session.

use super::payloads::Payloads;
use crate::wire::{Notify, NotifyType};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest name that is taken.
const MAXIMUM_NAME: usize = 253;

/// A gateway as a redirect names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RedirectTarget {
    /// By its address.
    Address(IpAddr),
    /// By its name, which holds letters, digits, dots and hyphens alone.
    Name(String),
}

impl RedirectTarget {
    /// Reads a gateway's name or address as a person writes it; none when it cannot be told on the wire.
    pub fn named(text: &str) -> Option<Self> {
        match text.trim_start_matches('[').trim_end_matches(']').parse() {
            Ok(address) => Some(Self::Address(address)),
            Err(_) => name(text.as_bytes()).map(Self::Name),
        }
    }

    /// Reads the front of a notify's data; returns the nonce that follows.
    fn read(data: &[u8]) -> Option<(Self, &[u8])> {
        let (head, rest) = data.split_at_checked(2)?;
        let [kind, length] = <[u8; 2]>::try_from(head).ok()?;
        let (gateway, nonce) = rest.split_at_checked(usize::from(length))?;
        let target = match kind {
            1 => Self::Address(Ipv4Addr::from(<[u8; 4]>::try_from(gateway).ok()?).into()),
            2 => Self::Address(Ipv6Addr::from(<[u8; 16]>::try_from(gateway).ok()?).into()),
            3 => Self::Name(name(gateway)?),
            _ => return None,
        };
        target.is_usable().then_some((target, nonce))
    }

    fn is_usable(&self) -> bool {
        match self {
            Self::Address(address) => !address.is_unspecified() && !address.is_multicast() && !address.is_loopback(),
            Self::Name(_) => true,
        }
    }

    /// Returns the data of REDIRECTED_FROM.
    pub(super) fn encode(&self) -> Vec<u8> {
        let (kind, octets) = match self {
            Self::Address(IpAddr::V4(address)) => (1, address.octets().to_vec()),
            Self::Address(IpAddr::V6(address)) => (2, address.octets().to_vec()),
            Self::Name(name) => (3, name.as_bytes().iter().copied().take(MAXIMUM_NAME).collect()),
        };
        let length = u8::try_from(octets.len()).unwrap_or(u8::MAX);
        [&[kind, length], octets.as_slice()].concat()
    }
}

impl fmt::Display for RedirectTarget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(formatter),
            Self::Name(name) => name.fmt(formatter),
        }
    }
}

fn name(octets: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(octets).ok()?.trim_end_matches('.').to_ascii_lowercase();
    let label = |label: &str| {
        let good = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-';
        (1..=63).contains(&label.len()) && label.bytes().all(good) && !label.starts_with('-') && !label.ends_with('-')
    };
    ((1..=MAXIMUM_NAME).contains(&name.len()) && name.split('.').all(label)).then_some(name)
}

/// Reads the redirect of an unprotected answer, when it carries the nonce that was sent.
pub(super) fn unprotected(notify: &Notify, nonce: &[u8]) -> Option<RedirectTarget> {
    RedirectTarget::read(&notify.data).filter(|(_, returned)| *returned == nonce).map(|(target, _)| target)
}

/// Reads the redirect of a protected message.
pub(super) fn protected(payloads: Payloads<'_>) -> Option<RedirectTarget> {
    let notify = payloads.notify(NotifyType::REDIRECT)?;
    RedirectTarget::read(&notify.data).map(|(target, _)| target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_the_nonce_with_it() {
        let name = RedirectTarget::Name("gw2.example.test".into());
        for target in [RedirectTarget::Address("192.0.2.7".parse().unwrap()), name] {
            let data = [target.encode(), vec![7; 32]].concat();
            assert_eq!(RedirectTarget::read(&data), Some((target.clone(), &[7; 32][..])));
            let notify = Notify::new(NotifyType::REDIRECT, data);
            assert_eq!(unprotected(&notify, &[7; 32]), Some(target));
            assert_eq!(unprotected(&notify, &[8; 32]), None, "it answers another request");
        }
    }

    #[test]
    fn what_is_no_gateway_is_passed_over() {
        let long = [&[3, 254][..], &[b'a'; 254]].concat();
        for data in [
            &[][..],
            &[1],
            &[1, 4, 10, 0],
            &[1, 3, 10, 0, 0],
            &[1, 4, 0, 0, 0, 0],
            &[1, 4, 127, 0, 0, 1],
            &[1, 4, 224, 0, 0, 1],
            &[2, 4, 10, 0, 0, 1],
            &[3, 0],
            &[3, 3, b'a', b'\n', b'b'],
            &[3, 4, b'a', b'.', b'.', b'b'],
            &[3, 2, b'-', b'b'],
            &[4, 1, b'a'],
            &long,
        ] {
            assert_eq!(RedirectTarget::read(data), None, "{data:?}");
        }
    }
}
