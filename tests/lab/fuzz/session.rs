//! A session fed by somebody inside: a gateway that has the keys, in each state of the session.
//!
//! The first byte says how far the connection goes in good order: not at all, to IKE_SA_INIT, to
//! IKE_AUTH. Then come messages, each `how, message id, first payload's type, length (2)` and a
//! chain of payloads; `how` says exchange, flags, and whether the message is protected, whole or as
//! a fragment. Nothing may panic; no message may bring about more than a few; every timer lies ahead.

use ike_client::auth::{octets::signed_octets, psk};
use ike_client::crypto::Secret;
use ike_client::crypto::kex::KeyExchange;
use ike_client::crypto::keys::{IkeKeys, IkeSpis, Nonces, Side};
use ike_client::crypto::protect::SkCipher;
use ike_client::crypto::suite::IkeSuite;
use ike_client::random::SeededRandom;
use ike_client::session::{Answer, Configuration, LocalSocket, Session};
use ike_client::time::Timestamp;
use ike_client::wire::{
    self, Authentication, AuthenticationMethod, ConfigurationAttribute, ConfigurationAttributeType, ConfigurationType,
    Encrypted, EncryptedFragment, ExchangeType, Flags, Header, Identification, InitiatorSpi, Message, Notify,
    NotifyType, Payload, PayloadType, ResponderSpi, TrafficSelector, decode_chain, encode_chain,
};
use std::net::SocketAddr;
use std::time::Duration;

const KEY: &[u8] = b"a key of thirty-two octets, fuzz";
const NONCE: [u8; 32] = [0x5a; 32];
const SUITE: &str = "aes128gcm16-prfsha256-x25519";
const SPI: ResponderSpi = ResponderSpi(0x4655_5a5a);
/// The most datagrams that one of the gateway's may bring about: an answer in fragments, a request
/// that had waited, and a repetition.
const MOST: usize = 64;

/// Feeds a session: see the module's text.
///
/// # Panics
/// When what is said there does not hold.
pub fn session(bytes: &[u8]) {
    let Some((progress, mut rest)) = bytes.split_first() else { return };
    let mut insider = Insider::new();
    for _ in 0..progress % 3 {
        if insider.go_on().is_none() {
            return;
        }
    }
    let mut messages = 0;
    while let Some((&[how, message_id, first, high, low], after)) = rest.split_first_chunk::<5>() {
        let length = usize::from(u16::from_be_bytes([high, low])).min(after.len());
        let (chain, after) = after.split_at(length);
        rest = after;
        messages += 1;
        if messages > 64 {
            return;
        }
        if let Some(datagram) = insider.compose(how, message_id, PayloadType(first), chain) {
            insider.hand_over(&datagram);
        }
    }
    // Whatever it was told, its timers must bring it to an end or to rest.
    for _ in 0..32 {
        let Some((at, _)) = insider.session.poll_timeout() else { break };
        insider.now = insider.now.max(at);
        insider.session.handle_timeout(insider.now);
        insider.settle();
        assert!(insider.session.poll_timeout().is_none_or(|(next, _)| next > insider.now), "a timer lies behind");
    }
}

/// The gateway with the keys, and the session that it speaks to.
struct Insider {
    session: Session,
    now: Timestamp,
    /// The last request of the session.
    request: Vec<u8>,
    initiator: InitiatorSpi,
    init_response: Vec<u8>,
    client_nonce: Vec<u8>,
    keys: Option<(IkeKeys, SkCipher, SkCipher)>,
    random: SeededRandom,
}

impl Insider {
    fn new() -> Self {
        let configuration: Configuration = serde_json::from_value(serde_json::json!({
            "gateway_name": "vpn.example.test",
            "gateway_auth": { "method": "pre-shared-key" },
            "client_auth": { "method": "pre-shared-key" },
            "ike_suites": [SUITE],
            "esp_suites": ["aes128gcm16"],
            "virtual_addresses": { "ipv4": true, "ipv6": true },
        }))
        .expect("a configuration");
        let now = Timestamp::from_start(Duration::from_secs(1));
        let random = Box::new(SeededRandom::new(3));
        let session = Session::new(configuration, random, client(), gateway(), now, 1_800_000_000);
        let mut insider = Self {
            session,
            now,
            request: Vec::new(),
            initiator: InitiatorSpi(0),
            init_response: Vec::new(),
            client_nonce: Vec::new(),
            keys: None,
            random: SeededRandom::new(4),
        };
        insider.settle();
        insider
    }

