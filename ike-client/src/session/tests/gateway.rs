//! A responder for IKE_SA_INIT and IKE_AUTH, as good or as bad as a test wants it.

use super::super::child::Agreed;
use super::super::context::Context;
use super::super::established::{EstablishedSa, IkeLifetime};
use super::super::ike_sa::{IkeSa, Received, Spis};
use super::super::payloads::Payloads;
use super::super::selectors::Ends;
use super::super::{nat, proposal};
use super::*;
use crate::auth::eap::packet::kind;
use crate::auth::octets::signed_octets;
use crate::auth::signature::{PublicKey, SignatureHashes, SignaturePolicy};
use crate::auth::{Identity, PrivateKey, certificate, psk, signature};
use crate::crypto::kex::{self, KeyExchange};
use crate::crypto::keys::{IkeKeys, IkeSpis, Nonces, Side};
use crate::crypto::suite::IkeSuite;
use crate::wire::{
    self, Authentication, AuthenticationMethod, ConfigurationAttribute, ConfigurationAttributeType, ConfigurationType,
    ExchangeType, Flags, Header, Identification, KeyExchangeGroup, Message, Notify, NotifyType, Payload, ResponderSpi,
    TrafficSelector,
};
use x509_parser::prelude::{FromDer, X509Certificate};

/// What the gateway does differently from a good one.
pub(super) struct Behaviour {
    pub psk: Vec<u8>,
    pub identity: Identity,
    /// Wants a cookie before anything else.
    pub cookie: Option<Vec<u8>>,
    /// Goes by this SPI instead of one of its own.
    pub responder_spi: Option<ResponderSpi>,
    /// The suites it takes, in its order of preference.
    pub ike_suites: Option<Vec<IkeSuite>>,
    /// Answers IKE_SA_INIT with this proposal instead of an offered one.
    pub forced_ike_suite: Option<IkeSuite>,
    pub fragmentation: bool,
    /// Announces no hashes for method 14.
    pub knows_digital_signatures: bool,
    /// Proves itself by this key and these certificates instead of the PSK.
    pub certificate: Option<(PrivateKey, Vec<Vec<u8>>)>,
    /// Refuses in the last IKE_AUTH response.
    pub refusal: Vec<Notify>,
    /// Answers the first IKE_AUTH with exactly these payloads.
    pub forced_auth: Option<Vec<Payload>>,
    pub assigned: Vec<ConfigurationAttribute>,
    /// Narrows to these instead of the assigned address and everything.
    pub selectors: Option<(Vec<TrafficSelector>, Vec<TrafficSelector>)>,
    pub eap: Option<EapServer>,
    /// Wants EAP in a second exchange of authentication (RFC 4739), after a proof in the first.
    pub twice: bool,
    /// Answers the MSCHAPv2 response by EAP-Failure.
    pub fails_eap: bool,
    /// Makes its last AUTH by another key than EAP's.
    pub forgets_msk: bool,
    /// Lets a client in that proves nothing.
    pub skips_client_proof: bool,
    /// Can do without a CHILD SA at first.
    pub childless: bool,
    /// Payloads that go beside the first response's.
    pub extra: Vec<Payload>,
    /// The post-quantum pre-shared key that it has, by name.
    pub ppk: Option<(&'static str, &'static [u8])>,
    /// Says nothing of that key although it has one.
    pub forgets_ppk: bool,
    /// Does not announce IKE_INTERMEDIATE although it chose additional key exchanges.
    pub hides_intermediate: bool,
    /// Makes its AUTH as if there had been no IKE_INTERMEDIATE.
    pub forgets_intermediate: bool,
}

/// The other end of EAP-MSCHAPv2.
pub(super) struct EapServer {
    pub password: &'static str,
    /// Claims to know the password without doing so.
    pub proves_password: bool,
    /// Sends Success in place of the first challenge.
    pub early_success: bool,
    /// Sends EAP in the first response, but neither IDr nor AUTH.
    pub without_proof: bool,
}

