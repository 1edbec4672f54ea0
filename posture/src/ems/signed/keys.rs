//! The keys with which EMS signs, and how one follows another.
//!
//! The first is learned at enrolment. A new one is believed only when it was announced under the one
//! before it; for the time of the overlap both hold, after it the older one does not. An endpoint that
//! was away for longer than the overlap reads the announcements one after the other.

use super::{Refusal, Signed};
use crate::ems::base64_bytes;
use crate::ems::protocol::EmsId;
use ring::signature::{ED25519, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

/// Keeps a signature over an announcement from meaning anything elsewhere.
const CONTEXT: &[u8] = b"postern-ems-key-v1\0";
/// The largest announcement, in bytes.
const LONGEST: usize = 4_096;
/// How many announcements are followed: two a year for sixteen years.
pub const MOST_ANNOUNCEMENTS: usize = 32;

/// The next key of an EMS, signed by the one before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyAnnouncement {
    /// The EMS.
    pub ems: EmsId,
    /// The number of the new key: one more than that of the key which signs this.
    pub number: u64,
    /// The new key: Ed25519, 32 bytes.
    #[serde(with = "base64_bytes")]
    pub key: Vec<u8>,
    /// Until when the older key holds beside it, seconds since 1970.
    pub overlap_until_unix: u64,
}

impl KeyAnnouncement {
    /// Returns the bytes over which the signature of `body` goes.
    pub fn message(body: &[u8]) -> Vec<u8> {
        [CONTEXT, body].concat()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    number: u64,
    key: [u8; 32],
    /// From when on it no longer holds.
    ends_unix: Option<u64>,
}

/// The keys that hold: the newest and the one before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRing {
    newest: Held,
    before: Option<Held>,
}

impl KeyRing {
    /// Begins with the key that was learned at enrolment; its number is 0.
    pub const fn pinned(key: [u8; 32]) -> Self {
        Self { newest: Held { number: 0, key, ends_unix: None }, before: None }
    }

    /// Returns the number of the newest key.
    pub const fn newest(&self) -> u64 {
        self.newest.number
    }

    /// Returns the newest key.
    pub const fn key(&self) -> &[u8; 32] {
        &self.newest.key
    }

    /// Tells whether a signature is of a key that holds at a moment.
    pub fn is_signed(&self, message: &[u8], signature: &[u8], now_unix: u64) -> bool {
        let before = self.before.iter().filter(|held| held.ends_unix.is_none_or(|ends| now_unix < ends));
        [&self.newest]
            .into_iter()
            .chain(before)
            .any(|held| UnparsedPublicKey::new(&ED25519, held.key).verify(message, signature).is_ok())
    }

    /// Takes an announcement; `false` where its key is known already.
    ///
    /// # Errors
    /// When it is not signed by the newest key, is of another EMS, or leaves a key out.
    pub fn follow(&mut self, ems: &EmsId, signed: &Signed) -> Result<bool, Refusal> {
        if signed.body.len() > LONGEST {
            return Err(Refusal::TooLarge);
        }
        let message = KeyAnnouncement::message(&signed.body);
        let by = |held: &Held| UnparsedPublicKey::new(&ED25519, held.key).verify(&message, &signed.signature).is_ok();
        if !by(&self.newest) {
            // What the key before it announced is the newest key itself: nothing new.
            return match &self.before {
                Some(before) if by(before) => Ok(false),
                _ => Err(Refusal::SignatureInvalid),
            };
        }
        let announcement: KeyAnnouncement = super::parse(&signed.body)?;
        if announcement.ems != *ems {
            return Err(Refusal::ForeignEms { found: announcement.ems });
        }
        if announcement.number != self.newest.number.saturating_add(1) {
            return Err(Refusal::Malformed(format!("key {} follows key {}", announcement.number, self.newest.number)));
        }
        let key = <[u8; 32]>::try_from(announcement.key.as_slice())
            .map_err(|_| Refusal::Malformed("a key of another length".into()))?;
        let next = Held { number: announcement.number, key, ends_unix: None };
        let mut before = std::mem::replace(&mut self.newest, next);
        before.ends_unix = Some(announcement.overlap_until_unix);
        self.before = Some(before);
        Ok(true)
    }

    /// Takes announcements as they were kept, oldest first; what does not follow is passed over.
    pub fn follow_all(&mut self, ems: &EmsId, announcements: &[Signed]) {
        for signed in announcements.iter().take(MOST_ANNOUNCEMENTS) {
            let _ = self.follow(ems, signed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::{Ed25519KeyPair, KeyPair};

    const UNTIL: u64 = 1_000;

    fn ems() -> EmsId {
        EmsId("ems".into())
    }

    fn key(seed: u8) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
    }

    fn public(seed: u8) -> [u8; 32] {
        key(seed).public_key().as_ref().try_into().unwrap()
    }

    fn announced(by: u8, number: u64, next: u8, ems: EmsId) -> Signed {
        let announcement = KeyAnnouncement { ems, number, key: public(next).to_vec(), overlap_until_unix: UNTIL };
        let body = serde_json::to_vec(&announcement).unwrap();
        let signature = key(by).sign(&KeyAnnouncement::message(&body)).as_ref().to_vec();
        Signed { body, signature }
    }

    fn holds(ring: &KeyRing, seed: u8, now_unix: u64) -> bool {
        ring.is_signed(b"x", key(seed).sign(b"x").as_ref(), now_unix)
    }

    #[test]
    fn a_key_that_was_announced_under_the_old_one_holds_beside_it_and_then_alone() {
        let mut ring = KeyRing::pinned(public(1));
        assert!(holds(&ring, 1, 0) && !holds(&ring, 2, 0));
        assert_eq!(ring.follow(&ems(), &announced(1, 1, 2, ems())), Ok(true));
        assert!(holds(&ring, 1, UNTIL - 1) && holds(&ring, 2, UNTIL - 1));
        assert!(!holds(&ring, 1, UNTIL) && holds(&ring, 2, UNTIL));
        // Told again, it changes nothing; the next one ends the first for good.
        assert_eq!(ring.follow(&ems(), &announced(1, 1, 2, ems())), Ok(false));
        assert_eq!(ring.follow(&ems(), &announced(2, 2, 3, ems())), Ok(true));
        assert!(!holds(&ring, 1, 0) && holds(&ring, 2, 0) && holds(&ring, 3, 0));
        assert_eq!(ring.newest(), 2);
    }

    #[test]
    fn a_key_that_announces_itself_or_comes_from_elsewhere_is_refused() {
        let mut ring = KeyRing::pinned(public(1));
        let refused = [
            (announced(2, 1, 2, ems()), Refusal::SignatureInvalid),
            (announced(1, 1, 2, EmsId("other".into())), Refusal::ForeignEms { found: EmsId("other".into()) }),
            (announced(1, 2, 2, ems()), Refusal::Malformed("key 2 follows key 0".into())),
        ];
        for (announcement, refusal) in refused {
            assert_eq!(ring.follow(&ems(), &announcement), Err(refusal));
        }
        assert_eq!(ring, KeyRing::pinned(public(1)));
    }

    #[test]
    fn a_document_is_no_announcement() {
        let body = announced(1, 1, 2, ems()).body;
        let signature = key(1).sign(&Signed::message(&body)).as_ref().to_vec();
        let outcome = KeyRing::pinned(public(1)).follow(&ems(), &Signed { body, signature });
        assert_eq!(outcome, Err(Refusal::SignatureInvalid));
    }
}
