//! What EMS said, while the task runs: verify, keep the newer, store.

use super::super::cache::{Cache, CacheError, Knowledge};
use super::super::identity::Identity;
use super::super::protocol::{DocumentKind, DocumentSet, Have, TagSnapshot};
use super::super::signed::{Binding, Content, Floor, Refusal, Signed, Verified, Verifier};
use super::unix_now;
use std::sync::Arc;

/// Knowledge, its floor, and where both are kept.
pub(super) struct Keeper {
    verifier: Verifier,
    cache: Cache,
    floor: Floor,
    knowledge: Knowledge,
    /// Documents that are delivered and not stored yet.
    unstored: Vec<(DocumentKind, Signed)>,
    /// Announcements of keys that are believed and not stored yet.
    unstored_keys: Vec<Signed>,
}

impl Keeper {
    /// Reads the cache. A cache that cannot be read is no knowledge, and the failure is returned
    /// beside the keeper.
    pub(super) fn open(verifier: Verifier, cache: Cache) -> (Self, Option<CacheError>) {
        let read = cache.floor().and_then(|floor| Ok((floor, cache.knowledge(&verifier, unix_now())?)));
        let (floor, knowledge, failure) = match read {
            Ok((floor, knowledge)) => (floor, knowledge, None),
            Err(error) => (Floor::default(), Knowledge::default(), Some(error)),
        };
        (Self { verifier, cache, floor, knowledge, unstored: Vec::new(), unstored_keys: Vec::new() }, failure)
    }

    pub(super) fn knowledge(&self) -> Knowledge {
        self.knowledge.clone()
    }

    /// Returns the counters of the documents at hand: those that are believed, not the floor, so
    /// that a document that was lost is asked for again.
    pub(super) fn have(&self) -> Have {
        fn counter<T>(document: Option<&Arc<Verified<T>>>) -> u64 {
            document.map_or(0, |document| document.binding().counter)
        }
        Have {
            profile: counter(self.knowledge.profile.as_ref()),
            rules: counter(self.knowledge.rules.as_ref()),
            tags: counter(self.knowledge.tags.as_ref()),
            key: self.verifier.keys().newest(),
        }
    }

    /// Verifies from now on for the next certificate of this endpoint.
    pub(super) fn succeed(&mut self, verifier: Verifier) {
        self.verifier = verifier;
    }

    /// Judges announcements of keys, oldest first. What does not follow is passed over: EMS may begin with
    /// keys whose time is long over here. It is a refusal where it comes last.
    fn follow(&mut self, announcements: Vec<Signed>) -> Result<(), Refusal> {
        let mut outcome = Ok(());
        for announcement in announcements {
            outcome = self.verifier.follow(&announcement).map(|is_new| {
                if is_new {
                    tracing::info!(number = self.verifier.keys().newest(), "EMS signs with a new key");
                    self.unstored_keys.push(announcement);
                }
            });
        }
        outcome
    }

    /// Judges a set. Returns whether knowledge changed, and what was refused.
    pub(super) fn take(&mut self, set: DocumentSet) -> (bool, Vec<(DocumentKind, Refusal)>) {
        let before = (self.have(), self.knowledge.refusals.clone());
        let mut refused = Vec::new();
        if let Err(refusal) = self.follow(set.keys) {
            // What the key would have signed is refused below, each by its kind.
            tracing::warn!(%refusal, "the announcement of a key is not believed");
        }
        if let Some(signed) = set.profile {
            match self.judge(signed) {
                Ok(verified) => self.knowledge.profile = Some(verified),
                Err(refusal) => {
                    // Without a profile at hand nobody knows which gateways are managed: that is not none.
                    if self.knowledge.profile.is_none() {
                        self.knowledge.refusals.retain(|(kind, _)| *kind != DocumentKind::Profile);
                        self.knowledge.refusals.push((DocumentKind::Profile, refusal.clone()));
                    }
                    refused.push((DocumentKind::Profile, refusal));
                }
            }
        }
        if let Some(signed) = set.rules {
            match self.judge(signed) {
                Ok(verified) => self.knowledge.rules = Some(verified),
                Err(refusal) => refused.push((DocumentKind::Rules, refusal)),
            }
        }
        if let Some(signed) = set.tags {
            match self.judge::<TagSnapshot>(signed) {
                Ok(verified) => {
                    self.knowledge.quarantine.clone_from(&verified.content().quarantine);
                    self.knowledge.tags = Some(verified);
                }
                Err(refusal) => {
                    // EMS has newer tags, and this machine's clock keeps them from being believed: by those
                    // at hand nobody may be judged any more, nor again when the clock is set right.
                    if refusal.is_of_the_clock() {
                        self.knowledge.tags = None;
                        self.knowledge.refusals.retain(|(kind, _)| *kind != DocumentKind::Tags);
                        self.knowledge.refusals.push((DocumentKind::Tags, refusal.clone()));
                    }
                    refused.push((DocumentKind::Tags, refusal));
                }
            }
        }
        (before != (self.have(), self.knowledge.refusals.clone()), refused)
    }

