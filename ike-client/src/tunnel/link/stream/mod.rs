//! Records in a TCP stream (RFC 9329): a 16-bit length that counts itself, then the packet.
//!
//! A batch leaves by one call: lengths and packets are handed to the system where they lie. A record
//! once begun is finished, or nothing after it could be read; a record not begun waits for the gate
//! like any packet. IKE messages go before packets that wait, behind the record that was begun at
//! most. What the system has taken it keeps repeating until the gateway has it; so that this is
//! little, the system takes little that it cannot send at once.

#[cfg(test)]
mod tests;

use crate::tunnel::batch::{InboundBatch, OutboundBatch};
use crate::tunnel::gate::Gate;
use crate::tunnel::tally::{Tally, add};
use crate::tunnel::wake::Wake;
use std::collections::VecDeque;
use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The length field.
const LENGTH: usize = 2;
/// The records that one call writes at most.
const RECORDS: usize = 64;
/// The octets that one call reads at most: many records, and no more than are soon opened.
const READ: usize = 256 * 1024;
/// The IKE messages that wait for room in the stream; one more is lost, as a datagram could be.
const WAITING: usize = 8;

/// The stream to one gateway.
#[derive(Debug)]
pub struct StreamLink {
    stream: TcpStream,
    sending: Mutex<Sending>,
    /// What came of a record that is not whole yet.
    held: Mutex<Vec<u8>>,
}

/// What is to be sent before any packet.
#[derive(Debug, Default)]
struct Sending {
    /// What is left of the record that was begun.
    begun: Vec<u8>,
    /// IKE messages.
    messages: VecDeque<Vec<u8>>,
}

