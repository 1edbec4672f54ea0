//! Every way in which a document can be wrong has its own refusal.

use super::*;
use crate::ems::protocol::DocumentKind;
use proptest::prelude::*;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

const NOW: u64 = 1_800_000_000;

struct Signer(Ed25519KeyPair);

impl Signer {
    fn new() -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap())
    }

    fn sign(&self, body: Vec<u8>) -> Signed {
        let signature = self.0.sign(&Signed::message(&body)).as_ref().to_vec();
        Signed { body, signature }
    }

    fn document(&self, binding: Binding) -> Signed {
        self.sign(serde_json::to_vec(&Document { binding, content: TagSnapshot::default() }).unwrap())
    }

    fn verifier(&self) -> Verifier {
        let key = self.0.public_key().as_ref().try_into().unwrap();
        Verifier::new(EmsId("ems".into()), key, Fingerprint([7; 32]))
    }
}

fn binding() -> Binding {
    Binding {
        kind: DocumentKind::Tags,
        ems: EmsId("ems".into()),
        endpoint: Fingerprint([7; 32]),
        policy_version: 4,
        counter: 10,
        issued_unix: NOW,
        expires_unix: NOW + 100,
    }
}

fn judge(binding: Binding, floor: &Floor, now: u64) -> Result<Verified<TagSnapshot>, Refusal> {
    let signer = Signer::new();
    signer.verifier().verify(&signer.document(binding), floor, now)
}

#[test]
fn a_document_that_fits_is_believed_until_it_expires() {
    let verified = judge(binding(), &Floor::default(), NOW + 50).unwrap();
    assert_eq!(verified.binding().counter, 10);
    assert!(verified.holds_at(NOW + 99));
    assert!(!verified.holds_at(NOW + 100));
}

#[test]
fn another_key_a_changed_byte_and_a_signature_without_context_are_refused() {
    let (signer, other) = (Signer::new(), Signer::new());
    let refused = |signed: &Signed| signer.verifier().verify::<TagSnapshot>(signed, &Floor::default(), NOW);
    assert_eq!(refused(&other.document(binding())), Err(Refusal::SignatureInvalid));
    let mut changed = signer.document(binding());
    changed.body[20] ^= 1;
    assert_eq!(refused(&changed), Err(Refusal::SignatureInvalid));
    let mut bare = signer.document(binding());
    bare.signature = signer.0.sign(&bare.body).as_ref().to_vec();
    assert_eq!(refused(&bare), Err(Refusal::SignatureInvalid));
    bare.signature.clear();
    assert_eq!(refused(&bare), Err(Refusal::SignatureInvalid));
}

#[test]
fn a_document_of_another_kind_endpoint_or_ems_is_refused_by_name() {
    let floor = Floor::default();
    let kind = Binding { kind: DocumentKind::Rules, ..binding() };
    assert_eq!(judge(kind, &floor, NOW), Err(Refusal::WrongKind { expected: "tags", found: "rules" }));
    let endpoint = Binding { endpoint: Fingerprint([8; 32]), ..binding() };
    let refusal = judge(endpoint, &floor, NOW).unwrap_err();
    assert_eq!(refusal, Refusal::ForeignEndpoint { found: Fingerprint([8; 32]) });
    assert_eq!(refusal.flaw(), Flaw::Foreign);
    let ems = Binding { ems: EmsId("other".into()), ..binding() };
    assert_eq!(judge(ems, &floor, NOW), Err(Refusal::ForeignEms { found: EmsId("other".into()) }));
}

#[test]
fn what_goes_backwards_is_refused() {
    let mut floor = Floor::default();
    floor.raise(&binding(), NOW);
    assert!(judge(binding(), &floor, NOW).is_ok(), "the same document may be read again");
    let older = Binding { counter: 9, ..binding() };
    assert_eq!(judge(older, &floor, NOW), Err(Refusal::RolledBack { found: 9, floor: 10 }));
    let policy = Binding { counter: 11, policy_version: 3, ..binding() };
    assert_eq!(judge(policy, &floor, NOW), Err(Refusal::PolicyRolledBack { found: 3, floor: 4 }));
}

#[test]
fn each_kind_has_a_counter_of_its_own() {
    let mut floor = Floor::default();
    floor.raise(&Binding { kind: DocumentKind::Profile, counter: 500, ..binding() }, NOW);
    assert!(judge(binding(), &floor, NOW).is_ok());
}

