//! Choosing a suite from what the client offers.

use ike_client::crypto::suite::{AdditionalExchanges, EspSuite, IkeSuite};
use ike_client::crypto::transform as table;
use ike_client::wire::{
    Encryption, ExtendedSequenceNumbers, Integrity, KeyExchangeGroup, Proposal, ProtocolId, PseudoRandomFunction,
    Transform, TransformType,
};

/// A suite and the proposal that answers with it, the gateway's SPI still missing.
pub(super) struct Choice<Suite> {
    pub suite: Suite,
    pub answer: Proposal,
    pub client_spi: Vec<u8>,
}

/// Whether a key exchange belongs to the CHILD SA that is made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pfs {
    /// In IKE_AUTH there is none.
    Impossible,
    /// In CREATE_CHILD_SA the suite decides.
    AsConfigured,
}

/// Chooses the first configured suite that a proposal allows.
pub(super) fn choose_ike(suites: &[IkeSuite], offered: &[Proposal]) -> Option<Choice<IkeSuite>> {
    suites.iter().find_map(|suite| {
        let transforms = ike_transforms(suite);
        let proposal = offered.iter().find(|p| p.protocol == ProtocolId::IKE && allows(p, &transforms))?;
        Some(choice(*suite, proposal, transforms))
    })
}

/// Chooses the first configured suite that a proposal allows.
pub(super) fn choose_esp(suites: &[EspSuite], offered: &[Proposal], pfs: Pfs) -> Option<Choice<EspSuite>> {
    suites.iter().find_map(|configured| {
        let mut suite = *configured;
        if pfs == Pfs::Impossible {
            suite = suite.without_groups();
        }
        let transforms = esp_transforms(&suite);
        let fits = |proposal: &&Proposal| {
            let mut offered = (*proposal).clone();
            if pfs == Pfs::Impossible {
                offered.transforms.retain(|transform| transform.transform_type != TransformType::KEY_EXCHANGE);
            }
            offered.protocol == ProtocolId::ESP && offered.spi.len() == 4 && allows(&offered, &transforms)
        };
        Some(choice(suite, offered.iter().find(fits)?, transforms))
    })
}

fn choice<Suite>(suite: Suite, proposal: &Proposal, transforms: Vec<Transform>) -> Choice<Suite> {
    let (number, protocol) = (proposal.number, proposal.protocol);
    let answer = Proposal { number, protocol, spi: Vec::new(), transforms };
    Choice { suite, answer, client_spi: proposal.spi.clone() }
}

/// Tells whether the proposal offers each of the transforms, and demands no type that is not among
/// them. An offer of "none" demands nothing.
fn allows(proposal: &Proposal, wanted: &[Transform]) -> bool {
    let offered = wanted.iter().all(|transform| proposal.transforms.contains(transform));
    let undemanding = proposal.transforms.iter().all(|transform| {
        wanted.iter().any(|other| other.transform_type == transform.transform_type)
            || proposal.of_type(transform.transform_type).any(|other| other.id == 0)
    });
    offered && undemanding
}

fn ike_transforms(suite: &IkeSuite) -> Vec<Transform> {
    let mut transforms = vec![encryption(suite.encryption), Transform::prf(PseudoRandomFunction(suite.prf.id()))];
    transforms.extend(suite.integrity.map(|integrity| Transform::integrity(Integrity(integrity.id()))));
    transforms.push(Transform::key_exchange(KeyExchangeGroup(suite.group.id())));
    transforms.extend(additional(suite.additional));
    transforms
}

fn esp_transforms(suite: &EspSuite) -> Vec<Transform> {
    let mut transforms = vec![encryption(suite.encryption)];
    transforms.extend(suite.integrity.map(|integrity| Transform::integrity(Integrity(integrity.id()))));
    transforms.extend(suite.group.map(|group| Transform::key_exchange(KeyExchangeGroup(group.id()))));
    transforms.extend(additional(suite.additional));
    let esn = if suite.esn { ExtendedSequenceNumbers::YES } else { ExtendedSequenceNumbers::NO };
    transforms.push(Transform::extended_sequence_numbers(esn));
    transforms
}

fn additional(exchanges: AdditionalExchanges) -> impl Iterator<Item = Transform> {
    exchanges.iter().map(|(place, group)| Transform::additional_key_exchange(place, KeyExchangeGroup(group.id())))
}

fn encryption(row: table::Encryption) -> Transform {
    Transform::encryption(Encryption(row.id()), row.key_length_attribute())
}
