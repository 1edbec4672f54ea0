//! Certificates on either side: whom they convince, and what is signed by whom.

use super::*;
use crate::auth::certificate::known::{MOST_AGE, Memory};
use crate::auth::certificate::making::{self, Making};
use crate::auth::certificate::{Revocation, RevocationPolicy, RevocationSource};
use crate::auth::signature::{SignatureHashes, SignatureScheme, sign};
use crate::auth::{Identity, PrivateKey};
use crate::wire::{AuthenticationMethod, Certificate, CertificateEncoding, Payload, PayloadType};
use rcgen::{
    BasicConstraints, CertificateParams, CrlDistributionPoint, DnType, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, SerialNumber, SignatureAlgorithm, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, pem::PemObject};

/// An authority, and what it vouches for.
pub(super) struct Authority {
    pub(super) der: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.distinguished_name.push(DnType::CommonName, "Root");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let der = parameters.self_signed(&key).unwrap().der().to_vec();
        Self { der, issuer: Issuer::new(parameters, key) }
    }

    pub(super) fn issue(&self, name: &str, algorithm: &'static SignatureAlgorithm) -> (PrivateKey, Vec<Vec<u8>>) {
        let mut parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
        parameters.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate_for(algorithm).unwrap();
        let der = parameters.signed_by(&key, &self.issuer).unwrap().der().to_vec();
        (PrivateKey::from_pem(&key.serialize_pem()).unwrap(), vec![der])
    }
}

pub(super) fn by_certificate(anchors: Vec<Vec<u8>>) -> GatewayAuthentication {
    GatewayAuthentication::Certificate {
        anchors,
        spki_pins: Vec::new(),
        allow_rsa_sha1: true,
        revocation: Default::default(),
    }
}

/// Signs what the client asks to have signed.
pub(super) fn answer_signature(client: &mut Session, key: &PrivateKey, now: Timestamp) -> SignatureScheme {
    let (id, request) = requested(client);
    let Request::Sign { octets, announced } = request else { panic!("a signature is asked for: {request:?}") };
    let signed = sign(key, &announced, &octets, &mut SeededRandom::new(9)).unwrap();
    let answer = Answer::Signature { method: signed.scheme.method(), data: signed.data };
    client.handle_response(id, answer, now).unwrap();
    signed.scheme
}

#[test]
fn both_sides_prove_themselves_by_certificates_with_and_without_method_14() {
    for (algorithm, own_method) in [
        (&PKCS_ECDSA_P256_SHA256, AuthenticationMethod::ECDSA_P256),
        (&PKCS_ECDSA_P384_SHA384, AuthenticationMethod::ECDSA_P384),
    ] {
        for knows_digital_signatures in [true, false] {
            let authority = Authority::new();
            let (key, chain) = authority.issue("carol.example.test", algorithm);
            let configuration = Configuration {
                gateway_auth: by_certificate(vec![authority.der.clone()]),
                client_auth: ClientAuthentication::Certificate { chain },
                ..configuration()
            };
            let certificate = Some(authority.issue("vpn.example.test", algorithm));
            let behaviour = Behaviour { certificate, knows_digital_signatures, ..Behaviour::default() };
            let mut gateway = Gateway::new(configuration.clone(), behaviour);
            let mut client = client(configuration);
            exchange(&mut client, &mut gateway, at(0));
            assert_eq!(client.state_name(), "awaiting-signature");
            answer_signature(&mut client, &key, at(0));
            // HDR, SK{IDi, CERT, N(INITIAL_CONTACT), CERTREQ, AUTH, CP, SAi2, TSi, TSr} -->
            //      <-- HDR, SK{IDr, CERT, AUTH, CP, SAr2, TSi, TSr}
            exchange(&mut client, &mut gateway, at(0));
            assert_eq!(client.state_name(), "established");
            let expected = if knows_digital_signatures { AuthenticationMethod::DIGITAL_SIGNATURE } else { own_method };
            assert_eq!(gateway.client_method, Some(expected));
            let order: Vec<PayloadType> = gateway.first_auth.iter().map(Payload::payload_type).collect();
            assert_eq!(
                order[..5],
                [
                    PayloadType::IDENTIFICATION_INITIATOR,
                    PayloadType::CERTIFICATE,
                    PayloadType::NOTIFY,
                    PayloadType::CERTIFICATE_REQUEST,
                    PayloadType::AUTHENTICATION,
                ]
            );
            let Some(Payload::IdentificationInitiator(identity)) = gateway.first_auth.first() else { panic!("IDi") };
            let identity = Identity::try_from(identity).unwrap();
            assert!(matches!(identity, Identity::DistinguishedName(_)), "the certificate's subject: {identity}");
        }
    }
}