    /// Takes everything out of the session, and answers what it asks.
    fn settle(&mut self) {
        let mut sent = 0;
        loop {
            while self.session.poll_event().is_some() {}
            while let Some((id, _, _)) = self.session.poll_request() {
                let secret = Secret::new(KEY.to_vec());
                let _ = self.session.handle_response(id, Answer::Secret { secret }, self.now);
            }
            let Some(transmit) = self.session.poll_transmit() else { break };
            sent += 1;
            assert!(sent <= MOST, "one datagram brought about {sent}");
            let message = match transmit.socket {
                LocalSocket::Ike => transmit.bytes.as_slice(),
                LocalSocket::Encapsulated => transmit.bytes.strip_prefix(&[0; 4]).unwrap_or_default(),
            };
            if Header::decode(message).is_ok_and(|header| !header.flags.is_response()) {
                self.request = message.to_vec();
            }
        }
    }

    fn hand_over(&mut self, datagram: &[u8]) {
        self.session.handle_datagram(datagram, self.session.remote(), self.now);
        self.settle();
    }

    /// Answers the session's last request as a good gateway would.
    fn go_on(&mut self) -> Option<()> {
        let request = std::mem::take(&mut self.request);
        let message = Message::decode(&request).ok()?;
        let answer = match message.header.exchange {
            ExchangeType::IKE_SA_INIT => self.init(&message)?,
            ExchangeType::IKE_AUTH => self.authenticate(&request, &message)?,
            _ => return None,
        };
        self.hand_over(&answer);
        Some(())
    }

    fn init(&mut self, message: &Message) -> Option<Vec<u8>> {
        let suite: IkeSuite = SUITE.parse().ok()?;
        let mut answer = Vec::new();
        let mut shared = None;
        for payload in &message.payloads {
            match payload {
                Payload::SecurityAssociation(_) => answer.push(payload.clone()),
                Payload::KeyExchange(share) => {
                    let ours = KeyExchange::generate(suite.group, &mut self.random).ok()?;
                    let data = ours.public().to_vec();
                    answer.push(Payload::KeyExchange(wire::KeyExchange { group: share.group, data }));
                    shared = ours.agree(&share.data).ok();
                }
                Payload::Nonce(nonce) => self.client_nonce.clone_from(nonce),
                _ => {}
            }
        }
        answer.push(Payload::Nonce(NONCE.to_vec()));
        answer.push(Payload::Notify(Notify::new(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED, Vec::new())));
        self.initiator = message.header.initiator_spi;
        let flags = Flags::new(false, true);
        let header = Header::new(self.initiator, SPI, ExchangeType::IKE_SA_INIT, flags, 0);
        self.init_response = Message::new(header, answer).encode().ok()?;
        let spis = IkeSpis { initiator: self.initiator.to_bytes(), responder: SPI.to_bytes() };
        let nonces = Nonces { initiator: &self.client_nonce, responder: &NONCE };
        let keys = IkeKeys::derive(&suite, &shared?, nonces, spis).ok()?;
        let ciphers = (keys.cipher(Side::Initiator).ok()?, keys.cipher(Side::Responder).ok()?);
        self.keys = Some((keys, ciphers.0, ciphers.1));
        Some(self.init_response.clone())
    }

