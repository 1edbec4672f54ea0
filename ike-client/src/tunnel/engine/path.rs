//! The way to the gateway as the engine sees it: two UDP sockets, or one TCP stream.
//!
//! Until the tunnel stands the engine receives by itself; then the data plane's thread does, and
//! hands on what is IKE; after the data plane has ended the engine does again.

use super::stream::StreamPath;
use crate::session::{LocalSocket, Transmit};
use crate::time::Timestamp;
use crate::transport::{Packet, udp};
use crate::tunnel::control::Carrier;
use crate::tunnel::link::{Link, OtherAddresses};
use crate::tunnel::overhead;
use crate::tunnel::socket::{self, Sockets};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::net::UdpSocket;

/// The largest datagram that may hold an IKE message.
const LARGEST: usize = 65_535;
/// Datagrams taken from one socket before the others get their turn.
const IN_A_ROW: usize = 16;

/// The way.
pub enum Path {
    /// Two sockets.
    Udp(UdpPath),
    /// One stream.
    Stream(Box<StreamPath>),
}

/// Two sockets.
pub struct UdpPath {
    /// The sockets themselves, for sending.
    sockets: Sockets,
    /// The first of them, for receiving.
    ike: UdpSocket,
    /// The second, for receiving, while the data plane does not.
    encapsulated: Option<UdpSocket>,
    /// Whether packets go in fragments.
    cut: bool,
    /// Which socket is looked at first: not the one that had something the last time, or who floods it would be the only
    /// one who is heard.
    next: LocalSocket,
    /// Where datagrams are received to.
    buffer: Box<[u8]>,
    /// Where else the gateway is, as far as the data plane's link needs to know.
    others: Arc<OtherAddresses>,
}

/// What the way has to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Something can be received.
    Readable(LocalSocket),
    /// Another stream stands in the place of the one that was lost.
    Reopened,
    /// No other stream came about; it is tried again.
    Failed,
}

impl Path {
    /// Opens the way to `gateway`.
    ///
    /// # Errors
    /// The system's: no route, no right, nobody there.
    pub async fn open(carrier: Carrier, gateway: SocketAddr, firewall_mark: u32) -> io::Result<Self> {
        match carrier {
            Carrier::Udp => {
                let sockets = socket::open(gateway, firewall_mark)?;
                let ike = UdpSocket::from_std(sockets.ike.try_clone()?)?;
                let encapsulated = Some(UdpSocket::from_std(sockets.encapsulated.try_clone()?)?);
                let (buffer, others) = (vec![0; LARGEST].into(), Arc::default());
                let next = LocalSocket::Ike;
                Ok(Self::Udp(UdpPath { sockets, ike, encapsulated, cut: false, next, buffer, others }))
            }
            Carrier::Tcp { .. } => {
                StreamPath::open(gateway, firewall_mark).await.map(|path| Self::Stream(Box::new(path)))
            }
        }
    }

    /// Returns the local address of the socket that is used first, or second.
    ///
    /// # Errors
    /// The system's.
    pub fn local(&self, socket: LocalSocket) -> io::Result<SocketAddr> {
        match (self, socket) {
            (Self::Udp(path), LocalSocket::Ike) => Ok(path.sockets.local),
            (Self::Udp(path), LocalSocket::Encapsulated) => path.sockets.encapsulated.local_addr(),
            (Self::Stream(path), _) => Ok(path.local()),
        }
    }

    /// Returns how many octets an ESP packet may have not to be cut on the first hop.
    pub fn room(&self, gateway: SocketAddr) -> usize {
        let ipv4 = gateway.is_ipv4();
        match self {
            Self::Udp(path) => path.sockets.path_mtu.saturating_sub(overhead::outside(Carrier::Udp, ipv4)),
            // Ethernet, since TCP finds its own way.
            Self::Stream(_) => socket::ETHERNET - overhead::outside(Carrier::Tcp { port: gateway.port() }, ipv4),
        }
    }

    /// Takes note of what the first hop takes; returns whether that is another size than before.
    pub fn note_first_hop(&mut self, octets: usize) -> bool {
        match self {
            Self::Udp(path) => std::mem::replace(&mut path.sockets.path_mtu, octets) != octets,
            Self::Stream(_) => false,
        }
    }

