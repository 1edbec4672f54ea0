//! A tunnel by IKEv2 and ESP: drives one [`Session`].

mod takeover;

use super::path::{Path, Told};
use super::race::Winner;
use super::schedule::Candidate;
use super::size::PathSize;
use super::succession::{Came, SUCCESSION_PERIOD, Succession, Wanted};
use super::traffic::Traffic;
use super::{End, Owner};
use crate::session::{self, CloseCause, CloseReason, Established, LocalSocket, OutboundFrom, SaKind, Session};
use crate::time::Timestamp;
use crate::tunnel::alarm::Alarm;
use crate::tunnel::clock;
use crate::tunnel::control::{Command, EndCause, EstablishedTunnel, Event, Progress, TunnelConfiguration};
use crate::tunnel::device::Device;
use crate::tunnel::encapsulation::{Encapsulation, EncapsulationEvent};
use crate::tunnel::esp::EspEncapsulation;
use crate::tunnel::established;
use crate::tunnel::outbox::Outbox;
use crate::tunnel::plane::FromPlane;
use crate::tunnel::remembered::Remembered;
use crate::tunnel::socket;
use ipnet::IpNet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long the gateway has to confirm a Delete.
const FAREWELL: Duration = Duration::from_secs(3);
/// How often it is looked whether the way to the gateway begins at another address by now.
const LOOK: Duration = Duration::from_secs(2);
/// A look may come so much earlier or later: with whatever wakes the engine anyway.
const LOOK_SLACK: Duration = Duration::from_secs(1);

/// One way on which the gateway has answered, and the tunnel that comes of it.
pub(super) struct Engine<'a> {
    pub(super) tunnel: &'a TunnelConfiguration,
    candidate: Candidate,
    pub(super) session: Session,
    /// Sessions beside it: the one that will take its place, the one whose place it took.
    succession: Succession,
    pub(super) path: Path,
    /// The gateway that the data plane sends to.
    linked: SocketAddr,
    alarm: Alarm,
    pub(super) traffic: Traffic,
    pub(super) esp: Arc<EspEncapsulation>,
    /// How large packets may be.
    pub(super) size: PathSize,
    /// What was negotiated, until the first CHILD SA makes a tunnel of it.
    negotiated: Option<Box<Established>>,
    /// The addresses that the tunnel stands on.
    pub(super) assigned: Vec<IpNet>,
    /// What the owner was told of the tunnel last.
    pub(super) shown: Option<EstablishedTunnel>,
    /// When the gateway was contacted.
    began: Timestamp,
    /// When the way is looked at next.
    look_due: Timestamp,
    /// Whether packets may have gone to the system since the last look at the lease.
    leased: bool,
    /// What this tunnel leaves for the next.
    pub(super) remembered: Remembered,
    /// Set once the tunnel is to end: why, and until when the gateway is waited for.
    ending: Option<(EndCause, Timestamp)>,
}

/// What woke the engine.
enum Woken {
    Command(Option<Command>),
    Path(Told),
    Succession(Came),
    Plane(FromPlane),
    Alarm,
    Delivered,
}

impl<'a> Engine<'a> {
    pub(super) fn new(tunnel: &'a TunnelConfiguration, winner: Winner, owner: &Owner) -> io::Result<Self> {
        let Winner { name, candidate, session, path, began } = winner;
        Ok(Self {
            tunnel,
            candidate,
            session,
            succession: Succession::new(name, owner.remembered.clone()),
            path,
            linked: candidate.gateway,
            alarm: Alarm::new()?,
            traffic: Traffic::new(owner.lease.clone()),
            esp: Arc::new(EspEncapsulation::new(tunnel.volume)),
            size: PathSize::default(),
            negotiated: None,
            assigned: Vec::new(),
            shown: None,
            began,
            look_due: began,
            leased: false,
            remembered: owner.remembered.clone(),
            ending: None,
        })
    }

