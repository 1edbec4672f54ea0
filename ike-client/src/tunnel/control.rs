//! What crosses between the engine and whoever owns it: commands in, events out.
//!
//! Plain serializable values, because the owner may be another process. The engine is told how to
//! build a tunnel, asks for secrets when it needs them, and moves packets only while it holds a
//! lease: see [`Command::GrantLease`].

use crate::Timestamp;
use crate::crypto::suite::{EspSuite, IkeSuite};
use crate::session::{
    Answer, CloseCause, CloseReason, Configuration, KeyLine, Request, RequestId, SaKind, Ticket, TraceRecord, Warning,
};
use crate::wire::TrafficSelector;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// What the engine is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    /// Builds a tunnel. Valid once, as the first command.
    Start {
        /// The tunnel.
        tunnel: Box<TunnelConfiguration>,
        /// A ticket of the last session of this very tunnel, to come back by.
        #[serde(default)]
        ticket: Option<Box<Ticket>>,
    },
    /// Builds a tunnel by WireGuard instead.
    StartWireGuard {
        /// The tunnel.
        tunnel: Box<WireGuardConfiguration>,
    },
    /// Answers an [`Event::Request`].
    Answer {
        /// The request's number.
        id: RequestId,
        /// The answer.
        answer: Answer,
    },
    /// Lets packets pass until a moment, and no longer, unless the lease is renewed before. Until
    /// the first grant nothing passes. The last grant counts, so a lease can be shortened too.
    GrantLease {
        /// The end of the lease, on the clock of [`clock::now`](super::clock::now), which all
        /// processes of one boot share and which goes on in suspend.
        until: Timestamp,
    },
    /// Lets nothing pass from now on, until the next grant. The tunnel itself stays.
    RevokeLease,
    /// Ends the tunnel: nothing passes any more ([`Event::DataStopped`]), then the gateway is told,
    /// then the engine ends ([`Event::Ended`]).
    Stop {
        /// Why.
        reason: CloseReason,
    },
    /// Renews the IKE SA now.
    RekeyIke,
    /// Renews the CHILD SA now.
    RekeyChild,
    /// Asks the gateway whether it lives, for instance after the network changed.
    Liveness,
    /// Lets the successor be made that [`Event::SuccessorWanted`] asked for.
    Succeed,
}

/// How to build a tunnel. Holds no secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TunnelConfiguration {
    /// Names or addresses of gateways that are as good as one another, best first: the next is
    /// tried when one cannot be found, reached or heard. The engine looks the names up.
    pub gateways: Vec<String>,
    /// Which addresses of the gateway are tried.
    #[serde(default)]
    pub family: AddressFamily,
    /// The gateway's IKE port.
    #[serde(default = "ike_port")]
    pub port: u16,
    /// The gateway's port for IKE and ESP in UDP.
    #[serde(default = "nat_port")]
    pub nat_port: u16,
    /// What IKE and ESP may travel in.
    #[serde(default)]
    pub carrier: CarrierChoice,
    /// The name of the network device to create.
    #[serde(default = "device_name")]
    pub device: String,
    /// The largest inner packet; computed from the path and the suite when absent.
    #[serde(default)]
    pub mtu: Option<u16>,
    /// How much each half of a CHILD SA may carry before it is renewed.
    #[serde(default)]
    pub volume: VolumeLimits,
    /// The mark of every packet to the gateway, so that policy rules can keep them out of the
    /// tunnel itself. Linux only; zero for none.
    #[serde(default)]
    pub firewall_mark: u32,
    /// Whether the conversation is told, message by message: [`Event::Trace`].
    #[serde(default)]
    pub trace: bool,
    /// Whether the keys are told too: [`Event::Keys`]. For root, who wants to read a capture.
    #[serde(default)]
    pub disclose_keys: bool,
    /// What the negotiation is told.
    pub session: Configuration,
}

