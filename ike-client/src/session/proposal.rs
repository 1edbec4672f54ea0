//! Suites as proposals on the wire, and back (RFC 7296 §2.7, §3.3).
//!
//! Each suite is one proposal with exactly one transform of each type, so that what comes back can
//! be compared as a whole: a mixture that nobody wrote down cannot be chosen. A choice that was
//! not offered is refused, whether it is weaker, stronger or merely different.

use crate::crypto::suite::{AdditionalExchanges, EspSuite, IkeSuite};
use crate::crypto::transform::{Encryption, Integrity, PseudoRandomFunction};
use crate::wire::{self, ExtendedSequenceNumbers, KeyExchangeGroup, Proposal, ProtocolId, Transform, TransformType};

/// What is wrong with a peer's choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    /// There is not exactly one proposal in the answer.
    #[error("the answer holds {count} proposals instead of one")]
    NotOne {
        /// How many there are.
        count: usize,
    },
    /// The proposal is none of those that were offered.
    #[error("the chosen proposal was not offered")]
    NotOffered,
    /// The SPI has the wrong length, or is a reserved one.
    #[error("the SPI of the chosen proposal cannot be used")]
    BadSpi,
}

/// A suite that has a form on the wire.
pub(super) trait OnTheWire: Copy {
    /// The protocol of its SA.
    const PROTOCOL: ProtocolId;

    /// Returns its transforms, one of each type.
    fn transforms(&self) -> Vec<Transform>;
}

impl OnTheWire for IkeSuite {
    const PROTOCOL: ProtocolId = ProtocolId::IKE;

    fn transforms(&self) -> Vec<Transform> {
        let mut transforms = vec![encryption(self.encryption)];
        transforms.extend(self.integrity.map(integrity));
        transforms.push(prf(self.prf));
        transforms.push(Transform::key_exchange(KeyExchangeGroup(self.group.id())));
        transforms.extend(additional(self.additional));
        transforms
    }
}

impl OnTheWire for EspSuite {
    const PROTOCOL: ProtocolId = ProtocolId::ESP;

    fn transforms(&self) -> Vec<Transform> {
        let mut transforms = vec![encryption(self.encryption)];
        transforms.extend(self.integrity.map(integrity));
        transforms.extend(self.group.map(|group| Transform::key_exchange(KeyExchangeGroup(group.id()))));
        transforms.extend(additional(self.additional));
        let numbers = if self.esn { ExtendedSequenceNumbers::YES } else { ExtendedSequenceNumbers::NO };
        transforms.push(Transform::extended_sequence_numbers(numbers));
        transforms
    }
}

fn additional(exchanges: AdditionalExchanges) -> impl Iterator<Item = Transform> {
    exchanges.iter().map(|(place, group)| Transform::additional_key_exchange(place, KeyExchangeGroup(group.id())))
}

fn encryption(row: Encryption) -> Transform {
    Transform::encryption(wire::Encryption(row.id()), row.key_length_attribute())
}

fn integrity(row: Integrity) -> Transform {
    Transform::integrity(wire::Integrity(row.id()))
}

fn prf(row: PseudoRandomFunction) -> Transform {
    Transform::prf(wire::PseudoRandomFunction(row.id()))
}

/// Returns the offer of these suites, best first, under the own SPI.
pub(super) fn offer<S: OnTheWire>(suites: &[S], spi: &[u8]) -> Vec<Proposal> {
    (1..=u8::MAX)
        .zip(suites)
        .map(|(number, suite)| Proposal {
            number,
            protocol: S::PROTOCOL,
            spi: spi.to_vec(),
            transforms: suite.transforms(),
        })
        .collect()
}

