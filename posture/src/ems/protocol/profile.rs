//! The profile: the tunnels that EMS manages, and what their posture check demands.

use crate::policy::{Enforcement, TagPolicy};
use crate::rules::TagName;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// The profile of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Its name at EMS.
    pub name: String,
    /// EMS's *Enable Secure Remote Access*: off means that no tag is enforced.
    #[serde(default)]
    pub secure_remote_access: bool,
    /// How long tags that only EMS can know keep their value while EMS is out of reach.
    #[serde(default = "day")]
    pub offline_grace_seconds: u64,
    /// How often the compliance loop looks again by itself.
    #[serde(default = "quarter_minute")]
    pub compliance_interval_seconds: u64,
    /// Whether the endpoint may leave.
    #[serde(default = "yes")]
    pub unenrol_allowed: bool,
    /// The administrator's words to whoever may not leave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unenrol_refusal: Option<String>,
    /// Whether users may have tunnels of their own, where the endpoint's administrator lets them too.
    #[serde(default = "yes")]
    pub own_tunnels_allowed: bool,
    /// The tunnels.
    #[serde(default)]
    pub tunnels: Vec<ManagedTunnel>,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            name: "Default".into(),
            secure_remote_access: false,
            offline_grace_seconds: day(),
            compliance_interval_seconds: quarter_minute(),
            unenrol_allowed: true,
            unenrol_refusal: None,
            own_tunnels_allowed: true,
            tunnels: Vec::new(),
        }
    }
}

impl Profile {
    /// Returns what a tunnel's posture check demands under this profile: nothing while
    /// *Enable Secure Remote Access* is off.
    pub fn policy(&self, tunnel: &ManagedTunnel) -> TagPolicy {
        TagPolicy {
            enforcement: self.enforcement(tunnel),
            prohibited: tunnel.tags.prohibited.clone(),
            allowed: tunnel.tags.allowed.clone(),
            warning: tunnel.tags.warning.clone(),
        }
    }

    /// Returns whether a tunnel's tags are enforced: never while *Enable Secure Remote Access* is off.
    pub const fn enforcement(&self, tunnel: &ManagedTunnel) -> Enforcement {
        if self.secure_remote_access { tunnel.tags.enforcement } else { Enforcement::Off }
    }

    /// Returns how long tags that only EMS can know keep their value for a tunnel, in seconds.
    pub fn offline_grace_seconds(&self, tunnel: &ManagedTunnel) -> u64 {
        tunnel.offline_grace_seconds.unwrap_or(self.offline_grace_seconds)
    }
}

/// One tunnel. Algorithm suites, identities and names are text here; the agent says what they mean
/// and refuses what it does not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagedTunnel {
    /// Its name.
    pub name: String,
    /// The gateway: an address or a name, without a port.
    pub gateway: String,
    /// How the gateway proves itself.
    pub gateway_auth: GatewayAuthentication,
    /// How the endpoint proves itself.
    pub client_auth: ClientAuthentication,
    /// The identity that the gateway must prove; the gateway's address or name when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_identity: Option<String>,
    /// The identity that the endpoint claims; what fits the authentication when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_identity: Option<String>,
    /// Suites of the IKE SA by transform names, best first; the defaults when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ike_suites: Vec<String>,
    /// Suites of the CHILD SA by transform names, best first; the defaults when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub esp_suites: Vec<String>,
    /// What carries IKE and ESP, tried in this order.
    #[serde(default = "udp", skip_serializing_if = "is_udp")]
    pub carriers: Vec<Carrier>,
    /// The port of the TCP carrier; 443 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_port: Option<u16>,
    /// Networks wanted behind the gateway; everything when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<IpNet>,
    /// Whether ESP goes in UDP even where no NAT is seen.
    #[serde(default)]
    pub force_encapsulation: bool,
    /// Whether a tunnel that was lost is made again by itself.
    #[serde(default)]
    pub keep_running: bool,
    /// What may leave in the clear after compliance was lost.
    #[serde(default)]
    pub after_loss: AfterLoss,
    /// Grace of this tunnel; the profile's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offline_grace_seconds: Option<u64>,
    /// What the posture check demands.
    #[serde(default)]
    pub tags: TunnelTags,
}

/// How a gateway proves itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "kebab-case")]
pub enum GatewayAuthentication {
    /// By a certificate.
    Certificate {
        /// Trust anchors, PEM; the system's when empty.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        anchors_pem: Vec<String>,
        /// SHA-256 of accepted public keys (SPKI), hexadecimal; any when empty.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        spki_pins: Vec<String>,
    },
    /// By the pre-shared key.
    PreSharedKey,
}