    pub(super) async fn run(mut self, commands: &mut mpsc::Receiver<Command>, owner: &mut Owner) -> End {
        loop {
            self.settle(&mut owner.outbox);
            if let Some((cause, until)) = &self.ending
                && ((self.session.is_finished() && !self.path.keeps_messages()) || clock::now() >= *until)
            {
                return End { cause: cause.clone(), device: self.traffic.take_device() };
            }
            let woken = self.wait(commands, &mut owner.outbox).await;
            let now = clock::now();
            match woken {
                Woken::Command(command) => self.obey(command, owner, now),
                Woken::Path(told) => self.take(told, &mut owner.outbox, now),
                Woken::Succession(came) => self.take_beside(came, now),
                Woken::Plane(FromPlane::Ike(message)) => self.take_message(&message, self.session.remote(), now),
                Woken::Plane(FromPlane::IkeFrom(message, from)) => self.take_message(&message, from, now),
                Woken::Plane(FromPlane::DeviceFailed(error)) => {
                    let cause = EndCause::Device { device: self.tunnel.device.clone(), error: error.to_string() };
                    self.stop(cause, CloseReason::Shutdown, &mut owner.outbox, now);
                }
                Woken::Plane(FromPlane::LinkFailed(error)) => self.way_lost(&error, &mut owner.outbox, now),
                Woken::Plane(FromPlane::Told) | Woken::Alarm | Woken::Delivered => {}
            }
            self.do_what_is_due(clock::now(), &mut owner.outbox);
        }
    }

    async fn wait(&mut self, commands: &mut mpsc::Receiver<Command>, outbox: &mut Outbox) -> Woken {
        let due = self.next_due();
        tokio::select! {
            biased;
            command = commands.recv(), if self.ending.is_none() => Woken::Command(command),
            // The owner comes first. Of the others none does: whoever floods a socket would be the only one who is heard.
            woken = async {
                tokio::select! {
                    told = std::future::poll_fn(|cx| self.path.poll(cx)) => Woken::Path(told),
                    came = std::future::poll_fn(|cx| self.succession.poll(cx)) => Woken::Succession(came),
                    told = self.traffic.told() => Woken::Plane(told),
                    _ = self.alarm.until(due) => Woken::Alarm,
                    () = outbox.deliver() => Woken::Delivered,
                }
            } => woken,
        }
    }

    fn take(&mut self, told: Told, outbox: &mut Outbox, now: Timestamp) {
        match told {
            Told::Readable(socket) => {
                let Self { path, session, succession, .. } = self;
                let received = path.receive(socket, |message, from| {
                    session.handle_datagram(message, from, now);
                    succession.handle_datagram(message, from, now);
                });
                if let Err(error) = received {
                    self.way_lost(&error, outbox, now);
                }
            }
            Told::Reopened => self.way_found(outbox, now),
            Told::Failed => {}
        }
    }

    /// Takes an IKE message that the data plane received.
    fn take_message(&mut self, message: &[u8], from: SocketAddr, now: Timestamp) {
        self.session.handle_datagram(message, from, now);
        self.succession.handle_datagram(message, from, now);
    }

    /// A stream that was lost is opened again, as long as the session believes in its gateway.
    fn way_lost(&mut self, error: &io::Error, outbox: &mut Outbox, now: Timestamp) {
        if !self.path.is_stream() {
            let cause = EndCause::Network { error: error.to_string() };
            return self.stop(cause, CloseReason::Shutdown, outbox, now);
        }
        if self.path.abort() {
            tracing::info!(%error, "the stream to the gateway was lost");
            outbox.put(Event::Progress { step: Progress::Reconnecting });
            // Its answer, or that there is none, decides about the tunnel.
            self.session.check_liveness(now);
        }
    }

    /// Another stream stands: the gateway learns of it by an IKE message (RFC 9329 §6.1), then
    /// packets move again.
    fn way_found(&mut self, outbox: &mut Outbox, now: Timestamp) {
        if self.ending.is_some() {
            return;
        }
        self.session.check_liveness(now);
        while let Some(transmit) = self.session.poll_transmit() {
            self.path.send(&transmit);
        }
        self.relink(self.session.remote(), outbox, now);
    }