/// Returns which of the offered suites the peer chose, and its SPI.
///
/// # Errors
/// See [`ChoiceError`].
pub(super) fn chosen<'a, S: OnTheWire>(suites: &[S], answer: &'a [Proposal]) -> Result<(S, &'a [u8]), ChoiceError> {
    let [proposal] = answer else { return Err(ChoiceError::NotOne { count: answer.len() }) };
    let place = usize::from(proposal.number).checked_sub(1).ok_or(ChoiceError::NotOffered)?;
    let suite = suites.get(place).ok_or(ChoiceError::NotOffered)?;
    let fits = proposal.protocol == S::PROTOCOL && same(&proposal.transforms, &suite.transforms());
    if fits { Ok((*suite, &proposal.spi)) } else { Err(ChoiceError::NotOffered) }
}

/// Compares without regard to order. INTEG NONE says the same as no INTEG (RFC 7296 §3.3.3).
fn same(answer: &[Transform], offered: &[Transform]) -> bool {
    let said: Vec<&Transform> = answer.iter().filter(|transform| !is_no_integrity(transform)).collect();
    said.len() == offered.len() && offered.iter().all(|transform| said.contains(&transform))
}

fn is_no_integrity(transform: &Transform) -> bool {
    transform.transform_type == TransformType::INTEGRITY && transform.id == wire::Integrity::NONE.0
}

/// What we answer to a peer's offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Selection<S> {
    /// The suite, one of ours.
    pub suite: S,
    /// The peer's SPI.
    pub peer_spi: Vec<u8>,
    number: u8,
}

impl<S: OnTheWire> Selection<S> {
    /// Returns the answer's proposal, under the own SPI.
    pub(super) fn answer(&self, spi: &[u8]) -> Vec<Proposal> {
        vec![Proposal {
            number: self.number,
            protocol: S::PROTOCOL,
            spi: spi.to_vec(),
            transforms: self.suite.transforms(),
        }]
    }
}

/// Chooses the first of the own suites that one of the peer's proposals allows.
pub(super) fn select<S: OnTheWire>(suites: &[S], offered: &[Proposal]) -> Option<Selection<S>> {
    suites.iter().find_map(|suite| {
        let proposal = offered.iter().find(|proposal| allows(proposal, suite))?;
        Some(Selection { suite: *suite, peer_spi: proposal.spi.clone(), number: proposal.number })
    })
}

fn allows<S: OnTheWire>(proposal: &Proposal, suite: &S) -> bool {
    let ours = suite.transforms();
    let offers_ours = ours.iter().all(|transform| proposal.transforms.contains(transform));
    // A type that the peer names and we leave out must allow to be left out. ESN may be left out
    // by nobody, and 0 is NONE in the other registries.
    let has_nothing_more = proposal.transforms.iter().all(|transform| {
        ours.iter().any(|own| own.transform_type == transform.transform_type)
            || proposal.of_type(transform.transform_type).any(|other| other.id == 0)
    });
    proposal.protocol == S::PROTOCOL && offers_ours && has_nothing_more
}

