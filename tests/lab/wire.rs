//! A tap on a host's interface: every packet that passes, with its time and what it is.
//!
//! The tap reads a packet socket, so it sees what is really on the wire, after every firewall on
//! the way out and before any on the way in. Times are CLOCK_BOOTTIME, as the service's and the
//! lab servers' are, so that moments can be compared across processes.

use crate::net::Host;
use anyhow::{Context, Result, bail};
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a packet is, as far as the outside can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// IKE on UDP port 500, or on 4500 behind the non-ESP marker.
    Ike,
    /// ESP in UDP on port 4500.
    EspInUdp,
    /// ESP as an IP protocol.
    Esp,
    /// A NAT keepalive (RFC 3948 §2.3).
    NatKeepalive,
    /// UDP or TCP to or from port 53.
    Dns,
    /// WireGuard on UDP port 51820.
    WireGuard,
    /// TCP that carries IKE and ESP (RFC 9329): ports 443 and 4500.
    TcpCarrier,
    /// ARP, IPv6 neighbour discovery, multicast listener reports: the link keeping itself up.
    Neighbour,
    /// Anything else.
    Other,
}

/// One packet.
#[derive(Clone, Debug)]
pub struct Packet {
    /// When the tap saw it, nanoseconds of CLOCK_BOOTTIME.
    pub boottime_ns: u64,
    /// Whether the host itself sent it.
    pub outgoing: bool,
    /// Source address, where there is an IP header.
    pub source: Option<IpAddr>,
    /// Destination address, where there is an IP header.
    pub destination: Option<IpAddr>,
    /// What it is.
    pub kind: Kind,
    /// For IKE: the exchange type octet of the header.
    pub exchange: Option<u8>,
    /// For IKE: whether it is a response.
    pub response: bool,
    /// For IKE: the type of the first payload.
    pub first_payload: Option<u8>,
    /// Length on the wire without the link-layer header.
    pub length: usize,
}

/// A tap that runs until it is dropped.
#[derive(Debug)]
pub struct Tap {
    packets: Arc<Mutex<Vec<Packet>>>,
    stop: Arc<AtomicBool>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Tap {
    /// Opens a tap on one interface of a host.
    ///
    /// # Errors
    /// When the packet socket cannot be opened.
    pub fn open(host: &Host, interface: &str) -> Result<Self> {
        let socket = host.inside(|| packet_socket(interface))?;
        let packets = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let reader = std::thread::spawn({
            let (packets, stop) = (Arc::clone(&packets), Arc::clone(&stop));
            move || read(&socket, &packets, &stop)
        });
        Ok(Self { packets, stop, reader: Some(reader) })
    }

    /// Returns every packet seen so far.
    pub fn packets(&self) -> Vec<Packet> {
        self.packets.lock().map(|packets| packets.clone()).unwrap_or_default()
    }

    /// Returns how many packets were seen so far.
    pub fn count(&self) -> usize {
        self.packets.lock().map(|packets| packets.len()).unwrap_or_default()
    }

    /// Returns the packets seen since [`Self::count`] was `mark`.
    pub fn since(&self, mark: usize) -> Vec<Packet> {
        self.packets.lock().map(|packets| packets.get(mark..).unwrap_or_default().to_vec()).unwrap_or_default()
    }

    /// Fails when any packet since `mark` is of one of these kinds.
    ///
    /// # Errors
    /// Names the first packet that should not be there.
    pub fn none_of(&self, mark: usize, kinds: &[Kind]) -> Result<()> {
        match self.since(mark).iter().find(|packet| kinds.contains(&packet.kind)) {
            None => Ok(()),
            Some(packet) => bail!("a packet that must not be on the wire: {packet:?}"),
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            // The reader only ever returns; a panic in it has already been printed.
            let _ = reader.join();
        }
    }
}

/// Returns CLOCK_BOOTTIME in nanoseconds.
pub fn boottime_ns() -> u64 {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME)
        .map(|time| Duration::from(time).as_nanos())
        .ok()
        .and_then(|nanoseconds| u64::try_from(nanoseconds).ok())
        .unwrap_or_default()
}

/// Opens a packet socket of every protocol, bound to one interface of the namespace at hand.
fn packet_socket(interface: &str) -> Result<OwnedFd> {
    let index = nix::net::if_::if_nametoindex(interface).with_context(|| format!("interface {interface}"))?;
    let every_protocol = u16::to_be(u16::try_from(libc::ETH_P_ALL).context("a protocol number")?);
    // SAFETY: plain system calls; the descriptor is checked before it is owned, the address
    // structure is fully initialised and its true size is passed.
    unsafe {
        let descriptor =
            libc::socket(libc::AF_PACKET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, i32::from(every_protocol));
        if descriptor < 0 {
            return Err(std::io::Error::last_os_error()).context("opening a packet socket");
        }
        let socket = OwnedFd::from_raw_fd(descriptor);
        let mut address: libc::sockaddr_ll = std::mem::zeroed();
        address.sll_family = libc::sa_family_t::try_from(libc::AF_PACKET).context("an address family")?;
        address.sll_protocol = every_protocol;
        address.sll_ifindex = i32::try_from(index).context("an interface index")?;
        let length = libc::socklen_t::try_from(std::mem::size_of_val(&address)).context("an address length")?;
        if libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) != 0 {
            return Err(std::io::Error::last_os_error()).context("binding a packet socket");
        }
        let timeout = libc::timeval { tv_sec: 0, tv_usec: 50_000 };
        let buffer: libc::c_int = 16 << 20;
        for (option, value, size) in [
            (libc::SO_RCVTIMEO, (&raw const timeout).cast(), std::mem::size_of_val(&timeout)),
            (libc::SO_RCVBUFFORCE, (&raw const buffer).cast::<libc::c_void>(), std::mem::size_of_val(&buffer)),
            (libc::SO_RCVBUF, (&raw const buffer).cast(), std::mem::size_of_val(&buffer)),
        ] {
            // A larger buffer is welcome and not needed; without the timeout the reader would not stop.
            let outcome =
                libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, value, libc::socklen_t::try_from(size)?);
            if outcome != 0 && option == libc::SO_RCVTIMEO {
                return Err(std::io::Error::last_os_error()).context("setting a receive timeout");
            }
        }
        Ok(socket)
    }
}

