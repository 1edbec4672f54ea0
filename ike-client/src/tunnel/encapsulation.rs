//! What packets travel in: the seam between the data plane and an engine's cryptography.

use super::batch::{InboundBatch, OutboundBatch};
use super::tally::Tally;
use crate::Timestamp;

/// Seals and opens batches. One object for both directions, shared by the threads.
pub trait Encapsulation: Send + Sync {
    /// Returns how packets must lie to be sealed; none: there is no key to seal with.
    fn layout(&self) -> Option<Layout>;

    /// Seals every packet in place. What cannot be sealed is marked and counted, and stays.
    fn seal(&self, batch: &mut OutboundBatch, tally: &Tally);

    /// Opens every datagram in place. What is not for the data plane is handed to `other`: IKE
    /// messages, handshakes.
    fn open(&self, batch: &mut InboundBatch, tally: &Tally, other: &mut dyn FnMut(&[u8]));

    /// Returns when [`Self::handle_timeout`] wants to be called.
    fn poll_timeout(&self) -> Option<Timestamp>;

    /// Does what was due: drops keys that have served out their grace.
    fn handle_timeout(&self, now: Timestamp);

    /// Takes the next thing to tell.
    fn poll_event(&self) -> Option<EncapsulationEvent>;
}

/// What an encapsulation tells the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncapsulationEvent {
    /// The key of the sending direction should be renewed soon: its numbers run out.
    RenewalDue,
}

/// How a packet lies before it is sealed, and how long it will be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Octets in front of the inner packet.
    pub headroom: usize,
    /// What inner packet and trailer together are a multiple of; zero counts as one.
    pub alignment: usize,
    /// Octets behind that (the ICV).
    pub trailer: usize,
}

impl Layout {
    /// Octets of ESP's padding length and next header.
    const ESP_TRAILER: usize = 2;

    /// Returns the length of the sealed packet.
    pub const fn sealed_length(self, inner: usize) -> usize {
        let alignment = if self.alignment == 0 { 1 } else { self.alignment };
        self.headroom + (inner + Self::ESP_TRAILER).next_multiple_of(alignment) + self.trailer
    }
}
