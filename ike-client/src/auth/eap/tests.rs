use super::*;
use crate::auth::gateway::{self, Claim};
use crate::auth::psk;
use crate::crypto::prf::Prf;
use crate::crypto::transform::PseudoRandomFunction;
use crate::random::SeededRandom;
use crate::wire;

const PASSWORD: &str = "clientPass";

/// The only way to a token is a proof that verifies.
pub(crate) fn proven() -> GatewayProven {
    let prf = Prf::new(PseudoRandomFunction::HmacSha256);
    let authentication = wire::Authentication {
        method: wire::AuthenticationMethod::SHARED_KEY,
        data: psk::compute(prf, b"psk", b"octets"),
    };
    let identity = wire::Identification::fqdn("vpn.example.com");
    let claim = Claim { identity: &identity, authentication: &authentication, certificates: &[], octets: b"octets" };
    gateway::prove_by_psk(&claim, prf, b"psk", None).unwrap()
}

fn peer(name: Option<&str>) -> Peer {
    Peer::new(&proven(), name.map(str::to_owned), EapProfile::default(), 0)
}

/// The calls with a seeded source of randomness.
trait Seeded {
    fn take(&mut self, packet: &[u8]) -> Step;
    fn name(&mut self, name: String) -> Step;
}

impl Seeded for Peer {
    fn take(&mut self, packet: &[u8]) -> Step {
        self.handle(packet, &mut SeededRandom::new(2))
    }

    fn name(&mut self, name: String) -> Step {
        self.identity(name, &mut SeededRandom::new(2))
    }
}

fn give(peer: &mut Peer, secret: &str) -> Step {
    peer.secret(&Secret::from(secret.as_bytes()), &mut SeededRandom::new(1))
}

fn request(identifier: u8, kind: u8, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len() + 5).unwrap().to_be_bytes();
    [&[1, identifier][..], &length, &[kind], data].concat()
}

fn method(operation: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len() + 4).unwrap().to_be_bytes();
    request(9, kind::MSCHAPV2, &[&[operation, 3][..], &length, body].concat())
}

pub(crate) fn challenge() -> Vec<u8> {
    method(1, &[&[16][..], &[0xc4; 16], b"radius"].concat())
}

const SUCCESS: [u8; 4] = [3, 9, 0, 4];
const FAILURE: [u8; 4] = [4, 9, 0, 4];

fn failure(step: &Step) -> &EapFailure {
    match step {
        Step::Failed { reason, .. } => reason,
        other => panic!("not a failure: {other:?}"),
    }
}

fn reply_of(step: Step) -> Vec<u8> {
    match step {
        Step::Reply(bytes) => bytes,
        other => panic!("not a reply: {other:?}"),
    }
}

/// What a server that knows the password makes of a response: `S=...` and the MSK.
pub(crate) fn server_side(response: &[u8], password: &str, user: &str) -> (String, Vec<u8>) {
    use sha1::{Digest, Sha1};
    let value = &response[10..59];
    let (peer_challenge, nt_response) = (&value[..16], &value[24..48]);
    let units: Vec<u8> = password.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let hash_hash = md4::Md4::digest(md4::Md4::digest(&units));
    let sha = |parts: &[&[u8]]| Sha1::digest(parts.concat()).to_vec();
    let challenge = sha(&[peer_challenge, &[0xc4; 16], user.as_bytes()]);
    let inner = sha(&[&hash_hash, nt_response, b"Magic server to client signing constant"]);
    let proof = sha(&[&inner, &challenge[..8], b"Pad to make it do more than one iteration"]);
    let master = sha(&[&hash_hash, nt_response, b"This is the MPPE Master Key"]);
    let start = |magic: &[u8]| sha(&[&master[..16], &[0; 40], magic, &[0xf2; 40]])[..16].to_vec();
    let msk = [
        start(b"On the client side, this is the send key; on the server side, it is the receive key."),
        start(b"On the client side, this is the receive key; on the server side, it is the send key."),
        vec![0; 32],
    ];
    (format!("S={} M=OK", hex::encode_upper(proof)), msk.concat())
}

/// Runs up to the response to the challenge.
fn responded() -> (Peer, Vec<u8>) {
    let mut peer = peer(Some("User"));
    reply_of(peer.take(&request(1, kind::IDENTITY, b"")));
    let asked = Step::NeedPassword { identity: "User".into(), server: "radius".into() };
    assert_eq!(peer.take(&challenge()), asked);
    let response = reply_of(give(&mut peer, PASSWORD));
    (peer, response)
}

