//! The bare forwarder: as fast as a TUN device and a UDP socket can be joined on this machine, the
//! limit that the bench holds ours against. It shares no code with the product.
//!
//! ```text
//! lab-bare LOCAL:PORT PEER:PORT DEVICE MTU aes256gcm16|chacha20poly1305|none a|b
//! ```
//! Packets look like ESP in UDP, sealed under a key that everybody knows. There is no replay window,
//! no look-up of an SA, no selector and no lease, and what the peer sends is trusted to be well
//! formed once it is authentic: nothing that matters may travel here.

use anyhow::{Context, Result, bail, ensure};
use ring::aead;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;

/// SPI, sequence number, IV.
const HEAD: usize = 16;
const TAG: usize = 16;
/// `struct virtio_net_hdr`.
const VIRTIO: usize = 10;
/// A message of the socket, or a super-packet of the device.
const LARGEST: usize = 65_536;
/// Messages a call of `recvmmsg`.
const MESSAGES: usize = 8;
/// What one `sendmsg` may carry.
const RUN: usize = 65_000;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [local, peer, device, mtu, suite, side] = arguments.as_slice() else {
        bail!("usage: lab-bare LOCAL:PORT PEER:PORT DEVICE MTU aes256gcm16|chacha20poly1305|none a|b");
    };
    let seal = Arc::new(Seal::new(suite)?);
    let socket = Arc::new(open_socket(local.parse()?, peer.parse()?)?);
    let tun = Arc::new(open_device(device)?);
    let up = std::process::Command::new("ip").args(["link", "set", device, "mtu", mtu, "up"]).status()?;
    ensure!(up.success(), "bringing {device} up");
    let (spi, other) = (Arc::clone(&seal), (Arc::clone(&socket), Arc::clone(&tun)));
    let side = if side == "a" { 0x1000_0001 } else { 0x1000_0002 };
    let out = std::thread::spawn(move || outbound(&other.1, &other.0, &spi, side));
    let inbound = std::thread::spawn(move || inbound(&tun, &socket, &seal));
    out.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??;
    inbound.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?
}

/// The cipher, or none at all.
struct Seal(Option<aead::LessSafeKey>);

impl Seal {
    fn new(suite: &str) -> Result<Self> {
        let algorithm = match suite {
            "aes256gcm16" => &aead::AES_256_GCM,
            "chacha20poly1305" => &aead::CHACHA20_POLY1305,
            "none" => return Ok(Self(None)),
            other => bail!("{other}: no such suite"),
        };
        let key = aead::UnboundKey::new(algorithm, &[7; 32]).map_err(|_| anyhow::anyhow!("the key"))?;
        Ok(Self(Some(aead::LessSafeKey::new(key))))
    }

    /// Seals `packet[HEAD..HEAD + inner]`; the packet has room for the rest.
    fn seal(&self, packet: &mut [u8], inner: usize, spi: u32, sequence: u64) -> Option<()> {
        let end = packet.len() - TAG;
        packet[..4].copy_from_slice(&spi.to_be_bytes());
        packet[4..8].copy_from_slice(&(sequence as u32).to_be_bytes());
        packet[8..HEAD].copy_from_slice(&sequence.to_be_bytes());
        packet[end - 2] = (end - 2 - HEAD - inner) as u8;
        packet[end - 1] = 4;
        let Some(key) = &self.0 else { return Some(()) };
        let (head, rest) = packet.split_at_mut(HEAD);
        let (text, tag) = rest.split_at_mut(end - HEAD);
        let made = key.seal_in_place_separate_tag(nonce(head), aead::Aad::from(&head[..8]), text).ok()?;
        tag.copy_from_slice(made.as_ref());
        Some(())
    }

