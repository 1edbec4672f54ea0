//! Facts about who uses the endpoint, and which domain it belongs to.

use super::Observation;
use serde::{Deserialize, Serialize};

/// The users who are logged on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserList {
    /// Each once, by name.
    pub users: Vec<LoggedOnUser>,
    /// The domain or realm that the endpoint has joined: `example.com`; `None` where it has joined none.
    pub realm: Observation<Option<String>>,
}

/// One user who is logged on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedOnUser {
    /// The name, without its domain.
    pub name: String,
    /// The domain that knows the user; `None` for a user of this endpoint alone.
    #[serde(default)]
    pub domain: Option<String>,
    /// The groups that the domain puts the user in, without their domain.
    pub groups: Observation<Vec<String>>,
}

/// An identity that EMS has verified at a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifiedIdentity {
    /// The service: `Google`, `LinkedIn`, `Salesforce`, or a name of the administrator's own.
    pub service: String,
    /// The account there.
    pub account: String,
}

/// What only EMS can know of an endpoint, and tells it. What it does not tell is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Supplied {
    /// The address from which EMS sees the endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_address: Option<std::net::IpAddr>,
    /// When a sandbox convicted files from this endpoint, in seconds since 1970; empty where it never did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox_detections_unix: Option<Vec<u64>>,
    /// CrowdStrike's Zero Trust Assessment score, 0 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crowdstrike_score: Option<u8>,
    /// The identities that it has verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identities: Option<Vec<VerifiedIdentity>>,
    /// The directory groups of the logged-on users, as the directory tells EMS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory_groups: Option<Vec<String>>,
}

impl Supplied {
    /// Says whether nothing is told.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
