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

#[test]
fn every_row_is_answered_as_the_rfc_says() {
    let later = || Answered::Notify(NotifyType::TEMPORARY_FAILURE);
    let rows = [
        // §2.25.1: CHILD SAs.
        (Doing::ClosingChild, Asked::RekeyChild, later()),
        (Doing::RekeyingChild, Asked::RekeyChild, Answered::NewSa),
        (Doing::ClosingChild, Asked::RekeyUnknownChild, Answered::Notify(NotifyType::CHILD_SA_NOT_FOUND)),
        (Doing::ClosingChild, Asked::CloseChild, Answered::Nothing),
        (Doing::RekeyingChild, Asked::CloseChild, Answered::Deleted(1)),
        (Doing::RekeyingChild, Asked::CloseUnknownChild, Answered::Nothing),
        (Doing::CreatingChild, Asked::RekeyIke, later()),
        (Doing::RekeyingChild, Asked::RekeyIke, later()),
        (Doing::ClosingChild, Asked::RekeyIke, later()),
        // §2.25.2: the IKE SA.
        (Doing::RekeyingIke, Asked::RekeyIke, Answered::NewSa),
        (Doing::ClosingIke, Asked::RekeyIke, later()),
        (Doing::RekeyingIke, Asked::CloseIke, Answered::Nothing),
        (Doing::ClosingIke, Asked::CloseIke, Answered::Nothing),
        (Doing::RekeyingIke, Asked::RekeyChild, later()),
        (Doing::RekeyingIke, Asked::CreateChild, Answered::Notify(NotifyType::NO_ADDITIONAL_SAS)),
        (Doing::RekeyingIke, Asked::CloseChild, Answered::Deleted(1)),
        // Two requests for a CHILD SA where there is none: one is made, later.
        (Doing::CreatingChild, Asked::CreateChild, later()),
    ];
    for (what, asked, expected) in rows {
        let (mut pair, spi) = doing(what);
        let (exchange, payloads) = request(asked, spi, &configuration());
        let message = send_raw(&mut pair.gateway, exchange, &payloads, pair.now).remove(0);
        for round in ["first", "repeated"] {
            pair.give_client(&message);
            let answers = sent(&mut pair.client);
            let row = format!("{asked:?} while {what:?}, {round}");
            if round == "first" {
                assert_eq!(answered(&opened(&mut pair.gateway, &answers[0], pair.now)), expected, "{row}");
            } else if !matches!((what, asked), (Doing::ClosingIke | Doing::RekeyingIke, Asked::CloseIke)) {
                assert_eq!(answers.len(), 1, "{row}: the same octets again, and nothing else");
            }
        }
    }
}
