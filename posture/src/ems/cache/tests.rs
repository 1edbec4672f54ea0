//! What is on disk is believed only as far as it verifies.

use super::*;
use crate::ems::protocol::EmsId;
use crate::ems::signed::{Binding, Document, Fingerprint};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use tempfile::TempDir;

const NOW: u64 = 1_800_000_000;

struct Lab {
    directory: TempDir,
    cache: Cache,
    key: Ed25519KeyPair,
}

impl Lab {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let cache = Cache::open(directory.path().join("ems")).unwrap();
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self { directory, cache, key: Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap() }
    }

    fn verifier(&self) -> Verifier {
        let key = self.key.public_key().as_ref().try_into().unwrap();
        Verifier::new(EmsId("ems".into()), key, Fingerprint([7; 32]))
    }

    fn snapshot(&self, counter: u64) -> (Signed, Binding) {
        let binding = Binding {
            kind: DocumentKind::Tags,
            ems: EmsId("ems".into()),
            endpoint: Fingerprint([7; 32]),
            policy_version: 1,
            counter,
            issued_unix: NOW,
            expires_unix: NOW + 1_000,
        };
        let document = Document { binding: binding.clone(), content: TagSnapshot::default() };
        let body = serde_json::to_vec(&document).unwrap();
        let signature = self.key.sign(&Signed::message(&body)).as_ref().to_vec();
        (Signed { body, signature }, binding)
    }

    fn store(&self, counter: u64) {
        let (signed, binding) = self.snapshot(counter);
        let mut floor = self.cache.floor().unwrap();
        floor.raise(&binding, NOW);
        self.cache.store(DocumentKind::Tags, &signed, &floor).unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join("ems").join(name)
    }
}

#[test]
fn an_empty_cache_knows_nothing_and_complains_of_nothing() {
    let lab = Lab::new();
    let knowledge = lab.cache.knowledge(&lab.verifier(), NOW).unwrap();
    assert!(knowledge.tags.is_none() && knowledge.refusals.is_empty());
    assert!(lab.cache.identity().unwrap().is_none());
}

#[test]
fn what_was_stored_is_known_again() {
    let lab = Lab::new();
    lab.store(3);
    let knowledge = lab.cache.knowledge(&lab.verifier(), NOW).unwrap();
    assert_eq!(knowledge.tags.unwrap().binding().counter, 3);
}

#[test]
fn an_older_snapshot_that_was_put_back_is_refused() {
    let lab = Lab::new();
    lab.store(3);
    let old = fs::read(lab.file("tags.json")).unwrap();
    lab.store(4);
    fs::write(lab.file("tags.json"), old).unwrap();
    let knowledge = lab.cache.knowledge(&lab.verifier(), NOW).unwrap();
    assert!(knowledge.tags.is_none());
    assert_eq!(knowledge.refusals, [(DocumentKind::Tags, Refusal::RolledBack { found: 3, floor: 4 })]);
}

#[test]
fn a_snapshot_of_another_machine_is_refused() {
    let lab = Lab::new();
    lab.store(3);
    let other =
        Verifier::new(EmsId("ems".into()), lab.key.public_key().as_ref().try_into().unwrap(), Fingerprint([8; 32]));
    let knowledge = lab.cache.knowledge(&other, NOW).unwrap();
    assert!(knowledge.tags.is_none());
    assert!(matches!(knowledge.refusals[..], [(DocumentKind::Tags, Refusal::ForeignEndpoint { .. })]));
}

#[test]
fn a_floor_that_was_taken_away_is_damage_and_not_a_fresh_start() {
    let lab = Lab::new();
    lab.store(3);
    fs::remove_file(lab.file("floor.json")).unwrap();
    assert!(matches!(lab.cache.knowledge(&lab.verifier(), NOW), Err(CacheError::Damaged { .. })));
}

