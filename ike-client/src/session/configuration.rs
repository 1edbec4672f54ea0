//! What one tunnel's negotiation is told beforehand. Holds no secret: those are asked for.

pub use super::continuity::Continuity;
use crate::auth::Identity;
use crate::auth::certificate::Revocation;
use crate::auth::eap::EapProfile;
use crate::crypto::suite::{EspSuite, IkeSuite};
use crate::exchange::RetransmissionPolicy;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// Everything a [`Session`](super::Session) must know about a tunnel, secrets excepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Configuration {
    /// IDi. None: the subject of the own certificate when there is one, else the local address.
    #[serde(default)]
    pub local_identity: Option<Identity>,
    /// The IDr that the gateway must prove. None: a certificate must be good for
    /// [`Self::gateway_name`]; with a pre-shared key any IDr is accepted.
    #[serde(default)]
    pub remote_identity: Option<Identity>,
    /// Whether IDr is also sent in the request. Some gateways then fail to find their own profile.
    #[serde(default)]
    pub send_remote_identity: bool,
    /// The DNS name or address that was dialled; a gateway's certificate is checked against it
    /// when no [`Self::remote_identity`] is set.
    pub gateway_name: String,
    /// How the gateway proves itself.
    pub gateway_auth: GatewayAuthentication,
    /// How this client proves itself.
    pub client_auth: ClientAuthentication,
    /// Suites offered for the IKE SA, best first. Nothing else is accepted.
    pub ike_suites: Vec<IkeSuite>,
    /// Suites offered for the CHILD SA, best first. Nothing else is accepted.
    pub esp_suites: Vec<EspSuite>,
    /// The post-quantum pre-shared key that is mixed into the keys (RFC 8784); none: not spoken of.
    #[serde(default)]
    pub ppk: Option<PostQuantumKey>,
    /// Whether an IKE SA must withstand a quantum computer: suites without a post-quantum key
    /// exchange are then not offered, unless the post-quantum pre-shared key is required.
    #[serde(default)]
    pub require_post_quantum: bool,
    /// Addresses that are requested by the configuration payload.
    #[serde(default)]
    pub virtual_addresses: VirtualAddresses,
    /// Networks of this side that are offered (TSi).
    #[serde(default = "everywhere")]
    pub local_networks: Vec<IpNet>,
    /// Networks behind the gateway that are asked for (TSr).
    #[serde(default = "everywhere")]
    pub remote_networks: Vec<IpNet>,
    /// When the IKE SA is renewed.
    #[serde(default = "default_ike_lifetime")]
    pub ike_lifetime: Lifetime,
    /// When the CHILD SA is renewed.
    #[serde(default = "default_child_lifetime")]
    pub child_lifetime: Lifetime,
    /// Silence after which the peer is asked whether it lives; none: never.
    #[serde(default = "default_liveness_interval")]
    pub liveness_interval: Option<Duration>,
    /// How requests are repeated.
    #[serde(default)]
    pub retransmission: RetransmissionPolicy,
    /// Time from the first message to the established SA, waiting for a person not counted.
    #[serde(default = "default_negotiation_limit")]
    pub negotiation_limit: Duration,
    /// Time a [`Request`](super::Request) may stay unanswered.
    #[serde(default = "default_answer_limit")]
    pub answer_limit: Duration,
    /// Makes the peer see a NAT, so that ESP always travels in UDP or TCP. The engine has no
    /// sending of bare ESP, so this is off only in tests.
    #[serde(default = "enabled")]
    pub force_encapsulation: bool,
    /// Whether the first message already goes to port 4500 (or the TCP carrier's port).
    #[serde(default)]
    pub start_encapsulated: bool,
    /// The gateway's port for IKE and ESP in UDP, to which the session moves after IKE_SA_INIT.
    #[serde(default = "default_encapsulated_port")]
    pub encapsulated_port: u16,
    /// How often a NAT keepalive is sent while a NAT was found on this side; none: never.
    #[serde(default = "default_keepalive_interval")]
    pub keepalive_interval: Option<Duration>,
    /// The largest IKE message that is sent in one piece, in octets without IP and UDP headers
    /// (RFC 7383 §2.5.1).
    #[serde(default = "default_fragment_size")]
    pub fragment_size: usize,
    /// Packets that may arrive late on the inbound ESP SA.
    #[serde(default = "default_replay_window")]
    pub replay_window: u32,
    /// Whether INITIAL_CONTACT is sent: this device has no other SA with the gateway.
    #[serde(default = "enabled")]
    pub initial_contact: bool,
    /// How the tunnel goes on: moving, redirects, a start without CHILD SA, a successor.
    #[serde(default)]
    pub continuity: Continuity,
    /// What a gateway with private extensions wants to be told.
    #[serde(default)]
    pub extensions: Extensions,
}

