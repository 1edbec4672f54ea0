//! The way to the gateway as the engine sees it: two UDP sockets, or one TCP stream.
//!
//! Until the tunnel stands the engine receives by itself; then the data plane's thread does, and
//! hands on what is IKE; after the data plane has ended the engine does again.

use crate::session::{LocalSocket, Transmit};
use crate::transport::{Packet, tcp, udp};
use crate::tunnel::batch::InboundBatch;
use crate::tunnel::control::Carrier;
use crate::tunnel::link::{Link, StreamLink};
use crate::tunnel::socket::{self, Sockets};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::{TcpStream, UdpSocket};

/// The largest datagram that may hold an IKE message.
const LARGEST: usize = 65_535;
/// Datagrams taken from one socket before the others get their turn.
const IN_A_ROW: usize = 16;

/// The way.
pub enum Path {
    /// Two sockets.
    Udp {
        /// The sockets themselves, for sending.
        sockets: Sockets,
        /// The first of them, for receiving.
        ike: UdpSocket,
        /// The second, for receiving, while the data plane does not.
        encapsulated: Option<UdpSocket>,
        /// Where datagrams are received to.
        buffer: Box<[u8]>,
    },
    /// One stream.
    Stream {
        /// For sending, and for receiving while the data plane does.
        link: Arc<Link>,
        /// For knowing when to receive.
        stream: TcpStream,
        /// Whether the data plane receives.
        handed_over: bool,
        /// Where records are received to.
        batch: Box<InboundBatch>,
    },
}

impl Path {
    /// Opens the way to `gateway`.
    ///
    /// # Errors
    /// The system's: no route, no right, nobody there.
    pub async fn open(carrier: Carrier, gateway: SocketAddr, firewall_mark: u32) -> io::Result<Self> {
        let Carrier::Tcp { port } = carrier else {
            let sockets = socket::open(gateway, firewall_mark)?;
            let ike = UdpSocket::from_std(sockets.ike.try_clone()?)?;
            let encapsulated = Some(UdpSocket::from_std(sockets.encapsulated.try_clone()?)?);
            return Ok(Self::Udp { sockets, ike, encapsulated, buffer: vec![0; LARGEST].into() });
        };
        let mut stream = socket::connect(SocketAddr::new(gateway.ip(), port), firewall_mark).await?;
        stream.write_all(&tcp::STREAM_PREFIX).await?;
        let stream = stream.into_std()?;
        let link = Arc::new(Link::Stream(StreamLink::new(stream.try_clone()?)?));
        let stream = TcpStream::from_std(stream)?;
        Ok(Self::Stream { link, stream, handed_over: false, batch: Box::new(InboundBatch::new(2)) })
    }

    /// Returns the local address of the socket that is used first, or second.
    ///
    /// # Errors
    /// The system's.
    pub fn local(&self, socket: LocalSocket) -> io::Result<SocketAddr> {
        match (self, socket) {
            (Self::Udp { sockets, .. }, LocalSocket::Ike) => Ok(sockets.local),
            (Self::Udp { sockets, .. }, LocalSocket::Encapsulated) => sockets.encapsulated.local_addr(),
            (Self::Stream { stream, .. }, _) => stream.local_addr(),
        }
    }

    /// Returns how many octets an ESP packet may have not to be cut on the first hop.
    pub fn room(&self, gateway: SocketAddr) -> usize {
        let ip = if gateway.is_ipv4() { 20 } else { 40 };
        match self {
            Self::Udp { sockets, .. } => sockets.path_mtu.saturating_sub(ip + 8),
            // TCP with timestamps, and the record's length; Ethernet, since TCP finds its own way.
            Self::Stream { .. } => 1500 - ip - 32 - 2,
        }
    }

