//! Records in a TCP stream (RFC 9329): a 16-bit length that counts itself, then the packet.
//!
//! A record once begun is finished, or nothing after it could be read; a record not begun waits
//! for the gate like any packet. What the system has taken it keeps repeating until the gateway
//! has it; so that this is little, the send buffer is small.

use crate::tunnel::batch::{InboundBatch, OutboundBatch};
use crate::tunnel::gate::Gate;
use crate::tunnel::tally::{Tally, add};
use crate::tunnel::wake::Wake;
use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The length field.
const LENGTH: usize = 2;

/// The stream to one gateway.
#[derive(Debug)]
pub struct StreamLink {
    stream: TcpStream,
    /// What is left of the record that was begun.
    begun: Mutex<Vec<u8>>,
    /// What came of a record that is not whole yet.
    held: Mutex<Vec<u8>>,
}

impl StreamLink {
    /// Takes over a stream whose prefix has been sent.
    ///
    /// # Errors
    /// The system's.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, begun: Mutex::default(), held: Mutex::default() })
    }

    /// Sends one record that is no packet of the tunnel: an IKE message behind its marker.
    ///
    /// # Errors
    /// The system's; `WouldBlock` when the stream takes nothing more. Then the message is lost, as
    /// a datagram could be, and its repetition will do.
    pub fn send_message(&self, message: &[u8]) -> io::Result<()> {
        let mut begun = self.begun();
        self.finish(&mut begun)?;
        self.write_record(message, &mut begun)
    }

    /// Sends the sealed packets of a batch as long as the gate lets them pass.
    pub fn send(&self, batch: &OutboundBatch, gate: &Gate, wake: &Wake, tally: &Tally) {
        // A run of one: records are written one by one, so that few octets follow a closing gate.
        let result = batch.runs(1, |run| {
            loop {
                let Some(passage) = gate.enter() else {
                    add(&tally.dropped_without_lease, 1);
                    return Ok(());
                };
                let mut begun = self.begun();
                match self.finish(&mut begun).and_then(|()| self.write_record(run.contents, &mut begun)) {
                    Ok(()) => {
                        add(&tally.packets_sent, 1);
                        add(&tally.bytes_sent, run.inner_octets);
                        return Ok(());
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => {
                        tracing::debug!(%error, "the stream takes nothing more");
                        add(&tally.dropped_outbound, 1);
                        return Err(());
                    }
                }
                drop(begun);
                drop(passage);
                if !self.wait_writable(wake) {
                    return Err(());
                }
            }
        });
        if result.is_err() {
            tracing::trace!("packets dropped at the stream");
        }
    }

    /// Receives what is there and cuts it into records. Returns false when nothing was there.
    ///
    /// # Errors
    /// The system's, the end of the stream, and a length that cannot be.
    pub fn receive(&self, batch: &mut InboundBatch) -> io::Result<bool> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let (front, room) = batch.buffer.split_at_mut_checked(held.len()).ok_or(io::ErrorKind::InvalidData)?;
        let received = match (&self.stream).read(room) {
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
            batch.push_at(at + LENGTH..at + length);
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

    fn begun(&self) -> MutexGuard<'_, Vec<u8>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what is left of the record that was begun.
    fn finish(&self, begun: &mut Vec<u8>) -> io::Result<()> {
        while !begun.is_empty() {
            let written = (&self.stream).write(begun)?;
            begun.drain(..written.min(begun.len()));
        }
        Ok(())
    }

    fn write_record(&self, body: &[u8], begun: &mut Vec<u8>) -> io::Result<()> {
        let length = u16::try_from(body.len() + LENGTH).map_err(|_| io::ErrorKind::InvalidInput)?.to_be_bytes();
        let written = (&self.stream).write_vectored(&[IoSlice::new(&length), IoSlice::new(body)])?;
        if written < body.len() + LENGTH {
            begun.extend(length.iter().chain(body).skip(written));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::tcp::{Deframer, frame_esp};
    use std::net::TcpListener;

    fn pair() -> (StreamLink, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (StreamLink::new(stream).unwrap(), listener.accept().unwrap().0)
    }

    #[test]
    fn records_are_cut_out_of_a_stream_that_comes_in_any_pieces() {
        let bodies: Vec<Vec<u8>> =
            (1..40_usize).map(|length| vec![u8::try_from(length).unwrap(); length * 37]).collect();
        let stream: Vec<u8> = bodies.iter().flat_map(|body| frame_esp(body).unwrap()).collect();
        let (link, mut peer) = pair();
        let mut batch = InboundBatch::new(4);
        let mut seen = Vec::new();
        for piece in stream.chunks(1013) {
            peer.write_all(piece).unwrap();
            loop {
                batch.start();
                if !link.receive(&mut batch).unwrap() {
                    break;
                }
                batch.open_each(|datagram, _| {
                    seen.push(datagram.to_vec());
                    None
                });
            }
        }
        while seen.len() < bodies.len() {
            batch.start();
            link.receive(&mut batch).unwrap();
            batch.open_each(|datagram, _| {
                seen.push(datagram.to_vec());
                None
            });
        }
        assert_eq!(seen, bodies);
        drop(peer);
        batch.start();
        while let Ok(false) = link.receive(&mut batch) {}
        assert!(link.receive(&mut batch).is_err(), "the end of the stream is an error");
    }

    #[test]
    fn a_record_once_begun_is_finished_before_the_next() {
        let (link, mut peer) = pair();
        let body = vec![7; 60_000];
        let mut sent = 0;
        // Until the stream is full and a record stays begun.
        while link.send_message(&body).is_ok() {
            sent += 1;
        }
        let reader = std::thread::spawn(move || {
            let mut deframer = Deframer::for_originator();
            let mut records = Vec::new();
            let mut buffer = vec![0; 65_536];
            loop {
                let received = peer.read(&mut buffer).unwrap();
                records.extend(deframer.push(&buffer[..received]).unwrap());
                if records.last().is_some_and(|record| record.len() == 5) {
                    return records;
                }
            }
        });
        while link.send_message(b"the e".as_slice()).is_err() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let records = reader.join().unwrap();
        assert_eq!(records.len(), sent + 1);
        assert!(records[..sent].iter().all(|record| *record == body));
    }
}
