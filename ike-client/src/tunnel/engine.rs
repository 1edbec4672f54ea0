//! The engine: drives one [`Session`], owns sockets, device and data plane, and obeys its owner.
//!
//! Order of ending, whatever the cause: the gate is shut and the threads are gone
//! ([`Event::DataStopped`]), then the gateway is told, then [`Event::Ended`].

use super::alarm::Alarm;
use super::clock;
use super::control::{COUNTERS_INTERVAL, Command, Counters, EndCause, Event, Progress, TunnelConfiguration};
use super::device::Device;
use super::encapsulation::{Encapsulation, EncapsulationEvent};
use super::esp::EspEncapsulation;
use super::established;
use super::gate::Gate;
use super::link::Link;
use super::lookup;
use super::outbox::Outbox;
use super::plane::{DataPlane, FromPlane};
use super::socket::{self, Sockets};
use super::tally::Tally;
use crate::random::SystemRandom;
use crate::session::{self, CloseCause, CloseReason, Established, LocalSocket, OutboundFrom, SaKind, Session};
use crate::time::Timestamp;
use crate::transport::{Packet, udp};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

/// How long the gateway has to confirm a Delete.
const FAREWELL: Duration = Duration::from_secs(3);
/// The largest datagram that may hold an IKE message.
const LARGEST: usize = 65_535;

/// Builds and runs one tunnel until it ends. The first command must be [`Command::Start`].
///
/// Returns after [`Event::Ended`] was sent, or when nobody listens any more. Wants a Tokio runtime
/// with I/O and time; a current-thread one will do, packets move on threads of their own.
pub async fn run(mut commands: mpsc::Receiver<Command>, events: mpsc::Sender<Event>) {
    let mut outbox = Outbox::new(events);
    let mut lease = Lease::default();
    let tunnel = loop {
        match commands.recv().await {
            Some(Command::Start { tunnel }) => break tunnel,
            Some(Command::Stop { reason }) => {
                outbox.put(ended(CloseCause::Requested { reason }.into()));
                outbox.flush().await;
                return;
            }
            Some(command) => lease.hear(&command),
            None => return,
        }
    };
    let cause = connect(*tunnel, &mut commands, &mut outbox, lease).await;
    outbox.put(ended(cause));
    outbox.flush().await;
}

fn ended(cause: EndCause) -> Event {
    Event::Ended { cause }
}

/// What the owner said about the lease before there was a gate.
#[derive(Clone, Copy, Debug, Default)]
struct Lease {
    until: Option<Timestamp>,
}

impl Lease {
    fn hear(&mut self, command: &Command) {
        match command {
            Command::GrantLease { until } => self.until = Some(*until),
            Command::RevokeLease => self.until = None,
            _ => {}
        }
    }
}

/// Tries the gateway's addresses one after the other.
async fn connect(
    tunnel: TunnelConfiguration,
    commands: &mut mpsc::Receiver<Command>,
    outbox: &mut Outbox,
    mut lease: Lease,
) -> EndCause {
    if let super::control::Carrier::Tcp { .. } = tunnel.carrier {
        return EndCause::CarrierUnsupported { carrier: "TCP".to_owned() };
    }
    outbox.put(Event::Progress { step: Progress::LookingUp });
    let looking = lookup::gateway(&tunnel.gateway, tunnel.port, tunnel.family);
    tokio::pin!(looking);
    let gateways = loop {
        tokio::select! {
            found = &mut looking => match found {
                Ok(found) => break found,
                Err(error) => {
                    return EndCause::LookupFailed { name: tunnel.gateway.clone(), error: error.to_string() };
                }
            },
            command = commands.recv() => match command {
                Some(Command::Stop { reason }) => return CloseCause::Requested { reason }.into(),
                Some(command) => lease.hear(&command),
                None => return EndCause::OwnerGone,
            },
            () = outbox.deliver() => {}
        }
    };
    let mut cause = CloseCause::NoAnswer.into();
    for (index, gateway) in gateways.iter().enumerate() {
        outbox.put(Event::Progress { step: Progress::Contacting { gateway: *gateway } });
        let mut engine = match Engine::new(&tunnel, *gateway, lease) {
            Ok(engine) => engine,
            Err(error) => {
                cause = EndCause::Network { error: error.to_string() };
                continue;
            }
        };
        cause = engine.run(commands, outbox).await;
        lease = engine.lease;
        let next = index + 1 < gateways.len();
        if !(next && cause == EndCause::from(CloseCause::NoAnswer)) {
            break;
        }
    }
    cause
}

