//! Streams that are cut anywhere.

use super::*;
use crate::transport::tcp::{Deframer, frame_esp};
use crate::tunnel::clock;
use crate::tunnel::encapsulation::Layout;
use proptest::prelude::*;
use socket2::SockRef;
use std::net::TcpListener;
use std::time::Duration;

fn pair() -> (StreamLink, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (StreamLink::new(stream).unwrap(), listener.accept().unwrap().0)
}

/// A link whose system takes little at a time, so that records are cut.
fn narrow_pair() -> (StreamLink, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    SockRef::from(&listener).set_recv_buffer_size(4096).unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    SockRef::from(&stream).set_send_buffer_size(4096).unwrap();
    (StreamLink::new(stream).unwrap(), listener.accept().unwrap().0)
}

fn open_gate() -> Gate {
    let gate = Gate::new();
    gate.grant(clock::now() + Duration::from_secs(600));
    gate
}

fn batch_of(bodies: &[Vec<u8>]) -> OutboundBatch {
    let mut batch = OutboundBatch::new();
    batch.start(Layout::default());
    for body in bodies {
        batch.push(body.len(), 0).unwrap().copy_from_slice(body);
    }
    batch.seal_each(|_, _| true);
    batch
}

/// Reads records until one equals `last`, `piece` octets a call.
fn read_until(mut peer: TcpStream, last: &[u8], piece: usize) -> Vec<Vec<u8>> {
    peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut deframer = Deframer::for_originator();
    let mut records: Vec<Vec<u8>> = Vec::new();
    let mut buffer = vec![0; piece];
    while records.last().is_none_or(|record| record != last) {
        let received = peer.read(&mut buffer).unwrap();
        assert!(received > 0, "the stream ended early");
        records.extend(deframer.push(&buffer[..received]).unwrap());
    }
    records
}

fn received(link: &StreamLink, batch: &mut InboundBatch) -> Vec<Vec<u8>> {
    let mut seen = Vec::new();
    batch.start();
    if link.receive(batch).unwrap() {
        batch.open_each(|datagram, _| {
            seen.push(datagram.to_vec());
            None
        });
    }
    seen
}

#[test]
fn a_record_once_begun_is_finished_before_the_next() {
    let (link, peer) = pair();
    let body = vec![7; 60_000];
    let mut sent = 0;
    // Until the stream is full, a record stays begun and no more messages may wait.
    while link.send_message(&body).is_ok() {
        sent += 1;
    }
    assert!(link.keeps_messages());
    let reader = std::thread::spawn(move || read_until(peer, b"the e", 65_536));
    while link.send_message(b"the e").is_err() {
        let _ = link.flush();
        std::thread::yield_now();
    }
    while link.flush().is_err() {
        std::thread::yield_now();
    }
    let records = reader.join().unwrap();
    assert_eq!(records.len(), sent + 1);
    assert!(records[..sent].iter().all(|record| *record == body));
}

#[test]
fn a_message_does_not_wait_for_the_packets_of_a_full_stream() {
    let (link, peer) = narrow_pair();
    let bodies: Vec<Vec<u8>> = (0..170).map(|index| vec![index; 1400]).collect();
    let batch = batch_of(&bodies);
    let (gate, wake, tally) = (open_gate(), Wake::new().unwrap(), Tally::default());
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| link.send(&batch, &gate, &wake, &tally));
        // The stream is full with most of the batch still before it.
        while tally.read().packets_sent == 0 {
            std::thread::yield_now();
        }
        link.send_message(b"\0\0\0\0liveness").unwrap();
        let records = read_until(peer, bodies.last().unwrap(), 4096);
        sender.join().unwrap();
        let place = records.iter().position(|record| record == b"\0\0\0\0liveness").unwrap();
        assert!(place < 100, "the message is record {place} of {}", records.len());
        let packets: Vec<_> = records.into_iter().filter(|record| record.len() == 1400).collect();
        assert!(packets == bodies, "packets keep their order and none is lost");
    });
    assert_eq!(tally.read().packets_sent, 170);
}

