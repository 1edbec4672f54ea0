//! Datagrams, as many a call as the system takes.

use super::{OtherAddresses, Received};
use crate::tunnel::batch::{InboundBatch, OutboundBatch, Run, SLOT};
use crate::tunnel::gate::Gate;
use crate::tunnel::socket;
use crate::tunnel::tally::{Tally, add};
use crate::tunnel::wake::Wake;
use quinn_udp::{BATCH_SIZE, EcnCodepoint, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::SockRef;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How many messages one call receives at most.
pub const SLOTS: usize = BATCH_SIZE;
/// How many it receives where the system joins up to 64 datagrams to one: as much as stays in the
/// processor's cache until it is written.
const FEW: usize = if SLOTS < 8 { SLOTS } else { 8 };
/// Octets a message from which on they are joined ones.
const JOINED: usize = 4096;
/// After so many octets it is likely that more have come meanwhile.
const MUCH: usize = 32 * 1024;

/// The encapsulated socket, made ready for batches.
#[derive(Debug)]
pub struct UdpLink {
    socket: UdpSocket,
    state: UdpSocketState,
    gateway: SocketAddr,
    /// Whether it was said that the system cuts no runs.
    refusal_told: AtomicBool,
    others: Arc<OtherAddresses>,
    /// Whether the system joined what was received last.
    are_joined: AtomicBool,
}

/// The gate is closed, or the thread is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stopped;

impl UdpLink {
    /// Makes the socket ready.
    ///
    /// # Errors
    /// The system's.
    pub fn new(socket: UdpSocket, gateway: SocketAddr) -> io::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        // quinn-udp forbids fragments, for QUIC measures paths; ESP must arrive all the same.
        socket::let_ip_fragment(&SockRef::from(&socket), gateway)?;
        socket::leave_out_details(&SockRef::from(&socket));
        let (refusal_told, are_joined) = (AtomicBool::new(false), AtomicBool::new(true));
        Ok(Self { socket, state, gateway, refusal_told, others: Arc::default(), are_joined })
    }

    /// Takes packets of the gateway's other addresses too.
    #[must_use]
    pub fn admitting(self, others: Arc<OtherAddresses>) -> Self {
        Self { others, ..self }
    }

    /// Gives away the IKE messages that came from other addresses of the gateway.
    pub fn take_from_others(&self) -> Vec<(Vec<u8>, SocketAddr)> {
        self.others.take()
    }

    /// Sends the sealed packets of a batch as long as the gate lets them pass.
    pub fn send(&self, batch: &OutboundBatch, gate: &Gate, wake: &Wake, tally: &Tally) {
        let result = batch.runs(self.state.max_gso_segments().max(1), |run| self.send_run(&run, gate, wake, tally));
        if result.is_err() {
            tracing::trace!("packets dropped at the gate");
        }
    }

    fn send_run(&self, run: &Run<'_>, gate: &Gate, wake: &Wake, tally: &Tally) -> Result<(), Stopped> {
        loop {
            let Some(_passage) = gate.enter() else {
                add(&tally.dropped_without_lease, run.packets);
                return Ok(());
            };
            let error = match self.try_send(run.contents, Some(run.segment).filter(|_| run.packets > 1), run.class) {
                Ok(()) => {
                    add(&tally.packets_sent, run.packets);
                    add(&tally.bytes_sent, run.inner_octets);
                    return Ok(());
                }
                Err(error) => error,
            };
            match error.kind() {
                io::ErrorKind::WouldBlock => {}
                io::ErrorKind::Interrupted => continue,
                _ if run.packets > 1 => {
                    if !self.refusal_told.swap(true, Ordering::Relaxed) {
                        tracing::info!(%error, "the system refuses runs of packets; sending them one by one where it does");
                    }
                    self.send_singly(run, tally);
                    return Ok(());
                }
                _ => {
                    tracing::debug!(%error, "the packet could not be sent");
                    add(&tally.dropped_outbound, run.packets);
                    return Ok(());
                }
            }
            drop(_passage);
            if !self.wait_writable(wake) {
                return Err(Stopped);
            }
        }
    }

    /// Sends a run packet by packet after the system refused it whole: some cards offer to cut what
    /// they then cannot cut.
    fn send_singly(&self, run: &Run<'_>, tally: &Tally) {
        let inner = run.inner_octets / run.packets.max(1);
        for packet in run.contents.chunks(run.segment) {
            match self.try_send(packet, None, run.class) {
                Ok(()) => {
                    add(&tally.packets_sent, 1);
                    add(&tally.bytes_sent, inner);
                }
                Err(_) => add(&tally.dropped_outbound, 1),
            }
        }
    }

    fn try_send(&self, contents: &[u8], segment_size: Option<usize>, class: u8) -> io::Result<()> {
        // quinn-udp knows congestion marks alone, and writes zeros over the rest of the class.
        if class >> 2 != 0 && socket::class_is_settable() {
            return socket::send_of_class(&self.socket, self.gateway, contents, segment_size, class);
        }
        let transmit = Transmit {
            destination: self.gateway,
            ecn: EcnCodepoint::from_bits(class & 0b11),
            contents,
            segment_size,
            src_ip: None,
        };
        self.state.try_send(UdpSockRef::from(&self.socket), &transmit)
    }

    /// Receives what is there, at most [`SLOTS`] messages.
    ///
    /// # Errors
    /// The system's; an ICMP message of the path is none.
    pub fn receive(&self, batch: &mut InboundBatch, tally: &Tally) -> io::Result<Received> {
        let mut metas = [RecvMeta::default(); SLOTS];
        let asked = if self.are_joined.load(Ordering::Relaxed) { FEW } else { SLOTS };
        let received = {
            let mut slots = batch.buffer.chunks_mut(SLOT);
            let mut slices: [IoSliceMut<'_>; SLOTS] =
                std::array::from_fn(|_| IoSliceMut::new(slots.next().unwrap_or_default()));
            let slices = slices.get_mut(..asked).unwrap_or_default();
            match self.state.recv(UdpSockRef::from(&self.socket), slices, &mut metas) {
                Ok(received) => received,
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => return Ok(Received::Nothing),
                    io::ErrorKind::Interrupted
                    | io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::HostUnreachable
                    | io::ErrorKind::NetworkUnreachable => return Ok(Received::Much),
                    _ => return Err(error),
                },
            }
        };
        let mut octets = 0;
        for (slot, meta) in metas.iter().take(received).enumerate() {
            octets += meta.len;
            if meta.addr.ip().to_canonical() == self.gateway.ip() {
                batch.push(slot, meta.len, meta.stride, meta.ecn.map_or(0, |mark| mark as u8));
            } else if !self.of_other(slot, meta, batch) {
                add(&tally.dropped_inbound, 1);
            }
        }
        if let Some(each) = octets.checked_div(received) {
            self.are_joined.store(each >= JOINED, Ordering::Relaxed);
        }
        Ok(if received == asked || octets >= MUCH { Received::Much } else { Received::All })
    }

    /// Takes datagrams from another address of the gateway; returns false when it is none of its own.
    #[cold]
    fn of_other(&self, slot: usize, meta: &RecvMeta, batch: &mut InboundBatch) -> bool {
        if !self.others.admits(meta.addr.ip()) {
            return false;
        }
        let start = slot * SLOT;
        let first = start..start + meta.len.min(meta.stride);
        if !batch.buffer.get(first).is_some_and(|datagram| self.others.keep(datagram, meta.addr)) {
            batch.push(slot, meta.len, meta.stride, meta.ecn.map_or(0, |mark| mark as u8));
        }
        true
    }

    /// Waits until something can be received. Returns false when woken to end.
    ///
    /// # Errors
    /// The system's.
    #[cfg(unix)]
    pub fn wait(&self, wake: &Wake) -> io::Result<bool> {
        use std::os::fd::AsFd;
        wake.wait_readable(self.socket.as_fd())
    }

    /// Waits a little for something to be received. Returns false when woken to end.
    ///
    /// # Errors
    /// The system's.
    #[cfg(not(unix))]
    pub fn wait(&self, wake: &Wake) -> io::Result<bool> {
        self.socket.set_nonblocking(false)?;
        self.socket.set_read_timeout(Some(std::time::Duration::from_millis(100)))?;
        // Peeking waits without taking; whatever it says, receiving finds out.
        let _ = self.socket.peek_from(&mut [0]);
        self.socket.set_nonblocking(true)?;
        Ok(!wake.is_set())
    }

    #[cfg(unix)]
    fn wait_writable(&self, wake: &Wake) -> bool {
        use std::os::fd::AsFd;
        wake.wait_writable(self.socket.as_fd()).unwrap_or(false)
    }

    #[cfg(not(unix))]
    fn wait_writable(&self, wake: &Wake) -> bool {
        std::thread::sleep(std::time::Duration::from_millis(1));
        !wake.is_set()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::tunnel::clock;
    use crate::tunnel::encapsulation::Layout;
    use std::os::fd::AsRawFd;
    use std::time::Duration;

    /// Sends five packets, three of one class and two of another, and returns the classes that
    /// arrive.
    fn classes(address: &str) -> Vec<u8> {
        use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
        let receiver = UdpSocket::bind(address).unwrap();
        receiver.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        if receiver.local_addr().unwrap().is_ipv4() {
            setsockopt(&receiver, sockopt::IpRecvTos, &true).unwrap();
        } else {
            setsockopt(&receiver, sockopt::Ipv6RecvTClass, &true).unwrap();
        }
        let sender = UdpSocket::bind(address).unwrap();
        sender.set_nonblocking(true).unwrap();
        let link = UdpLink::new(sender, receiver.local_addr().unwrap()).unwrap();
        let mut batch = OutboundBatch::new();
        batch.start(Layout::default());
        for class in [0xb8, 0xb8, 0xb8, 0x28, 0x2a] {
            batch.push(100, class).unwrap().fill(class);
        }
        batch.seal_each(|_, _| true);
        let gate = Gate::new();
        gate.grant(clock::now() + Duration::from_secs(60));
        link.send(&batch, &gate, &Wake::new().unwrap(), &Tally::default());
        let mut seen = Vec::new();
        for _ in 0..5 {
            let mut octets = [0; 200];
            let mut parts = [IoSliceMut::new(&mut octets)];
            let mut space = nix::cmsg_space!(libc::c_int);
            let message = recvmsg::<()>(receiver.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::empty()).unwrap();
            assert_eq!(message.bytes, 100);
            let class = message.cmsgs().unwrap().find_map(|word| match word {
                ControlMessageOwned::Ipv4Tos(class) => Some(class),
                ControlMessageOwned::Ipv6TClass(class) => u8::try_from(class).ok(),
                _ => None,
            });
            seen.extend(class.filter(|class| octets[..100] == [*class; 100]));
        }
        seen
    }

    #[test]
    fn only_announced_addresses_of_the_gateway_are_taken_and_ike_is_kept_with_its_sender() {
        let [gateway, other] = ["127.0.0.1:0", "127.0.0.2:0"].map(|address| UdpSocket::bind(address).unwrap());
        let own = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = own.local_addr().unwrap();
        own.set_nonblocking(true).unwrap();
        let others = Arc::new(OtherAddresses::default());
        let link = UdpLink::new(own, gateway.local_addr().unwrap()).unwrap().admitting(Arc::clone(&others));
        let (wake, tally, mut batch) = (Wake::new().unwrap(), Tally::default(), InboundBatch::new(SLOTS));
        let esp = [9; 60];
        let ike = [&[0; 4][..], &[7; 28]].concat();
        let mut exchange = |datagram: &[u8], by: &UdpSocket| {
            by.send_to(datagram, to).unwrap();
            assert!(link.wait(&wake).unwrap());
            batch.start();
            assert!(!matches!(link.receive(&mut batch, &tally).unwrap(), Received::Nothing));
            (batch.brought().packets, link.take_from_others().len(), tally.read().dropped_inbound)
        };
        // Not announced: forged, whatever it is.
        assert_eq!(exchange(&esp, &other), (0, 0, 1));
        assert_eq!(exchange(&ike, &other), (0, 0, 2));
        others.announce(&[other.local_addr().unwrap().ip()]);
        assert_eq!(exchange(&esp, &other), (1, 0, 2));
        assert_eq!(exchange(&ike, &other), (0, 1, 2));
        assert_eq!(exchange(&ike, &gateway), (1, 0, 2));
        // The next list replaces the one before.
        others.announce(&[]);
        assert_eq!(exchange(&esp, &other), (0, 0, 3));
    }

    #[test]
    fn the_outer_header_has_the_traffic_class_of_the_inner_one() {
        assert_eq!(classes("127.0.0.1:0"), [0xb8, 0xb8, 0xb8, 0x28, 0x2a]);
        assert_eq!(classes("[::1]:0"), [0xb8, 0xb8, 0xb8, 0x28, 0x2a]);
    }

    /// Sends three packets in one run over a socket that was prepared by `prepare`; returns the link,
    /// what was counted, and what arrived.
    fn three(prepare: impl FnOnce(&UdpSocket)) -> (UdpLink, Tally, Vec<Vec<u8>>) {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        receiver.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        prepare(&socket);
        let link = UdpLink::new(socket, receiver.local_addr().unwrap()).unwrap();
        let (gate, wake, tally) = (Gate::new(), Wake::new().unwrap(), Tally::default());
        gate.grant(clock::now() + Duration::from_secs(60));
        let mut batch = OutboundBatch::new();
        batch.start(Layout::default());
        for octet in 1..=3 {
            batch.push(100, 0).unwrap().fill(octet);
        }
        batch.seal_each(|_, _| true);
        link.send(&batch, &gate, &wake, &tally);
        let mut arrived = Vec::new();
        for _ in 0..3 {
            let mut buffer = [0; 2048];
            let length = receiver.recv(&mut buffer).unwrap();
            arrived.push(buffer[..length].to_vec());
        }
        (link, tally, arrived)
    }

    #[test]
    fn a_run_that_the_system_refuses_is_sent_packet_by_packet_and_that_is_said_once() {
        let expected: Vec<Vec<u8>> = (1..=3).map(|octet| vec![octet; 100]).collect();
        let (link, tally, arrived) = three(|_| {});
        assert_eq!((arrived, tally.read().packets_sent), (expected.clone(), 3));
        assert!(!link.refusal_told.load(Ordering::Relaxed));
        // A socket that computes no checksums cannot have its datagrams cut by the kernel: EINVAL.
        let (link, tally, arrived) = three(|socket| {
            let on: libc::c_int = 1;
            // SAFETY: the kernel reads one integer, which lives until after the call.
            let result = unsafe {
                libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_NO_CHECK, (&raw const on).cast(), 4)
            };
            assert_eq!(result, 0);
        });
        assert_eq!(arrived, expected);
        assert_eq!((tally.read().packets_sent, tally.read().dropped_outbound), (3, 0));
        assert!(link.refusal_told.load(Ordering::Relaxed));
        assert_eq!(link.state.max_gso_segments(), 1, "it is not tried again");
    }
}