/// How to build a tunnel by WireGuard. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireGuardConfiguration {
    /// The peer's name or address; the engine looks the name up.
    pub gateway: String,
    /// Which addresses of the peer are tried.
    #[serde(default)]
    pub family: AddressFamily,
    /// The peer's port.
    pub port: u16,
    /// The peer's public key.
    pub peer_public_key: [u8; 32],
    /// How often something is sent though there is nothing to send; none: never.
    #[serde(default)]
    pub keepalive_seconds: Option<u16>,
    /// Our addresses inside, with their prefix lengths.
    pub addresses: Vec<IpNet>,
    /// Resolvers inside.
    #[serde(default)]
    pub dns: Vec<IpAddr>,
    /// Domains that belong to those resolvers; empty: not restricted.
    #[serde(default)]
    pub domains: Vec<String>,
    /// What the peer may send from, and what belongs through the tunnel.
    pub networks: Vec<IpNet>,
    /// The name of the network device to create.
    #[serde(default = "device_name")]
    pub device: String,
    /// The largest inner packet; computed from the path when absent.
    #[serde(default)]
    pub mtu: Option<u16>,
    /// The mark of every packet to the peer. Linux only; zero for none.
    #[serde(default)]
    pub firewall_mark: u32,
    /// Whether both sides share a key beside their own. It is asked for, as the private key is.
    #[serde(default)]
    pub preshared_key: bool,
    /// How long an answer is waited for.
    #[serde(default = "answer_limit")]
    pub answer_limit: Duration,
    /// How long the peer may be silent before it counts as not there. A peer for which a key is wrong is
    /// silent too.
    #[serde(default = "patience")]
    pub patience: Duration,
}

/// Which addresses of the gateway are tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AddressFamily {
    /// Both, in the order of the look-up.
    #[default]
    Any,
    /// IPv4 alone: for a gateway that matches posture tags by the outer IPv4 address.
    Ipv4,
    /// IPv6 alone.
    Ipv6,
}

/// What IKE and ESP travel in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Carrier {
    /// UDP: port 500, then 4500 (RFC 3948).
    #[default]
    Udp,
    /// TCP (RFC 9329) to this port.
    Tcp {
        /// The gateway's port.
        port: u16,
    },
}

/// What IKE and ESP may travel in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "choice", rename_all = "kebab-case")]
pub enum CarrierChoice {
    /// UDP and nothing else.
    #[default]
    Udp,
    /// TCP and nothing else.
    Tcp {
        /// The gateway's port.
        port: u16,
    },
    /// One of both; the other is started beside it when the first has been silent for a while, and
    /// the first that the gateway answers on carries the tunnel.
    Auto {
        /// The gateway's TCP port.
        port: u16,
        /// Whether TCP is the first: what carried the last tunnel on this network.
        #[serde(default)]
        tcp_first: bool,
    },
}

/// How much each half of a CHILD SA may carry: a renewal begins at nine tenths, and beyond the whole
/// nothing passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VolumeLimits {
    /// Octets of inner packets; none: as many as the sequence numbers allow.
    pub bytes: Option<u64>,
    /// Packets; none: as many as the sequence numbers allow.
    pub packets: Option<u64>,
}

