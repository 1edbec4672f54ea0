//! What a session wants sent, and when it wants to be called again.

use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// A datagram (or a record of the TCP carrier) to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub destination: SocketAddr,
    /// Which local socket it leaves from.
    pub socket: LocalSocket,
    /// The whole content of the datagram; on [`LocalSocket::Encapsulated`] the four zero octets of
    /// the non-ESP marker are already in front (RFC 3948 §2.2).
    pub bytes: Vec<u8>,
    /// Whether it must arrive in one piece or not at all: it asks how much the path takes.
    pub whole: bool,
}

/// One of the two local sockets. Their port numbers are the driver's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LocalSocket {
    /// The one that speaks with port 500: bare IKE messages.
    Ike,
    /// The one that speaks with port 4500 or the TCP carrier: IKE behind a marker, and ESP.
    Encapsulated,
}

/// Why [`Session::poll_timeout`](super::Session::poll_timeout) wants to be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TimerName {
    /// A [`Request`](super::Request) lapses.
    Answer,
    /// A CHILD SA reaches its age limit.
    ChildExpiry,
    /// A CHILD SA is renewed.
    ChildRekey,
    /// The first message goes out with the cookie that was asked for.
    Cookie,
    /// The IKE SA reaches its age limit.
    IkeExpiry,
    /// The IKE SA is renewed.
    IkeRekey,
    /// A NAT keepalive is due.
    Keepalive,
    /// No other answer to the first message is waited for: those that came have failed.
    LaterAnswer,
    /// The peer has been silent for long.
    Liveness,
    /// The whole negotiation has taken too long.
    Negotiation,
    /// The owner is told that the authentication or the IKE SA ends soon.
    Reauthentication,
    /// Fragments of a message that never became whole are dropped.
    Reassembly,
    /// No better answer came after an unprotected refusal: it is asked again, or believed.
    Refusal,
    /// A replaced SA is dropped though its deletion was never confirmed.
    Retirement,
    /// A request is repeated, or given up.
    Retransmission,
    /// An exchange that the peer could not do before is tried again.
    RetryExchange,
}

impl TimerName {
    /// Returns the name for logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::ChildExpiry => "child-expiry",
            Self::ChildRekey => "child-rekey",
            Self::Cookie => "cookie",
            Self::IkeExpiry => "ike-expiry",
            Self::IkeRekey => "ike-rekey",
            Self::Keepalive => "keepalive",
            Self::LaterAnswer => "later-answer",
            Self::Liveness => "liveness",
            Self::Negotiation => "negotiation",
            Self::Reauthentication => "reauthentication",
            Self::Reassembly => "reassembly",
            Self::Refusal => "refusal",
            Self::Retirement => "retirement",
            Self::Retransmission => "retransmission",
            Self::RetryExchange => "retry-exchange",
        }
    }
}

/// What was dropped, and why. Nothing here changed the state of an SA.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Not a well-formed IKE message, or too large.
    pub malformed: u64,
    /// From another address than the gateway's, or with SPIs of no SA.
    pub foreign: u64,
    /// The integrity check failed.
    pub unauthenticated: u64,
    /// A message id outside the window.
    pub outside_window: u64,
    /// Not protected although an SA stands, or a kind of exchange that does not belong here.
    pub unexpected: u64,
    /// Requests of the peer that were answered again from the cache.
    pub repeated: u64,
    /// Fragments that did not fit their message.
    pub fragments: u64,
    /// Own requests sent again.
    pub retransmitted: u64,
}
