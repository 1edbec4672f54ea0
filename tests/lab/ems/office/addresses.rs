//! Tags as addresses, for gateways.
//!
//! A tag resolves to the IPv4 addresses, as EMS observes them, of the endpoints that carry it. By
//! default a device is told only of endpoints that are connected to it: of those that have a tunnel
//! through it now, as the device itself said. So an endpoint that is not connected yet is in no list,
//! and a gateway that demands a tag before it connects anybody never sees one. That is the trap of
//! the article, and sharing all is the way out of it.

use super::{Denial, Office, StreamId};
use crate::ems::stamp::Stamp;
use crate::ems::store::FabricDevice;
use posture::ems::protocol::{EmsId, RefusalCode};
use posture::rules::{Presence, TagName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use tokio::sync::watch;

/// Which endpoints a device is told of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sharing {
    /// Those connected to this fabric device.
    #[default]
    Connected,
    /// All.
    All,
}

/// One tag as a gateway sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FabricTag {
    /// The tag, in the administrator's spelling.
    pub name: TagName,
    /// The addresses that carry it, in the order of enrolment.
    pub addresses: Vec<Ipv4Addr>,
}

/// Everything that a gateway is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FabricView {
    /// This EMS.
    pub ems: EmsId,
    /// Of whom it is told.
    pub sharing: Sharing,
    /// Every tag that EMS knows, also those that nobody carries.
    pub tags: Vec<FabricTag>,
}

impl FabricView {
    /// Returns the addresses of a tag; none when EMS does not know it.
    pub fn addresses(&self, tag: &TagName) -> &[Ipv4Addr] {
        self.tags.iter().find(|known| known.name == *tag).map_or(&[], |known| &known.addresses)
    }
}

/// What a device shows: its token, and its name where the way it shows it has a place for one.
#[derive(Clone)]
pub struct DeviceCredentials {
    /// The name.
    pub name: Option<String>,
    /// The token that [`AddDevice`](super::AdministratorRequest::AddDevice) answered.
    pub token: String,
}

pub(super) struct Watcher {
    device: String,
    sender: watch::Sender<FabricView>,
}

impl Office {
    /// Finds out which device asks: the one whose token it is. Tokens are looked up by their hash,
    /// so how long that takes says nothing about them.
    fn device(&self, shown: &DeviceCredentials) -> Result<FabricDevice, Denial> {
        let device = self.store.device_of(&super::enrolment::hash(&shown.token))?;
        device
            .filter(|device| shown.name.as_ref().is_none_or(|name| *name == device.name))
            .ok_or_else(|| Denial::new(RefusalCode::NotEnrolled, "no such fabric device, or another token"))
    }

    /// Tells a device what it may know.
    pub fn fabric_view(&mut self, shown: &DeviceCredentials, now: Stamp) -> Result<FabricView, Denial> {
        let device = self.device(shown)?;
        self.refresh_connected(now)?;
        self.view(&device, now)
    }

    pub(super) fn view(&mut self, device: &FabricDevice, now: Stamp) -> Result<FabricView, Denial> {
        let sharing = if device.share_all { Sharing::All } else { Sharing::Connected };
        let sessions = self.store.sessions(&device.name)?;
        let mut tags: BTreeMap<TagName, Vec<Ipv4Addr>> = BTreeMap::new();
        for set in self.rules()?.rule_sets {
            tags.entry(set.tag).or_default();
        }
        for tag in self.store.manual_tags()? {
            tags.entry(tag).or_default();
        }
        for endpoint in self.store.endpoints()? {
            let Ok(IpAddr::V4(address)) = endpoint.address.parse() else { continue };
            if self.is_lapsed(&endpoint, now) {
                continue;
            }
            if sharing == Sharing::Connected && !sessions.contains(&IpAddr::V4(address)) {
                continue;
            }
            for tag in self.tags_of(&endpoint, now)? {
                let carriers = tags.entry(tag.name).or_default();
                if tag.state.presence == Presence::Present && !carriers.contains(&address) {
                    carriers.push(address);
                }
            }
        }
        let tags = tags.into_iter().map(|(name, addresses)| FabricTag { name, addresses }).collect();
        Ok(FabricView { ems: self.authority.ems(), sharing, tags })
    }

    /// Notes a tunnel that a device opened or closed.
    pub fn fabric_session(
        &mut self,
        shown: &DeviceCredentials,
        address: IpAddr,
        up: bool,
        now: Stamp,
    ) -> Result<(), Denial> {
        let device = self.device(shown)?;
        self.store.set_session(&device.name, address, up, now.unix_seconds())?;
        self.refresh_fabric(now)
    }

    /// Replaces the tunnels of a device by those that it has now, and tells it what follows.
    pub fn fabric_sessions(
        &mut self,
        shown: &DeviceCredentials,
        addresses: &[IpAddr],
        now: Stamp,
    ) -> Result<FabricView, Denial> {
        let device = self.device(shown)?;
        let held = self.store.sessions(&device.name)?;
        if held.len() != addresses.len() || addresses.iter().any(|address| !held.contains(address)) {
            self.store.transaction(|store| {
                store.clear_sessions(&device.name)?;
                for address in addresses {
                    store.set_session(&device.name, *address, true, now.unix_seconds())?;
                }
                Ok::<_, Denial>(())
            })?;
            self.refresh_fabric(now)?;
        }
        self.refresh_connected(now)?;
        self.view(&device, now)
    }

    /// Opens a watch: the view now, and each time it changes.
    pub fn fabric_watch(
        &mut self,
        shown: &DeviceCredentials,
        now: Stamp,
    ) -> Result<(StreamId, watch::Receiver<FabricView>), Denial> {
        let device = self.device(shown)?;
        let (sender, receiver) = watch::channel(self.fabric_view(shown, now)?);
        let id = self.next_number();
        self.watchers.insert(id, Watcher { device: device.name, sender });
        Ok((id, receiver))
    }

    /// Tells every watching device what changed for it.
    pub(super) fn refresh_fabric(&mut self, now: Stamp) -> Result<(), Denial> {
        self.watchers.retain(|_, watcher| !watcher.sender.is_closed());
        let watching: Vec<(StreamId, String)> =
            self.watchers.iter().map(|(id, watcher)| (*id, watcher.device.clone())).collect();
        for (id, device) in watching {
            let Some(row) = self.store.device(&device)? else {
                self.watchers.remove(&id);
                continue;
            };
            let view = self.view(&row, now)?;
            if let Some(watcher) = self.watchers.get(&id) {
                watcher.sender.send_if_modified(|shown| {
                    let changed = *shown != view;
                    *shown = view;
                    changed
                });
            }
        }
        Ok(())
    }
}
