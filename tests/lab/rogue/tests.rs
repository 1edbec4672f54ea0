use super::*;
use crate::pki::{GATEWAY_NAME, KeyKind, Pki};
use ike_client::auth::certificate::{ExpectedIdentity, Revocation, Trust};
use ike_client::auth::eap::Peer;
use ike_client::auth::gateway::{Claim, GatewayProven, GatewayRejected, prove_by_certificate, prove_by_psk};
use ike_client::auth::octets::signed_octets;
use ike_client::auth::signature::{SignatureHashes, SignaturePolicy};
use ike_client::crypto::kex::KeyExchange;
use ike_client::crypto::keys::{IkeKeys, IkeSpis, Nonces, Side};
use ike_client::crypto::suite::IkeSuite;
use ike_client::random::SeededRandom;
use ike_client::wire::{
    self, Encrypted, Flags, Header, InitiatorSpi, KeyExchangeGroup, Message, Notify, NotifyType, Proposal, ProtocolId,
    ResponderSpi, Transform, decode_chain, encode_chain,
};

const NOW: u64 = 1_795_392_000;
const PSK: &[u8] = b"the right key";

/// What a client knows after the rogue's first IKE_AUTH response.
struct Told {
    payloads: Vec<Payload>,
    keys: IkeKeys,
    octets: Vec<u8>,
}

/// IKE_SA_INIT and the first IKE_AUTH of a client that keeps to the rules.
fn talk(rogue: &mut Rogue) -> Told {
    let mut random = SeededRandom::new(1);
    let suite: IkeSuite = "aes256gcm16-prfsha384-ecp384".parse().unwrap();
    let share = KeyExchange::generate(suite.group, &mut random).unwrap();
    let group = KeyExchangeGroup(suite.group.id());
    let proposal = Proposal {
        number: 1,
        protocol: ProtocolId::IKE,
        spi: Vec::new(),
        transforms: vec![
            Transform::encryption(wire::Encryption(suite.encryption.id()), suite.encryption.key_length_attribute()),
            Transform::prf(wire::PseudoRandomFunction(suite.prf.id())),
            Transform::key_exchange(group),
        ],
    };
    let nonce = vec![7; 32];
    let spi = InitiatorSpi(0x1122_3344_5566_7788);
    let header = Header::new(spi, ResponderSpi::ZERO, ExchangeType::IKE_SA_INIT, Flags::INITIATOR, 0);
    let hashes = Notify::new(NotifyType::SIGNATURE_HASH_ALGORITHMS, SignatureHashes::ours().encode());
    let init = Message::new(
        header,
        vec![
            Payload::SecurityAssociation(vec![proposal]),
            Payload::KeyExchange(wire::KeyExchange { group, data: share.public().to_vec() }),
            Payload::Nonce(nonce.clone()),
            Payload::Notify(hashes),
        ],
    );
    let init = init.encode().unwrap();
    let response = rogue.hear(&init).unwrap().unwrap();
    assert_eq!(rogue.hear(&init).unwrap(), Some(response.clone()), "a retransmission gets the same answer");
    let answer = Message::decode(&response).unwrap();
    let (mut theirs, mut their_nonce) = (Vec::new(), Vec::new());
    for payload in &answer.payloads {
        match payload {
            Payload::KeyExchange(key) => theirs = key.data.clone(),
            Payload::Nonce(octets) => their_nonce = octets.clone(),
            _ => {}
        }
    }
    let shared = share.agree(&theirs).unwrap();
    let nonces = Nonces { initiator: &nonce, responder: &their_nonce };
    let spis = IkeSpis { initiator: spi.to_bytes(), responder: answer.header.responder_spi.to_bytes() };
    let keys = IkeKeys::derive(&suite, &shared, nonces, spis).unwrap();

    let request = vec![Payload::IdentificationInitiator(wire::Identification::rfc822("alice@example.test"))];
    let header = Header::new(spi, answer.header.responder_spi, ExchangeType::IKE_AUTH, Flags::INITIATOR, 1);
    let sealed = exchange(rogue, &keys, header, &request);
    let idr = sealed.iter().find_map(|payload| match payload {
        Payload::IdentificationResponder(idr) => Some(idr.body()),
        _ => None,
    });
    let octets = signed_octets(keys.prf, keys.sk_pr.expose(), &response, &nonce, &idr.unwrap_or_default());
    Told { payloads: sealed, keys, octets }
}

fn exchange(rogue: &mut Rogue, keys: &IkeKeys, header: Header, payloads: &[Payload]) -> Vec<Payload> {
    let mut cipher = keys.cipher(Side::Initiator).unwrap();
    let (first_inner, plaintext) = encode_chain(payloads).unwrap();
    let length = cipher.body_length(plaintext.len());
    let with = |body| Message::new(header, vec![Payload::Encrypted(Encrypted { first_inner, body })]).encode().unwrap();
    let mut associated = with(vec![0; length]);
    associated.truncate(associated.len() - length);
    let body = cipher.seal(&mut SeededRandom::new(3), &associated, &plaintext).unwrap();
    let response = rogue.hear(&with(body)).unwrap().unwrap();
    let answer = Message::decode(&response).unwrap();
    let Some(Payload::Encrypted(Encrypted { first_inner, body })) = answer.payloads.last() else { panic!() };
    let associated = &response[..response.len() - body.len()];
    let plaintext = keys.cipher(Side::Responder).unwrap().open(associated, body).unwrap();
    decode_chain(*first_inner, &plaintext).unwrap()
}

