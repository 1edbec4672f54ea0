//! The engine of production.

use crate::service::network::process::Engine;
use ike_client::tunnel::control::{Command, Event};
use ike_client::tunnel::engine::{self, Lent};
use ike_client::tunnel::remembered::Remembered;
use tokio::sync::mpsc;

/// `ike_client`'s engine, with what one tunnel leaves for the next. It lives as long as its process.
#[derive(Clone, Debug, Default)]
pub struct TunnelEngine {
    remembered: Remembered,
}

impl Engine for TunnelEngine {
    async fn run(&self, commands: mpsc::Receiver<Command>, events: mpsc::Sender<Event>, lent: Lent) {
        engine::run_with(commands, events, lent, self.remembered.clone()).await;
    }
}
