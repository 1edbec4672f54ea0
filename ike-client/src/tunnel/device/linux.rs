//! TUN on Linux: created by the `tun` crate, then read and written with virtio headers, so that
//! TCP and UDP come and go in pieces of up to 64 KiB.

use super::joiner::Joiner;
use crate::tunnel::batch::{InboundBatch, MAX_PACKET, OutboundBatch};
use crate::tunnel::ecn;
use crate::tunnel::offload::headers::VIRTIO_LENGTH;
use crate::tunnel::offload::{Segments, SplitError, VirtioHeader, split};
use crate::tunnel::socket::linux;
use crate::tunnel::tally::{Tally, add};
use crate::tunnel::wake::Wake;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, Read};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use tun::AbstractDevice;

/// TUN_F_* of include/uapi/linux/if_tun.h: checksum, TCP over both families, UDP over both.
const OFFLOAD_CHECKSUM: libc::c_ulong = 0x01;
const OFFLOAD_TCP: libc::c_ulong = 0x02 | 0x04;
const OFFLOAD_UDP: libc::c_ulong = 0x20 | 0x40;

/// `TUNSETOFFLOAD` of the same file: _IOW('T', 208, unsigned int).
const SET_OFFLOAD: libc::Ioctl = 0x4004_54d0;

/// A device that exists as long as this does.
#[derive(Debug)]
pub struct Device {
    fd: Arc<OwnedFd>,
    name: String,
    index: u32,
    mtu: Arc<AtomicU16>,
}

impl Device {
    /// Creates the device and brings it up, without addresses.
    ///
    /// # Errors
    /// The system's: no right, no driver, the name taken.
    pub fn create(name: &str, mtu: u16) -> io::Result<Self> {
        let mut configuration = tun::Configuration::default();
        configuration.tun_name(name).mtu(mtu).platform_config(|platform| {
            platform.vnet_hdr(true);
            // Addresses are the owner's: by netlink, for both families.
            platform.ensure_root_privileges(false);
        });
        let mut device = tun::create(&configuration).map_err(io::Error::other)?;
        device.set_mtu(mtu).map_err(io::Error::other)?;
        let index = device.tun_index().map_err(io::Error::other)?;
        let name = device.tun_name().map_err(io::Error::other)?;
        // A descriptor of our own: the crate's reads and writes are not used.
        // SAFETY: the device is alive, so its descriptor is open for the length of this borrow.
        let fd = unsafe { BorrowedFd::borrow_raw(device.as_raw_fd()) }.try_clone_to_owned()?;
        set_nonblocking(fd.as_fd())?;
        offload(fd.as_fd(), OFFLOAD_CHECKSUM | OFFLOAD_TCP)?;
        // Since 6.2; without it datagrams come one by one.
        let _ = offload(fd.as_fd(), OFFLOAD_CHECKSUM | OFFLOAD_TCP | OFFLOAD_UDP);
        let index = u32::try_from(index).unwrap_or(0);
        if let Err(error) = keep_silent(index) {
            tracing::debug!(%error, "the system will speak in the tunnel of its own accord");
        }
        device.enabled(true).map_err(io::Error::other)?;
        Ok(Self { fd: Arc::new(fd), name, index, mtu: Arc::new(AtomicU16::new(mtu)) })
    }

    /// Returns the device's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the device's index.
    pub const fn index(&self) -> u32 {
        self.index
    }

    /// Changes the largest packet that applications may send.
    ///
    /// # Errors
    /// The system's.
    pub fn set_mtu(&self, mtu: u16) -> io::Result<()> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        let mut request = linux::named(&self.name);
        request.ifr_ifru.ifru_mtu = libc::c_int::from(mtu);
        // SAFETY: SIOCSIFMTU reads one `ifreq`, which lives until the call is over; the descriptor is
        // the socket's, which does too.
        let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFMTU as libc::Ioctl, &raw const request) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        self.mtu.store(mtu, Ordering::Relaxed);
        Ok(())
    }

    /// Returns the largest packet, which may change.
    pub fn mtu(&self) -> Arc<AtomicU16> {
        Arc::clone(&self.mtu)
    }

    /// Makes the end that reads what applications send.
    pub fn reader(&self) -> Reader {
        Reader { fd: Arc::clone(&self.fd), scratch: vec![0; VIRTIO_LENGTH + MAX_PACKET].into(), held: None }
    }

    /// Makes the end that writes what applications receive.
    pub fn writer(&self) -> Writer {
        Writer { fd: Arc::clone(&self.fd), joiner: Joiner::default() }
    }
}

/// Reads what applications send.
#[derive(Debug)]
pub struct Reader {
    fd: Arc<OwnedFd>,
    scratch: Box<[u8]>,
    /// A packet that was read and did not fit the batch any more: its length with the header.
    held: Option<usize>,
}

/// Writes segments into a batch.
struct Filling<'a> {
    batch: &'a mut OutboundBatch,
    class: u8,
}

impl Segments for Filling<'_> {
    fn place(&mut self, length: usize) -> Option<&mut [u8]> {
        self.batch.push(length, self.class)
    }
}

impl Reader {
    /// Waits until there is something to read. Returns false when woken to end.
    ///
    /// # Errors
    /// The system's.
    pub fn wait(&mut self, wake: &Wake) -> io::Result<bool> {
        if self.held.is_some() {
            return Ok(!wake.is_set());
        }
        wake.wait_readable(self.fd.as_fd())
    }

