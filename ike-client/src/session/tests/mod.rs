//! Two parties, virtual time, messages handed over one by one.
//!
//! Each step of an exchange stands above its lines in the notation of RFC 7296. [`gateway`] is a
//! responder for IKE_SA_INIT and IKE_AUTH; once it is through it holds a [`Session`] of its own,
//! since the machine of an established SA is the same for both sides. [`network`] carries messages
//! between two parties with loss, delay and repetition, and sleeps exactly as long as it is told.

mod attacks;
mod authentication;
mod certificates;
mod collision_table;
mod collisions;
mod eap;
mod fragmentation;
mod gateway;
mod going_on;
mod hostile;
mod hybrid_collisions;
mod init;
mod lifetimes;
mod losses;
mod mobility;
mod network;
mod post_quantum;
mod ppk;
mod probe;
mod redirects;
mod renewal;
mod resumption;
mod several_answers;
mod twice;

use super::*;
use crate::crypto::Secret;
use crate::random::SeededRandom;
use crate::wire::{ExchangeType, Payload};
use gateway::{Behaviour, Gateway};
use std::time::Duration;

const PSK: &[u8] = b"a pre-shared key of some length";
const UNIX_NOW: u64 = 1_800_000_000;

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn client_address() -> SocketAddr {
    address("192.0.2.10:500")
}

fn gateway_address() -> SocketAddr {
    address("198.51.100.1:500")
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_start(Duration::from_secs(seconds))
}

/// A configuration by pre-shared key, written as the agent would write it.
fn configuration() -> Configuration {
    serde_json::from_value(serde_json::json!({
        "gateway_name": "vpn.example.test",
        "gateway_auth": { "method": "pre-shared-key" },
        "client_auth": { "method": "pre-shared-key" },
        "ike_suites": ["aes256gcm16-prfsha384-x25519", "aes256-sha256-modp2048"],
        "esp_suites": ["aes256gcm16", "aes128gcm16-ecp256"],
        "liveness_interval": null,
    }))
    .unwrap()
}

fn client(configuration: Configuration) -> Session {
    let random = Box::new(SeededRandom::new(1));
    Session::new(configuration, random, client_address(), gateway_address(), Timestamp::ZERO, UNIX_NOW)
}

/// Takes every message out of a session, without markers.
fn sent(session: &mut Session) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| session.poll_transmit()).map(|transmit| unmarked(&transmit)).collect()
}

fn unmarked(transmit: &Transmit) -> Vec<u8> {
    match transmit.socket {
        LocalSocket::Ike => transmit.bytes.clone(),
        LocalSocket::Encapsulated => match transmit.bytes.as_slice() {
            [0, 0, 0, 0, message @ ..] => message.to_vec(),
            other => other.to_vec(),
        },
    }
}

/// Takes the only message out of a session.
fn sent_one(session: &mut Session) -> Vec<u8> {
    let mut messages = sent(session);
    assert_eq!(messages.len(), 1, "{} sends {} messages", session.state_name(), messages.len());
    messages.remove(0)
}

fn events(session: &mut Session) -> Vec<Event> {
    std::iter::from_fn(|| session.poll_event()).collect()
}

/// Lets the time pass in which another answer is waited for, after the only candidate has failed.
fn nobody_else_answers(session: &mut Session) {
    while let State::Candidates(candidates) = &session.state
        && candidates.one_has_failed()
        && candidates.count() == 0
        && let Some((moment, _)) = session.poll_timeout()
    {
        session.handle_timeout(moment);
    }
}

/// Answers each first message of the client until that is over; returns why, how many there were, and when
/// it was over.
fn insisting(client: &mut Session, mut answer: impl FnMut(&[u8]) -> Vec<u8>) -> (CloseCause, usize, Timestamp) {
    let (mut asked, mut now) = (0, Timestamp::ZERO);
    while !client.is_closed() {
        for request in sent(client) {
            asked += 1;
            client.handle_datagram(&answer(&request), gateway_address(), now);
        }
        let Some((moment, _)) = client.poll_timeout() else { break };
        now = now.max(moment);
        client.handle_timeout(now);
    }
    (closed(client), asked, now)
}