/// What the engine tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A step towards the tunnel.
    Progress {
        /// The step.
        step: Progress,
    },
    /// Something must be answered by [`Command::Answer`].
    Request {
        /// Its number.
        id: RequestId,
        /// The question.
        request: Request,
        /// How long an answer is waited for.
        within: Duration,
    },
    /// The tunnel stands. Its device exists and is up, without addresses and routes, which are the
    /// owner's to set. Packets pass as far as the lease goes.
    Established {
        /// What was built.
        tunnel: Box<EstablishedTunnel>,
    },
    /// The gateway wants this client to prove itself again, or sends it to another gateway: a session
    /// is to be made beside the one that stands, if the owner allows it ([`Command::Succeed`]).
    SuccessorWanted {
        /// How long the one that stands will be there.
        within: Duration,
    },
    /// A successor has taken the place of the session before, and packets go on by it. What its gateway
    /// gave may be something else.
    Succeeded {
        /// The tunnel as it is now.
        tunnel: Box<EstablishedTunnel>,
    },
    /// The same session goes on at another of the gateway's addresses (RFC 4555 §3.5).
    GatewayMoved {
        /// The tunnel as it is now.
        tunnel: Box<EstablishedTunnel>,
    },
    /// The gateway gave a ticket: with it the next [`Command::Start`] of this tunnel need not ask for
    /// credentials, once. It holds a key, and is to be destroyed when the tunnel must not come back
    /// by itself.
    Ticket {
        /// The ticket.
        ticket: Box<Ticket>,
    },
    /// The path takes inner packets of another size than was thought; the device has it already.
    PathMtu {
        /// The largest.
        mtu: u16,
    },
    /// An SA was renewed.
    Rekeyed {
        /// Which.
        sa: SaKind,
    },
    /// Something a person should know; nothing ends because of it.
    Warning {
        /// What.
        warning: Warning,
    },
    /// A message of the conversation. Gives way when the owner is slow.
    Trace {
        /// The message: names and sizes, no content.
        record: TraceRecord,
        /// The time since the gateway was contacted first.
        elapsed: Duration,
        /// What the session waits for after it, and for how long.
        timer: Option<(String, Duration)>,
    },
    /// A key of the tunnel, where they are to be disclosed.
    Keys {
        /// The line of a table.
        line: KeyLine,
    },
    /// What has passed so far; comes every [`COUNTERS_INTERVAL`] while something changes.
    Counters {
        /// The sums since the tunnel stands.
        counters: Counters,
    },
    /// The lease ran out or was revoked: packets are being dropped.
    LeaseLapsed {
        /// Since when.
        at: Timestamp,
    },
    /// The data plane is shut for good: after this nothing leaves but the IKE Delete.
    DataStopped {
        /// Since when.
        at: Timestamp,
    },
    /// The engine has ended; no event follows.
    Ended {
        /// Why.
        cause: EndCause,
    },
}

/// The time between two [`Event::Counters`].
pub const COUNTERS_INTERVAL: Duration = Duration::from_secs(5);

/// A step towards the tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Progress {
    /// The gateway's name is being looked up.
    LookingUp,
    /// The gateway is being spoken to.
    Contacting {
        /// Where.
        gateway: SocketAddr,
    },
    /// Nothing answers by UDP; TCP is tried beside it.
    UdpSilent,
    /// The stream to the gateway was lost; another one is being opened.
    Reconnecting,
    /// Both sides have proved who they are.
    Authenticated,
}

impl std::fmt::Display for Progress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::LookingUp => formatter.write_str("looking the gateway up"),
            Self::Contacting { gateway } => write!(formatter, "contacting {gateway}"),
            Self::UdpSilent => formatter.write_str("UDP seems blocked here, trying TCP"),
            Self::Reconnecting => formatter.write_str("the connection to the gateway was lost, making another"),
            Self::Authenticated => formatter.write_str("authenticated"),
        }
    }
}

/// A tunnel that stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EstablishedTunnel {
    /// The gateway's address and port, after a float to port 4500.
    pub gateway: SocketAddr,
    /// Where else it said it can be reached (RFC 4555 §3.6).
    #[serde(default)]
    pub other_gateways: Vec<IpAddr>,
    /// The local address that the gateway is reached from.
    pub local: SocketAddr,
    /// What IKE and ESP travel in.
    pub carrier: Carrier,
    /// Whether a NAT lies in front of this machine.
    pub behind_nat: bool,
    /// The identity the gateway proved, as text.
    pub gateway_identity: String,
    /// Assigned addresses with their prefix lengths.
    pub addresses: Vec<IpNet>,
    /// Assigned resolvers.
    pub dns: Vec<IpAddr>,
    /// Domains that belong to those resolvers; empty: not restricted. Text of the gateway.
    pub domains: Vec<String>,
    /// What the gateway accepts through the tunnel: its selectors.
    pub remote_selectors: Vec<TrafficSelector>,
    /// What belongs through the tunnel: the subnets the gateway named, else its selectors as
    /// networks.
    pub networks: Vec<IpNet>,
    /// The largest inner packet.
    pub mtu: u16,
    /// The device's name.
    pub device: String,
    /// The device's index.
    pub device_index: u32,
    /// What protects the packets.
    pub protection: Protection,
    /// Standing warnings.
    pub warnings: Vec<Warning>,
}

