//! What authorities have said before: answers about revocation that were fetched, believed, and have not run out.
//!
//! A tunnel that is made anew need not ask again, which counts most where asking is hard: behind the block of a lost
//! tunnel, in a network without a way out, before a responder that is gone.
//!
//! Into a [`Memory`] goes only what was held against a certificate and believed ([`learnt`](super::learnt)). Out of it
//! comes [`Known`], which stands beside what the profile has and the gateway sends, and is held against the certificate
//! as that is, signature and all: whoever changed a memory could make a tunnel ask anew and no certificate good. An
//! answer is known until the authority's own next update, and for [`MOST_AGE`] at most, by the wall clock and by the
//! clock that nobody sets; one that does not say when the next update comes is never kept (RFC 6960 §4.2.2.1: there
//! may be a newer one at any time). That a certificate was revoked is kept as well.

use super::revocation::{Link, SKEW};
use crate::auth::certificate::crl;
use crate::time::Timestamp;
use ring::digest;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How long an answer is known at most, whatever its authority says.
pub const MOST_AGE: Duration = Duration::from_secs(12 * 3600);
/// How many answers are kept, and how many octets they may have together.
const MOST_ANSWERS: usize = 32;
const MOST_OCTETS: usize = 4 << 20;

/// Which question an answer answers.
type About = [u8; 32];

/// An answer that was believed.
#[derive(Clone, PartialEq, Eq)]
pub struct KnownAnswer {
    about: About,
    pub(super) said: Said,
    /// When it was believed first, and until when its authority lets it stand, in seconds since 1970.
    learnt: u64,
    until: u64,
}

/// What was said, DER.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Said {
    Response(Vec<u8>),
    List(Vec<u8>),
}

/// What is known at some moment. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known(Vec<Arc<KnownAnswer>>);

/// Keeps answers from one session to the next.
#[derive(Debug, Default)]
pub struct Memory {
    /// The oldest first, each with the moment from which on it is unknown whatever the wall clock says.
    answers: VecDeque<(Arc<KnownAnswer>, Timestamp)>,
}

impl KnownAnswer {
    /// Makes one of an OCSP response or a list that was just believed of `link`; none where it does not stand beyond
    /// `now`.
    pub(super) fn new(said: Said, link: &Link<'_>, until: Option<u64>, now: u64) -> Option<Self> {
        let until = until?.min(now.saturating_add(MOST_AGE.as_secs()));
        let about = match said {
            Said::Response(_) => about_response(link),
            Said::List(_) => about_lists(link),
        };
        (now < until).then_some(Self { about, said, learnt: now, until })
    }

    /// Tells whether the wall clock lets it count: neither has its time run out, nor was the clock set back to before
    /// it was learnt.
    const fn stands(&self, now: u64) -> bool {
        now < self.until && self.learnt <= now.saturating_add(SKEW)
    }

    const fn octets(&self) -> usize {
        match &self.said {
            Said::Response(octets) | Said::List(octets) => octets.len(),
        }
    }
}

impl fmt::Debug for KnownAnswer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.said {
            Said::Response(_) => "response",
            Said::List(_) => "list",
        };
        formatter.debug_struct("KnownAnswer").field("kind", &kind).field("until", &self.until).finish_non_exhaustive()
    }
}

impl Known {
    /// Returns what may say something of the link's certificate at `now`, in seconds since 1970.
    pub(super) fn of(&self, link: &Link<'_>, now: u64) -> Vec<&KnownAnswer> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let about = [about_response(link), about_lists(link)];
        self.0.iter().map(Arc::as_ref).filter(|answer| about.contains(&answer.about) && answer.stands(now)).collect()
    }
}

impl Memory {
    /// Keeps an answer in the place of the one that it follows. What is oldest goes where there is no room.
    pub fn learn(&mut self, answer: KnownAnswer, now: Timestamp) {
        if answer.octets() > MOST_OCTETS {
            return;
        }
        let stands = Duration::from_secs(answer.until.saturating_sub(answer.learnt));
        self.answers.retain(|(other, until)| other.about != answer.about && now < *until);
        self.answers.push_back((Arc::new(answer), now + stands));
        while self.answers.len() > MOST_ANSWERS || self.octets() > MOST_OCTETS {
            self.answers.pop_front();
        }
    }

