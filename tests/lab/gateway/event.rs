//! What happens at the gateway, as values.

use super::responder::Path;
use ike_client::esp::{EspSpi, InboundSa, OutboundSa};
use ike_client::wire::{InitiatorSpi, ResponderSpi};
use std::net::Ipv4Addr;

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// For the event log.
    Log(LogEvent),
    /// A CHILD SA can carry packets.
    ChildInstalled(Box<InstalledChild>),
    /// A CHILD SA is gone; its halves are to be dropped.
    ChildRetired {
        /// The SPI that the gateway received on.
        inbound: EspSpi,
    },
}

/// A CHILD SA with its keys.
#[derive(Debug)]
pub struct InstalledChild {
    /// Opens what comes from the client.
    pub inbound: InboundSa,
    /// Seals what goes to the client.
    pub outbound: OutboundSa,
    /// The client's address inside.
    pub address: Ipv4Addr,
    /// Where the client is.
    pub path: Path,
}

/// What the log shows of an SA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Where the client is.
    pub path: Path,
    /// The IKE SA's SPIs.
    pub spis: (InitiatorSpi, ResponderSpi),
    /// Who the client says it is (IDi).
    pub peer_id: Option<String>,
    /// The EAP user.
    pub user: Option<String>,
    /// The client's address inside.
    pub address: Option<Ipv4Addr>,
    /// The UID that FortiClient tells.
    pub forticlient_uid: Option<String>,
}

/// One line of the event log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEvent {
    /// Whose.
    pub subject: Subject,
    /// What.
    pub kind: LogKind,
}

/// The kinds of log line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogKind {
    /// The negotiation failed.
    NegotiationFailed {
        /// Why, in FortiOS's words where they are known.
        reason: &'static str,
    },
    /// The tunnel is up.
    TunnelUp,
    /// The tunnel is down.
    TunnelDown {
        /// How many seconds it was up.
        seconds: u64,
    },
    /// The client did not answer.
    LivenessFailed,
}
