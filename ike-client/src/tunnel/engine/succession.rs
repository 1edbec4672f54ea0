//! A session beside the one that stands, to take its place without a gap.
//!
//! The gateway wants this client to prove itself again (RFC 4478), the IKE SA nears its age limit
//! (RFC 7296 §2.8.3), or the gateway, which is proven, sends this client to another one (RFC 5685 §5). The
//! owner is told ([`Event::SuccessorWanted`](crate::tunnel::control::Event::SuccessorWanted)), judges
//! whether that may be ([`Command::Succeed`](crate::tunnel::control::Command::Succeed)), and only then a
//! second session is negotiated while packets go on by the first: at the same gateway on the way that
//! stands, at another one on a way of its own. When it has a CHILD SA it takes the place, and the first
//! is deleted. Whichever gateway it is must prove the identity of the one that was dialled.

use super::dial;
use super::path::{Path, Told};
use crate::esp::EspSpi;
use crate::random::SystemRandom;
use crate::session::{
    Answer, CloseReason, Configuration, Established, Event, KeyLine, LocalSocket, RedirectTarget, Request, RequestId,
    Session, Transmit, UnknownRequest,
};
use crate::time::Timestamp;
use crate::tunnel::control::{Carrier, TunnelConfiguration};
use crate::tunnel::lookup::{self, NameService};
use crate::tunnel::remembered::Remembered;
use ipnet::IpNet;
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The questions of each session are numbered from a multiple of this.
const QUESTIONS: u64 = 1 << 32;
/// No more successors are made in [`SUCCESSION_PERIOD`], whether the gateway redirects (RFC 5685 §7) or wants another
/// proof.
const MAXIMUM_SUCCESSORS: usize = 5;
/// See [`MAXIMUM_SUCCESSORS`].
pub const SUCCESSION_PERIOD: Duration = Duration::from_secs(300);

/// The sessions beside the one that stands.
pub struct Succession {
    /// The gateway's name, as it was dialled.
    name: String,
    /// What the sessions before have left.
    remembered: Remembered,
    /// How many successors there were.
    generation: u64,
    /// What a successor is wanted for, until the owner allows one.
    wanted: Option<Wanted>,
    /// The way to another gateway that is being opened.
    opening: Option<Opening>,
    successor: Option<Beside>,
    /// Whether the successor was given up and only says farewell.
    given_up: bool,
    predecessor: Option<Beside>,
    /// When successors were begun.
    begun: VecDeque<Timestamp>,
}

/// What a successor is wanted for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The same gateway wants the proofs anew.
    Reauthentication,
    /// It sends this client to another one.
    Redirect(RedirectTarget),
}

type Opening = Pin<Box<dyn Future<Output = io::Result<Opened>> + Send>>;

/// A way to another gateway.
pub struct Opened {
    path: Path,
    gateway: SocketAddr,
}

/// A session beside the one that stands.
struct Beside {
    session: Session,
    /// Its own way; none: it shares the one that stands.
    way: Option<Path>,
    /// What was negotiated, once it was.
    established: Option<Box<Established>>,
}

/// What came on ways of their own.
pub enum Came {
    /// The way to another gateway is open, or could not be opened.
    Opened(io::Result<Opened>),
    /// The successor can receive.
    ForSuccessor(LocalSocket),
    /// The predecessor can receive.
    ForPredecessor(LocalSocket),
}

/// Who takes the place, with what it has: its own way, if it does not share the one that stands.
pub struct Takeover {
    /// Its way.
    pub way: Option<Path>,
    /// What it negotiated.
    pub established: Box<Established>,
}

impl Succession {
    /// Makes one without sessions.
    pub const fn new(name: String, remembered: Remembered) -> Self {
        Self {
            name,
            remembered,
            generation: 0,
            wanted: None,
            opening: None,
            successor: None,
            given_up: false,
            predecessor: None,
            begun: VecDeque::new(),
        }
    }

    /// Notes that a successor is wanted; false when it is wanted already or on its way, or there is no end of them.
    pub fn want(&mut self, wanted: Wanted, now: Timestamp) -> bool {
        if self.successor.is_some() || self.opening.is_some() || self.wanted.as_ref() == Some(&wanted) {
            return false;
        }
        self.begun.retain(|at| now < *at + SUCCESSION_PERIOD);
        if self.begun.len() >= MAXIMUM_SUCCESSORS {
            tracing::warn!(?wanted, "the gateway wants successors without end: there is none for now");
            return false;
        }
        self.wanted = Some(wanted);
        true
    }

