//! The race to the gateway: its addresses and the carriers are tried side by side, and the first
//! way on which the gateway's IKE_SA_INIT leads to keys has won.
//!
//! A refusal ends only the way it came by: nothing protects it, and another way may still be good.

use super::path::{Path, Told};
use super::schedule::Candidate;
use super::{Owner, dial};
use crate::auth::certificate::Known;
use crate::random::SystemRandom;
use crate::session::{self, CloseCause, LocalSocket, Session, Ticket};
use crate::time::Timestamp;
use crate::tunnel::alarm::Alarm;
use crate::tunnel::clock;
use crate::tunnel::control::{Carrier, CarrierChoice, Command, EndCause, Event, Progress, TunnelConfiguration};
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;

/// A way on which the gateway has answered.
pub struct Winner {
    /// The name that was dialled.
    pub name: String,
    /// What it is.
    pub candidate: Candidate,
    /// The negotiation so far.
    pub session: Session,
    /// The way itself.
    pub path: Path,
    /// When the race began.
    pub began: Timestamp,
}

/// What runs, and what has still to have its turn.
pub struct Race<'a> {
    tunnel: &'a TunnelConfiguration,
    /// The name that was looked up.
    name: &'a str,
    turns: VecDeque<(Timestamp, Candidate)>,
    runners: Vec<Runner>,
    /// Who is looked at first: who had something to say the last time is the last.
    next: usize,
    /// To come back by; the first way that is open takes it.
    ticket: Option<Box<Ticket>>,
    /// What is known of revoked certificates.
    known: Known,
    end: EndCause,
    began: Timestamp,
}

struct Runner {
    candidate: Candidate,
    stage: Stage,
}

/// A way that is being opened.
type Opening = Pin<Box<dyn Future<Output = io::Result<Path>> + Send>>;

enum Stage {
    Opening(Opening),
    Asking { session: Box<Session>, path: Path },
}

/// What happened to a runner.
enum Step {
    Opened(io::Result<Path>),
    Told(Told),
}

impl<'a> Race<'a> {
    /// Sets the candidates up, each with its time from now.
    pub fn new(
        tunnel: &'a TunnelConfiguration,
        name: &'a str,
        candidates: &VecDeque<(Duration, Candidate)>,
        now: Timestamp,
    ) -> Self {
        let turns = candidates.iter().map(|(after, candidate)| (now + *after, *candidate)).collect();
        Self {
            tunnel,
            name,
            turns,
            runners: Vec::new(),
            next: 0,
            ticket: None,
            known: Known::default(),
            end: unheard(),
            began: now,
        }
    }

    /// Gives the first way a ticket to come back by.
    pub fn resuming(mut self, ticket: Option<Box<Ticket>>) -> Self {
        self.ticket = ticket;
        self
    }

    /// Tells every session what is known of revoked certificates.
    pub fn knowing(mut self, known: Known) -> Self {
        self.known = known;
        self
    }

    /// Runs until one has won, all have lost, the patience is over, or the owner ends it.
    ///
    /// # Errors
    /// Why nobody won.
    pub async fn run(
        mut self,
        patience: Option<Duration>,
        commands: &mut mpsc::Receiver<Command>,
        owner: &mut Owner,
    ) -> Result<Winner, EndCause> {
        let alarm = Alarm::new().map_err(network)?;
        let over = patience.map(|patience| clock::now() + patience);
        loop {
            self.begin_turns(owner);
            if self.runners.is_empty() && self.turns.is_empty() {
                return Err(self.end);
            }
            let due = self.next_due().into_iter().chain(over).min();
            let step = tokio::select! {
                biased;
                command = commands.recv() => match command {
                    Some(Command::Stop { reason }) => return Err(CloseCause::Requested { reason }.into()),
                    Some(command) => {
                        owner.lease.hear(&command);
                        None
                    }
                    None => return Err(EndCause::OwnerGone),
                },
                step = std::future::poll_fn(|cx| poll(&mut self.runners, self.next, cx)) => Some(step),
                _ = alarm.until(due) => None,
                () = owner.outbox.deliver() => None,
            };
            if let Some((place, step)) = step {
                self.next = place + 1;
                self.take(place, step);
            }
            let now = clock::now();
            self.tell_messages(now, owner);
            if let Some(winner) = self.settle(now) {
                return Ok(winner);
            }
            if over.is_some_and(|over| over <= now) {
                return Err(self.end);
            }
        }
    }

