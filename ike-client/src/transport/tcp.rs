//! TCP: the stream prefix and length-framed records (RFC 9329).
//!
//! The originator sends [`STREAM_PREFIX`] once. Then both sides send records: a 16-bit length that
//! counts itself, then an IKE message behind the non-ESP marker, or an ESP packet. Bytes arrive in
//! pieces of any size; [`Deframer`] holds what is incomplete, and never more than one record.

use super::{Meaningless, NON_ESP_MARKER, Packet, classify};

/// What the originator of a connection sends first, once.
pub const STREAM_PREFIX: [u8; 6] = *b"IKETCP";

/// The most that one record can carry: the length field counts its own two bytes.
pub const MAX_RECORD_BODY: usize = 65_533;

/// Why a stream cannot go on: the framing is lost, the connection must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The stream does not start with [`STREAM_PREFIX`].
    #[error("the stream does not start with IKETCP")]
    BadPrefix,
    /// A record's length is less than the two bytes of the length field.
    #[error("a record's length field says {0}")]
    BadLength(u16),
}

/// A body that no record can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} bytes do not fit a record")]
pub struct RecordTooLong(pub usize);

/// Frames an IKE message.
///
/// # Errors
/// [`RecordTooLong`] when message and marker are longer than [`MAX_RECORD_BODY`].
pub fn frame_ike(message: &[u8]) -> Result<Vec<u8>, RecordTooLong> {
    frame(&[&NON_ESP_MARKER, message])
}

/// Frames an ESP packet.
///
/// # Errors
/// [`RecordTooLong`] when the packet is longer than [`MAX_RECORD_BODY`].
pub fn frame_esp(packet: &[u8]) -> Result<Vec<u8>, RecordTooLong> {
    frame(&[packet])
}

fn frame(parts: &[&[u8]]) -> Result<Vec<u8>, RecordTooLong> {
    let body = parts.concat();
    let length = body.len().checked_add(2).and_then(|total| u16::try_from(total).ok());
    let length = length.ok_or(RecordTooLong(body.len()))?;
    Ok([&length.to_be_bytes()[..], &body].concat())
}

/// Cuts a stream of bytes back into records.
#[derive(Debug)]
pub struct Deframer {
    expect_prefix: bool,
    buffered: Vec<u8>,
    failed: Option<StreamError>,
}

impl Deframer {
    /// Makes the reader of the side that accepted the connection: the prefix comes first.
    pub const fn for_responder() -> Self {
        Self { expect_prefix: true, buffered: Vec::new(), failed: None }
    }

    /// Makes the reader of the side that opened the connection: records come at once.
    pub const fn for_originator() -> Self {
        Self { expect_prefix: false, buffered: Vec::new(), failed: None }
    }

    /// Returns how many bytes of an incomplete record are held.
    pub const fn buffered(&self) -> usize {
        self.buffered.len()
    }

    /// Takes the next bytes of the stream and returns every record body that is now complete.
    /// [`packet`] tells what a body carries.
    ///
    /// # Errors
    /// [`StreamError`] when the framing is lost; every later call returns the same error.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, StreamError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.buffered.extend_from_slice(bytes);
        self.cut().inspect_err(|error| {
            self.failed = Some(*error);
            self.buffered = Vec::new();
        })
    }

    fn cut(&mut self) -> Result<Vec<Vec<u8>>, StreamError> {
        let mut records = Vec::new();
        let mut rest = self.buffered.as_slice();
        if self.expect_prefix {
            let seen = rest.len().min(STREAM_PREFIX.len());
            if rest.get(..seen) != STREAM_PREFIX.get(..seen) {
                return Err(StreamError::BadPrefix);
            }
            let Some((_, after)) = rest.split_first_chunk::<6>() else { return Ok(records) };
            self.expect_prefix = false;
            rest = after;
        }
        while let Some((length, after)) = rest.split_first_chunk::<2>() {
            let stated = u16::from_be_bytes(*length);
            let body = usize::from(stated).checked_sub(2).ok_or(StreamError::BadLength(stated))?;
            let Some((body, after)) = after.split_at_checked(body) else { break };
            records.push(body.to_vec());
            rest = after;
        }
        let keep_from = self.buffered.len().saturating_sub(rest.len());
        self.buffered.drain(..keep_from);
        Ok(records)
    }
}

