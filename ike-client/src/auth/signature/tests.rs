use super::*;
use crate::auth::PrivateKey;
use crate::random::{Random, RandomUnavailable, SeededRandom};

const OCTETS: &[u8] = include_bytes!("../../../tests-data/octets.bin");

macro_rules! key {
    ($name:literal) => {
        PrivateKey::from_pem(include_str!(concat!("../../../tests-data/", $name))).unwrap()
    };
}

fn rsa() -> PrivateKey {
    key!("rsa2048.pkcs8.pem")
}

fn public(key: &PrivateKey) -> PublicKey {
    PublicKey::from_info(&key.public_key_info()).unwrap()
}

fn hashes(numbers: &[u16]) -> SignatureHashes {
    numbers.iter().copied().map(HashAlgorithm).collect()
}

/// Checks as a gateway with `theirs` announced is checked by a client that accepts SHA-1 if need be.
fn verify(key: &PublicKey, method: u8, data: &[u8], theirs: &[u16]) -> Result<SignatureScheme, SignatureError> {
    let policy = SignaturePolicy {
        announced_by_us: &SignatureHashes::ours(),
        announced_by_gateway: &hashes(theirs),
        allow_rsa_sha1: true,
    };
    key.verify(method, data, OCTETS, &policy)
}

#[test]
fn what_each_key_signs_verifies_with_its_public_half_and_with_no_other_octets() {
    for key in [rsa(), key!("rsa3072.pkcs8.pem"), key!("p256.pkcs8.pem"), key!("p384.pkcs8.pem")] {
        for theirs in [&[][..], &[2, 3, 4]] {
            let signed = sign(&key, &hashes(theirs), OCTETS, &mut SeededRandom::new(1)).unwrap();
            let method = signed.scheme.method();
            assert_eq!(verify(&public(&key), method, &signed.data, theirs), Ok(signed.scheme));
            let mut changed = signed.data.clone();
            *changed.last_mut().unwrap() ^= 1;
            assert_eq!(verify(&public(&key), method, &changed, theirs), Err(SignatureError::Wrong));
            let stranger = if key.kind() == KeyKind::Rsa { rsa3072_or_2048(&key) } else { continue };
            assert_eq!(verify(&public(&stranger), method, &signed.data, theirs), Err(SignatureError::Wrong));
        }
    }
}

fn rsa3072_or_2048(other_than: &PrivateKey) -> PrivateKey {
    let (a, b) = (rsa(), key!("rsa3072.pkcs8.pem"));
    if a.public_key_info() == other_than.public_key_info() { b } else { a }
}

#[test]
fn every_algorithm_of_method_14_that_a_key_fits_is_signed_and_verified() {
    for algorithm in SignatureAlgorithm::ALL {
        for key in [rsa(), key!("p256.sec1.pem"), key!("p384.sec1.pem")] {
            let scheme = SignatureScheme::Rfc7427(algorithm);
            match sign_with(&key, scheme, OCTETS, &mut SeededRandom::new(1)) {
                Ok(signed) => assert_eq!(verify(&public(&key), 14, &signed.data, &[2]), Ok(scheme)),
                Err(error) => {
                    assert_eq!(error, SignError::SchemeMismatch(key.kind()));
                    assert!(key.kind() != KeyKind::Rsa || !algorithm.fits(KeyKind::Rsa));
                }
            }
        }
    }
}

#[test]
fn rsa_with_sha1_is_the_signature_that_openssl_makes_whatever_blinds_it() {
    let expected = include_bytes!("../../../tests-data/rsa2048.sha1.sig");
    for seed in 0..3 {
        let signed = sign_with(&rsa(), SignatureScheme::RsaSha1, OCTETS, &mut SeededRandom::new(seed)).unwrap();
        assert_eq!(signed.data, expected);
    }
}

#[test]
fn signatures_by_openssl_verify() {
    let with = |algorithm, signature: &[u8]| {
        let identifier = algorithm_identifier::encode(algorithm);
        [&[u8::try_from(identifier.len()).unwrap()], identifier.as_slice(), signature].concat()
    };
    use SignatureAlgorithm as A;
    for (key, algorithm, signature) in [
        (rsa(), A::RsaPssSha256, &include_bytes!("../../../tests-data/rsa2048.pss-sha256.sig")[..]),
        (rsa(), A::RsaPssSha384, &include_bytes!("../../../tests-data/rsa2048.pss-sha384.sig")[..]),
        (rsa(), A::RsaPssSha512, &include_bytes!("../../../tests-data/rsa2048.pss-sha512.sig")[..]),
        (key!("p256.pkcs8.pem"), A::EcdsaSha512, &include_bytes!("../../../tests-data/p256.sha512.sig")[..]),
        (key!("p384.pkcs8.pem"), A::EcdsaSha512, &include_bytes!("../../../tests-data/p384.sha512.sig")[..]),
    ] {
        let data = with(algorithm, signature);
        assert_eq!(verify(&public(&key), 14, &data, &[2]), Ok(SignatureScheme::Rfc7427(algorithm)));
        let mut changed = data;
        let middle = changed.len() - 20;
        changed[middle] ^= 1;
        assert_eq!(verify(&public(&key), 14, &changed, &[2]), Err(SignatureError::Wrong));
    }
}

