//! Traffic through the tunnel while it is torn down, and what the wire shows afterwards.

use super::stage::LIMIT;
use crate::net::{Host, until};
use crate::wire::{Kind, Packet, Tap};
use anyhow::{Context, Result, bail, ensure};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The exchange type of INFORMATIONAL, which carries the Delete (RFC 7296 §3.1).
const INFORMATIONAL: u8 = 37;

/// A download from the corporate host that never ends by itself.
#[derive(Debug)]
pub struct Download {
    received: Arc<AtomicU64>,
}

impl Download {
    /// Starts it on a host and waits until bytes flow.
    ///
    /// # Errors
    /// When the corporate host cannot be reached.
    pub fn start(host: &Host) -> Result<Self> {
        let mut stream = http(host, "/stream")?;
        let received = Arc::new(AtomicU64::new(0));
        std::thread::spawn({
            let received = Arc::clone(&received);
            move || {
                let mut bytes = vec![0; 65_536];
                while let Ok(length @ 1..) = stream.read(&mut bytes) {
                    received.fetch_add(length as u64, Ordering::Relaxed);
                }
            }
        });
        let download = Self { received };
        until("a download that flows", LIMIT, || Ok((download.received() > 1_000_000).then_some(())))?;
        Ok(download)
    }

    /// Returns the bytes received so far.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

/// Opens `GET path` at the corporate host.
fn http(host: &Host, path: &str) -> Result<TcpStream> {
    let address: SocketAddr = "10.98.0.1:80".parse()?;
    let mut stream =
        host.inside(|| TcpStream::connect_timeout(&address, LIMIT).context("opening the corporate host"))?;
    stream.set_read_timeout(Some(LIMIT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: 10.98.0.1\r\nConnection: close\r\n\r\n")?;
    Ok(stream)
}

/// Fetches `length` bytes from the corporate host and checks every one.
///
/// # Errors
/// When they do not come or are others.
pub fn fetch(host: &Host, length: usize) -> Result<()> {
    let mut body = Vec::new();
    http(host, &format!("/bytes/{length}"))?.read_to_end(&mut body).context("reading the download")?;
    ensure!(body.starts_with(b"HTTP/1.1 200"), "the corporate host refused");
    let split = body.windows(4).position(|window| window == b"\r\n\r\n").context("no header in the answer")?;
    // The server sends in chunks of unknown size: what counts is that every byte of ours is in it.
    let mut expected = crate::http::fixed_bytes(65_536).repeat(length.div_ceil(65_536));
    expected.truncate(length);
    let payload = dechunked(body.get(split + 4..).unwrap_or_default())?;
    ensure!(payload == expected, "{} bytes came, not the {length} that were asked for", payload.len());
    Ok(())
}

/// Undoes HTTP/1.1's chunked coding (RFC 9112 §7.1).
fn dechunked(mut body: &[u8]) -> Result<Vec<u8>> {
    let mut payload = Vec::new();
    loop {
        let line = body.windows(2).position(|window| window == b"\r\n").context("a chunk without a size")?;
        let size = usize::from_str_radix(std::str::from_utf8(&body[..line])?.trim(), 16).context("a chunk's size")?;
        let rest = body.get(line + 2..).unwrap_or_default();
        if size == 0 {
            return Ok(payload);
        }
        payload.extend(rest.get(..size).context("a chunk that is cut")?);
        body = rest.get(size + 2..).context("a chunk that is cut")?;
    }
}

/// Returns the moment (CLOCK_BOOTTIME) of the last packet that the tunnel let out: ESP, or one
/// from an address inside. IKE's own Delete does not count.
pub fn last_packet_of_tunnel(packets: &[Packet], inside: &[IpAddr]) -> Option<u64> {
    packets.iter().rfind(|packet| is_of_tunnel(packet, inside)).map(|packet| packet.boottime_ns)
}

/// Fails when the tunnel let a packet out after `mark`.
///
/// # Errors
/// Names the packet.
pub fn silent_since(tap: &Tap, mark: usize, inside: &[IpAddr]) -> Result<()> {
    match tap.since(mark).iter().find(|packet| is_of_tunnel(packet, inside)) {
        None => Ok(()),
        Some(packet) => bail!("the tunnel let a packet out after the block: {packet:?}"),
    }
}

fn is_of_tunnel(packet: &Packet, inside: &[IpAddr]) -> bool {
    let esp = matches!(packet.kind, Kind::Esp | Kind::EspInUdp | Kind::NatKeepalive | Kind::TcpCarrier);
    let ike = packet.kind == Kind::Ike && packet.exchange != Some(INFORMATIONAL);
    packet.outgoing && (esp || ike || packet.source.is_some_and(|source| inside.contains(&source)))
}

/// Tells whether a TCP connection to the corporate host's network is refused by this host itself.
///
/// # Errors
/// When the namespace cannot be entered.
pub fn blocked_here(host: &Host) -> Result<bool> {
    host.inside(|| {
        let address: SocketAddr = "10.98.0.1:80".parse()?;
        Ok(match TcpStream::connect_timeout(&address, Duration::from_millis(500)) {
            Ok(_) => false,
            Err(error) => matches!(
                error.raw_os_error(),
                Some(libc::EACCES | libc::EPERM | libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EINVAL)
            ),
        })
    })
}