    /// Sends what the session wants sent. What does not go is lost; the session repeats it.
    pub fn send(&self, transmit: &Transmit) {
        let result = match (self, transmit.socket) {
            (Self::Udp { sockets, .. }, LocalSocket::Ike) => {
                sockets.ike.send_to(&transmit.bytes, transmit.destination).map(drop)
            }
            (Self::Udp { sockets, .. }, LocalSocket::Encapsulated) => {
                sockets.encapsulated.send_to(&transmit.bytes, transmit.destination).map(drop)
            }
            (Self::Stream { link, .. }, _) => match &**link {
                Link::Stream(link) => link.send_message(&transmit.bytes),
                Link::Udp(_) => Ok(()),
            },
        };
        if let Err(error) = result {
            tracing::debug!(%error, "an IKE message could not be sent");
        }
    }

    /// Waits until something can be received.
    pub async fn readable(&self) -> LocalSocket {
        match self {
            Self::Udp { ike, encapsulated: Some(encapsulated), .. } => tokio::select! {
                _ = ike.readable() => LocalSocket::Ike,
                _ = encapsulated.readable() => LocalSocket::Encapsulated,
            },
            Self::Udp { ike, .. } => {
                let _ = ike.readable().await;
                LocalSocket::Ike
            }
            Self::Stream { stream, handed_over: false, .. } => {
                let _ = stream.readable().await;
                LocalSocket::Encapsulated
            }
            Self::Stream { .. } => std::future::pending().await,
        }
    }

    /// Receives what is there and calls `take` with each IKE message and where it came from.
    ///
    /// # Errors
    /// The end of a stream. A datagram's errors are ICMP's word; repetition decides.
    pub fn receive(&mut self, socket: LocalSocket, mut take: impl FnMut(&[u8], SocketAddr)) -> io::Result<()> {
        match self {
            Self::Udp { ike, encapsulated, buffer, .. } => {
                for _ in 0..IN_A_ROW {
                    let received = match (socket, &*encapsulated) {
                        (LocalSocket::Ike, _) => ike.try_recv_from(buffer),
                        (LocalSocket::Encapsulated, Some(socket)) => socket.try_recv_from(buffer),
                        (LocalSocket::Encapsulated, None) => return Ok(()),
                    };
                    let (length, from) = match received {
                        Ok(received) => received,
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                        Err(error) => {
                            tracing::debug!(%error, "the socket reports an error");
                            return Ok(());
                        }
                    };
                    let bytes = buffer.get(..length).unwrap_or_default();
                    match (socket, udp::demultiplex(bytes)) {
                        (LocalSocket::Ike, _) => take(bytes, from),
                        (LocalSocket::Encapsulated, Ok(Packet::Ike(message))) => take(message, from),
                        (LocalSocket::Encapsulated, _) => {}
                    }
                }
                Ok(())
            }
            Self::Stream { link, stream, batch, .. } => {
                let from = stream.peer_addr()?;
                batch.start();
                let received = stream.try_io(Interest::READABLE, || match &**link {
                    Link::Stream(link) if !link.receive(batch)? => Err(io::ErrorKind::WouldBlock.into()),
                    _ => Ok(()),
                });
                match received {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                    Err(error) => return Err(error),
                }
                batch.open_each(|record, _| {
                    if let Ok(Packet::Ike(message)) = tcp::packet(record) {
                        take(message, from);
                    }
                    None
                });
                Ok(())
            }
        }
    }

    /// Lets the data plane receive from now on; two receivers would take each other's packets.
    ///
    /// # Errors
    /// The system's.
    pub fn hand_over(&mut self, gateway: SocketAddr) -> io::Result<Arc<Link>> {
        match self {
            Self::Udp { sockets, encapsulated, .. } => {
                *encapsulated = None;
                Link::udp(sockets.encapsulated.try_clone()?, gateway).map(Arc::new)
            }
            Self::Stream { link, handed_over, .. } => {
                *handed_over = true;
                Ok(Arc::clone(link))
            }
        }
    }

    /// Receives by itself again, after the data plane has ended.
    pub fn take_back(&mut self) {
        match self {
            Self::Udp { sockets, encapsulated, .. } => {
                *encapsulated = sockets.encapsulated.try_clone().and_then(UdpSocket::from_std).ok();
            }
            Self::Stream { handed_over, .. } => *handed_over = false,
        }
    }
}