    /// Lets the data plane go on by the way as it is now.
    fn relink(&mut self, gateway: SocketAddr, outbox: &mut Outbox, now: Timestamp) {
        if !self.traffic.is_running() {
            return;
        }
        let encapsulation: Arc<dyn Encapsulation> = Arc::clone(&self.esp) as _;
        self.linked = gateway;
        self.search_anew(outbox, now);
        let linked = self.path.hand_over(gateway).and_then(|link| self.traffic.relink(link, encapsulation));
        if let Err(error) = linked {
            let cause = EndCause::Network { error: error.to_string() };
            self.stop(cause, CloseReason::Shutdown, outbox, now);
        }
    }

    /// The way may begin at another address by now: a cable for the air, another network.
    fn look_at_the_way(&mut self, outbox: &mut Outbox, now: Timestamp) {
        self.look_due = now + LOOK;
        let gateway = self.session.remote();
        let own = self.path.local(LocalSocket::Encapsulated).map(|own| own.ip());
        match (socket::way(gateway, self.tunnel.firewall_mark), own) {
            (Ok((source, _)), Ok(own)) if source != own => self.go_over(source, gateway, outbox, now),
            (Ok((source, octets)), _) => self.note_belief(source, octets, outbox, now),
            // Without any way silence decides, as it would with one that leads nowhere.
            _ => {}
        }
    }

    /// Goes on from another address of this machine: by MOBIKE where the gateway knows it. Where it does
    /// not, the tunnel has to be made anew, at once, if its owner still wants it.
    fn go_over(&mut self, source: IpAddr, gateway: SocketAddr, outbox: &mut Outbox, now: Timestamp) {
        tracing::info!(%source, "the way to the gateway begins at another address");
        if self.path.is_stream() {
            return self.way_lost(&io::ErrorKind::AddrNotAvailable.into(), outbox, now);
        }
        let local = self.path.rebind(gateway, self.tunnel.firewall_mark);
        let local = match local {
            Ok(local) => local,
            Err(error) => return tracing::debug!(%error, "the other address cannot be used"),
        };
        if !self.session.can_move() {
            return self.stop(EndCause::PathChanged, CloseReason::Reconnect, outbox, now);
        }
        self.relink(gateway, outbox, now);
        self.session.move_to(local, gateway, now);
    }

    /// Without a lease nothing leaves, not even what the system holds of a stream.
    fn look_at_the_lease(&mut self, now: Timestamp) {
        let leased = self.traffic.is_leased(now);
        if self.leased && !leased && self.traffic.is_running() && self.path.abort() {
            tracing::debug!("the stream is given up with what it held: the lease is over");
        }
        self.leased = leased;
    }

