//! RFC 7296 §2.25, row by row: what is answered to a request that meets one's own.
//!
//! What the rows about two renewals of one SA lead to is in [`collisions`](super::collisions).

use super::*;
use crate::wire::{ChildSpi, Delete, ExchangeType, Notify, NotifyType, ProtocolId, TrafficSelector};

/// What this side is doing when the request arrives.
#[derive(Clone, Copy, Debug)]
enum Doing {
    RekeyingChild,
    ClosingChild,
    CreatingChild,
    RekeyingIke,
    ClosingIke,
}

/// What the peer asks for.
#[derive(Clone, Copy, Debug)]
enum Asked {
    RekeyChild,
    RekeyUnknownChild,
    CloseChild,
    CloseUnknownChild,
    CreateChild,
    RekeyIke,
    CloseIke,
}

/// What the answer is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answered {
    Notify(NotifyType),
    /// A Delete of as many CHILD SAs.
    Deleted(usize),
    Nothing,
    NewSa,
}

/// Brings a pair so far that the client is doing that, its request still unseen by the gateway.
/// Returns with it the SPI, as the gateway receives on it, of the CHILD SA that it is about.
fn doing(what: Doing) -> (Pair, ChildSpi) {
    let mut pair = Pair::new();
    pair.now = at(60);
    let spi = ChildSpi(pair.children[1][0].0);
    match what {
        Doing::RekeyingChild => pair.client.rekey_child(pair.now),
        Doing::ClosingChild => {
            // The renewed one is closed.
            pair.client.rekey_child(pair.now);
            let request = sent_one(&mut pair.client);
            pair.give_gateway(&request);
            let answer = sent_one(&mut pair.gateway);
            pair.give_client(&answer);
        }
        Doing::CreatingChild => {
            let notify = Payload::Notify(Notify::new(NotifyType::INVALID_SPI, spi.0.to_be_bytes().to_vec()));
            let request = send_raw(&mut pair.gateway, ExchangeType::INFORMATIONAL, &[notify], pair.now).remove(0);
            pair.give_client(&request);
            let answer = sent(&mut pair.client).remove(0);
            opened(&mut pair.gateway, &answer, pair.now);
            return (pair, spi);
        }
        Doing::RekeyingIke => pair.client.rekey_ike(pair.now),
        Doing::ClosingIke => pair.client.close(CloseReason::User, pair.now),
    }
    sent_one(&mut pair.client);
    (pair, spi)
}

fn request(asked: Asked, spi: ChildSpi, configuration: &Configuration) -> (ExchangeType, Vec<Payload>) {
    let rekey = |spi: ChildSpi| {
        let spi = spi.0.to_be_bytes().to_vec();
        let notify_type = NotifyType::REKEY_SA;
        Payload::Notify(Notify { protocol: ProtocolId::ESP, spi, notify_type, data: Vec::new() })
    };
    let child = || {
        let any = vec![TrafficSelector::any_ipv4()];
        vec![
            Payload::SecurityAssociation(proposal::offer(&configuration.esp_suites[..1], &[1, 2, 3, 4])),
            Payload::Nonce(vec![5; 32]),
            Payload::TrafficSelectorsInitiator(any.clone()),
            Payload::TrafficSelectorsResponder(any),
        ]
    };
    let delete = |spi| Payload::Delete(Delete::ChildSas { protocol: ProtocolId::ESP, spis: vec![spi] });
    match asked {
        Asked::RekeyChild => (ExchangeType::CREATE_CHILD_SA, [vec![rekey(spi)], child()].concat()),
        Asked::RekeyUnknownChild => (ExchangeType::CREATE_CHILD_SA, [vec![rekey(ChildSpi(9999))], child()].concat()),
        Asked::CreateChild => (ExchangeType::CREATE_CHILD_SA, child()),
        Asked::CloseChild => (ExchangeType::INFORMATIONAL, vec![delete(spi)]),
        Asked::CloseUnknownChild => (ExchangeType::INFORMATIONAL, vec![delete(ChildSpi(9999))]),
        Asked::CloseIke => (ExchangeType::INFORMATIONAL, vec![Payload::Delete(Delete::IkeSa)]),
        Asked::RekeyIke => {
            let suites = &configuration.ike_suites[..1];
            let mut random = SeededRandom::new(77);
            let exchange = crate::crypto::kex::KeyExchange::generate(suites[0].group, &mut random).unwrap();
            let group = crate::wire::KeyExchangeGroup(exchange.group().id());
            let data = exchange.public().to_vec();
            let payloads = vec![
                Payload::SecurityAssociation(proposal::offer(suites, &[8; 8])),
                Payload::Nonce(vec![6; 32]),
                Payload::KeyExchange(crate::wire::KeyExchange { group, data }),
            ];
            (ExchangeType::CREATE_CHILD_SA, payloads)
        }
    }
}

