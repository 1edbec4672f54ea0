//! A relay that speaks RFC 9329 in front and UDP to a gateway behind: with it a gateway that knows
//! only UDP is a peer for the TCP carrier. It shares no code with the client's framing.
//!
//! One client at a time. Datagrams of the gateway go to the stream that brought the last whole
//! record, as a responder must do after its client has made a new connection (RFC 9329 §6.1).

use crate::net::Host;
use crate::wire::boottime_ns;
use anyhow::{Context, Result};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a record held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// An IKE message of this exchange type.
    Ike(u8),
    /// An ESP packet.
    Esp,
}

/// One whole record of the client.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// Which of the client's connections brought it, counted from 1.
    pub connection: usize,
    /// What it held.
    pub held: Held,
    /// When it was whole, nanoseconds of CLOCK_BOOTTIME.
    pub boottime_ns: u64,
}

/// How one connection of the client ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It has not.
    Open,
    /// The client closed it, everything sent.
    Closed,
    /// The client aborted it, or this relay cut it.
    Reset,
    /// It did not speak RFC 9329.
    Nonsense,
}

/// The relay; its threads end with the process.
#[derive(Debug)]
pub struct Relay {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    socket: UdpSocket,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    ends: Vec<End>,
    streams: Vec<TcpStream>,
    /// The connection that datagrams of the gateway go to.
    current: Option<usize>,
    records: Vec<Record>,
}

impl Relay {
    /// Listens at `front` on `host`, and speaks with the gateway at `gateway` from `own`.
    ///
    /// # Errors
    /// When an address cannot be bound.
    pub fn start(host: &Host, front: SocketAddr, own: SocketAddr, gateway: SocketAddr) -> Result<Self> {
        let (listener, socket) = host.inside(|| {
            let listener = TcpListener::bind(front).with_context(|| format!("binding {front}"))?;
            let socket = UdpSocket::bind(own).with_context(|| format!("binding {own}"))?;
            socket.connect(gateway).with_context(|| format!("connecting to {gateway}"))?;
            Ok((listener, socket))
        })?;
        let shared = Arc::new(Shared { socket, state: Mutex::default() });
        std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.back()
        });
        std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                while let Ok((stream, _)) = listener.accept() {
                    let shared = Arc::clone(&shared);
                    std::thread::spawn(move || shared.serve(stream));
                }
            }
        });
        Ok(Self { shared })
    }

    /// Cuts every connection off, with whatever is on its way.
    pub fn cut(&self) {
        for stream in &self.shared.state().streams {
            let _ = socket2::SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO));
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Returns how each connection of the client ended, the first one first.
    pub fn connections(&self) -> Vec<End> {
        self.shared.state().ends.clone()
    }

    /// Returns every record of the client.
    pub fn records(&self) -> Vec<Record> {
        self.shared.state().records.clone()
    }

    /// Returns what the connection of that number held.
    pub fn held(&self, connection: usize) -> Vec<Held> {
        let state = self.shared.state();
        state.records.iter().filter(|record| record.connection == connection).map(|record| record.held).collect()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves one connection of the client to its end.
    fn serve(&self, mut stream: TcpStream) {
        let number = {
            let mut state = self.state();
            state.ends.push(End::Open);
            state.streams.extend(stream.try_clone());
            state.ends.len()
        };
        let end = self.read(number, &mut stream);
        if let Some(known) = self.state().ends.get_mut(number - 1)
            && *known == End::Open
        {
            *known = end;
        }
    }

    fn read(&self, number: usize, stream: &mut TcpStream) -> End {
        let ended = |error: std::io::Error| match error.kind() {
            ErrorKind::UnexpectedEof => End::Closed,
            _ => End::Reset,
        };
        let mut prefix = [0; 6];
        if let Err(error) = stream.read_exact(&mut prefix) {
            return ended(error);
        }
        if &prefix != b"IKETCP" {
            return End::Nonsense;
        }
        loop {
            let mut length = [0; 2];
            if let Err(error) = stream.read_exact(&mut length) {
                return ended(error);
            }
            let Some(length) = usize::from(u16::from_be_bytes(length)).checked_sub(2) else { return End::Nonsense };
            let mut body = vec![0; length];
            if let Err(error) = stream.read_exact(&mut body) {
                return ended(error);
            }
            let held = match body.as_slice() {
                // The exchange type is the nineteenth octet of the IKE header.
                [0, 0, 0, 0, message @ ..] if message.len() >= 28 => Held::Ike(message[18]),
                [0, 0, 0, 0, ..] => return End::Nonsense,
                _ if body.len() >= 8 => Held::Esp,
                _ => continue,
            };
            let mut state = self.state();
            state.current = Some(number);
            state.records.push(Record { connection: number, held, boottime_ns: boottime_ns() });
            drop(state);
            // A gateway that is not there yet is found by repetition.
            let _ = self.socket.send(&body);
        }
    }

    /// Carries the gateway's datagrams to the client.
    fn back(&self) {
        let mut datagram = vec![0; 65_536];
        loop {
            let length = match self.socket.recv(&mut datagram) {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => continue,
                Err(_) => return,
            };
            // A keepalive of UDP has no place in a stream.
            let Some(framed) = u16::try_from(length + 2).ok().filter(|_| length > 1) else { continue };
            let current = {
                let state = self.state();
                state.current.and_then(|number| Some((number, state.streams.get(number - 1)?.try_clone().ok()?)))
            };
            let Some((number, mut stream)) = current else { continue };
            // A connection that is gone loses what comes before the next one. A reset is told once,
            // to whoever reads or writes first: the reader then sees a mere end.
            let written = stream.write_all(&[&framed.to_be_bytes()[..], &datagram[..length]].concat());
            if written.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
                && let Some(end) = self.state().ends.get_mut(number - 1)
            {
                *end = End::Reset;
            }
        }
    }
}