    /// Begins the successor that is wanted, which the owner has allowed. `standing` is the way that
    /// stands, by its local end and the gateway's.
    pub fn begin(
        &mut self,
        tunnel: &TunnelConfiguration,
        carrier: Carrier,
        addresses: &[IpNet],
        (local, remote): (SocketAddr, SocketAddr),
        names: &NameService,
        now: Timestamp,
    ) {
        if self.wanted.is_some() {
            self.begun.push_back(now);
        }
        match self.wanted.take() {
            None => tracing::debug!("no successor is wanted"),
            Some(Wanted::Reauthentication) => {
                let dialled = dial::configuration(tunnel, &self.name, carrier, self.remembered.known());
                let mut configuration = dialled.succeeding(addresses);
                configuration.encapsulated_port = remote.port();
                self.start(configuration, (local, remote), None, tunnel, now);
            }
            Some(Wanted::Redirect(to)) => {
                let (port, family, mark) = (tunnel.port, tunnel.family, tunnel.firewall_mark);
                let (names, name) = (names.clone(), to.to_string());
                self.opening = Some(Box::pin(async move {
                    let addresses = lookup::gateway(&name, port, family, &names).await?;
                    let mut gateway = addresses.first().copied().ok_or(io::ErrorKind::NotFound)?;
                    if let Carrier::Tcp { port } = carrier {
                        gateway.set_port(port);
                    }
                    Ok(Opened { path: Path::open(carrier, gateway, mark).await?, gateway })
                }));
            }
        }
    }

    /// Goes on when the way to another gateway is open. `from` is the gateway that redirected.
    ///
    /// # Errors
    /// Why that gateway cannot be reached.
    pub fn opened(
        &mut self,
        opened: io::Result<Opened>,
        (tunnel, carrier): (&TunnelConfiguration, Carrier),
        (addresses, from): (&[IpNet], SocketAddr),
        now: Timestamp,
    ) -> io::Result<()> {
        let Opened { path, gateway } = opened?;
        let dialled = dial::configuration(tunnel, &self.name, carrier, self.remembered.known());
        let start_encapsulated = dialled.start_encapsulated;
        let mut configuration = dialled.succeeding(addresses);
        configuration.start_encapsulated = start_encapsulated;
        configuration.continuity.redirected_from = Some(RedirectTarget::Address(from.ip()));
        let (socket, remote) = match start_encapsulated {
            true => (LocalSocket::Encapsulated, SocketAddr::new(gateway.ip(), configuration.encapsulated_port)),
            false => (LocalSocket::Ike, gateway),
        };
        let ends = (path.local(socket)?, remote);
        self.start(configuration, ends, Some(path), tunnel, now);
        Ok(())
    }

    fn start(
        &mut self,
        configuration: Configuration,
        (local, remote): (SocketAddr, SocketAddr),
        way: Option<Path>,
        tunnel: &TunnelConfiguration,
        now: Timestamp,
    ) {
        self.generation = self.generation.saturating_add(1);
        self.given_up = false;
        let unix_now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let session = Session::new(configuration, Box::new(SystemRandom), local, remote, now, unix_now);
        let mut session = session.asking_from(RequestId(self.first_question()));
        if tunnel.trace {
            session.trace();
        }
        if tunnel.disclose_keys {
            session.disclose_keys();
        }
        self.successor = Some(Beside { session, way, established: None });
    }

    const fn first_question(&self) -> u64 {
        self.generation.saturating_mul(QUESTIONS)
    }

    /// Tells whether the successor asked that question.
    pub const fn asked(&self, id: RequestId) -> bool {
        self.successor.is_some() && id.0 >= self.first_question()
    }

    /// Answers the successor's question.
    ///
    /// # Errors
    /// When it does not stand any more.
    pub fn handle_response(&mut self, id: RequestId, answer: Answer, now: Timestamp) -> Result<(), UnknownRequest> {
        match &mut self.successor {
            Some(successor) => successor.session.handle_response(id, answer, now),
            None => Err(UnknownRequest(id)),
        }
    }

