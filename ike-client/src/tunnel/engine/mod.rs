//! The engine: builds one tunnel, moves its packets, obeys its owner, ends it in the right order.
//!
//! Two kinds of tunnel behind one front: IKEv2 with ESP, and WireGuard. Both stand on the same
//! gate, data plane and order of ending, whatever the cause: the gate is shut and the threads are
//! gone ([`Event::DataStopped`]), then the gateway is told, then [`Event::Ended`].

mod dial;
mod ike;
mod path;
mod race;
mod schedule;
mod size;
mod stream;
mod succession;
mod traffic;
mod wireguard;

use super::control::{AddressFamily, Command, EndCause, Event, Progress};
use super::device::Device;
use super::lease::LeaseReader;
use super::lookup::{self, NameService};
use super::outbox::Outbox;
use super::remembered::Remembered;
use crate::session::{CloseCause, Ticket};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::mpsc;
use traffic::Lease;

/// Builds and runs one tunnel until it ends. The first command must be [`Command::Start`] or
/// [`Command::StartWireGuard`].
///
/// Returns after [`Event::Ended`] was handed over, or when nobody listens any more; only then does
/// the device go, so that its routes lead nowhere rather than elsewhere until the owner knows.
/// Wants a Tokio runtime with I/O and time; a current-thread one will do, since packets move on
/// threads of their own.
pub async fn run(commands: mpsc::Receiver<Command>, events: mpsc::Sender<Event>) {
    run_with(commands, events, Lent { names: lookup::of_system(), lease: None }, Remembered::default()).await;
}

/// What the owner lends the engine.
#[derive(Clone)]
pub struct Lent {
    /// Finds a gateway's addresses.
    pub names: NameService,
    /// Where the owner writes the end of a lease that runs; without it each renewal is a command.
    pub lease: Option<Arc<LeaseReader>>,
}

/// As [`run`], with what the owner lends, and with what is remembered of the tunnels before.
pub async fn run_with(
    mut commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<Event>,
    lent: Lent,
    remembered: Remembered,
) {
    let Lent { names, lease } = lent;
    let outbox = Outbox::new(events);
    let mut owner = Owner { outbox, lease: Lease::new(lease), names, ticket: None, remembered };
    let end = loop {
        match commands.recv().await {
            Some(Command::Start { tunnel, ticket }) => {
                owner.ticket = ticket;
                break dial::connect(&tunnel, &mut commands, &mut owner).await;
            }
            Some(Command::StartWireGuard { tunnel }) => {
                break wireguard::connect(&tunnel, &mut commands, &mut owner).await;
            }
            Some(Command::Stop { reason }) => break CloseCause::Requested { reason }.into(),
            Some(command) => owner.lease.hear(&command),
            None => return,
        }
    };
    owner.outbox.put(Event::Ended { cause: end.cause });
    owner.outbox.flush().await;
    drop(end.device);
}

/// What there is of the owner.
struct Owner {
    outbox: Outbox,
    /// What it said last about the lease.
    lease: Lease,
    /// Finds the gateway's addresses.
    names: NameService,
    /// A ticket to come back by, until it is used.
    ticket: Option<Box<Ticket>>,
    /// What the tunnels before have left.
    remembered: Remembered,
}

/// How a tunnel ended, and the device that is to stay until the owner knows.
struct End {
    cause: EndCause,
    device: Option<Device>,
}

impl<C: Into<EndCause>> From<C> for End {
    fn from(cause: C) -> Self {
        Self { cause: cause.into(), device: None }
    }
}

/// Looks the gateway up while listening to the owner.
async fn look_up(
    (name, port, family): (&str, u16, AddressFamily),
    commands: &mut mpsc::Receiver<Command>,
    owner: &mut Owner,
) -> Result<Vec<SocketAddr>, EndCause> {
    owner.outbox.put(Event::Progress { step: Progress::LookingUp });
    let names = owner.names.clone();
    listening(lookup::gateway(name, port, family, &names), commands, owner)
        .await?
        .map_err(|error| EndCause::LookupFailed { name: name.to_owned(), error: error.to_string() })
}

/// Does `work` while listening to the owner, who may end it.
async fn listening<W: Future>(
    work: W,
    commands: &mut mpsc::Receiver<Command>,
    owner: &mut Owner,
) -> Result<W::Output, EndCause> {
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return Ok(done),
            command = commands.recv() => match command {
                Some(Command::Stop { reason }) => return Err(CloseCause::Requested { reason }.into()),
                Some(command) => owner.lease.hear(&command),
                None => return Err(EndCause::OwnerGone),
            },
            () = owner.outbox.deliver() => {}
        }
    }
}