    /// Reads packets into the batch until there is enough in it or nothing is left; returns whether
    /// nothing is left.
    ///
    /// # Errors
    /// The system's, when the device is gone.
    pub fn fill(&mut self, batch: &mut OutboundBatch, tally: &Tally) -> io::Result<bool> {
        loop {
            let length = match self.held.take() {
                Some(length) => length,
                None => match nix::unistd::read(&self.fd, &mut self.scratch) {
                    Ok(length) => length,
                    Err(nix::errno::Errno::EAGAIN) => return Ok(true),
                    Err(nix::errno::Errno::EINTR) => continue,
                    Err(error) => return Err(error.into()),
                },
            };
            let whole = self.scratch.get(..length).unwrap_or_default();
            let Some((header, packet)) = VirtioHeader::read(whole) else { continue };
            // A super-packet is taken whole or kept for the next batch.
            if !batch.is_empty() && !batch_takes(batch, header, packet.len()) {
                self.held = Some(length);
                return Ok(false);
            }
            let mut filling = Filling { class: ecn::class(packet), batch };
            match split(header, packet, &mut filling) {
                Ok(()) => {}
                Err(SplitError::NoRoom) => {
                    add(&tally.dropped_outbound, 1);
                    return Ok(false);
                }
                Err(_) => add(&tally.dropped_outbound, 1),
            }
            if batch.is_half_full() {
                return Ok(false);
            }
        }
    }

    /// Reads and drops what is there: packets that wait for no lease must not leave later.
    ///
    /// # Errors
    /// The system's, when the device is gone.
    pub fn discard(&mut self, tally: &Tally) -> io::Result<()> {
        let mut dropped = usize::from(self.held.take().is_some());
        let result = loop {
            match nix::unistd::read(&self.fd, &mut self.scratch) {
                Ok(_) => dropped += 1,
                Err(nix::errno::Errno::EAGAIN) => break Ok(()),
                Err(nix::errno::Errno::EINTR) => {}
                Err(error) => break Err(error.into()),
            }
        };
        add(&tally.dropped_without_lease, dropped);
        result
    }
}

/// Returns whether all segments of a super-packet fit into the rest of the batch.
fn batch_takes(batch: &OutboundBatch, header: VirtioHeader, length: usize) -> bool {
    let size = usize::from(header.gso_size);
    let segments = if size == 0 { 1 } else { length.div_ceil(size) };
    // Headers come once with the super-packet and once with each segment; 80 is the most of both.
    batch.should_take(segments, if size == 0 { length } else { size + 80 })
}

/// Writes what applications receive.
#[derive(Debug)]
pub struct Writer {
    fd: Arc<OwnedFd>,
    joiner: Joiner,
}

impl Writer {
    /// Writes the opened packets, joining those of one stream.
    pub fn deliver(&mut self, batch: &mut InboundBatch, tally: &Tally) {
        let Self { fd, joiner } = self;
        joiner.deliver(batch, tally, |parts| nix::sys::uio::writev(&*fd, parts).map(drop).map_err(io::Error::from));
    }
}

fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

/// Keeps the system from making an address up for the device and asking for routers from there: that belongs
/// to no tunnel, and wakes who has to drop it.
fn keep_silent(index: u32) -> io::Result<()> {
    // include/uapi/linux/if_link.h: IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE.
    const GENERATION: (u16, u8) = (8, 1);
    let inet6 = u16::try_from(libc::AF_INET6).map_err(io::Error::other)?;
    let mode = attribute(GENERATION.0, &[GENERATION.1]);
    let families = attribute(libc::IFLA_AF_SPEC, &attribute(inet6, &mode));
    // nlmsghdr and ifinfomsg (rtnetlink(7)).
    let length = u32::try_from(32 + families.len()).map_err(io::Error::other)?;
    let flags = u16::try_from(libc::NLM_F_REQUEST | libc::NLM_F_ACK).map_err(io::Error::other)?;
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(libc::RTM_SETLINK.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 12]);
    message.extend(index.to_ne_bytes());
    // No flag is changed.
    message.extend([0; 8]);
    message.extend(families);
    let protocol = Protocol::from(libc::NETLINK_ROUTE);
    let kernel = Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(protocol))?;
    kernel.send(&message)?;
    let mut answer = [0; 256];
    let length = (&kernel).read(&mut answer)?;
    // nlmsghdr, then the error of nlmsgerr, negative, or zero.
    let error = answer.get(..length).and_then(|answer| answer.get(16..20)?.try_into().ok());
    match error.map(i32::from_ne_bytes) {
        Some(0) => Ok(()),
        Some(error) => Err(io::Error::from_raw_os_error(error.saturating_neg())),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Makes an attribute of netlink: length, kind, content, filled up to four octets.
fn attribute(kind: u16, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + content.len()).unwrap_or(u16::MAX);
    let mut attribute: Vec<u8> = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    attribute.extend(content);
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    attribute
}

fn offload(fd: BorrowedFd<'_>, mask: libc::c_ulong) -> io::Result<()> {
    // SAFETY: TUNSETOFFLOAD takes its argument by value and touches no memory of ours; the
    // descriptor is borrowed for the call.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), SET_OFFLOAD, mask) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