    /// Waits for what comes on ways of their own.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Came> {
        if let Some(opening) = &mut self.opening
            && let Poll::Ready(opened) = opening.as_mut().poll(cx)
        {
            self.opening = None;
            return Poll::Ready(Came::Opened(opened));
        }
        if let Some(socket) = readable(self.successor.as_mut(), cx) {
            return Poll::Ready(Came::ForSuccessor(socket));
        }
        match readable(self.predecessor.as_mut(), cx) {
            Some(socket) => Poll::Ready(Came::ForPredecessor(socket)),
            None => Poll::Pending,
        }
    }

    /// Receives on a way of its own.
    pub fn receive(&mut self, came: &Came, now: Timestamp) {
        let (beside, socket) = match came {
            Came::ForSuccessor(socket) => (&mut self.successor, *socket),
            Came::ForPredecessor(socket) => (&mut self.predecessor, *socket),
            Came::Opened(_) => return,
        };
        let Some(Beside { session, way: Some(way), .. }) = beside else { return };
        let received = way.receive(socket, |message, from| session.handle_datagram(message, from, now));
        if let Err(error) = received {
            // Silence decides about the session.
            tracing::debug!(%error, "the way of a session beside the tunnel is lost");
        }
    }

    /// Takes an IKE message that came on the way that stands; what is none of theirs they leave alone.
    pub fn handle_datagram(&mut self, message: &[u8], from: SocketAddr, now: Timestamp) {
        for beside in self.both().filter(|beside| beside.way.is_none()) {
            beside.session.handle_datagram(message, from, now);
        }
    }

    /// Returns when [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let both = self.successor.iter().chain(&self.predecessor);
        both.filter_map(|beside| beside.session.poll_timeout().map(|(at, _)| at)).min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        for Beside { session, way, .. } in self.both() {
            if let Some(way) = way {
                way.do_what_is_due(now);
            }
            if session.poll_timeout().is_some_and(|(at, _)| at <= now) {
                session.handle_timeout(now);
            }
        }
    }

    /// Returns what the successor tells next; one that has ended is gone when nothing is left.
    pub fn poll_successor(&mut self) -> Option<Event> {
        let successor = self.successor.as_mut()?;
        match successor.session.poll_event() {
            Some(Event::Established(established)) => {
                successor.established = Some(established);
                self.poll_successor()
            }
            None if successor.session.is_finished() => {
                self.predecessor = self.successor.take();
                None
            }
            event => event,
        }
    }

    /// Returns what the predecessor tells next.
    pub fn poll_predecessor(&mut self) -> Option<Event> {
        self.predecessor.as_mut()?.session.poll_event()
    }

    /// Returns the next question of the successor.
    pub fn poll_request(&mut self) -> Option<(RequestId, Request, Timestamp)> {
        self.successor.as_mut()?.session.poll_request()
    }

    /// Returns the SPI of the CHILD SA that the successor has asked for and that arrives by the way that stands.
    pub fn expected_child(&self) -> Option<EspSpi> {
        let successor = self.successor.as_ref().filter(|successor| successor.way.is_none())?;
        successor.session.expected_child()
    }

    /// Returns the next line of the key tables that either has.
    pub fn poll_keys(&mut self) -> Option<KeyLine> {
        self.both().find_map(|beside| beside.session.poll_keys())
    }

    /// Returns what either wants sent on the way that stands; what goes by ways of their own is sent. A
    /// predecessor that has nothing more to do is gone then.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        let mut shared = None;
        for Beside { session, way, .. } in self.both() {
            match way {
                Some(way) => std::iter::from_fn(|| session.poll_transmit()).for_each(|transmit| way.send(&transmit)),
                None => shared = shared.or_else(|| session.poll_transmit()),
            }
        }
        if shared.is_none() && self.predecessor.as_ref().is_some_and(|beside| beside.session.is_finished()) {
            self.predecessor = None;
        }
        shared
    }

    /// Tells whether the successor may take the place.
    pub const fn may_take_over(&self) -> bool {
        self.successor.is_some() && !self.given_up
    }

    /// Lets the successor take the place of `session`, which is deleted.
    pub fn take_over(&mut self, session: &mut Session, now: Timestamp) -> Option<Takeover> {
        let Beside { session: successor, way, established } = self.successor.take()?;
        let mut predecessor = std::mem::replace(session, successor);
        predecessor.close(CloseReason::Reconnect, now);
        self.predecessor = Some(Beside { session: predecessor, way: None, established: None });
        Some(Takeover { way, established: established? })
    }

    /// Leaves the predecessor the way that it had.
    pub fn leave(&mut self, way: Path) {
        if let Some(predecessor) = &mut self.predecessor {
            predecessor.way = Some(way);
        }
    }

    /// Ends both, and whatever is wanted.
    pub fn close(&mut self, reason: CloseReason, now: Timestamp) {
        (self.wanted, self.opening, self.given_up) = (None, None, true);
        for beside in self.both() {
            beside.session.close(reason, now);
        }
    }

    fn both(&mut self) -> impl Iterator<Item = &mut Beside> {
        self.successor.iter_mut().chain(&mut self.predecessor)
    }
}

fn readable(beside: Option<&mut Beside>, cx: &mut Context<'_>) -> Option<LocalSocket> {
    match beside?.way.as_mut()?.poll(cx) {
        Poll::Ready(Told::Readable(socket)) => Some(socket),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_already_is_not_wanted_again() {
        let mut succession = Succession::new("vpn.example.test".to_owned(), Remembered::default());
        let now = Timestamp::from_start(Duration::from_secs(1000));
        assert!(succession.want(Wanted::Reauthentication, now));
        assert!(!succession.want(Wanted::Reauthentication, now));
        assert!(succession.want(Wanted::Redirect(RedirectTarget::Name("gw2.example.test".to_owned())), now));
    }

    #[test]
    fn redirects_without_end_are_not_followed() {
        let mut succession = Succession::new("vpn.example.test".to_owned(), Remembered::default());
        let to = RedirectTarget::Name("gw2.example.test".to_owned());
        let mut followed = |seconds: u64| {
            let now = Timestamp::from_start(Duration::from_secs(1000 + seconds));
            let allowed = succession.want(Wanted::Redirect(to.clone()), now);
            succession.begun.extend(allowed.then_some(now));
            succession.wanted = None;
            allowed
        };
        assert_eq!((0..20).filter(|_| followed(0)).count(), MAXIMUM_SUCCESSORS);
        assert!(!followed(299));
        assert!(followed(300));
    }
}