impl Default for EapServer {
    fn default() -> Self {
        Self { password: "swordfish", proves_password: true, early_success: false, without_proof: false }
    }
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            psk: PSK.to_vec(),
            identity: "vpn.example.test".parse().unwrap(),
            cookie: None,
            responder_spi: None,
            ike_suites: None,
            forced_ike_suite: None,
            fragmentation: true,
            knows_digital_signatures: true,
            certificate: None,
            refusal: Vec::new(),
            forced_auth: None,
            assigned: vec![
                ConfigurationAttribute::new(ConfigurationAttributeType::INTERNAL_IP4_ADDRESS, [10, 9, 0, 7]),
                ConfigurationAttribute::new(ConfigurationAttributeType::INTERNAL_IP4_DNS, [10, 9, 0, 1]),
                ConfigurationAttribute::new(ConfigurationAttributeType::INTERNAL_IP4_DNS, [0, 0, 0, 0]),
            ],
            selectors: None,
            eap: None,
            twice: false,
            fails_eap: false,
            forgets_msk: false,
            skips_client_proof: false,
            childless: false,
            extra: Vec::new(),
            ppk: None,
            forgets_ppk: false,
            hides_intermediate: false,
            forgets_intermediate: false,
        }
    }
}

pub(super) struct Gateway {
    context: Context,
    pub behaviour: Behaviour,
    stage: Stage,
    /// What the client's AUTH was by, once it was seen.
    pub client_method: Option<AuthenticationMethod>,
    /// Whether the client's AUTH in its first request was good.
    client_proven: bool,
    /// Payloads of the first IKE_AUTH request.
    pub first_auth: Vec<Payload>,
    /// Every EAP packet that the client sent.
    pub eap_answers: Vec<Vec<u8>>,
}

enum Stage {
    AwaitingInit,
    HalfOpen(Box<HalfOpen>),
    Established(Box<Session>),
    Gone,
}

/// What a half-open SA awaits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Awaited {
    /// The additional key exchange of that place among those of the suite.
    Intermediate(usize),
    Auth,
    SecondIdentity,
    EapIdentity,
    EapResponse,
    EapAcknowledgement,
    FinalAuth,
}

/// What follows an IKE_AUTH response.
enum Next {
    Await(Awaited),
    /// Everything is proven: the CHILD SA goes into the same response.
    Establish,
    GiveUp,
}

struct HalfOpen {
    awaited: Awaited,
    sa: IkeSa,
    init: Vec<u8>,
    init_response: Vec<u8>,
    nonces: [Vec<u8>; 2],
    identity: Option<Identification>,
    auth_request: Vec<Payload>,
    msk: Vec<u8>,
}

impl Gateway {
    pub(super) fn new(mut configuration: Configuration, behaviour: Behaviour) -> Self {
        configuration.start_encapsulated = true;
        let random = Box::new(SeededRandom::new(2));
        let path = (address("198.51.100.1:4500"), address("192.0.2.10:4500"));
        Self {
            context: Context::new(configuration, random, path, Timestamp::ZERO, UNIX_NOW),
            behaviour,
            stage: Stage::AwaitingInit,
            client_method: None,
            client_proven: false,
            first_auth: Vec::new(),
            eap_answers: Vec::new(),
        }
    }

    /// Draws its values from another seed than other gateways.
    pub(super) fn draw_from(&mut self, seed: u64) {
        self.context.random = Box::new(SeededRandom::new(seed));
    }

    /// Tells whether the client's AUTH in its first request was good.
    pub(super) const fn client_is_proven(&self) -> bool {
        self.client_proven
    }

    /// Gives away the session of an established SA.
    pub(super) fn into_session(self) -> Session {
        match self.stage {
            Stage::Established(session) => *session,
            _ => panic!("the gateway is not through"),
        }
    }

    /// Sends a protected request out of a half-open SA, as no good gateway would.
    pub(super) fn request(&mut self, exchange: ExchangeType, payloads: &[Payload], now: Timestamp) -> Vec<u8> {
        let Stage::HalfOpen(half_open) = &mut self.stage else { panic!("not half open") };
        half_open.sa.request(exchange, payloads, &mut self.context, now).unwrap();
        self.flush().remove(0)
    }

