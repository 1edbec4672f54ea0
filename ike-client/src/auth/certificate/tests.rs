use super::*;
use crate::auth::gateway::{self, Claim, GatewayRejected, ProvenBy};
use crate::auth::signature::{SignatureError, SignatureHashes, SignaturePolicy, SignatureScheme, sign};
use crate::auth::{PrivateKey, psk};
use crate::crypto::{prf::Prf, transform::PseudoRandomFunction};
use crate::random::SeededRandom;
use crate::wire;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName as Name, DnType, ExtendedKeyUsagePurpose as Purpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P384_SHA384, SanType, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, pem::PemObject};

/// 2026-07-01, between the two dates that every certificate here has unless it says otherwise.
const NOW: u64 = 1_782_864_000;

type Ca = Issuer<'static, KeyPair>;

fn parameters(name: &str, alternatives: &[&str]) -> CertificateParams {
    let mut parameters =
        CertificateParams::new(alternatives.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
    parameters.distinguished_name = Name::new();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.not_before = date_time_ymd(2025, 1, 1);
    parameters.not_after = date_time_ymd(2028, 1, 1);
    parameters
}

fn authority(name: &str) -> CertificateParams {
    let mut parameters = parameters(name, &[]);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters
}

fn self_signed(parameters: CertificateParams) -> (Vec<u8>, Ca) {
    let key = KeyPair::generate().unwrap();
    let der = parameters.self_signed(&key).unwrap().der().to_vec();
    (der, Issuer::new(parameters, key))
}

fn issue(parameters: CertificateParams, ca: &Ca) -> (Vec<u8>, KeyPair) {
    let key = KeyPair::generate().unwrap();
    (parameters.signed_by(&key, ca).unwrap().der().to_vec(), key)
}

fn cert(ders: &[&[u8]]) -> Vec<wire::Certificate> {
    payloads(&ders.iter().map(|der| der.to_vec()).collect::<Vec<_>>())
}

fn identity(text: &str) -> Identity {
    text.parse().unwrap()
}

fn verify(chain: &[&[u8]], anchors: &[Vec<u8>], host: &str) -> Result<VerifiedGateway, CertificateError> {
    verify_at(chain, anchors, host, NOW)
}

fn verify_at(chain: &[&[u8]], anchors: &[Vec<u8>], host: &str, now: u64) -> Result<VerifiedGateway, CertificateError> {
    let trust =
        Trust { anchors, pins: &[], revocation: &Revocation::default(), expected: ExpectedIdentity::Host(host) };
    verify_gateway(&cert(chain), &trust, &identity(host), now)
}

fn verify_as(leaf: &[u8], anchors: &[Vec<u8>], expected: &str, presented: &str) -> Result<(), CertificateError> {
    let expected = identity(expected);
    let trust = Trust {
        anchors,
        pins: &[],
        revocation: &Revocation::default(),
        expected: ExpectedIdentity::Profile(&expected),
    };
    verify_gateway(&cert(&[leaf]), &trust, &identity(presented), NOW).map(drop)
}

fn verify_pinned(leaf: &[u8], anchors: &[Vec<u8>], pin: [u8; 32], host: &str) -> Result<(), CertificateError> {
    let trust =
        Trust { anchors, pins: &[pin], revocation: &Revocation::default(), expected: ExpectedIdentity::Host(host) };
    verify_gateway(&cert(&[leaf]), &trust, &identity(host), NOW).map(drop)
}

/// A list of `ca` that names these serial numbers and is good until that year.
fn revocation_list(ca: &Ca, serials: &[&[u8]], until: i32) -> Vec<u8> {
    let revoked = serials.iter().map(|serial| rcgen::RevokedCertParams {
        serial_number: rcgen::SerialNumber::from_slice(serial),
        revocation_time: date_time_ymd(2025, 6, 1),
        reason_code: Some(rcgen::RevocationReason::KeyCompromise),
        invalidity_date: None,
    });
    let list = rcgen::CertificateRevocationListParams {
        this_update: date_time_ymd(2025, 7, 1),
        next_update: date_time_ymd(until, 1, 1),
        crl_number: rcgen::SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: revoked.collect(),
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    list.signed_by(ca).unwrap().der().to_vec()
}

#[test]
fn a_revoked_certificate_is_refused_and_hard_wants_a_list_that_leaves_it_out() {
    use CertificateError as E;
    use RevocationPolicy::{Hard, Off, Soft};
    let signing = |name| {
        let mut parameters = authority(name);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        self_signed(parameters)
    };
    let ((anchor, ca), (_, stranger)) = (signing("CA"), signing("CA"));
    let mut parameters = parameters("gate", &["vpn.example.com"]);
    parameters.serial_number = Some(rcgen::SerialNumber::from_slice(&[7, 7]));
    let (leaf, _) = issue(parameters, &ca);
    let named = revocation_list(&ca, &[&[7, 7]], 2028);
    let other = revocation_list(&ca, &[&[7, 8]], 2028);
    let old = revocation_list(&ca, &[&[7, 8]], 2026);
    let old_but_named = revocation_list(&ca, &[&[7, 7]], 2026);
    let forged = revocation_list(&stranger, &[&[7, 8]], 2028);
    let check = |policy, lists: &[&Vec<u8>], sent: Option<&Vec<u8>>| {
        let lists = lists.iter().map(|list| (*list).clone()).collect();
        let revocation = Revocation { policy, lists, ..Revocation::default() };
        let anchors = [anchor.clone()];
        let expected = ExpectedIdentity::Host("vpn.example.com");
        let trust = Trust { anchors: &anchors, pins: &[], revocation: &revocation, expected };
        let mut payloads = cert(&[&leaf]);
        payloads.extend(
            sent.map(|list| wire::Certificate { encoding: wire::CertificateEncoding::CRL, data: list.clone() }),
        );
        verify_gateway(&payloads, &trust, &identity("vpn.example.com"), NOW).map(drop)
    };
    assert_eq!(check(Off, &[&named], None), Ok(()));
    for policy in [Soft, Hard] {
        assert_eq!(check(policy, &[&named], None), Err(E::Revoked));
        assert_eq!(check(policy, &[], Some(&named)), Err(E::Revoked));
        assert_eq!(check(policy, &[&other], None), Ok(()));
        assert!(matches!(check(policy, &[&forged], None), Err(E::RevocationUnusable(_))));
        assert!(matches!(check(policy, &[&vec![0x30, 0]], None), Err(E::RevocationUnusable(_))));
    }
    assert_eq!(check(Soft, &[], None), Ok(()));
    assert_eq!(check(Soft, &[&old], None), Ok(()));
    assert_eq!(check(Soft, &[&old_but_named], None), Err(E::Revoked));
    assert_eq!(check(Soft, &[], Some(&vec![0x30, 0])), Ok(()));
    assert_eq!(check(Hard, &[], None), Err(E::RevocationUnknown { problems: String::new() }));
    let out_of_date = "a revocation list is out of date".to_owned();
    assert_eq!(check(Hard, &[&old], None), Err(E::RevocationUnknown { problems: out_of_date }));
    assert_eq!(check(Hard, &[], Some(&other)), Ok(()));
}

fn pin_of(der: &[u8]) -> [u8; 32] {
    let certificate = super::verify::parse(der).unwrap();
    let key = certificate.tbs_certificate.subject_pki.raw;
    ring::digest::digest(&ring::digest::SHA256, key).as_ref().try_into().unwrap()
}

fn mismatch<T: std::fmt::Debug>(result: Result<T, CertificateError>) -> (String, Vec<String>) {
    match result {
        Err(CertificateError::IdentityMismatch { expected, presented }) => (expected, presented),
        other => panic!("{other:?}"),
    }
}

macro_rules! fixture {
    ($name:literal) => {
        CertificateDer::from_pem_slice(include_bytes!(concat!("../../../tests-data/", $name))).unwrap().to_vec()
    };
}

#[test]
fn a_certificate_under_an_anchor_is_good_for_the_names_in_it() {
    let (root, ca) = self_signed(authority("Root"));
    let (leaf, _) =
        issue(parameters("gw", &["vpn.example.com", "*.branch.example.com", "192.0.2.7", "2001:db8::7"]), &ca);
    let anchors = [root];
    for host in ["vpn.example.com", "VPN.example.com", "a.branch.example.com", "192.0.2.7", "2001:db8::7"] {
        let gateway = verify(&[&leaf], &anchors, host).unwrap();
        assert_eq!(gateway.subject, "CN=gw");
        assert_eq!(gateway.spki_sha256, pin_of(&leaf));
        assert_eq!(gateway.not_after, 1_830_297_600);
    }
    for host in ["gw", "example.com", "b.a.branch.example.com", "192.0.2.8"] {
        assert_eq!(mismatch(verify(&[&leaf], &anchors, host)).0, host);
    }
}

#[test]
fn a_mismatch_lists_every_name_that_the_certificate_has() {
    let (root, ca) = self_signed(authority("Root"));
    let mut parameters = parameters("gw", &["vpn.example.com", "192.0.2.7"]);
    parameters.subject_alt_names.push(SanType::Rfc822Name("admin@example.com".try_into().unwrap()));
    let (leaf, _) = issue(parameters, &ca);
    let error = verify(&[&leaf], &[root], "other.example.com").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the certificate is for 'vpn.example.com', 'admin@example.com', '192.0.2.7', 'CN=gw', not for 'other.example.com'"
    );
}

#[test]
fn intermediates_help_to_build_the_path_in_any_order_and_are_needed() {
    let (root, root_ca) = self_signed(authority("Root"));
    let key = KeyPair::generate().unwrap();
    let middle = authority("Middle").signed_by(&key, &root_ca).unwrap().der().to_vec();
    let middle_ca = Issuer::new(authority("Middle"), key);
    let (leaf, _) = issue(parameters("gw", &["vpn.example.com"]), &middle_ca);
    let (unrelated, _) = self_signed(authority("Unrelated"));
    let anchors = [root.clone()];
    assert!(verify(&[&leaf, &unrelated, &root, &middle], &anchors, "vpn.example.com").is_ok());
    assert_eq!(
        verify(&[&leaf], &anchors, "vpn.example.com"),
        Err(CertificateError::UnknownIssuer { issuer: "CN=Middle".into() })
    );
    // The peer's own root vouches for nothing.
    let (strange_root, strange_ca) = self_signed(authority("Strange"));
    let (strange, _) = issue(parameters("gw", &["vpn.example.com"]), &strange_ca);
    assert_eq!(
        verify(&[&strange, &strange_root], &anchors, "vpn.example.com"),
        Err(CertificateError::UnknownIssuer { issuer: "CN=Strange".into() })
    );
    // An authority with the trusted one's name but another key neither.
    let (_, impostor) = self_signed(authority("Root"));
    let (forged, _) = issue(parameters("gw", &["vpn.example.com"]), &impostor);
    assert_eq!(verify(&[&forged], &anchors, "vpn.example.com"), Err(CertificateError::BadSignature));
}

#[test]
fn a_gateways_certificate_cannot_vouch_for_another() {
    let (root, ca) = self_signed(authority("Root"));
    let key = KeyPair::generate().unwrap();
    let customer = parameters("customer", &["customer.example"]);
    let customer_der = customer.signed_by(&key, &ca).unwrap().der().to_vec();
    let (forged, _) = issue(parameters("gw", &["vpn.example.com"]), &Issuer::new(customer, key));
    let error = verify(&[&forged, &customer_der], &[root], "vpn.example.com").unwrap_err();
    assert!(matches!(error, CertificateError::PathUnacceptable(_)), "{error:?}");
}

#[test]
fn time_is_held_against_leaf_intermediate_and_anchor() {
    let year = |year| {
        let mut parameters = authority("Root");
        parameters.not_after = date_time_ymd(year, 1, 1);
        parameters
    };
    let (root, ca) = self_signed(year(2040));
    let (leaf, _) = issue(parameters("gw", &["vpn.example.com"]), &ca);
    let anchors = [root];
    let (begin, end) = (1_735_689_600, 1_830_297_600);
    let at = |now| verify_at(&[&leaf], &anchors, "vpn.example.com", now).map(drop);
    assert_eq!(at(begin), Ok(()));
    assert_eq!(at(end), Ok(()));
    assert_eq!(at(begin - 1), Err(CertificateError::NotYetValid { not_before: begin, now: begin - 1 }));
    assert_eq!(at(end + 1), Err(CertificateError::Expired { not_after: end, now: end + 1 }));
    assert_eq!(at(0), Err(CertificateError::NotYetValid { not_before: begin, now: 0 }));

    let (old_root, old_ca) = self_signed(year(2026));
    let (leaf, _) = issue(parameters("gw", &["vpn.example.com"]), &old_ca);
    let expired = Err(CertificateError::Expired { not_after: 1_767_225_600, now: NOW });
    assert_eq!(verify(&[&leaf], &[old_root], "vpn.example.com").map(drop), expired);

    let (root, ca) = self_signed(authority("Root"));
    let key = KeyPair::generate().unwrap();
    let mut middle = authority("Middle");
    middle.not_after = date_time_ymd(2026, 1, 1);
    let middle_der = middle.signed_by(&key, &ca).unwrap().der().to_vec();
    let (leaf, _) = issue(parameters("gw", &["vpn.example.com"]), &Issuer::new(middle, key));
    assert_eq!(verify(&[&leaf, &middle_der], &[root], "vpn.example.com").map(drop), expired);
}

#[test]
fn a_restricted_use_must_include_this_one() {
    let (root, ca) = self_signed(authority("Root"));
    let anchors = [root];
    let with = |purposes: &[Purpose]| {
        let mut parameters = parameters("gw", &["vpn.example.com"]);
        parameters.extended_key_usages = purposes.to_vec();
        verify(&[&issue(parameters, &ca).0], &anchors, "vpn.example.com").map(drop)
    };
    let ipsec_ike = Purpose::Other(vec![1, 3, 6, 1, 5, 5, 7, 3, 17]);
    let ike_intermediate = Purpose::Other(vec![1, 3, 6, 1, 5, 5, 8, 2, 2]);
    for purposes in [&[][..], &[Purpose::ServerAuth], &[Purpose::ClientAuth, ipsec_ike], &[ike_intermediate]] {
        assert_eq!(with(purposes), Ok(()), "{purposes:?}");
    }
    for purposes in [&[Purpose::ClientAuth][..], &[Purpose::CodeSigning, Purpose::EmailProtection]] {
        assert!(matches!(with(purposes), Err(CertificateError::WrongUse(_))), "{purposes:?}");
    }
    let usage = |usage| {
        let mut parameters = parameters("gw", &["vpn.example.com"]);
        parameters.key_usages = vec![usage];
        verify(&[&issue(parameters, &ca).0], &anchors, "vpn.example.com").map(drop)
    };
    assert_eq!(usage(KeyUsagePurpose::DigitalSignature), Ok(()));
    assert_eq!(usage(KeyUsagePurpose::ContentCommitment), Ok(()));
    assert!(matches!(usage(KeyUsagePurpose::KeyEncipherment), Err(CertificateError::WrongUse(_))));
}

#[test]
fn the_profile_the_claim_and_the_certificate_must_agree() {
    let (root, ca) = self_signed(authority("Root"));
    let mut params = parameters("gw", &["vpn.example.com", "192.0.2.7"]);
    params.subject_alt_names.push(SanType::Rfc822Name("gate@example.com".try_into().unwrap()));
    let (leaf, _) = issue(params, &ca);
    let anchors = [root];
    for name in ["vpn.example.com", "192.0.2.7", "gate@example.com", "CN=gw"] {
        assert_eq!(verify_as(&leaf, &anchors, name, name), Ok(()));
    }
    // IDr is another than the profile's, though the certificate is for both.
    assert_eq!(
        mismatch(verify_as(&leaf, &anchors, "vpn.example.com", "CN=gw")),
        ("vpn.example.com".into(), vec!["CN=gw".into()])
    );
    // Profile and IDr agree, the certificate is for somebody else.
    assert_eq!(mismatch(verify_as(&leaf, &anchors, "evil.example.com", "evil.example.com")).0, "evil.example.com");
    assert_eq!(mismatch(verify_as(&leaf, &anchors, "#00ff", "#00ff")).0, "#00ff");
    assert_eq!(mismatch(verify_as(&leaf, &anchors, "fqdn:192.0.2.7", "fqdn:192.0.2.7")).0, "192.0.2.7");
    // The dialled name is covered, what IDr says is not.
    let trust = Trust {
        anchors: &anchors,
        pins: &[],
        revocation: &Revocation::default(),
        expected: ExpectedIdentity::Host("vpn.example.com"),
    };
    let claimed = |presented| verify_gateway(&cert(&[&leaf]), &trust, &identity(presented), NOW);
    assert!(claimed("CN=gw").is_ok());
    assert_eq!(mismatch(claimed("CN=other")).0, "CN=other");
    assert_eq!(mismatch(claimed("198.51.100.1")).0, "198.51.100.1");
}

#[test]
fn a_common_name_is_no_host_name_but_dn_and_pin_are_ways_out() {
    let (root, ca) = self_signed(authority("Root"));
    let (leaf, _) = issue(parameters("vpn.example.com", &[]), &ca);
    let anchors = [root];
    assert_eq!(
        mismatch(verify(&[&leaf], &anchors, "vpn.example.com")),
        ("vpn.example.com".into(), vec!["CN=vpn.example.com".into()])
    );
    assert_eq!(verify_as(&leaf, &anchors, "CN=vpn.example.com", "CN=vpn.example.com"), Ok(()));
    assert_eq!(verify_pinned(&leaf, &[], pin_of(&leaf), "vpn.example.com"), Ok(()));
}

#[test]
fn an_authority_as_gateway_is_good_only_when_its_key_is_pinned() {
    let (own, _) = self_signed(authority("FGT60F"));
    assert_eq!(verify(&[&own], std::slice::from_ref(&own), "192.0.2.1"), Err(CertificateError::AuthorityAsGateway));
    assert_eq!(verify_pinned(&own, &[], pin_of(&own), "192.0.2.1"), Ok(()));
    let (other, _) = self_signed(authority("FGT60F"));
    let Err(CertificateError::PinMismatch { presented }) = verify_pinned(&other, &[], pin_of(&own), "192.0.2.1") else {
        panic!("another key passed for the pinned one");
    };
    assert_eq!(presented, hex::encode(pin_of(&other)));
}

#[test]
fn a_pin_beside_anchors_narrows_and_never_widens() {
    let (root, ca) = self_signed(authority("Root"));
    let (leaf, _) = issue(parameters("gw", &["vpn.example.com"]), &ca);
    let (twin, _) = issue(parameters("gw", &["vpn.example.com"]), &ca);
    let anchors = [root];
    assert_eq!(verify_pinned(&leaf, &anchors, pin_of(&leaf), "vpn.example.com"), Ok(()));
    assert!(matches!(
        verify_pinned(&twin, &anchors, pin_of(&leaf), "vpn.example.com"),
        Err(CertificateError::PinMismatch { .. })
    ));
    let (stranger, _) = self_signed(parameters("gw", &["vpn.example.com"]));
    assert!(matches!(
        verify_pinned(&stranger, &anchors, pin_of(&stranger), "vpn.example.com"),
        Err(CertificateError::UnknownIssuer { .. })
    ));
    mismatch(verify_pinned(&leaf, &anchors, pin_of(&leaf), "other.example.com"));
}

#[test]
fn a_pinned_certificate_still_runs_out_and_still_has_to_be_who_the_profile_says() {
    let (own, _) = self_signed(parameters("gw", &[]));
    let pins = [pin_of(&own)];
    let wanted = identity("gate.example.com");
    let trust = Trust {
        anchors: &[],
        pins: &pins,
        revocation: &Revocation::default(),
        expected: ExpectedIdentity::Profile(&wanted),
    };
    assert!(verify_gateway(&cert(&[&own]), &trust, &wanted, NOW).is_ok());
    mismatch(verify_gateway(&cert(&[&own]), &trust, &identity("other.example.com"), NOW));
    let late = 1_830_297_601;
    assert!(matches!(
        verify_gateway(&cert(&[&own]), &trust, &wanted, late),
        Err(CertificateError::Expired { now, .. }) if now == late
    ));
}

#[test]
fn weak_signatures_and_short_keys_are_refused() {
    let anchors = [fixture!("ca.cert.pem")];
    let now = 1_900_000_000;
    let at = |leaf: &[u8]| verify_at(&[leaf], &anchors, "vpn.example.com", now).map(drop);
    assert_eq!(at(&fixture!("rsa2048-leaf.cert.pem")), Ok(()));
    let sha1_with_rsa = "1.2.840.113549.1.1.5".to_owned();
    assert_eq!(at(&fixture!("sha1-leaf.cert.pem")), Err(CertificateError::WeakSignature(sha1_with_rsa)));
    let short = at(&fixture!("rsa1024-leaf.cert.pem"));
    assert_eq!(short, Err(CertificateError::UnacceptableKey("RSA of 1024 bits; 2048 to 8192 are accepted".into())));
}

#[test]
fn cert_payloads_that_hold_no_certificate_are_sorted_out() {
    let (root, ca) = self_signed(authority("Root"));
    let (leaf, _) = issue(parameters("gw", &["vpn.example.com"]), &ca);
    let anchors = [root];
    let trust = Trust {
        anchors: &anchors,
        pins: &[],
        revocation: &Revocation::default(),
        expected: ExpectedIdentity::Host("vpn.example.com"),
    };
    let payload = |encoding: u8, data: &[u8]| wire::Certificate {
        encoding: wire::CertificateEncoding(encoding),
        data: data.to_vec(),
    };
    let check =
        |payloads: &[wire::Certificate]| verify_gateway(payloads, &trust, &identity("vpn.example.com"), NOW).map(drop);
    assert_eq!(check(&[payload(7, b"crl"), payload(4, &leaf), payload(14, b"ocsp")]), Ok(()));
    assert_eq!(check(&[]), Err(CertificateError::Missing));
    assert_eq!(check(&[payload(7, b"crl")]), Err(CertificateError::Missing));
    assert_eq!(check(&[payload(12, b"url")]), Err(CertificateError::HashAndUrl));
    assert_eq!(check(&[payload(4, &leaf), payload(13, b"url")]), Err(CertificateError::HashAndUrl));
    assert_eq!(check(&[payload(1, b"pkcs7")]), Err(CertificateError::UnsupportedEncoding(1)));
    assert_eq!(check(&vec![payload(4, b""); 13]), Err(CertificateError::TooMany { count: 13, octets: 0 }));
    assert_eq!(check(&[payload(4, &vec![0; 65_537])]), Err(CertificateError::TooMany { count: 1, octets: 65_537 }));
    for broken in [&b""[..], b"not DER", leaf.get(..200).unwrap(), &[leaf.as_slice(), b"x"].concat()] {
        assert!(matches!(check(&[payload(4, broken)]), Err(CertificateError::Malformed(_))));
    }
}

#[test]
fn without_anchor_or_pin_nobody_is_trusted_and_a_broken_anchor_is_named() {
    let (root, ca) = self_signed(authority("Root"));
    let (leaf, _) = issue(parameters("gw", &["vpn.example.com"]), &ca);
    assert_eq!(verify(&[&leaf], &[], "vpn.example.com"), Err(CertificateError::NothingTrusted));
    let anchors = [root, b"junk".to_vec()];
    assert!(matches!(
        verify(&[&leaf], &anchors, "vpn.example.com"),
        Err(CertificateError::AnchorUnusable { number: 2, .. })
    ));
    assert!(matches!(request(&anchors), Err(CertificateError::AnchorUnusable { number: 2, .. })));
}

#[test]
fn a_request_holds_the_sha1_of_each_authoritys_key() {
    let anchor = fixture!("ca.cert.pem");
    let asked = request(&[anchor.clone(), anchor]).unwrap();
    // openssl x509 -in ca.cert.pem -noout -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha1
    let hash = hex::decode(CA_KEY_SHA1).unwrap();
    assert_eq!(asked.authorities, [hash.as_slice(), &hash].concat());
    assert_eq!(asked.encoding, wire::CertificateEncoding::X509_SIGNATURE);
    assert!(request(&[]).unwrap().authorities.is_empty());
}

const CA_KEY_SHA1: &str = "e98c2b02af82cb310a653de4991b3528bd5cb523";

#[test]
fn the_own_certificate_says_how_to_sign_and_what_to_be_called() {
    let leaf = fixture!("rsa2048-leaf.cert.pem");
    assert_eq!(key_kind(&leaf), Ok(KeyKind::Rsa));
    assert_eq!(subject(&leaf).unwrap().to_string(), "C=CH, O=Example, CN=vpn.example.com");
    let key = PrivateKey::from_pem(include_str!("../../../tests-data/rsa2048.pkcs8.pem")).unwrap();
    assert_eq!(holds_key(&leaf, &key.public_key_info()), Ok(true));
    assert_eq!(holds_key(&fixture!("sha1-leaf.cert.pem"), &key.public_key_info()), Ok(false));
    let mut nameless = parameters("", &["vpn.example.com"]);
    nameless.distinguished_name = Name::new();
    assert!(matches!(subject(&self_signed(nameless).0), Err(CertificateError::Malformed(_))));
}

#[test]
fn certificate_and_signature_together_prove_the_gateway() {
    let (root, ca) = self_signed(authority("Root"));
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let leaf = parameters("gw", &["vpn.example.com"]).signed_by(&pair, &ca).unwrap().der().to_vec();
    let key = PrivateKey::from_pem(&pair.serialize_pem()).unwrap();
    let signed = sign(&key, &SignatureHashes::default(), b"octets", &mut SeededRandom::new(1)).unwrap();
    let anchors = [root];
    let prove = |authentication: &wire::Authentication, octets: &[u8], host: &str| {
        let hashes = (SignatureHashes::ours(), SignatureHashes::default());
        let policy =
            SignaturePolicy { announced_by_us: &hashes.0, announced_by_gateway: &hashes.1, allow_rsa_sha1: true };
        let trust = Trust {
            anchors: &anchors,
            pins: &[],
            revocation: &Revocation::default(),
            expected: ExpectedIdentity::Host(host),
        };
        let idr = wire::Identification::fqdn("vpn.example.com");
        let certificates = cert(&[&leaf]);
        let claim = Claim { identity: &idr, authentication, certificates: &certificates, octets };
        gateway::prove_by_certificate(&claim, &trust, &policy, NOW)
    };
    let good = wire::Authentication { method: wire::AuthenticationMethod::ECDSA_P384, data: signed.data };
    let proven = prove(&good, b"octets", "vpn.example.com").unwrap();
    assert!(matches!(proven.by(), ProvenBy::Certificate { scheme: SignatureScheme::EcdsaP384, .. }));

    let wrong = prove(&good, b"other octets", "vpn.example.com").unwrap_err();
    assert_eq!(wrong, GatewayRejected::Signature(SignatureError::Wrong));
    let stranger = prove(&good, b"octets", "other.example.com").unwrap_err();
    assert!(matches!(stranger, GatewayRejected::Certificate(CertificateError::IdentityMismatch { .. })));
    // A gateway that should show a certificate cannot get away with a pre-shared key, or with nothing.
    let prf = Prf::new(PseudoRandomFunction::HmacSha256);
    for method in [wire::AuthenticationMethod::SHARED_KEY, wire::AuthenticationMethod::NULL] {
        let other = wire::Authentication { method, data: psk::compute(prf, b"psk", b"octets") };
        let refused = prove(&other, b"octets", "vpn.example.com").unwrap_err();
        assert_eq!(refused, GatewayRejected::MethodNotAccepted { method: method.0 });
    }
}

#[test]
fn no_changed_bit_goes_unnoticed() {
    let leaf = fixture!("rsa2048-leaf.cert.pem");
    let anchors = [fixture!("ca.cert.pem")];
    for position in 0..leaf.len() {
        for bit in [0x01, 0x20, 0x80] {
            let mut changed = leaf.clone();
            changed[position] ^= bit;
            let verdict = verify_at(&[&changed], &anchors, "vpn.example.com", 1_900_000_000);
            assert!(verdict.is_err(), "octet {position} bit {bit:#x}");
        }
    }
}