/// Returns why the session is closed.
fn closed(session: &mut Session) -> CloseCause {
    nobody_else_answers(session);
    assert!(session.is_closed(), "{}", session.state_name());
    match events(session).pop() {
        Some(Event::Closed { cause }) => cause,
        other => panic!("closed without saying so: {other:?}"),
    }
}

fn requested(session: &mut Session) -> (RequestId, Request) {
    let (id, request, _) = session.poll_request().expect("a question");
    assert_eq!(session.poll_request(), None);
    (id, request)
}

fn answer_psk(session: &mut Session, psk: &[u8], now: Timestamp) {
    let (id, request) = requested(session);
    assert_eq!(request, Request::PreSharedKey);
    session.handle_response(id, Answer::Secret { secret: Secret::from(psk) }, now).unwrap();
}

/// Makes an established session send any protected request.
fn send_raw(session: &mut Session, exchange: ExchangeType, payloads: &[Payload], now: Timestamp) -> Vec<Vec<u8>> {
    let State::Established(state) = &mut session.state else { panic!("not established") };
    state.current_sa_mut().request(exchange, payloads, &mut session.context, now).unwrap();
    sent(session)
}

/// Opens the response to what [`send_raw`] sent.
fn opened(session: &mut Session, datagram: &[u8], now: Timestamp) -> Vec<Payload> {
    let State::Established(state) = &mut session.state else { panic!("not established") };
    let message = Message::decode(datagram).unwrap();
    match state.current_sa_mut().receive(datagram, &message, &mut session.context, now) {
        ike_sa::Received::Response { payloads } => payloads.unwrap(),
        other => panic!("not the response: {other:?}"),
    }
}

/// Hands the client's messages to the gateway and the answers back, until nobody says anything.
fn exchange(client: &mut Session, gateway: &mut Gateway, now: Timestamp) {
    loop {
        let messages = sent(client);
        if messages.is_empty() {
            return;
        }
        for message in messages {
            for answer in gateway.take(&message, now) {
                client.handle_datagram(&answer, client.remote(), now);
            }
        }
    }
}

/// Two ends of one established IKE SA with one CHILD SA.
struct Pair {
    client: Session,
    gateway: Session,
    now: Timestamp,
    /// What the client was given when it was established.
    established: Box<Established>,
    /// The CHILD SAs that each side has installed and not retired, by its inbound SPI.
    children: [Vec<crate::esp::EspSpi>; 2],
    closed: [Option<CloseCause>; 2],
    warnings: Vec<Warning>,
    /// What else both sides told.
    told: Vec<Event>,
}

impl Pair {
    fn new() -> Self {
        Self::with(configuration(), Behaviour::default())
    }

    fn with(configuration: Configuration, behaviour: Behaviour) -> Self {
        let now = at(1);
        let mut gateway = Gateway::new(configuration.clone(), behaviour);
        let mut client = client(configuration);
        exchange(&mut client, &mut gateway, now);
        answer_psk(&mut client, PSK, now);
        exchange(&mut client, &mut gateway, now);
        let Some(Event::Established(established)) = client.poll_event() else { panic!("{}", client.state_name()) };
        Self::of(client, gateway, established, now)
    }

    /// As [`Self::with`], of two that are through.
    fn of(client: Session, gateway: Gateway, established: Box<Established>, now: Timestamp) -> Self {
        let mut pair = Self {
            client,
            gateway: gateway.into_session(),
            now,
            established,
            children: Default::default(),
            closed: [None, None],
            warnings: Vec::new(),
            told: Vec::new(),
        };
        pair.note();
        pair
    }

