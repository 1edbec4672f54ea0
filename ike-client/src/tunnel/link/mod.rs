//! What sealed packets travel on to the gateway, in batches: UDP or TCP behind one front.

mod others;
mod stream;
mod udp;

use super::batch::{InboundBatch, OutboundBatch};
use super::gate::Gate;
use super::tally::Tally;
use super::wake::Wake;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

pub use others::OtherAddresses;
pub use stream::StreamLink;
pub use udp::{SLOTS, UdpLink};

/// What a look at the link brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// Nothing was there.
    Nothing,
    /// A little, and all that was there.
    All,
    /// Much: more may have come meanwhile.
    Much,
}

/// The link to one gateway, shared by the threads and the engine.
#[derive(Debug)]
pub enum Link {
    /// Datagrams (RFC 3948, WireGuard).
    Udp(UdpLink),
    /// Records in a stream (RFC 9329).
    Stream(StreamLink),
}

impl Link {
    /// Makes a link of datagrams to `gateway`.
    ///
    /// # Errors
    /// The system's.
    pub fn udp(socket: UdpSocket, gateway: SocketAddr) -> io::Result<Self> {
        UdpLink::new(socket, gateway).map(Self::Udp)
    }

    /// Takes packets of the gateway's other addresses too.
    #[must_use]
    pub fn admitting(self, others: Arc<OtherAddresses>) -> Self {
        match self {
            Self::Udp(link) => Self::Udp(link.admitting(others)),
            stream @ Self::Stream(_) => stream,
        }
    }

    /// Gives away the IKE messages that came from other addresses of the gateway.
    pub fn take_from_others(&self) -> Vec<(Vec<u8>, SocketAddr)> {
        match self {
            Self::Udp(link) => link.take_from_others(),
            Self::Stream(_) => Vec::new(),
        }
    }

    /// Sends the sealed packets of a batch as long as the gate lets them pass.
    pub fn send(&self, batch: &OutboundBatch, gate: &Gate, wake: &Wake, tally: &Tally) {
        match self {
            Self::Udp(link) => link.send(batch, gate, wake, tally),
            Self::Stream(link) => link.send(batch, gate, wake, tally),
        }
    }

    /// Receives what is there.
    ///
    /// # Errors
    /// The system's, and the end of a stream.
    pub fn receive(&self, batch: &mut InboundBatch, tally: &Tally) -> io::Result<Received> {
        match self {
            Self::Udp(link) => link.receive(batch, tally),
            Self::Stream(link) => link.receive(batch).map(|some| if some { Received::Much } else { Received::Nothing }),
        }
    }

    /// Waits until something can be received. Returns false when woken to end.
    ///
    /// # Errors
    /// The system's.
    pub fn wait(&self, wake: &Wake) -> io::Result<bool> {
        match self {
            Self::Udp(link) => link.wait(wake),
            Self::Stream(link) => link.wait(wake),
        }
    }
}