#[test]
fn an_expired_document_and_a_clock_that_was_turned_back_are_told_apart() {
    let mut floor = Floor::default();
    assert_eq!(judge(binding(), &floor, NOW + 130), Err(Refusal::Expired { seconds: 30 }));
    let early = NOW - CLOCK_TOLERANCE_SECONDS - 1;
    let refusal = Refusal::ClockTurnedBack { seconds: CLOCK_TOLERANCE_SECONDS + 1 };
    assert_eq!(judge(binding(), &floor, early), Err(refusal));
    // Turned back to a time at which this document still holds: the floor knows better.
    floor.raise(&binding(), NOW + 5_000);
    let long = Binding { expires_unix: NOW + 1_000_000, ..binding() };
    assert_eq!(judge(long, &floor, NOW + 1_000), Err(Refusal::ClockTurnedBack { seconds: 4_000 }));
}

#[test]
fn a_clock_that_was_ahead_once_is_set_right_by_the_next_new_document() {
    let mut floor = Floor::default();
    floor.raise(&binding(), NOW + 90);
    floor.raise(&binding(), NOW + 5_000_000);
    let newer = Binding { counter: 11, issued_unix: NOW + 10, ..binding() };
    assert!(judge(newer.clone(), &floor, NOW + 12).is_ok());
    floor.raise(&newer, NOW + 12);
    assert_eq!(floor.clock_unix, NOW + 12);
    // It must be new, and of now: neither an old one nor one from the future sets a clock.
    let future = Binding { counter: 12, issued_unix: NOW + 9_000, expires_unix: NOW + 10_000, ..binding() };
    assert!(matches!(judge(future, &floor, NOW + 12), Err(Refusal::ClockTurnedBack { .. })));
}

#[test]
fn the_floor_never_falls() {
    let mut floor = Floor::default();
    floor.raise(&binding(), NOW);
    let high = floor;
    floor.raise(&Binding { counter: 1, policy_version: 1, issued_unix: 5, ..binding() }, 7);
    assert_eq!(floor, high);
}

#[test]
fn signed_nonsense_is_malformed_and_not_a_panic() {
    let signer = Signer::new();
    for body in ["", "{}", "[]", "null", "{\"binding\": {}, \"content\": {}}"] {
        let outcome = signer.verifier().verify::<TagSnapshot>(&signer.sign(body.into()), &Floor::default(), NOW);
        assert!(matches!(outcome, Err(Refusal::Malformed(_))), "{body}");
    }
    let nested = "[".repeat(100_000);
    let outcome = signer.verifier().verify::<TagSnapshot>(&signer.sign(nested.into()), &Floor::default(), NOW);
    assert!(matches!(outcome, Err(Refusal::Malformed(_))));
}

#[test]
fn a_document_without_end_is_not_looked_at() {
    let signer = Signer::new();
    let signed = Signed { body: vec![b' '; MAXIMUM_BODY + 1], signature: Vec::new() };
    let outcome = signer.verifier().verify::<TagSnapshot>(&signed, &Floor::default(), NOW);
    assert_eq!(outcome, Err(Refusal::TooLarge));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_and_none_pass(body: Vec<u8>, signature: Vec<u8>) {
        let outcome = Signer::new().verifier().verify::<TagSnapshot>(&Signed { body, signature }, &Floor::default(), NOW);
        prop_assert_eq!(outcome, Err(Refusal::SignatureInvalid));
    }

    #[test]
    fn signed_bytes_of_any_kind_never_make_it_panic(body: Vec<u8>) {
        let signer = Signer::new();
        let outcome = signer.verifier().verify::<TagSnapshot>(&signer.sign(body), &Floor::default(), NOW);
        prop_assert!(matches!(outcome, Err(Refusal::Malformed(_))));
    }

    #[test]
    fn a_flipped_bit_anywhere_is_noticed(bit in 0usize..2_000) {
        let signer = Signer::new();
        let mut signed = signer.document(binding());
        let whole = signed.body.len() + signed.signature.len();
        let place = (bit / 8) % whole;
        let byte = if place < signed.body.len() {
            &mut signed.body[place]
        } else {
            let place = place - signed.body.len();
            &mut signed.signature[place]
        };
        *byte ^= 1 << (bit % 8);
        let outcome = signer.verifier().verify::<TagSnapshot>(&signed, &Floor::default(), NOW);
        prop_assert_eq!(outcome, Err(Refusal::SignatureInvalid));
    }

    #[test]
    fn only_what_is_at_or_above_the_floor_is_believed(seen in 1u64..50, found in 1u64..50) {
        let mut floor = Floor::default();
        floor.raise(&Binding { counter: seen, ..binding() }, NOW);
        let outcome = judge(Binding { counter: found, ..binding() }, &floor, NOW);
        prop_assert_eq!(outcome.is_ok(), found >= seen);
    }
}
