use super::making::{Making, good, revoked, unknown};
use crate::auth::Identity;
use crate::auth::certificate::known::{MOST_AGE, Memory, Said};
use crate::auth::certificate::{
    CertificateError as E, ExpectedIdentity, Fetched, KnownAnswer, Revocation, RevocationPolicy, RevocationSource,
    Trust, learnt, payloads, verify_gateway,
};
use crate::time::Timestamp;
use crate::wire;
use rcgen::{
    BasicConstraints, CertificateParams, CrlDistributionPoint, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, SerialNumber, date_time_ymd,
};

/// 2026-07-01.
const NOW: u64 = 1_782_864_000;
const DAY: u64 = 86_400;

struct Authority {
    der: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

fn parameters(name: &str, host: &[&str]) -> CertificateParams {
    let mut parameters = CertificateParams::new(host.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.not_before = date_time_ymd(2025, 1, 1);
    parameters.not_after = date_time_ymd(2028, 1, 1);
    parameters
}

impl Authority {
    fn new() -> Self {
        let mut parameters = parameters("Root", &[]);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let der = parameters.self_signed(&key).unwrap().der().to_vec();
        Self { der, issuer: Issuer::new(parameters, key) }
    }

    fn issue(&self, parameters: CertificateParams) -> (Vec<u8>, KeyPair) {
        let key = KeyPair::generate().unwrap();
        (parameters.signed_by(&key, &self.issuer).unwrap().der().to_vec(), key)
    }

    fn gateway(&self) -> Vec<u8> {
        let mut parameters = parameters("gate", &["vpn.example.com"]);
        // The first octet of its DER is a zero that belongs to the sign.
        parameters.serial_number = Some(SerialNumber::from_slice(&[0x80, 7]));
        self.issue(parameters).0
    }

    fn responder(&self, purposes: Vec<ExtendedKeyUsagePurpose>) -> (Vec<u8>, KeyPair) {
        let mut parameters = parameters("responder", &[]);
        parameters.extended_key_usages = purposes;
        self.issue(parameters)
    }

    fn making<'a>(&'a self, leaf: &'a [u8]) -> Making<'a> {
        Making {
            certificate: leaf,
            issuer: &self.der,
            status: good(),
            this_update: NOW - 60,
            next_update: Some(NOW + DAY),
            nonce: None,
            responder: &self.der,
            named_by_key: false,
        }
    }
}

fn check(authority: &Authority, leaf: &[u8], revocation: &Revocation, sent: &[Vec<u8>]) -> Result<usize, E> {
    check_at(NOW, authority, leaf, revocation, sent)
}

fn check_at(
    now: u64,
    authority: &Authority,
    leaf: &[u8],
    revocation: &Revocation,
    sent: &[Vec<u8>],
) -> Result<usize, E> {
    let anchors = [authority.der.clone()];
    let expected = ExpectedIdentity::Host("vpn.example.com");
    let trust = Trust { anchors: &anchors, pins: &[], revocation, expected };
    let mut payloads = payloads(&[leaf.to_vec()]);
    let encoding = wire::CertificateEncoding::OCSP;
    payloads.extend(sent.iter().map(|data| wire::Certificate { encoding, data: data.clone() }));
    let presented = Identity::Fqdn("vpn.example.com".to_owned());
    verify_gateway(&payloads, &trust, &presented, now).map(|gateway| gateway.unsettled.len())
}

/// Checks under the strictest policy with one response that the gateway sent.
fn sent(authority: &Authority, leaf: &[u8], response: Vec<u8>) -> Result<usize, E> {
    let revocation = Revocation { policy: RevocationPolicy::Hard, ..Revocation::default() };
    check(authority, leaf, &revocation, &[response])
}

fn unknown_because(problems: &str) -> Result<usize, E> {
    Err(E::RevocationUnknown { problems: problems.to_owned() })
}

#[test]
fn the_authority_itself_says_how_a_certificate_stands() {
    let authority = Authority::new();
    let leaf = authority.gateway();
    for named_by_key in [false, true] {
        let says = |status| {
            let making = Making { status, named_by_key, ..authority.making(&leaf) };
            sent(&authority, &leaf, making.sign(authority.issuer.key()))
        };
        assert_eq!(says(good()), Ok(0));
        assert_eq!(says(revoked()), Err(E::Revoked));
        assert_eq!(says(unknown()), unknown_because("an OCSP responder does not know the certificate"));
    }
}

#[test]
fn a_responder_speaks_for_the_authority_that_made_it_one_and_for_no_other() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let leaf = authority.gateway();
    let delegate = |of: &Authority, purposes| {
        let (responder, key) = of.responder(purposes);
        sent(&authority, &leaf, Making { responder: &responder, ..authority.making(&leaf) }.sign(&key))
    };
    let refused = unknown_because("an OCSP response is signed by nobody who may speak for the authority");
    assert_eq!(delegate(&authority, vec![ExtendedKeyUsagePurpose::OcspSigning]), Ok(0));
    assert_eq!(delegate(&authority, vec![ExtendedKeyUsagePurpose::ServerAuth]), refused);
    assert_eq!(delegate(&authority, vec![ExtendedKeyUsagePurpose::Any]), refused);
    assert_eq!(delegate(&authority, vec![]), refused);
    assert_eq!(delegate(&stranger, vec![ExtendedKeyUsagePurpose::OcspSigning]), refused);
    // Somebody else's key under the authority's name.
    let forged = authority.making(&leaf).sign(&KeyPair::generate().unwrap());
    assert_eq!(sent(&authority, &leaf, forged), unknown_because("the signature of an OCSP response is wrong"));
}

#[test]
fn a_response_counts_in_its_time_and_revocation_for_ever() {
    let authority = Authority::new();
    let leaf = authority.gateway();
    let says = |status, this_update, next_update| {
        let making = Making { status, this_update, next_update, ..authority.making(&leaf) };
        sent(&authority, &leaf, making.sign(authority.issuer.key()))
    };
    let outdated = unknown_because("an OCSP response is out of date");
    assert_eq!(says(good(), NOW - DAY, Some(NOW - 400)), outdated);
    assert_eq!(says(good(), NOW + 400, Some(NOW + DAY)), outdated);
    assert_eq!(says(good(), NOW - 2 * DAY, None), outdated);
    assert_eq!(says(good(), NOW - 60, None), Ok(0));
    assert_eq!(says(good(), NOW + 200, Some(NOW + DAY)), Ok(0), "clocks differ");
    assert_eq!(says(revoked(), NOW - 9 * DAY, Some(NOW - 8 * DAY)), Err(E::Revoked));
}

#[test]
fn what_is_said_of_another_certificate_says_nothing_of_this_one() {
    let authority = Authority::new();
    let (leaf, other) = (authority.gateway(), authority.issue(parameters("other", &["other.example.com"])).0);
    let response = authority.making(&other).sign(authority.issuer.key());
    assert_eq!(sent(&authority, &leaf, response), unknown_because(""));
}

#[test]
fn a_fetched_response_carries_the_nonce_that_was_sent_or_none() {
    let authority = Authority::new();
    let leaf = authority.gateway();
    let fetched = |policy, nonce: Option<&[u8]>, status| {
        let response = Making { nonce, status, ..authority.making(&leaf) }.sign(authority.issuer.key());
        let fetched = Some(Fetched { nonce: b"ours".to_vec(), responses: vec![response], lists: vec![] });
        check(&authority, &leaf, &Revocation { policy, inquire: true, fetched, ..Revocation::default() }, &[])
    };
    use RevocationPolicy::{Hard, Soft};
    let other = unknown_because("an OCSP response answers another question than the one that was asked");
    assert_eq!(fetched(Hard, Some(b"ours"), good()), Ok(0));
    assert_eq!(fetched(Hard, None, good()), Ok(0));
    assert_eq!(fetched(Hard, Some(b"theirs"), good()), other);
    assert_eq!(fetched(Soft, Some(b"theirs"), good()), Ok(1));
    assert_eq!(fetched(Soft, Some(b"ours"), revoked()), Err(E::Revoked));
}

/// Returns what is learnt of the leaf from one response that was fetched.
fn learnt_from(authority: &Authority, leaf: &[u8], response: Vec<u8>) -> Vec<KnownAnswer> {
    let anchors = [authority.der.clone()];
    let fetched = Some(Fetched { nonce: b"ours".to_vec(), responses: vec![response], lists: vec![] });
    let revocation = Revocation { fetched, ..Revocation::default() };
    let expected = ExpectedIdentity::Host("vpn.example.com");
    let trust = Trust { anchors: &anchors, pins: &[], revocation: &revocation, expected };
    learnt(&payloads(&[leaf.to_vec()]), &trust, NOW)
}

fn knowing(answers: Vec<KnownAnswer>) -> Revocation {
    let mut memory = Memory::default();
    answers.into_iter().for_each(|answer| memory.learn(answer, Timestamp::ZERO));
    Revocation { policy: RevocationPolicy::Hard, known: memory.known(Timestamp::ZERO, NOW), ..Revocation::default() }
}

#[test]
fn only_what_was_fetched_and_believed_and_says_until_when_it_stands_is_learnt() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let leaf = authority.gateway();
    let key = authority.issuer.key();
    let of = |making: Making<'_>, key: &KeyPair| learnt_from(&authority, &leaf, making.sign(key)).len();
    let making = || authority.making(&leaf);
    assert_eq!(of(making(), key), 1);
    assert_eq!(of(Making { nonce: Some(b"ours"), ..making() }, key), 1);
    assert_eq!(of(Making { status: revoked(), ..making() }, key), 1);
    // The authority does not say until when.
    assert_eq!(of(Making { next_update: None, ..making() }, key), 0);
    // It has run out, though it is believed for a little longer, and though a revoked certificate stays revoked.
    assert_eq!(of(Making { next_update: Some(NOW), ..making() }, key), 0);
    assert_eq!(of(Making { next_update: Some(NOW - DAY), status: revoked(), ..making() }, key), 0);
    assert_eq!(of(Making { this_update: NOW + DAY, ..making() }, key), 0);
    assert_eq!(of(Making { status: unknown(), ..making() }, key), 0);
    assert_eq!(of(Making { nonce: Some(b"theirs"), ..making() }, key), 0);
    assert_eq!(of(making(), &KeyPair::generate().unwrap()), 0, "forged");
    let other = authority.issue(parameters("other", &["other.example.com"])).0;
    assert_eq!(of(Making { certificate: &other, ..making() }, key), 0);
    // A gateway under nobody's anchor teaches nothing.
    assert_eq!(learnt_from(&stranger, &leaf, making().sign(key)), []);
}

