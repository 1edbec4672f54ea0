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
        !self.all().is_empty() && self.all().len() <= MOST && self.all().iter().all(|gateway| is_host(gateway))
    }
}

/// Tells whether a text can be a host: an address, bracketed where it is IPv6, or a name. A name may
/// hold letters of any language; a colon or a slash makes it something else (a port, a URL).
fn is_host(text: &str) -> bool {
    let text = text.trim();
    if text.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        return true;
    }
    let letter = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
    let label = |label: &str| !label.is_empty() && label.len() <= 63 && label.chars().all(letter);
    let name = text.strip_suffix('.').unwrap_or(text);
    // A last label of digits alone would be the end of an address (RFC 3696, section 2).
    let numeric = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|octet| octet.is_ascii_digit()));
    name.len() <= 253 && name.split('.').all(label) && !numeric
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_is_a_host_and_nothing_more() {
        for host in
            ["vpn.example.com", "192.0.2.1", "2001:db8::1", "[2001:db8::1]", "vpn_1", "büro.example", "vpn.example."]
        {
            assert!(is_host(host), "{host}");
        }
        for other in [
            "",
            "vpn:500",
            "192.0.2.1:500",
            "[2001:db8::1]:500",
            "https://vpn",
            "a b",
            "vpn/x",
            "a\nb",
            "a..b",
            ".a",
            ".",
            "999.1.1.1",
            "10.1",
        ] {
            assert!(!is_host(other), "{other}");
        }
    }
}
