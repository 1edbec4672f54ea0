//! From facts, rules and people's tags to signed documents.

use super::{Denial, Office};
use crate::ems::stamp::Stamp;
use crate::ems::store::{EndpointRow, IssuedDocument};
use posture::ems::protocol::{
    DocumentKind, DocumentSet, EndpointId, Have, Profile, RefusalCode, RuleDocument, SnapshotTag, TagOrigin,
    TagSnapshot,
};
use posture::ems::signed::{Binding, Content, Document, Signed};
use posture::facts::{EmsConnection, Fact, Facts, Supplied};
use posture::rules::{Presence, TagName, TagState, evaluate};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

pub(super) const SETTING_PROFILE: &str = "profile";
pub(super) const SETTING_RULES: &str = "rules";

impl Office {
    /// Returns the profile.
    pub fn profile(&self) -> Result<Profile, Denial> {
        self.stored(SETTING_PROFILE)
    }

    /// Returns the rule sets.
    pub fn rules(&self) -> Result<RuleDocument, Denial> {
        self.stored(SETTING_RULES)
    }

    fn stored<T: DeserializeOwned + Default>(&self, name: &str) -> Result<T, Denial> {
        match self.store.setting(name)? {
            None => Ok(T::default()),
            Some(text) => restored(name, &text),
        }
    }

    /// Tells whether an endpoint has been offline for longer than its tags last: whoever has its
    /// address now is somebody else.
    pub(super) fn is_lapsed(&self, endpoint: &EndpointRow, now: Stamp) -> bool {
        let silent = now.unix_seconds().saturating_sub(endpoint.last_seen_unix);
        let patience = self.conduct.offline_after_seconds.saturating_add(self.conduct.tag_timeout_seconds);
        !self.is_connected(&endpoint.id, now) && silent >= patience
    }

    /// Tells whether telemetry of an endpoint is up, as EMS sees it. An open stream counts only as
    /// long as reports come too: of an endpoint that vanished without a word, TCP says nothing for
    /// a quarter of an hour.
    pub(super) fn is_connected(&self, endpoint: &EndpointId, now: Stamp) -> bool {
        let Some(heard) = self.heard_boot.get(endpoint) else { return false };
        let silent = now.boot_seconds().saturating_sub(*heard);
        let has_stream = self.streams.values().any(|stream| stream.endpoint == *endpoint);
        let patience = if has_stream { self.conduct.keep_alive_seconds.saturating_mul(2) } else { 0 };
        silent < patience.saturating_add(self.conduct.offline_after_seconds)
    }

    /// Evaluates every tag for an endpoint. Whether telemetry is connected EMS knows itself; what the
    /// endpoint says about that is passed over.
    pub fn tags_of(&mut self, endpoint: &EndpointRow, now: Stamp) -> Result<Vec<SnapshotTag>, Denial> {
        let now_unix = now.unix_seconds();
        let telemetry_connected = self.is_connected(&endpoint.id, now);
        let mut facts: Facts =
            self.reported(endpoint)?.map(|reported| Facts::clone(&reported.facts)).unwrap_or_default();
        let name = Some(self.conduct.name.clone());
        facts.ems = Fact::known(EmsConnection { enrolled: true, telemetry_connected, name }, "EMS", now_unix);
        facts.supplied = Fact::known(supplied(endpoint), "EMS", now_unix);
        let lapsed = self.is_lapsed(endpoint, now);
        let mut tags: BTreeMap<TagName, SnapshotTag> = evaluate(&self.rules_of(endpoint)?.rule_sets, &facts, now_unix)
            .into_iter()
            .map(|(name, state)| match lapsed {
                true => (name, TagState::without_rule(Presence::Unknown, "the endpoint has been offline for too long")),
                false => (name, state),
            })
            .map(|(name, state)| (name.clone(), SnapshotTag { name, origin: TagOrigin::Rules, state }))
            .collect();
        let given = self.store.tags_of(&endpoint.id)?;
        for name in self.store.manual_tags()? {
            let (presence, because) = match given.contains(&name) {
                true => (Presence::Present, "given by the administrator"),
                false if tags.contains_key(&name) => continue,
                false => (Presence::Absent, "not given by the administrator"),
            };
            let state = TagState::without_rule(presence, because);
            tags.insert(name.clone(), SnapshotTag { name, origin: TagOrigin::Manual, state });
        }
        Ok(tags.into_values().collect())
    }

