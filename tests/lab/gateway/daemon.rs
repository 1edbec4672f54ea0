//! The driver of the core: one thread that waits for sockets, device, console and timers.

use super::console::{self, Reply, Request};
use super::event::{Event, LogEvent, LogKind};
use super::fabric::Fabric;
use super::plane::Plane;
use super::responder::{Now, Path, Responder, Transmit};
use super::settings::{Credentials, RemoteGatewayMatch, Settings};
use super::{device, diagnose, log};
use anyhow::{Context, Result, bail};
use ike_client::random::SystemRandom;
use ike_client::transport::{Packet, udp};
use ike_client::tunnel::clock;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How many packets are taken from one source before the others have their turn.
const BURST: usize = 64;

const IKE_PORT: u16 = 500;
const ENCAPSULATION_PORT: u16 = 4500;

/// A gateway at work.
pub struct Daemon {
    responder: Responder,
    plane: Plane,
    plain: UdpSocket,
    encapsulated: UdpSocket,
    device: File,
    console: UnixListener,
    log: File,
    fabric: Fabric,
}

impl Daemon {
    /// Opens sockets, device and files.
    ///
    /// # Errors
    /// When one cannot be opened, or the settings lack what a daemon needs.
    pub fn start(settings: Settings) -> Result<Self> {
        let daemon = settings.daemon.clone();
        let listen = daemon.listen.context("daemon.listen is missing")?;
        let address = daemon.device_address.context("daemon.device_address is missing")?;
        let socket = daemon.socket.context("daemon.socket is missing")?;
        let log_path = daemon.event_log.context("daemon.event_log is missing")?;
        let log = OpenOptions::new().create(true).append(true).open(&log_path);
        let log = log.with_context(|| log_path.display().to_string())?;
        let credentials = Credentials::load(&settings)?;
        if let Some(fortigate) = &settings.fortigate
            && let Some(sign_on) = &fortigate.sign_on
        {
            super::fortigate::sign_on::serve(listen.into(), sign_on, fortigate.signed_on.clone())?;
        }
        let responder = Responder::new(settings, credentials, Box::new(SystemRandom))?;
        let device = device::open(if daemon.device.is_empty() { "gw0" } else { &daemon.device }, address)?;
        let _ = std::fs::remove_file(&socket);
        let console = UnixListener::bind(&socket).with_context(|| socket.display().to_string())?;
        console.set_nonblocking(true)?;
        let fabric = Fabric::start(daemon.tags.as_ref())?;
        let (plain, encapsulated) = (bind(listen, IKE_PORT)?, bind(listen, ENCAPSULATION_PORT)?);
        Ok(Self { responder, plane: Plane::default(), plain, encapsulated, device, console, log, fabric })
    }

    /// Works until something fails that cannot be gone on without.
    ///
    /// # Errors
    /// When waiting fails.
    pub fn run(mut self) -> Result<()> {
        let mut buffer = vec![0; 65_536];
        let mut sealed = vec![0; 65_536];
        loop {
            self.wait()?;
            self.receive_plain(&mut buffer);
            self.receive_encapsulated(&mut buffer);
            self.receive_inner(&mut buffer, &mut sealed);
            self.take_tags();
            self.serve_console();
            self.responder.handle_timeout(now());
            self.flush();
        }
    }

    fn wait(&self) -> Result<()> {
        let due = self.responder.poll_timeout().map(|due| due.saturating_since(clock::now()));
        let timeout = due.map_or(PollTimeout::NONE, |due| {
            // Up to the next millisecond, so that the timer is due when the wait is over.
            let milliseconds = due.as_millis().saturating_add(1).min(60_000);
            PollTimeout::from(u16::try_from(milliseconds).unwrap_or(60_000))
        });
        let mut watched = [
            PollFd::new(self.plain.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.encapsulated.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.device.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.console.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.fabric.ready(), PollFlags::POLLIN),
        ];
        match poll(&mut watched, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(error).context("waiting"),
        }
    }

    fn receive_plain(&mut self, buffer: &mut [u8]) {
        for _ in 0..BURST {
            let Some((length, path)) = receive(&self.plain, buffer) else { break };
            if let Some(message) = buffer.get(..length) {
                self.responder.handle_datagram(message, path, now());
                self.flush();
            }
        }
    }

    fn receive_encapsulated(&mut self, buffer: &mut [u8]) {
        for _ in 0..BURST {
            let Some((length, path)) = receive(&self.encapsulated, buffer) else { break };
            let Some(datagram) = buffer.get_mut(..length) else { break };
            match udp::demultiplex(datagram) {
                Ok(Packet::Ike(message)) => {
                    self.responder.handle_datagram(message, path, now());
                    self.flush();
                }
                Ok(Packet::Esp(_)) => self.forward(datagram, path),
                Ok(Packet::Keepalive) | Err(_) => {}
            }
        }
    }

