//! Algorithms by name, and lifetimes.

use super::complain;
use crate::profile::document::Complaint;
use crate::profile::span;
use ike_client::crypto::suite::{EspSuite, IkeSuite};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Algorithms by name, and lifetimes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Proposals {
    /// Suites for the IKE SA, such as `aes256gcm16-prfsha384-ecp384`.
    pub ike: Vec<IkeSuite>,
    /// Suites for the CHILD SA, such as `aes256gcm16-ecp384`.
    pub esp: Vec<EspSuite>,
    /// Whether the IKE SA must withstand a quantum computer: suites without an additional ML-KEM
    /// exchange are then not offered, unless `auth.ppk_id` is set and required.
    pub require_post_quantum: bool,
    /// When the IKE SA gets new keys.
    #[serde(with = "span")]
    pub ike_lifetime: Duration,
    /// When the CHILD SA gets new keys.
    #[serde(with = "span")]
    pub esp_lifetime: Duration,
    /// How many bytes each half of a CHILD SA may carry under one key; a renewal begins at nine
    /// tenths.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub esp_bytes: Option<u64>,
    /// How many packets it may carry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub esp_packets: Option<u64>,
}

impl Default for Proposals {
    /// What a FortiGate dial-up server accepts by default, without its weaker rows: no SHA-1,
    /// no group below 14.
    fn default() -> Self {
        // The first is for a gateway that withstands a quantum computer too; others pass it over.
        let ike = [
            "aes256gcm16-prfsha384-ecp384-ke1_mlkem768",
            "aes256gcm16-prfsha384-ecp384",
            "chacha20poly1305-prfsha256-x25519",
            "aes128gcm16-prfsha256-ecp256",
            "aes256-sha256-ecp384",
            "aes128-sha256-ecp256",
            "aes256-sha256-modp2048",
            "aes128-sha256-modp2048",
        ];
        let esp = [
            "aes256gcm16-ecp384",
            "chacha20poly1305-x25519",
            "aes128gcm16-ecp256",
            "aes256-sha256-ecp384",
            "aes128-sha256-ecp256",
            "aes256-sha256-modp2048",
            "aes128-sha256-modp2048",
        ];
        Self {
            ike: ike.iter().filter_map(|name| name.parse().ok()).collect(),
            esp: esp.iter().filter_map(|name| name.parse().ok()).collect(),
            require_post_quantum: false,
            ike_lifetime: Duration::from_secs(86_400),
            esp_lifetime: Duration::from_secs(43_200),
            esp_bytes: None,
            esp_packets: None,
        }
    }
}

impl Proposals {
    /// Checks that there is something to propose; `with_post_quantum_key` tells whether a key of
    /// RFC 8784 is required, which withstands a quantum computer with any suite.
    pub(super) fn check(&self, with_post_quantum_key: bool) -> Result<(), Complaint> {
        if self.require_post_quantum
            && !with_post_quantum_key
            && !self.ike.iter().any(|suite| suite.additional.is_post_quantum())
        {
            let expected = "a suite with ke1_mlkem768 or the like in proposals.ike, or auth.ppk_id";
            return complain("proposals.require_post_quantum", "cannot be met", expected);
        }
        if self.ike.is_empty() {
            return complain("proposals.ike", "is empty", "at least one suite");
        }
        if self.esp.is_empty() {
            return complain("proposals.esp", "is empty", "at least one suite");
        }
        let limits =
            [("proposals.esp_bytes", self.esp_bytes, 1_000_000), ("proposals.esp_packets", self.esp_packets, 1000)];
        for (element, limit, least) in limits {
            if limit.is_some_and(|limit| limit < least) {
                return complain(
                    element,
                    "is so small that renewing would never end",
                    "a million bytes, a thousand packets at least",
                );
            }
        }
        Ok(())
    }
}