#[test]
fn what_was_learnt_stands_for_its_certificate_in_its_time_and_no_longer() {
    let authority = Authority::new();
    let leaf = authority.gateway();
    let learn = |status, next_update| {
        let making = Making { status, next_update: Some(next_update), nonce: Some(b"ours"), ..authority.making(&leaf) };
        learnt_from(&authority, &leaf, making.sign(authority.issuer.key()))
    };
    let good_for_an_hour = knowing(learn(good(), NOW + 3600));
    assert_eq!(check_at(NOW, &authority, &leaf, &good_for_an_hour, &[]), Ok(0));
    assert_eq!(check_at(NOW + 3599, &authority, &leaf, &good_for_an_hour, &[]), Ok(0));
    // Not even for the time by which clocks may differ.
    assert_eq!(check_at(NOW + 3600, &authority, &leaf, &good_for_an_hour, &[]), unknown_because(""));
    assert_eq!(check_at(NOW - 301, &authority, &leaf, &good_for_an_hour, &[]), unknown_because(""));
    let most = MOST_AGE.as_secs();
    let good_for_a_month = knowing(learn(good(), NOW + 30 * DAY));
    assert_eq!(check_at(NOW + most - 1, &authority, &leaf, &good_for_a_month, &[]), Ok(0));
    assert_eq!(check_at(NOW + most, &authority, &leaf, &good_for_a_month, &[]), unknown_because(""));
    // It is not another certificate's, and what the gateway sends now counts as well.
    let other = authority.issue(parameters("gate", &["vpn.example.com"])).0;
    assert_eq!(check(&authority, &other, &good_for_an_hour, &[]), unknown_because(""));
    let taken_back = Making { status: revoked(), ..authority.making(&leaf) }.sign(authority.issuer.key());
    assert_eq!(check(&authority, &leaf, &good_for_an_hour, &[taken_back]), Err(E::Revoked));
    let still_good = authority.making(&leaf).sign(authority.issuer.key());
    let taken_back = Revocation { policy: RevocationPolicy::Soft, ..knowing(learn(revoked(), NOW + 3600)) };
    assert_eq!(check(&authority, &leaf, &taken_back, &[still_good]), Err(E::Revoked));
    assert_eq!(check_at(NOW + 3600, &authority, &leaf, &taken_back, &[]), Ok(1), "to be asked anew");
    // A memory that somebody has written into makes nothing good.
    let mut answers = learn(unknown(), NOW + 3600);
    assert_eq!(answers, []);
    answers = learn(good(), NOW + 3600);
    for answer in &mut answers {
        let Said::Response(octets) = &mut answer.said else { panic!("{answer:?}") };
        *octets = authority.making(&leaf).sign(&KeyPair::generate().unwrap());
    }
    assert_eq!(check(&authority, &leaf, &knowing(answers), &[]), unknown_because(""));
}

