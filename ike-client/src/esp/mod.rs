//! ESP in tunnel mode: sealing and opening packets in place (RFC 4303).
//!
//! Bytes go in and bytes come out; sequence numbers, replay window and selectors are the state.
//! Nothing is allocated per packet. Both halves can be shared between threads.

mod inbound;
mod outbound;
mod replay;
pub mod selector;

pub use inbound::{InboundSa, OpenError, Opened, Opening};
pub use outbound::{OutboundSa, SealError};
pub use replay::{ReplayWindow, WindowSize};

/// The security parameters index of an ESP SA, chosen by its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct EspSpi(pub u32);

impl std::fmt::Display for EspSpi {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:08x}", self.0)
    }
}

/// The length of SPI and sequence number in octets.
const HEADER: usize = 8;

/// What ESP says lies inside (the IANA protocol numbers).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inner {
    /// An IPv4 packet (4).
    Ipv4,
    /// An IPv6 packet (41).
    Ipv6,
}

impl Inner {
    /// Reads the version of an IP packet.
    pub fn of(packet: &[u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => Some(Self::Ipv4),
            6 => Some(Self::Ipv6),
            _ => None,
        }
    }

    /// Returns the next-header value.
    pub const fn next_header(self) -> u8 {
        match self {
            Self::Ipv4 => 4,
            Self::Ipv6 => 41,
        }
    }
}

/// The next-header value of a dummy packet (RFC 4303 §2.6).
const DUMMY: u8 = 59;

#[cfg(test)]
mod tests;