#[test]
fn a_whole_login_ends_with_the_key_that_the_server_has() {
    let mut peer = peer(None);
    assert_eq!(peer.take(&request(1, kind::IDENTITY, b"who?")), Step::NeedIdentity { prompt: "who?".into() });
    assert_eq!(reply_of(peer.name("CORP\\User".into())), *b"\x02\x01\0\x0e\x01CORP\\User");
    assert!(matches!(peer.take(&challenge()), Step::NeedPassword { .. }));
    let response = reply_of(give(&mut peer, PASSWORD));
    let (proof, msk) = server_side(&response, PASSWORD, "User");
    assert_eq!(reply_of(peer.take(&method(3, proof.as_bytes()))), [2, 9, 0, 6, kind::MSCHAPV2, 3]);
    assert_eq!(peer.take(&SUCCESS), Step::Success(EapKey::MasterSessionKey(Secret::new(msk))));
}

#[test]
fn a_server_that_asks_no_identity_still_gets_a_name() {
    let mut peer = peer(None);
    assert_eq!(peer.take(&challenge()), Step::NeedIdentity { prompt: String::new() });
    assert!(matches!(peer.name("User".into()), Step::NeedPassword { .. }));
    let response = reply_of(give(&mut peer, PASSWORD));
    assert!(response.ends_with(b"User"));
}

#[test]
fn success_before_the_server_has_proven_itself_ends_the_login() {
    let mut fresh = peer(Some("User"));
    assert_eq!(failure(&fresh.take(&SUCCESS)), &EapFailure::EarlySuccess);

    let mut named = peer(Some("User"));
    reply_of(named.take(&request(1, kind::IDENTITY, b"")));
    assert_eq!(failure(&named.take(&SUCCESS)), &EapFailure::EarlySuccess);

    let (mut waiting, _) = responded();
    assert_eq!(failure(&waiting.take(&SUCCESS)), &EapFailure::EarlySuccess);

    let mut asked = peer(Some("User"));
    asked.take(&challenge());
    assert_eq!(failure(&asked.take(&SUCCESS)), &EapFailure::EarlySuccess);
    // And it stays ended: the password that comes now goes nowhere.
    assert!(matches!(give(&mut asked, PASSWORD), Step::Failed { .. }));

    let mut unasked = peer(Some("User"));
    let forged = format!("S={}", "00".repeat(20));
    assert_eq!(failure(&unasked.take(&method(3, forged.as_bytes()))), &EapFailure::EarlySuccess);
}

#[test]
fn a_success_with_five_octets_is_malformed() {
    let (mut peer, _) = responded();
    let step = peer.take(&[3, 9, 0, 5, 6]);
    assert!(matches!(failure(&step), EapFailure::Packet(packet::PacketError::Length { .. })));
}

#[test]
fn a_server_that_does_not_know_the_password_gets_no_success_answer() {
    let (mut peer, response) = responded();
    let (wrong, _) = server_side(&response, "another", "User");
    let step = peer.take(&method(3, wrong.as_bytes()));
    assert_eq!(step, Step::Failed { reason: EapFailure::ServerUnproven, farewell: None });
    let (right, _) = server_side(&response, PASSWORD, "User");
    assert!(matches!(peer.take(&method(3, right.as_bytes())), Step::Failed { .. }));
    assert!(matches!(peer.take(&SUCCESS), Step::Failed { .. }));
}

#[test]
fn a_refusal_keeps_its_reason_and_says_goodbye() {
    for (text, reason) in [
        ("E=691 R=1 C=00 V=3 M=no", mschapv2::Decline::WrongCredentials),
        ("E=647 R=0 C=00 V=3 M=off", mschapv2::Decline::AccountDisabled),
    ] {
        let (mut peer, _) = responded();
        let Step::Failed { reason: EapFailure::Declined(declined), farewell } = peer.take(&method(4, text.as_bytes()))
        else {
            panic!("no refusal");
        };
        assert_eq!(declined.reason, reason);
        assert_eq!(farewell, Some(vec![2, 9, 0, 6, kind::MSCHAPV2, 4]));
        assert!(matches!(peer.take(&SUCCESS), Step::Failed { .. }));
    }
    let (mut peer, _) = responded();
    assert_eq!(failure(&peer.take(&FAILURE)), &EapFailure::Refused);
}

