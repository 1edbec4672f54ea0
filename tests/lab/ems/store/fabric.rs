//! Manual tags, fabric devices and their sessions.

use super::StoreError;
use posture::ems::protocol::EndpointId;
use posture::rules::TagName;
use std::net::IpAddr;

/// A gateway that EMS shares tags with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FabricDevice {
    /// Its name.
    pub name: String,
    /// Whether it is told of every endpoint, or of those connected through it alone.
    pub share_all: bool,
    /// The digest of its token.
    pub token_hash: Vec<u8>,
}

/// Manual tags, fabric devices and their sessions.
pub trait Fabric {
    /// Makes a tag known that people give by hand.
    fn add_manual_tag(&mut self, tag: &TagName) -> Result<(), StoreError>;

    /// Lists the tags that people give by hand.
    fn manual_tags(&self) -> Result<Vec<TagName>, StoreError>;

    /// Lists the tags that people gave to an endpoint.
    fn tags_of(&self, id: &EndpointId) -> Result<Vec<TagName>, StoreError>;

    /// Gives a tag to an endpoint or takes it away.
    fn set_tagged(&mut self, id: &EndpointId, tag: &TagName, given: bool) -> Result<(), StoreError>;

    /// Adds a fabric device, or gives it a new token.
    fn set_device(&mut self, name: &str, token_hash: &[u8]) -> Result<(), StoreError>;

    /// Sets how much a device is told. Tells whether there is such a device.
    fn set_sharing(&mut self, name: &str, share_all: bool) -> Result<bool, StoreError>;

    /// Finds the device that a token belongs to.
    fn device_of(&self, token_hash: &[u8]) -> Result<Option<FabricDevice>, StoreError>;

    /// Finds a device.
    fn device(&self, name: &str) -> Result<Option<FabricDevice>, StoreError>;

    /// Notes that an address has a tunnel through a device, or has it no longer.
    fn set_session(&mut self, device: &str, address: IpAddr, up: bool, now_unix: u64) -> Result<(), StoreError>;

    /// Forgets every session of a device: it restarted.
    fn clear_sessions(&mut self, device: &str) -> Result<(), StoreError>;

    /// Lists the addresses that have a tunnel through a device.
    fn sessions(&self, device: &str) -> Result<Vec<IpAddr>, StoreError>;
}
