//! NET: hosts the engine and changes links, addresses, routes and rules.
//!
//! It reads commands from the socket pair that stands in for its standard input. When the pair
//! closes, MAIN is gone: the engine hears it by its closed command stream, shuts the data plane,
//! tells the gateway and ends, and with it this process.

use crate::ipc::{self, FromNet, Outcome, Reader, ToNet, Verb};
use crate::network::step::{Before, Step};
use crate::network::system::System;
use crate::platform::{self, Links};
use crate::service::rights::Confinement;
use ike_client::tunnel::control::{Command, Event};
use ike_client::tunnel::engine::Lent;
use ike_client::tunnel::lease::LeaseReader;
use ike_client::tunnel::lookup::NameService;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// Commands that wait for the engine.
const COMMANDS: usize = 64;

/// Moves packets: `ike_client`'s in production, a fake in tests.
pub trait Engine: Send + Sync + 'static {
    /// Builds one tunnel and runs it to its end. The first command is `Start`; a closed command
    /// stream means that the owner is gone. The last event is `Ended`.
    fn run(
        &self,
        commands: mpsc::Receiver<Command>,
        events: mpsc::Sender<Event>,
        lent: Lent,
    ) -> impl Future<Output = ()> + Send;
}

/// Names that MAIN looks up for the engine.
#[derive(Default)]
struct Names {
    last: u64,
    awaited: HashMap<u64, oneshot::Sender<Result<Vec<IpAddr>, String>>>,
}

/// Asks MAIN over `out`.
fn by_main(names: &Arc<Mutex<Names>>, out: &mpsc::Sender<FromNet>) -> NameService {
    let (names, out) = (Arc::clone(names), out.clone());
    Arc::new(move |name| {
        let (answer_in, answer) = oneshot::channel();
        let id = {
            let mut names = names.lock().unwrap_or_else(PoisonError::into_inner);
            names.last = names.last.wrapping_add(1);
            // Whoever no longer waits is forgotten.
            names.awaited.retain(|_, waiting| !waiting.is_closed());
            let id = names.last;
            names.awaited.insert(id, answer_in);
            id
        };
        let out = out.clone();
        Box::pin(async move {
            let _ = out.send(FromNet::LookUp { id, name }).await;
            match answer.await {
                Ok(outcome) => outcome.map_err(io::Error::other),
                Err(_) => Err(io::Error::other("the service is gone")),
            }
        })
    })
}

/// Serves MAIN over `read` and `write` until it is gone and the engine has ended. `lease` is where MAIN
/// writes the end of a lease that runs, if it shares that.
///
/// # Errors
/// Where the system's network cannot be opened at all.
pub async fn serve<E: Engine>(
    engine: E,
    read: impl AsyncRead + Unpin,
    mut write: impl AsyncWrite + Unpin + Send + 'static,
    (confinement, lease): (Confinement, Option<LeaseReader>),
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
    let mut network = Links::open().map_err(io::Error::other)?;
    let shares_lease = lease.is_some();
    let _ = out.send(FromNet::Ready { capabilities: platform::of_links(), confinement, shares_lease }).await;
    let names = Arc::new(Mutex::new(Names::default()));
    let lent = Lent { names: by_main(&names, &out), lease: lease.map(Arc::new) };
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
                if matches!(*command, Command::Start { .. } | Command::StartWireGuard { .. }) {
                    commands = Some(start(&engine, &mut engines, out.clone(), lent.clone()));
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
            Ok(Some(ToNet::LookedUp { id, outcome })) => {
                let waiting = names.lock().unwrap_or_else(PoisonError::into_inner).awaited.remove(&id);
                if let Some(waiting) = waiting {
                    let _ = waiting.send(outcome);
                }
            }
            Ok(None) => break,
            Err(error) => {
                tracing::error!(%error, "MAIN cannot be understood");
                break;
            }
        }
    }
    drop(commands);
    // Whoever waits for a name waits in vain.
    names.lock().unwrap_or_else(PoisonError::into_inner).awaited.clear();
    while engines.join_next().await.is_some() {}
    drop((out, lent));
    let _ = writer.await;
    Ok(())
}

fn start<E: Engine>(
    engine: &Arc<E>,
    engines: &mut JoinSet<()>,
    out: mpsc::Sender<FromNet>,
    lent: Lent,
) -> mpsc::Sender<Command> {
    let (commands, commands_in) = mpsc::channel(COMMANDS);
    let (events, mut events_in) = mpsc::channel(64);
    let engine = Arc::clone(engine);
    engines.spawn(async move {
        let forward = async {
            while let Some(event) = events_in.recv().await {
                let _ = out.send(FromNet::Engine { event: Box::new(event) }).await;
            }
        };
        tokio::join!(engine.run(commands_in, events, lent), forward);
    });
    commands
}

async fn perform(network: &mut Links, verb: Verb) -> Outcome {
    match verb {
        Verb::Look { steps } => {
            let steps: Vec<&Step> = steps.iter().collect();
            network.look_all(&steps).await.map_or_else(Outcome::Failed, Outcome::Looked)
        }
        Verb::Apply { steps } => {
            let steps: Vec<(&Step, &Before)> = steps.iter().map(|(step, before)| (step, before)).collect();
            let applied = network.apply_all(&steps).await;
            applied.map_or_else(|(position, error)| Outcome::Stopped { position, error }, |()| Outcome::Applied)
        }
        Verb::Restore { steps } => {
            let steps: Vec<(&Step, &Before)> = steps.iter().map(|step| (step, &Before::Absent)).collect();
            Outcome::Restored(network.restore_all(&steps).await)
        }
        Verb::Undo { step, before } => network.undo(&step, &before).await.map_or_else(Outcome::Failed, Outcome::Undone),
    }
}