    /// Returns the documents that are newer than those an endpoint holds, signing what changed.
    pub(super) fn documents_for(
        &mut self,
        endpoint: &EndpointRow,
        have: Have,
        now: Stamp,
    ) -> Result<DocumentSet, Denial> {
        let (profile, rules) = (self.profile_of(endpoint)?, self.rules_of(endpoint)?);
        let tags = TagSnapshot {
            report_sequence: endpoint.report_sequence,
            tags: self.tags_of(endpoint, now)?,
            quarantine: endpoint.quarantine.clone(),
            supplied: supplied(endpoint),
        };
        let known = usize::try_from(have.key).unwrap_or(usize::MAX);
        Ok(DocumentSet {
            keys: self.authority.announcements().iter().skip(known).cloned().collect(),
            profile: self.current(endpoint, &profile, have, now)?,
            rules: self.current(endpoint, &rules, have, now)?,
            tags: self.current(endpoint, &tags, have, now)?,
        })
    }

    fn current<T: Content>(
        &mut self,
        endpoint: &EndpointRow,
        content: &T,
        have: Have,
        now: Stamp,
    ) -> Result<Option<Signed>, Denial> {
        let policy_version = self.store.policy_version()?;
        let bytes = json(content)?;
        let now_unix = now.unix_seconds();
        let valid = match T::KIND {
            DocumentKind::Tags => self.conduct.tags_valid_seconds,
            DocumentKind::Profile | DocumentKind::Rules => self.conduct.policy_valid_seconds,
        };
        let issued = match self.store.document(&endpoint.id, T::KIND)? {
            Some(held) if holds(&held, &bytes, T::KIND, policy_version, now_unix) => held,
            _ => self.sign(endpoint, content, bytes, policy_version, now_unix, valid)?,
        };
        Ok((issued.counter > have.counter(T::KIND)).then_some(issued.signed))
    }

    fn sign<T: Content>(
        &mut self,
        endpoint: &EndpointRow,
        content: &T,
        bytes: Vec<u8>,
        policy_version: u64,
        now_unix: u64,
        valid_seconds: u64,
    ) -> Result<IssuedDocument, Denial> {
        let ems = self.authority.ems();
        let authority = &self.authority;
        self.store.transaction(|store| {
            let binding = Binding {
                kind: T::KIND,
                ems,
                endpoint: endpoint.fingerprint,
                policy_version,
                counter: store.next_counter(&endpoint.id)?,
                issued_unix: now_unix,
                expires_unix: now_unix.saturating_add(valid_seconds),
            };
            let (counter, expires_unix) = (binding.counter, binding.expires_unix);
            let signed = authority.sign(json(&Document { binding, content })?);
            let issued =
                IssuedDocument { counter, policy_version, issued_unix: now_unix, expires_unix, content: bytes, signed };
            store.set_document(&endpoint.id, T::KIND, &issued)?;
            Ok(issued)
        })
    }
}

/// Reads what is stored as JSON.
pub(super) fn restored<T: DeserializeOwned>(name: &str, text: &str) -> Result<T, Denial> {
    serde_json::from_str(text)
        .map_err(|error| Denial::new(RefusalCode::ServerFailed, format!("stored {name}: {error}")))
}

/// What this EMS knows of an endpoint beside its facts: from where it speaks.
fn supplied(endpoint: &EndpointRow) -> Supplied {
    Supplied { public_address: endpoint.address.parse().ok(), ..Supplied::default() }
}

/// A document is signed anew when what it says changed, when half its time is over, and a snapshot
/// also when the policy changed: endpoints refuse one that was made under an older policy.
fn holds(held: &IssuedDocument, bytes: &[u8], kind: DocumentKind, policy_version: u64, now_unix: u64) -> bool {
    let half = held.issued_unix + held.expires_unix.saturating_sub(held.issued_unix) / 2;
    held.content == bytes
        && (held.issued_unix..half).contains(&now_unix)
        && (kind != DocumentKind::Tags || held.policy_version == policy_version)
}

fn json<T: Serialize>(value: &T) -> Result<Vec<u8>, Denial> {
    serde_json::to_vec(value).map_err(|error| Denial::new(RefusalCode::ServerFailed, error.to_string()))
}
