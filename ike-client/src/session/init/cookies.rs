//! Cookies (RFC 7296 §2.6): a gateway under load wants to see that this side receives.
//!
//! Anybody on the path can ask for one. The request with a cookie is another message than the one
//! without, AUTH covers the one that was answered, and nothing in an answer tells which that was. So
//! a cookie is returned only when no whole answer came for [`HOLD`], and an answer is taken for one to
//! the request that went out last.

use crate::time::Timestamp;
use std::collections::VecDeque;
use std::time::Duration;

/// How long a whole answer to the last request is waited for before a cookie is returned.
pub(in crate::session) const HOLD: Duration = Duration::from_millis(500);
/// How many cookies are returned before the gateway is taken for one that never has enough.
const MAXIMUM: u8 = 4;
/// How many different ones wait.
const WAITING: usize = 4;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Cookies {
    waiting: VecDeque<Vec<u8>>,
    due: Option<Timestamp>,
    returned: u8,
    /// The one that goes with the request now.
    current: Option<Vec<u8>>,
}

/// It asks for one cookie after the other.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WithoutEnd;

impl Cookies {
    /// Returns the cookie that goes with the request.
    pub(super) const fn current(&self) -> Option<&Vec<u8>> {
        self.current.as_ref()
    }

    /// Notes a cookie.
    pub(super) fn note(&mut self, cookie: &[u8], now: Timestamp) -> Result<(), WithoutEnd> {
        let known = self.current.iter().chain(&self.waiting).any(|known| known == cookie);
        if known || self.waiting.len() >= WAITING {
            return Ok(());
        }
        if self.returned >= MAXIMUM {
            return Err(WithoutEnd);
        }
        self.waiting.push_back(cookie.to_vec());
        self.due = self.due.or(Some(now + HOLD));
        Ok(())
    }

    /// Returns when [`Self::due`] wants to be called.
    pub(super) const fn deadline(&self) -> Option<Timestamp> {
        self.due
    }

    /// Tells whether the request is to go out with another cookie now.
    pub(super) fn due(&mut self, now: Timestamp) -> bool {
        if self.due.is_none_or(|due| now < due) {
            return false;
        }
        let next = self.waiting.pop_front();
        let more = !self.waiting.is_empty() && self.returned.saturating_add(1) < MAXIMUM;
        self.due = more.then(|| now + HOLD);
        let Some(cookie) = next else { return false };
        self.returned = self.returned.saturating_add(1);
        self.current = Some(cookie);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Timestamp {
        Timestamp::from_start(Duration::from_millis(milliseconds))
    }

    #[test]
    fn each_cookie_is_returned_once_and_one_after_the_other() {
        let mut cookies = Cookies::default();
        for cookie in [b"forged", b"real..", b"forged"] {
            assert_eq!(cookies.note(cookie, at(0)), Ok(()));
        }
        assert!(!cookies.due(at(499)));
        assert!(cookies.due(at(500)));
        assert_eq!(cookies.current(), Some(&b"forged".to_vec()));
        assert!(!cookies.due(at(999)));
        assert!(cookies.due(at(1000)));
        assert_eq!(cookies.current(), Some(&b"real..".to_vec()));
        assert_eq!(cookies.deadline(), None);
    }

    #[test]
    fn cookies_have_an_end() {
        let mut cookies = Cookies::default();
        for round in 0..MAXIMUM {
            let now = at(u64::from(round) * 500);
            assert_eq!(cookies.note(&[round], now), Ok(()));
            assert!(cookies.due(now + HOLD));
        }
        assert_eq!(cookies.note(&[99], at(9000)), Err(WithoutEnd));
    }
}