#[test]
fn an_unknown_method_is_answered_with_nak_and_named_if_the_server_insists() {
    let mut peer = peer(Some("User"));
    let md5 = reply_of(peer.take(&request(4, 4, &[16; 17])));
    assert_eq!(md5, [2, 4, 0, 6, kind::NAK, kind::MSCHAPV2]);
    let ttls = reply_of(peer.take(&request(5, 21, &[0x20])));
    assert_eq!(ttls, [2, 5, 0, 6, kind::NAK, kind::MSCHAPV2]);
    assert_eq!(failure(&peer.take(&FAILURE)), &EapFailure::NoSharedMethod { offered: 21 });
}

#[test]
fn after_a_nak_the_method_that_was_asked_for_is_taken() {
    let mut peer = peer(Some("User"));
    reply_of(peer.take(&request(4, 13, &[0x20])));
    assert!(matches!(peer.take(&challenge()), Step::NeedPassword { .. }));
}

#[test]
fn a_notification_is_acknowledged_and_kept_for_the_user() {
    let mut peer = peer(Some("User"));
    assert_eq!(reply_of(peer.take(&request(6, kind::NOTIFICATION, b"maintenance at noon"))), [2, 6, 0, 5, 2]);
    assert_eq!(peer.take_notice().as_deref(), Some("maintenance at noon"));
    assert_eq!(peer.take_notice(), None);
    let (mut later, response) = responded();
    reply_of(later.take(&request(6, kind::NOTIFICATION, b"hold on")));
    let (proof, _) = server_side(&response, PASSWORD, "User");
    reply_of(later.take(&method(3, proof.as_bytes())));
}

#[test]
fn a_second_method_or_challenge_is_refused() {
    let (mut peer, _) = responded();
    assert_eq!(failure(&peer.take(&request(9, 6, b"token?"))), &EapFailure::Unexpected("a request of another method"));
    let (mut peer, _) = responded();
    assert_eq!(failure(&peer.take(&challenge())), &EapFailure::Unexpected("a second challenge"));
    let (mut peer, response) = responded();
    let (proof, _) = server_side(&response, PASSWORD, "User");
    reply_of(peer.take(&method(3, proof.as_bytes())));
    assert!(matches!(peer.take(&request(9, 6, b"token?")), Step::Failed { .. }));
}

#[test]
fn a_server_that_keeps_asking_is_left() {
    let mut peer = peer(Some("User"));
    for round in 0..MAX_ROUNDS {
        reply_of(peer.take(&request(u8::try_from(round).unwrap(), kind::IDENTITY, b"")));
    }
    assert_eq!(failure(&peer.take(&request(0, kind::IDENTITY, b""))), &EapFailure::TooManyRounds);
}

#[test]
fn answers_that_nobody_asked_for_send_nothing() {
    let mut peer = peer(Some("User"));
    assert!(matches!(give(&mut peer, "pw"), Step::Failed { farewell: None, .. }));
    let mut peer = Peer::new(&proven(), None, EapProfile::default(), 0);
    assert!(matches!(peer.name("User".into()), Step::Failed { farewell: None, .. }));
}

#[test]
fn a_peer_prints_its_state_and_no_secret() {
    let (peer, _) = responded();
    assert_eq!(format!("{peer:?}"), "Peer(in a method)");
    let key = EapKey::MasterSessionKey(Secret::new(vec![0x41; 64]));
    assert!(!format!("{key:?}").contains("65"));
}

#[test]
fn without_a_key_of_its_own_a_method_leaves_sk_p() {
    assert_eq!(EapKey::None.secret(b"sk_pi"), b"sk_pi");
    assert_eq!(EapKey::MasterSessionKey(Secret::new(vec![1])).secret(b"sk_pi"), [1]);
}

/// What a server that asked for a new password by `challenge` makes of the packet: `S=...` and the MSK.
fn changed_side(packet: &[u8], password: &str, user: &str) -> (String, Vec<u8>) {
    // server_side reads a response: 10 octets of heads, peer challenge, 8 zeros, NT-Response.
    let value = [&packet[541..557], &[0; 8], &packet[565..589]].concat();
    server_side(&[&[0; 10][..], &value, &[0]].concat(), password, user)
}