    /// Cuts what the path does not take in one piece, or does so no more. Routers of IPv4 do it themselves.
    pub fn cut(&mut self, cut: bool) {
        if let Self::Udp(path) = self {
            path.cut = cut;
            path.apply_cut();
        }
    }

    /// Sends what the session wants sent. What does not go is lost; the session repeats it.
    pub fn send(&mut self, transmit: &Transmit) {
        let result = match (self, transmit.socket) {
            (Self::Udp(path), LocalSocket::Encapsulated) if transmit.whole => {
                let sent = socket::send_whole(&path.sockets.encapsulated, &transmit.bytes, transmit.destination);
                path.apply_cut();
                sent
            }
            (Self::Udp(path), LocalSocket::Ike) => {
                path.sockets.ike.send_to(&transmit.bytes, transmit.destination).map(drop)
            }
            (Self::Udp(path), LocalSocket::Encapsulated) => {
                path.sockets.encapsulated.send_to(&transmit.bytes, transmit.destination).map(drop)
            }
            (Self::Stream(path), _) => path.send(&transmit.bytes),
        };
        if let Err(error) = result {
            tracing::debug!(%error, "an IKE message could not be sent");
        }
    }

    /// Takes packets of these other addresses of the gateway too.
    pub fn admit(&self, others: &[IpAddr]) {
        if let Self::Udp(path) = self {
            path.others.announce(others);
        }
    }

    /// Tells whether messages wait for a stream that is being opened.
    pub fn keeps_messages(&self) -> bool {
        matches!(self, Self::Stream(path) if path.keeps_messages())
    }

    /// Waits until there is something to receive or to tell.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Told> {
        match self {
            Self::Udp(path) => path.poll(cx).map(Told::Readable),
            Self::Stream(path) => path.poll(cx),
        }
    }

    /// Receives what is there and calls `take` with each IKE message and where it came from.
    ///
    /// # Errors
    /// The end of a stream. A datagram's errors are ICMP's word; repetition decides.
    pub fn receive(&mut self, socket: LocalSocket, take: impl FnMut(&[u8], SocketAddr)) -> io::Result<()> {
        match self {
            Self::Udp(path) => {
                path.receive(socket, take);
                Ok(())
            }
            Self::Stream(path) => path.receive(take),
        }
    }

    /// Gives a stream up with everything of it that has not left, and begins to open another;
    /// returns whether there was one. Datagrams have left or not, there is nothing to give up.
    pub fn abort(&mut self) -> bool {
        match self {
            Self::Stream(path) if path.stands() => {
                path.abort();
                true
            }
            _ => false,
        }
    }

    /// Tells whether what is lost of the way can be opened again.
    pub const fn is_stream(&self) -> bool {
        matches!(self, Self::Stream(_))
    }

    /// Returns when [`Self::do_what_is_due`] wants to be called.
    pub fn next_due(&self) -> Option<Timestamp> {
        match self {
            Self::Udp(_) => None,
            Self::Stream(path) => path.next_due(),
        }
    }

    /// Does what was due.
    pub fn do_what_is_due(&mut self, now: Timestamp) {
        if let Self::Stream(path) = self {
            path.do_what_is_due(now);
        }
    }

    /// Lets the data plane receive from now on; two receivers would take each other's packets.
    ///
    /// # Errors
    /// The system's; that no stream stands at the moment.
    pub fn hand_over(&mut self, gateway: SocketAddr) -> io::Result<Arc<Link>> {
        match self {
            Self::Udp(path) => {
                path.encapsulated = None;
                let link = Link::udp(path.sockets.encapsulated.try_clone()?, gateway)?;
                Ok(Arc::new(link.admitting(Arc::clone(&path.others))))
            }
            Self::Stream(path) => path.hand_over().ok_or_else(|| io::ErrorKind::NotConnected.into()),
        }
    }

    /// Takes new sockets, bound to whatever address the way begins at by now; returns the address of
    /// the one that ESP travels on. The data plane keeps the old ones until it is handed these.
    ///
    /// # Errors
    /// The system's; that there is a stream, which is opened anew by itself.
    pub fn rebind(&mut self, gateway: SocketAddr, firewall_mark: u32) -> io::Result<SocketAddr> {
        let Self::Udp(path) = self else { return Err(io::ErrorKind::Unsupported.into()) };
        let sockets = socket::open(gateway, firewall_mark)?;
        path.ike = UdpSocket::from_std(sockets.ike.try_clone()?)?;
        path.sockets = sockets;
        path.cut = false;
        path.sockets.encapsulated.local_addr()
    }

    /// Receives by itself again, after the data plane has ended.
    pub fn take_back(&mut self) {
        match self {
            Self::Udp(path) => {
                path.encapsulated = path.sockets.encapsulated.try_clone().and_then(UdpSocket::from_std).ok();
            }
            Self::Stream(path) => path.take_back(),
        }
    }
}

