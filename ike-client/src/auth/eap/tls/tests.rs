//! EAP-TLS and EAP-TTLS against a server made of rustls, whose other end is not ours.

use super::*;
use crate::auth::PrivateKey;
use crate::auth::certificate::making::{self, Making};
use crate::auth::certificate::{CertificateError, Revocation, RevocationPolicy};
use crate::auth::eap::{EapMethod, EapProfile, InnerMethod, Peer, Step, TlsVersion, packet::kind};
use crate::auth::signature::{SignatureAlgorithm, sign_bare};
use crate::crypto::Secret;
use crate::random::SeededRandom;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion};
use std::io::{Read, Write};
use std::sync::Arc;

/// 2026-11-23.
const NOW: u64 = 1_795_392_000;
const SERVER: &str = "radius.example.com";

/// An authority and those it vouches for.
pub(crate) struct Pki {
    pub authority: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
    server: (Vec<u8>, Vec<u8>),
    pub client: (Vec<u8>, String),
}

pub(crate) fn pki() -> Pki {
    pki_for(SERVER, ExtendedKeyUsagePurpose::ServerAuth)
}

fn pki_for(server: &str, purpose: ExtendedKeyUsagePurpose) -> Pki {
    let key = || KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let issuer_key = key();
    let authority = parameters.self_signed(&issuer_key).unwrap().der().to_vec();
    let issuer = Issuer::new(parameters, issuer_key);
    let issue = |name: &str, purpose| {
        let mut parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
        parameters.extended_key_usages = vec![purpose];
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = key();
        (parameters.signed_by(&key, &issuer).unwrap().der().to_vec(), key)
    };
    let (certificate, key) = issue(server, purpose);
    let server = (certificate, key.serialize_der());
    let (certificate, key) = issue("alice.example.com", ExtendedKeyUsagePurpose::ClientAuth);
    Pki { authority, issuer, server, client: (certificate, key.serialize_pem()) }
}