/// One attempt at one address, and the tunnel that comes of it.
struct Engine<'a> {
    tunnel: &'a TunnelConfiguration,
    session: Session,
    sockets: Sockets,
    ike: UdpSocket,
    /// The encapsulated socket until the data plane takes it over.
    encapsulated: Option<UdpSocket>,
    alarm: Alarm,
    gate: Arc<Gate>,
    lease: Lease,
    lapse_told: bool,
    tally: Arc<Tally>,
    esp: Arc<EspEncapsulation>,
    /// What was negotiated, until the first CHILD SA makes a tunnel of it.
    negotiated: Option<Box<Established>>,
    running: Option<Running>,
    counters: Counters,
    counters_due: Option<Timestamp>,
    /// Set once the tunnel is to end: why, and until when the gateway is waited for.
    ending: Option<(EndCause, Timestamp)>,
}

/// The data plane while it runs. The device goes with it.
struct Running {
    plane: DataPlane,
    told: mpsc::Receiver<FromPlane>,
    _device: Device,
}

/// What woke the engine.
enum Woken {
    Command(Option<Command>),
    Ike(io::Result<(usize, SocketAddr)>),
    Encapsulated(io::Result<(usize, SocketAddr)>),
    Plane(Option<FromPlane>),
    Alarm,
    Delivered,
}

impl<'a> Engine<'a> {
    fn new(tunnel: &'a TunnelConfiguration, gateway: SocketAddr, lease: Lease) -> io::Result<Self> {
        let sockets = socket::open(gateway, tunnel.firewall_mark)?;
        let ike = UdpSocket::from_std(sockets.ike.try_clone()?)?;
        let encapsulated = UdpSocket::from_std(sockets.encapsulated.try_clone()?)?;
        let mut configuration = tunnel.session.clone();
        configuration.encapsulated_port = tunnel.nat_port;
        let (local, remote) = if configuration.start_encapsulated {
            (sockets.encapsulated.local_addr()?, SocketAddr::new(gateway.ip(), tunnel.nat_port))
        } else {
            (sockets.local, gateway)
        };
        let unix_now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let session = Session::new(configuration, Box::new(SystemRandom), local, remote, clock::now(), unix_now);
        Ok(Self {
            tunnel,
            session,
            sockets,
            ike,
            encapsulated: Some(encapsulated),
            alarm: Alarm::new()?,
            gate: Arc::new(Gate::new()),
            lease,
            lapse_told: true,
            tally: Arc::default(),
            esp: Arc::default(),
            negotiated: None,
            running: None,
            counters: Counters::default(),
            counters_due: None,
            ending: None,
        })
    }

    async fn run(&mut self, commands: &mut mpsc::Receiver<Command>, outbox: &mut Outbox) -> EndCause {
        self.apply_lease();
        let mut datagram = vec![0; LARGEST];
        loop {
            self.settle(outbox).await;
            if let Some((cause, until)) = &self.ending
                && (self.session.is_finished() || clock::now() >= *until)
            {
                return cause.clone();
            }
            let woken = self.wait(&mut datagram, commands, outbox).await;
            let now = clock::now();
            match woken {
                Woken::Command(command) => self.obey(command, outbox, now),
                Woken::Ike(Ok((length, from))) => {
                    self.session.handle_datagram(datagram.get(..length).unwrap_or_default(), from, now);
                }
                Woken::Encapsulated(Ok((length, from))) => {
                    let datagram = datagram.get(..length).unwrap_or_default();
                    if let Ok(Packet::Ike(message)) = udp::demultiplex(datagram) {
                        self.session.handle_datagram(message, from, now);
                    }
                }
                // ICMP's word on a datagram of ours; retransmission decides.
                Woken::Ike(Err(error)) | Woken::Encapsulated(Err(error)) => {
                    tracing::debug!(%error, "the socket reports an error");
                }
                Woken::Plane(Some(FromPlane::Ike(message))) => {
                    let gateway = self.session.remote();
                    self.session.handle_datagram(&message, gateway, now);
                }
                Woken::Plane(Some(FromPlane::DeviceFailed(error))) => {
                    let device = self.tunnel.device.clone();
                    self.end(EndCause::Device { device, error: error.to_string() }, outbox, now);
                }
                Woken::Plane(Some(FromPlane::LinkFailed(error))) => {
                    self.end(EndCause::Network { error: error.to_string() }, outbox, now);
                }
                Woken::Plane(None) | Woken::Alarm | Woken::Delivered => {}
            }
            self.do_what_is_due(clock::now(), outbox);
        }
    }