#[test]
fn rsa_signs_by_method_1_only_where_nothing_better_is_known_and_with_a_warning() {
    let pem = include_str!("../../../tests-data/rsa2048.pkcs8.pem");
    let leaf = CertificateDer::from_pem_slice(include_bytes!("../../../tests-data/rsa2048-leaf.cert.pem")).unwrap();
    let anchor = CertificateDer::from_pem_slice(include_bytes!("../../../tests-data/ca.cert.pem")).unwrap();
    for (knows_digital_signatures, warnings) in [(true, vec![]), (false, vec![Warning::SignatureUsesSha1])] {
        let configuration = Configuration {
            gateway_name: "vpn.example.com".to_owned(),
            gateway_auth: by_certificate(vec![anchor.to_vec()]),
            ..configuration()
        };
        let certificate = Some((PrivateKey::from_pem(pem).unwrap(), vec![leaf.to_vec()]));
        let identity = "vpn.example.com".parse().unwrap();
        let behaviour = Behaviour { certificate, knows_digital_signatures, identity, ..Behaviour::default() };
        let mut gateway = Gateway::new(configuration.clone(), behaviour);
        let random = Box::new(SeededRandom::new(1));
        // The fixture's certificate is good from the end of 2026 on.
        let unix = 1_800_000_000;
        let mut client =
            Session::new(configuration, random, client_address(), gateway_address(), Timestamp::ZERO, unix);
        exchange(&mut client, &mut gateway, at(0));
        answer_psk(&mut client, PSK, at(0));
        exchange(&mut client, &mut gateway, at(0));
        let Some(Event::Established(established)) = client.poll_event() else { panic!("{}", client.state_name()) };
        assert_eq!(established.warnings, warnings);
    }
}

#[test]
fn a_gateway_by_certificate_and_a_user_by_password_come_together() {
    let authority = Authority::new();
    let configuration = Configuration {
        gateway_auth: by_certificate(vec![authority.der.clone()]),
        client_auth: ClientAuthentication::Eap { identity: Some("alice".to_owned()), profile: Default::default() },
        ..configuration()
    };
    let certificate = Some(authority.issue("vpn.example.test", &PKCS_ECDSA_P256_SHA256));
    let behaviour = Behaviour { certificate, eap: Some(Default::default()), ..Behaviour::default() };
    let mut gateway = Gateway::new(configuration.clone(), behaviour);
    let mut client = client(configuration);
    exchange(&mut client, &mut gateway, at(0));
    let (id, request) = requested(&mut client);
    assert!(matches!(request, Request::EapPassword { .. }));
    let secret = Secret::from(b"swordfish".as_slice());
    client.handle_response(id, Answer::Secret { secret }, at(0)).unwrap();
    exchange(&mut client, &mut gateway, at(0));
    let Some(Event::Established(established)) = client.poll_event() else { panic!("{}", client.state_name()) };
    assert_eq!(established.warnings, []);
}

/// Runs a client by EAP against a gateway with that certificate.
fn distrust(configuration: Configuration, behaviour: Behaviour) -> DistrustReason {
    let configuration = Configuration {
        client_auth: ClientAuthentication::Eap { identity: Some("alice".to_owned()), profile: Default::default() },
        ..configuration
    };
    let behaviour = Behaviour { eap: Some(Default::default()), ..behaviour };
    let mut gateway = Gateway::new(configuration.clone(), behaviour);
    let mut client = client(configuration);
    exchange(&mut client, &mut gateway, at(0));
    assert_eq!(gateway.eap_answers, Vec::<Vec<u8>>::new(), "no EAP answer before the gateway's proof");
    match closed(&mut client) {
        CloseCause::GatewayNotTrusted { why } => why,
        other => panic!("trusted: {other:?}"),
    }
}