/// Tells what a record's body carries.
///
/// # Errors
/// [`Meaningless`] when it carries nothing of ours; the stream itself is still in order.
pub fn packet(body: &[u8]) -> Result<Packet<'_>, Meaningless> {
    // RFC 9329 §9: keepalives of UDP have no place in TCP, but a peer may send one; it is ignored.
    if body == super::udp::KEEPALIVE {
        return Ok(Packet::Keepalive);
    }
    classify(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_length_counts_itself_and_ike_has_the_marker() {
        assert_eq!(frame_ike(b"abc").unwrap(), [0, 9, 0, 0, 0, 0, b'a', b'b', b'c']);
        assert_eq!(frame_esp(&[1, 2, 3, 4, 5, 6, 7, 8]).unwrap(), [0, 10, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(packet(&[0, 0, 0, 0, 7]), Ok(Packet::Ike(&[7])));
        assert_eq!(packet(&[1, 2, 3, 4, 5, 6, 7, 8]), Ok(Packet::Esp(&[1, 2, 3, 4, 5, 6, 7, 8])));
        assert_eq!(packet(&[0xff]), Ok(Packet::Keepalive));
        assert_eq!(packet(&[]), Err(Meaningless(0)));
    }

    #[test]
    fn a_body_of_65533_bytes_is_the_longest() {
        assert_eq!(frame_esp(&vec![1; MAX_RECORD_BODY]).unwrap()[..2], [0xff, 0xff]);
        assert_eq!(frame_esp(&vec![1; MAX_RECORD_BODY + 1]), Err(RecordTooLong(MAX_RECORD_BODY + 1)));
        assert!(frame_ike(&vec![1; MAX_RECORD_BODY - 4]).is_ok());
        assert!(frame_ike(&vec![1; MAX_RECORD_BODY - 3]).is_err());
    }

    #[test]
    fn a_stream_without_the_prefix_is_refused_at_its_first_wrong_byte() {
        let mut deframer = Deframer::for_responder();
        assert_eq!(deframer.push(b"IKE"), Ok(vec![]));
        assert_eq!(deframer.push(b"X"), Err(StreamError::BadPrefix));
        assert_eq!(deframer.push(b"IKETCP"), Err(StreamError::BadPrefix), "and stays refused");
    }

    #[test]
    fn a_length_below_two_loses_the_stream_and_two_is_an_empty_record() {
        assert_eq!(Deframer::for_originator().push(&[0, 1]), Err(StreamError::BadLength(1)));
        assert_eq!(Deframer::for_originator().push(&[0, 2, 0, 3, 9]), Ok(vec![vec![], vec![9]]));
    }

    proptest! {
        #[test]
        fn records_arrive_whole_however_the_stream_is_cut(
            bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..8),
            cuts in proptest::collection::vec(1usize..20, 1..60),
        ) {
            let mut stream = STREAM_PREFIX.to_vec();
            for body in &bodies {
                stream.extend(frame_esp(body).unwrap());
            }
            let mut deframer = Deframer::for_responder();
            let mut seen = Vec::new();
            let mut rest = stream.as_slice();
            for cut in cuts.iter().cycle() {
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                seen.extend(deframer.push(piece).unwrap());
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(seen, bodies);
            prop_assert_eq!(deframer.buffered(), 0);
        }

        #[test]
        fn noise_never_panics(noise in proptest::collection::vec(any::<u8>(), 0..300), responder in any::<bool>()) {
            let mut deframer = if responder { Deframer::for_responder() } else { Deframer::for_originator() };
            for piece in noise.chunks(7) {
                let _ = deframer.push(piece);
            }
            prop_assert!(deframer.buffered() <= 65_535);
        }
    }
}
