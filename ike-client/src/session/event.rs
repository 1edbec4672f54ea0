//! What a session tells its driver.

use super::cause::CloseCause;
use super::redirect::RedirectTarget;
use super::resume::Ticket;
use crate::auth::Identity;
use crate::auth::certificate::KnownAnswer;
use crate::crypto::suite::{EspSuite, IkeSuite};
use crate::esp::{EspSpi, InboundSa, OutboundSa};
use crate::wire::TrafficSelector;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// The IKE SA stands and both sides are authenticated. Comes once, just before the first
    /// [`Event::ChildInstalled`].
    Established(Box<Established>),
    /// A CHILD SA can carry packets.
    ChildInstalled(Box<ChildInstalled>),
    /// A CHILD SA is gone; its inbound and outbound halves are to be dropped.
    ChildRetired {
        /// SPI of the inbound half (chosen by this side).
        inbound: EspSpi,
        /// SPI of the outbound half (chosen by the peer).
        outbound: EspSpi,
    },
    /// The IKE SA was replaced by a new one.
    IkeRekeyed {
        /// The new one's suite.
        suite: IkeSuite,
    },
    /// The gateway has taken the move to other addresses (RFC 4555), or was found at another of its
    /// own: ESP goes between these from now on.
    Moved {
        /// The own address and port.
        local: SocketAddr,
        /// The gateway's address and port.
        gateway: SocketAddr,
        /// Where NATs are now.
        nat: Nat,
    },
    /// The authentication, or the IKE SA, ends soon: time to make a successor beside this session
    /// (see [`Configuration::succeeding`](super::Configuration::succeeding)).
    ReauthenticationDue {
        /// How long it still holds.
        within: Duration,
    },
    /// The gateway, which is proven, sends this client to another one (RFC 5685): a successor is to be
    /// made there, and this session closed when it stands.
    Redirected {
        /// Where to.
        to: RedirectTarget,
    },
    /// The gateway gave a ticket by which this session can be resumed, once
    /// ([`Session::resume`](super::Session::resume)). It holds a key.
    Ticket(Box<Ticket>),
    /// The gateway has answered [`Session::probe_path`](super::Session::probe_path).
    Probed {
        /// The octets of the datagram that asked.
        size: usize,
        /// Whether it arrived in one piece: no repetition was needed.
        arrived: bool,
    },
    /// One of those who were asked about revocation gave an answer that was believed and stands for a while: the next
    /// session may know it ([`Revocation::known`](crate::auth::certificate::Revocation::known)).
    RevocationLearnt(KnownAnswer),
    /// Something a person should know; nothing ends because of it.
    Warning(Warning),
    /// The session is over. No event follows; the transmits that are still queued are to be sent.
    Closed {
        /// Why.
        cause: CloseCause,
    },
}

/// What was negotiated and assigned.
#[derive(Clone, Debug, PartialEq)]
pub struct Established {
    /// The gateway's address and port, after a float to port 4500.
    pub gateway: SocketAddr,
    /// The IDr that the gateway proved.
    pub gateway_identity: Identity,
    /// Assigned addresses with their prefix lengths (32 or 128 when the gateway named none).
    pub addresses: Vec<IpNet>,
    /// Assigned resolvers.
    pub dns: Vec<IpAddr>,
    /// Domains that belong to those resolvers (RFC 8598); empty: not restricted. Text of the
    /// gateway: to be shown as plain text.
    pub domains: Vec<String>,
    /// Networks named by INTERNAL_IP4_SUBNET and INTERNAL_IP6_SUBNET; empty: the selectors alone
    /// say what goes through the tunnel.
    pub subnets: Vec<IpNet>,
    /// The IKE SA's suite.
    pub ike_suite: IkeSuite,
    /// Which side of the path has a NAT, as far as the detection can tell.
    pub nat: Nat,
    /// Standing warnings.
    pub warnings: Vec<Warning>,
}

/// Where NATs were detected (RFC 7296 §2.23).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nat {
    /// This side is behind one.
    pub here: bool,
    /// The gateway is behind one.
    pub there: bool,
}

/// A CHILD SA with its keys inside.
#[derive(Debug)]
pub struct ChildInstalled {
    /// Seals what goes out.
    pub outbound: OutboundSa,
    /// Opens what comes in.
    pub inbound: InboundSa,
    /// Its suite.
    pub suite: EspSuite,
    /// Addresses of this side that may use it (narrowed by the gateway).
    pub local_selectors: Vec<TrafficSelector>,
    /// Addresses of the other side that may use it.
    pub remote_selectors: Vec<TrafficSelector>,
    /// Inbound SPI of the CHILD SA that this one replaces.
    pub replaces: Option<EspSpi>,
    /// From when on packets are sent on it.
    pub outbound_from: OutboundFrom,
}

/// From when on a new CHILD SA is sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutboundFrom {
    /// At once.
    Now,
    /// The peer asked for the renewal and may not be ready yet: as soon as a packet arrived on
    /// the new inbound half or the replaced SA was retired (RFC 7296 §2.8).
    FirstInbound,
}

/// Something a person should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "warning", rename_all = "kebab-case")]
pub enum Warning {
    /// The gateway proves itself by a key that every user has.
    #[error("the gateway is authenticated by a shared key: everyone who has the key can pose as the gateway")]
    GatewayByPreSharedKey,
    /// The pre-shared key is short.
    #[error("the pre-shared key is short enough to be guessed")]
    PreSharedKeyWeak,
    /// Those whom the gateway's certificate names did not say whether it was revoked.
    #[error("nobody could say whether the gateway's certificate was revoked")]
    RevocationUnknown,
    /// SHA-1 was used in a signature.
    #[error("the gateway signed with SHA-1")]
    SignatureUsesSha1,
    /// The gateway does not have the optional post-quantum pre-shared key.
    #[error("the gateway does not have the post-quantum pre-shared key: the tunnel does without it")]
    PostQuantumKeyUnused,
    /// The profile names a weak algorithm, and the gateway chose it.
    #[error("the gateway chose {suite}, which is weak: it is used only because the tunnel's profile names it")]
    WeakSuite {
        /// The suite.
        suite: String,
    },
    /// A renewal was refused; the SA in use goes on until it expires.
    #[error("the gateway refused to renew the security association")]
    RekeyRefused,
}