#[test]
fn a_gateway_under_another_authority_or_another_name_gets_no_eap_answer() {
    let (ours, other) = (Authority::new(), Authority::new());
    let configuration = Configuration { gateway_auth: by_certificate(vec![ours.der.clone()]), ..configuration() };
    for certificate in [
        other.issue("vpn.example.test", &PKCS_ECDSA_P256_SHA256),
        ours.issue("other.example.test", &PKCS_ECDSA_P256_SHA256),
    ] {
        let behaviour = Behaviour { certificate: Some(certificate), ..Behaviour::default() };
        assert!(matches!(distrust(configuration.clone(), behaviour), DistrustReason::Certificate { .. }));
    }
}

#[test]
fn a_gateway_that_signs_with_another_key_than_its_certificates_is_refused() {
    let ours = Authority::new();
    let configuration = Configuration { gateway_auth: by_certificate(vec![ours.der.clone()]), ..configuration() };
    let (_, chain) = ours.issue("vpn.example.test", &PKCS_ECDSA_P256_SHA256);
    let (stranger, _) = ours.issue("vpn.example.test", &PKCS_ECDSA_P256_SHA256);
    let behaviour = Behaviour { certificate: Some((stranger, chain)), ..Behaviour::default() };
    assert_eq!(distrust(configuration, behaviour), DistrustReason::ProofWrong);
}

#[test]
fn a_shared_key_is_no_certificate() {
    let ours = Authority::new();
    let configuration = Configuration { gateway_auth: by_certificate(vec![ours.der]), ..configuration() };
    let why = distrust(configuration, Behaviour::default());
    assert_eq!(why, DistrustReason::MethodNotAccepted { method: 2 });
}

#[test]
fn a_client_whose_signature_is_wrong_is_refused_by_name() {
    let authority = Authority::new();
    let (_, chain) = authority.issue("carol.example.test", &PKCS_ECDSA_P256_SHA256);
    let (other, _) = authority.issue("mallory.example.test", &PKCS_ECDSA_P256_SHA256);
    let configuration = Configuration {
        gateway_auth: by_certificate(vec![authority.der.clone()]),
        client_auth: ClientAuthentication::Certificate { chain },
        ..configuration()
    };
    let certificate = Some(authority.issue("vpn.example.test", &PKCS_ECDSA_P256_SHA256));
    let mut gateway = Gateway::new(configuration.clone(), Behaviour { certificate, ..Behaviour::default() });
    let mut client = client(configuration);
    exchange(&mut client, &mut gateway, at(0));
    answer_signature(&mut client, &other, at(0));
    exchange(&mut client, &mut gateway, at(0));
    let likely = vec![LikelyCause::CertificateNotAccepted, LikelyCause::IdentityUnknown];
    assert_eq!(closed(&mut client), CloseCause::AuthenticationFailed { likely });
}

#[test]
fn the_hashes_that_the_gateway_announced_go_with_the_request() {
    let authority = Authority::new();
    let (_, chain) = authority.issue("carol.example.test", &PKCS_ECDSA_P256_SHA256);
    for (knows_digital_signatures, expected) in [(true, SignatureHashes::ours()), (false, SignatureHashes::default())] {
        let configuration = Configuration {
            gateway_auth: by_certificate(vec![authority.der.clone()]),
            client_auth: ClientAuthentication::Certificate { chain: chain.clone() },
            ..configuration()
        };
        let behaviour = Behaviour { knows_digital_signatures, ..Behaviour::default() };
        let mut gateway = Gateway::new(configuration.clone(), behaviour);
        let mut client = client(configuration);
        exchange(&mut client, &mut gateway, at(0));
        assert!(matches!(requested(&mut client).1, Request::Sign { announced, .. } if announced == expected));
    }
}

#[test]
fn attack_an_answer_by_which_the_own_key_cannot_sign_ends_nobody_but_its_sender() {
    let authority = Authority::new();
    let (_, chain) = authority.issue("carol.example.test", &PKCS_ECDSA_P256_SHA256);
    let configuration = Configuration {
        gateway_auth: by_certificate(vec![authority.der.clone()]),
        client_auth: ClientAuthentication::Certificate { chain },
        ..configuration()
    };
    let mut gateway = Gateway::new(configuration.clone(), Behaviour::default());
    let mut forger =
        Gateway::new(configuration.clone(), Behaviour { knows_digital_signatures: false, ..Behaviour::default() });
    forger.draw_from(7);
    let mut client = client(configuration);
    let request = sent_one(&mut client);
    let refused = || Answer::Refused { because: "the key cannot sign that".to_owned() };
    for (from, is_last) in [(&mut forger, false), (&mut gateway, true)] {
        for answer in from.take(&request, at(0)) {
            client.handle_datagram(&answer, gateway_address(), at(0));
        }
        let (id, question) = requested(&mut client);
        assert!(matches!(question, Request::Sign { .. }));
        client.handle_response(id, refused(), at(0)).unwrap();
        assert!(!client.is_closed(), "the gateway may still answer, after this one: {is_last}");
    }
    nobody_else_answers(&mut client);
    assert!(matches!(closed(&mut client), CloseCause::InputRefused { .. }));
}

