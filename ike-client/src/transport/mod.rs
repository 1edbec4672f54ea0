//! How IKE and ESP share one carrier: UDP port 4500 and TCP, as pure codecs.
//!
//! | module | holds |
//! |---|---|
//! | [`udp`] | the non-ESP marker and the keepalive (RFC 3948) |
//! | [`tcp`] | the stream prefix and the length-framed records (RFC 9329) |

pub mod tcp;
pub mod udp;

/// Four zero bytes where an ESP packet has its SPI: what follows is an IKE message.
pub const NON_ESP_MARKER: [u8; 4] = [0; 4];

/// What one datagram or one TCP record carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// A NAT keepalive; to be ignored.
    Keepalive,
    /// An IKE message, the marker taken off.
    Ike(&'a [u8]),
    /// An ESP packet, SPI first.
    Esp(&'a [u8]),
}

/// Bytes that carry neither IKE nor ESP nor a keepalive; to be dropped and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} bytes are neither IKE nor ESP nor a keepalive")]
pub struct Meaningless(pub usize);

/// Tells IKE from ESP in what a datagram or a record carries.
fn classify(bytes: &[u8]) -> Result<Packet<'_>, Meaningless> {
    match bytes.split_first_chunk::<4>() {
        Some((&NON_ESP_MARKER, message)) if !message.is_empty() => Ok(Packet::Ike(message)),
        // SPI and sequence number are the least that an ESP packet has.
        Some((spi, rest)) if *spi != NON_ESP_MARKER && rest.len() >= 4 => Ok(Packet::Esp(bytes)),
        _ => Err(Meaningless(bytes.len())),
    }
}
