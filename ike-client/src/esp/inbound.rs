//! Opening: an ESP packet becomes the inner IP packet where it lies.

use super::outbound::{associated, extended_header};
use super::replay::{ReplayWindow, WindowSize};
use super::selector::{Direction, Selectors};
use super::{DUMMY, EspSpi, HEADER, Inner};
use crate::crypto::cipher::{Cipher, CipherError};
use crate::crypto::keys::DirectionKeys;
use crate::crypto::suite::EspSuite;
use crate::crypto::transform::Encryption;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Why a packet was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The packet is too short or not a whole number of blocks.
    #[error("the ESP packet is too short or not whole")]
    Malformed,
    /// The packet carries another SA's SPI.
    #[error("the SPI is another SA's")]
    OtherSpi,
    /// The sequence number was seen before or lies behind the window.
    #[error("the sequence number was seen before or is too old")]
    Replayed,
    /// The ICV does not match, or the packet is under another key.
    #[error(transparent)]
    Cipher(#[from] CipherError),
    /// What was authenticated is no IP packet of the length and kind it claims.
    #[error("the inner packet is malformed")]
    MalformedInner,
    /// The inner packet lies outside the CHILD SA's traffic selectors.
    #[error("the inner packet lies outside the traffic selectors")]
    OutsideSelectors,
}

/// What an ESP packet held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// An IP packet, in this part of the buffer.
    Packet(Inner, Range<usize>),
    /// A dummy for traffic flow confidentiality, to be dropped.
    Dummy,
}

/// The receiving half of a CHILD SA.
pub struct InboundSa {
    spi: EspSpi,
    cipher: Cipher,
    encryption: Encryption,
    esn: bool,
    window: Mutex<ReplayWindow>,
    selectors: Arc<Selectors>,
}

impl InboundSa {
    /// Takes the keys of the receiving direction into use. `spi` is the one we chose.
    ///
    /// # Errors
    /// [`CipherError::KeyMismatch`] when keys and transforms do not go together.
    pub fn new(
        spi: EspSpi,
        suite: &EspSuite,
        keys: &DirectionKeys,
        selectors: Arc<Selectors>,
        window: WindowSize,
    ) -> Result<Self, CipherError> {
        let cipher = Cipher::new(suite.encryption, suite.integrity, keys.encryption.expose(), keys.integrity.expose())?;
        let window = Mutex::new(ReplayWindow::new(window));
        Ok(Self { spi, cipher, encryption: suite.encryption, esn: suite.esn, window, selectors })
    }

    /// Returns the SPI.
    pub const fn spi(&self) -> EspSpi {
        self.spi
    }

    /// Returns the highest sequence number received so far; 0 before the first packet.
    pub fn highest_sequence(&self) -> u64 {
        self.window.lock().unwrap_or_else(PoisonError::into_inner).highest()
    }

    /// Takes the replay window, to open a run of packets.
    pub fn opening(&self) -> Opening<'_> {
        Opening { sa: self, window: self.window.lock().unwrap_or_else(PoisonError::into_inner) }
    }

    /// Opens one packet; see [`Opening::open_in_place`].
    ///
    /// # Errors
    /// As there.
    pub fn open_in_place(&self, packet: &mut [u8]) -> Result<Opened, OpenError> {
        self.opening().open_in_place(packet)
    }

    fn open_with(&self, window: &mut ReplayWindow, packet: &mut [u8]) -> Result<Opened, OpenError> {
        let iv_length = self.encryption.iv_length();
        let (header, rest) = packet.split_at_mut_checked(HEADER).ok_or(OpenError::Malformed)?;
        let (iv, sealed) = rest.split_at_mut_checked(iv_length).ok_or(OpenError::Malformed)?;
        let [s0, s1, s2, s3, n0, n1, n2, n3] = *header else { return Err(OpenError::Malformed) };
        if u32::from_be_bytes([s0, s1, s2, s3]) != self.spi.0 {
            return Err(OpenError::OtherSpi);
        }
        let text = sealed.len().checked_sub(self.cipher.icv_length()).ok_or(OpenError::Malformed)?;
        if text < 2 || text % self.encryption.block_length() != 0 {
            return Err(OpenError::Malformed);
        }

        let low = u32::from_be_bytes([n0, n1, n2, n3]);
        let sequence = if self.esn { window.extend(low).ok_or(OpenError::Replayed)? } else { u64::from(low) };
        if !window.is_fresh(sequence) {
            return Err(OpenError::Replayed);
        }
        let extended = extended_header(self.spi, sequence);
        // RFC 8750 §4: an implicit vector is the sequence number, the high half too where there is one.
        let number = sequence.to_be_bytes();
        let iv = if iv.is_empty() { &number[..] } else { iv };
        let opened = self.cipher.open(iv, associated(self.esn, header, &extended), sealed)?;
        window.mark(sequence);

        let [body @ .., pad_length, next_header] = opened else { return Err(OpenError::MalformedInner) };
        let length = body.len().checked_sub(usize::from(*pad_length)).ok_or(OpenError::MalformedInner)?;
        if *next_header == DUMMY {
            return Ok(Opened::Dummy);
        }
        let body = body.get(..length).ok_or(OpenError::MalformedInner)?;
        let kind =
            Inner::of(body).filter(|kind| kind.next_header() == *next_header).ok_or(OpenError::MalformedInner)?;
        // What follows the inner packet is padding for confidentiality (RFC 4303 §2.7).
        let length = inner_length(kind, body).filter(|inner| *inner <= length).ok_or(OpenError::MalformedInner)?;
        let body = body.get(..length).ok_or(OpenError::MalformedInner)?;
        if !self.selectors.admit(Direction::Inbound, body) {
            return Err(OpenError::OutsideSelectors);
        }
        let start = HEADER + iv_length;
        Ok(Opened::Packet(kind, start..start + length))
    }
}

/// The receiving half of a CHILD SA with its replay window in hand: nobody else opens meanwhile, so
/// that of two copies of a packet one passes.
pub struct Opening<'a> {
    sa: &'a InboundSa,
    window: MutexGuard<'a, ReplayWindow>,
}

impl Opening<'_> {
    /// Opens the ESP packet in `packet` in place: replay check, ICV, then padding and inner packet.
    ///
    /// # Errors
    /// See [`OpenError`]; only a packet whose ICV matched has moved the replay window.
    pub fn open_in_place(&mut self, packet: &mut [u8]) -> Result<Opened, OpenError> {
        self.sa.open_with(&mut self.window, packet)
    }
}

impl std::fmt::Debug for Opening<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Opening").field("sa", self.sa).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for InboundSa {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("InboundSa").field("spi", &self.spi).finish_non_exhaustive()
    }
}

/// Reads the length that an IP packet claims.
fn inner_length(kind: Inner, packet: &[u8]) -> Option<usize> {
    let field = |at: usize| Some(usize::from(u16::from_be_bytes(packet.get(at..at + 2)?.try_into().ok()?)));
    match kind {
        Inner::Ipv4 => field(2).filter(|length| *length >= 20),
        Inner::Ipv6 => Some(field(4)? + 40),
    }
}
