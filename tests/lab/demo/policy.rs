//! What the administrator sets at EMS: the tagging rules, and the profile with the tunnel `RA-VPN`.

use serde_json::{Value, json};

/// The administrator's words, shown verbatim to whoever is refused.
pub const WARNING: &str =
    "This device has a critical vulnerability and may not connect.\nInstall the pending updates, or call IT: 4711.";

/// The tag of endpoints with a critical vulnerability.
pub const CRITICAL: &str = "Critical Vulnerability";
/// The tag that the administrator gives by hand.
pub const ALLOWED: &str = "Corporate device";
/// A tag that the endpoint carries because of its address.
pub const NETWORK: &str = "Branch office";
/// The tag of endpoints that EMS hears.
pub const TELEMETRY: &str = "Telemetry connected";
/// The tag of endpoints whose antivirus runs.
pub const ANTIVIRUS: &str = "Antivirus running";

/// The tagging rules.
pub fn rules() -> Value {
    let set = |tag: &str, rule: Value| json!({"name": tag, "tag": tag, "systems": {"linux": {"rules": [rule]}}});
    json!([
        set(TELEMETRY, json!({"id": 1, "type": "ems-management"})),
        set(CRITICAL, json!({"id": 1, "type": "vulnerable-devices", "severity": "critical"})),
        set(ANTIVIRUS, json!({"id": 1, "type": "anti-virus"})),
        set(NETWORK, json!({"id": 1, "type": "ip-range", "ranges": ["10.0.3.0/24"]})),
    ])
}

/// The profile: who may connect, and what happens after a loss.
#[derive(Clone, Debug)]
pub struct Profile {
    /// EMS's *Enable Secure Remote Access*.
    pub secure_remote_access: bool,
    /// Tags of which none may be present.
    pub prohibited: Vec<&'static str>,
    /// Tags of which one must be present.
    pub allowed: Vec<&'static str>,
    /// `restore` or `block_protected_prefixes`.
    pub after_loss: &'static str,
    /// The gateway's certificate authority, PEM.
    pub authority: String,
}

impl Profile {
    /// Returns the profile as EMS takes it.
    pub fn document(&self) -> Value {
        json!({
            "name": "Remote access",
            "secure_remote_access": self.secure_remote_access,
            "tunnels": [{
                "name": "RA-VPN",
                "gateway": "vpn.example.test",
                "gateway_auth": {"method": "certificate", "anchors_pem": [self.authority]},
                "client_auth": {"method": "eap", "user": "alice"},
                "local_identity": "alice@example.test",
                "after_loss": self.after_loss,
                "tags": {"prohibited": self.prohibited, "allowed": self.allowed, "warning": WARNING},
            }],
        })
    }
}
