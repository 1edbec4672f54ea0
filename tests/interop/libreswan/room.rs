//! The network and the guest. Booting takes seconds, so every scenario of one run uses the same;
//! pluto and the endpoint are started afresh for each.

use anyhow::{Context, Result, ensure};
use lab::client::Endpoint;
use lab::libreswan::{Gateway, Settings};
use lab::roadwarrior::{LIMIT, Network, nothing_is_left};
use lab::uml::Guest;
use nix::sys::signal::Signal;
use std::sync::OnceLock;

/// What all scenarios share.
#[derive(Debug)]
pub struct Room {
    pub network: Network,
    pub guest: Guest,
}

/// Returns the room; the first call makes it.
fn room() -> Result<&'static Room> {
    static ROOM: OnceLock<Room> = OnceLock::new();
    if let Some(room) = ROOM.get() {
        return Ok(room);
    }
    let network = Network::new()?;
    let guest = Guest::start(&network.gateway, &network.folder.join("guest"))?;
    Ok(ROOM.get_or_init(|| Room { network, guest }))
}

/// One scenario: its gateway, and the place where its endpoints are made.
#[derive(Debug)]
pub struct Play {
    pub network: &'static Network,
    pub guest: &'static Guest,
    pub gateway: Gateway<'static>,
}

impl Play {
    /// Starts pluto with these settings.
    pub fn new(settings: &Settings) -> Result<Self> {
        let room = room()?;
        let gateway = Gateway::start(&room.guest, settings)?;
        Ok(Self { network: &room.network, guest: &room.guest, gateway })
    }

    /// Makes a fresh endpoint with the tunnel `work`.
    pub fn endpoint(&self, tunnel: &str, secrets: &[(&str, &str)]) -> Result<Endpoint> {
        let folder = self.network.folder.join("endpoint");
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        self.network.endpoint(tunnel, secrets).with_context(|| self.gateway.log())
    }

    /// Ends the endpoint's service in good order; nothing of it may be left.
    pub fn leave(&self, mut endpoint: Endpoint) -> Result<()> {
        let service = endpoint.service()?;
        service.signal(Signal::SIGTERM)?;
        let status = service.wait(LIMIT)?;
        ensure!(status.success(), "posternd ended: {status}\n{}", endpoint.log());
        nothing_is_left(self.network).with_context(|| endpoint.log())
    }

    /// Plays the usual case: one endpoint that connects, `work` with it, and leaves.
    pub fn connected(
        &self,
        tunnel: &str,
        secrets: &[(&str, &str)],
        work: impl FnOnce(&Endpoint, &postern_api::state::Established) -> Result<()>,
    ) -> Result<()> {
        let endpoint = self.endpoint(tunnel, secrets)?;
        let given = lab::roadwarrior::connect(&endpoint).with_context(|| self.gateway.log())?;
        work(&endpoint, &given).with_context(|| format!("{}\n---\n{}", endpoint.log(), self.gateway.log()))?;
        self.leave(endpoint)
    }
}