    fn authenticate(&mut self, request: &[u8], message: &Message) -> Option<Vec<u8>> {
        let (keys, from_client, _) = self.keys.as_ref()?;
        let Some(Payload::Encrypted(Encrypted { first_inner, body })) = message.payloads.last() else { return None };
        let associated = request.get(..request.len().checked_sub(body.len())?)?;
        let payloads = decode_chain(*first_inner, &from_client.open(associated, body).ok()?).ok()?;
        let identity = Identification::fqdn("vpn.example.test");
        let octets =
            signed_octets(keys.prf, keys.sk_pr.expose(), &self.init_response, &self.client_nonce, &identity.body());
        let data = psk::compute(keys.prf, KEY, &octets);
        let address = ConfigurationAttribute::new(ConfigurationAttributeType::INTERNAL_IP4_ADDRESS, [10, 9, 0, 7]);
        let mut answer = vec![
            Payload::IdentificationResponder(identity),
            Payload::Authentication(Authentication { method: AuthenticationMethod::SHARED_KEY, data }),
            Payload::Configuration(wire::Configuration { kind: ConfigurationType::REPLY, attributes: vec![address] }),
        ];
        for payload in payloads {
            if let Payload::SecurityAssociation(mut proposals) = payload {
                proposals.truncate(1);
                proposals.iter_mut().for_each(|proposal| proposal.spi = vec![9, 9, 9, 9]);
                answer.push(Payload::SecurityAssociation(proposals));
            }
        }
        let one = |address: [u8; 4]| vec![TrafficSelector::addresses(address.into(), address.into())];
        answer.push(Payload::TrafficSelectorsInitiator(one([10, 9, 0, 7])));
        answer.push(Payload::TrafficSelectorsResponder(one([10, 98, 0, 1])));
        let (first, chain) = encode_chain(&answer).ok()?;
        let header = Header::new(
            self.initiator,
            SPI,
            ExchangeType::IKE_AUTH,
            Flags::new(false, true),
            message.header.message_id,
        );
        self.seal(header, first, &chain, None)
    }

    /// Makes a message of a chain of payloads, however senseless.
    fn compose(&mut self, how: u8, message_id: u8, first: PayloadType, chain: &[u8]) -> Option<Vec<u8>> {
        let exchange = ExchangeType(34 + (how & 7));
        let flags = Flags::new(how & 8 != 0, how & 16 != 0);
        let header = Header::new(self.initiator_spi(), SPI, exchange, flags, u32::from(message_id));
        match how >> 5 & 3 {
            0 => {
                let empty = Message::new(header, Vec::new()).encode().ok()?;
                let mut datagram = [empty.as_slice(), chain].concat();
                let length = u32::try_from(datagram.len()).ok()?;
                datagram.get_mut(16..17)?.copy_from_slice(&[first.0]);
                datagram.get_mut(24..28)?.copy_from_slice(&length.to_be_bytes());
                Some(datagram)
            }
            1 | 2 => self.seal(header, first, chain, None),
            _ => {
                let (numbers, chain) = chain.split_first_chunk::<2>()?;
                self.seal(header, first, chain, Some((numbers[0].into(), numbers[1].into())))
            }
        }
    }

    fn initiator_spi(&self) -> InitiatorSpi {
        match self.keys {
            Some(_) => self.initiator,
            None => Header::decode(&self.request).map_or(InitiatorSpi(0), |header| header.initiator_spi),
        }
    }

    fn seal(&mut self, header: Header, first: PayloadType, chain: &[u8], piece: Option<(u16, u16)>) -> Option<Vec<u8>> {
        let (_, _, to_client) = self.keys.as_mut()?;
        let length = to_client.body_length(chain.len());
        let sealed_as = |body| {
            let payload = match piece {
                None => Payload::Encrypted(Encrypted { first_inner: first, body }),
                Some((number, total)) => {
                    Payload::EncryptedFragment(EncryptedFragment { first_inner: first, number, total, body })
                }
            };
            Message::new(header, vec![payload]).encode().ok()
        };
        let mut associated = sealed_as(vec![0; length])?;
        associated.truncate(associated.len().saturating_sub(length));
        let body = to_client.seal(&mut self.random, &associated, chain).ok()?;
        sealed_as(body)
    }
}

fn client() -> SocketAddr {
    ([192, 0, 2, 10], 500).into()
}

fn gateway() -> SocketAddr {
    ([198, 51, 100, 1], 500).into()
}