    /// Opens a packet; the inner one lies behind the head and is this long.
    fn open(&self, packet: &mut [u8]) -> Option<usize> {
        if packet.len() < HEAD + TAG + 22 {
            return None;
        }
        let end = packet.len() - TAG;
        if let Some(key) = &self.0 {
            let (head, text) = packet.split_at_mut(HEAD);
            key.open_in_place(nonce(head), aead::Aad::from(&head[..8]), text).ok()?;
        }
        (end - 2 - HEAD).checked_sub(usize::from(packet[end - 2]))
    }
}

fn nonce(head: &[u8]) -> aead::Nonce {
    let mut nonce = [9; 12];
    nonce[4..].copy_from_slice(&head[8..HEAD]);
    aead::Nonce::assume_unique_for_key(nonce)
}

/// Device to socket: one super-packet a read, cut, sealed, sent by as few calls as it takes.
fn outbound(tun: &OwnedFd, socket: &UdpSocket, seal: &Seal, spi: u32) -> Result<()> {
    let mut read = vec![0; VIRTIO + LARGEST];
    let mut out = vec![0; 4 * LARGEST];
    let mut sequence = 0;
    loop {
        // SAFETY: the descriptor is open, and the buffer as long as is said.
        let length = unsafe { libc::read(tun.as_raw_fd(), read.as_mut_ptr().cast(), read.len()) };
        let length = usize::try_from(length).map_err(|_| io::Error::last_os_error()).context("reading the device")?;
        let (virtio, packet) = read[..length].split_at_mut(VIRTIO);
        let (kind, size) = (virtio[1] & 0x7f, usize::from(u16::from_ne_bytes([virtio[4], virtio[5]])));
        let Some(ip) = Ip::read(packet) else { continue };
        let (head, size) = if kind == 0 { (0, packet.len()) } else { (ip.headers, size.max(1)) };
        if kind == 0 && virtio[0] & 1 != 0 {
            let start = usize::from(u16::from_ne_bytes([virtio[6], virtio[7]]));
            let at = start + usize::from(u16::from_ne_bytes([virtio[8], virtio[9]]));
            let sum = !fold(sum(&packet[start..], 0));
            packet[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        }
        let (headers, payload) = packet.split_at(head);
        let (mut used, mut begun, mut stride) = (0, 0, 0);
        let parts = payload.len().div_ceil(size);
        for (index, part) in payload.chunks(size).enumerate() {
            let inner = head + part.len();
            let sealed = HEAD + (inner + 2).next_multiple_of(4) + TAG;
            stride = if used == begun { sealed } else { stride };
            if used + sealed - begun > RUN {
                send(socket, &out[begun..used], stride)?;
                (begun, stride) = (used, sealed);
            }
            let room = &mut out[used..used + sealed];
            room[HEAD..HEAD + head].copy_from_slice(headers);
            room[HEAD + head..HEAD + inner].copy_from_slice(part);
            if head > 0 {
                ip.cut(&mut room[HEAD..HEAD + inner], index, index * size, index + 1 == parts);
            }
            sequence += 1;
            seal.seal(room, inner, spi, sequence).context("sealing")?;
            used += sealed;
        }
        send(socket, &out[begun..used], stride)?;
    }
}

/// Sends packets of `stride` octets, the last perhaps shorter, by one call.
fn send(socket: &UdpSocket, packets: &[u8], stride: usize) -> Result<()> {
    let part = libc::iovec { iov_base: packets.as_ptr().cast_mut().cast(), iov_len: packets.len() };
    let mut control = [0_u64; 4];
    // SAFETY: an all-zero `msghdr` is a valid value of that plain C struct.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = ((&raw const part).cast_mut(), 1);
    if packets.len() > stride {
        message.msg_control = control.as_mut_ptr().cast();
        // SAFETY: these only compute lengths.
        message.msg_controllen = unsafe { libc::CMSG_SPACE(2) } as usize;
        // SAFETY: the control buffer is as long as is said, and aligned for a header.
        unsafe {
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            ((*header).cmsg_level, (*header).cmsg_type) = (libc::SOL_UDP, libc::UDP_SEGMENT);
            (*header).cmsg_len = libc::CMSG_LEN(2) as usize;
            libc::CMSG_DATA(header).cast::<u16>().write_unaligned(stride as u16);
        }
    }
    // SAFETY: everything that the message points to lives until after the call.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, 0) };
    match io::Error::last_os_error() {
        error if sent < 0 && error.kind() != io::ErrorKind::ConnectionRefused => Err(error).context("sending"),
        _ => Ok(()),
    }
}

/// Socket to device: messages by the eight, each of up to 64 datagrams, opened, joined, written.
fn inbound(tun: &OwnedFd, socket: &UdpSocket, seal: &Seal) -> Result<()> {
    let mut buffer = vec![0_u8; MESSAGES * LARGEST];
    let mut control = [[0_u64; 4]; MESSAGES];
    let mut parts: [libc::iovec; MESSAGES] = std::array::from_fn(|slot| libc::iovec {
        iov_base: buffer[slot * LARGEST..].as_mut_ptr().cast(),
        iov_len: LARGEST,
    });
    let mut joining = Joining::default();
    loop {
        // SAFETY: an all-zero array of these plain C structs is a valid value.
        let mut messages: [libc::mmsghdr; MESSAGES] = unsafe { std::mem::zeroed() };
        for ((message, part), control) in messages.iter_mut().zip(&mut parts).zip(&mut control) {
            (message.msg_hdr.msg_iov, message.msg_hdr.msg_iovlen) = (part, 1);
            (message.msg_hdr.msg_control, message.msg_hdr.msg_controllen) = (control.as_mut_ptr().cast(), 32);
        }
        // SAFETY: everything that the messages point to is alive and as long as is said.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                messages.as_mut_ptr(),
                MESSAGES as u32,
                libc::MSG_WAITFORONE,
                std::ptr::null_mut(),
            )
        };
        let Ok(received) = usize::try_from(received) else {
            match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::ConnectionRefused => continue,
                error => return Err(error).context("receiving"),
            }
        };
        for (slot, message) in messages[..received].iter().enumerate() {
            let length = message.msg_len as usize;
            let stride = stride(&message.msg_hdr).unwrap_or(length).max(1);
            for at in (0..length).step_by(stride) {
                let (from, to) = (slot * LARGEST + at, slot * LARGEST + length.min(at + stride));
                if let Some(inner) = seal.open(&mut buffer[from..to]) {
                    joining.add(tun, &mut buffer, from + HEAD, inner)?;
                }
            }
        }
        joining.write(tun, &mut buffer)?;
    }
}