    /// Takes a message and returns the answers.
    pub(super) fn take(&mut self, datagram: &[u8], now: Timestamp) -> Vec<Vec<u8>> {
        let message = Message::decode(datagram).unwrap();
        match std::mem::replace(&mut self.stage, Stage::Gone) {
            Stage::AwaitingInit => self.init(datagram, &message),
            Stage::Established(mut session) => {
                session.handle_datagram(datagram, session.remote(), now);
                let answers = sent(&mut session);
                self.stage = Stage::Established(session);
                answers
            }
            Stage::Gone => Vec::new(),
            Stage::HalfOpen(half_open) => self.auth(half_open, datagram, &message, now),
        }
    }

    fn init(&mut self, datagram: &[u8], message: &Message) -> Vec<Vec<u8>> {
        assert_eq!(message.header.exchange, ExchangeType::IKE_SA_INIT);
        self.stage = Stage::AwaitingInit;
        let payloads = Payloads(&message.payloads);
        let refuse = |notify: Notify| {
            let header = Header::new(
                message.header.initiator_spi,
                ResponderSpi::ZERO,
                ExchangeType::IKE_SA_INIT,
                Flags::new(false, true),
                0,
            );
            vec![Message::new(header, vec![Payload::Notify(notify)]).encode().unwrap()]
        };
        if let Some(cookie) = &self.behaviour.cookie
            && payloads.notify(NotifyType::COOKIE).map(|notify| &notify.data) != Some(cookie)
        {
            return refuse(Notify::new(NotifyType::COOKIE, cookie.clone()));
        }
        let suites = self.behaviour.ike_suites.clone().unwrap_or(self.context.configuration.ike_suites.clone());
        let Some(selection) = proposal::select(&suites, payloads.proposals().unwrap()) else {
            return refuse(Notify::new(NotifyType::NO_PROPOSAL_CHOSEN, Vec::new()));
        };
        let suite = selection.suite;
        let theirs = payloads.key_exchange().unwrap();
        if theirs.group.0 != suite.group.id() {
            return refuse(Notify::new(NotifyType::INVALID_KE_PAYLOAD, suite.group.id().to_be_bytes().to_vec()));
        }
        let exchange = KeyExchange::generate(suite.group, self.context.random.as_mut()).unwrap();
        let drawn = ResponderSpi(self.context.ike_spi().unwrap());
        let responder = self.behaviour.responder_spi.unwrap_or(drawn);
        let spis = Spis { initiator: message.header.initiator_spi, responder };
        let nonces = [payloads.nonce().unwrap().to_vec(), self.context.nonce().unwrap()];
        let mut chosen = selection.answer(&[]);
        if let Some(forced) = self.behaviour.forced_ike_suite {
            chosen = proposal::offer(&[forced], &[]);
        }
        let mut answer = vec![
            Payload::SecurityAssociation(chosen),
            Payload::KeyExchange(wire::KeyExchange {
                group: KeyExchangeGroup(suite.group.id()),
                data: exchange.public().to_vec(),
            }),
            Payload::Nonce(nonces[1].clone()),
        ];
        let mut path = self.context.path;
        path.local.set_port(500);
        path.remote.set_port(500);
        let detection = nat::notifies(spis.initiator, spis.responder, &path, None);
        answer.extend(detection.into_iter().map(Payload::Notify));
        if self.behaviour.fragmentation {
            answer.push(Payload::Notify(Notify::new(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED, Vec::new())));
        }
        if self.behaviour.childless {
            answer.push(Payload::Notify(Notify::new(NotifyType::CHILDLESS_IKEV2_SUPPORTED, Vec::new())));
        }
        if self.behaviour.twice {
            answer.push(Payload::Notify(Notify::new(NotifyType::MULTIPLE_AUTH_SUPPORTED, Vec::new())));
        }
        if self.behaviour.knows_digital_signatures {
            let hashes = SignatureHashes::ours().encode();
            answer.push(Payload::Notify(Notify::new(NotifyType::SIGNATURE_HASH_ALGORITHMS, hashes)));
        }
        if !suite.additional.is_empty() && !self.behaviour.hides_intermediate {
            assert!(payloads.notify(NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED).is_some());
            answer.push(Payload::Notify(Notify::new(NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED, Vec::new())));
        }
        if self.behaviour.ppk.is_some() && payloads.notify(NotifyType::USE_PPK).is_some() {
            answer.push(Payload::Notify(Notify::new(NotifyType::USE_PPK, Vec::new())));
        }
        let flags = Flags::new(false, true);
        let header = Header::new(spis.initiator, spis.responder, ExchangeType::IKE_SA_INIT, flags, 0);
        let response = Message::new(header, answer).encode().unwrap();
        let shared = exchange.agree(&theirs.data).unwrap();
        let keys = IkeKeys::derive(
            &suite,
            &shared,
            Nonces { initiator: &nonces[0], responder: &nonces[1] },
            IkeSpis { initiator: spis.initiator.to_bytes(), responder: spis.responder.to_bytes() },
        )
        .unwrap();
        let fragmentation =
            self.behaviour.fragmentation && payloads.notify(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED).is_some();
        let sa = IkeSa::new(spis, Side::Responder, suite, keys, (0, 1), fragmentation).unwrap();
        self.stage = Stage::HalfOpen(Box::new(HalfOpen {
            awaited: if suite.additional.is_empty() { Awaited::Auth } else { Awaited::Intermediate(0) },
            sa,
            init: datagram.to_vec(),
            init_response: response.clone(),
            nonces,
            identity: None,
            auth_request: Vec::new(),
            msk: Vec::new(),
        }));
        vec![response]
    }

