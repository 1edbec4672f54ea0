//! States of a connection, and the status document.

use crate::fault::Fault;
use crate::posture::TagReport;
use crate::text::PlainText;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// Where a connection stands. The ids are the same in tray, JSON and events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConnectionState {
    /// Nothing is up and nothing is blocked.
    Disconnected,
    /// Host check, name look-up or IKE is under way.
    Connecting,
    /// A person has to answer a prompt.
    NeedsInput,
    /// The tunnel carries traffic.
    Connected,
    /// The tunnel is being made again by itself.
    Reconnecting,
    /// The tunnel is being taken down.
    Disconnecting,
    /// Refused or torn down by posture, with what the tunnel protected blocked.
    Blocked,
    /// EMS has put the endpoint into quarantine.
    Quarantined,
    /// The service does not answer.
    ServiceUnavailable,
}

impl ConnectionState {
    /// Returns the id.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::Connecting => "connecting",
            Self::NeedsInput => "needs-input",
            Self::Connected => "connected",
            Self::Reconnecting => "reconnecting",
            Self::Disconnecting => "disconnecting",
            Self::Blocked => "blocked",
            Self::Quarantined => "quarantined",
            Self::ServiceUnavailable => "service-unavailable",
        }
    }
}

impl fmt::Display for ConnectionState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Who defined a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// EMS: shown as managed, not editable here.
    Managed,
    /// A file in `tunnels.d`.
    Local,
    /// A user, who has it as his own.
    User,
}

/// How posture stands towards a tunnel now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum PostureStanding {
    /// Enforcement is off or no tag is named: shown as "posture not enforced".
    NotEnforced,
    /// The host check passes.
    Compliant,
    /// Audit mode: it would have been refused.
    Audit {
        /// The fault it would have been.
        would_be: Box<Fault>,
    },
    /// The host check would refuse, and a break-glass code of EMS lets it pass for a time.
    Overridden {
        /// The fault it would have been.
        would_be: Box<Fault>,
        /// When that ends, RFC 3339.
        until: String,
    },
    /// The host check refuses.
    Refused {
        /// Why.
        fault: Box<Fault>,
    },
}

/// What an established tunnel was given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Established {
    /// Seconds since it came up.
    pub seconds: u64,
    /// The gateway's outer address and port, as text.
    pub gateway: String,
    /// `udp` or `tcp`.
    pub carrier: String,
    /// The suite of the IKE SA, by transform names.
    pub ike_suite: String,
    /// The suite of the CHILD SA, by transform names.
    pub esp_suite: String,
    /// The addresses of this end inside the tunnel.
    pub addresses: Vec<IpAddr>,
    /// The networks that go through the tunnel.
    pub networks: Vec<String>,
    /// Resolvers that the gateway gave.
    pub dns: Vec<IpAddr>,
    /// Domains that go to those resolvers; empty: all.
    pub domains: Vec<PlainText>,
    /// Bytes received inside the tunnel.
    pub bytes_received: u64,
    /// Bytes sent inside the tunnel.
    pub bytes_sent: u64,
    /// Standing warnings, such as a gateway that proves itself by a shared key.
    pub warnings: Vec<PlainText>,
}

/// One tunnel and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelStatus {
    /// Its name.
    pub name: PlainText,
    /// Who defined it.
    pub origin: Origin,
    /// Where it stands.
    pub state: ConnectionState,
    /// Whether something wants a person's eye, in any state.
    pub attention: bool,
    /// The gateway as configured.
    pub gateway: PlainText,
    /// Posture towards it.
    pub posture: PostureStanding,
    /// Present while connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub established: Option<Established>,
    /// Why it last ended or was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_fault: Option<Fault>,
    /// Whether traffic to what the tunnel protected is blocked now.
    #[serde(default)]
    pub blocked: bool,
}

/// The whole status document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the service.
    pub version: String,
    /// The state that a tray shows for the whole.
    pub state: ConnectionState,
    /// Whether something wants a person's eye.
    pub attention: bool,
    /// Every tunnel.
    pub tunnels: Vec<TunnelStatus>,
    /// Tag knowledge.
    pub posture: TagReport,
}
