//! How a tunnel goes on: moving, redirects, a start without CHILD SA, a successor beside it.

use super::redirect::RedirectTarget;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// What a session may do to go on, and what it goes on from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Continuity {
    /// Whether the gateway is told that this end may move (MOBIKE, RFC 4555).
    #[serde(default = "enabled")]
    pub mobility: bool,
    /// Whether the gateway is asked for a ticket to come back by (RFC 5723).
    #[serde(default = "enabled")]
    pub resumption: bool,
    /// Whether a redirect to another gateway is followed (RFC 5685). The other one must prove the
    /// same identity as the one that was dialled.
    #[serde(default = "enabled")]
    pub follow_redirects: bool,
    /// The gateway that sent this client to the one that is dialled now.
    #[serde(default)]
    pub redirected_from: Option<RedirectTarget>,
    /// Whether IKE_AUTH goes without a CHILD SA where the gateway can do so (RFC 6023): the first
    /// CHILD SA then has a key exchange of its own.
    #[serde(default)]
    pub childless: bool,
    /// Inside addresses that are asked for again, so that a successor's tunnel is the same.
    #[serde(default)]
    pub preferred_addresses: Vec<IpAddr>,
}

impl Default for Continuity {
    fn default() -> Self {
        Self {
            mobility: true,
            resumption: true,
            follow_redirects: true,
            redirected_from: None,
            childless: false,
            preferred_addresses: Vec::new(),
        }
    }
}

const fn enabled() -> bool {
    true
}
