//! The gateway of a tunnel, or several that are as good as one another.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

/// One name or address, or a list of them, best first: the next is tried when one cannot be found,
/// reached or heard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a name or an address, or a list of them")]
pub enum Gateways {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

impl Gateways {
    /// Returns them, best first, as they were written.
    pub fn all(&self) -> &[String] {
        match self {
            Self::One(gateway) => std::slice::from_ref(gateway),
            Self::Several(gateways) => gateways,
        }
    }

    /// Returns them as they are dialled: without space around them or brackets.
    pub fn dialled(&self) -> Vec<String> {
        self.all().iter().map(|gateway| gateway.trim().trim_matches(['[', ']']).to_owned()).collect()
    }

    /// Returns them in the form in which two tunnels are compared: lower case, no final dot,
    /// addresses in their shortest form.
    pub fn comparable(&self) -> BTreeSet<String> {
        let comparable = |gateway: &String| {
            let bare = gateway.trim().trim_end_matches('.').to_ascii_lowercase();
            match bare.trim_matches(['[', ']']).parse::<IpAddr>() {
                Ok(address) => address.to_canonical().to_string(),
                Err(_) => bare,
            }
        };
        self.all().iter().map(comparable).collect()
    }

    /// Tells whether each is a name or an address, and there is one at least.
    pub fn is_usable(&self) -> bool {
        let bad = |gateway: &String| {
            gateway.trim().is_empty() || gateway.contains(|c: char| c.is_whitespace() || c.is_control())
        };
        !self.all().is_empty() && self.all().len() <= MOST && !self.all().iter().any(bad)
    }
}

/// The most gateways of one tunnel.
const MOST: usize = 8;

impl fmt::Display for Gateways {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.all().join(", "))
    }
}

impl From<String> for Gateways {
    fn from(gateway: String) -> Self {
        Self::One(gateway)
    }
}