/// AuthorityInfoAccess with one OCSP responder.
fn access(url: &str) -> CustomExtension {
    use crate::auth::der::{element, tag};
    let method = element(tag::OBJECT_IDENTIFIER, &[0x2b, 6, 1, 5, 5, 7, 48, 1]);
    let description = [method, element(0x86, url.as_bytes())].concat();
    let content = element(tag::SEQUENCE, &element(tag::SEQUENCE, &description));
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], content)
}

#[test]
fn whom_the_certificate_names_is_asked_by_plain_http_only_and_what_the_policy_wants() {
    let authority = Authority::new();
    let issue = |responder: &str, list: &str| {
        let mut parameters = parameters("gate", &["vpn.example.com"]);
        parameters.custom_extensions = vec![access(responder)];
        parameters.crl_distribution_points = vec![CrlDistributionPoint { uris: vec![list.to_owned()] }];
        authority.issue(parameters).0
    };
    let anchors = [authority.der.clone()];
    let sources = |leaf: &[u8]| {
        let revocation = Revocation { inquire: true, ..Revocation::default() };
        let expected = ExpectedIdentity::Host("vpn.example.com");
        let trust = Trust { anchors: &anchors, pins: &[], revocation: &revocation, expected };
        let presented = Identity::Fqdn("vpn.example.com".to_owned());
        let gateway = verify_gateway(&payloads(&[leaf.to_vec()]), &trust, &presented, NOW).unwrap();
        gateway.unsettled.iter().flat_map(|inquiry| inquiry.sources(&[7; 32])).collect::<Vec<_>>()
    };
    let leaf = issue("http://ocsp.example.com/", "http://example.com/ca.crl");
    let [RevocationSource::Ocsp { url, request }, RevocationSource::List { url: list }] = &*sources(&leaf) else {
        panic!("{:?}", sources(&leaf))
    };
    assert_eq!((url.as_str(), list.as_str()), ("http://ocsp.example.com/", "http://example.com/ca.crl"));
    assert!(request.windows(32).any(|window| window == [7; 32]));
    let secret = issue("https://ocsp.example.com/", "ldap://example.com/ca.crl");
    assert_eq!(sources(&secret), []);
    for (policy, leaf, outcome) in [
        (RevocationPolicy::Hard, &leaf, Ok(1)),
        (RevocationPolicy::Soft, &secret, Ok(1)),
        (RevocationPolicy::Hard, &secret, unknown_because("")),
        (RevocationPolicy::Off, &leaf, Ok(0)),
    ] {
        let asking = Revocation { policy, inquire: true, ..Revocation::default() };
        assert_eq!(check(&authority, leaf, &asking, &[]), outcome, "{policy:?}");
    }
    // Nobody answered.
    let fetched = Some(Fetched::default());
    let asked = Revocation { policy: RevocationPolicy::Hard, inquire: true, fetched, ..Revocation::default() };
    assert_eq!(check(&authority, &leaf, &asked, &[]), unknown_because(""));
}