    /// Takes note of what both sides tell.
    fn note(&mut self) {
        for (side, session) in [&mut self.client, &mut self.gateway].into_iter().enumerate() {
            while let Some(event) = session.poll_event() {
                match event {
                    Event::ChildInstalled(child) => self.children[side].push(child.inbound.spi()),
                    Event::ChildRetired { inbound, .. } => {
                        let known = self.children[side].iter().position(|spi| *spi == inbound);
                        self.children[side].remove(known.expect("retired what was installed"));
                    }
                    Event::Closed { cause } => self.closed[side] = Some(cause),
                    Event::Warning(warning) => self.warnings.push(warning),
                    other => self.told.push(other),
                }
            }
        }
    }

    fn give_gateway(&mut self, message: &[u8]) {
        self.gateway.handle_datagram(message, self.gateway.remote(), self.now);
        self.note();
    }

    fn give_client(&mut self, message: &[u8]) {
        self.client.handle_datagram(message, self.client.remote(), self.now);
        self.note();
    }

    /// Lets the gateway answer the client's request by these payloads, past its machine.
    fn answer_by_hand(&mut self, request: &[u8], payloads: &[Payload]) {
        let received = self.open_at_gateway(request);
        let ike_sa::Received::Request { message_id, exchange, datagram, .. } = received else { panic!("{received:?}") };
        let State::Established(state) = &mut self.gateway.state else { panic!("not established") };
        let context = &mut self.gateway.context;
        state.current_sa_mut().respond((message_id, exchange), &datagram, payloads, context).unwrap();
        sent(&mut self.gateway).iter().for_each(|message| self.give_client(message));
    }

    /// Opens what the client sent, past the gateway's machine.
    fn open_at_gateway(&mut self, datagram: &[u8]) -> ike_sa::Received {
        let State::Established(state) = &mut self.gateway.state else { panic!("not established") };
        let message = Message::decode(datagram).unwrap();
        state.current_sa_mut().receive(datagram, &message, &mut self.gateway.context, self.now)
    }

    /// Lets the gateway say something in an INFORMATIONAL request; returns what the client answers.
    fn inform_client(&mut self, payloads: &[Payload]) -> Vec<Payload> {
        let request = send_raw(&mut self.gateway, ExchangeType::INFORMATIONAL, payloads, self.now).remove(0);
        self.give_client(&request);
        let answer = sent(&mut self.client).remove(0);
        opened(&mut self.gateway, &answer, self.now)
    }

    /// Carries messages to and fro until nobody says anything.
    fn settle(&mut self) {
        loop {
            let (to_gateway, to_client) = (sent(&mut self.client), sent(&mut self.gateway));
            if to_gateway.is_empty() && to_client.is_empty() {
                return self.note();
            }
            to_gateway.iter().for_each(|message| self.give_gateway(message));
            to_client.iter().for_each(|message| self.give_client(message));
        }
    }

    /// Lets time pass for both, to each timer exactly.
    fn wait_until(&mut self, end: Timestamp) {
        loop {
            let due = [&self.client, &self.gateway].into_iter().filter_map(|session| session.poll_timeout());
            let Some((next, _)) = due.min().filter(|(next, _)| *next <= end) else { break };
            self.now = self.now.max(next);
            self.client.handle_timeout(self.now);
            self.gateway.handle_timeout(self.now);
            self.settle();
        }
        self.now = end;
    }

    /// Asserts that both sides agree on one CHILD SA and on the IKE SA, and that it works.
    fn assert_sound(&mut self) {
        self.note();
        assert_eq!(self.closed, [None, None]);
        assert_eq!(self.children.clone().map(|children| children.len()), [1, 1], "{:?}", self.children);
        self.client.check_liveness(self.now);
        self.gateway.check_liveness(self.now);
        let waiting =
            |session: &Session| session.poll_timeout().is_some_and(|(_, name)| name == TimerName::Retransmission);
        assert!(waiting(&self.client) && waiting(&self.gateway), "both ask whether the other lives");
        self.settle();
        assert!(!waiting(&self.client) && !waiting(&self.gateway), "each has its answer");
    }
}