#[test]
fn a_damaged_document_is_no_knowledge_and_the_others_are_still_read() {
    let lab = Lab::new();
    lab.store(3);
    fs::write(lab.file("rules.json"), b"{\"body\": 1").unwrap();
    let knowledge = lab.cache.knowledge(&lab.verifier(), NOW).unwrap();
    assert!(knowledge.rules.is_none() && knowledge.tags.is_some());
    assert!(matches!(knowledge.refusals[..], [(DocumentKind::Rules, Refusal::Malformed(_))]));
}

#[test]
fn an_expired_snapshot_and_a_turned_back_clock_are_refused_from_the_disk_too() {
    let lab = Lab::new();
    lab.store(3);
    let late = lab.cache.knowledge(&lab.verifier(), NOW + 1_000).unwrap();
    assert_eq!(late.refusals, [(DocumentKind::Tags, Refusal::Expired { seconds: 0 })]);
    let early = lab.cache.knowledge(&lab.verifier(), NOW - 10_000).unwrap();
    assert_eq!(early.refusals, [(DocumentKind::Tags, Refusal::ClockTurnedBack { seconds: 10_000 })]);
}

#[test]
fn a_crash_between_floor_and_document_leaves_nothing_to_believe() {
    let lab = Lab::new();
    lab.store(3);
    let (_, newer) = lab.snapshot(4);
    let mut floor = lab.cache.floor().unwrap();
    floor.raise(&newer, NOW);
    lab.cache.store_floor(&floor).unwrap();
    let knowledge = lab.cache.knowledge(&lab.verifier(), NOW).unwrap();
    assert!(knowledge.tags.is_none());
}

#[test]
fn a_place_that_cannot_be_written_is_said_by_name() {
    let lab = Lab::new();
    lab.store(3);
    // A directory in the file's place fails for every user, root too.
    fs::remove_file(lab.file("tags.json")).unwrap();
    fs::create_dir(lab.file("tags.json")).unwrap();
    let (signed, _) = lab.snapshot(4);
    let error = lab.cache.store(DocumentKind::Tags, &signed, &Floor::default()).unwrap_err();
    assert!(matches!(&error, CacheError::Unwritable { path, .. } if path.ends_with("tags.json")), "{error}");
}

#[test]
fn a_file_without_end_is_damage() {
    let lab = Lab::new();
    fs::write(lab.file("identity.json"), vec![b' '; 9 << 20]).unwrap();
    assert!(matches!(lab.cache.identity(), Err(CacheError::Damaged { .. })));
}

#[test]
fn of_one_that_has_left_no_deregistration_is_noted() {
    let lab = Lab::new();
    let identity = r#"{"address": "https://ems.example.test:8443", "ems": "ems", "ems_name": "Lab EMS", "endpoint": "e1",
        "key_pkcs8": "", "certificate": "", "authority": "", "signing_key": ""}"#;
    fs::write(lab.file("identity.json"), identity).unwrap();
    assert!(lab.cache.identity().unwrap().is_some());
    lab.cache.deregister(1).unwrap();
    assert_eq!(lab.cache.deregistered().unwrap(), Some(1));
    lab.cache.clear().unwrap();
    lab.cache.deregister(2).unwrap();
    assert_eq!(lab.cache.deregistered().unwrap(), None);
}

#[test]
fn clearing_removes_everything() {
    let lab = Lab::new();
    lab.store(3);
    lab.cache.clear().unwrap();
    let left: Vec<_> = fs::read_dir(lab.directory.path().join("ems")).unwrap().collect();
    assert!(left.is_empty());
}

#[cfg(unix)]
#[test]
fn every_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let lab = Lab::new();
    lab.store(3);
    for name in ["tags.json", "floor.json"] {
        assert_eq!(fs::metadata(lab.file(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
}

#[test]
fn what_a_crash_left_half_written_is_swept_and_nothing_else() {
    let lab = Lab::new();
    lab.store(1);
    std::fs::write(lab.file(".pending-abc123"), "half of a private key").unwrap();
    lab.cache.sweep().unwrap();
    assert!(!lab.file(".pending-abc123").exists());
    assert!(lab.file("tags.json").exists() && lab.file("floor.json").exists());
    assert!(lab.cache.knowledge(&lab.verifier(), NOW).unwrap().tags.is_some());
}
