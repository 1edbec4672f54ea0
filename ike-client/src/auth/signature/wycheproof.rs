//! Project Wycheproof's signatures: the valid ones verify, the invalid ones do not.

use super::{PublicKey, SignatureAlgorithm, SignatureHashes, SignaturePolicy, algorithm_identifier, method};
use ::wycheproof::TestResult;
use ::wycheproof::{ecdsa, eddsa, rsa_pkcs1_verify, rsa_pss_verify};

/// Verifies under method 14 as that algorithm.
fn verifies(key: &PublicKey, algorithm: SignatureAlgorithm, message: &[u8], signature: &[u8]) -> bool {
    let identifier = algorithm_identifier::encode(algorithm);
    let length = u8::try_from(identifier.len()).unwrap();
    let data = [&[length], identifier.as_slice(), signature].concat();
    verified(key, method::DIGITAL_SIGNATURE, &data, message)
}

fn verified(key: &PublicKey, method: u8, data: &[u8], message: &[u8]) -> bool {
    let ours = SignatureHashes::ours();
    let policy = SignaturePolicy { announced_by_us: &ours, announced_by_gateway: &ours, allow_rsa_sha1: false };
    key.verify(method, data, message, &policy).is_ok()
}

/// Counts what must and what must not verify, and fails where a signature does the other.
#[derive(Default)]
struct Tally {
    valid: u32,
    invalid: u32,
}

impl Tally {
    fn note(&mut self, result: TestResult, verified: bool, id: &str) {
        match result {
            TestResult::Valid => {
                assert!(verified, "{id}");
                self.valid += 1;
            }
            TestResult::Invalid => {
                assert!(!verified, "{id}");
                self.invalid += 1;
            }
            TestResult::Acceptable => {}
        }
    }

    fn assert_thorough(&self) {
        assert!(self.valid > 5 && self.invalid > 10, "{} valid, {} invalid", self.valid, self.invalid);
    }
}

/// Holds every vector of the listed sets against what is said of it. A row of the list is the set and
/// what its signatures are verified as.
macro_rules! holds {
    ($module:ident, $verifies:expr; $($name:ident: $as:expr;)*) => {{
        let verifies = $verifies;
        for (name, wanted) in [$(($module::TestName::$name, $as)),*] {
            let mut tally = Tally::default();
            for group in $module::TestSet::load(name).unwrap().test_groups {
                let key = PublicKey::from_info(&group.der).unwrap();
                for test in &group.tests {
                    let verified = verifies(&key, wanted, &test.msg, &test.sig);
                    tally.note(test.result, verified, &format!("{name:?} {}", test.tc_id));
                }
            }
            tally.assert_thorough();
        }
    }};
}

#[test]
fn rsa_by_pkcs1() {
    holds! { rsa_pkcs1_verify, verifies;
        Rsa2048Sha256: SignatureAlgorithm::RsaPkcs1Sha256;
        Rsa2048Sha384: SignatureAlgorithm::RsaPkcs1Sha384;
        Rsa2048Sha512: SignatureAlgorithm::RsaPkcs1Sha512;
        Rsa3072Sha256: SignatureAlgorithm::RsaPkcs1Sha256;
        Rsa4096Sha512: SignatureAlgorithm::RsaPkcs1Sha512;
    }
}

#[test]
fn rsa_by_pss() {
    holds! { rsa_pss_verify, verifies;
        RsaPss2048Sha256Mgf1SaltLen32: SignatureAlgorithm::RsaPssSha256;
        RsaPss2048Sha384Mgf1SaltLen48: SignatureAlgorithm::RsaPssSha384;
        RsaPss3072Sha256Mgf1SaltLen32: SignatureAlgorithm::RsaPssSha256;
        RsaPss4096Sha512Mgf1SaltLen64: SignatureAlgorithm::RsaPssSha512;
    }
}

#[test]
fn rsa_with_a_salt_of_another_length_is_refused() {
    // Valid in themselves; RFC 7427 §A.4.3 wants the salt to be as long as the hash.
    let name = rsa_pss_verify::TestName::RsaPss2048Sha256Mgf1SaltLen0;
    for group in rsa_pss_verify::TestSet::load(name).unwrap().test_groups {
        let key = PublicKey::from_info(&group.der).unwrap();
        for test in group.tests.iter().filter(|test| test.result == TestResult::Valid) {
            assert!(!verifies(&key, SignatureAlgorithm::RsaPssSha256, &test.msg, &test.sig), "{}", test.tc_id);
        }
    }
}

#[test]
fn ecdsa_in_der() {
    holds! { ecdsa, verifies;
        EcdsaSecp256r1Sha256: SignatureAlgorithm::EcdsaSha256;
        EcdsaSecp384r1Sha384: SignatureAlgorithm::EcdsaSha384;
        EcdsaSecp521r1Sha512: SignatureAlgorithm::EcdsaSha512;
    }
}

#[test]
fn ecdsa_as_two_numbers() {
    let by_method =
        |key: &PublicKey, method, message: &[u8], signature: &[u8]| verified(key, method, signature, message);
    holds! { ecdsa, by_method;
        EcdsaSecp256r1Sha256P1363: method::ECDSA_256;
        EcdsaSecp384r1Sha384P1363: method::ECDSA_384;
        EcdsaSecp521r1Sha512P1363: method::ECDSA_521;
    }
}

#[test]
fn ed25519() {
    holds! { eddsa, verifies;
        Ed25519: SignatureAlgorithm::Ed25519;
    }
}