    fn next_due(&self) -> Option<Timestamp> {
        [
            self.session.poll_timeout().map(|(at, _)| at),
            self.esp.poll_timeout(),
            self.traffic.next_due(),
            self.path.next_due(),
            self.succession.poll_timeout(),
            Some(self.look_due + LOOK_SLACK).filter(|_| self.traffic.is_running()),
            self.size.next_due().filter(|_| self.traffic.is_running()),
            self.ending.as_ref().map(|(_, until)| *until),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn do_what_is_due(&mut self, now: Timestamp, outbox: &mut Outbox) {
        self.look_at_the_lease(now);
        self.path.do_what_is_due(now);
        // What arrived on ESP since the last look says that the gateway lives.
        if self.traffic.do_what_is_due(now, outbox) {
            self.session.note_inbound_traffic(now);
        }
        if self.session.poll_timeout().is_some_and(|(at, _)| at <= now) {
            self.session.handle_timeout(now);
        }
        self.succession.handle_timeout(now);
        if self.traffic.is_running() && self.look_due <= now + LOOK_SLACK {
            self.look_at_the_way(outbox, now);
            self.note_traffic(now);
        }
        if self.traffic.is_running() {
            self.search_on(now);
        }
        if self.esp.poll_timeout().is_some_and(|at| at <= now) {
            self.esp.handle_timeout(now);
        }
        if let Some(EncapsulationEvent::RenewalDue) = self.esp.poll_event() {
            self.session.rekey_child(now);
        }
    }

    fn obey(&mut self, command: Option<Command>, owner: &mut Owner, now: Timestamp) {
        let Some(command) = command else {
            return self.stop(EndCause::OwnerGone, CloseReason::Shutdown, &mut owner.outbox, now);
        };
        match command {
            Command::Start { .. } | Command::StartWireGuard { .. } => tracing::warn!("a second start is ignored"),
            Command::Answer { id, answer } => {
                let answered = if self.succession.asked(id) {
                    self.succession.handle_response(id, answer, now)
                } else {
                    self.session.handle_response(id, answer, now)
                };
                if let Err(error) = answered {
                    tracing::debug!(%error, "an answer came too late");
                }
            }
            Command::GrantLease { .. } | Command::RevokeLease => {
                owner.lease.hear(&command);
                self.traffic.hear(&command);
            }
            Command::Stop { reason } => {
                self.stop(CloseCause::Requested { reason }.into(), reason, &mut owner.outbox, now);
            }
            Command::RekeyIke => self.session.rekey_ike(now),
            Command::RekeyChild => self.session.rekey_child(now),
            Command::Liveness => self.session.check_liveness(now),
            Command::Succeed => self.begin_successor(owner, now),
        }
    }

    /// Ends the tunnel on our side: data plane first, then the gateway is told.
    fn stop(&mut self, cause: EndCause, reason: CloseReason, outbox: &mut Outbox, now: Timestamp) {
        self.end(cause, outbox, now);
        self.session.close(reason, now);
        self.succession.close(reason, now);
    }

    /// Shuts the data plane and starts the time in which the gateway may still be spoken to.
    fn end(&mut self, cause: EndCause, outbox: &mut Outbox, now: Timestamp) {
        if self.ending.is_some() {
            return;
        }
        self.ending = Some((cause, now + FAREWELL));
        self.traffic.shut();
        if self.traffic.is_running() {
            self.path.abort();
        }
        self.traffic.stop(outbox);
        self.esp.clear();
        // The Delete's answer comes where the threads received.
        self.path.take_back();
    }

    /// Empties the session: what it wants sent, asked and told.
    fn settle(&mut self, outbox: &mut Outbox) {
        // What was told may lead to more being sent; and a CHILD SA is to be installed before the
        // gateway hears that it may send on it.
        loop {
            self.tell_conversation(outbox);
            while let Some(event) = self.session.poll_event() {
                self.hear(event, outbox);
            }
            self.hear_succession(outbox);
            // Before the request leaves whose answer may be overtaken.
            self.esp.expect(self.session.expected_child().or_else(|| self.succession.expected_child()));
            let requests =
                std::iter::from_fn(|| self.session.poll_request().or_else(|| self.succession.poll_request()));
            for (id, request, deadline) in requests {
                outbox.put(Event::Request { id, request, within: deadline.saturating_since(clock::now()) });
            }
            match self.session.poll_transmit().or_else(|| self.succession.poll_transmit()) {
                Some(transmit) => self.path.send(&transmit),
                None => break,
            }
        }
        self.admit();
    }

    /// Lets packets in from all of the gateway's addresses. The one that the session has gone over to is none of the
    /// others any more, and not yet the data plane's own: its answer to the move is still to come.
    fn admit(&self) {
        let (others, remote) = (self.session.other_addresses(), self.session.remote().ip());
        if remote == self.linked.ip() {
            return self.path.admit(others);
        }
        let all: Vec<IpAddr> = others.iter().copied().chain([remote]).collect();
        self.path.admit(&all);
    }

    fn tell_conversation(&mut self, outbox: &mut Outbox) {
        let now = clock::now();
        let lines = std::iter::from_fn(|| self.session.poll_keys().or_else(|| self.succession.poll_keys()));
        lines.for_each(|line| outbox.put(Event::Keys { line }));
        while let Some(record) = self.session.poll_trace() {
            let timer = self.session.poll_timeout();
            let timer = timer.map(|(at, name)| (name.as_str().to_owned(), at.saturating_since(now)));
            outbox.put(Event::Trace { record, elapsed: now.saturating_since(self.began), timer });
        }
    }

    fn hear(&mut self, event: session::Event, outbox: &mut Outbox) {
        let now = clock::now();
        match event {
            session::Event::Established(negotiated) => {
                outbox.put(Event::Progress { step: Progress::Authenticated });
                self.negotiated = Some(negotiated);
            }
            session::Event::ChildInstalled(child) => {
                let shown = established::Child::of(&child);
                let renewed = child.replaces.is_some();
                let wait = child.outbound_from == OutboundFrom::FirstInbound;
                self.esp.install(child.outbound, child.inbound, wait);
                self.traffic.settle();
                self.traffic.deliver_early();
                if let Some(negotiated) = self.negotiated.take() {
                    self.assigned.clone_from(&negotiated.addresses);
                    self.bring_up(&negotiated, &shown, outbox, now);
                } else if renewed {
                    outbox.put(Event::Rekeyed { sa: SaKind::Child });
                }
            }
            session::Event::ChildRetired { inbound, outbound } => {
                self.esp.retire(inbound, outbound, now);
                self.traffic.settle();
            }
            session::Event::IkeRekeyed { .. } => outbox.put(Event::Rekeyed { sa: SaKind::Ike }),
            session::Event::Moved { gateway, .. } => {
                if gateway != self.linked && !self.path.is_stream() {
                    self.relink(gateway, outbox, now);
                    self.show_gateway(gateway, outbox);
                }
            }
            session::Event::ReauthenticationDue { within } => {
                self.want_successor(Wanted::Reauthentication, within, outbox, now);
            }
            session::Event::Redirected { to } => {
                tracing::info!(%to, "the gateway redirects");
                self.want_successor(Wanted::Redirect(to), SUCCESSION_PERIOD, outbox, now);
            }
            session::Event::Ticket(ticket) => outbox.put(Event::Ticket { ticket }),
            session::Event::Probed { arrived, .. } => self.probed(arrived, outbox, now),
            session::Event::RevocationLearnt(answer) => self.remembered.learn(answer),
            session::Event::Warning(warning) => outbox.put(Event::Warning { warning }),
            session::Event::Closed { cause } => self.end(cause.into(), outbox, now),
        }
    }

    /// Creates the device and starts the data plane.
    fn bring_up(&mut self, negotiated: &Established, child: &established::Child, outbox: &mut Outbox, now: Timestamp) {
        let mtu = self.tunnel.mtu.unwrap_or_else(|| self.first_size(&negotiated.addresses));
        let device = match Device::create(&self.tunnel.device, mtu) {
            Ok(device) => device,
            Err(error) => {
                let cause = EndCause::Device { device: self.tunnel.device.clone(), error: error.to_string() };
                return self.stop(cause, CloseReason::Shutdown, outbox, now);
            }
        };
        let local = self.path.local(LocalSocket::Encapsulated).unwrap_or(negotiated.gateway);
        let mut tunnel = established::describe(
            negotiated,
            child,
            self.candidate.carrier,
            local,
            (device.name(), device.index()),
            mtu,
        );
        self.session.other_addresses().clone_into(&mut tunnel.other_gateways);
        match self.start(device, negotiated.gateway) {
            Ok(()) => {
                self.shown = Some(tunnel.clone());
                self.begin_search(mtu, &negotiated.addresses, now);
                outbox.put(Event::Established { tunnel: Box::new(tunnel) });
            }
            Err(error) => {
                let cause = EndCause::Network { error: error.to_string() };
                self.stop(cause, CloseReason::Shutdown, outbox, now);
            }
        }
    }

    /// Tells the owner at which of the gateway's addresses the tunnel ends by now.
    fn show_gateway(&mut self, gateway: SocketAddr, outbox: &mut Outbox) {
        let Some(shown) = &mut self.shown else { return };
        shown.gateway = gateway;
        self.session.other_addresses().clone_into(&mut shown.other_gateways);
        outbox.put(Event::GatewayMoved { tunnel: Box::new(shown.clone()) });
    }

    fn start(&mut self, device: Device, gateway: SocketAddr) -> io::Result<()> {
        self.linked = gateway;
        let link = self.path.hand_over(gateway)?;
        let encapsulation: Arc<dyn Encapsulation> = Arc::clone(&self.esp) as _;
        self.traffic.start(device, link, encapsulation)
    }
}