    fn auth(
        &mut self,
        mut half_open: Box<HalfOpen>,
        datagram: &[u8],
        message: &Message,
        now: Timestamp,
    ) -> Vec<Vec<u8>> {
        let received = half_open.sa.receive(datagram, message, &mut self.context, now);
        let Received::Request { message_id, exchange, datagram, payloads } = received else {
            self.stage = Stage::HalfOpen(half_open);
            return self.flush();
        };
        let payloads = payloads.unwrap();
        if let (ExchangeType::IKE_INTERMEDIATE, Awaited::Intermediate(place)) = (exchange, half_open.awaited) {
            self.additional(&mut half_open, place, (message_id, &datagram), &payloads);
            self.stage = Stage::HalfOpen(half_open);
            return self.flush();
        }
        let (mut answer, next) = match (exchange, half_open.awaited) {
            (_, Awaited::Intermediate(_)) => panic!("an additional key exchange was left out"),
            // The client gives up.
            (ExchangeType::INFORMATIONAL, _) => (Vec::new(), Next::GiveUp),
            (_, Awaited::Auth) => self.first(&mut half_open, payloads),
            (_, Awaited::SecondIdentity) => {
                assert_eq!(payloads.len(), 1, "nothing but IDi: {payloads:?}");
                half_open.identity = Payloads(&payloads).initiator_identity().cloned();
                (vec![Payload::Eap(vec![1, 9, 0, 5, kind::IDENTITY])], Next::Await(Awaited::EapIdentity))
            }
            (_, Awaited::EapIdentity) => self.challenge(&payloads),
            (_, Awaited::EapResponse) => self.verdict(&mut half_open, &payloads),
            (_, Awaited::EapAcknowledgement) => {
                self.note_eap(&payloads);
                (vec![Payload::Eap(vec![3, 9, 0, 4])], Next::Await(Awaited::FinalAuth))
            }
            (_, Awaited::FinalAuth) => {
                let (payloads, confirmed) = self.settle_ppk(&mut half_open, payloads);
                assert!(self.check_shared(&half_open, &payloads, &half_open.msk), "the client's last AUTH");
                if self.behaviour.forgets_msk {
                    half_open.msk[0] ^= 1;
                }
                let answer = [self.shared_auth(&half_open, &half_open.msk)].into_iter().chain(confirmed);
                (answer.collect(), Next::Establish)
            }
        };
        let mut child = None;
        if matches!(next, Next::Establish) {
            let wanted = Payloads(&half_open.auth_request).proposals().is_some();
            if !wanted || (self.behaviour.childless && !self.behaviour.refusal.is_empty()) {
                answer.push(self.assigned());
                answer.extend(self.behaviour.refusal.iter().cloned().map(Payload::Notify));
            } else if self.behaviour.refusal.is_empty() {
                child = Some(self.child(&half_open, &mut answer));
            } else {
                answer.extend(self.behaviour.refusal.iter().cloned().map(Payload::Notify));
            }
        }
        half_open.sa.respond((message_id, exchange), &datagram, &answer, &mut self.context).unwrap();
        let answers = self.flush();
        self.stage = match (next, child) {
            (Next::Await(awaited), _) => Stage::HalfOpen(Box::new(HalfOpen { awaited, ..*half_open })),
            (Next::Establish, Some(agreed)) => Stage::Established(Box::new(self.establish(*half_open, &agreed, now))),
            _ => Stage::Gone,
        };
        answers
    }