/// Checks what the rogue says, as a client would that trusts `pki`, or the pre-shared key without one.
fn judge(told: &Told, pki: Option<&Pki>) -> Option<Result<GatewayProven, GatewayRejected>> {
    let (mut identity, mut authentication, mut certificates) = (None, None, Vec::new());
    for payload in &told.payloads {
        match payload {
            Payload::IdentificationResponder(idr) => identity = Some(idr),
            Payload::Authentication(auth) => authentication = Some(auth),
            Payload::Certificate(certificate) => certificates.push(certificate.clone()),
            _ => {}
        }
    }
    let claim = Claim {
        identity: identity?,
        authentication: authentication?,
        certificates: &certificates,
        octets: &told.octets,
    };
    Some(match pki {
        None => prove_by_psk(&claim, told.keys.prf, PSK, None),
        Some(pki) => {
            let anchors = [pki.authority.certificate().der.clone()];
            let trust = Trust {
                anchors: &anchors,
                pins: &[],
                revocation: &Revocation::default(),
                expected: ExpectedIdentity::Host(GATEWAY_NAME),
            };
            let hashes = SignatureHashes::ours();
            let policy =
                SignaturePolicy { announced_by_us: &hashes, announced_by_gateway: &hashes, allow_rsa_sha1: false };
            prove_by_certificate(&claim, &trust, &policy, NOW)
        }
    })
}

fn named(proof: Proof) -> Lie {
    Lie { identity: Some(GATEWAY_NAME.to_owned()), proof, ..Lie::default() }
}

#[test]
fn a_rogue_without_proof_asks_and_writes_down_what_it_hears() {
    let mut rogue = Rogue::new(Lie { opening: Opening::Challenge, ..Lie::default() });
    let told = talk(&mut rogue);
    assert!(judge(&told, None).is_none());
    assert!(matches!(told.payloads.as_slice(), [Payload::Eap(packet)] if packet.len() == 31 && packet[4] == 26));
    assert!(rogue.has_lied());
    let heard: Vec<_> = rogue.heard().iter().map(|message| (message.exchange, message.message_id)).collect();
    assert_eq!(heard, [(ExchangeType::IKE_SA_INIT, 0), (ExchangeType::IKE_AUTH, 1)]);
    assert_eq!(rogue.heard()[1].eap().count(), 0);
}

#[test]
fn a_client_that_answers_is_found_out() {
    let mut rogue = Rogue::new(Lie::default());
    let told = talk(&mut rogue);
    let spi = InitiatorSpi(0x1122_3344_5566_7788);
    let responder = ResponderSpi(0x5249_4356_4552_4f47);
    let header = Header::new(spi, responder, ExchangeType::IKE_AUTH, Flags::INITIATOR, 2);
    let answer = exchange(&mut rogue, &told.keys, header, &[Payload::Eap(b"\x02\x01\0\x0a\x01alice".to_vec())]);
    assert!(matches!(answer.as_slice(), [Payload::Eap(_)]), "it goes on asking");
    assert_eq!(rogue.heard()[2].eap().next(), Some(&b"\x02\x01\0\x0a\x01alice"[..]));
}

#[test]
fn every_lie_is_refused_and_the_truth_accepted() {
    let pki = Pki::new(KeyKind::EcdsaP256).unwrap();
    let certified = |credential: &crate::pki::Credential| Lie {
        certificates: vec![credential.certificate.der.clone()],
        ..named(Proof::Signature(credential.key_pem.clone()))
    };
    let judged = |lie: Lie, pki: Option<&Pki>| judge(&talk(&mut Rogue::new(lie)), pki).unwrap();

    let good = judged(certified(&pki.gateway), Some(&pki)).unwrap();
    let _ = Peer::new(&good, None, ike_client::auth::eap::EapProfile::default(), 0);
    assert!(judged(named(Proof::PreSharedKey(PSK.to_vec())), None).is_ok());

    assert_eq!(
        judged(named(Proof::PreSharedKey(b"a guess".to_vec())), None).unwrap_err(),
        GatewayRejected::SharedKeyMismatch
    );
    assert_eq!(
        judged(named(Proof::Garbage { method: 2, octets: 48 }), None).unwrap_err(),
        GatewayRejected::SharedKeyMismatch
    );
    for credential in [pki.expired_gateway().unwrap(), pki.other_gateway().unwrap(), pki.untrusted_gateway().unwrap().1]
    {
        let refused = judged(certified(&credential), Some(&pki)).unwrap_err();
        assert!(matches!(refused, GatewayRejected::Certificate(_)), "{refused:?}");
    }
    // The gateway's real certificate without its key.
    let stolen = Lie { certificates: vec![pki.gateway.certificate.der.clone()], ..certified(&pki.user) };
    assert!(matches!(judged(stolen, Some(&pki)).unwrap_err(), GatewayRejected::Signature(_)));
}