/// What the server does inside once the channel stands.
pub(crate) enum Inside {
    /// EAP-TLS; with TLS 1.3 it says so inside, unless it forgets to.
    Nothing { indicates: bool },
    /// TTLS with PAP: this password.
    Pap(&'static str),
    /// TTLS with MSCHAPv2: this password; or it claims to know it.
    Mschapv2 { password: &'static str, honest: bool },
}

pub(crate) struct Server {
    connection: ServerConnection,
    framing: Framing,
    kind: u8,
    inside: Inside,
    identifier: u8,
    indicated: bool,
    answered: bool,
    pub heard: Vec<u8>,
    /// Whether it closes the channel after the handshake, and goes on.
    closes: bool,
}

impl Server {
    pub(crate) fn new(pki: &Pki, versions: &[&'static SupportedProtocolVersion], inside: Inside) -> Self {
        Self::stapling(pki, versions, inside, Vec::new())
    }

    /// Makes a server that sends this OCSP response with its certificate.
    fn stapling(pki: &Pki, versions: &[&'static SupportedProtocolVersion], inside: Inside, response: Vec<u8>) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions).unwrap();
        let mutual = matches!(inside, Inside::Nothing { .. });
        let builder = if mutual {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from(pki.authority.clone())).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::try_from(pki.server.1.clone()).unwrap();
        let config =
            builder.with_single_cert_with_ocsp(vec![CertificateDer::from(pki.server.0.clone())], key, response);
        let config = config.unwrap();
        let kind = if mutual { kind::TLS } else { kind::TTLS };
        Self {
            connection: ServerConnection::new(Arc::new(config)).unwrap(),
            framing: Framing::new(false),
            kind,
            inside,
            identifier: 1,
            indicated: false,
            answered: false,
            heard: Vec::new(),
            closes: false,
        }
    }

    pub(crate) fn start(&self) -> Vec<u8> {
        self.packet(&[0x20])
    }

    fn packet(&self, data: &[u8]) -> Vec<u8> {
        let length = u16::try_from(data.len() + 5).unwrap().to_be_bytes();
        [&[1, self.identifier][..], &length, &[self.kind], data].concat()
    }

    /// Takes the peer's response and gives the next request, or Success.
    pub(crate) fn answer(&mut self, response: &[u8]) -> Vec<u8> {
        assert_eq!(response[4], self.kind, "another method's response: {response:?}");
        self.identifier = self.identifier.wrapping_add(1);
        let message = match self.framing.receive(&response[5..]).unwrap() {
            Received::Part => return self.packet(&ACKNOWLEDGEMENT),
            Received::Message(message) => message,
            Received::Start => panic!("a start from the peer"),
        };
        if self.framing.has_more() {
            let next = self.framing.next();
            return self.packet(&next);
        }
        if message.is_empty() && !self.connection.is_handshaking() && !self.must_speak() {
            return vec![3, self.identifier, 0, 4];
        }
        let mut rest = message.as_slice();
        while !rest.is_empty() {
            self.connection.read_tls(&mut rest).unwrap();
            if self.connection.process_new_packets().is_err() {
                return vec![4, self.identifier, 0, 4];
            }
        }
        if self.closes && !self.connection.is_handshaking() {
            self.connection.send_close_notify();
            let mut out = Vec::new();
            while self.connection.wants_write() {
                self.connection.write_tls(&mut out).unwrap();
            }
            // More than is read at a time.
            out.extend(vec![0; 12_000]);
            let data = self.framing.send(out);
            return self.packet(&data);
        }
        if !self.connection.is_handshaking() && self.speak() {
            return vec![3, self.identifier, 0, 4];
        }
        let mut out = Vec::new();
        while self.connection.wants_write() {
            self.connection.write_tls(&mut out).unwrap();
        }
        let data = self.framing.send(out);
        self.packet(&data)
    }

    fn tls13(&self) -> bool {
        self.connection.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3)
    }

    fn must_speak(&self) -> bool {
        matches!(self.inside, Inside::Nothing { indicates: true }) && self.tls13() && !self.indicated
    }

    /// Says inside what there is to say; true when Success comes at once.
    fn speak(&mut self) -> bool {
        if self.must_speak() {
            self.indicated = true;
            self.connection.writer().write_all(&[0]).unwrap();
            return false;
        }
        let mut inside = vec![0; 4096];
        let read = self.connection.reader().read(&mut inside).unwrap_or(0);
        inside.truncate(read);
        self.heard.extend_from_slice(&inside);
        if read == 0 || self.answered {
            return false;
        }
        self.answered = true;
        match self.inside {
            Inside::Nothing { .. } => panic!("nothing is to be said inside"),
            Inside::Pap(password) => {
                assert!(inside.windows(password.len()).any(|window| window == password.as_bytes()));
                true
            }
            Inside::Mschapv2 { password, honest } => {
                let implicit = self.connection.export_keying_material([0; 17], b"ttls challenge", None).unwrap();
                let response = inside.len() - 52;
                let response = &inside[response..response + 50];
                assert_eq!(response[0], implicit[16]);
                let said =
                    if honest { proof_of(&implicit, response, password) } else { format!("S={}", "0".repeat(40)) };
                let value = [&[implicit[16]][..], said.as_bytes()].concat();
                let length = u32::try_from(value.len() + 12).unwrap() | 0xc000_0000;
                let head = [26_u32.to_be_bytes(), length.to_be_bytes(), 311_u32.to_be_bytes()].concat();
                let padding = vec![0; value.len().next_multiple_of(4) - value.len()];
                self.connection.writer().write_all(&[head, value, padding].concat()).unwrap();
                false
            }
        }
    }

    fn export(&self, kind: u8) -> Vec<u8> {
        let (label, context) = match (kind, self.tls13()) {
            (_, true) => (&b"EXPORTER_EAP_TLS_Key_Material"[..], Some(vec![kind])),
            (kind::TLS, false) => (&b"client EAP encryption"[..], None),
            (_, false) => (&b"ttls keying material"[..], None),
        };
        let exported = self.connection.export_keying_material([0; 128], label, context.as_deref()).unwrap();
        exported[..64].to_vec()
    }
}

fn proof_of(implicit: &[u8; 17], response: &[u8], password: &str) -> String {
    // server_side knows one challenge only; MSCHAPv2's own test vectors cover the computation.
    use md4::{Digest, Md4};
    use sha1::Sha1;
    let units: Vec<u8> = password.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let hash_hash = Md4::digest(Md4::digest(&units));
    let challenge = Sha1::digest([&response[2..18], &implicit[..16], b"alice"].concat());
    let inner = Sha1::digest([&hash_hash, &response[26..50], b"Magic server to client signing constant"].concat());
    let proof = Sha1::digest([&inner[..], &challenge[..8], b"Pad to make it do more than one iteration"].concat());
    format!("S={}", hex::encode_upper(proof))
}

fn profile(pki: &Pki, method: EapMethod) -> EapProfile {
    let client_chain = if method == EapMethod::Tls { vec![pki.client.0.clone()] } else { Vec::new() };
    let tls = TlsProfile {
        server_name: SERVER.to_owned(),
        server_anchors: vec![pki.authority.clone()],
        server_pins: Vec::new(),
        revocation: Revocation::default(),
        minimum_version: TlsVersion::Tls12,
        client_chain,
        inner: InnerMethod::Mschapv2,
        outer_identity: None,
    };
    EapProfile { methods: vec![method], tls: Some(tls), ..EapProfile::default() }
}

fn peer(profile: EapProfile) -> Peer {
    Peer::new(&crate::auth::eap::tests::proven(), Some("alice".to_owned()), profile, NOW)
}

/// Plays until the peer ends; a password or signature is given when asked for.
fn play(peer: &mut Peer, server: &mut Server, client_key: &str, password: &str) -> Step {
    let mut random = SeededRandom::new(11);
    let mut packet = server.start();
    for _ in 0..200 {
        let mut step = peer.handle(&packet, &mut random);
        if let Step::NeedSignature { algorithm, octets } = &step {
            let key = PrivateKey::from_pem(client_key).unwrap();
            let signature = sign_bare(&key, *algorithm, octets, &mut random).unwrap();
            step = peer.signature(signature);
        }
        if let Step::NeedPassword { server, .. } = &step {
            assert_eq!(server, SERVER);
            step = peer.secret(&crate::crypto::Secret::from(password.as_bytes()), &mut random);
        }
        match step {
            Step::Reply(response) => packet = server.answer(&response),
            ended => return ended,
        }
    }
    panic!("it never ends")
}

const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12, &rustls::version::TLS13];
const ONLY_12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];

#[test]
fn tls_1_2_and_1_3_end_with_the_key_that_the_server_has() {
    let pki = pki();
    for versions in [ONLY_12, BOTH] {
        let mut server = Server::new(&pki, versions, Inside::Nothing { indicates: true });
        let mut peer = peer(profile(&pki, EapMethod::Tls));
        let ended = play(&mut peer, &mut server, &pki.client.1, "");
        let key = Secret::new(server.export(kind::TLS));
        assert_eq!(ended, Step::Success(EapKey::MasterSessionKey(key)));
    }
}

#[test]
fn attack_a_server_that_goes_on_after_its_close_is_refused_and_not_heard_for_ever() {
    let pki = pki();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut server = Server::new(&pki, &[version], Inside::Nothing { indicates: true });
        server.closes = true;
        let mut peer = peer(profile(&pki, EapMethod::Tls));
        let ended = play(&mut peer, &mut server, &pki.client.1, "");
        assert!(matches!(ended, Step::Failed { reason: EapFailure::Tls(TlsError::Handshake(_)), .. }), "{ended:?}");
    }
}