    fn forward(&mut self, packet: &mut [u8], path: Path) {
        let Some((range, moved_from)) = self.plane.open(packet, path) else { return };
        if let Some(from) = moved_from {
            self.responder.moved(from, path);
        }
        if let Some(inner) = packet.get(range) {
            // A full queue loses packets, as any wire does.
            let _ = self.device.write(inner);
        }
    }

    fn receive_inner(&mut self, buffer: &mut [u8], sealed: &mut [u8]) {
        for _ in 0..BURST {
            let Ok(length) = self.device.read(buffer) else { break };
            let Some(inner) = buffer.get(..length) else { break };
            if let Some((length, path)) = self.plane.seal(inner, sealed) {
                let _ = self.encapsulated.send_to(sealed.get(..length).unwrap_or(&[]), path.remote);
            }
        }
    }

    fn take_tags(&mut self) {
        if let Some(tags) = self.fabric.newest() {
            self.responder.set_tags(tags);
        }
    }

    fn serve_console(&mut self) {
        while let Ok((stream, _)) = self.console.accept() {
            let result = console::read(&stream).and_then(|request| self.command(request));
            let reply = match result {
                Ok(text) => Reply { ok: true, text },
                Err(error) => Reply { ok: false, text: format!("{error:#}") },
            };
            // Who asked may be gone.
            let _ = console::write(&stream, &reply);
        }
    }

    fn command(&mut self, request: Request) -> Result<String> {
        match request {
            Request::Diagnose { words } => Ok(diagnose::run(&words, &self.responder, clock::now())?),
            Request::Set { name, values } => set(self.responder.settings_mut(), &name, values).map(|()| String::new()),
            Request::Flush => {
                self.responder.close_all(now());
                Ok(String::new())
            }
            Request::CheckLiveness => {
                self.responder.check_liveness(now());
                Ok(String::new())
            }
        }
    }

    fn tell_ems(&self, event: &LogEvent) {
        let up = match event.kind {
            LogKind::TunnelUp => true,
            LogKind::TunnelDown { .. } => false,
            LogKind::NegotiationFailed { .. } | LogKind::LivenessFailed => return,
        };
        self.fabric.tell(event.subject.path.remote.ip(), up);
    }

    /// Carries out what the core wants: events first, so that a CHILD SA stands before the client
    /// hears of it.
    fn flush(&mut self) {
        while let Some(event) = self.responder.poll_event() {
            match event {
                Event::ChildInstalled(child) => self.plane.install(*child),
                Event::ChildRetired { inbound } => self.plane.retire(inbound),
                Event::Log(event) => {
                    self.tell_ems(&event);
                    let line = log::line(&event, &self.responder.settings().name, jiff::Timestamp::now());
                    // The log is the proof: a gateway that cannot write it is of no use.
                    writeln!(self.log, "{line}").expect("the event log can be written");
                }
            }
        }
        while let Some(Transmit { path, message }) = self.responder.poll_transmit() {
            // What is lost is repeated.
            let _ = if path.local.port() == IKE_PORT {
                self.plain.send_to(&message, path.remote)
            } else {
                self.encapsulated.send_to(&udp::mark(&message), path.remote)
            };
        }
    }
}

fn set(settings: &mut Settings, name: &str, values: Vec<String>) -> Result<()> {
    match (name, values.as_slice()) {
        ("remote-gw-match", [value]) => {
            settings.remote_gw_match = match value.as_str() {
                "any" => RemoteGatewayMatch::Any,
                "ztna" => RemoteGatewayMatch::Ztna,
                other => bail!("remote-gw-match is any or ztna, not {other}"),
            };
        }
        ("remote-gw-ztna-tags", _) => settings.remote_gw_ztna_tags = values,
        ("psk", [value]) => settings.psk.clone_from(value),
        _ => bail!("there is no such setting: {name}"),
    }
    Ok(())
}

fn bind(address: Ipv4Addr, port: u16) -> Result<UdpSocket> {
    let socket = UdpSocket::bind((address, port)).with_context(|| format!("listening on {address}:{port}"))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> Option<(usize, Path)> {
    let local: SocketAddr = socket.local_addr().ok()?;
    let (length, remote) = socket.recv_from(buffer).ok()?;
    Some((length, Path { local, remote }))
}

fn now() -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    Now { clock: clock::now(), unix }
}
