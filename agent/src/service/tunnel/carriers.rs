//! What carried a tunnel on which network: so that a network without UDP costs its three seconds
//! of silence once.
//!
//! A network is known by a digest of its default route, so that the file is no diary of places.

use crate::platform::{self, DefaultRoute};
use ike_client::tunnel::control::Carrier;
use ring::digest;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// The most networks that are remembered; the one not seen for longest is forgotten.
const MOST: usize = 64;

/// The memory, and the file that keeps it.
#[derive(Debug)]
pub struct Carriers {
    file: PathBuf,
    seen: Vec<Seen>,
}

/// One tunnel on one network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    network: Network,
    tunnel: String,
    tcp: bool,
}

/// A network that this machine was on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Digest of the way out.
    way: String,
    /// Digest of the neighbour there; none: it was not known yet.
    neighbour: Option<String>,
}

impl Network {
    /// Returns the present one; none where the system does not tell.
    pub fn present() -> Option<Self> {
        platform::default_route().map(|route| Self::of(&route))
    }

    fn of(route: &DefaultRoute) -> Self {
        Self { way: digest(&route.way), neighbour: route.neighbour.as_deref().map(digest) }
    }

    /// Tells whether both can be the same network: many have the same addresses, and a neighbour
    /// tells them apart where it is known.
    fn may_be(&self, other: &Self) -> bool {
        let neighbours = self.neighbour.as_ref().zip(other.neighbour.as_ref());
        self.way == other.way && neighbours.is_none_or(|(ours, theirs)| ours == theirs)
    }
}

fn digest(text: &str) -> String {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    digest.as_ref().iter().take(16).map(|octet| format!("{octet:02x}")).collect()
}

impl Carriers {
    /// Reads what was remembered in the state directory.
    pub fn open(state: &Path) -> Self {
        let file = state.join("carriers.json");
        let text = std::fs::read(&file).unwrap_or_default();
        Self { seen: serde_json::from_slice(&text).unwrap_or_default(), file }
    }

    /// Tells whether TCP carried the tunnel when it was last up on that network.
    pub fn tcp_first(&self, network: &Network, tunnel: &str) -> bool {
        self.seen
            .iter()
            .rev()
            .find(|seen| seen.tunnel == tunnel && seen.network.may_be(network))
            .is_some_and(|seen| seen.tcp)
    }

    /// Remembers what carried it.
    pub fn note(&mut self, network: &Network, tunnel: &str, carrier: Carrier) {
        let tcp = matches!(carrier, Carrier::Tcp { .. });
        let seen = Seen { network: network.clone(), tunnel: tunnel.to_owned(), tcp };
        if self.seen.last() == Some(&seen) {
            return;
        }
        self.seen.retain(|known| known.tunnel != seen.tunnel || !known.network.may_be(&seen.network));
        self.seen.push(seen);
        let surplus = self.seen.len().saturating_sub(MOST);
        self.seen.drain(..surplus);
        if let Err(error) = self.write() {
            tracing::debug!(%error, "what carried the tunnel cannot be remembered");
        }
    }

    fn write(&self) -> io::Result<()> {
        let directory = self.file.parent().ok_or(io::ErrorKind::NotFound)?;
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        serde_json::to_writer(&mut file, &self.seen)?;
        file.persist(&self.file)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(way: &str, neighbour: Option<&str>) -> Network {
        Network::of(&DefaultRoute { way: way.to_owned(), neighbour: neighbour.map(str::to_owned) })
    }

    #[test]
    fn the_carrier_is_remembered_by_network_and_tunnel_and_over_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let (hotel, home) = (network("wlan0 192.0.2.1", Some("aa")), network("wlan0 192.0.2.1", Some("bb")));
        let mut carriers = Carriers::open(directory.path());
        assert!(!carriers.tcp_first(&hotel, "work"));
        carriers.note(&home, "work", Carrier::Udp);
        carriers.note(&hotel, "work", Carrier::Tcp { port: 443 });
        let mut carriers = Carriers::open(directory.path());
        assert!(carriers.tcp_first(&hotel, "work"));
        assert!(!carriers.tcp_first(&home, "work") && !carriers.tcp_first(&hotel, "other"));
        assert!(carriers.tcp_first(&network("wlan0 192.0.2.1", None), "work"), "the last of those that it may be");
        assert!(!carriers.tcp_first(&network("eth0 192.0.2.1", None), "work"));
        carriers.note(&hotel, "work", Carrier::Udp);
        assert!(!Carriers::open(directory.path()).tcp_first(&hotel, "work"));
        assert!(!std::fs::read_to_string(directory.path().join("carriers.json")).unwrap().contains("wlan0"));
    }

    #[test]
    fn no_more_networks_are_remembered_than_are_of_use() {
        let directory = tempfile::tempdir().unwrap();
        let mut carriers = Carriers::open(directory.path());
        for place in 0..100 {
            carriers.note(&network(&format!("place {place}"), None), "work", Carrier::Tcp { port: 443 });
        }
        assert_eq!(carriers.seen.len(), MOST);
        assert!(!carriers.tcp_first(&network("place 0", None), "work"));
        assert!(carriers.tcp_first(&network("place 99", None), "work"));
    }
}