    async fn wait(
        &mut self,
        datagram: &mut [u8],
        commands: &mut mpsc::Receiver<Command>,
        outbox: &mut Outbox,
    ) -> Woken {
        let due = self.next_due();
        let mut second = vec![0; if self.encapsulated.is_some() { LARGEST } else { 0 }];
        let woken = tokio::select! {
            biased;
            command = commands.recv() => Woken::Command(command),
            received = self.ike.recv_from(datagram) => Woken::Ike(received),
            received = receive(self.encapsulated.as_ref(), &mut second) => Woken::Encapsulated(received),
            told = tell(self.running.as_mut()) => Woken::Plane(told),
            _ = self.alarm.until(due) => Woken::Alarm,
            () = outbox.deliver() => Woken::Delivered,
        };
        if let Woken::Encapsulated(Ok((length, _))) = woken
            && let (Some(to), Some(from)) = (datagram.get_mut(..length), second.get(..length))
        {
            to.copy_from_slice(from);
        }
        woken
    }

    fn next_due(&self) -> Option<Timestamp> {
        let lapse = self.lease.until.filter(|_| !self.lapse_told && self.running.is_some());
        [
            self.session.poll_timeout().map(|(at, _)| at),
            self.esp.poll_timeout(),
            self.counters_due,
            lapse,
            self.ending.as_ref().map(|(_, until)| *until),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn do_what_is_due(&mut self, now: Timestamp, outbox: &mut Outbox) {
        if self.session.poll_timeout().is_some_and(|(at, _)| at <= now) {
            // What arrived on ESP since the last look says that the gateway lives.
            self.note_traffic(now);
            self.session.handle_timeout(now);
        }
        if self.esp.poll_timeout().is_some_and(|at| at <= now) {
            self.esp.handle_timeout(now);
        }
        if self.esp.poll_event() == Some(EncapsulationEvent::RenewalDue) {
            self.session.rekey_child(now);
        }
        if self.counters_due.is_some_and(|at| at <= now) {
            self.counters_due = Some(now + COUNTERS_INTERVAL);
            self.note_traffic(now);
            self.tell_counters(outbox);
        }
        if self.running.is_some() && !self.lapse_told && self.lease.until.is_none_or(|until| until <= now) {
            self.lapse_told = true;
            outbox.put(Event::LeaseLapsed { at: now });
        }
    }

    fn note_traffic(&mut self, now: Timestamp) {
        if self.tally.read().packets_received != self.counters.packets_received {
            self.session.note_inbound_traffic(now);
        }
    }

    fn tell_counters(&mut self, outbox: &mut Outbox) {
        let counters = self.tally.read();
        if counters != self.counters {
            self.counters = counters;
            outbox.put(Event::Counters { counters });
        }
    }

    fn obey(&mut self, command: Option<Command>, outbox: &mut Outbox, now: Timestamp) {
        let Some(command) = command else {
            return self.stop(EndCause::OwnerGone, CloseReason::Shutdown, outbox, now);
        };
        match command {
            Command::Start { .. } => tracing::warn!("a second start is ignored"),
            Command::Answer { id, answer } => {
                if let Err(error) = self.session.handle_response(id, answer, now) {
                    tracing::debug!(%error, "an answer came too late");
                }
            }
            Command::GrantLease { .. } | Command::RevokeLease => {
                self.lease.hear(&command);
                self.apply_lease();
                if self.lease.until.is_some_and(|until| until > now) {
                    self.lapse_told = false;
                }
            }
            Command::Stop { reason } => {
                self.stop(CloseCause::Requested { reason }.into(), reason, outbox, now);
            }
            Command::RekeyIke => self.session.rekey_ike(now),
            Command::RekeyChild => self.session.rekey_child(now),
            Command::Liveness => self.session.check_liveness(now),
        }
    }

    /// Opens or closes the gate as the owner last said.
    fn apply_lease(&self) {
        match self.lease.until {
            Some(until) => self.gate.grant(until),
            None => self.gate.revoke(),
        }
    }

    /// Ends the tunnel on the owner's wish: data plane first, then the gateway is told.
    fn stop(&mut self, cause: EndCause, reason: CloseReason, outbox: &mut Outbox, now: Timestamp) {
        self.end(cause, outbox, now);
        self.session.close(reason, now);
    }

    /// Shuts the data plane and starts the time in which the gateway may still be spoken to.
    fn end(&mut self, cause: EndCause, outbox: &mut Outbox, now: Timestamp) {
        if self.ending.is_some() {
            return;
        }
        self.gate.shut();
        outbox.put(Event::DataStopped { at: clock::now() });
        self.tell_counters(outbox);
        self.ending = Some((cause, now + FAREWELL));
        self.counters_due = None;
        self.esp.clear();
        if let Some(mut running) = self.running.take() {
            running.plane.stop();
            // The Delete's answer comes on the socket that the threads had.
            self.encapsulated = self.sockets.encapsulated.try_clone().and_then(UdpSocket::from_std).ok();
        }
        if let EndCause::Device { .. } | EndCause::Network { .. } =
            &self.ending.as_ref().map_or(&EndCause::OwnerGone, |(cause, _)| cause)
        {
            self.session.close(CloseReason::Shutdown, now);
        }
    }

    /// Empties the session: what it wants sent, asked and told.
    async fn settle(&mut self, outbox: &mut Outbox) {
        loop {
            let mut quiet = true;
            while let Some(transmit) = self.session.poll_transmit() {
                quiet = false;
                let socket = match transmit.socket {
                    LocalSocket::Ike => &self.sockets.ike,
                    LocalSocket::Encapsulated => &self.sockets.encapsulated,
                };
                if let Err(error) = socket.send_to(&transmit.bytes, transmit.destination) {
                    tracing::debug!(%error, "an IKE message could not be sent");
                }
            }
            while let Some((id, request, deadline)) = self.session.poll_request() {
                quiet = false;
                outbox.put(Event::Request { id, request, within: deadline.saturating_since(clock::now()) });
            }
            while let Some(event) = self.session.poll_event() {
                quiet = false;
                self.hear(event, outbox);
            }
            if quiet {
                return;
            }
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
                if let Some(negotiated) = self.negotiated.take() {
                    self.bring_up(&negotiated, &shown, outbox, now);
                } else if renewed {
                    outbox.put(Event::Rekeyed { sa: SaKind::Child });
                }
            }
            session::Event::ChildRetired { inbound, outbound } => self.esp.retire(inbound, outbound, now),
            session::Event::IkeRekeyed { .. } => outbox.put(Event::Rekeyed { sa: SaKind::Ike }),
            session::Event::Warning(warning) => outbox.put(Event::Warning { warning }),
            session::Event::Closed { cause } => self.end(cause.into(), outbox, now),
        }
    }

    /// Creates the device and starts the data plane.
    fn bring_up(&mut self, negotiated: &Established, child: &established::Child, outbox: &mut Outbox, now: Timestamp) {
        let mtu =
            self.tunnel.mtu.unwrap_or_else(|| established::mtu(self.sockets.path_mtu, negotiated.gateway, &*self.esp));
        let device = match Device::create(&self.tunnel.device, mtu) {
            Ok(device) => device,
            Err(error) => {
                let cause = EndCause::Device { device: self.tunnel.device.clone(), error: error.to_string() };
                return self.end(cause, outbox, now);
            }
        };
        match self.start_plane(&device, negotiated.gateway) {
            Ok((plane, told)) => {
                let local = self.sockets.encapsulated.local_addr().unwrap_or(self.sockets.local);
                let tunnel =
                    established::describe(negotiated, child, self.tunnel, local, (device.name(), device.index()), mtu);
                self.running = Some(Running { plane, told, _device: device });
                self.counters_due = Some(now + COUNTERS_INTERVAL);
                self.lapse_told = self.lease.until.is_none_or(|until| until <= now);
                outbox.put(Event::Established { tunnel: Box::new(tunnel) });
            }
            Err(error) => self.end(EndCause::Network { error: error.to_string() }, outbox, now),
        }
    }

    fn start_plane(
        &mut self,
        device: &Device,
        gateway: SocketAddr,
    ) -> io::Result<(DataPlane, mpsc::Receiver<FromPlane>)> {
        // From here on the thread receives; two receivers would take each other's datagrams.
        self.encapsulated = None;
        let link = Link::new(self.sockets.encapsulated.try_clone()?, gateway)?;
        let encapsulation: Arc<dyn Encapsulation> = Arc::clone(&self.esp) as _;
        DataPlane::start(device, link, encapsulation, Arc::clone(&self.gate), Arc::clone(&self.tally))
    }
}

async fn receive(socket: Option<&UdpSocket>, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    match socket {
        Some(socket) => socket.recv_from(buffer).await,
        None => std::future::pending().await,
    }
}

async fn tell(running: Option<&mut Running>) -> Option<FromPlane> {
    match running {
        Some(running) => match running.told.recv().await {
            Some(told) => Some(told),
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}
