//! What packets travel in: the seam between the data plane and an engine's cryptography.

use super::batch::{InboundBatch, OutboundBatch};
use super::early::EarlyPacket;
use super::tally::Tally;
use crate::Timestamp;

/// Seals and opens batches. One object for both directions, shared by the threads.
pub trait Encapsulation: Send + Sync {
    /// Returns how packets must lie to be sealed; none: there is no key to seal with.
    fn layout(&self) -> Option<Layout>;

    /// Seals every packet in place. What cannot be sealed is marked and counted, and stays.
    fn seal(&self, batch: &mut OutboundBatch, tally: &Tally);

    /// Opens every datagram in place. What is not for the data plane is handed to `other`: IKE
    /// messages.
    fn open(&self, batch: &mut InboundBatch, tally: &Tally, other: &mut dyn FnMut(&[u8]));

    /// Gives the packets back that [`Self::seal`] has held because there was no key at that moment, to be
    /// sealed again; too old ones are forgotten.
    fn restore_held(&self, batch: &mut OutboundBatch) {
        let _ = batch;
    }

    /// Gives the packets back that [`Self::open`] has kept because their key was not there yet, to be opened
    /// again now that it is.
    fn take_early(&self) -> Vec<EarlyPacket> {
        Vec::new()
    }

    /// Returns when [`Self::handle_timeout`] wants to be called.
    fn poll_timeout(&self) -> Option<Timestamp>;

    /// Does what was due: drops keys that have served out their grace.
    fn handle_timeout(&self, now: Timestamp);

    /// Returns whether [`Self::poll_event`] has something; asked after every batch.
    fn has_event(&self) -> bool;

    /// Takes the next thing to tell.
    fn poll_event(&self) -> Option<EncapsulationEvent>;
}

/// What an encapsulation tells the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EncapsulationEvent {
    /// A datagram of the encapsulation's own is to be sent: a handshake.
    Transmit(Vec<u8>),
    /// Packets can be sealed from now on.
    SessionUp,
    /// The peer does not answer any more.
    PeerLost,
    /// The key of the sending direction should be renewed soon: its numbers run out.
    RenewalDue,
}

/// How a packet lies before it is sealed, and how long it will be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Octets in front of the inner packet.
    pub headroom: usize,
    /// Octets behind the inner packet that are encrypted with it.
    pub inside: usize,
    /// What both together are a multiple of; zero counts as one.
    pub alignment: usize,
    /// Octets behind that (the ICV).
    pub trailer: usize,
}

impl Layout {
    /// Returns the length of the sealed packet.
    pub const fn sealed_length(self, inner: usize) -> usize {
        let alignment = if self.alignment == 0 { 1 } else { self.alignment };
        self.headroom + (inner + self.inside).next_multiple_of(alignment) + self.trailer
    }
}