#[test]
fn an_rsa_key_signs_by_pss() {
    let desk = Arc::default();
    assert!(super::client::ClientKey::new(&[], Arc::clone(&desk)).is_none());
    let rsa = include_bytes!("../../../../tests-data/rsa2048.pkcs8.pem");
    let key = PrivateKey::from_pem(std::str::from_utf8(rsa).unwrap()).unwrap();
    let signature = sign_bare(&key, SignatureAlgorithm::RsaPssSha256, b"octets", &mut SeededRandom::new(1)).unwrap();
    let public = crate::auth::signature::PublicKey::from_info(&key.public_key_info()).unwrap();
    assert!(public.verify_bare(SignatureAlgorithm::RsaPssSha256, b"octets", &signature));
    assert!(!public.verify_bare(SignatureAlgorithm::RsaPkcs1Sha256, b"octets", &signature));
}

#[test]
fn a_login_server_is_held_against_the_response_that_it_sends_within_tls() {
    let pki = pki();
    let staple = |status| {
        let making = Making {
            certificate: &pki.server.0,
            issuer: &pki.authority,
            status,
            this_update: NOW - 60,
            next_update: Some(NOW + 3600),
            nonce: None,
            responder: &pki.authority,
            named_by_key: false,
        };
        making.sign(pki.issuer.key())
    };
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let login = |policy, response: Vec<u8>| {
            let mut profile = profile(&pki, EapMethod::Tls);
            let revocation = Revocation { policy, ..Revocation::default() };
            profile.tls.as_mut().unwrap().revocation = revocation;
            let mut server = Server::stapling(&pki, &[version], Inside::Nothing { indicates: true }, response);
            play(&mut peer(profile), &mut server, &pki.client.1, "")
        };
        let refused = |step: Step| match step {
            Step::Failed { reason: EapFailure::Tls(TlsError::Certificate(error)), .. } => error,
            other => panic!("{other:?}"),
        };
        use RevocationPolicy::{Hard, Soft};
        assert!(matches!(login(Hard, staple(making::good())), Step::Success(_)));
        assert_eq!(refused(login(Soft, staple(making::revoked()))), CertificateError::Revoked);
        let unknown = refused(login(Hard, Vec::new()));
        assert!(matches!(unknown, CertificateError::RevocationUnknown { .. }), "{unknown}");
    }
}