    /// Returns what is known at a moment, by both clocks (`unix_now`: seconds since 1970). What has run out by either
    /// is forgotten for good.
    pub fn known(&mut self, now: Timestamp, unix_now: u64) -> Known {
        self.answers.retain(|(answer, until)| now < *until && unix_now < answer.until);
        let standing = self.answers.iter().filter(|(answer, _)| answer.stands(unix_now));
        Known(standing.map(|(answer, _)| Arc::clone(answer)).collect())
    }

    fn octets(&self) -> usize {
        self.answers.iter().map(|(answer, _)| answer.octets()).sum()
    }
}

/// A certificate is named by its issuer, the issuer's key and its number.
fn about_response(link: &Link<'_>) -> About {
    about(b"response", link, &[link.certificate.raw_serial()])
}

/// A list is its issuer's, by a key, for the certificates that name the same places.
fn about_lists(link: &Link<'_>) -> About {
    let places = crl::distribution_points(&link.certificate);
    about(b"list", link, &places.iter().map(|place| place.as_bytes()).collect::<Vec<_>>())
}

fn about(kind: &[u8], link: &Link<'_>, more: &[&[u8]]) -> About {
    let issuer = [link.certificate.issuer().as_raw(), link.issuer.tbs_certificate.subject_pki.raw];
    let mut hash = digest::Context::new(&digest::SHA256);
    for part in std::iter::once(kind).chain(issuer).chain(more.iter().copied()) {
        // With its length, so that no two rows of parts look alike.
        hash.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    let mut about = About::default();
    about.copy_from_slice(hash.finish().as_ref());
    about
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIX: u64 = 1_782_864_000;
    const NOTHING: [u8; 0] = [];

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_start(Duration::from_secs(seconds))
    }

    fn answer(about: u8, octets: usize, until: u64) -> KnownAnswer {
        KnownAnswer { about: [about; 32], said: Said::Response(vec![about; octets]), learnt: UNIX, until }
    }

    fn known(memory: &mut Memory, now: u64, unix: u64) -> Vec<u8> {
        memory.known(at(now), unix).0.iter().map(|answer| answer.about[0]).collect()
    }

    #[test]
    fn an_answer_is_known_until_it_runs_out_by_either_clock() {
        let mut memory = Memory::default();
        memory.learn(answer(1, 9, UNIX + 100), at(50));
        assert_eq!(known(&mut memory, 149, UNIX + 99), [1]);
        assert_eq!(known(&mut memory, 51, UNIX - SKEW - 1), NOTHING, "the clock was set back: not now");
        assert_eq!(known(&mut memory, 52, UNIX - SKEW), [1], "two clocks may differ so far");
        // The wall clock stands still, but time went by.
        assert_eq!(known(&mut memory, 150, UNIX), NOTHING);
        assert_eq!(known(&mut memory, 60, UNIX), NOTHING, "what ran out does not come back");
        memory.learn(answer(1, 9, UNIX + 100), at(50));
        assert_eq!(known(&mut memory, 51, UNIX + 100), NOTHING);
        assert_eq!(known(&mut memory, 51, UNIX), NOTHING, "what ran out does not come back");
        // A snapshot that is held on to is not good for longer.
        memory.learn(answer(1, 9, UNIX + 100), at(50));
        let held = memory.known(at(50), UNIX);
        assert!(held.0.iter().all(|answer| answer.stands(UNIX + 99) && !answer.stands(UNIX + 100)));
    }

    #[test]
    fn the_newer_answer_takes_the_place_and_what_is_kept_is_bounded() {
        let mut memory = Memory::default();
        memory.learn(answer(1, 9, UNIX + 100), at(0));
        memory.learn(answer(2, 9, UNIX + 100), at(0));
        memory.learn(answer(1, 20, UNIX + 200), at(0));
        assert_eq!(known(&mut memory, 0, UNIX), [2, 1]);
        assert_eq!(memory.octets(), 29);
        for about in 0..100 {
            memory.learn(answer(about, 9, UNIX + 100), at(0));
        }
        assert_eq!(known(&mut memory, 0, UNIX).len(), MOST_ANSWERS);
        assert_eq!(known(&mut memory, 0, UNIX)[0], 68, "the oldest went");
        for about in 0..8 {
            memory.learn(answer(about, 1 << 20, UNIX + 100), at(0));
        }
        assert_eq!(known(&mut memory, 0, UNIX), [4, 5, 6, 7]);
        memory.learn(answer(9, MOST_OCTETS + 1, UNIX + 100), at(0));
        assert_eq!(known(&mut memory, 0, UNIX), [4, 5, 6, 7], "there is no room for it");
    }
}