/// Reads until told to stop.
fn read(socket: &OwnedFd, packets: &Mutex<Vec<Packet>>, stop: &AtomicBool) {
    let mut bytes = vec![0; 65_536];
    while !stop.load(Ordering::Relaxed) {
        // SAFETY: the buffer and the address structure are valid for the sizes passed.
        let (length, address) = unsafe {
            let mut address: libc::sockaddr_ll = std::mem::zeroed();
            let mut size = libc::socklen_t::try_from(std::mem::size_of_val(&address)).unwrap_or_default();
            let length = libc::recvfrom(
                socket.as_raw_fd(),
                bytes.as_mut_ptr().cast(),
                bytes.len(),
                0,
                (&raw mut address).cast(),
                &raw mut size,
            );
            (length, address)
        };
        let Some(packet) = usize::try_from(length).ok().and_then(|length| bytes.get(..length)) else { continue };
        let outgoing = address.sll_pkttype == libc::PACKET_OUTGOING;
        let record = classify(u16::from_be(address.sll_protocol), packet, outgoing);
        if let Ok(mut packets) = packets.lock() {
            packets.push(record);
        }
    }
}

/// Says what a packet is.
fn classify(ether_type: u16, bytes: &[u8], outgoing: bool) -> Packet {
    let mut packet = Packet {
        boottime_ns: boottime_ns(),
        outgoing,
        source: None,
        destination: None,
        kind: if ether_type == 0x0806 { Kind::Neighbour } else { Kind::Other },
        exchange: None,
        response: false,
        first_payload: None,
        length: bytes.len(),
    };
    let Some((protocol, payload)) = internet_header(ether_type, bytes, &mut packet) else { return packet };
    let port = |offset: usize| payload.get(offset..offset + 2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let ports = [port(0), port(2)];
    let uses = |number: u16| ports.contains(&Some(number));
    packet.kind = match protocol {
        50 => Kind::Esp,
        17 if uses(53) => Kind::Dns,
        17 if uses(51_820) => Kind::WireGuard,
        17 if uses(4500) => udp_4500(payload, &mut packet),
        17 if uses(500) => ike(payload.get(8..).unwrap_or_default(), &mut packet),
        6 if uses(53) => Kind::Dns,
        6 if uses(443) || uses(4500) => Kind::TcpCarrier,
        58 if matches!(payload.first(), Some(133..=137)) => Kind::Neighbour,
        // Multicast listener reports carry a hop-by-hop header before ICMPv6 (RFC 3810 §5).
        0 if payload.first() == Some(&58) => Kind::Neighbour,
        _ => Kind::Other,
    };
    packet
}

/// Tells apart what shares UDP port 4500 (RFC 3948 §2).
fn udp_4500(udp: &[u8], packet: &mut Packet) -> Kind {
    match udp.get(8..) {
        Some([0xff]) => Kind::NatKeepalive,
        Some([0, 0, 0, 0, message @ ..]) => ike(message, packet),
        _ => Kind::EspInUdp,
    }
}

/// Notes what the IKE header says in the clear (RFC 7296 §3.1).
fn ike(message: &[u8], packet: &mut Packet) -> Kind {
    packet.first_payload = message.get(16).copied();
    packet.exchange = message.get(18).copied();
    packet.response = message.get(19).is_some_and(|flags| flags & 0x20 != 0);
    Kind::Ike
}

/// Reads the IP header; returns the protocol and what follows.
fn internet_header<'a>(ether_type: u16, bytes: &'a [u8], packet: &mut Packet) -> Option<(u8, &'a [u8])> {
    match ether_type {
        0x0800 => {
            let header: &[u8; 20] = bytes.first_chunk()?;
            packet.source = Some(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(&header[12..16]).ok()?)));
            packet.destination = Some(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(&header[16..20]).ok()?)));
            Some((header[9], bytes.get(usize::from(header[0] & 15) * 4..)?))
        }
        0x86dd => {
            let header: &[u8; 40] = bytes.first_chunk()?;
            packet.source = Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(&header[8..24]).ok()?)));
            packet.destination = Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(&header[24..40]).ok()?)));
            Some((header[6], bytes.get(40..)?))
        }
        _ => None,
    }
}

/// Reads a stream to its end and returns its SHA-256 in hexadecimal digits and its length.
///
/// # Errors
/// When the stream fails.
pub fn digest_of(mut stream: impl Read) -> Result<(String, u64)> {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let (mut bytes, mut total) = (vec![0; 65_536], 0);
    loop {
        let length = stream.read(&mut bytes).context("reading a stream")?;
        if length == 0 {
            return Ok((hex::encode(context.finish()), total));
        }
        context.update(&bytes[..length]);
        total += u64::try_from(length)?;
    }
}