    /// Starts whoever's turn it is; the next at once where nobody runs.
    fn begin_turns(&mut self, owner: &mut Owner) {
        let now = clock::now();
        while let Some((at, candidate)) = self.turns.front().copied()
            && (at <= now || self.runners.is_empty())
        {
            self.turns.pop_front();
            self.tell(candidate, owner);
            let opening = Path::open(candidate.carrier, candidate.gateway, self.tunnel.firewall_mark);
            self.runners.push(Runner { candidate, stage: Stage::Opening(Box::pin(opening)) });
        }
    }

    fn tell(&self, candidate: Candidate, owner: &mut Owner) {
        let is_tcp = |carrier| matches!(carrier, Carrier::Tcp { .. });
        let first_stream = is_tcp(candidate.carrier) && !self.turns.iter().any(|(_, one)| !is_tcp(one.carrier));
        let announced = self.runners.iter().any(|runner| is_tcp(runner.candidate.carrier));
        let silent = self.end == unheard();
        if matches!(self.tunnel.carrier, CarrierChoice::Auto { tcp_first: false, .. })
            && first_stream
            && !announced
            && silent
        {
            owner.outbox.put(Event::Progress { step: Progress::UdpSilent });
        }
        let gateway = match candidate.carrier {
            Carrier::Udp if self.tunnel.session.start_encapsulated => {
                SocketAddr::new(candidate.gateway.ip(), self.tunnel.nat_port)
            }
            _ => candidate.gateway,
        };
        owner.outbox.put(Event::Progress { step: Progress::Contacting { gateway } });
    }

    fn next_due(&self) -> Option<Timestamp> {
        let turn = self.turns.front().map(|(at, _)| *at);
        let runners = self.runners.iter().filter_map(|runner| match &runner.stage {
            Stage::Asking { session, .. } => session.poll_timeout().map(|(at, _)| at),
            Stage::Opening(_) => None,
        });
        runners.chain(turn).min()
    }

    fn take(&mut self, place: usize, step: Step) {
        let Some(runner) = self.runners.get_mut(place) else { return };
        let result = match step {
            Step::Opened(opened) => opened.and_then(|path| {
                let ticket = self.ticket.take();
                let session =
                    Box::new(session((self.tunnel, self.name), runner.candidate, &path, ticket, self.known.clone())?);
                runner.stage = Stage::Asking { session, path };
                Ok(())
            }),
            Step::Told(Told::Readable(socket)) => runner.receive(socket),
            Step::Told(Told::Reopened | Told::Failed) => Ok(()),
        };
        if let Err(error) = result {
            self.runners.remove(place);
            self.lost(network(error));
        }
    }

    /// Lets every session do what is due and send what it wants; returns the winner, if there is
    /// one, as it was when it won.
    fn settle(&mut self, now: Timestamp) -> Option<Winner> {
        let mut place = 0;
        while let Some(runner) = self.runners.get_mut(place) {
            let Stage::Asking { session, path } = &mut runner.stage else {
                place += 1;
                continue;
            };
            if session.poll_timeout().is_some_and(|(at, _)| at <= now) {
                session.handle_timeout(now);
            }
            if !session.has_keys() {
                while let Some(transmit) = session.poll_transmit() {
                    path.send(&transmit);
                }
                place += 1;
                continue;
            }
            let Runner { candidate, stage: Stage::Asking { mut session, path } } = self.runners.remove(place) else {
                continue;
            };
            if !session.is_closed() {
                return Some(Winner {
                    name: self.name.to_owned(),
                    candidate,
                    session: *session,
                    path,
                    began: self.began,
                });
            }
            let mut end = unheard();
            while let Some(event) = session.poll_event() {
                if let session::Event::Closed { cause } = event {
                    end = cause.into();
                }
            }
            self.lost(end);
        }
        None
    }

