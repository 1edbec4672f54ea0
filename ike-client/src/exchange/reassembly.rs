//! Fragments that came until their message is whole (RFC 7383 §2.6).
//!
//! Only what has passed its integrity check comes in here: an attacker without keys cannot occupy
//! anything. What a peer with keys can occupy is bounded before it is stored: one message a
//! direction, [`MAXIMUM_FRAGMENTS`] pieces, [`MAXIMUM_OCTETS`] in all, [`LIFETIME`] from the first
//! piece.

use crate::time::Timestamp;
use crate::wire::PayloadType;
use std::time::Duration;
use zeroize::Zeroizing;

/// The most fragments a message may have. 64 of 1200 octets hold any message of this client's size.
pub const MAXIMUM_FRAGMENTS: u16 = 64;
/// The most octets a reassembled message may have inside.
pub const MAXIMUM_OCTETS: usize = 64 * 1024;
/// How long fragments wait for the missing ones.
pub const LIFETIME: Duration = Duration::from_secs(30);

/// The opened content of one fragment, with what its header says.
#[derive(Debug)]
pub struct Fragment {
    /// The message it belongs to.
    pub message_id: u32,
    /// Its place, counted from 1.
    pub number: u16,
    /// How many there are.
    pub total: u16,
    /// The type of the first payload inside; only the first fragment carries it.
    pub first_payload: PayloadType,
    /// Its share of the content.
    pub content: Zeroizing<Vec<u8>>,
}

/// The content of a message that is whole.
#[derive(Debug, PartialEq, Eq)]
pub struct Whole {
    /// The type of the first payload inside.
    pub first_payload: PayloadType,
    /// The payload chain.
    pub content: Zeroizing<Vec<u8>>,
}

/// What became of a fragment.
#[derive(Debug, PartialEq, Eq)]
pub enum Placed {
    /// It was the last one missing.
    Complete(Whole),
    /// Others are missing.
    Incomplete,
    /// It is of no use: a repetition, out of bounds, or of an older cut of the same message.
    Dropped,
}

/// The one message of one direction that is being put together.
#[derive(Debug, Default)]
pub struct Reassembly {
    partial: Option<Partial>,
}

#[derive(Debug)]
struct Partial {
    message_id: u32,
    first_payload: PayloadType,
    pieces: Vec<Option<Zeroizing<Vec<u8>>>>,
    octets: usize,
    expires: Timestamp,
}

impl Reassembly {
    /// Returns when the pieces at hand are to be dropped by [`Self::expire`].
    pub fn deadline(&self) -> Option<Timestamp> {
        self.partial.as_ref().map(|partial| partial.expires)
    }

    /// Drops the pieces at hand when their time is over.
    pub fn expire(&mut self, now: Timestamp) {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.partial = None;
        }
    }

    /// Drops the pieces at hand.
    pub fn clear(&mut self) {
        self.partial = None;
    }

    /// Takes an authentic fragment of the message that is awaited.
    pub fn place(&mut self, fragment: Fragment, now: Timestamp) -> Placed {
        let Fragment { message_id, number, total, first_payload, content } = fragment;
        if number == 0 || number > total || total > MAXIMUM_FRAGMENTS {
            return Placed::Dropped;
        }
        let wanted = usize::from(total);
        let fits = match &self.partial {
            Some(partial) if partial.message_id == message_id => {
                if wanted < partial.pieces.len() {
                    return Placed::Dropped;
                }
                wanted == partial.pieces.len()
            }
            _ => false,
        };
        if !fits {
            // Another message, or the same one cut into more and smaller pieces: start anew.
            self.partial = None;
        }
        let partial = self.partial.get_or_insert_with(|| Partial {
            message_id,
            first_payload: PayloadType::NONE,
            pieces: vec![None; wanted],
            octets: 0,
            expires: now + LIFETIME,
        });
        let Some(place) = partial.pieces.get_mut(usize::from(number) - 1) else { return Placed::Dropped };
        if place.is_some() || partial.octets.saturating_add(content.len()) > MAXIMUM_OCTETS {
            return Placed::Dropped;
        }
        partial.octets += content.len();
        *place = Some(content);
        if number == 1 {
            partial.first_payload = first_payload;
        }
        if partial.pieces.iter().any(Option::is_none) {
            return Placed::Incomplete;
        }
        match self.partial.take() {
            Some(partial) => Placed::Complete(partial.join()),
            None => Placed::Dropped,
        }
    }
}

