//! A ping that needs no program: ICMP echo from inside a host, every answer counted.

use crate::net::Host;
use anyhow::{Context, Result, bail};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::BTreeSet;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What a series of pings brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Requests sent.
    pub sent: u64,
    /// Requests that were answered.
    pub answered: u64,
    /// Of these, how many were answered later than two seconds after.
    pub late: u64,
}

/// Sends one echo request from `host` and waits for its answer.
///
/// # Errors
/// When no answer comes within `limit`, or the network refuses the request.
pub fn once(host: &Host, target: IpAddr, limit: Duration) -> Result<Duration> {
    let socket = host.inside(|| echo_socket(target))?;
    let start = Instant::now();
    if echo(&socket, target, 1, limit)? { Ok(start.elapsed()) } else { bail!("{target} did not answer a ping") }
}

/// Sends `count` echo requests, each `interval` after the answer to the one before; returns how long
/// each answer took that came within a second.
///
/// # Errors
/// When the socket cannot be opened or the network refuses a request.
pub fn times(host: &Host, target: IpAddr, count: usize, interval: Duration) -> Result<Vec<Duration>> {
    let socket = host.inside(|| echo_socket(target))?;
    let mut times = Vec::with_capacity(count);
    for sequence in (1..=u16::MAX).cycle().take(count) {
        let start = Instant::now();
        if echo(&socket, target, sequence, Duration::from_secs(1))? {
            times.push(start.elapsed());
        }
        std::thread::sleep(interval);
    }
    Ok(times)
}

/// A ping that runs in the background until it is asked for its tally.
#[derive(Debug)]
pub struct Series {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<Result<Tally>>,
}

impl Series {
    /// Starts a series: one request at a time, the next one `interval` after the answer. An answer that takes more
    /// than two seconds is not waited for, and counts all the same when it comes.
    ///
    /// # Errors
    /// When the socket cannot be opened.
    pub fn start(host: &Host, target: IpAddr, interval: Duration) -> Result<Self> {
        let socket = host.inside(|| echo_socket(target))?;
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicU64::new(0));
        let thread = std::thread::spawn({
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            move || {
                let (mut sent, mut in_time, mut missing) = (0, 0, BTreeSet::new());
                while !stop.load(Ordering::Relaxed) {
                    sent += 1;
                    let sequence = u16::try_from(sent % 65_536).unwrap_or_default();
                    missing.insert(sequence);
                    send(&socket, target, sequence)?;
                    await_answers(&socket, target, &mut missing, Some(sequence), &answered)?;
                    in_time += u64::from(!missing.contains(&sequence));
                    std::thread::sleep(interval);
                }
                await_answers(&socket, target, &mut missing, None, &answered)?;
                let answered = answered.load(Ordering::Relaxed);
                Ok(Tally { sent, answered, late: answered - in_time })
            }
        });
        Ok(Self { stop, answered, thread })
    }

    /// Returns how many answers came so far.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Ends the series.
    ///
    /// # Errors
    /// When a request could not be sent.
    pub fn finish(self) -> Result<Tally> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the ping series panicked"))?
    }
}

fn echo_socket(target: IpAddr) -> Result<Socket> {
    let (domain, protocol) = match target {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    Socket::new(domain, Type::RAW, Some(protocol)).context("opening an ICMP socket")
}

/// Waits two seconds for the answer of that sequence number, or for all that are missing, and takes each that comes.
fn await_answers(
    socket: &Socket,
    target: IpAddr,
    missing: &mut BTreeSet<u16>,
    wanted: Option<u16>,
    answered: &AtomicU64,
) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(2);
    while wanted.map_or(!missing.is_empty(), |wanted| missing.contains(&wanted)) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        if receive(socket, target, left)?.is_some_and(|sequence| missing.remove(&sequence)) {
            answered.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// Sends one echo request and waits for the answer of that sequence number.
fn echo(socket: &Socket, target: IpAddr, sequence: u16, limit: Duration) -> Result<bool> {
    send(socket, target, sequence)?;
    let deadline = Instant::now() + limit;
    while let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        if receive(socket, target, left)? == Some(sequence) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn send(socket: &Socket, target: IpAddr, sequence: u16) -> Result<()> {
    let request = match target {
        IpAddr::V4(_) => checksummed(request(8, sequence)),
        // The kernel fills in the checksum of ICMPv6, which covers addresses too.
        IpAddr::V6(_) => request(128, sequence),
    };
    socket.send_to(&request, &SocketAddr::new(target, 0).into()).context("sending an echo request").map(drop)
}

/// Receives what comes next; returns its sequence number if it answers a request of this process.
fn receive(socket: &Socket, target: IpAddr, limit: Duration) -> Result<Option<u16>> {
    socket.set_read_timeout(Some(limit)).context("setting a read timeout")?;
    let mut bytes = [0; 2048];
    let Ok(length) = (&*socket).read(&mut bytes) else { return Ok(None) };
    let answer = match target {
        IpAddr::V4(_) => bytes.get(20..length),
        IpAddr::V6(_) => bytes.get(..length),
    };
    Ok(match answer {
        Some([0 | 129, _, _, _, high, low, sequence @ ..]) if [*high, *low] == identifier() => {
            sequence.first_chunk::<2>().map(|octets| u16::from_be_bytes(*octets))
        }
        _ => None,
    })
}

/// An echo request of 64 bytes; the identifier is this process's.
fn request(kind: u8, sequence: u16) -> Vec<u8> {
    let [high, low] = identifier();
    let mut bytes = vec![kind, 0, 0, 0, high, low];
    bytes.extend(sequence.to_be_bytes());
    bytes.resize(64, 0x50);
    bytes
}

/// This process's identifier.
fn identifier() -> [u8; 2] {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    [high, low]
}

/// Fills in the Internet checksum (RFC 1071).
fn checksummed(mut bytes: Vec<u8>) -> Vec<u8> {
    let sum: u32 = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    let checksum = !u16::try_from(folded).unwrap_or_default();
    bytes[2..4].copy_from_slice(&checksum.to_be_bytes());
    bytes
}