    /// Answers KEi(n) by KEr(n), under the keys before it, and goes on with those after it.
    fn additional(
        &mut self,
        half_open: &mut HalfOpen,
        place: usize,
        (message_id, datagram): (u32, &[u8]),
        payloads: &[Payload],
    ) {
        let suite = half_open.sa.suite;
        let (_, group) = suite.additional.iter().nth(place).unwrap();
        let theirs = Payloads(payloads).key_exchange().unwrap();
        assert_eq!(theirs.group.0, group.id());
        let (data, shared) = kex::respond(group, &theirs.data, self.context.random.as_mut()).unwrap();
        let answer = Payload::KeyExchange(wire::KeyExchange { group: theirs.group, data });
        let request = (message_id, ExchangeType::IKE_INTERMEDIATE);
        half_open.sa.respond(request, datagram, &[answer], &mut self.context).unwrap();
        let nonces = Nonces { initiator: &half_open.nonces[0], responder: &half_open.nonces[1] };
        let spis = half_open.sa.spis;
        let spis = IkeSpis { initiator: spis.initiator.to_bytes(), responder: spis.responder.to_bytes() };
        let keys = half_open.sa.keys.rekey(&suite, &shared, nonces, spis).unwrap();
        half_open.sa.renew_keys(keys).unwrap();
        let last = place + 1 == suite.additional.iter().count();
        half_open.awaited = if last { Awaited::Auth } else { Awaited::Intermediate(place + 1) };
    }

    /// Answers IDi [AUTH] ... by IDr AUTH, and EAP or what goes with a CHILD SA.
    fn first(&mut self, half_open: &mut HalfOpen, payloads: Vec<Payload>) -> (Vec<Payload>, Next) {
        self.first_auth.clone_from(&payloads);
        half_open.auth_request = payloads;
        half_open.identity = Payloads(&half_open.auth_request).initiator_identity().cloned();
        if let Some(forced) = self.behaviour.forced_auth.take() {
            return (forced, Next::GiveUp);
        }
        let (request, confirmed) = match self.behaviour.eap {
            Some(_) => (half_open.auth_request.clone(), None),
            None => self.settle_ppk(half_open, half_open.auth_request.clone()),
        };
        let by_eap_alone = self.behaviour.eap.is_some() && !self.behaviour.twice;
        if !by_eap_alone {
            self.client_proven = self.check_client(half_open, &request);
        }
        let proves = !by_eap_alone && !self.behaviour.skips_client_proof;
        if proves && !self.check_client(half_open, &request) {
            let failed = Notify::new(NotifyType::AUTHENTICATION_FAILED, Vec::new());
            return (vec![Payload::Notify(failed)], Next::GiveUp);
        }
        let mut answer = vec![Payload::IdentificationResponder((&self.behaviour.identity).into())];
        answer.extend(self.own_auth(half_open));
        answer.extend(self.behaviour.extra.clone());
        answer.extend(confirmed);
        if self.behaviour.twice && self.behaviour.eap.is_some() {
            return (answer, Next::Await(Awaited::SecondIdentity));
        }
        let Some(server) = &self.behaviour.eap else { return (answer, Next::Establish) };
        if server.without_proof {
            answer.clear();
        }
        if server.early_success {
            answer.push(Payload::Eap(vec![3, 9, 0, 4]));
        } else {
            answer.push(Payload::Eap(vec![1, 9, 0, 5, kind::IDENTITY]));
        }
        (answer, Next::Await(Awaited::EapIdentity))
    }

    /// Answers EAP Identity by the challenge.
    fn challenge(&mut self, payloads: &[Payload]) -> (Vec<Payload>, Next) {
        self.note_eap(payloads);
        let challenge = crate::auth::eap::tests::challenge();
        (vec![Payload::Eap(challenge)], Next::Await(Awaited::EapResponse))
    }

