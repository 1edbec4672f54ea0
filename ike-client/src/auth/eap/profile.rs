//! What a profile allows a login to be.

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
}

impl Default for EapProfile {
    fn default() -> Self {
        Self { methods: vec![EapMethod::Mschapv2], short_master_session_key: false, token_after_success: false }
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
}

impl EapMethod {
    /// Returns the method's type number (RFC 3748 §5).
    pub const fn kind(self) -> u8 {
        match self {
            Self::Gtc => super::packet::kind::GTC,
            Self::Mschapv2 => super::packet::kind::MSCHAPV2,
        }
    }
}