/// Reads how long the datagrams are that the kernel has joined.
fn stride(message: &libc::msghdr) -> Option<usize> {
    // SAFETY: the kernel has filled the control buffer, and these walk no farther than it says.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(message).as_ref()?;
        let is_stride = header.cmsg_level == libc::SOL_UDP && header.cmsg_type == libc::UDP_GRO;
        is_stride.then(|| libc::CMSG_DATA(header).cast::<i32>().read_unaligned() as usize)
    }
}

/// Packets of one TCP stream on their way into one write.
#[derive(Default)]
struct Joining {
    first: usize,
    ip: Option<Ip>,
    size: usize,
    next: u32,
    total: usize,
    closed: bool,
    parts: Vec<(usize, usize)>,
}

impl Joining {
    fn add(&mut self, tun: &OwnedFd, buffer: &mut [u8], at: usize, length: usize) -> Result<()> {
        let packet = &buffer[at..at + length];
        let ip = Ip::read(packet).filter(|ip| ip.tcp && packet[ip.ip + 13] & !8 == 0x10 && length > ip.headers);
        if let (Some(this), Some(ip)) = (ip, self.ip) {
            let payload = length - ip.headers;
            let first = &buffer[self.first..self.first + ip.headers];
            let same = this == ip
                && !self.closed
                && self.next == this.sequence(packet)
                && payload <= self.size
                && self.total + payload < LARGEST
                && self.parts.len() < 64
                && ip.alike(first, packet);
            if same {
                self.closed = payload < self.size || packet[ip.ip + 13] & 8 != 0;
                buffer[self.first + ip.ip + 13] |= buffer[at + ip.ip + 13] & 8;
                self.next = self.next.wrapping_add(payload as u32);
                self.total += payload;
                self.parts.push((at + ip.headers, payload));
                return Ok(());
            }
        }
        self.write(tun, buffer)?;
        self.parts.push((at, length));
        (self.first, self.ip, self.total, self.closed) = (at, ip, length, false);
        if let Some(ip) = ip {
            let packet = &buffer[at..at + length];
            self.size = length - ip.headers;
            self.next = ip.sequence(packet).wrapping_add(self.size as u32);
            self.closed = packet[ip.ip + 13] & 8 != 0;
        }
        Ok(())
    }

