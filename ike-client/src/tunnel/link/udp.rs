//! Datagrams, as many a call as the system takes.

use crate::tunnel::batch::{InboundBatch, MAX_PACKET, OutboundBatch, Run};
use crate::tunnel::gate::Gate;
use crate::tunnel::socket;
use crate::tunnel::tally::{Tally, add};
use crate::tunnel::wake::Wake;
use quinn_udp::{BATCH_SIZE, EcnCodepoint, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::SockRef;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};

/// How many messages one call receives.
pub const SLOTS: usize = BATCH_SIZE;

/// The encapsulated socket, made ready for batches.
#[derive(Debug)]
pub struct UdpLink {
    socket: UdpSocket,
    state: UdpSocketState,
    gateway: SocketAddr,
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
        Ok(Self { socket, state, gateway })
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
            let error = match self.try_send(run.contents, Some(run.segment).filter(|_| run.packets > 1), run.ecn) {
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
            match self.try_send(packet, None, run.ecn) {
                Ok(()) => {
                    add(&tally.packets_sent, 1);
                    add(&tally.bytes_sent, inner);
                }
                Err(_) => add(&tally.dropped_outbound, 1),
            }
        }
    }

    fn try_send(&self, contents: &[u8], segment_size: Option<usize>, ecn: u8) -> io::Result<()> {
        let transmit = Transmit {
            destination: self.gateway,
            ecn: EcnCodepoint::from_bits(ecn),
            contents,
            segment_size,
            src_ip: None,
        };
        self.state.try_send(UdpSockRef::from(&self.socket), &transmit)
    }

    /// Receives what is there, at most [`SLOTS`] messages. Returns false when nothing was there.
    ///
    /// # Errors
    /// The system's; an ICMP message of the path is none.
    pub fn receive(&self, batch: &mut InboundBatch, tally: &Tally) -> io::Result<bool> {
        let mut metas = [RecvMeta::default(); SLOTS];
        let received = {
            let mut slots = batch.buffer.chunks_mut(MAX_PACKET + 1);
            let mut slices: [IoSliceMut<'_>; SLOTS] =
                std::array::from_fn(|_| IoSliceMut::new(slots.next().unwrap_or_default()));
            match self.state.recv(UdpSockRef::from(&self.socket), &mut slices, &mut metas) {
                Ok(received) => received,
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => return Ok(false),
                    io::ErrorKind::Interrupted
                    | io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::HostUnreachable
                    | io::ErrorKind::NetworkUnreachable => return Ok(true),
                    _ => return Err(error),
                },
            }
        };
        for (slot, meta) in metas.iter().take(received).enumerate() {
            if meta.addr.ip().to_canonical() == self.gateway.ip() {
                batch.push(slot, meta.len, meta.stride, meta.ecn.map_or(0, |mark| mark as u8));
            } else {
                add(&tally.dropped_inbound, 1);
            }
        }
        Ok(true)
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