#[test]
fn success_over_tls_1_3_without_the_protected_word_is_not_believed() {
    let pki = pki();
    let mut server = Server::new(&pki, BOTH, Inside::Nothing { indicates: false });
    let mut peer = peer(profile(&pki, EapMethod::Tls));
    let ended = play(&mut peer, &mut server, &pki.client.1, "");
    assert_eq!(ended, Step::Failed { reason: EapFailure::SuccessUnconfirmed, farewell: None });
}

#[test]
fn success_before_tls_has_proven_the_server_is_early() {
    let pki = pki();
    let mut random = SeededRandom::new(1);
    for method in [EapMethod::Tls, EapMethod::Ttls] {
        let mut peer = peer(profile(&pki, method));
        let start = [1, 1, 0, 6, method.kind(), 0x20];
        assert!(matches!(peer.handle(&start, &mut random), Step::Reply(_)));
        let step = peer.handle(&[3, 1, 0, 4], &mut random);
        assert_eq!(step, Step::Failed { reason: EapFailure::EarlySuccess, farewell: None });
    }
}

#[test]
fn an_inner_server_that_is_another_or_not_vouched_for_learns_nothing() {
    let good = pki();
    let others = [
        pki(),
        pki_for("other.example.com", ExtendedKeyUsagePurpose::ServerAuth),
        pki_for(SERVER, ExtendedKeyUsagePurpose::ClientAuth),
    ];
    for (number, other) in others.iter().enumerate() {
        for method in [EapMethod::Tls, EapMethod::Ttls] {
            let inside = match method {
                EapMethod::Tls => Inside::Nothing { indicates: true },
                _ => Inside::Pap("swordfish"),
            };
            let mut server = Server::new(other, BOTH, inside);
            // The first is under another authority; the others are under this one.
            let trusted = if number == 0 { &good } else { other };
            let mut profile = profile(trusted, method);
            if let Some(tls) = &mut profile.tls {
                tls.inner = InnerMethod::Pap;
            }
            let ended = play(&mut peer(profile), &mut server, &trusted.client.1, "swordfish");
            let Step::Failed { reason: EapFailure::Tls(TlsError::Certificate(_)), .. } = ended else {
                panic!("{number} {method:?}: {ended:?}")
            };
            assert!(server.heard.is_empty());
        }
    }
}

#[test]
fn a_server_of_an_older_tls_than_the_profile_wants_is_refused() {
    let pki = pki();
    let mut wanted = profile(&pki, EapMethod::Tls);
    if let Some(tls) = &mut wanted.tls {
        tls.minimum_version = TlsVersion::Tls13;
    }
    let mut server = Server::new(&pki, ONLY_12, Inside::Nothing { indicates: true });
    let ended = play(&mut peer(wanted), &mut server, &pki.client.1, "");
    assert!(matches!(&ended, Step::Failed { reason: EapFailure::Refused, .. }), "{ended:?}");
}

#[test]
fn a_pinned_server_needs_no_authority_and_another_key_is_refused() {
    let (pinned, other) = (pki(), pki());
    let leaf = x509_parser::parse_x509_certificate(&pinned.server.0).unwrap().1;
    let pin = ring::digest::digest(&ring::digest::SHA256, leaf.tbs_certificate.subject_pki.raw);
    let mut wanted = profile(&pinned, EapMethod::Ttls);
    if let Some(tls) = &mut wanted.tls {
        tls.server_anchors.clear();
        tls.server_pins = vec![pin.as_ref().try_into().unwrap()];
        tls.inner = InnerMethod::Pap;
    }
    let mut server = Server::new(&pinned, BOTH, Inside::Pap("swordfish"));
    assert!(matches!(play(&mut peer(wanted.clone()), &mut server, "", "swordfish"), Step::Success(_)));
    let mut server = Server::new(&other, BOTH, Inside::Pap("swordfish"));
    let ended = play(&mut peer(wanted), &mut server, "", "swordfish");
    assert!(matches!(ended, Step::Failed { reason: EapFailure::Tls(TlsError::Certificate(_)), .. }), "{ended:?}");
}