#[test]
fn an_expired_password_is_changed_and_the_server_proves_that_it_knows_the_new_one() {
    let (mut peer, _) = responded();
    let text = format!("E=648 R=1 C={} V=3 M=Password Expired", "C4".repeat(16));
    let asked = Step::NeedNewPassword { identity: "User".into(), server: "Password Expired".into() };
    assert_eq!(peer.take(&method(4, text.as_bytes())), asked);
    let packet = reply_of(give(&mut peer, "another Pass"));
    assert_eq!((packet.len(), packet[5], packet[6]), (591, 7, 4));
    // The old password proves nothing any more.
    let (proof, msk) = changed_side(&packet, "another Pass", "User");
    assert_eq!(reply_of(peer.take(&method(3, proof.as_bytes()))), [2, 9, 0, 6, kind::MSCHAPV2, 3]);
    assert_eq!(peer.take(&SUCCESS), Step::Success(EapKey::MasterSessionKey(Secret::new(msk))));
}

#[test]
fn an_expired_password_is_asked_for_once_and_a_refused_change_ends_the_login() {
    for number in [648, 709] {
        let (mut peer, _) = responded();
        assert!(matches!(peer.take(&method(4, b"E=648 R=0")), Step::NeedNewPassword { .. }));
        reply_of(give(&mut peer, "another Pass"));
        let step = peer.take(&method(4, format!("E={number} R=1").as_bytes()));
        assert!(matches!(failure(&step), EapFailure::Declined(_)), "{step:?}");
    }
    let (mut peer, _) = responded();
    peer.take(&method(4, b"E=648 R=0"));
    assert_eq!(failure(&peer.take(&SUCCESS)), &EapFailure::EarlySuccess);
}

#[test]
fn the_short_key_has_the_octets_that_are_not_zero() {
    let profile = EapProfile { short_master_session_key: true, ..EapProfile::default() };
    let mut peer = Peer::new(&proven(), Some("User".to_owned()), profile, 0);
    peer.take(&challenge());
    let response = reply_of(give(&mut peer, PASSWORD));
    let (proof, msk) = server_side(&response, PASSWORD, "User");
    reply_of(peer.take(&method(3, proof.as_bytes())));
    let Step::Success(EapKey::MasterSessionKey(key)) = peer.take(&SUCCESS) else { panic!("no success") };
    assert_eq!(key.expose(), &msk[..32]);
}

fn gtc_peer() -> Peer {
    let profile = EapProfile { methods: vec![EapMethod::Gtc, EapMethod::Mschapv2], ..EapProfile::default() };
    Peer::new(&proven(), Some("User".to_owned()), profile, 0)
}

#[test]
fn a_token_card_is_asked_in_the_servers_words_and_makes_no_key() {
    let mut peer = gtc_peer();
    let asked = Step::NeedPassword { identity: "User".into(), server: "Password: ".into() };
    assert_eq!(peer.take(&request(3, kind::GTC, b"Password: ")), asked);
    assert_eq!(reply_of(give(&mut peer, "open sesame")), *b"\x02\x03\0\x10\x06open sesame");
    let asked = Step::NeedCode { identity: "User".into(), challenge: "Next token".into() };
    assert_eq!(peer.take(&request(4, kind::GTC, b"Next token")), asked);
    assert_eq!(reply_of(give(&mut peer, "123456")), *b"\x02\x04\0\x0b\x06123456");
    assert_eq!(peer.take(&SUCCESS), Step::Success(EapKey::None));
}

#[test]
fn a_token_card_that_the_profile_does_not_name_gets_a_nak_and_no_secret() {
    let mut peer = peer(Some("User"));
    assert_eq!(reply_of(peer.take(&request(3, kind::GTC, b"Password: "))), [2, 3, 0, 6, kind::NAK, kind::MSCHAPV2]);
    let mut gtc = gtc_peer();
    assert_eq!(reply_of(gtc.take(&request(3, 4, &[16; 17]))), [2, 3, 0, 7, kind::NAK, kind::GTC, kind::MSCHAPV2]);
    assert_eq!(failure(&gtc_peer().take(&SUCCESS)), &EapFailure::EarlySuccess);
}

#[test]
fn a_token_that_is_empty_or_too_long_is_not_sent() {
    for secret in ["", &"x".repeat(513)] {
        let mut peer = gtc_peer();
        peer.take(&request(3, kind::GTC, b"Password: "));
        assert_eq!(failure(&give(&mut peer, secret)), &EapFailure::CredentialUnusable);
    }
}

