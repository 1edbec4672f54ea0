//! What EMS says by itself, as the data of server-sent events.

use super::DocumentSet;
use serde::{Deserialize, Serialize};

/// One message of the push stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "push", rename_all = "kebab-case")]
pub enum PushMessage {
    /// The first message: how often a heartbeat follows. Two that are missed mean that it is down.
    Hello {
        /// Milliseconds between heartbeats.
        heartbeat_milliseconds: u64,
    },
    /// Nothing happened.
    Heartbeat,
    /// Documents that are newer than those the endpoint named, or that EMS sent before.
    Documents {
        /// The documents.
        documents: DocumentSet,
    },
    /// The endpoint is to scan for vulnerabilities now.
    Scan,
    /// EMS wants the facts in full.
    ReportInFull,
    /// The endpoint was removed at EMS: its certificate holds no longer.
    Removed,
    /// A message this version does not know.
    #[serde(other)]
    Unrecognised,
}
