//! NET: hosts the engine and carries out changes of the network.
//!
//! It reads commands from the socket pair that stands in for its standard input. When the pair
//! closes, MAIN is gone: the engine hears it by its closed command stream, shuts the data plane,
//! tells the gateway and ends, and with it this process.

use crate::ipc::{self, FromNet, Outcome, Reader, ToNet, Verb};
use crate::network::system::System;
use crate::platform::{self, SystemNetwork};
use ike_client::tunnel::control::{Command, Event};
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Commands that wait for the engine.
const COMMANDS: usize = 64;

/// Moves packets: `ike_client`'s in production, a fake in tests.
pub trait Engine: Send + Sync + 'static {
    /// Builds one tunnel and runs it to its end. The first command is `Start`; a closed command
    /// stream means that the owner is gone. The last event is `Ended`.
    fn run(&self, commands: mpsc::Receiver<Command>, events: mpsc::Sender<Event>) -> impl Future<Output = ()> + Send;
}

/// Serves MAIN over `read` and `write` until it is gone and the engine has ended.
///
/// # Errors
/// Where the system's network cannot be opened at all.
pub async fn serve<E: Engine>(
    engine: E,
    read: impl AsyncRead + Unpin,
    mut write: impl AsyncWrite + Unpin + Send + 'static,
) -> io::Result<()> {
    let (out, mut queue) = mpsc::channel::<FromNet>(256);
    let writer = tokio::spawn(async move {
        while let Some(message) = queue.recv().await {
            if ipc::write(&mut write, &message).await.is_err() {
                // MAIN is gone; what is queued is drained so that nobody waits for room.
                while queue.recv().await.is_some() {}
                return;
            }
        }
    });
    let mut network = SystemNetwork::open().map_err(io::Error::other)?;
    let _ = out.send(FromNet::Ready { capabilities: platform::capabilities().await }).await;
    let engine = Arc::new(engine);
    let mut engines = JoinSet::new();
    let mut commands: Option<mpsc::Sender<Command>> = None;
    let mut reader = Reader::new(read);
    loop {
        let message = tokio::select! {
            message = reader.next::<ToNet>() => message,
            Some(_) = engines.join_next(), if !engines.is_empty() => continue,
        };
        match message {
            Ok(Some(ToNet::Engine { command })) => {
                if matches!(*command, Command::Start { .. }) {
                    commands = Some(start(&engine, &mut engines, out.clone()));
                }
                if let Some(commands) = &commands {
                    // An engine that has ended says so by its own event. One that hears nothing
                    // any more loses its lease, and must not keep this loop from its other work.
                    if let Err(mpsc::error::TrySendError::Full(_)) = commands.try_send(*command) {
                        tracing::error!("the engine does not take its commands");
                    }
                }
            }
            Ok(Some(ToNet::System { id, verb })) => {
                let outcome = perform(&mut network, verb).await;
                let _ = out.send(FromNet::System { id, outcome }).await;
            }
            Ok(None) => break,
            Err(error) => {
                tracing::error!(%error, "MAIN cannot be understood");
                break;
            }
        }
    }
    drop(commands);
    while engines.join_next().await.is_some() {}
    drop(out);
    let _ = writer.await;
    Ok(())
}

fn start<E: Engine>(engine: &Arc<E>, engines: &mut JoinSet<()>, out: mpsc::Sender<FromNet>) -> mpsc::Sender<Command> {
    let (commands, commands_in) = mpsc::channel(COMMANDS);
    let (events, mut events_in) = mpsc::channel(64);
    let engine = Arc::clone(engine);
    engines.spawn(async move {
        let forward = async {
            while let Some(event) = events_in.recv().await {
                let _ = out.send(FromNet::Engine { event: Box::new(event) }).await;
            }
        };
        tokio::join!(engine.run(commands_in, events), forward);
    });
    commands
}

async fn perform(network: &mut SystemNetwork, verb: Verb) -> Outcome {
    match verb {
        Verb::Look { step } => network.look(&step).await.map_or_else(Outcome::Failed, Outcome::Looked),
        Verb::Apply { step, before } => {
            network.apply(&step, &before).await.map_or_else(Outcome::Failed, |()| Outcome::Applied)
        }
        Verb::Undo { step, before } => network.undo(&step, &before).await.map_or_else(Outcome::Failed, Outcome::Undone),
    }
}
