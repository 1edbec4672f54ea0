//! One TCP stream to the gateway, which may be lost and opened again (RFC 9329 §6.1).
//!
//! What the system holds unsent of a stream leaves however the gate stands. So when nothing may
//! leave any more the stream is not closed but aborted: the system forgets what it holds, and IKE
//! goes on over another stream, the Delete too.

use crate::session::LocalSocket;
use crate::time::Timestamp;
use crate::transport::{Packet, tcp};
use crate::tunnel::batch::InboundBatch;
use crate::tunnel::clock;
use crate::tunnel::link::{Link, StreamLink};
use crate::tunnel::socket;
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::TcpStream;

use super::path::Told;

/// How long a stream may take to come about.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pause after the first attempt; it doubles with each.
const PAUSE: Duration = Duration::from_millis(250);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A stream that stood for less is followed by a pause: its end may be all that the gateway gives.
const SOUND: Duration = Duration::from_secs(30);
/// The IKE messages kept for the next stream; of more the oldest are lost, as datagrams could be.
const KEPT: usize = 8;

/// The stream, or the way to the next one.
pub struct StreamPath {
    gateway: SocketAddr,
    firewall_mark: u32,
    local: SocketAddr,
    current: Option<Current>,
    stands_since: Timestamp,
    /// Attempts since a stream was sound.
    attempts: u32,
    reopening: Option<Reopening>,
    /// IKE messages for the next stream.
    kept: VecDeque<Vec<u8>>,
    /// Whether the data plane receives.
    handed_over: bool,
    /// Where records are received to.
    batch: Box<InboundBatch>,
}

/// A stream that stands.
struct Current {
    /// For sending, and for receiving while the data plane does.
    link: Arc<Link>,
    /// For knowing when to receive.
    stream: TcpStream,
}

impl Current {
    /// Sends the messages that wait for room as soon as there is some.
    fn poll_flush(&self, cx: &mut Context<'_>) {
        let Link::Stream(link) = &*self.link else { return };
        while link.keeps_messages() && self.stream.poll_write_ready(cx).is_ready() {
            match self.stream.try_io(Interest::WRITABLE, || link.flush()) {
                Ok(()) => return,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Receiving finds out what became of the stream.
                Err(_) => return,
            }
        }
    }
}

/// A stream that is being opened.
type Opening = Pin<Box<dyn Future<Output = io::Result<Current>> + Send>>;

/// The way to the next stream.
struct Reopening {
    at: Timestamp,
    opening: Option<Opening>,
}

impl StreamPath {
    /// Opens the first stream to `gateway`.
    ///
    /// # Errors
    /// The system's: no route, no right, nobody there, or no answer in time.
    pub async fn open(gateway: SocketAddr, firewall_mark: u32) -> io::Result<Self> {
        let current = open(gateway, firewall_mark).await?;
        Ok(Self {
            gateway,
            firewall_mark,
            local: current.stream.local_addr()?,
            current: Some(current),
            stands_since: clock::now(),
            attempts: 0,
            reopening: None,
            kept: VecDeque::new(),
            handed_over: false,
            batch: Box::new(InboundBatch::new(2)),
        })
    }

    /// Returns the local address of the stream that stands or stood last.
    pub const fn local(&self) -> SocketAddr {
        self.local
    }