impl UdpPath {
    fn apply_cut(&self) {
        if self.sockets.local.is_ipv6()
            && let Err(error) = socket::cut_for_ipv6(&self.sockets.encapsulated, self.cut)
        {
            tracing::debug!(%error, "what the path takes cannot be heeded");
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<LocalSocket> {
        let order = match self.next {
            LocalSocket::Ike => [LocalSocket::Ike, LocalSocket::Encapsulated],
            LocalSocket::Encapsulated => [LocalSocket::Encapsulated, LocalSocket::Ike],
        };
        for (socket, other) in order.into_iter().zip(order.into_iter().rev()) {
            let receiver = match socket {
                LocalSocket::Ike => Some(&self.ike),
                LocalSocket::Encapsulated => self.encapsulated.as_ref(),
            };
            // Whatever they say, receiving finds out.
            if receiver.is_some_and(|receiver| receiver.poll_recv_ready(cx).is_ready()) {
                self.next = other;
                return Poll::Ready(socket);
            }
        }
        Poll::Pending
    }

    fn receive(&mut self, socket: LocalSocket, mut take: impl FnMut(&[u8], SocketAddr)) {
        let Self { ike, encapsulated, buffer, .. } = self;
        for _ in 0..IN_A_ROW {
            let received = match (socket, &*encapsulated) {
                (LocalSocket::Ike, _) => ike.try_recv_from(buffer),
                (LocalSocket::Encapsulated, Some(socket)) => socket.try_recv_from(buffer),
                (LocalSocket::Encapsulated, None) => return,
            };
            let (length, from) = match received {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    tracing::debug!(%error, "the socket reports an error");
                    return;
                }
            };
            let bytes = buffer.get(..length).unwrap_or_default();
            match (socket, udp::demultiplex(bytes)) {
                (LocalSocket::Ike, _) => take(bytes, from),
                (LocalSocket::Encapsulated, Ok(Packet::Ike(message))) => take(message, from),
                (LocalSocket::Encapsulated, _) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn readable(path: &mut Path) -> LocalSocket {
        match std::future::poll_fn(|cx| path.poll(cx)).await {
            Told::Readable(socket) => socket,
            told => panic!("{told:?}"),
        }
    }

    #[tokio::test]
    async fn attack_a_flood_on_one_socket_does_not_keep_the_other_from_being_heard() {
        let gateway = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut path = Path::open(Carrier::Udp, gateway.local_addr().unwrap(), 0).await.unwrap();
        let [ike, encapsulated] =
            [LocalSocket::Ike, LocalSocket::Encapsulated].map(|socket| path.local(socket).unwrap());
        // The one is sent more than is taken in a row, and more each time.
        let flood = async || {
            for _ in 0..2 * IN_A_ROW {
                gateway.send_to(b"a flood", ike).await.unwrap();
            }
        };
        flood().await;
        gateway.send_to(b"\0\0\0\0the gateway's", encapsulated).await.unwrap();
        let mut heard = Vec::new();
        for _ in 0..4 {
            let socket = readable(&mut path).await;
            path.receive(socket, |message, _| heard.push(message.to_vec())).unwrap();
            flood().await;
        }
        assert!(heard.contains(&b"the gateway's".to_vec()), "{}", heard.len());
    }
}