/// How the endpoint proves itself. Secrets are not in a profile: the agent asks for them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "kebab-case")]
pub enum ClientAuthentication {
    /// By the pre-shared key.
    PreSharedKey,
    /// By a certificate that is installed on the endpoint under this name.
    Certificate {
        /// Its name.
        name: String,
    },
    /// By user name and password through EAP.
    Eap {
        /// The user; asked for when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
    },
}

/// What carries IKE and ESP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Carrier {
    /// RFC 3948.
    Udp,
    /// RFC 9329.
    Tcp,
}

/// What happens to traffic that went through the tunnel, after compliance was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AfterLoss {
    /// It may leave in the clear.
    Restore,
    /// It is blocked until the user dismisses the notice or the service disconnects.
    #[default]
    BlockProtectedPrefixes,
}

/// What the posture check of a tunnel demands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelTags {
    /// Any of these suffices; no demand when empty.
    #[serde(default)]
    pub allowed: Vec<TagName>,
    /// None of these may be present.
    #[serde(default)]
    pub prohibited: Vec<TagName>,
    /// EMS's *Customize Host Check Fail Warning*, verbatim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// Whether the verdict refuses, or is only computed, reported and told.
    #[serde(default = "enforce")]
    pub enforcement: Enforcement,
}

impl Default for TunnelTags {
    fn default() -> Self {
        Self { allowed: Vec::new(), prohibited: Vec::new(), warning: None, enforcement: enforce() }
    }
}

fn enforce() -> Enforcement {
    Enforcement::Enforce
}

fn yes() -> bool {
    true
}

fn day() -> u64 {
    24 * 60 * 60
}

fn quarter_minute() -> u64 {
    15
}

fn udp() -> Vec<Carrier> {
    vec![Carrier::Udp]
}

fn is_udp(carriers: &[Carrier]) -> bool {
    carriers == [Carrier::Udp]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_profile_is_enough() {
        let profile: Profile = serde_json::from_str(
            r#"{"name": "Remote", "tunnels": [{"name": "RA-VPN", "gateway": "vpn.example",
                "gateway_auth": {"method": "certificate"}, "client_auth": {"method": "eap"},
                "unknown member": 1}]}"#,
        )
        .unwrap();
        assert!(!profile.secure_remote_access);
        assert_eq!(profile.offline_grace_seconds, 86_400);
        assert_eq!(profile.tunnels[0].after_loss, AfterLoss::BlockProtectedPrefixes);
        assert_eq!(profile.tunnels[0].carriers, [Carrier::Udp]);
    }

    #[test]
    fn secure_remote_access_decides_whether_tags_are_enforced() {
        let mut profile: Profile = serde_json::from_str(
            r#"{"name": "Remote", "tunnels": [{"name": "RA-VPN", "gateway": "vpn.example",
                "gateway_auth": {"method": "pre-shared-key"}, "client_auth": {"method": "eap"},
                "tags": {"prohibited": ["Critical Vulnerability"], "warning": "Call IT"}}]}"#,
        )
        .unwrap();
        let tunnel = profile.tunnels[0].clone();
        assert_eq!(profile.policy(&tunnel).enforcement, Enforcement::Off);
        profile.secure_remote_access = true;
        let policy = profile.policy(&tunnel);
        assert_eq!(policy.enforcement, Enforcement::Enforce);
        assert_eq!(policy.prohibited, [TagName::new("critical vulnerability")]);
        assert_eq!(policy.warning_text(), "Call IT");
    }

    #[test]
    fn each_tunnel_says_whether_its_tags_are_enforced() {
        for (word, enforcement) in
            [("off", Enforcement::Off), ("audit", Enforcement::Audit), ("enforce", Enforcement::Enforce)]
        {
            let tags: TunnelTags = serde_json::from_value(serde_json::json!({"enforcement": word})).unwrap();
            assert_eq!(tags.enforcement, enforcement);
        }
        assert!(serde_json::from_str::<TunnelTags>(r#"{"enforcement": "perhaps"}"#).is_err());
    }

    #[test]
    fn an_unknown_way_to_authenticate_is_not_guessed() {
        let text = r#"{"method": "trust-me"}"#;
        assert!(serde_json::from_str::<GatewayAuthentication>(text).is_err());
    }
}
