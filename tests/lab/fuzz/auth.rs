//! Fuzz targets of authentication: what an unproven gateway can make this client read.

use ike_client::auth::certificate::revocation::is_ocsp_response;
use ike_client::auth::certificate::{
    self, ExpectedIdentity, Fetched, Revocation, RevocationPolicy, Trust, verify_gateway,
};
use ike_client::auth::eap::{EapProfile, Peer, Step};
use ike_client::auth::gateway::{Claim, prove_by_psk};
use ike_client::auth::signature::{PublicKey, SignatureHashes, SignaturePolicy};
use ike_client::auth::{Identity, psk};
use ike_client::crypto::Secret;
use ike_client::crypto::prf::Prf;
use ike_client::crypto::transform::PseudoRandomFunction;
use ike_client::random::SeededRandom;
use ike_client::wire::{self, Authentication, AuthenticationMethod, CertificateEncoding, Identification};
use x509_parser::prelude::{CertificateRevocationList, FromDer};

/// Reads an identification payload's body; what is read is written back, equals itself and can be shown.
///
/// # Panics
/// When it does not.
pub fn identity(bytes: &[u8]) {
    if let Ok(identity) = Identity::from_body(bytes) {
        assert_eq!(bytes.get(4..), Some(identity.data().as_slice()));
        assert!(identity.matches(&identity));
        assert!(!identity.to_string().chars().any(char::is_control));
    }
}

/// Checks a certificate that is taken for its own authority, so that every check is reached; and the same octets as
/// what a gateway sends, or a responder says, of revocation.
///
/// # Panics
/// When the checks do, or let a gateway in for a response that nobody has made.
pub fn certificate(bytes: &[u8]) {
    revocation(bytes);
    let anchors = [bytes.to_vec()];
    let trust = Trust {
        anchors: &anchors,
        pins: &[],
        revocation: &Revocation::default(),
        expected: ExpectedIdentity::Host("vpn.example.com"),
    };
    let presented = Identity::Fqdn("vpn.example.com".to_owned());
    if let Err(error) = verify_gateway(&certificate::payloads(&anchors), &trust, &presented, 1_900_000_000) {
        assert!(!error.to_string().chars().any(char::is_control));
    }
    let _ = certificate::key_kind(bytes);
    let _ = certificate::subject(bytes);
}

/// A certificate, its authority, and what that authority says of it, as OpenSSL made them.
const AUTHORITY: &[u8] = include_bytes!("../../../ike-client/tests-data/revocation-authority.der");
const GATEWAY: &[u8] = include_bytes!("../../../ike-client/tests-data/revocation-gateway.der");
const SAID: [&[u8]; 2] = [
    include_bytes!("../../../ike-client/tests-data/revocation-response.der"),
    include_bytes!("../../../ike-client/tests-data/revocation-list.der"),
];

fn revocation(bytes: &[u8]) {
    // What cannot be read says nothing: no need to build a path for it.
    let readable = is_ocsp_response(bytes) || CertificateRevocationList::from_der(bytes).is_ok();
    if !readable {
        return;
    }
    let anchors = [AUTHORITY.to_vec()];
    let fetched = Fetched { nonce: Vec::new(), responses: vec![bytes.to_vec()], lists: vec![bytes.to_vec()] };
    let asked =
        Revocation { policy: RevocationPolicy::Hard, inquire: true, fetched: Some(fetched), ..Revocation::default() };
    let sent = Revocation { policy: RevocationPolicy::Hard, ..Revocation::default() };
    let mut payloads = certificate::payloads(&[GATEWAY.to_vec()]);
    let presented = Identity::Fqdn("vpn.example.com".to_owned());
    let mut check = |revocation: &Revocation, encoding: Option<CertificateEncoding>| {
        payloads.truncate(1);
        payloads.extend(encoding.map(|encoding| wire::Certificate { encoding, data: bytes.to_vec() }));
        let expected = ExpectedIdentity::Host("vpn.example.com");
        let trust = Trust { anchors: &anchors, pins: &[], revocation, expected };
        match verify_gateway(&payloads, &trust, &presented, 1_795_500_000) {
            Ok(_) => assert!(is_said(bytes), "let in by what the authority did not say"),
            Err(error) => assert!(!error.to_string().chars().any(char::is_control)),
        }
    };
    check(&asked, None);
    check(&sent, Some(CertificateEncoding::OCSP));
    check(&sent, Some(CertificateEncoding::CRL));
}

/// Tells whether the authority has said so: what is outside its signature may differ.
fn is_said(bytes: &[u8]) -> bool {
    SAID.iter().any(|said| said.len() == bytes.len() && said.iter().zip(bytes).filter(|(a, b)| a != b).count() <= 8)
}

/// Checks a signature: one octet AUTH method, two octets length of the key, the key (subjectPublicKeyInfo), AUTH data.
///
/// # Panics
/// When the check does.
pub fn signature(bytes: &[u8]) {
    let Some((&[method, high, low], rest)) = bytes.split_first_chunk::<3>() else { return };
    let Some((key, data)) = rest.split_at_checked(usize::from(u16::from_be_bytes([high, low]))) else { return };
    if let Ok(key) = PublicKey::from_info(key) {
        let (ours, theirs) = (SignatureHashes::ours(), SignatureHashes::default());
        let policy = SignaturePolicy { announced_by_us: &ours, announced_by_gateway: &theirs, allow_rsa_sha1: true };
        let _ = key.verify(method, data, b"the signed octets", &policy);
    }
}

/// Plays a gateway's side of EAP, each packet behind one octet of length. It does not know the password, so it
/// must never succeed.
///
/// # Panics
/// When it does.
pub fn eap(bytes: &[u8]) {
    let prf = Prf::new(PseudoRandomFunction::HmacSha256);
    let authentication =
        Authentication { method: AuthenticationMethod::SHARED_KEY, data: psk::compute(prf, b"key", b"octets") };
    let identity = Identification::fqdn("vpn.example.com");
    let claim = Claim { identity: &identity, authentication: &authentication, certificates: &[], octets: b"octets" };
    let proven = prove_by_psk(&claim, prf, b"key", None).expect("the right key proves the gateway");
    let mut peer = Peer::new(&proven, None, EapProfile::default(), 0);
    let mut rest = bytes;
    while let Some((length, packets)) = rest.split_first() {
        let (packet, after) = packets.split_at_checked(usize::from(*length)).unwrap_or((packets, &[]));
        rest = after;
        let mut step = peer.handle(packet, &mut SeededRandom::new(1));
        if matches!(step, Step::NeedIdentity { .. }) {
            step = peer.identity("alice".to_owned(), &mut SeededRandom::new(1));
        }
        if matches!(step, Step::NeedPassword { .. }) {
            step = peer.secret(&Secret::from(b"Passw0rd".as_slice()), &mut SeededRandom::new(1));
        }
        assert!(!matches!(step, Step::Success(_)), "success without the password");
    }
}