fn answered(payloads: &[Payload]) -> Answered {
    match payloads {
        [] => Answered::Nothing,
        [Payload::Notify(notify)] => Answered::Notify(notify.notify_type),
        [Payload::Delete(Delete::ChildSas { spis, .. })] => Answered::Deleted(spis.len()),
        [Payload::SecurityAssociation(_), ..] => Answered::NewSa,
        other => panic!("{other:?}"),
    }
}

/// Plays one row.
fn row(what: Doing, asked: Asked, expected: &Answered) {
    let (mut pair, spi) = doing(what);
    let (exchange, payloads) = request(asked, spi, &configuration());
    let message = send_raw(&mut pair.gateway, exchange, &payloads, pair.now).remove(0);
    pair.give_client(&message);
    let answers = sent(&mut pair.client);
    assert_eq!(&answered(&opened(&mut pair.gateway, &answers[0], pair.now)), expected);
    pair.give_client(&message);
    let again = sent(&mut pair.client);
    if !matches!((what, asked), (Doing::ClosingIke | Doing::RekeyingIke, Asked::CloseIke)) {
        assert_eq!(again.len(), 1, "the same octets again, and nothing else");
    }
}

/// Makes a test of each row.
macro_rules! rows {
    ($($name:ident: $asked:ident while $doing:ident is $expected:expr;)*) => {
        $(#[test]
        fn $name() {
            row(Doing::$doing, Asked::$asked, &$expected);
        })*
    };
}

use Answered::{Deleted, NewSa, Nothing};

const LATER: Answered = Answered::Notify(NotifyType::TEMPORARY_FAILURE);
const NOT_FOUND: Answered = Answered::Notify(NotifyType::CHILD_SA_NOT_FOUND);
const NO_MORE: Answered = Answered::Notify(NotifyType::NO_ADDITIONAL_SAS);

// §2.25.1: CHILD SAs; §2.25.2: the IKE SA. Two requests for a CHILD SA where there is none: one is made, later.
rows! {
    section_2_25_1_a_renewal_of_a_child_sa_that_is_being_closed: RekeyChild while ClosingChild is LATER;
    section_2_25_1_a_renewal_of_a_child_sa_that_is_being_renewed: RekeyChild while RekeyingChild is NewSa;
    section_2_25_1_a_renewal_of_a_child_sa_that_does_not_exist: RekeyUnknownChild while ClosingChild is NOT_FOUND;
    section_2_25_1_the_close_of_a_child_sa_that_is_being_closed: CloseChild while ClosingChild is Nothing;
    section_2_25_1_the_close_of_a_child_sa_that_is_being_renewed: CloseChild while RekeyingChild is Deleted(1);
    section_2_25_1_the_close_of_a_child_sa_that_does_not_exist: CloseUnknownChild while RekeyingChild is Nothing;
    section_2_25_1_a_renewal_of_the_ike_sa_while_a_child_sa_is_made: RekeyIke while CreatingChild is LATER;
    section_2_25_1_a_renewal_of_the_ike_sa_while_a_child_sa_is_renewed: RekeyIke while RekeyingChild is LATER;
    section_2_25_1_a_renewal_of_the_ike_sa_while_a_child_sa_is_closed: RekeyIke while ClosingChild is LATER;
    section_2_25_2_a_renewal_of_the_ike_sa_that_is_being_renewed: RekeyIke while RekeyingIke is NewSa;
    section_2_25_2_a_renewal_of_the_ike_sa_that_is_being_closed: RekeyIke while ClosingIke is LATER;
    section_2_25_2_the_close_of_the_ike_sa_that_is_being_renewed: CloseIke while RekeyingIke is Nothing;
    section_2_25_2_the_close_of_the_ike_sa_that_is_being_closed: CloseIke while ClosingIke is Nothing;
    section_2_25_2_a_renewal_of_a_child_sa_while_the_ike_sa_is_renewed: RekeyChild while RekeyingIke is LATER;
    section_2_25_2_a_new_child_sa_while_the_ike_sa_is_renewed: CreateChild while RekeyingIke is NO_MORE;
    section_2_25_2_a_new_child_sa_while_the_ike_sa_is_closed: CreateChild while ClosingIke is LATER;
    section_2_25_2_a_renewal_of_a_child_sa_while_the_ike_sa_is_closed: RekeyChild while ClosingIke is LATER;
    section_2_25_2_the_close_of_a_child_sa_while_the_ike_sa_is_renewed: CloseChild while RekeyingIke is Deleted(1);
    section_2_25_a_child_sa_is_asked_for_by_both_sides: CreateChild while CreatingChild is LATER;
}
