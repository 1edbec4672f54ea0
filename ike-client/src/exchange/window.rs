//! Message ids of one IKE SA (RFC 7296 §2.1–§2.3), window size one both ways.
//!
//! A request that comes again is answered by the very octets of the first answer; a response that
//! comes again, or a number that is neither the next nor the last, is of no use.

use super::retransmission::{Repetition, RetransmissionPolicy, Retransmitter};
use crate::crypto::hash::Digest;
use crate::time::Timestamp;

/// The own requests: which response is awaited.
#[derive(Debug)]
pub struct OutgoingWindow {
    next: Option<u32>,
    pending: Option<PendingRequest>,
}

/// A request that has no response yet.
#[derive(Debug)]
struct PendingRequest {
    message_id: u32,
    datagrams: Vec<Vec<u8>>,
    /// The same in smaller pieces; nothing: it is small anyway.
    smaller: Vec<Vec<u8>>,
    retransmitter: Retransmitter,
}

/// What is due for the request that has no response yet.
#[derive(Debug, PartialEq, Eq)]
pub enum Due<'a> {
    /// Nothing.
    Nothing,
    /// These datagrams are to be sent again.
    Repeat(&'a [Vec<u8>]),
    /// The peer is to be given up.
    GivenUp,
}

impl OutgoingWindow {
    /// Starts with the message id of the first request.
    pub const fn new(first: u32) -> Self {
        Self { next: Some(first), pending: None }
    }

    /// Returns the message id of the next request; none while a response is awaited, and none when
    /// all numbers are used up (then the IKE SA must be replaced, RFC 7296 §2.2).
    pub fn free(&self) -> Option<u32> {
        if self.pending.is_some() { None } else { self.next }
    }

    /// Tells whether a response is awaited.
    pub const fn is_waiting(&self) -> bool {
        self.pending.is_some()
    }

    /// Returns the message id whose response is awaited.
    pub fn awaited(&self) -> Option<u32> {
        self.pending.as_ref().map(|pending| pending.message_id)
    }

    /// Notes that the request with the free message id was sent at `now` as these datagrams.
    pub fn sent(&mut self, datagrams: Vec<Vec<u8>>, policy: RetransmissionPolicy, now: Timestamp) {
        if let Some(message_id) = self.free() {
            let retransmitter = Retransmitter::start(policy, now);
            self.pending = Some(PendingRequest { message_id, datagrams, smaller: Vec::new(), retransmitter });
            self.next = message_id.checked_add(1);
        }
    }

    /// Takes the request that was sent in smaller pieces too (RFC 7383 §2.5.2): every second repetition goes
    /// out as these, for the path may swallow the larger ones. The others stay, because a peer that has put
    /// those together knows them again.
    pub fn sent_smaller(&mut self, datagrams: Vec<Vec<u8>>) {
        if let Some(pending) = &mut self.pending {
            pending.smaller = datagrams;
        }
    }

    /// Notes that the awaited response came.
    pub fn answered(&mut self) {
        self.pending = None;
    }

    /// Starts the repetition anew, as if the request had been sent for the first time at `now`;
    /// returns its datagrams.
    pub fn restart(&mut self, now: Timestamp) -> &[Vec<u8>] {
        match &mut self.pending {
            Some(pending) => {
                pending.retransmitter.restart(now);
                &pending.datagrams
            }
            None => &[],
        }
    }

    /// Stops waiting for the awaited response; returns the request's datagrams.
    pub fn abandon(&mut self) -> Vec<Vec<u8>> {
        self.pending.take().map(|pending| pending.datagrams).unwrap_or_default()
    }

    /// Returns when [`Self::due`] wants to be called.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.pending.as_ref().map(|pending| pending.retransmitter.deadline())
    }

    /// Tells what is due at `now`, and counts it as done.
    #[must_use]
    pub fn due(&mut self, now: Timestamp) -> Due<'_> {
        let Some(pending) = &mut self.pending else { return Due::Nothing };
        match pending.retransmitter.advance(now) {
            Repetition::NotYet => Due::Nothing,
            Repetition::Again if pending.retransmitter.transmissions() % 2 == 1 && !pending.smaller.is_empty() => {
                Due::Repeat(&pending.smaller)
            }
            Repetition::Again => Due::Repeat(&pending.datagrams),
            Repetition::GivenUp => Due::GivenUp,
        }
    }
}

/// The peer's requests: which one is new, and the last answer.
#[derive(Debug)]
pub struct IncomingWindow {
    next: Option<u32>,
    last: Option<LastAnswer>,
}

#[derive(Debug)]
struct LastAnswer {
    message_id: u32,
    request: Vec<u8>,
    datagrams: Vec<Vec<u8>>,
}