/// A client that wants to know whether the gateway's certificate was revoked, against a gateway whose certificate
/// names a list; the question is asked.
fn inquiring(authority: &Authority, policy: RevocationPolicy, behaviour: Behaviour) -> (Session, Gateway, Vec<u8>) {
    inquiring_with(authority, Revocation { policy, inquire: true, ..Revocation::default() }, behaviour)
}

/// As [`inquiring`], with what is known already; perhaps there is no question then.
fn inquiring_with(authority: &Authority, revocation: Revocation, behaviour: Behaviour) -> (Session, Gateway, Vec<u8>) {
    let mut parameters = CertificateParams::new(vec!["vpn.example.test".to_owned()]).unwrap();
    parameters.distinguished_name.push(DnType::CommonName, "gateway");
    parameters.serial_number = Some(SerialNumber::from_slice(&[7, 7]));
    let point = CrlDistributionPoint { uris: vec!["http://ca.example.test/list.crl".to_owned()] };
    parameters.crl_distribution_points = vec![point];
    let key = KeyPair::generate().unwrap();
    let der = parameters.signed_by(&key, &authority.issuer).unwrap().der().to_vec();
    let configuration = Configuration {
        gateway_auth: GatewayAuthentication::Certificate {
            anchors: vec![authority.der.clone()],
            spki_pins: Vec::new(),
            allow_rsa_sha1: true,
            revocation,
        },
        ..configuration()
    };
    let certificate = Some((PrivateKey::from_pem(&key.serialize_pem()).unwrap(), vec![der.clone()]));
    let mut gateway = Gateway::new(configuration.clone(), Behaviour { certificate, ..behaviour });
    let mut client = client(configuration);
    exchange(&mut client, &mut gateway, at(0));
    answer_psk(&mut client, PSK, at(0));
    exchange(&mut client, &mut gateway, at(0));
    (client, gateway, der)
}

