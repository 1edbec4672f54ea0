//! What somebody on the path may try against the negotiation, attack by attack.
//!
//! More of them stand beside what they attack: forged groups and values in [`init`](super::init),
//! redirects in [`redirects`](super::redirects), addresses in [`mobility`](super::mobility), Deletes and
//! reflections of an SA that stands in [`hostile`](super::hostile).

use super::*;
use crate::wire::{
    Delete, EncryptedFragment, ExchangeType, Flags, Header, Message, Notify, NotifyType, PayloadType, ResponderSpi,
};

/// A client and a gateway after IKE_SA_INIT, whose answer somebody has changed on the way.
fn with_changed_answer(change: impl Fn(&mut Vec<Payload>)) -> (Session, Gateway) {
    let mut gateway = Gateway::new(configuration(), Behaviour { skips_client_proof: true, ..Behaviour::default() });
    let mut client = client(configuration());
    let request = sent_one(&mut client);
    for answer in gateway.take(&request, at(0)) {
        let mut message = Message::decode(&answer).unwrap();
        change(&mut message.payloads);
        client.handle_datagram(&message.encode().unwrap(), gateway_address(), at(0));
    }
    (client, gateway)
}

fn without(kinds: &[NotifyType]) -> impl Fn(&mut Vec<Payload>) {
    move |payloads| {
        payloads.retain(|payload| !matches!(payload, Payload::Notify(one) if kinds.contains(&one.notify_type)))
    }
}

#[test]
fn a_stripped_notify_of_the_first_answer_is_found_out_by_the_gateways_proof() {
    for stripped in [NotifyType::IKEV2_FRAGMENTATION_SUPPORTED, NotifyType::SIGNATURE_HASH_ALGORITHMS] {
        let (mut client, mut gateway) = with_changed_answer(without(&[stripped]));
        answer_psk(&mut client, PSK, at(0));
        exchange(&mut client, &mut gateway, at(0));
        let why = DistrustReason::ProofWrong;
        assert_eq!(closed(&mut client), CloseCause::GatewayNotTrusted { why }, "{stripped:?}");
    }
}

#[test]
fn a_stripped_nat_detection_never_leads_to_esp_outside_udp() {
    let detection = [NotifyType::NAT_DETECTION_SOURCE_IP, NotifyType::NAT_DETECTION_DESTINATION_IP];
    let (mut client, _) = with_changed_answer(without(&detection));
    assert_eq!(client.state_name(), "awaiting-init-response", "the real answer still counts");
    let mut moments = 0;
    while let Some((moment, _)) = client.poll_timeout() {
        client.handle_timeout(moment);
        moments += 1;
    }
    assert!(moments > 3, "{moments}");
    assert!(matches!(closed(&mut client), CloseCause::PeerIncompatible { .. }));
}

#[test]
fn a_notify_that_was_put_into_the_first_answer_is_found_out_too() {
    let added = |kind| move |payloads: &mut Vec<Payload>| payloads.push(Payload::Notify(Notify::new(kind, Vec::new())));
    for kind in [NotifyType::CHILDLESS_IKEV2_SUPPORTED, NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED, NotifyType(40000)]
    {
        let (mut client, mut gateway) = with_changed_answer(added(kind));
        if client.state_name() == "awaiting-pre-shared-key" {
            answer_psk(&mut client, PSK, at(0));
            exchange(&mut client, &mut gateway, at(0));
            let why = DistrustReason::ProofWrong;
            assert_eq!(closed(&mut client), CloseCause::GatewayNotTrusted { why }, "{kind:?}");
        }
        assert_ne!(client.state_name(), "established", "{kind:?}");
    }
}

#[test]
fn a_request_that_was_changed_on_the_way_is_found_out() {
    let mut gateway = Gateway::new(configuration(), Behaviour { skips_client_proof: true, ..Behaviour::default() });
    let mut client = client(configuration());
    let request = sent_one(&mut client);
    // The better of the offered suites is taken away.
    let mut message = Message::decode(&request).unwrap();
    for payload in &mut message.payloads {
        if let Payload::Notify(notify) = payload
            && notify.notify_type == NotifyType::SIGNATURE_HASH_ALGORITHMS
        {
            notify.data.clear();
        }
    }
    for answer in gateway.take(&message.encode().unwrap(), at(0)) {
        client.handle_datagram(&answer, gateway_address(), at(0));
    }
    answer_psk(&mut client, PSK, at(0));
    let auth = sent_one(&mut client);
    gateway.take(&auth, at(0));
    assert_eq!(client.state_name(), "awaiting-auth-response");
    assert!(!gateway.client_is_proven(), "what the client proved is another first message");
}