/// What a request's message id says about it.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// It is the next one.
    New,
    /// It is the last one again: to be answered by these very datagrams.
    Repeated(&'a [Vec<u8>]),
    /// It is of no use.
    Outside,
}

impl IncomingWindow {
    /// Starts with the message id of the peer's first request.
    pub const fn new(first: u32) -> Self {
        Self { next: Some(first), last: None }
    }

    /// Judges a datagram that claims to be a request, before anything in it was verified.
    ///
    /// Of a request that came in fragments only the first fragment is known again, so that a
    /// repetition is answered once (RFC 7383 §2.6.1).
    pub fn classify(&self, message_id: u32, datagram: &[u8]) -> Incoming<'_> {
        if self.next == Some(message_id) {
            return Incoming::New;
        }
        match &self.last {
            Some(last) if last.message_id == message_id && last.request == fingerprint(datagram) => {
                Incoming::Repeated(&last.datagrams)
            }
            _ => Incoming::Outside,
        }
    }

    /// Notes that the request was answered by these datagrams. `request` is the datagram that
    /// [`Self::classify`] is to know again.
    pub fn answered(&mut self, message_id: u32, request: &[u8], datagrams: Vec<Vec<u8>>) {
        self.next = message_id.checked_add(1);
        self.last = Some(LastAnswer { message_id, request: fingerprint(request), datagrams });
    }
}

fn fingerprint(datagram: &[u8]) -> Vec<u8> {
    Digest::Sha256.of(&[datagram]).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn one_request_is_under_way_at_a_time() {
        let mut window = OutgoingWindow::new(2);
        assert_eq!(window.free(), Some(2));
        window.sent(vec![b"request".to_vec()], RetransmissionPolicy::default(), Timestamp::ZERO);
        assert_eq!((window.free(), window.awaited()), (None, Some(2)));
        window.answered();
        assert_eq!((window.free(), window.awaited()), (Some(3), None));
    }

    #[test]
    fn a_request_is_repeated_octet_by_octet() {
        let mut window = OutgoingWindow::new(0);
        window.sent(vec![b"one".to_vec(), b"two".to_vec()], RetransmissionPolicy::default(), Timestamp::ZERO);
        let deadline = window.deadline().unwrap();
        assert_eq!(window.due(Timestamp::ZERO), Due::Nothing);
        assert_eq!(window.due(deadline), Due::Repeat(&[b"one".to_vec(), b"two".to_vec()]));
        assert_eq!(window.due(deadline + Duration::from_secs(3600)), Due::Repeat(&[b"one".to_vec(), b"two".to_vec()]));
    }

    #[test]
    fn every_second_repetition_goes_in_smaller_pieces_where_there_are_any() {
        let mut window = OutgoingWindow::new(0);
        let (large, small) = (vec![b"onetwo".to_vec()], vec![b"one".to_vec(), b"two".to_vec()]);
        window.sent(large.clone(), RetransmissionPolicy::default(), Timestamp::ZERO);
        window.sent_smaller(small.clone());
        for expected in [&large, &small, &large, &small, &large] {
            let deadline = window.deadline().unwrap();
            assert_eq!(window.due(deadline), Due::Repeat(expected));
        }
        window.answered();
        window.sent(large.clone(), RetransmissionPolicy::default(), Timestamp::ZERO);
        for _ in 0..4 {
            let deadline = window.deadline().unwrap();
            assert_eq!(window.due(deadline), Due::Repeat(&large), "those were of the request before");
        }
    }

    #[test]
    fn numbers_do_not_wrap() {
        let mut window = OutgoingWindow::new(u32::MAX);
        window.sent(Vec::new(), RetransmissionPolicy::default(), Timestamp::ZERO);
        window.answered();
        assert_eq!(window.free(), None);
        let mut window = IncomingWindow::new(u32::MAX);
        window.answered(u32::MAX, b"request", Vec::new());
        assert_eq!(window.classify(0, b"request"), Incoming::Outside);
    }

    #[test]
    fn a_repeated_request_gets_the_cached_answer_and_a_changed_one_gets_none() {
        let mut window = IncomingWindow::new(0);
        assert_eq!(window.classify(0, b"request"), Incoming::New);
        window.answered(0, b"request", vec![b"answer".to_vec()]);
        assert_eq!(window.classify(0, b"request"), Incoming::Repeated(&[b"answer".to_vec()]));
        assert_eq!(window.classify(0, b"requesT"), Incoming::Outside);
        assert_eq!(window.classify(1, b"next"), Incoming::New);
        assert_eq!(window.classify(2, b"too far"), Incoming::Outside);
    }
}