impl Configuration {
    /// Makes the configuration of a session that is made beside one that stands, to take its place:
    /// it starts on the socket in use, asks for the same inside addresses, and does not make the
    /// gateway forget the one that stands.
    #[must_use]
    pub fn succeeding(mut self, addresses: &[IpNet]) -> Self {
        self.initial_contact = false;
        self.start_encapsulated = true;
        self.continuity.preferred_addresses = addresses.iter().map(IpNet::addr).collect();
        self
    }
}

/// A post-quantum pre-shared key; the key itself is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostQuantumKey {
    /// Its name, by which the gateway finds it.
    pub identity: String,
    /// Whether a gateway that does not have it is refused. Otherwise the tunnel comes up without it,
    /// with a standing [`Warning`](super::Warning).
    #[serde(default = "enabled")]
    pub required: bool,
}

/// How the gateway proves that it is the configured one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "kebab-case")]
pub enum GatewayAuthentication {
    /// By a certificate: signed under one of the anchors, or its key pinned, or both.
    Certificate {
        /// Trust anchors, DER. They are the only ones: the system's store is not consulted.
        anchors: Vec<Vec<u8>>,
        /// SHA-256 of acceptable subjectPublicKeyInfo; empty: any key under the anchors.
        #[serde(default)]
        spki_pins: Vec<[u8; 32]>,
        /// Whether an RSA signature with SHA-1 (method 1) is accepted from a gateway that does not
        /// know method 14; with a [`Warning`](super::Warning).
        #[serde(default = "enabled")]
        allow_rsa_sha1: bool,
        /// What is known of certificates that were taken back.
        #[serde(default)]
        revocation: Revocation,
    },
    /// By the login alone (RFC 5998): only with EAP methods that prove both sides, make a key and
    /// give a listener no password to guess. IDr must be [`Configuration::remote_identity`], or the
    /// dialled name.
    Eap,
    /// By the pre-shared key. Together with EAP every holder of the key can pose as the gateway:
    /// accepted only by this name and with a standing [`Warning`](super::Warning).
    PreSharedKey,
}

/// How this client proves who it is.
#[allow(clippy::large_enum_variant, reason = "one value a session, never moved about in numbers")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "kebab-case")]
pub enum ClientAuthentication {
    /// By the pre-shared key, asked for when it is needed.
    PreSharedKey,
    /// By a certificate, whose private key stays with the owner: signatures are asked for.
    Certificate {
        /// The own certificate and its intermediates, DER, leaf first.
        chain: Vec<Vec<u8>>,
    },
    /// By a certificate, and then by EAP in a second exchange (RFC 4739). A gateway that does not announce that it can
    /// do so is refused before anything was shown to it.
    CertificateThenEap {
        /// The own certificate and its intermediates, DER, leaf first.
        chain: Vec<Vec<u8>>,
        /// IDi of the second exchange; none: that of the first.
        #[serde(default)]
        second_identity: Option<Identity>,
        /// The EAP identity; none: asked for.
        #[serde(default)]
        identity: Option<String>,
        /// Which methods it may be, and how.
        #[serde(default)]
        profile: EapProfile,
    },
    /// By EAP.
    Eap {
        /// The EAP identity; none: asked for.
        #[serde(default)]
        identity: Option<String>,
        /// Which methods it may be, and how.
        #[serde(default)]
        profile: EapProfile,
    },
}