#[test]
fn sha1_is_refused_from_a_gateway_that_knows_better_or_by_policy() {
    let data = include_bytes!("../../../tests-data/rsa2048.sha1.sig");
    assert_eq!(verify(&public(&rsa()), 1, data, &[]), Ok(SignatureScheme::RsaSha1));
    assert_eq!(verify(&public(&rsa()), 1, data, &[2]), Err(SignatureError::Sha1NotAccepted));
    let nothing = SignatureHashes::default();
    let strict = SignaturePolicy {
        announced_by_us: &SignatureHashes::ours(),
        announced_by_gateway: &nothing,
        allow_rsa_sha1: false,
    };
    assert_eq!(public(&rsa()).verify(1, data, OCTETS, &strict), Err(SignatureError::Sha1NotAccepted));
}

#[test]
fn a_hash_that_was_not_announced_is_refused_even_when_the_signature_is_right() {
    let scheme = SignatureScheme::Rfc7427(SignatureAlgorithm::RsaPkcs1Sha512);
    let signed = sign_with(&rsa(), scheme, OCTETS, &mut SeededRandom::new(1)).unwrap();
    let policy =
        SignaturePolicy { announced_by_us: &hashes(&[2]), announced_by_gateway: &hashes(&[2]), allow_rsa_sha1: true };
    assert_eq!(public(&rsa()).verify(14, &signed.data, OCTETS, &policy), Err(SignatureError::HashNotAnnounced));
}

#[test]
fn method_and_algorithm_must_fit_the_certificates_key() {
    let rsa_key = public(&rsa());
    let p256 = public(&key!("p256.pkcs8.pem"));
    let p384 = public(&key!("p384.pkcs8.pem"));
    let ecdsa = SignatureScheme::Rfc7427(SignatureAlgorithm::EcdsaSha256);
    let by_p256 = sign_with(&key!("p256.pkcs8.pem"), ecdsa, OCTETS, &mut SeededRandom::new(1)).unwrap();
    for (key, method, data, kind) in [
        (&p256, 1, &[0; 256][..], KeyKind::EcdsaP256),
        (&rsa_key, 9, &[0; 64], KeyKind::Rsa),
        (&p384, 9, &[0; 64], KeyKind::EcdsaP384),
        (&p256, 10, &[0; 96], KeyKind::EcdsaP256),
        (&rsa_key, 14, &by_p256.data, KeyKind::Rsa),
    ] {
        assert_eq!(verify(key, method, data, &[]), Err(SignatureError::KeyMismatch(kind)));
    }
    assert_eq!(verify(&p384, 14, &by_p256.data, &[]), Err(SignatureError::Wrong));
}

#[test]
fn other_methods_and_cut_data_are_refused() {
    let key = public(&rsa());
    for method in [0, 2, 3, 12, 13, 255] {
        assert_eq!(verify(&key, method, &[0; 256], &[]), Err(SignatureError::MethodNotAccepted(method)));
    }
    for data in [&[][..], &[5], &[15, 0x30], &[0], &[0xff; 300]] {
        assert_eq!(verify(&key, 14, data, &[2]), Err(SignatureError::AlgorithmNotAccepted));
    }
    assert_eq!(verify(&key, 1, &[], &[]), Err(SignatureError::Wrong));
    let raw = sign(&key!("p256.pkcs8.pem"), &hashes(&[]), OCTETS, &mut SeededRandom::new(1)).unwrap();
    assert_eq!(raw.data.len(), 64);
}

#[test]
fn p521_and_ed25519_sign_what_verifies_by_their_own_methods() {
    let p521 = key!("p521.sec1.pem");
    let ed25519 = key!("ed25519.pem");
    for (key, announced, method, octets) in
        [(&p521, &[][..], 11, 132), (&p521, &[2, 3, 4], 14, 0), (&ed25519, &[5], 14, 8 + 64)]
    {
        let signed = sign(key, &hashes(announced), OCTETS, &mut SeededRandom::new(1)).unwrap();
        assert_eq!(signed.scheme.method(), method);
        assert!(octets == 0 || signed.data.len() == octets, "{}", signed.data.len());
        assert_eq!(verify(&public(key), method, &signed.data, announced), Ok(signed.scheme));
        let mut changed = signed.data.clone();
        let middle = changed.len() - 20;
        changed[middle] ^= 1;
        assert_eq!(verify(&public(key), method, &changed, announced), Err(SignatureError::Wrong));
    }
    assert_eq!(verify(&public(&p521), 11, &[0; 132], &[]), Err(SignatureError::Wrong));
    assert_eq!(verify(&public(&p521), 9, &[0; 64], &[]), Err(SignatureError::KeyMismatch(KeyKind::EcdsaP521)));
}

