//! Coming back by a ticket (RFC 5723), and what a forger makes of it.

use super::*;
use crate::wire::{ExchangeType, Flags, Header, Message, Notify, NotifyType, ResponderSpi};

/// Says that tickets are wanted.
fn resuming() -> Configuration {
    let mut configuration = configuration();
    configuration.continuity.resumption = true;
    configuration
}

/// Makes a session with a gateway that gives a ticket; returns the ticket.
fn ticket(configuration: Configuration) -> Ticket {
    let opaque = [&3600_u32.to_be_bytes()[..], b"what only the gateway can read"].concat();
    let given = Payload::Notify(Notify::new(NotifyType::TICKET_LT_OPAQUE, opaque));
    let pair = Pair::with(configuration, Behaviour { extra: vec![given], ..Behaviour::default() });
    let ticket =
        pair.told.into_iter().find_map(|event| if let Event::Ticket(ticket) = event { Some(ticket) } else { None });
    *ticket.expect("a ticket")
}

fn resume(configuration: Configuration, ticket: Ticket) -> Session {
    let random = Box::new(SeededRandom::new(3));
    Session::resume(configuration, ticket, random, (client_address(), gateway_address()), at(2), UNIX_NOW)
}

fn exchange_of(message: &[u8]) -> ExchangeType {
    Message::decode(message).unwrap().header.exchange
}

/// Returns an unprotected answer to the ticket.
fn answer(request: &[u8], responder: ResponderSpi, payloads: Vec<Payload>) -> Vec<u8> {
    let spi = Message::decode(request).unwrap().header.initiator_spi;
    let flags = Flags::new(false, true);
    let header = Header::new(spi, responder, ExchangeType::IKE_SESSION_RESUME, flags, 0);
    Message::new(header, payloads).encode().unwrap()
}

fn refusal(request: &[u8]) -> Vec<u8> {
    let refused = Notify::new(NotifyType::TICKET_NACK, Vec::new());
    answer(request, ResponderSpi::ZERO, vec![Payload::Notify(refused)])
}

fn forged(request: &[u8]) -> Vec<u8> {
    answer(request, ResponderSpi(7), vec![Payload::Nonce(vec![9; 32])])
}

/// Lets time pass until the session asks from the start; returns its first message, and when.
fn from_the_start(client: &mut Session, mut heard: impl FnMut(&mut Session, &[u8], Timestamp)) -> (Vec<u8>, Timestamp) {
    let mut now = at(2);
    loop {
        assert!(!client.is_closed(), "{:?}", events(client));
        for message in sent(client) {
            match exchange_of(&message) {
                ExchangeType::IKE_SA_INIT => return (message, now),
                ExchangeType::IKE_SESSION_RESUME => heard(client, &message, now),
                _ => {}
            }
        }
        now = client.poll_timeout().expect("something is awaited").0;
        client.handle_timeout(now);
    }
}

/// Lets the gateway answer what was asked from the start.
fn assert_comes_up(mut client: Session, request: &[u8], now: Timestamp) {
    let mut gateway = Gateway::new(configuration(), Behaviour::default());
    for answer in gateway.take(request, now) {
        client.handle_datagram(&answer, client.remote(), now);
    }
    answer_psk(&mut client, PSK, now);
    exchange(&mut client, &mut gateway, now);
    assert_eq!(client.state_name(), "established");
}

#[test]
fn a_refused_ticket_leads_to_a_negotiation_from_the_start() {
    let mut client = resume(resuming(), ticket(resuming()));
    // HDR(A,0), N(TICKET_OPAQUE), Ni -->   <-- HDR(A,0), N(TICKET_NACK)
    let (request, now) = from_the_start(&mut client, |client, request, now| {
        client.handle_datagram(&refusal(request), gateway_address(), now);
    });
    assert_eq!(now.saturating_since(at(2)), Duration::from_millis(300));
    assert_comes_up(client, &request, now);
}

#[test]
fn attack_a_forged_answer_beside_a_refusal_of_the_ticket_delays_it_by_one_repetition() {
    for forged_first in [true, false] {
        let mut client = resume(resuming(), ticket(resuming()));
        let (request, now) = from_the_start(&mut client, |client, request, now| {
            // <-- HDR(A,X), Nr, from a forger, and <-- HDR(A,0), N(TICKET_NACK), from the gateway
            let mut answers = [forged(request), refusal(request)];
            if !forged_first {
                answers.reverse();
            }
            answers.iter().for_each(|answer| client.handle_datagram(answer, gateway_address(), now));
        });
        assert_eq!(now.saturating_since(at(2)), resuming().retransmission.initial);
        assert_comes_up(client, &request, now);
    }
}

#[test]
fn attack_a_forged_answer_to_a_ticket_alone_ends_in_a_negotiation_from_the_start() {
    let mut client = resume(resuming(), ticket(resuming()));
    let (request, now) = from_the_start(&mut client, |client, request, now| {
        client.handle_datagram(&forged(request), gateway_address(), now);
    });
    assert_comes_up(client, &request, now);
}

#[test]
fn a_profile_that_demands_post_quantum_keys_does_not_come_back_without_them() {
    let plain = ticket(resuming());
    let hybrid = "aes256gcm16-prfsha384-x25519-ke1_mlkem768".parse().unwrap();
    let mut demanding = resuming();
    demanding.ike_suites.insert(0, hybrid);
    demanding.require_post_quantum = true;
    let mut client = resume(demanding.clone(), plain);
    assert_eq!(exchange_of(&sent_one(&mut client)), ExchangeType::IKE_SA_INIT, "nothing of it is resumed");

    let hybrid_ticket = ticket(demanding.clone());
    let mut client = resume(demanding, hybrid_ticket);
    assert_eq!(exchange_of(&sent_one(&mut client)), ExchangeType::IKE_SESSION_RESUME);
    // What its renewals offer and take.
    assert_eq!(client.context.configuration.ike_suites, [hybrid]);
}
