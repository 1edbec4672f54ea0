//! What a tunnel to a FortiGate says of this endpoint, and where its sign-on is.

use ike_client::fortigate::{Claims, Uid, sign_on};
use serde::{Deserialize, Serialize};

/// What kind of gateway a tunnel leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Peer {
    /// One that speaks IKEv2.
    #[default]
    Standard,
    /// A FortiGate dial-up gateway: what it wants beyond IKEv2 is done.
    Fortigate,
}

/// The `[fortigate]` part of a tunnel. All of it is only said, and nothing proves it; Postern is not
/// FortiClient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FortigateSettings {
    /// The version of FortiClient that is claimed; gateways that want a second factor or a sign-on
    /// ask for one.
    pub client_version: String,
    /// The 32 digits by which the gateway knows this endpoint; by default made once for this
    /// installation, at random.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<Uid>,
    /// The host's name that is said; by default none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// The user of the operating system that is said; by default none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// The operating system that is said; by default none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub system: String,
    /// The serial number of the EMS that the gateway expects this endpoint to be managed by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ems_serial: Option<String>,
    /// Its tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ems_tenant: Option<String>,
    /// The gateway's port for the sign-on (`auth-ike-saml-port`).
    pub sign_on_port: u16,
}

impl Default for FortigateSettings {
    fn default() -> Self {
        Self {
            client_version: "7.4.8.2066".to_owned(),
            uid: None,
            host: String::new(),
            user: String::new(),
            system: String::new(),
            ems_serial: None,
            ems_tenant: None,
            sign_on_port: sign_on::PORT,
        }
    }
}

impl FortigateSettings {
    /// Returns what is said, for the endpoint of that UID.
    pub fn claims(&self, uid: Uid) -> Claims {
        let tenant = self.ems_tenant.clone().unwrap_or_else(|| "0".repeat(32));
        Claims {
            version: self.client_version.clone(),
            uid,
            address: String::new(),
            host: self.host.clone(),
            user: self.user.clone(),
            system: self.system.clone(),
            ems: self.ems_serial.clone().map(|serial| (serial, tenant)),
        }
    }
}
