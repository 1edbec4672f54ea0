//! IKE_SA_INIT (RFC 7296 §1.2): suites, key exchange, nonces, NAT detection, cookies.

use super::additional::groups;
use super::event::{Event, LogEvent, LogKind, Subject};
use super::fortigate;
use super::proposal::{Choice, choose_ike};
use super::responder::{Context, Path, Transmit};
use super::resumption::Resumed;
use super::sa::{Facts, IkeSa, State};
use super::settings::ClientAuth;
use ike_client::auth::signature::SignatureHashes;
use ike_client::crypto::hash::Digest;
use ike_client::crypto::kex::KeyExchange;
use ike_client::crypto::keys::{IkeKeys, IkeSpis, Nonces, Side};
use ike_client::crypto::suite::IkeSuite;
use ike_client::crypto::transform::Group;
use ike_client::exchange::{IncomingWindow, IntermediateTranscript, OutgoingWindow, Protection, Reassembly};
use ike_client::wire::{
    CertificateEncoding, CertificateRequest, ExchangeType, Flags, Header, InitiatorSpi, KeyExchange as KePayload,
    KeyExchangeGroup, Message, Notify, NotifyType, Payload, Proposal, ResponderSpi,
};
use ring::hmac;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

/// The first exchange, which AUTH covers.
pub(super) struct InitExchange {
    pub request: Vec<u8>,
    pub response: Vec<u8>,
    pub initiator_nonce: Vec<u8>,
    pub responder_nonce: Vec<u8>,
    pub client_hashes: SignatureHashes,
    /// The additional key exchanges that are still to be done.
    pub additional: VecDeque<Group>,
    /// Set when a session is resumed instead (RFC 5723).
    pub resumed: Option<Resumed>,
}

struct Request<'a> {
    proposals: &'a [Proposal],
    key_exchange: &'a KePayload,
    nonce: &'a [u8],
}

impl<'a> Request<'a> {
    fn read(message: &'a Message) -> Option<Self> {
        let (mut proposals, mut key_exchange, mut nonce) = (None, None, None);
        for payload in &message.payloads {
            match payload {
                Payload::SecurityAssociation(offered) => proposals = Some(offered.as_slice()),
                Payload::KeyExchange(payload) => key_exchange = Some(payload),
                Payload::Nonce(value) => nonce = Some(value.as_slice()),
                _ => {}
            }
        }
        Some(Self { proposals: proposals?, key_exchange: key_exchange?, nonce: nonce? })
    }
}

/// Answers a first request; an SA comes of it when the answer is more than a refusal.
pub(super) fn open(
    bytes: &[u8],
    message: &Message,
    path: Path,
    serial: u64,
    cookie_secret: &[u8],
    context: &mut Context<'_>,
) -> Option<IkeSa> {
    let initiator_spi = message.header.initiator_spi;
    let refuse = |context: &mut Context<'_>, notify: Notify| {
        let header = response_header(initiator_spi, ResponderSpi::ZERO);
        if let Ok(message) = Message::new(header, vec![Payload::Notify(notify)]).encode() {
            context.output.transmits.push_back(Transmit { path, message });
        }
    };
    let Some(request) = Request::read(message) else {
        refuse(context, Notify::new(NotifyType::INVALID_SYNTAX, Vec::new()));
        return None;
    };
    if context.settings.cookie {
        let cookie = cookie(cookie_secret, request.nonce, path.remote, initiator_spi);
        let brought = message.notifies().any(|n| n.notify_type == NotifyType::COOKIE && n.data == cookie);
        if !brought {
            refuse(context, Notify::new(NotifyType::COOKIE, cookie));
            return None;
        }
    }
    if let Some(redirection) = context.settings.continuity.redirection(message, request.nonce) {
        refuse(context, redirection);
        return None;
    }
    // Additional key exchanges need an exchange of their own (RFC 9370 §2.1).
    let can_follow = has(message, NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED);
    let suites = context.settings.ike_suites.iter().filter(|suite| can_follow || suite.additional.is_empty());
    let suites: Vec<IkeSuite> = suites.copied().collect();
    let Some(Choice { suite, answer, .. }) = choose_ike(&suites, request.proposals) else {
        refuse(context, Notify::new(NotifyType::NO_PROPOSAL_CHOSEN, Vec::new()));
        let spis = (initiator_spi, ResponderSpi::ZERO);
        let subject = Subject { path, spis, peer_id: None, user: None, address: None, forticlient_uid: None };
        let kind = LogKind::NegotiationFailed { reason: "peer SA proposal not match local policy" };
        context.output.events.push_back(Event::Log(LogEvent { subject, kind }));
        return None;
    };
    if request.key_exchange.group.0 != suite.group.id() {
        let wanted = suite.group.id().to_be_bytes().to_vec();
        refuse(context, Notify::new(NotifyType::INVALID_KE_PAYLOAD, wanted));
        return None;
    }
    accept(bytes, message, path, serial, &request, (suite, answer), context)
}