    /// Answers the MSCHAPv2 response by Success with the proof, or by Failure.
    fn verdict(&mut self, half_open: &mut HalfOpen, payloads: &[Payload]) -> (Vec<Payload>, Next) {
        let response = self.note_eap(payloads);
        if self.behaviour.fails_eap {
            return (vec![Payload::Eap(vec![4, 9, 0, 4])], Next::GiveUp);
        }
        let Some(server) = &self.behaviour.eap else { panic!("no EAP here") };
        let user = String::from_utf8(response[59..].to_vec()).unwrap();
        let (proof, msk) = crate::auth::eap::tests::server_side(&response, server.password, &user);
        half_open.msk = msk;
        let proof = if server.proves_password { proof } else { format!("S={} M=OK", "0".repeat(40)) };
        let method = [&[3, 3][..], &u16::try_from(proof.len() + 4).unwrap().to_be_bytes(), proof.as_bytes()].concat();
        let length = u16::try_from(method.len() + 5).unwrap().to_be_bytes();
        let packet = [&[1, 9][..], &length, &[kind::MSCHAPV2], &method].concat();
        (vec![Payload::Eap(packet)], Next::Await(Awaited::EapAcknowledgement))
    }

    fn note_eap(&mut self, payloads: &[Payload]) -> Vec<u8> {
        let packet = Payloads(payloads).eap().expect("an EAP packet").to_vec();
        self.eap_answers.push(packet.clone());
        packet
    }

    /// Adds [CP] SA TSi TSr to the response, or says why not.
    fn child(&mut self, half_open: &HalfOpen, answer: &mut Vec<Payload>) -> Agreed {
        let request = Payloads(&half_open.auth_request);
        let suites = proposal::without_groups(&self.context.configuration.esp_suites);
        let selection = proposal::select(&suites, request.proposals().unwrap()).unwrap();
        let inbound = self.context.esp_spi().unwrap();
        let assigned = TrafficSelector::addresses("10.9.0.7".parse().unwrap(), "10.9.0.7".parse().unwrap());
        let selectors = self.behaviour.selectors.clone();
        let (tsi, tsr) = selectors.unwrap_or((vec![assigned], vec![TrafficSelector::any_ipv4()]));
        answer.push(self.assigned());
        answer.push(Payload::SecurityAssociation(selection.answer(&inbound.0.to_be_bytes())));
        answer.push(Payload::TrafficSelectorsInitiator(tsi.clone()));
        answer.push(Payload::TrafficSelectorsResponder(tsr.clone()));
        let outbound = super::super::child::esp_spi(&selection.peer_spi).unwrap();
        Agreed { inbound, outbound, suite: selection.suite, ends: Ends { local: tsr, remote: tsi } }
    }

    fn assigned(&self) -> Payload {
        let attributes = self.behaviour.assigned.clone();
        Payload::Configuration(wire::Configuration { kind: ConfigurationType::REPLY, attributes })
    }

    fn establish(&mut self, half_open: HalfOpen, agreed: &Agreed, now: Timestamp) -> Session {
        let configuration = self.context.configuration.clone();
        let path = (self.context.path.local, self.context.path.remote);
        let random = Box::new(SeededRandom::new(3));
        let mut context = Context::new(configuration, random, path, Timestamp::ZERO, UNIX_NOW);
        let nonces = Nonces { initiator: &half_open.nonces[0], responder: &half_open.nonces[1] };
        let keys = half_open.sa.keys.child(&agreed.suite, None, nonces).unwrap();
        agreed.install(&keys, Side::Responder, None, &mut context).unwrap();
        let child = agreed.to_child(&mut context, now).unwrap();
        let lifetime = IkeLifetime::draw(&mut context, now).unwrap();
        let state = EstablishedSa::new(half_open.sa, Some(child), lifetime, Nat::default(), &context, now);
        Session { context, state: State::Established(Box::new(state)) }
    }

    /// Tells whether the client's AUTH is good.
    fn check_client(&mut self, half_open: &HalfOpen, payloads: &[Payload]) -> bool {
        let Some(authentication) = Payloads(payloads).authentication() else { return false };
        self.client_method = Some(authentication.method);
        if authentication.method == AuthenticationMethod::SHARED_KEY {
            return self.check_shared(half_open, payloads, &self.behaviour.psk);
        }
        let octets = half_open.client_octets();
        let Some(leaf) = Payloads(payloads).certificates().next() else { return false };
        let (_, leaf) = X509Certificate::from_der(&leaf.data).unwrap();
        let key = PublicKey::from_info(leaf.tbs_certificate.subject_pki.raw).unwrap();
        let ours = SignatureHashes::ours();
        let policy = SignaturePolicy { announced_by_us: &ours, announced_by_gateway: &ours, allow_rsa_sha1: true };
        key.verify(authentication.method.0, &authentication.data, &octets, &policy).is_ok()
    }

