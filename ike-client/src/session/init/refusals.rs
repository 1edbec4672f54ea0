//! Unprotected refusals: anybody on the path can send one, so each is only a hint.
//!
//! A refusal has the request sent again soon. A gateway that really refuses says the same each time;
//! when it has done so often enough, and nothing better came, it is believed. Else the hint says why
//! when the attempt has come to its end.

use crate::session::cause::CloseCause;
use crate::time::Timestamp;
use std::time::Duration;

/// How often the same refusal must come, each after another transmission of the request.
const BELIEVED: u8 = 3;
/// When the request is sent again after a refusal, and how long a better answer is waited for after the
/// last one.
pub(in crate::session) const ASK_AGAIN: Duration = Duration::from_millis(500);
/// How often a refusal has the request sent again, whatever is said.
const MAXIMUM_ASKED: u8 = 6;
/// No more kinds of refusal are kept apart.
const MAXIMUM_KINDS: usize = 8;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    held: Vec<Held>,
    /// How often the request went out.
    transmissions: u32,
    asked: u8,
    due: Option<Timestamp>,
}

/// One refusal.
#[derive(Debug)]
struct Held {
    cause: CloseCause,
    times: u8,
    /// After which transmission it was last heard.
    after: u32,
}

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Nothing,
    /// The request is to be sent again.
    AskAgain,
    /// The gateway does refuse.
    Believed(CloseCause),
}

impl Refusals {
    /// Notes that the request went out.
    pub(super) fn sent(&mut self) {
        self.transmissions = self.transmissions.saturating_add(1);
    }

    /// Notes a refusal. The same one again before the request went out anew says nothing more.
    pub(super) fn note(&mut self, cause: CloseCause, now: Timestamp) {
        let (after, room) = (self.transmissions, self.held.len() < MAXIMUM_KINDS);
        match self.held.iter_mut().find(|held| held.cause == cause) {
            Some(held) if held.after < after => {
                held.times = held.times.saturating_add(1);
                held.after = after;
            }
            Some(_) => return,
            None if room => self.held.push(Held { cause, times: 1, after }),
            None => return,
        }
        if self.due.is_none() && (self.asked < MAXIMUM_ASKED || self.believed().is_some()) {
            self.due = Some(now + ASK_AGAIN);
        }
    }

    /// Returns when [`Self::due`] wants to be called.
    pub(super) const fn deadline(&self) -> Option<Timestamp> {
        self.due
    }

    /// Tells what is due at `now`, and counts it as done.
    pub(super) fn due(&mut self, now: Timestamp) -> Verdict {
        if self.due.is_none_or(|due| now < due) {
            return Verdict::Nothing;
        }
        self.due = None;
        if let Some(cause) = self.believed() {
            return Verdict::Believed(cause.clone());
        }
        self.asked = self.asked.saturating_add(1);
        Verdict::AskAgain
    }

    /// Returns what was said most often; none when nobody refused.
    pub(super) fn likeliest(&self) -> Option<CloseCause> {
        self.held.iter().rev().max_by_key(|held| held.times).map(|held| held.cause.clone())
    }

    fn believed(&self) -> Option<&CloseCause> {
        self.held.iter().find(|held| held.times >= BELIEVED).map(|held| &held.cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::cause::SaKind;

    fn at(milliseconds: u64) -> Timestamp {
        Timestamp::from_start(Duration::from_millis(milliseconds))
    }

    const MISMATCH: CloseCause = CloseCause::ProposalMismatch { sa: SaKind::Ike };

    #[test]
    fn the_same_refusal_after_each_of_three_transmissions_is_believed() {
        let mut refusals = Refusals::default();
        for round in 0..2 {
            refusals.sent();
            refusals.note(MISMATCH, at(round * 500));
            assert_eq!(refusals.due(at(round * 500 + 499)), Verdict::Nothing);
            assert_eq!(refusals.due(at(round * 500 + 500)), Verdict::AskAgain);
        }
        refusals.sent();
        refusals.note(MISMATCH, at(1000));
        assert_eq!(refusals.due(at(1500)), Verdict::Believed(MISMATCH));
    }

    #[test]
    fn a_thousand_refusals_of_one_transmission_count_as_one() {
        let mut refusals = Refusals::default();
        refusals.sent();
        (0..1000).for_each(|_| refusals.note(MISMATCH, at(0)));
        assert_eq!(refusals.due(at(500)), Verdict::AskAgain);
        assert_eq!(refusals.deadline(), None, "nothing more until somebody says something");
        assert_eq!(refusals.likeliest(), Some(MISMATCH));
    }

    #[test]
    fn nobody_makes_this_side_a_source_of_requests() {
        let mut refusals = Refusals::default();
        let mut asked = 0;
        for round in 0..1000_u64 {
            refusals.sent();
            refusals.note(CloseCause::RefusedByPeer { notify: u16::try_from(round).unwrap() }, at(round * 500));
            asked += u32::from(refusals.due(at(round * 500 + 500)) == Verdict::AskAgain);
        }
        assert_eq!(asked, u32::from(MAXIMUM_ASKED));
        assert_eq!(refusals.held.len(), MAXIMUM_KINDS);
    }
}