    fn write(&mut self, tun: &OwnedFd, buffer: &mut [u8]) -> Result<()> {
        if self.parts.is_empty() {
            return Ok(());
        }
        let mut virtio = [0_u8; VIRTIO];
        if let (Some(ip), 2..) = (self.ip, self.parts.len()) {
            let packet = &mut buffer[self.first..self.first + ip.headers];
            ip.set_length(packet, self.total);
            let partial = fold(ip.pseudo(packet, self.total));
            packet[ip.ip + 16..ip.ip + 18].copy_from_slice(&partial.to_be_bytes());
            virtio[..2].copy_from_slice(&[1, if ip.six { 4 } else { 1 }]);
            for (at, value) in [(2, ip.headers), (4, self.size), (6, ip.ip), (8, 16)] {
                virtio[at..at + 2].copy_from_slice(&(value as u16).to_ne_bytes());
            }
        }
        let mut parts = [libc::iovec { iov_base: virtio.as_mut_ptr().cast(), iov_len: VIRTIO }; 65];
        for (part, (at, length)) in parts[1..].iter_mut().zip(&self.parts) {
            *part = libc::iovec { iov_base: buffer[*at..].as_mut_ptr().cast(), iov_len: *length };
        }
        let count = self.parts.len() as i32 + 1;
        // SAFETY: the parts lie in the buffer, which lives until after the call. What the device
        // refuses is lost, as on any wire.
        unsafe { libc::writev(tun.as_raw_fd(), parts.as_ptr(), count) };
        self.parts.clear();
        self.ip = None;
        Ok(())
    }
}

/// Where the headers of a packet end.
#[derive(Clone, Copy, PartialEq)]
struct Ip {
    six: bool,
    tcp: bool,
    ip: usize,
    headers: usize,
}

impl Ip {
    fn read(packet: &[u8]) -> Option<Self> {
        let six = packet.first()? >> 4 == 6;
        let (ip, protocol) =
            if six { (40, *packet.get(6)?) } else { (usize::from(packet[0] & 15) * 4, *packet.get(9)?) };
        let tcp = protocol == 6;
        let transport = if tcp { usize::from(*packet.get(ip + 12)? >> 4) * 4 } else { 8 };
        (packet.len() >= ip + transport).then_some(Self { six, tcp, ip, headers: ip + transport })
    }

    fn sequence(self, packet: &[u8]) -> u32 {
        u32::from_be_bytes(std::array::from_fn(|octet| packet[self.ip + 4 + octet]))
    }

    /// Tells whether addresses, class, ports, acknowledgement, window and options are the same.
    fn alike(self, a: &[u8], b: &[u8]) -> bool {
        let same = |from: usize, to: usize| a[from..to] == b[from..to];
        let (ip, end) = (self.ip, self.headers);
        let outer = if self.six { same(0, 4) && same(6, 40) } else { same(0, 2) && same(6, 10) && same(12, 20) };
        outer && same(ip, ip + 4) && same(ip + 8, ip + 13) && same(ip + 14, ip + 16) && same(ip + 18, end)
    }