/// Returns the suites without their groups: IKE_AUTH carries no key exchange, so a group is
/// neither offered nor chosen there (RFC 7296 §1.2).
pub(super) fn without_groups(suites: &[EspSuite]) -> Vec<EspSuite> {
    let mut bare: Vec<EspSuite> = Vec::with_capacity(suites.len());
    for suite in suites {
        let suite = suite.without_groups();
        if !bare.contains(&suite) {
            bare.push(suite);
        }
    }
    bare
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ike(names: &[&str]) -> Vec<IkeSuite> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn esp(names: &[&str]) -> Vec<EspSuite> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    const SPI: [u8; 4] = [1, 2, 3, 4];

    #[test]
    fn a_choice_from_the_offer_is_recognised_in_any_order_of_transforms() {
        let suites = ike(&["aes256gcm16-prfsha384-ecp384", "aes256-sha256-modp2048"]);
        for (place, suite) in suites.iter().enumerate() {
            let mut answer = vec![offer(&suites, &[]).swap_remove(place)];
            answer[0].transforms.reverse();
            assert_eq!(chosen(&suites, &answer), Ok((*suite, &[][..])));
        }
    }

    #[test]
    fn a_choice_that_was_not_offered_is_refused() {
        let suites = ike(&["aes256gcm16-prfsha384-ecp384", "aes256-sha256-modp2048"]);
        let other = ike(&["aes128gcm16-prfsha256-ecp256"]);
        assert_eq!(chosen(&suites, &offer(&other, &[])), Err(ChoiceError::NotOffered));
        assert_eq!(chosen(&suites, &offer(&suites, &[])), Err(ChoiceError::NotOne { count: 2 }));
        assert_eq!(chosen(&suites, &[]), Err(ChoiceError::NotOne { count: 0 }));

        let mut mixed = vec![offer(&suites, &[]).swap_remove(0)];
        mixed[0].transforms.pop();
        assert_eq!(chosen(&suites, &mixed), Err(ChoiceError::NotOffered), "a transform is missing");
        let mut mixed = vec![offer(&suites, &[]).swap_remove(0)];
        mixed[0].number = 2;
        assert_eq!(chosen(&suites, &mixed), Err(ChoiceError::NotOffered), "the other one's number");
        let mut mixed = vec![offer(&suites, &[]).swap_remove(0)];
        mixed[0].protocol = ProtocolId::ESP;
        assert_eq!(chosen(&suites, &mixed), Err(ChoiceError::NotOffered), "another protocol");
        let mut doubled = vec![offer(&suites, &[]).swap_remove(0)];
        let first = doubled[0].transforms[0].clone();
        doubled[0].transforms[1] = first;
        assert_eq!(chosen(&suites, &doubled), Err(ChoiceError::NotOffered), "one transform twice");
    }

    #[test]
    fn integrity_none_beside_an_aead_says_nothing() {
        let suites = esp(&["aes256gcm16"]);
        let mut answer = offer(&suites, &SPI);
        answer[0].transforms.push(Transform::integrity(wire::Integrity::NONE));
        assert_eq!(chosen(&suites, &answer), Ok((suites[0], &SPI[..])));
    }

    #[test]
    fn the_own_order_decides_what_is_selected() {
        let ours = esp(&["aes256gcm16", "aes128gcm16"]);
        let theirs = esp(&["aes128gcm16", "chacha20poly1305", "aes256gcm16"]);
        let selection = select(&ours, &offer(&theirs, &SPI)).unwrap();
        assert_eq!(selection.suite, ours[0]);
        let answer = selection.answer(&[9, 9, 9, 9]);
        assert_eq!(chosen(&theirs, &answer), Ok((ours[0], &[9, 9, 9, 9][..])));
        assert_eq!(select(&esp(&["aes256-sha256"]), &offer(&theirs, &SPI)), None);
    }

    #[test]
    fn an_offer_of_alternatives_in_one_proposal_is_understood() {
        let mut proposal = offer(&esp(&["aes256-sha512-ecp384"]), &SPI).swap_remove(0);
        proposal.transforms.insert(0, encryption(Encryption::Aes128Cbc));
        proposal.transforms.push(integrity(Integrity::HmacSha256_128));
        let ours = esp(&["aes128-sha256-ecp384"]);
        assert_eq!(select(&ours, &[proposal.clone()]).unwrap().suite, ours[0]);
        assert_eq!(select(&esp(&["aes128-sha256"]), &[proposal.clone()]), None, "a group is wanted");
        proposal.transforms.push(Transform::key_exchange(KeyExchangeGroup::NONE));
        assert!(select(&esp(&["aes128-sha256"]), &[proposal]).is_some(), "no group is allowed too");
    }

    #[test]
    fn groups_are_neither_offered_nor_doubled_in_ike_auth() {
        let suites = esp(&["aes256gcm16-ecp384", "aes256gcm16-modp2048", "aes128gcm16-ecp256"]);
        assert_eq!(without_groups(&suites), esp(&["aes256gcm16", "aes128gcm16"]));
    }
}