    /// Tells the messages of all ways, where somebody reads along.
    fn tell_messages(&mut self, now: Timestamp, owner: &mut Owner) {
        let elapsed = now.saturating_since(self.began);
        for runner in &mut self.runners {
            let Stage::Asking { session, .. } = &mut runner.stage else { continue };
            std::iter::from_fn(|| session.poll_keys()).for_each(|line| owner.outbox.put(Event::Keys { line }));
            while let Some(record) = session.poll_trace() {
                let timer = session.poll_timeout();
                let timer = timer.map(|(at, name)| (name.as_str().to_owned(), at.saturating_since(now)));
                owner.outbox.put(Event::Trace { record, elapsed, timer });
            }
        }
    }

    /// Notes why a way was lost, when that says more than what is known.
    fn lost(&mut self, end: EndCause) {
        tracing::debug!(cause = %end, "a way to the gateway is no good");
        let says = |end: &EndCause| match end {
            EndCause::Session { cause: CloseCause::NoAnswer } => 1,
            EndCause::Session { .. } => 2,
            _ => 0,
        };
        let nothing_known =
            self.end == unheard() && says(&end) == 0 && self.runners.is_empty() && self.turns.is_empty();
        if says(&end) > says(&self.end) || nothing_known {
            if matches!(&end, EndCause::Session { cause } if holds_for_every_way(cause)) {
                self.turns.clear();
            }
            self.end = end;
        }
    }
}

impl Runner {
    fn receive(&mut self, socket: LocalSocket) -> io::Result<()> {
        let Stage::Asking { session, path } = &mut self.stage else { return Ok(()) };
        let now = clock::now();
        path.receive(socket, |message, from| session.handle_datagram(message, from, now))
    }
}

fn poll(runners: &mut [Runner], next: usize, cx: &mut Context<'_>) -> Poll<(usize, Step)> {
    let next = if next < runners.len() { next } else { 0 };
    for place in (next..runners.len()).chain(0..next) {
        let Some(runner) = runners.get_mut(place) else { continue };
        let step = match &mut runner.stage {
            Stage::Opening(opening) => opening.as_mut().poll(cx).map(Step::Opened),
            Stage::Asking { path, .. } => path.poll(cx).map(Step::Told),
        };
        if let Poll::Ready(step) = step {
            return Poll::Ready((place, step));
        }
    }
    Poll::Pending
}

/// Starts the negotiation with a candidate.
fn session(
    (tunnel, name): (&TunnelConfiguration, &str),
    candidate: Candidate,
    path: &Path,
    ticket: Option<Box<Ticket>>,
    known: Known,
) -> io::Result<Session> {
    let configuration = dial::configuration(tunnel, name, candidate.carrier, known);
    let (local, remote) = if configuration.start_encapsulated {
        let remote = SocketAddr::new(candidate.gateway.ip(), configuration.encapsulated_port);
        (path.local(LocalSocket::Encapsulated)?, remote)
    } else {
        (path.local(LocalSocket::Ike)?, candidate.gateway)
    };
    let unix_now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let random = Box::new(SystemRandom);
    let mut session = match ticket {
        Some(ticket) => Session::resume(configuration, *ticket, random, (local, remote), clock::now(), unix_now),
        None => Session::new(configuration, random, local, remote, clock::now(), unix_now),
    };
    if tunnel.trace {
        session.trace();
    }
    if tunnel.disclose_keys {
        session.disclose_keys();
    }
    Ok(session)
}

/// Tells whether no other way would do better: it was this side's doing, or leads to another place. What a gateway says
/// before there are keys anybody on the way may have said, who need not be on another one.
const fn holds_for_every_way(cause: &CloseCause) -> bool {
    matches!(
        cause,
        CloseCause::ConfigurationUnusable { .. } | CloseCause::RandomUnavailable | CloseCause::Redirected { .. }
    )
}

fn unheard() -> EndCause {
    CloseCause::NoAnswer.into()
}

fn network(error: io::Error) -> EndCause {
    EndCause::Network { error: error.to_string() }
}

#[cfg(test)]
mod tests;
