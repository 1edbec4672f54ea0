//! The engine of production.

use super::net::Engine;
use ike_client::tunnel::control::{Command, Event};
use ike_client::tunnel::lookup::NameService;
use tokio::sync::mpsc;

/// `ike_client`'s engine.
#[derive(Clone, Copy, Debug, Default)]
pub struct TunnelEngine;

impl Engine for TunnelEngine {
    async fn run(&self, commands: mpsc::Receiver<Command>, events: mpsc::Sender<Event>, names: NameService) {
        ike_client::tunnel::engine::run_with(commands, events, names).await;
    }
}