#[test]
fn a_password_travels_inside_ttls_and_the_server_proves_that_it_knows_it() {
    let pki = pki();
    for versions in [ONLY_12, BOTH] {
        for inner in [InnerMethod::Pap, InnerMethod::Mschapv2] {
            let inside = match inner {
                InnerMethod::Pap => Inside::Pap("swordfish"),
                InnerMethod::Mschapv2 => Inside::Mschapv2 { password: "swordfish", honest: true },
            };
            let mut server = Server::new(&pki, versions, inside);
            let mut wanted = profile(&pki, EapMethod::Ttls);
            if let Some(tls) = &mut wanted.tls {
                tls.inner = inner;
            }
            let ended = play(&mut peer(wanted), &mut server, "", "swordfish");
            let key = Secret::new(server.export(kind::TTLS));
            assert_eq!(ended, Step::Success(EapKey::MasterSessionKey(key)));
        }
    }
}

#[test]
fn a_server_that_does_not_know_the_password_inside_is_not_believed() {
    let pki = pki();
    let inside = Inside::Mschapv2 { password: "", honest: false };
    let mut server = Server::new(&pki, BOTH, inside);
    let ended = play(&mut peer(profile(&pki, EapMethod::Ttls)), &mut server, "", "swordfish");
    assert_eq!(ended, Step::Failed { reason: EapFailure::ServerUnproven, farewell: None });
}

#[test]
fn the_name_outside_is_the_one_that_the_profile_gives() {
    let pki = pki();
    let mut wanted = profile(&pki, EapMethod::Ttls);
    if let Some(tls) = &mut wanted.tls {
        tls.outer_identity = Some("anonymous".to_owned());
    }
    let step = peer(wanted).handle(&[1, 1, 0, 5, kind::IDENTITY], &mut SeededRandom::new(1));
    assert_eq!(step, Step::Reply(b"\x02\x01\0\x0e\x01anonymous".to_vec()));
}

#[test]
fn a_signature_by_another_key_is_refused_by_the_server() {
    let (pki, other) = (pki(), self::pki());
    let mut server = Server::new(&pki, BOTH, Inside::Nothing { indicates: true });
    let ended = play(&mut peer(profile(&pki, EapMethod::Tls)), &mut server, &other.client.1, "");
    assert_eq!(ended, Step::Failed { reason: EapFailure::Refused, farewell: None });
}

#[test]
fn a_flood_of_fragments_ends_the_login() {
    let pki = pki();
    let mut random = SeededRandom::new(1);
    let mut peer = peer(profile(&pki, EapMethod::Tls));
    assert!(matches!(peer.handle(&[1, 1, 0, 6, kind::TLS, 0x20], &mut random), Step::Reply(_)));
    let fragment = [1, 2, 0, 7, kind::TLS, 0x40, 0x16];
    let ended = (0..1000).map(|_| peer.handle(&fragment, &mut random)).find(|step| !matches!(step, Step::Reply(_)));
    assert!(
        matches!(ended, Some(Step::Failed { reason: EapFailure::Framing(FramingError::TooLarge), .. })),
        "{ended:?}"
    );
}

#[test]
fn only_methods_that_suffice_alone_run_without_the_gateways_own_proof() {
    let pki = pki();
    let alone = |profile| Peer::alone(Some("alice".to_owned()), profile, NOW);
    assert!(alone(profile(&pki, EapMethod::Tls)).is_some());
    assert!(alone(profile(&pki, EapMethod::Ttls)).is_none());
    assert!(alone(EapProfile::default()).is_none());
    let both = EapProfile { methods: vec![EapMethod::Tls, EapMethod::Mschapv2], ..profile(&pki, EapMethod::Tls) };
    assert!(alone(both).is_none());
    assert!(alone(EapProfile { methods: Vec::new(), ..EapProfile::default() }).is_none());
}
