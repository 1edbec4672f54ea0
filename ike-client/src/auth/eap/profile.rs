//! What a profile allows a login to be.

use crate::auth::certificate::Revocation;
use serde::{Deserialize, Serialize};

/// Which EAP methods a login may use, and how. Whatever is not named here is answered with Nak.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EapProfile {
    /// The methods, best first: what a Nak proposes, in this order (RFC 3748 §5.3.1).
    pub methods: Vec<EapMethod>,
    /// Cuts MSCHAPv2's master session key to the 32 octets that are not zero by definition. It
    /// makes a difference only under a PRF that shortens long keys (AES-XCBC, RFC 4434; AES-CMAC,
    /// RFC 4615): FortiGate has the short form there, others the whole 64 octets.
    pub short_master_session_key: bool,
    /// Accepts the second factor of FortiGate: an EAP-Success of five octets, the last one 6, which
    /// means that GTC follows. Only after MSCHAPv2 has proven the server, and once; the key of the
    /// login is then no longer MSCHAPv2's but [`EapKey::None`](super::EapKey::None).
    pub token_after_success: bool,
    /// For the methods that run in TLS: whom they trust and what they show. Without it they are
    /// answered with Nak.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsProfile>,
}

impl Default for EapProfile {
    fn default() -> Self {
        Self {
            methods: vec![EapMethod::Mschapv2],
            short_master_session_key: false,
            token_after_success: false,
            tls: None,
        }
    }
}

/// A method that a server may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EapMethod {
    /// MSCHAPv2: a password that neither side shows the other.
    Mschapv2,
    /// Generic Token Card: a secret in the clear, for the proven gateway to read.
    Gtc,
    /// TLS: certificates on both sides.
    Tls,
    /// Tunneled TLS: a password inside a channel to a server with a certificate.
    Ttls,
}

/// What a method that runs in TLS is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsProfile {
    /// The host name (or address) that the server's certificate must be for.
    pub server_name: String,
    /// Authorities that may vouch for the server, DER. They are the only ones.
    #[serde(default)]
    pub server_anchors: Vec<Vec<u8>>,
    /// SHA-256 of acceptable subjectPublicKeyInfos; without anchors the pin suffices.
    #[serde(default)]
    pub server_pins: Vec<[u8; 32]>,
    /// What is known of certificates that were taken back; beside it an OCSP response counts that the server sends
    /// within TLS. Nobody is asked.
    #[serde(default)]
    pub revocation: Revocation,
    /// The lowest version of TLS that is spoken.
    #[serde(default)]
    pub minimum_version: TlsVersion,
    /// The own certificate and its issuers, DER, own first; empty where none is shown.
    #[serde(default)]
    pub client_chain: Vec<Vec<u8>>,
    /// What TTLS carries inside.
    #[serde(default)]
    pub inner: InnerMethod,
    /// What TTLS says outside, where everybody on the way to the server can read it, in the place of
    /// the user's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outer_identity: Option<String>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    Tls13,
}

/// What TTLS carries inside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InnerMethod {
    /// MSCHAPv2: the server proves that it knows the password and does not see it.
    #[default]
    Mschapv2,
    /// PAP: the server sees the password.
    Pap,
}

impl EapProfile {
    /// Tells whether `method` may run: it is named, and has what it needs.
    pub fn allows(&self, method: EapMethod) -> bool {
        let equipped = !matches!(method, EapMethod::Tls | EapMethod::Ttls) || self.tls.is_some();
        equipped && self.methods.contains(&method)
    }
}

impl EapMethod {
    /// Returns the method's type number (RFC 3748 §5).
    pub const fn kind(self) -> u8 {
        match self {
            Self::Gtc => super::packet::kind::GTC,
            Self::Mschapv2 => super::packet::kind::MSCHAPV2,
            Self::Tls => super::packet::kind::TLS,
            Self::Ttls => super::packet::kind::TTLS,
        }
    }

    /// Tells whether the method proves both sides to each other, makes a key and gives a listener
    /// nothing to try passwords on: what may stand in the place of the gateway's own proof
    /// (RFC 5998 §4).
    pub const fn suffices_alone(self) -> bool {
        matches!(self, Self::Tls)
    }
}