#[test]
fn no_changed_octet_makes_a_response_say_that_a_certificate_is_good() {
    let authority = Authority::new();
    let leaf = authority.gateway();
    let response =
        Making { status: unknown(), nonce: Some(&[1; 16]), ..authority.making(&leaf) }.sign(authority.issuer.key());
    for index in 0..response.len() {
        let mut changed = response.clone();
        changed[index] ^= 0x02;
        assert!(sent(&authority, &leaf, changed).is_err(), "{index}");
        assert!(sent(&authority, &leaf, response[..index].to_vec()).is_err(), "{index}");
    }
    let refusal = [0x30, 3, 10, 1, 6].to_vec();
    let refused = unknown_because("an OCSP responder refused to answer (status 6)");
    assert_eq!(sent(&authority, &leaf, refusal), refused);
}

#[test]
fn what_openssl_says_by_a_responder_of_its_own_is_believed() {
    let data = |name: &str| std::fs::read(format!("{}/tests-data/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let (authority, leaf) = (data("revocation-authority.der"), data("revocation-gateway.der"));
    let hard = Revocation { policy: RevocationPolicy::Hard, ..Revocation::default() };
    for (encoding, file) in [
        (wire::CertificateEncoding::OCSP, "revocation-response.der"),
        (wire::CertificateEncoding::CRL, "revocation-list.der"),
    ] {
        let verified = |revocation: &Revocation, now| {
            let mut payloads = payloads(std::slice::from_ref(&leaf));
            payloads.push(wire::Certificate { encoding, data: data(file) });
            let expected = ExpectedIdentity::Host("vpn.example.com");
            let trust = Trust { anchors: std::slice::from_ref(&authority), pins: &[], revocation, expected };
            verify_gateway(&payloads, &trust, &Identity::Fqdn("vpn.example.com".to_owned()), now)
        };
        assert_eq!(verified(&hard, 1_795_500_000).map(|gateway| gateway.unsettled), Ok(vec![]), "{file}");
    }
}
