//! Where the gateways of managed tunnels were found, kept over restarts: a local tunnel is held against that
//! also while no resolver answers.

use super::Hub;
use crate::profile::file::{read_regular, replace};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

/// The longest file that is read, in bytes.
const MAXIMUM: u64 = 1 << 20;

/// What is known of one tunnel's gateways.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Place {
    /// Their names at the time: by others they are elsewhere.
    names: Vec<String>,
    addresses: Vec<IpAddr>,
}

impl Hub {
    fn whereabouts(&self) -> PathBuf {
        self.paths.state.join("gateway-addresses.json")
    }

    fn named_places(&self) -> BTreeMap<String, Place> {
        let mut places: BTreeMap<String, Place> = BTreeMap::new();
        for (tunnel, name) in self.catalogue.managed_host_names() {
            let addresses = self.catalogue.addresses_of(&tunnel).collect();
            let place = places.entry(tunnel).or_default();
            place.names.push(name);
            place.addresses = addresses;
        }
        places
    }

    /// Takes what was found earlier of gateways of which nothing is known yet. A file that cannot be read is
    /// as good as none: then the gateways have to be found first.
    pub(in crate::service) fn recall_gateways(&mut self) {
        let kept = read_regular(&self.whereabouts(), MAXIMUM).ok();
        let kept: BTreeMap<String, Place> =
            kept.and_then(|text| serde_json::from_slice(text.as_ref()).ok()).unwrap_or_default();
        for (tunnel, place) in self.named_places() {
            let earlier = kept.get(&tunnel).filter(|earlier| earlier.names == place.names);
            if let Some(earlier) = earlier.filter(|_| place.addresses.is_empty()) {
                for address in &earlier.addresses {
                    self.catalogue.remember_address(&tunnel, *address);
                }
            }
        }
    }

    /// Keeps what is known now, of managed tunnels alone.
    pub(in crate::service) fn keep_gateways(&self) {
        let kept = serde_json::to_vec(&self.named_places()).unwrap_or_default();
        if let Err(error) = replace(&self.whereabouts(), &kept) {
            tracing::warn!(%error, "the addresses of managed gateways cannot be kept");
        }
    }
}
