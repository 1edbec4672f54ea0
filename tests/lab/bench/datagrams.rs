//! UDP through a tunnel: a sender that keeps a pace, and a receiver that counts what arrives.
//!
//! What a tunnel loses is seen at its far end alone: queues inside a tunnel make whatever a sender
//! is told about loss wrong.

use crate::net::Host;
use anyhow::{Context, Result};
use socket2::SockRef;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Where the receiver listens.
const PORT: u16 = 5301;
/// Datagrams a system call, at both ends.
const BATCH: usize = 64;
/// How often the sender looks what is due.
const TICK: Duration = Duration::from_micros(200);
/// How long one rate is tried.
const TRY: Duration = Duration::from_millis(400);
/// What counts as no loss.
const LOSS: f64 = 0.005;
/// Where the search for a rate begins, in datagrams a second.
const FIRST: f64 = 20_000.0;

/// What became of the datagrams.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Datagrams a second that left the sender.
    pub sent: f64,
    /// Datagrams a second that arrived.
    pub received: f64,
}

impl Outcome {
    fn is_lossless(self) -> bool {
        self.sent > 0.0 && self.received >= self.sent * (1.0 - LOSS)
    }
}

/// Offers `rate` datagrams a second of `size` octets for `span`.
///
/// # Errors
/// When a socket cannot be had.
pub fn offer(client: &Host, gateway: &Host, target: IpAddr, size: usize, rate: f64, span: Duration) -> Result<Outcome> {
    let receiver = gateway.inside(|| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)).context("the receiver's socket")?;
        enlarge(&socket)?;
        socket.set_read_timeout(Some(Duration::from_millis(20)))?;
        Ok(socket)
    })?;
    let sender = client.inside(|| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).context("the sender's socket")?;
        socket.connect(SocketAddr::new(target, PORT))?;
        enlarge(&socket)?;
        Ok(socket)
    })?;
    let (over, arrived) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| count(&receiver, &over, &arrived));
        let (sent, elapsed) = pace(&sender, size, rate, span);
        // What is on the way arrives meanwhile.
        let mut before = u64::MAX;
        while before != arrived.load(Ordering::Relaxed) {
            before = arrived.load(Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(40));
        }
        over.store(true, Ordering::Relaxed);
        let seconds = elapsed.as_secs_f64();
        Ok(Outcome { sent: sent as f64 / seconds, received: before as f64 / seconds })
    })
}

/// Searches the highest rate at which nothing is lost; returns what arrived at it.
///
/// # Errors
/// When a socket cannot be had.
pub fn lossless(client: &Host, gateway: &Host, target: IpAddr, size: usize) -> Result<f64> {
    let attempt = |rate: f64| -> Result<Option<f64>> {
        // Once more where it fails: somebody else may have had the machine.
        for _ in 0..2 {
            let outcome = offer(client, gateway, target, size, rate, TRY)?;
            if outcome.is_lossless() {
                return Ok(Some(outcome.received));
            }
        }
        Ok(None)
    };
    let (mut good, mut bad, mut best) = (0.0, FIRST, 0.0);
    while let Some(received) = attempt(bad)? {
        // The sender itself came to its end: more cannot be offered.
        if received < best * 1.1 {
            return Ok(received.max(best));
        }
        (good, best, bad) = (bad, received, bad * 1.4);
    }
    for _ in 0..5 {
        let middle = f64::midpoint(good, bad);
        match attempt(middle)? {
            Some(received) => (good, best) = (middle, received.max(best)),
            None => bad = middle,
        }
    }
    Ok(best)
}

fn enlarge(socket: &UdpSocket) -> Result<()> {
    let octets: libc::c_int = 8 << 20;
    let length = libc::socklen_t::try_from(size_of::<libc::c_int>())?;
    for option in [libc::SO_RCVBUFFORCE, libc::SO_SNDBUFFORCE] {
        // SAFETY: the kernel reads one integer, which lives until after the call; without the
        // right the buffers stay as they are.
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const octets).cast(), length) };
    }
    // Where the right is missing: as much as goes without.
    SockRef::from(socket).set_recv_buffer_size(8 << 20)?;
    Ok(())
}

/// Sends until the span is over; returns how many datagrams and how long it took.
fn pace(socket: &UdpSocket, size: usize, rate: f64, span: Duration) -> (u64, Duration) {
    let payload = vec![0x5a_u8; size];
    let part = libc::iovec { iov_base: payload.as_ptr().cast_mut().cast(), iov_len: payload.len() };
    // SAFETY: an all-zero array of these plain C structs is a valid value.
    let mut messages: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
    for message in &mut messages {
        (message.msg_hdr.msg_iov, message.msg_hdr.msg_iovlen) = ((&raw const part).cast_mut(), 1);
    }
    let (start, mut sent) = (Instant::now(), 0_u64);
    loop {
        let elapsed = start.elapsed();
        if elapsed >= span {
            return (sent, elapsed);
        }
        let due = (elapsed.as_secs_f64() * rate) as u64;
        while sent < due && start.elapsed() < span {
            let count = (due - sent).min(BATCH as u64);
            // SAFETY: `count` messages are there, and all that they point to lives until after the
            // call. What the system refuses is lost like what a queue drops.
            unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), count as u32, 0) };
            sent += count;
        }
        std::thread::sleep(TICK);
    }
}

/// Counts what arrives until it is over.
fn count(socket: &UdpSocket, over: &AtomicBool, arrived: &AtomicU64) {
    let mut buffer = vec![[0_u8; 2048]; BATCH];
    let mut parts: Vec<libc::iovec> =
        buffer.iter_mut().map(|room| libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() }).collect();
    // SAFETY: an all-zero array of these plain C structs is a valid value.
    let mut messages: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
    for (message, part) in messages.iter_mut().zip(&mut parts) {
        (message.msg_hdr.msg_iov, message.msg_hdr.msg_iovlen) = (part, 1);
    }
    while !over.load(Ordering::Relaxed) {
        // SAFETY: the messages and all that they point to live until after the call.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                messages.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_WAITFORONE,
                std::ptr::null_mut(),
            )
        };
        arrived.fetch_add(u64::try_from(received).unwrap_or(0), Ordering::Relaxed);
    }
}