impl ClientAuthentication {
    /// Returns the own certificates, where it shows some outside EAP.
    pub(super) fn chain(&self) -> Option<&[Vec<u8>]> {
        match self {
            Self::Certificate { chain } | Self::CertificateThenEap { chain, .. } => Some(chain),
            Self::PreSharedKey | Self::Eap { .. } => None,
        }
    }
}

/// Which addresses are requested from the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VirtualAddresses {
    /// An IPv4 address.
    #[serde(default = "enabled")]
    pub ipv4: bool,
    /// An IPv6 address.
    #[serde(default)]
    pub ipv6: bool,
}

impl Default for VirtualAddresses {
    fn default() -> Self {
        Self { ipv4: true, ipv6: false }
    }
}

impl VirtualAddresses {
    /// Tells whether no configuration payload is sent at all.
    pub const fn none(self) -> bool {
        !self.ipv4 && !self.ipv6
    }
}

/// When an SA is renewed, and when it ends if that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lifetime {
    /// Age at which the renewal starts, before jitter.
    pub rekey_after: Duration,
    /// Up to this much is taken off `rekey_after` at random, so that two peers with the same
    /// settings seldom collide and many clients do not come at once.
    pub jitter: Duration,
    /// Age at which the SA is given up.
    pub expire_after: Duration,
}

/// Private payloads for gateways that want them. Empty by default: nothing is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extensions {
    /// Vendor IDs in IKE_SA_INIT, in this order.
    #[serde(default)]
    pub vendor_ids: Vec<Vec<u8>>,
    /// Status notifies of private types (40960 and above) in the first IKE_AUTH request.
    #[serde(default)]
    pub notifies: Vec<(u16, Vec<u8>)>,
    /// Types of the configuration attributes that are asked for, in this order, in place of those
    /// that [`VirtualAddresses`] wants; empty: those.
    #[serde(default)]
    pub configuration_request: Vec<u16>,
    /// Whether UNITY_SPLIT_INCLUDE names networks as INTERNAL_IP4_SUBNET does.
    #[serde(default)]
    pub split_include: bool,
}

fn everywhere() -> Vec<IpNet> {
    let ipv4 = ipnet::Ipv4Net::new(Ipv4Addr::UNSPECIFIED, 0);
    let ipv6 = ipnet::Ipv6Net::new(Ipv6Addr::UNSPECIFIED, 0);
    ipv4.map(IpNet::V4).into_iter().chain(ipv6.map(IpNet::V6)).collect()
}

const fn enabled() -> bool {
    true
}

const fn default_ike_lifetime() -> Lifetime {
    Lifetime {
        rekey_after: Duration::from_secs(20 * 3600),
        jitter: Duration::from_secs(3600),
        expire_after: Duration::from_secs(24 * 3600),
    }
}

const fn default_child_lifetime() -> Lifetime {
    Lifetime {
        rekey_after: Duration::from_secs(3600),
        jitter: Duration::from_secs(360),
        expire_after: Duration::from_secs(3960),
    }
}

const fn default_liveness_interval() -> Option<Duration> {
    Some(Duration::from_secs(20))
}

const fn default_negotiation_limit() -> Duration {
    Duration::from_secs(60)
}

const fn default_answer_limit() -> Duration {
    Duration::from_secs(120)
}

const fn default_encapsulated_port() -> u16 {
    4500
}

const fn default_keepalive_interval() -> Option<Duration> {
    Some(Duration::from_secs(20))
}

const fn default_fragment_size() -> usize {
    1200
}

const fn default_replay_window() -> u32 {
    1024
}