/// FortiGate's Success that announces GTC.
const SUCCESS_THEN_GTC: [u8; 5] = [3, 9, 0, 5, 6];

/// A peer whose MSCHAPv2 has run to its end, where a second factor is allowed.
fn before_second_factor() -> Peer {
    let profile = EapProfile { token_after_success: true, ..EapProfile::default() };
    let mut peer = Peer::new(&proven(), Some("User".to_owned()), profile, 0);
    peer.take(&challenge());
    let response = reply_of(give(&mut peer, PASSWORD));
    let (proof, _) = server_side(&response, PASSWORD, "User");
    reply_of(peer.take(&method(3, proof.as_bytes())));
    peer
}

#[test]
fn the_second_factor_follows_a_success_of_five_octets() {
    let mut peer = before_second_factor();
    assert_eq!(peer.take(&SUCCESS_THEN_GTC), Step::Continue);
    let asked = Step::NeedCode { identity: "User".into(), challenge: "Token?".into() };
    assert_eq!(peer.take(&request(10, kind::GTC, b"Token?")), asked);
    assert_eq!(reply_of(give(&mut peer, "123456")), *b"\x02\x0a\0\x0b\x06123456");
    assert_eq!(peer.take(&SUCCESS), Step::Success(EapKey::None));
}

#[test]
fn a_success_of_five_octets_out_of_its_place_is_malformed() {
    let malformed = |peer: &mut Peer, packet: &[u8]| {
        let step = peer.take(packet);
        assert!(matches!(failure(&step), EapFailure::Packet(packet::PacketError::Length { .. })), "{step:?}");
    };
    let allowed = || EapProfile { token_after_success: true, ..EapProfile::default() };
    // Where the profile does not say so; before any method; before the server has proven itself; twice; after
    // GTC; with another method announced.
    let (mut not_allowed, response) = responded();
    let (proof, _) = server_side(&response, PASSWORD, "User");
    reply_of(not_allowed.take(&method(3, proof.as_bytes())));
    malformed(&mut not_allowed, &SUCCESS_THEN_GTC);
    malformed(&mut Peer::new(&proven(), Some("User".to_owned()), allowed(), 0), &SUCCESS_THEN_GTC);
    let mut early = Peer::new(&proven(), Some("User".to_owned()), allowed(), 0);
    early.take(&challenge());
    reply_of(give(&mut early, PASSWORD));
    malformed(&mut early, &SUCCESS_THEN_GTC);
    let mut twice = before_second_factor();
    twice.take(&SUCCESS_THEN_GTC);
    malformed(&mut twice, &SUCCESS_THEN_GTC);
    let mut after = before_second_factor();
    after.take(&SUCCESS_THEN_GTC);
    after.take(&request(10, kind::GTC, b"Token?"));
    reply_of(give(&mut after, "123456"));
    malformed(&mut after, &SUCCESS_THEN_GTC);
    malformed(&mut before_second_factor(), &[3, 9, 0, 5, 26]);
}

#[test]
fn after_the_announcement_nothing_but_a_token_is_taken() {
    let mut peer = before_second_factor();
    peer.take(&SUCCESS_THEN_GTC);
    assert_eq!(failure(&peer.take(&SUCCESS)), &EapFailure::EarlySuccess);
    let mut peer = before_second_factor();
    peer.take(&SUCCESS_THEN_GTC);
    assert!(matches!(failure(&peer.take(&challenge())), EapFailure::Unexpected(_)));
}

proptest::proptest! {
    #[test]
    fn no_server_makes_the_peer_panic_or_succeed_without_the_password(
        packets in proptest::collection::vec(
            proptest::prop_oneof![
                proptest::collection::vec(proptest::num::u8::ANY, 0..30),
                proptest::strategy::Just(SUCCESS.to_vec()),
                proptest::strategy::Just(challenge()),
                proptest::strategy::Just(request(1, kind::IDENTITY, b"")),
                proptest::strategy::Just(method(3, format!("S={}", "0".repeat(40)).as_bytes())),
                proptest::strategy::Just(method(4, b"E=691")),
            ],
            0..12,
        ),
    ) {
        let mut peer = peer(Some("User"));
        for packet in packets {
            let mut step = peer.take(&packet);
            if matches!(step, Step::NeedPassword { .. }) {
                step = give(&mut peer, PASSWORD);
            }
            assert!(!matches!(step, Step::Success(_)));
        }
    }
}