#[test]
fn an_answer_of_another_negotiation_is_nothing() {
    let mut gateway = Gateway::new(configuration(), Behaviour::default());
    let mut earlier = client(configuration());
    let request = sent_one(&mut earlier);
    let recorded = gateway.take(&request, at(0)).remove(0);
    let random = Box::new(SeededRandom::new(99));
    let (local, remote) = (client_address(), gateway_address());
    let mut later = Session::new(configuration(), random, local, remote, Timestamp::ZERO, UNIX_NOW);
    later.handle_datagram(&recorded, gateway_address(), at(0));
    assert_eq!((later.counters().foreign, later.state_name()), (1, "awaiting-init-response"));
    // And once it was taken, the same answer does nothing more.
    earlier.handle_datagram(&recorded, gateway_address(), at(0));
    let state = earlier.state_name();
    for _ in 0..3 {
        earlier.handle_datagram(&recorded, earlier.remote(), at(0));
    }
    assert_eq!((earlier.state_name(), earlier.counters().unauthenticated), (state, 0));
    answer_psk(&mut earlier, PSK, at(0));
    exchange(&mut earlier, &mut gateway, at(0));
    assert_eq!(earlier.state_name(), "established");
}

/// Returns a message of anybody under the SPIs that are in use.
fn forged(like: &[u8], exchange: ExchangeType, payload: Payload) -> Vec<u8> {
    let header = Message::decode(like).unwrap().header;
    let (initiator, responder) = (header.initiator_spi, header.responder_spi);
    let header = Header::new(initiator, responder, exchange, Flags::new(false, true), header.message_id);
    Message::new(header, vec![payload]).encode().unwrap()
}

#[test]
fn unprotected_refusals_and_deletes_do_not_stop_the_authentication() {
    let mut gateway = Gateway::new(configuration(), Behaviour::default());
    let mut client = client(configuration());
    exchange(&mut client, &mut gateway, at(0));
    answer_psk(&mut client, PSK, at(0));
    let request = sent_one(&mut client);
    let notify = |kind| Payload::Notify(Notify::new(kind, Vec::new()));
    let kinds = [NotifyType::AUTHENTICATION_FAILED, NotifyType::NO_PROPOSAL_CHOSEN, NotifyType::INVALID_SYNTAX];
    for payload in kinds.map(notify).into_iter().chain([Payload::Delete(Delete::IkeSa)]) {
        for exchange in [ExchangeType::IKE_AUTH, ExchangeType::INFORMATIONAL, ExchangeType::IKE_SA_INIT] {
            let message = forged(&request, exchange, payload.clone());
            client.handle_datagram(&message, client.remote(), at(0));
            assert_eq!(client.state_name(), "awaiting-auth-response", "{payload:?} in {exchange:?}");
        }
    }
    for answer in gateway.take(&request, at(0)) {
        client.handle_datagram(&answer, client.remote(), at(0));
    }
    assert_eq!(client.state_name(), "established");
}

#[test]
fn the_own_messages_come_back_and_are_nothing() {
    let mut gateway = Gateway::new(configuration(), Behaviour::default());
    let mut client = client(configuration());
    let init = sent_one(&mut client);
    client.handle_datagram(&init, gateway_address(), at(0));
    for answer in gateway.take(&init, at(0)) {
        client.handle_datagram(&answer, gateway_address(), at(0));
    }
    answer_psk(&mut client, PSK, at(0));
    let auth = sent_one(&mut client);
    client.handle_datagram(&auth, client.remote(), at(0));
    client.handle_datagram(&init, client.remote(), at(0));
    assert_eq!(client.state_name(), "awaiting-auth-response");
    for answer in gateway.take(&auth, at(0)) {
        client.handle_datagram(&answer, client.remote(), at(0));
    }
    assert_eq!(client.state_name(), "established");
}

#[test]
fn a_flood_of_forged_fragments_keeps_nothing_and_stops_nothing() {
    let small = || Configuration { fragment_size: 200, ..configuration() };
    let mut gateway = Gateway::new(small(), Behaviour::default());
    let mut client = client(small());
    exchange(&mut client, &mut gateway, at(0));
    answer_psk(&mut client, PSK, at(0));
    let request = sent(&mut client);
    let (spis, flags) = (Message::decode(&request[0]).unwrap().header, Flags::new(false, true));
    for number in 1..=2000_u16 {
        let (initiator, responder) = (spis.initiator_spi, spis.responder_spi);
        let header = Header::new(initiator, responder, ExchangeType::IKE_AUTH, flags, spis.message_id);
        let (total, body) = (number.saturating_mul(7).max(number), vec![7; 900]);
        let fragment = EncryptedFragment { first_inner: PayloadType::NONE, number, total, body };
        let message = Message::new(header, vec![Payload::EncryptedFragment(fragment)]).encode().unwrap();
        client.handle_datagram(&message, client.remote(), at(0));
    }
    assert_eq!(client.counters().unauthenticated, 2000);
    assert!(client.poll_timeout().is_some_and(|(_, name)| name != TimerName::Reassembly), "nothing waits for more");
    let answers: Vec<_> = request.iter().flat_map(|message| gateway.take(message, at(0))).collect();
    for answer in &answers {
        client.handle_datagram(answer, client.remote(), at(0));
    }
    assert_eq!(client.state_name(), "established");
}

#[test]
fn a_responder_spi_of_zero_is_no_gateway() {
    let mut gateway = Gateway::new(configuration(), Behaviour::default());
    let mut client = client(configuration());
    let request = sent_one(&mut client);
    let mut message = Message::decode(&gateway.take(&request, at(0)).remove(0)).unwrap();
    message.header.responder_spi = ResponderSpi::ZERO;
    client.handle_datagram(&message.encode().unwrap(), gateway_address(), at(0));
    assert_eq!(client.state_name(), "awaiting-init-response");
}