    /// Sends an IKE message, or keeps it for the next stream.
    pub fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match self.current.as_ref().map(|current| &*current.link) {
            Some(Link::Stream(link)) => link.send_message(message),
            _ => {
                if self.kept.len() >= KEPT {
                    self.kept.pop_front();
                }
                self.kept.push_back(message.to_vec());
                Ok(())
            }
        }
    }

    /// Tells whether messages wait for the next stream, or for room in this one.
    pub fn keeps_messages(&self) -> bool {
        let waits = |current: &Current| matches!(&*current.link, Link::Stream(link) if link.keeps_messages());
        !self.kept.is_empty() || self.current.as_ref().is_some_and(waits)
    }

    /// Tells whether a stream stands.
    pub const fn stands(&self) -> bool {
        self.current.is_some()
    }

    /// Gives the stream up, with everything that the system has not sent of it, and begins to open
    /// another. Does nothing while one is being opened.
    pub fn abort(&mut self) {
        let Some(current) = self.current.take() else { return };
        if let Err(error) = socket::abort(&current.stream) {
            tracing::debug!(%error, "the stream was gone already");
        }
        let now = clock::now();
        if now.saturating_since(self.stands_since) >= SOUND {
            self.attempts = 0;
        }
        self.reopening = Some(Reopening { at: now + self.pause(), opening: None });
    }

    fn pause(&self) -> Duration {
        match self.attempts.checked_sub(1) {
            None => Duration::ZERO,
            Some(doublings) => PAUSE.saturating_mul(1 << doublings.min(8)).min(LONGEST_PAUSE),
        }
    }

    /// Returns when [`Self::do_what_is_due`] wants to be called.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.reopening.as_ref().filter(|reopening| reopening.opening.is_none()).map(|reopening| reopening.at)
    }

    /// Begins the next attempt.
    pub fn do_what_is_due(&mut self, now: Timestamp) {
        if let Some(reopening) = &mut self.reopening
            && reopening.opening.is_none()
            && reopening.at <= now
        {
            self.attempts = self.attempts.saturating_add(1);
            reopening.opening = Some(Box::pin(open(self.gateway, self.firewall_mark)));
        }
    }

    /// Waits for something to receive, or for the next stream.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Told> {
        if let Some(current) = &self.current {
            current.poll_flush(cx);
            if self.handed_over {
                return Poll::Pending;
            }
            // Whatever it says, receiving finds out.
            return current.stream.poll_read_ready(cx).map(|_| Told::Readable(LocalSocket::Encapsulated));
        }
        let Some(reopening) = &mut self.reopening else { return Poll::Pending };
        let Some(opening) = &mut reopening.opening else { return Poll::Pending };
        match std::task::ready!(opening.as_mut().poll(cx)) {
            Ok(current) => {
                self.local = current.stream.local_addr().unwrap_or(self.local);
                self.current = Some(current);
                self.stands_since = clock::now();
                self.reopening = None;
                for message in std::mem::take(&mut self.kept) {
                    if let Err(error) = self.send(&message) {
                        tracing::debug!(%error, "an IKE message could not be sent");
                    }
                }
                Poll::Ready(Told::Reopened)
            }
            Err(error) => {
                tracing::debug!(%error, "no stream to the gateway");
                self.reopening = Some(Reopening { at: clock::now() + self.pause(), opening: None });
                Poll::Ready(Told::Failed)
            }
        }
    }

    /// Receives what is there and calls `take` with each IKE message.
    ///
    /// # Errors
    /// The end of the stream, and what no stream of records has.
    pub fn receive(&mut self, mut take: impl FnMut(&[u8], SocketAddr)) -> io::Result<()> {
        let Self { current: Some(Current { link, stream }), batch, gateway, .. } = self else { return Ok(()) };
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
                take(message, *gateway);
            }
            None
        });
        Ok(())
    }

    /// Lets the data plane receive from now on. None while no stream stands.
    pub fn hand_over(&mut self) -> Option<Arc<Link>> {
        self.handed_over = true;
        self.current.as_ref().map(|current| Arc::clone(&current.link))
    }

    /// Receives by itself again.
    pub const fn take_back(&mut self) {
        self.handed_over = false;
    }
}