/// A list of the authority's that names these serial numbers and is good when the tests take place.
fn list(authority: &Authority, serials: &[&[u8]]) -> Vec<u8> {
    let revoked_certs = serials.iter().map(|serial| rcgen::RevokedCertParams {
        serial_number: SerialNumber::from_slice(serial),
        revocation_time: date_time_ymd(2026, 1, 1),
        reason_code: None,
        invalidity_date: None,
    });
    let list = rcgen::CertificateRevocationListParams {
        this_update: date_time_ymd(2026, 1, 1),
        next_update: date_time_ymd(2100, 1, 1),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: revoked_certs.collect(),
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    list.signed_by(&authority.issuer).unwrap().der().to_vec()
}

#[test]
fn who_knows_of_revocation_is_asked_after_the_gateways_proof_and_before_anything_else() {
    use RevocationPolicy::{Hard, Soft};
    let authority = Authority::new();
    let (named, other) = (list(&authority, &[&[7, 7]]), list(&authority, &[&[7, 8]]));
    let said = |lists| Answer::RevocationStatus { responses: Vec::new(), lists };
    let refused = || Answer::Refused { because: "no way out".to_owned() };
    let unknown = vec![Warning::RevocationUnknown];
    for (policy, answer, outcome) in [
        (Soft, said(vec![other.clone()]), Some(vec![])),
        (Hard, said(vec![other]), Some(vec![])),
        (Soft, said(vec![named.clone()]), None),
        (Hard, said(vec![named]), None),
        (Soft, said(vec![]), Some(unknown.clone())),
        (Hard, said(vec![]), None),
        (Soft, said(vec![b"no list".to_vec()]), Some(unknown.clone())),
        (Soft, refused(), Some(unknown.clone())),
        (Hard, refused(), None),
    ] {
        let (mut client, ..) = inquiring(&authority, policy, Behaviour::default());
        assert_eq!(client.state_name(), "awaiting-revocation");
        assert!(client.expected_child().is_some(), "the gateway has made it already");
        let (id, request) = requested(&mut client);
        let url = "http://ca.example.test/list.crl".to_owned();
        let certificates = vec![vec![RevocationSource::List { url }]];
        assert_eq!(request, Request::RevocationStatus { certificates });
        client.handle_response(id, answer, at(0)).unwrap();
        // Whoever has the key of a revoked certificate may have been first: the gateway may still answer.
        nobody_else_answers(&mut client);
        let mut events = std::iter::from_fn(|| client.poll_event());
        let event = events.find(|event| !matches!(event, Event::RevocationLearnt(_)));
        match (outcome, event) {
            (Some(warnings), Some(Event::Established(established))) => assert_eq!(established.warnings, warnings),
            (None, Some(Event::Closed { cause: CloseCause::GatewayNotTrusted { .. } })) => {}
            (outcome, event) => panic!("{policy:?} {outcome:?}: {event:?}"),
        }
    }
}

#[test]
fn what_was_believed_is_told_and_saves_the_next_session_the_question() {
    use RevocationPolicy::{Hard, Soft};
    let authority = Authority::new();
    let learn = |lists| {
        let (mut client, ..) = inquiring(&authority, Soft, Behaviour::default());
        let (id, _) = requested(&mut client);
        client.handle_response(id, Answer::RevocationStatus { responses: Vec::new(), lists }, at(0)).unwrap();
        nobody_else_answers(&mut client);
        let mut memory = Memory::default();
        while let Some(event) = client.poll_event() {
            if let Event::RevocationLearnt(answer) = event {
                memory.learn(answer, at(0));
            }
        }
        memory
    };
    let next = |memory: &mut Memory, policy, seconds: u64| {
        let known = memory.known(at(seconds), UNIX_NOW);
        let revocation = Revocation { policy, inquire: true, known, ..Revocation::default() };
        inquiring_with(&authority, revocation, Behaviour::default()).0
    };
    let mut good = learn(vec![list(&authority, &[&[7, 8]])]);
    assert_eq!(next(&mut good, Hard, 60).state_name(), "established");
    assert_eq!(next(&mut good, Hard, MOST_AGE.as_secs()).state_name(), "awaiting-revocation");
    let mut revoked = learn(vec![list(&authority, &[&[7, 7]])]);
    assert!(matches!(closed(&mut next(&mut revoked, Soft, 60)), CloseCause::GatewayNotTrusted { .. }));
    // A list of somebody else's under the same name.
    let mut forged = learn(vec![list(&Authority::new(), &[&[7, 8]])]);
    assert_eq!(next(&mut forged, Hard, 60).state_name(), "awaiting-revocation");
}

#[test]
fn a_gateway_is_asked_for_an_ocsp_response_and_one_that_it_sends_saves_the_question() {
    let authority = Authority::new();
    let (_, gateway, _) = inquiring(&authority, RevocationPolicy::Hard, Behaviour::default());
    let encodings = gateway.first_auth.iter().filter_map(|payload| match payload {
        Payload::CertificateRequest(request) => Some((request.encoding, request.authorities.len())),
        _ => None,
    });
    let wanted = [(CertificateEncoding::X509_SIGNATURE, 20), (CertificateEncoding::OCSP, 0)];
    assert_eq!(encodings.collect::<Vec<_>>(), wanted);

    // The gateway's certificate is the same each time but for its key, which the response does not name.
    let of = |certificate: &[u8], status| {
        let making = Making {
            certificate,
            issuer: &authority.der,
            status,
            this_update: UNIX_NOW - 60,
            next_update: None,
            nonce: None,
            responder: &authority.der,
            named_by_key: true,
        };
        Payload::Certificate(Certificate {
            encoding: CertificateEncoding::OCSP,
            data: making.sign(authority.issuer.key()),
        })
    };
    let (_, _, certificate) = inquiring(&authority, RevocationPolicy::Soft, Behaviour::default());
    let extra = vec![of(&certificate, making::good())];
    let behaviour = Behaviour { extra, ..Behaviour::default() };
    let (client, ..) = inquiring(&authority, RevocationPolicy::Hard, behaviour);
    assert_eq!(client.state_name(), "established");
    let extra = vec![of(&certificate, making::revoked())];
    let behaviour = Behaviour { extra, ..Behaviour::default() };
    let (mut client, ..) = inquiring(&authority, RevocationPolicy::Soft, behaviour);
    assert!(matches!(closed(&mut client), CloseCause::GatewayNotTrusted { .. }));
}