#[test]
fn signatures_by_openssl_on_the_curves_beyond_ring_verify() {
    let p521 = public(&key!("p521.sec1.pem"));
    let by_openssl = include_bytes!("../../../tests-data/p521.sha512.sig");
    assert!(p521.verify_bare(SignatureAlgorithm::EcdsaSha512, OCTETS, by_openssl));
    assert!(!p521.verify_bare(SignatureAlgorithm::EcdsaSha384, OCTETS, by_openssl));
    let ed25519 = public(&key!("ed25519.pem"));
    let by_openssl = include_bytes!("../../../tests-data/ed25519.sig");
    assert!(ed25519.verify_bare(SignatureAlgorithm::Ed25519, OCTETS, by_openssl));
    assert!(!ed25519.verify_bare(SignatureAlgorithm::Ed25519, b"other octets", by_openssl));
}

#[test]
fn rsa_with_an_exponent_of_one_or_a_tiny_modulus_is_refused() {
    let good = rsa().public_key_info();
    let exponent = good.len() - 5;
    assert_eq!(good[exponent..], [2, 3, 1, 0, 1]);
    for number in [&[2, 3, 1, 0, 0][..], &[2, 3, 0x7f, 0xff, 0xfe]] {
        let even = [&good[..exponent], number].concat();
        assert_eq!(PublicKey::from_info(&even), Err(PublicKeyError::RsaExponent));
    }
    let with_exponent = |exponent: &[u8]| {
        let modulus = [&[0][..], &[0xff; 256]].concat();
        rsa_info(&modulus, exponent)
    };
    assert!(PublicKey::from_info(&with_exponent(&[3])).is_ok());
    assert_eq!(PublicKey::from_info(&with_exponent(&[1])), Err(PublicKeyError::RsaExponent));
    assert_eq!(PublicKey::from_info(&with_exponent(&[1, 0, 0, 0, 1])), Err(PublicKeyError::RsaExponent));
    for octets in [1, 64, 128] {
        let tiny = rsa_info(&[&[0][..], &vec![0xff; octets]].concat(), &[3]);
        assert_eq!(PublicKey::from_info(&tiny), Err(PublicKeyError::RsaSize { bits: octets * 8 }));
    }
}

fn rsa_info(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    use crate::auth::der::{element, oid, tag};
    let numbers = [element(tag::INTEGER, modulus), element(tag::INTEGER, exponent)].concat();
    let key = [&[0][..], &element(tag::SEQUENCE, &numbers)].concat();
    let algorithm = [element(tag::OBJECT_IDENTIFIER, oid::RSA_ENCRYPTION), element(tag::NULL, &[])].concat();
    element(tag::SEQUENCE, &[element(tag::SEQUENCE, &algorithm), element(tag::BIT_STRING, &key)].concat())
}

#[test]
fn no_signature_leaves_without_randomness() {
    struct Dry;
    impl Random for Dry {
        fn fill(&mut self, _: &mut [u8]) -> Result<(), RandomUnavailable> {
            Err(RandomUnavailable)
        }
    }
    struct Zero;
    impl Random for Zero {
        fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RandomUnavailable> {
            bytes.fill(0);
            Ok(())
        }
    }
    let refused = Err(SignError::Random(RandomUnavailable));
    assert_eq!(sign(&rsa(), &hashes(&[]), OCTETS, &mut Dry), refused);
    assert_eq!(sign(&rsa(), &hashes(&[]), OCTETS, &mut Zero), refused);
}

#[test]
fn keys_of_other_kinds_and_sizes_are_not_taken_from_a_certificate() {
    assert_eq!(PublicKey::from_info(&[]), Err(PublicKeyError::Unsupported));
    let mut info = key!("p256.pkcs8.pem").public_key_info();
    let curve = info.windows(2).position(|window| window == [1, 7]).unwrap();
    info[curve + 1] = 6;
    assert_eq!(PublicKey::from_info(&info), Err(PublicKeyError::Unsupported));
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_verification_panic_or_succeed(
        method in proptest::num::u8::ANY,
        data in proptest::collection::vec(proptest::num::u8::ANY, 0..300),
    ) {
        assert!(verify(&public(&key!("p256.pkcs8.pem")), method, &data, &[]).is_err());
    }

    #[test]
    fn no_bytes_make_the_reader_of_keys_panic(info in proptest::collection::vec(proptest::num::u8::ANY, 0..100)) {
        let _ = PublicKey::from_info(&info);
    }
}
