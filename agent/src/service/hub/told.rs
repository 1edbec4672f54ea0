//! What the hub is told by the network process, and by the system of its sleep.

use super::Hub;
use super::health;
use crate::connection::{Connection, Input};
use crate::platform::Sleep;
use crate::service::network::keeper::Job;
use crate::service::network::link::Told as NetTold;
use crate::service::tunnel::carriers::Network;
use ike_client::tunnel::control::{Command, Event as EngineEvent, Progress};
use tokio::sync::oneshot;

impl Hub {
    pub(in crate::service) fn net_told(&mut self, told: NetTold) {
        match told {
            NetTold::Ready(capabilities, confinement) => {
                for reason in &capabilities.reasons {
                    tracing::warn!(%reason, "the network cannot be changed in every way");
                }
                tracing::info!(%confinement, "the network process is up");
                self.network_health = health::of_network(&capabilities, &confinement);
                self.net_ready = true;
                let _ = self.jobs.send(Job::Capabilities(capabilities));
                // What a crash left is taken back, except for a block that is to stand.
                let blocked = self.connections.iter().find(|(_, state)| state.block().is_some());
                let (reply, outcome) = oneshot::channel();
                let _ = self.jobs.send(if blocked.is_some() { Job::Block(reply) } else { Job::Nothing(reply) });
                let settled = self.settled.take();
                tokio::spawn(async move {
                    if let Ok(Err(fault)) = outcome.await {
                        tracing::error!(%fault, "what stood before cannot be settled");
                    }
                    if let Some(settled) = settled {
                        let _ = settled.send(());
                    }
                });
            }
            NetTold::Gone => {
                tracing::error!("the network process ended; it is started again");
                self.net_ready = false;
                self.nothing_passes();
                if let Some(name) = self.active.clone() {
                    self.feed(&name, Input::EngineLost);
                }
            }
            NetTold::Engine(event) => {
                if let Some(name) = self.active.clone() {
                    self.engine_told(&name, *event);
                }
            }
        }
    }

    fn engine_told(&mut self, name: &str, event: EngineEvent) {
        match event {
            EngineEvent::Progress { step } => {
                tracing::debug!(tunnel = name, %step, "progress");
                if matches!(step, Progress::UdpSilent | Progress::Reconnecting) {
                    self.tell_progress(name, step);
                }
            }
            EngineEvent::Request { id, request, within } => self.engine_asks(name, id, request, within),
            EngineEvent::Keys { line } => self.tell_keys(name, line),
            EngineEvent::Trace { record, elapsed, timer } => self.tell_message(name, &record, elapsed, timer),
            EngineEvent::Established { tunnel } => {
                // By now the neighbour is known, which it may not have been at the start.
                if let Some(network) = Network::present().filter(|_| std::mem::take(&mut self.carrier_chosen)) {
                    self.carriers.note(&network, name, tunnel.carrier);
                }
                self.feed(name, Input::Established(tunnel));
            }
            EngineEvent::Ticket { ticket } => {
                if let Some(entry) = self.catalogue.find(name) {
                    self.tickets.keep(name, &entry.tunnel, ticket);
                }
            }
            EngineEvent::SuccessorWanted { within } => {
                tracing::info!(tunnel = name, ?within, "the gateway wants a new session");
                self.queue_successor(name);
            }
            EngineEvent::Succeeded { tunnel } => {
                tracing::info!(tunnel = name, gateway = %tunnel.gateway, "a new session has taken over");
                self.feed(name, Input::Succeeded(tunnel));
            }
            EngineEvent::GatewayMoved { tunnel } => {
                tracing::info!(tunnel = name, gateway = %tunnel.gateway, "the gateway is reached at another address");
                self.feed(name, Input::Succeeded(tunnel));
            }
            EngineEvent::PathMtu { mtu } => tracing::info!(tunnel = name, mtu, "the path takes packets of this size"),
            EngineEvent::Rekeyed { sa } => tracing::info!(tunnel = name, ?sa, "keys renewed"),
            EngineEvent::Warning { warning } => tracing::warn!(tunnel = name, %warning, "the engine warns"),
            EngineEvent::Counters { counters } => self.feed(name, Input::Counted(counters)),
            EngineEvent::LeaseLapsed { .. } => match (self.nothing_passes(), self.connections.get(name)) {
                (true, _) => tracing::info!(tunnel = name, "nothing leaves: the machine may sleep"),
                (_, Some(Connection::Disconnecting(_))) => {}
                _ => tracing::warn!(tunnel = name, "the lease lapsed: nothing leaves until posture is judged again"),
            },
            EngineEvent::DataStopped { .. } => {
                self.nothing_passes();
                tracing::info!(tunnel = name, "nothing leaves the tunnel any more");
            }
            EngineEvent::Ended { cause } => {
                tracing::info!(tunnel = name, %cause, "the engine ended");
                self.feed(name, Input::Ended(cause));
            }
        }
    }

    /// Before a sleep packets are stopped, and after it posture is judged anew before any leaves.
    pub(in crate::service) fn sleep_told(&mut self, told: Sleep) {
        match told {
            Sleep::Told(outcome) => {
                match &outcome {
                    Ok(()) => tracing::info!("logind tells of sleep before it begins"),
                    Err(reason) => tracing::info!(%reason, "nobody tells of sleep; the lease alone stops packets then"),
                }
                self.sleep_is_told = outcome;
            }
            Sleep::Begins(ready) => {
                tracing::info!("the machine is about to sleep: nothing leaves until posture is judged again");
                self.examination.asleep = true;
                self.net.engine(Command::RevokeLease);
                let carries = |name: &String| matches!(self.connections.get(name), Some(Connection::Connected(_)));
                match self.active.as_ref().filter(|name| carries(name)) {
                    // Answered when the engine says that nothing passes.
                    Some(_) => self.before_sleep = Some(ready),
                    None => drop(ready.send(())),
                }
            }
            Sleep::Ended => {
                tracing::info!("awake: posture is judged anew");
                self.examination.asleep = false;
                self.before_sleep = None;
                self.net.engine(Command::RevokeLease);
                self.woke_up();
            }
        }
    }

    /// Lets a sleep begin that waits for it; returns whether one did.
    fn nothing_passes(&mut self) -> bool {
        self.before_sleep.take().is_some_and(|ready| ready.send(()).is_ok())
    }
}
