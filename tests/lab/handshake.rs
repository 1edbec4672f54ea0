//! A client that does nothing but log in: the session of ike-client on two UDP sockets, without service, tunnel
//! device or routes.
//!
//! It shows what the gateway and the session say to each other, on real sockets, with credentials given beforehand.

use crate::net::Host;
use anyhow::{Context, Result, bail};
use ike_client::auth::PrivateKey;
use ike_client::auth::signature::sign;
use ike_client::crypto::Secret;
use ike_client::session::{
    Answer, CloseCause, CloseReason, Configuration, Established, Event, LocalSocket, Request, Session,
};
use ike_client::transport::{Packet, udp};
use ike_client::{SystemRandom, Timestamp};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a login may take before it counts as hung.
const LIMIT: Duration = Duration::from_secs(40);

/// What the client is asked for.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// The pre-shared key.
    pub psk: Option<String>,
    /// The private key, PEM.
    pub key_pem: Option<String>,
    /// Name and password for EAP.
    pub user: Option<(String, String)>,
}

/// How a login ended.
#[derive(Debug)]
pub struct Login {
    /// What was negotiated, or why nothing was.
    pub outcome: Result<Box<Established>, CloseCause>,
    /// The AUTH method that the client signed by, if it did.
    pub signed_by: Option<u8>,
    /// True when the client was asked for its password, which happens only after the gateway was proven.
    pub password_asked: bool,
}

/// Logs in from a host's address and logs out again.
///
/// # Errors
/// When a socket fails, something is asked for that was not given, or nothing comes to an end.
pub fn log_in(
    client: &Host,
    from: IpAddr,
    gateway: IpAddr,
    configuration: Configuration,
    credentials: &Credentials,
) -> Result<Login> {
    let bind = |port| {
        let local = SocketAddr::new(from, port);
        client.inside(|| UdpSocket::bind(local).with_context(|| format!("binding {local}")))
    };
    let sockets = [bind(500)?, bind(4500)?];
    for socket in &sockets {
        socket.set_nonblocking(true)?;
    }
    let unix_now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let (local, remote) = (SocketAddr::new(from, 500), SocketAddr::new(gateway, 500));
    let session = Session::new(configuration, Box::new(SystemRandom), local, remote, Timestamp::ZERO, unix_now);
    Driver { session, sockets, start: Instant::now(), credentials, signed_by: None, password_asked: false }.run()
}

struct Driver<'a> {
    session: Session,
    sockets: [UdpSocket; 2],
    start: Instant,
    credentials: &'a Credentials,
    signed_by: Option<u8>,
    password_asked: bool,
}

impl Driver<'_> {
    fn run(mut self) -> Result<Login> {
        loop {
            self.flush()?;
            while let Some(event) = self.session.poll_event() {
                match event {
                    Event::Established(established) => return self.end(Ok(established)),
                    Event::Closed { cause } => return self.end(Err(cause)),
                    _ => {}
                }
            }
            if let Some((id, request, _)) = self.session.poll_request() {
                let answer = self.answer(request)?;
                self.session.handle_response(id, answer, self.now())?;
                continue;
            }
            if self.start.elapsed() > LIMIT {
                bail!("the login hangs while {}", self.session.state_name());
            }
            self.wait()?;
        }
    }

    fn end(mut self, outcome: Result<Box<Established>, CloseCause>) -> Result<Login> {
        self.session.close(CloseReason::User, self.now());
        self.flush()?;
        // One more round if an answer is due, so that it does not meet a closed port.
        if !self.session.is_finished() {
            self.wait()?;
        }
        Ok(Login { outcome, signed_by: self.signed_by, password_asked: self.password_asked })
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_start(self.start.elapsed())
    }

    fn flush(&mut self) -> Result<()> {
        while let Some(transmit) = self.session.poll_transmit() {
            let socket = match transmit.socket {
                LocalSocket::Ike => &self.sockets[0],
                LocalSocket::Encapsulated => &self.sockets[1],
            };
            socket.send_to(&transmit.bytes, transmit.destination).context("sending")?;
        }
        Ok(())
    }

    /// Waits for a datagram or the session's next timer, and hands it over.
    fn wait(&mut self) -> Result<()> {
        let now = self.now();
        let pause = self.session.poll_timeout().map_or(LIMIT, |(at, _)| at.saturating_since(now)).min(LIMIT);
        let pause = PollTimeout::try_from(pause.as_millis().saturating_add(1)).unwrap_or(PollTimeout::MAX);
        let mut polled = self.sockets.each_ref().map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN));
        poll(&mut polled, pause)?;
        let mut bytes = vec![0; 65_535];
        for (index, socket) in self.sockets.iter().enumerate() {
            while let Ok((length, from)) = socket.recv_from(&mut bytes) {
                let datagram = bytes.get(..length).unwrap_or_default();
                let now = Timestamp::from_start(self.start.elapsed());
                match (index, udp::demultiplex(datagram)) {
                    (0, _) => self.session.handle_datagram(datagram, from, now),
                    (_, Ok(Packet::Ike(message))) => self.session.handle_datagram(message, from, now),
                    _ => {}
                }
            }
        }
        self.session.handle_timeout(self.now());
        Ok(())
    }

    fn answer(&mut self, request: Request) -> Result<Answer> {
        let credentials = self.credentials;
        Ok(match request {
            Request::PreSharedKey => secret(credentials.psk.as_deref().context("asked for a pre-shared key")?),
            Request::EapIdentity { .. } => {
                let (name, _) = credentials.user.as_ref().context("asked for a name")?;
                Answer::Text { text: name.clone() }
            }
            Request::EapPassword { .. } => {
                self.password_asked = true;
                let (_, password) = credentials.user.as_ref().context("asked for a password")?;
                secret(password)
            }
            Request::Sign { octets, announced } => {
                let key = PrivateKey::from_pem(credentials.key_pem.as_deref().context("asked for a signature")?)?;
                let signed = sign(&key, &announced, &octets, &mut SystemRandom)?;
                self.signed_by = Some(signed.scheme.method());
                Answer::Signature { method: signed.scheme.method(), data: signed.data }
            }
            other => bail!("asked for {other:?}"),
        })
    }
}

fn secret(text: &str) -> Answer {
    Answer::Secret { secret: Secret::from(text.as_bytes()) }
}
