//! Redirects (RFC 5685) in IKE_SA_INIT, in IKE_AUTH and of an SA that stands.

use super::*;
use crate::wire::{ExchangeType, Flags, Header, Message, Notify, NotifyType, ResponderSpi};

const OTHER: [u8; 6] = [1, 4, 198, 51, 100, 9];

fn other() -> RedirectTarget {
    RedirectTarget::Address("198.51.100.9".parse().unwrap())
}

fn has(message: &[u8], kind: NotifyType) -> bool {
    Message::decode(message).unwrap().notifies().any(|notify| notify.notify_type == kind)
}

/// Returns an unprotected redirect in answer to a request, with that nonce.
fn redirect(request: &[u8], nonce: &[u8]) -> Vec<u8> {
    let spi = Message::decode(request).unwrap().header.initiator_spi;
    let header = Header::new(spi, ResponderSpi::ZERO, ExchangeType::IKE_SA_INIT, Flags::new(false, true), 0);
    let notify = Notify::new(NotifyType::REDIRECT, [&OTHER, nonce].concat());
    Message::new(header, vec![Payload::Notify(notify)]).encode().unwrap()
}

fn nonce_of(request: &[u8]) -> Vec<u8> {
    let message = Message::decode(request).unwrap();
    payloads::Payloads(&message.payloads).nonce().unwrap().to_vec()
}

#[test]
fn a_redirect_in_the_first_exchange_counts_when_it_comes_each_time() {
    let mut client = client(configuration());
    let (cause, asked, _) = insisting(&mut client, |request| {
        assert!(has(request, NotifyType::REDIRECT_SUPPORTED));
        // <-- HDR(A,0), N(REDIRECT, Ni)
        redirect(request, &nonce_of(request))
    });
    assert_eq!((cause, asked), (CloseCause::Redirected { to: other() }, 3));
}

#[test]
fn a_forged_redirect_without_our_nonce_is_nothing_and_one_with_it_does_not_stop_the_real_answer() {
    let mut gateway = Gateway::new(configuration(), Behaviour::default());
    let mut client = client(configuration());
    let request = sent_one(&mut client);
    client.handle_datagram(&redirect(&request, &[9; 32]), gateway_address(), at(0));
    client.handle_datagram(&redirect(&request, &[]), gateway_address(), at(0));
    assert_eq!(client.counters().unexpected, 2);
    client.handle_datagram(&redirect(&request, &nonce_of(&request)), gateway_address(), at(0));
    for answer in gateway.take(&request, at(1)) {
        client.handle_datagram(&answer, gateway_address(), at(1));
    }
    answer_psk(&mut client, PSK, at(1));
    exchange(&mut client, &mut gateway, at(1));
    assert_eq!(client.state_name(), "established");
}

#[test]
fn a_redirect_in_the_authentication_is_followed_once_the_gateway_is_proven() {
    let extra = vec![Payload::Notify(Notify::new(NotifyType::REDIRECT, OTHER.to_vec()))];
    for (psk, expected) in
        [(PSK, Some(CloseCause::Redirected { to: other() })), (b"another key than the gateway's..".as_slice(), None)]
    {
        let behaviour = Behaviour { extra: extra.clone(), skips_client_proof: true, ..Behaviour::default() };
        let mut gateway = Gateway::new(configuration(), behaviour);
        let mut client = client(configuration());
        exchange(&mut client, &mut gateway, at(0));
        answer_psk(&mut client, psk, at(0));
        exchange(&mut client, &mut gateway, at(0));
        match expected {
            Some(cause) => assert_eq!(closed(&mut client), cause),
            None => assert!(matches!(closed(&mut client), CloseCause::GatewayNotTrusted { .. })),
        }
    }
}

#[test]
fn a_redirect_of_an_sa_that_stands_is_told_and_the_sa_stays_until_its_successor_does() {
    let mut pair = Pair::new();
    // <-- HDR, SK{N(REDIRECT)}   HDR, SK{} -->
    let notify = Notify::new(NotifyType::REDIRECT, [&[3, 16][..], b"gw2.example.test"].concat());
    assert_eq!(pair.inform_client(&[Payload::Notify(notify)]), []);
    let to = RedirectTarget::Name("gw2.example.test".into());
    assert!(pair.told.iter().any(|event| matches!(event, Event::Redirected { to: told } if *told == to)));
    pair.assert_sound();
}

#[test]
fn who_does_not_follow_redirects_does_not_offer_to() {
    let mut quiet = configuration();
    quiet.continuity.follow_redirects = false;
    let mut pair = Pair::with(quiet.clone(), Behaviour::default());
    pair.inform_client(&[Payload::Notify(Notify::new(NotifyType::REDIRECT, OTHER.to_vec()))]);
    assert!(!pair.told.iter().any(|event| matches!(event, Event::Redirected { .. })));
    let mut client = client(quiet);
    let request = sent_one(&mut client);
    assert!(!has(&request, NotifyType::REDIRECT_SUPPORTED));
    client.handle_datagram(&redirect(&request, &nonce_of(&request)), gateway_address(), at(0));
    assert_eq!(client.poll_timeout(), Some((at(1), TimerName::Retransmission)), "nothing was heard");
}

#[test]
fn the_next_gateway_is_told_who_sent_this_client() {
    let mut redirected = configuration();
    redirected.continuity.redirected_from = Some(other());
    let mut client = client(redirected);
    let request = sent_one(&mut client);
    assert!(!has(&request, NotifyType::REDIRECT_SUPPORTED));
    let message = Message::decode(&request).unwrap();
    let from = message.notifies().find(|notify| notify.notify_type == NotifyType::REDIRECTED_FROM).unwrap();
    assert_eq!(from.data, OTHER);
}