#[test]
fn what_was_begun_is_finished_though_nothing_follows_and_the_gate_is_closed() {
    let (link, peer) = narrow_pair();
    let bodies: Vec<Vec<u8>> = (0..20).map(|index| vec![index; 10_000]).collect();
    let batch = batch_of(&bodies);
    let (gate, wake, tally) = (open_gate(), Wake::new().unwrap(), Tally::default());
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| link.send(&batch, &gate, &wake, &tally));
        while tally.read().packets_sent == 0 {
            std::thread::yield_now();
        }
        gate.revoke();
        link.send_message(b"\0\0\0\0delete").unwrap();
        let records = read_until(peer, b"\0\0\0\0delete", 4096);
        sender.join().unwrap();
        let sent = usize::try_from(tally.read().packets_sent).unwrap();
        assert_eq!(records.len(), sent + 1, "every packet that was begun arrives whole, and no other");
        assert!(records[..sent] == bodies[..sent]);
        assert_eq!(tally.read().dropped_without_lease, u64::try_from(bodies.len() - sent).unwrap());
    });
}

#[test]
fn the_end_of_the_stream_and_a_length_that_cannot_be_are_errors() {
    let mut batch = InboundBatch::new(4);
    let (link, peer) = pair();
    drop(peer);
    batch.start();
    while let Ok(false) = link.receive(&mut batch) {}
    assert!(link.receive(&mut batch).is_err());
    let (link, mut peer) = pair();
    peer.write_all(&[0, 2, 0, 3, 9, 0, 1]).unwrap();
    let outcome = loop {
        batch.start();
        match link.receive(&mut batch) {
            Ok(false) => std::thread::yield_now(),
            other => break other,
        }
    };
    assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::InvalidData);
}

/// Takes as much as it is told to at a time, as a full stream does.
struct Reluctant<'a> {
    takes: &'a mut std::vec::IntoIter<usize>,
    taken: &'a mut Vec<u8>,
}

impl Write for Reluctant<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(octets)])
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let most = self.takes.next().unwrap_or(usize::MAX);
        let octets: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).take(most).collect();
        self.taken.extend_from_slice(&octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn records_are_whole_however_little_the_system_takes(
        sizes in proptest::collection::vec(1_usize..3000, 1..200),
        takes in proptest::collection::vec(0_usize..5000, 0..300),
    ) {
        let bodies: Vec<Vec<u8>> =
            sizes.iter().zip(0_usize..).map(|(size, index)| vec![u8::try_from(index % 256).unwrap(); *size]).collect();
        let mut taken = Vec::new();
        let mut takes = takes.into_iter();
        let mut begun: Vec<u8> = Vec::new();
        let mut rest: Vec<(&[u8], usize)> = bodies.iter().map(|body| (body.as_slice(), body.len())).collect();
        while !rest.is_empty() || !begun.is_empty() {
            let mut stream = Reluctant { takes: &mut takes, taken: &mut taken };
            if begun.is_empty() {
                let group = &rest[..rest.len().min(RECORDS)];
                let started = write_records(&mut stream, group, &mut begun).unwrap();
                rest.drain(..started);
            } else {
                let written = stream.write(&begun).unwrap();
                begun.drain(..written);
            }
        }
        prop_assert_eq!(Deframer::for_originator().push(&taken).unwrap(), bodies);
    }

    #[test]
    fn records_are_cut_out_of_a_stream_that_comes_in_any_pieces(
        sizes in proptest::collection::vec(1_usize..9000, 1..40),
        pieces in proptest::collection::vec(1_usize..20_000, 1..60),
    ) {
        let bodies: Vec<Vec<u8>> =
            sizes.iter().zip(0_usize..).map(|(size, index)| vec![u8::try_from(index % 256).unwrap(); *size]).collect();
        let stream: Vec<u8> = bodies.iter().flat_map(|body| frame_esp(body).unwrap()).collect();
        let (link, mut peer) = pair();
        let mut batch = InboundBatch::new(4);
        let mut seen = Vec::new();
        let mut rest = stream.as_slice();
        for piece in pieces {
            let (now, later) = rest.split_at(piece.min(rest.len()));
            peer.write_all(now).unwrap();
            rest = later;
            seen.extend(received(&link, &mut batch));
        }
        peer.write_all(rest).unwrap();
        while seen.len() < bodies.len() {
            seen.extend(received(&link, &mut batch));
        }
        prop_assert_eq!(seen, bodies);
    }
}
