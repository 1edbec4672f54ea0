//! Events of the endpoint: refusals, teardowns, connections.

use serde::{Deserialize, Serialize};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// The host check refused a connection.
    HostCheckRefused,
    /// An established tunnel was torn down because posture changed.
    ComplianceLost,
    /// The host check would have refused, and audit mode let it pass.
    AuditWarned,
    /// A tunnel came up.
    TunnelUp,
    /// A tunnel ended for another reason than posture.
    TunnelDown,
    /// A connection failed for another reason than posture.
    ConnectFailed,
    /// A scan ended.
    ScanFinished,
    /// A quarantine was ended at the endpoint by its code.
    QuarantineReleased,
    /// A break-glass code was used: the host check is overridden for a time.
    BreakGlassUsed,
    /// The time of a break-glass code is over.
    BreakGlassEnded,
    /// The host check would have refused, and a break-glass code let it pass.
    HostCheckOverridden,
    /// An event this version does not know.
    #[serde(other)]
    Other,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointEvent {
    /// Chosen by the endpoint, never used twice: a repeated upload is stored once.
    pub id: String,
    /// When, by the endpoint's clock, milliseconds since 1970.
    pub unix_milliseconds: u64,
    /// What happened.
    pub kind: EventKind,
    /// The tunnel, where there is one.
    #[serde(default)]
    pub tunnel: String,
    /// The stable name of the cause, such as `HostCheckFailed`.
    #[serde(default)]
    pub cause: String,
    /// Evidence in one line.
    #[serde(default)]
    pub detail: String,
}

/// Events, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventUpload {
    /// The events.
    pub events: Vec<EndpointEvent>,
}

/// What EMS stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventReceipt {
    /// How many of the upload EMS now holds, those it held before included.
    pub stored: u64,
}