impl StreamLink {
    /// Takes over a stream whose prefix has been sent.
    ///
    /// # Errors
    /// The system's.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, sending: Mutex::default(), held: Mutex::default() })
    }

    /// Sends one record that is no packet of the tunnel: an IKE message behind its marker. Where the
    /// stream takes nothing at the moment the message waits for [`Self::flush`].
    ///
    /// # Errors
    /// The system's; `WouldBlock` when too many wait. Then the message is lost, and its repetition
    /// will do.
    pub fn send_message(&self, message: &[u8]) -> io::Result<()> {
        let mut sending = self.sending();
        if sending.messages.len() >= WAITING {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        sending.messages.push_back(message.to_vec());
        match self.advance(&mut sending) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            advanced => advanced,
        }
    }

    /// Returns whether IKE messages wait for room in the stream.
    pub fn keeps_messages(&self) -> bool {
        !self.sending().messages.is_empty()
    }

    /// Sends what waits.
    ///
    /// # Errors
    /// The system's; `WouldBlock` when something still waits.
    pub fn flush(&self) -> io::Result<()> {
        self.advance(&mut self.sending())
    }

    /// Sends the sealed packets of a batch as long as the gate lets them pass.
    pub fn send(&self, batch: &OutboundBatch, gate: &Gate, wake: &Wake, tally: &Tally) {
        let mut packets = batch.sealed();
        let mut group: [(&[u8], usize); RECORDS] = [(&[], 0); RECORDS];
        loop {
            let mut count = 0;
            for (place, packet) in group.iter_mut().zip(packets.by_ref()) {
                *place = packet;
                count += 1;
            }
            let group = group.get(..count).unwrap_or_default();
            if group.is_empty() || !self.send_group(group, gate, wake, tally) {
                return;
            }
        }
    }

    /// Sends packets and what is left of the last of them. Returns false when nothing more is to be
    /// sent.
    fn send_group(&self, mut group: &[(&[u8], usize)], gate: &Gate, wake: &Wake, tally: &Tally) -> bool {
        loop {
            let passage = gate.enter();
            if passage.is_none() {
                add(&tally.dropped_without_lease, group.len());
                group = &[];
            }
            let mut sending = self.sending();
            let outcome =
                self.advance(&mut sending).and_then(|()| write_records(&self.stream, group, &mut sending.begun));
            match outcome {
                Ok(begun) => {
                    let (sent, rest) = group.split_at_checked(begun).unwrap_or((group, &[]));
                    add(&tally.packets_sent, sent.len());
                    add(&tally.bytes_sent, sent.iter().map(|(_, inner)| inner).sum());
                    group = rest;
                    if group.is_empty() && sending.begun.is_empty() {
                        return true;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::debug!(%error, "the stream takes nothing more");
                    add(&tally.dropped_outbound, group.len());
                    return false;
                }
            }
            drop(sending);
            drop(passage);
            if !self.wait_writable(wake) {
                return false;
            }
        }
    }

    /// Receives what is there and cuts it into records. Returns false when nothing was there.
    ///
    /// # Errors
    /// The system's, the end of the stream, and a length that cannot be.
    pub fn receive(&self, batch: &mut InboundBatch) -> io::Result<bool> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let (front, room) = batch.buffer.split_at_mut_checked(held.len()).ok_or(io::ErrorKind::InvalidData)?;
        let most = room.len().min(READ);
        let received = match (&self.stream).read(room.get_mut(..most).unwrap_or_default()) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(true),
            Err(error) => return Err(error),
        };
        front.copy_from_slice(&held);
        let end = held.len() + received;
        let mut at = 0;
        while let Some(whole) = batch.buffer.get(at..end) {
            let Some(length) = whole.first_chunk::<LENGTH>() else { break };
            let length = usize::from(u16::from_be_bytes(*length));
            if length < LENGTH {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the gateway's stream has lost its records"));
            }
            if whole.len() < length {
                break;
            }
            // A record of nothing is nothing.
            if length > LENGTH {
                batch.push_at(at + LENGTH..at + length);
            }
            at += length;
        }
        held.clear();
        held.extend_from_slice(batch.buffer.get(at..end).unwrap_or_default());
        Ok(true)
    }

    /// Waits until something can be received. Returns false when woken to end.
    ///
    /// # Errors
    /// The system's.
    #[cfg(unix)]
    pub fn wait(&self, wake: &Wake) -> io::Result<bool> {
        use std::os::fd::AsFd;
        wake.wait_readable(self.stream.as_fd())
    }

    /// Waits a little for something to be received. Returns false when woken to end.
    ///
    /// # Errors
    /// The system's.
    #[cfg(not(unix))]
    pub fn wait(&self, wake: &Wake) -> io::Result<bool> {
        self.stream.set_nonblocking(false)?;
        self.stream.set_read_timeout(Some(std::time::Duration::from_millis(100)))?;
        // Peeking waits without taking; whatever it says, receiving finds out.
        let _ = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(true)?;
        Ok(!wake.is_set())
    }

    #[cfg(unix)]
    fn wait_writable(&self, wake: &Wake) -> bool {
        use std::os::fd::AsFd;
        wake.wait_writable(self.stream.as_fd()).unwrap_or(false)
    }

    #[cfg(not(unix))]
    fn wait_writable(&self, wake: &Wake) -> bool {
        std::thread::sleep(std::time::Duration::from_millis(1));
        !wake.is_set()
    }

    fn sending(&self) -> MutexGuard<'_, Sending> {
        self.sending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what is left of the record that was begun, then the messages that wait.
    fn advance(&self, Sending { begun, messages }: &mut Sending) -> io::Result<()> {
        loop {
            while !begun.is_empty() {
                let written = (&self.stream).write(begun)?;
                begun.drain(..written.min(begun.len()));
            }
            let Some(message) = messages.front() else { return Ok(()) };
            // Only what has begun may not be repeated: a message stays as long as nothing of it went.
            write_records(&self.stream, &[(message.as_slice(), 0)], begun)?;
            messages.pop_front();
        }
    }
}

/// Writes records by one call; returns how many were begun. What is left of the last of those goes to
/// `begun`, which must be empty.
fn write_records(mut stream: impl Write, bodies: &[(&[u8], usize)], begun: &mut Vec<u8>) -> io::Result<usize> {
    if bodies.is_empty() {
        return Ok(0);
    }
    let mut lengths = [[0; LENGTH]; RECORDS];
    for (length, (body, _)) in lengths.iter_mut().zip(bodies) {
        *length = u16::try_from(body.len() + LENGTH).map_err(|_| io::ErrorKind::InvalidInput)?.to_be_bytes();
    }
    let mut parts = [IoSlice::new(&[]); 2 * RECORDS];
    for (pair, (length, (body, _))) in parts.chunks_exact_mut(2).zip(lengths.iter().zip(bodies)) {
        if let [first, second] = pair {
            (*first, *second) = (IoSlice::new(length), IoSlice::new(body));
        }
    }
    let bodies = bodies.get(..RECORDS).unwrap_or(bodies);
    let mut written = stream.write_vectored(parts.get(..2 * bodies.len()).unwrap_or_default())?;
    for (index, (length, (body, _))) in lengths.iter().zip(bodies).enumerate() {
        let record = LENGTH + body.len();
        if written == 0 {
            return Ok(index);
        }
        if written < record {
            begun.extend(length.iter().chain(*body).skip(written));
        }
        written = written.saturating_sub(record);
    }
    Ok(bodies.len())
}