    fn check_shared(&self, half_open: &HalfOpen, payloads: &[Payload], key: &[u8]) -> bool {
        let Some(authentication) = Payloads(payloads).authentication() else { return false };
        psk::verify(half_open.sa.keys.prf, key, &half_open.client_octets(), &authentication.data)
    }

    /// Returns [CERT, ...] AUTH.
    fn own_auth(&mut self, half_open: &HalfOpen) -> Vec<Payload> {
        let Some((key, chain)) = &self.behaviour.certificate else {
            return vec![self.shared_auth(half_open, &self.behaviour.psk)];
        };
        let octets = half_open.gateway_octets(&self.behaviour.identity);
        let ours = SignatureHashes::ours();
        let announced = if self.behaviour.knows_digital_signatures { ours } else { SignatureHashes::default() };
        let signed = signature::sign(key, &announced, &octets, self.context.random.as_mut()).unwrap();
        let method = AuthenticationMethod(signed.scheme.method());
        let certificates = certificate::payloads(chain).into_iter().map(Payload::Certificate);
        certificates.chain([Payload::Authentication(Authentication { method, data: signed.data })]).collect()
    }

    fn shared_auth(&self, half_open: &HalfOpen, key: &[u8]) -> Payload {
        let mut octets = half_open.gateway_octets(&self.behaviour.identity);
        if self.behaviour.forgets_intermediate {
            octets.truncate(octets.len() - half_open.sa.intermediate_octets().len());
        }
        let data = psk::compute(half_open.sa.keys.prf, key, &octets);
        Payload::Authentication(Authentication { method: AuthenticationMethod::SHARED_KEY, data })
    }

    /// Takes the keys that go with the post-quantum pre-shared key, if the client names the one that
    /// is known here; else the AUTH that was made without. Returns the request with the AUTH that
    /// counts, and what is answered.
    fn settle_ppk(&self, half_open: &mut HalfOpen, mut request: Vec<Payload>) -> (Vec<Payload>, Option<Payload>) {
        let notify = |kind| Payloads(&request).notify(kind).map(|notify| notify.data.clone());
        let (named, without) = (notify(NotifyType::PPK_IDENTITY), notify(NotifyType::NO_PPK_AUTH));
        if let (Some((name, key)), Some(named)) = (self.behaviour.ppk, named)
            && named == [&[2], name.as_bytes()].concat()
        {
            let mixed = half_open.sa.keys.mix(key).unwrap();
            half_open.sa.keys.adopt(mixed);
            let confirmed = Payload::Notify(Notify::new(NotifyType::PPK_IDENTITY, Vec::new()));
            return (request, (!self.behaviour.forgets_ppk).then_some(confirmed));
        }
        for payload in &mut request {
            if let (Payload::Authentication(authentication), Some(data)) = (payload, &without) {
                authentication.data.clone_from(data);
            }
        }
        (request, None)
    }

    fn flush(&mut self) -> Vec<Vec<u8>> {
        self.context.transmits.drain(..).map(|transmit| unmarked(&transmit)).collect()
    }
}

impl HalfOpen {
    fn client_octets(&self) -> Vec<u8> {
        let keys = &self.sa.keys;
        let body = self.identity.as_ref().map(Identification::body).unwrap_or_default();
        let octets = signed_octets(keys.prf, keys.sk_pi.expose(), &self.init, &self.nonces[1], &body);
        [octets, self.sa.intermediate_octets()].concat()
    }

    fn gateway_octets(&self, identity: &Identity) -> Vec<u8> {
        let keys = &self.sa.keys;
        let body = Identification::from(identity).body();
        let octets = signed_octets(keys.prf, keys.sk_pr.expose(), &self.init_response, &self.nonces[0], &body);
        [octets, self.sa.intermediate_octets()].concat()
    }
}
