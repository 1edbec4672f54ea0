//! The relay where there are no local sockets: refuses to start, so that a [`Dial`] that was handed
//! in is never passed over in silence.

use super::{Dial, Network};
use crate::ems::error::EmsError;
use crate::ems::invitation::EmsAddress;
use std::sync::Arc;

/// No relay.
pub(in crate::ems) struct Relay;

impl Relay {
    /// Refuses.
    pub(in crate::ems) fn start(
        _network: &Network,
        _dial: Arc<dyn Dial>,
        _address: EmsAddress,
    ) -> Result<Self, EmsError> {
        Err(EmsError::Local("a dialler of one's own needs local sockets, which this system lacks".into()))
    }

    /// Changes nothing: no relay ever starts.
    pub(in crate::ems) fn carry(&self, builder: reqwest::ClientBuilder) -> reqwest::ClientBuilder {
        builder
    }

    /// There is no failure to tell.
    pub(in crate::ems) fn take_failure(&self) -> Option<String> {
        None
    }
}