    /// Sums the pseudo-header.
    fn pseudo(self, packet: &[u8], total: usize) -> u64 {
        let addresses = if self.six { &packet[8..40] } else { &packet[12..20] };
        sum(addresses, (total - self.ip) as u64 + if self.tcp { 6 } else { 17 })
    }

    fn set_length(self, packet: &mut [u8], total: usize) {
        if self.six {
            packet[4..6].copy_from_slice(&((total - 40) as u16).to_be_bytes());
            return;
        }
        packet[2..4].copy_from_slice(&(total as u16).to_be_bytes());
        packet[10..12].fill(0);
        let sum = !fold(sum(&packet[..self.ip], 0));
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
    }

    /// Makes one segment of a super-packet whole.
    fn cut(self, segment: &mut [u8], index: usize, offset: usize, last: bool) {
        if !self.six {
            let id = u16::from_be_bytes([segment[4], segment[5]]).wrapping_add(index as u16);
            segment[4..6].copy_from_slice(&id.to_be_bytes());
        }
        self.set_length(segment, segment.len());
        let at = if self.tcp {
            let sequence = self.sequence(segment).wrapping_add(offset as u32);
            segment[self.ip + 4..self.ip + 8].copy_from_slice(&sequence.to_be_bytes());
            segment[self.ip + 13] &= if last { 0xff } else { !0x09 } & if index == 0 { 0xff } else { !0x80 };
            self.ip + 16
        } else {
            let length = (segment.len() - self.ip) as u16;
            segment[self.ip + 4..self.ip + 6].copy_from_slice(&length.to_be_bytes());
            self.ip + 6
        };
        segment[at..at + 2].fill(0);
        let sum = !fold(sum(&segment[self.ip..], self.pseudo(segment, segment.len())));
        segment[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
}

/// Adds up big-endian words; only the last part of a text may be odd.
fn sum(octets: &[u8], partial: u64) -> u64 {
    let (words, rest) = octets.as_chunks::<4>();
    let native: u64 = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
    let rest: u64 = rest.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0))).sum();
    partial + u64::from(u16::from_be(fold(native))) + rest
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn open_socket(local: SocketAddr, peer: SocketAddr) -> Result<UdpSocket> {
    let socket = UdpSocket::bind(local).with_context(|| format!("binding {local}"))?;
    socket.connect(peer)?;
    let options = [
        (libc::SOL_UDP, libc::UDP_GRO, 1),
        (libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 4 << 20),
        (libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, 2 << 20),
    ];
    for (level, option, value) in options {
        let value: i32 = value;
        // SAFETY: the kernel reads four octets of `value`. Without a right buffers stay small.
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), 4) };
    }
    Ok(socket)
}

fn open_device(name: &str) -> Result<OwnedFd> {
    // SAFETY: the path is a text that ends in zero.
    let fd = unsafe { libc::open(c"/dev/net/tun".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) };
    ensure!(fd >= 0, "/dev/net/tun: {}", io::Error::last_os_error());
    // SAFETY: the descriptor is new and nobody else's.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: an all-zero `ifreq` is a valid value of that plain C struct.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    ensure!(name.len() < request.ifr_name.len(), "{name} is too long for a device");
    for (target, source) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *target = source as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as libc::c_short;
    // SAFETY: TUNSETIFF reads an `ifreq`, and TUNSETOFFLOAD takes its argument by value: checksums,
    // TCP and UDP over both families.
    let results = unsafe {
        [libc::ioctl(fd.as_raw_fd(), 0x4004_54ca, &raw const request), libc::ioctl(fd.as_raw_fd(), 0x4004_54d0, 0x67)]
    };
    ensure!(results == [0, 0], "making device {name}: {}", io::Error::last_os_error());
    Ok(fd)
}