async fn open(gateway: SocketAddr, firewall_mark: u32) -> io::Result<Current> {
    let opening = async {
        let mut stream = socket::connect(gateway, firewall_mark).await?;
        stream.write_all(&tcp::STREAM_PREFIX).await?;
        let stream = stream.into_std()?;
        let link = Arc::new(Link::Stream(StreamLink::new(stream.try_clone()?)?));
        Ok(Current { link, stream: TcpStream::from_std(stream)? })
    };
    tokio::time::timeout(PATIENCE, opening).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::tcp::{Deframer, STREAM_PREFIX};
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream as StdStream};

    struct Gateway {
        listener: TcpListener,
    }

    impl Gateway {
        fn new() -> Self {
            Self { listener: TcpListener::bind("127.0.0.1:0").unwrap() }
        }

        fn address(&self) -> SocketAddr {
            self.listener.local_addr().unwrap()
        }

        /// Accepts the next stream and reads its prefix.
        fn accept(&self) -> StdStream {
            let (mut stream, _) = self.listener.accept().unwrap();
            let mut prefix = [0; STREAM_PREFIX.len()];
            stream.read_exact(&mut prefix).unwrap();
            assert_eq!(prefix, STREAM_PREFIX);
            stream
        }
    }

    /// Drives the path until it tells something.
    async fn told(path: &mut StreamPath) -> Told {
        loop {
            path.do_what_is_due(clock::now());
            let wait = path.next_due().map_or(Duration::from_secs(20), |at| at.saturating_since(clock::now()));
            tokio::select! {
                told = std::future::poll_fn(|cx| path.poll(cx)) => return told,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Receives until the stream is lost.
    async fn loss(path: &mut StreamPath) -> io::Error {
        loop {
            assert_eq!(told(path).await, Told::Readable(LocalSocket::Encapsulated));
            if let Err(error) = path.receive(|_, _| {}) {
                return error;
            }
        }
    }

    #[tokio::test]
    async fn an_aborted_stream_sends_nothing_of_what_the_system_still_held() {
        let gateway = Gateway::new();
        let mut path = StreamPath::open(gateway.address(), 0).await.unwrap();
        let mut peer = gateway.accept();
        let record = vec![7; 60_000];
        let mut accepted = 0;
        while path.send(&record).is_ok() {
            accepted += record.len() + 2;
        }
        path.abort();
        assert!(!path.stands());
        let mut arrived = 0;
        let mut buffer = vec![0; 65_536];
        let end = loop {
            match peer.read(&mut buffer) {
                Ok(0) => panic!("a stream that was closed would have been sent to its end"),
                Ok(length) => arrived += length,
                Err(error) => break error,
            }
        };
        assert_eq!(end.kind(), io::ErrorKind::ConnectionReset);
        assert!(arrived < accepted, "{arrived} of {accepted} octets arrived");
    }

    #[tokio::test]
    async fn after_a_loss_the_next_stream_begins_with_the_prefix_and_what_was_kept() {
        let gateway = Gateway::new();
        let mut path = StreamPath::open(gateway.address(), 0).await.unwrap();
        drop(gateway.accept());
        assert_eq!(loss(&mut path).await.kind(), io::ErrorKind::UnexpectedEof);
        path.abort();
        path.send(b"\0\0\0\0liveness").unwrap();
        assert!(path.keeps_messages());
        assert_eq!(told(&mut path).await, Told::Reopened);
        assert!(!path.keeps_messages());
        let mut peer = gateway.accept();
        let mut deframer = Deframer::for_originator();
        let mut buffer = [0; 64];
        let length = peer.read(&mut buffer).unwrap();
        assert_eq!(deframer.push(&buffer[..length]).unwrap(), [b"\0\0\0\0liveness".to_vec()]);
        peer.write_all(b"\0\x0b\0\0\0\0alive").unwrap();
        let mut heard = Vec::new();
        while heard.is_empty() {
            told(&mut path).await;
            path.receive(|message, from| heard.push((message.to_vec(), from))).unwrap();
        }
        assert_eq!(heard, [(b"alive".to_vec(), gateway.address())]);
    }

    #[tokio::test]
    async fn a_stream_that_is_none_of_records_is_lost_and_not_hammered() {
        let gateway = Gateway::new();
        let mut path = StreamPath::open(gateway.address(), 0).await.unwrap();
        let mut pauses = Vec::new();
        for _ in 0..4 {
            let mut peer = gateway.accept();
            peer.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
            peer.write_all(&[0, 1]).unwrap();
            drop(peer);
            loss(&mut path).await;
            path.abort();
            pauses.push(path.next_due().unwrap().saturating_since(clock::now()));
            assert_eq!(told(&mut path).await, Told::Reopened);
        }
        assert!(pauses.windows(2).all(|pair| pair[0] < pair[1]), "{pauses:?}");
    }
}