/// What protects the packets of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Protection {
    /// IKEv2 and ESP.
    Esp {
        /// The suite of the IKE SA.
        ike_suite: IkeSuite,
        /// The suite of the CHILD SA.
        esp_suite: EspSuite,
    },
    /// WireGuard, which has no choice of algorithms.
    WireGuard,
}

impl Protection {
    /// Returns the names of what protects the negotiation and the packets.
    pub fn names(&self) -> (String, String) {
        match self {
            Self::Esp { ike_suite, esp_suite } => (ike_suite.to_string(), esp_suite.to_string()),
            Self::WireGuard => ("wireguard".to_owned(), "chacha20poly1305".to_owned()),
        }
    }
}

/// What has passed, and what was dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Inner packets sealed and sent.
    pub packets_sent: u64,
    /// Their octets.
    pub bytes_sent: u64,
    /// Inner packets opened and handed to the system.
    pub packets_received: u64,
    /// Their octets.
    pub bytes_received: u64,
    /// Packets dropped in either direction because no lease was held.
    pub dropped_without_lease: u64,
    /// Packets dropped on the way out: no SA, outside the selectors, or not sendable.
    pub dropped_outbound: u64,
    /// Packets dropped on the way in: unknown SPI, malformed, outside the selectors.
    pub dropped_inbound: u64,
    /// Packets dropped as repeated or too old.
    pub replayed: u64,
    /// Packets dropped because the integrity check failed.
    pub unauthenticated: u64,
    /// Dummy packets of the gateway, made against traffic analysis (RFC 4303 §2.6), and dropped.
    #[serde(default)]
    pub dummies: u64,
}

/// Why the engine ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "end", rename_all = "kebab-case")]
pub enum EndCause {
    /// The negotiation or the SA ended: see the cause, which also says what is worth trying next.
    #[error(transparent)]
    Session {
        /// Why.
        #[serde(flatten)]
        #[from]
        cause: CloseCause,
    },
    /// The gateway's name has no address of the wanted family, or the look-up failed.
    #[error("the name {name} could not be looked up: {error}")]
    LookupFailed {
        /// The name.
        name: String,
        /// What the system said.
        error: String,
    },
    /// A WireGuard peer never answered. It says nothing to whom it does not know.
    #[error("the peer does not answer: nothing is there, or a key is not the one it knows")]
    PeerSilent,
    /// A socket could not be made or used: no network, no route, no right.
    #[error("the network cannot be used: {error}")]
    Network {
        /// What the system said.
        error: String,
    },
    /// The network device could not be made or used.
    #[error("the network device {device} cannot be used: {error}")]
    Device {
        /// Its name.
        device: String,
        /// What the system said.
        error: String,
    },
    /// This machine is elsewhere, and the gateway does not follow: the tunnel has to be made anew.
    #[error("this machine's address has changed")]
    PathChanged,
    /// The owner is gone: its command stream closed.
    #[error("the owner of the tunnel is gone")]
    OwnerGone,
}

const fn ike_port() -> u16 {
    500
}

const fn nat_port() -> u16 {
    4500
}

const fn answer_limit() -> Duration {
    Duration::from_secs(120)
}

const fn patience() -> Duration {
    Duration::from_secs(20)
}

fn device_name() -> String {
    "postern0".to_owned()
}