fn accept(
    bytes: &[u8],
    message: &Message,
    path: Path,
    serial: u64,
    request: &Request<'_>,
    (suite, answer): (IkeSuite, Proposal),
    context: &mut Context<'_>,
) -> Option<IkeSa> {
    let initiator_spi = message.header.initiator_spi;
    let exchange = KeyExchange::generate(suite.group, context.random).ok()?;
    let public = exchange.public().to_vec();
    // An invalid public value gets no answer: nobody honest sends one.
    let shared = exchange.agree(&request.key_exchange.data).ok()?;
    let responder_spi = ResponderSpi(random_spi(context)?);
    let mut responder_nonce = vec![0; 32];
    context.random.fill(&mut responder_nonce).ok()?;

    let fragments = has(message, NotifyType::IKEV2_FRAGMENTATION_SUPPORTED);
    let mut payloads = vec![
        Payload::SecurityAssociation(vec![answer]),
        Payload::KeyExchange(KePayload { group: KeyExchangeGroup(suite.group.id()), data: public }),
        Payload::Nonce(responder_nonce.clone()),
    ];
    payloads.extend(nat_detection(initiator_spi, responder_spi, path, context.settings.force_encapsulation));
    if fragments {
        payloads.push(status(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED, Vec::new()));
    }
    if has(message, NotifyType::SIGNATURE_HASH_ALGORITHMS) {
        payloads.push(status(NotifyType::SIGNATURE_HASH_ALGORITHMS, SignatureHashes::ours().encode()));
    }
    if !suite.additional.is_empty() {
        payloads.push(status(NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED, Vec::new()));
    }
    if matches!(context.settings.client_auth, ClientAuth::Certificate { .. }) {
        payloads.push(certificate_request(&context.credentials.client_authorities));
    }
    let response = Message::new(response_header(initiator_spi, responder_spi), payloads).encode().ok()?;

    let nonces = Nonces { initiator: request.nonce, responder: &responder_nonce };
    let spis = IkeSpis { initiator: initiator_spi.to_bytes(), responder: responder_spi.to_bytes() };
    let keys = IkeKeys::derive(&suite, &shared, nonces, spis).ok()?;
    let protection = Protection::new(&keys, Side::Responder).ok()?;
    context.output.transmits.push_back(Transmit { path, message: response.clone() });
    let hashes = message.notifies().find(|n| n.notify_type == NotifyType::SIGNATURE_HASH_ALGORITHMS);
    let client_hashes = hashes.and_then(|n| SignatureHashes::decode(&n.data).ok()).unwrap_or_else(none);
    let init = InitExchange {
        request: bytes.to_vec(),
        response,
        initiator_nonce: request.nonce.to_vec(),
        responder_nonce,
        client_hashes,
        additional: groups(suite.additional),
        resumed: None,
    };
    Some(IkeSa {
        serial,
        initiator_spi,
        responder_spi,
        path,
        suite,
        keys,
        protection,
        intermediate: IntermediateTranscript::default(),
        next_keys: None,
        pending: None,
        incoming: IncomingWindow::new(1),
        outgoing: OutgoingWindow::new(0),
        reassembly: Reassembly::default(),
        first_fragment: Vec::new(),
        fragments,
        created: context.now.clock,
        facts: Facts { forticlient: fortigate::is_forticlient(message), ..Facts::default() },
        initial_contact: false,
        children: Vec::new(),
        state: State::AwaitingAuth(Box::new(init)),
    })
}

fn none() -> SignatureHashes {
    std::iter::empty().collect()
}

fn response_header(initiator_spi: InitiatorSpi, responder_spi: ResponderSpi) -> Header {
    Header::new(initiator_spi, responder_spi, ExchangeType::IKE_SA_INIT, Flags::new(false, true), 0)
}

pub(super) fn has(message: &Message, notify_type: NotifyType) -> bool {
    message.notifies().any(|notify| notify.notify_type == notify_type)
}

pub(super) const fn status(notify_type: NotifyType, data: Vec<u8>) -> Payload {
    Payload::Notify(Notify::new(notify_type, data))
}

/// Draws an SPI that is not zero.
pub(super) fn random_spi(context: &mut Context<'_>) -> Option<u64> {
    let mut bytes = [0; 8];
    context.random.fill(&mut bytes).ok()?;
    Some(u64::from_be_bytes(bytes).max(1))
}

pub(super) fn nat_detection(
    initiator: InitiatorSpi,
    responder: ResponderSpi,
    path: Path,
    pretend: bool,
) -> impl Iterator<Item = Payload> {
    // A source hash that fits nothing makes the client see a NAT on the gateway's side.
    let source = if pretend { SocketAddr::from(([0, 0, 0, 0], 0)) } else { path.local };
    [(NotifyType::NAT_DETECTION_SOURCE_IP, source), (NotifyType::NAT_DETECTION_DESTINATION_IP, path.remote)]
        .into_iter()
        .map(move |(kind, end)| {
            let address = match end.ip() {
                IpAddr::V4(address) => address.octets().to_vec(),
                IpAddr::V6(address) => address.octets().to_vec(),
            };
            let parts = [&initiator.to_bytes()[..], &responder.to_bytes(), &address, &end.port().to_be_bytes()];
            status(kind, Digest::Sha1.of(&parts).as_ref().to_vec())
        })
}

/// RFC 7296 §3.7: the SHA-1 hashes of the authorities' public keys.
fn certificate_request(authorities: &[Vec<u8>]) -> Payload {
    let hashes = authorities.iter().filter_map(|der| {
        let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
        Some(Digest::Sha1.of(&[certificate.public_key().raw]).as_ref().to_vec())
    });
    let authorities = hashes.flatten().collect();
    Payload::CertificateRequest(CertificateRequest { encoding: CertificateEncoding::X509_SIGNATURE, authorities })
}

/// RFC 7296 §2.6: nothing is remembered about who was sent a cookie.
fn cookie(secret: &[u8], nonce: &[u8], remote: SocketAddr, spi: InitiatorSpi) -> Vec<u8> {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret));
    context.update(nonce);
    context.update(remote.to_string().as_bytes());
    context.update(&spi.to_bytes());
    context.sign().as_ref().to_vec()
}
