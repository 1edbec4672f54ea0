//! The engine of production.

use super::net::Engine;
use ike_client::tunnel::control::{Command, EndCause, Event};
use tokio::sync::mpsc;

/// `ike_client`'s engine.
#[derive(Clone, Copy, Debug, Default)]
pub struct TunnelEngine;

impl Engine for TunnelEngine {
    async fn run(&self, mut commands: mpsc::UnboundedReceiver<Command>, events: mpsc::Sender<Event>) {
        let _ = commands.recv().await;
        let cause = EndCause::CarrierUnsupported { carrier: "any".into() };
        let _ = events.send(Event::Ended { cause }).await;
    }
}