impl Partial {
    fn join(self) -> Whole {
        let mut content = Zeroizing::new(Vec::with_capacity(self.octets));
        for piece in self.pieces.into_iter().flatten() {
            content.extend_from_slice(&piece);
        }
        Whole { first_payload: self.first_payload, content }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment(message_id: u32, number: u16, total: u16, content: &[u8]) -> Fragment {
        let first_payload = if number == 1 { PayloadType::NONCE } else { PayloadType::NONE };
        Fragment { message_id, number, total, first_payload, content: Zeroizing::new(content.to_vec()) }
    }

    fn whole(content: &[u8]) -> Placed {
        Placed::Complete(Whole { first_payload: PayloadType::NONCE, content: Zeroizing::new(content.to_vec()) })
    }

    const NOW: Timestamp = Timestamp::ZERO;

    #[test]
    fn fragments_in_any_order_and_twice_make_one_message() {
        let mut reassembly = Reassembly::default();
        assert_eq!(reassembly.place(fragment(1, 3, 3, b"ef"), NOW), Placed::Incomplete);
        assert_eq!(reassembly.place(fragment(1, 1, 3, b"ab"), NOW), Placed::Incomplete);
        assert_eq!(reassembly.place(fragment(1, 1, 3, b"xx"), NOW), Placed::Dropped);
        assert_eq!(reassembly.place(fragment(1, 2, 3, b"cd"), NOW), whole(b"abcdef"));
        assert_eq!(reassembly.deadline(), None);
    }

    #[test]
    fn a_finer_cut_replaces_a_coarser_one_and_not_the_other_way_round() {
        let mut reassembly = Reassembly::default();
        assert_eq!(reassembly.place(fragment(1, 1, 2, b"abc"), NOW), Placed::Incomplete);
        assert_eq!(reassembly.place(fragment(1, 1, 3, b"ab"), NOW), Placed::Incomplete);
        assert_eq!(reassembly.place(fragment(1, 2, 2, b"def"), NOW), Placed::Dropped);
        assert_eq!(reassembly.place(fragment(1, 2, 3, b"cd"), NOW), Placed::Incomplete);
        assert_eq!(reassembly.place(fragment(1, 3, 3, b"ef"), NOW), whole(b"abcdef"));
    }

    #[test]
    fn places_and_counts_that_cannot_be_are_dropped() {
        let mut reassembly = Reassembly::default();
        for (number, total) in [(0, 3), (4, 3), (1, 0), (0, 0), (1, MAXIMUM_FRAGMENTS + 1), (u16::MAX, u16::MAX)] {
            assert_eq!(reassembly.place(fragment(1, number, total, b"x"), NOW), Placed::Dropped);
            assert_eq!(reassembly.deadline(), None);
        }
    }

    #[test]
    fn what_is_stored_is_bounded() {
        let mut reassembly = Reassembly::default();
        let half = vec![0; MAXIMUM_OCTETS / 2];
        assert_eq!(reassembly.place(fragment(1, 1, 3, &half), NOW), Placed::Incomplete);
        assert_eq!(reassembly.place(fragment(1, 2, 3, &half), NOW), Placed::Incomplete);
        assert_eq!(reassembly.place(fragment(1, 3, 3, b"x"), NOW), Placed::Dropped);
    }

    #[test]
    fn fragments_do_not_wait_for_ever() {
        let mut reassembly = Reassembly::default();
        assert_eq!(reassembly.place(fragment(1, 1, 2, b"ab"), NOW), Placed::Incomplete);
        reassembly.expire(NOW + LIFETIME / 2);
        assert!(reassembly.deadline().is_some());
        reassembly.expire(NOW + LIFETIME);
        assert_eq!(reassembly.deadline(), None);
        assert_eq!(reassembly.place(fragment(1, 2, 2, b"cd"), NOW), Placed::Incomplete);
    }
}