    fn judge<T: Content>(&mut self, signed: Signed) -> Result<Arc<Verified<T>>, Refusal> {
        let now = unix_now();
        let verified = self.verifier.verify::<T>(&signed, &self.floor, now)?;
        let binding: &Binding = verified.binding();
        self.floor.raise(binding, now);
        self.knowledge.refusals.retain(|(kind, _)| *kind != T::KIND);
        self.unstored.retain(|(kind, _)| *kind != T::KIND);
        self.unstored.push((T::KIND, signed));
        Ok(Arc::new(verified))
    }

    pub(super) fn cache(&self) -> Cache {
        self.cache.clone()
    }

    /// Returns who this endpoint is; none where that cannot be read.
    pub(super) fn identity(&self) -> Option<Identity> {
        self.cache.identity().ok().flatten()
    }

    /// Forgets what EMS said: it no longer knows this endpoint. Returns what is to be written.
    pub(super) fn forget(&mut self) -> Forgetting {
        self.knowledge = Knowledge::default();
        self.unstored.clear();
        Forgetting { cache: self.cache.clone() }
    }

    /// Takes what is not on disk yet, if anything is, as work for a thread that may block.
    pub(super) fn unstored(&mut self) -> Option<Storing> {
        if !self.has_unstored() {
            return None;
        }
        let documents = std::mem::take(&mut self.unstored);
        let keys = self.unstored_keys.clone();
        Some(Storing { cache: self.cache.clone(), floor: self.floor, keys, documents })
    }

    /// Tells whether something is not on disk yet.
    pub(super) const fn has_unstored(&self) -> bool {
        !self.unstored.is_empty() || !self.unstored_keys.is_empty()
    }

    /// Notes that announcements of keys up to a number of them are on disk.
    pub(super) fn stored_keys(&mut self, count: usize) {
        drop(self.unstored_keys.drain(..count.min(self.unstored_keys.len())));
    }

    /// Takes back what could not be written, but for what has been replaced meanwhile.
    pub(super) fn keep(&mut self, documents: Vec<(DocumentKind, Signed)>) {
        for (kind, signed) in documents {
            if !self.unstored.iter().any(|(newer, _)| *newer == kind) {
                self.unstored.push((kind, signed));
            }
        }
    }
}

/// How writing ended: with how many announcements of keys were written, or the documents that are still
/// to be written.
pub(super) type Stored = Result<usize, (CacheError, Vec<(DocumentKind, Signed)>)>;

/// A deregistration on its way to the disk.
#[derive(Clone)]
pub(super) struct Forgetting {
    cache: Cache,
}

impl Forgetting {
    /// Writes. Blocks.
    pub(super) fn store(self) -> Stored {
        self.cache.deregister(unix_now()).map(|()| 0).map_err(|error| (error, Vec::new()))
    }
}

/// Documents on their way to the disk.
pub(super) struct Storing {
    cache: Cache,
    floor: Floor,
    keys: Vec<Signed>,
    documents: Vec<(DocumentKind, Signed)>,
}

impl Storing {
    /// Writes. Blocks.
    pub(super) fn store(self) -> Stored {
        let Self { cache, floor, keys, documents } = self;
        // Keys first: a document whose key is not known would not be believed again.
        let written = if keys.is_empty() { Ok(()) } else { cache.store_keys(&keys) };
        match written.and_then(|()| documents.iter().try_for_each(|(kind, signed)| cache.store(*kind, signed, &floor)))
        {
            Ok(()) => Ok(keys.len()),
            Err(error) => Err((error, documents)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::protocol::EmsId;
    use super::super::super::signed::{Fingerprint, KeyAnnouncement};
    use super::*;
    use ring::signature::{Ed25519KeyPair, KeyPair};

    fn key(number: u8) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[number; 32]).unwrap()
    }

    /// The announcement of key `number` under the one before it, which no longer holds.
    fn announced(number: u8) -> Signed {
        let next = key(number).public_key().as_ref().to_vec();
        let announcement =
            KeyAnnouncement { ems: EmsId("ems".into()), number: number.into(), key: next, overlap_until_unix: 0 };
        let body = serde_json::to_vec(&announcement).unwrap();
        let signature = key(number - 1).sign(&KeyAnnouncement::message(&body)).as_ref().to_vec();
        Signed { body, signature }
    }

    #[test]
    fn keys_whose_time_is_long_over_do_not_hide_the_newest() {
        let directory = tempfile::TempDir::new().unwrap();
        let first = key(0).public_key().as_ref().try_into().unwrap();
        let verifier = Verifier::new(EmsId("ems".into()), first, Fingerprint([7; 32]));
        let (mut keeper, failure) = Keeper::open(verifier, Cache::open(directory.path()).unwrap());
        assert!(failure.is_none());
        for newest in 1..=5 {
            // EMS begins with the first each time.
            keeper.follow((1..=newest).map(announced).collect()).unwrap();
            assert_eq!(keeper.have().key, u64::from(newest));
        }
        assert_eq!(keeper.unstored_keys.len(), 5, "each is stored once");
        assert!(keeper.follow(vec![announced(7)]).is_err(), "one that was left out cannot be passed over");
        assert_eq!(keeper.have().key, 5);
    }
}
