//! The AlgorithmIdentifier in front of a method 14 signature (RFC 7427 §3 and appendix A).

use super::SignatureAlgorithm;
use crate::auth::der::{Reader, element, oid, tag};

const PKCS1_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11];
const PKCS1_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 12];
const PKCS1_SHA512: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 13];
const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const ECDSA_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3];
const ECDSA_SHA512: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4];
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];
const SHA384: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2];
const SHA512: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3];

/// Reads an AlgorithmIdentifier; nothing for what is malformed or not accepted.
pub(super) fn decode(der: &[u8]) -> Option<SignatureAlgorithm> {
    let mut outer = Reader::new(der);
    let mut identifier = outer.enter(tag::SEQUENCE)?;
    outer.finish()?;
    let (algorithm, parameters) = match identifier.content(tag::OBJECT_IDENTIFIER)? {
        PKCS1_SHA256 => (SignatureAlgorithm::RsaPkcs1Sha256, Parameters::NullOrAbsent),
        PKCS1_SHA384 => (SignatureAlgorithm::RsaPkcs1Sha384, Parameters::NullOrAbsent),
        PKCS1_SHA512 => (SignatureAlgorithm::RsaPkcs1Sha512, Parameters::NullOrAbsent),
        ECDSA_SHA256 => (SignatureAlgorithm::EcdsaSha256, Parameters::Absent),
        ECDSA_SHA384 => (SignatureAlgorithm::EcdsaSha384, Parameters::Absent),
        ECDSA_SHA512 => (SignatureAlgorithm::EcdsaSha512, Parameters::Absent),
        oid::ED25519 => (SignatureAlgorithm::Ed25519, Parameters::Absent),
        oid::RSASSA_PSS => return pss(identifier),
        _ => return None,
    };
    if matches!(parameters, Parameters::NullOrAbsent) && !identifier.is_empty() {
        identifier.content(tag::NULL).filter(|content| content.is_empty())?;
    }
    identifier.finish()?;
    Some(algorithm)
}

/// What an algorithm's parameters may be. DER asks for NULL with PKCS#1, which some leave out.
enum Parameters {
    Absent,
    NullOrAbsent,
}

/// Reads RSASSA-PSS-params: one hash for both uses and a salt of its length, as everybody does; the
/// defaults (SHA-1) are not accepted, so every field but the trailer must be there.
fn pss(mut identifier: Reader<'_>) -> Option<SignatureAlgorithm> {
    let mut parameters = identifier.enter(tag::SEQUENCE)?;
    identifier.finish()?;
    let mut field = parameters.enter(0xa0)?;
    let hash = hash_algorithm(&mut field)?;
    field.finish()?;
    let mut field = parameters.enter(0xa1)?;
    let mut mask = field.enter(tag::SEQUENCE)?;
    field.finish()?;
    mask.content(tag::OBJECT_IDENTIFIER).filter(|oid| *oid == oid::MGF1)?;
    hash_algorithm(&mut mask).filter(|mask_hash| *mask_hash == hash)?;
    mask.finish()?;
    let salt = single_number(parameters.enter(0xa2)?)?;
    if !parameters.is_empty() {
        single_number(parameters.enter(0xa3)?).filter(|trailer| *trailer == [1])?;
    }
    parameters.finish()?;
    match (hash, salt) {
        (SHA256, [32]) => Some(SignatureAlgorithm::RsaPssSha256),
        (SHA384, [48]) => Some(SignatureAlgorithm::RsaPssSha384),
        (SHA512, [64]) => Some(SignatureAlgorithm::RsaPssSha512),
        _ => None,
    }
}

fn hash_algorithm<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    let mut identifier = reader.enter(tag::SEQUENCE)?;
    let hash = identifier.content(tag::OBJECT_IDENTIFIER)?;
    if !identifier.is_empty() {
        identifier.content(tag::NULL).filter(|content| content.is_empty())?;
    }
    identifier.finish()?;
    Some(hash)
}

fn single_number(mut reader: Reader<'_>) -> Option<&[u8]> {
    let number = reader.unsigned()?;
    reader.finish()?;
    Some(number)
}

/// Writes an AlgorithmIdentifier as appendix A of RFC 7427 shows it, default values left out as DER asks.
pub(super) fn encode(algorithm: SignatureAlgorithm) -> Vec<u8> {
    let null = element(tag::NULL, &[]);
    let (oid, parameters) = match algorithm {
        SignatureAlgorithm::RsaPkcs1Sha256 => (PKCS1_SHA256, null),
        SignatureAlgorithm::RsaPkcs1Sha384 => (PKCS1_SHA384, null),
        SignatureAlgorithm::RsaPkcs1Sha512 => (PKCS1_SHA512, null),
        SignatureAlgorithm::EcdsaSha256 => (ECDSA_SHA256, Vec::new()),
        SignatureAlgorithm::EcdsaSha384 => (ECDSA_SHA384, Vec::new()),
        SignatureAlgorithm::EcdsaSha512 => (ECDSA_SHA512, Vec::new()),
        SignatureAlgorithm::Ed25519 => (oid::ED25519, Vec::new()),
        SignatureAlgorithm::RsaPssSha256 => (oid::RSASSA_PSS, pss_parameters(SHA256, 32)),
        SignatureAlgorithm::RsaPssSha384 => (oid::RSASSA_PSS, pss_parameters(SHA384, 48)),
        SignatureAlgorithm::RsaPssSha512 => (oid::RSASSA_PSS, pss_parameters(SHA512, 64)),
    };
    element(tag::SEQUENCE, &[element(tag::OBJECT_IDENTIFIER, oid), parameters].concat())
}

fn pss_parameters(hash: &[u8], salt: u8) -> Vec<u8> {
    let hash = element(tag::SEQUENCE, &[element(tag::OBJECT_IDENTIFIER, hash), element(tag::NULL, &[])].concat());
    let mask = element(tag::SEQUENCE, &[element(tag::OBJECT_IDENTIFIER, oid::MGF1), hash.clone()].concat());
    let fields = [element(0xa0, &hash), element(0xa1, &mask), element(0xa2, &element(tag::INTEGER, &[salt]))];
    element(tag::SEQUENCE, &fields.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Vec<u8> {
        hex::decode(text.replace(' ', "")).unwrap()
    }

    #[test]
    fn the_encodings_are_those_of_rfc_7427_appendix_a() {
        use SignatureAlgorithm as A;
        for (algorithm, der) in [
            (A::RsaPkcs1Sha256, "300d 0609 2a864886f70d01010b 0500"),
            (A::RsaPkcs1Sha384, "300d 0609 2a864886f70d01010c 0500"),
            (A::RsaPkcs1Sha512, "300d 0609 2a864886f70d01010d 0500"),
            (A::EcdsaSha256, "300a 0608 2a8648ce3d040302"),
            (A::EcdsaSha384, "300a 0608 2a8648ce3d040303"),
            (A::EcdsaSha512, "300a 0608 2a8648ce3d040304"),
            // RFC 8420 §3.
            (A::Ed25519, "3005 0603 2b6570"),
        ] {
            assert_eq!(encode(algorithm), bytes(der));
        }
    }

    #[test]
    fn pss_is_read_with_and_without_the_trailer_and_the_nulls() {
        let with_trailer = "3046 0609 2a864886f70d01010a 3039 a00f 300d 0609 608648016503040201 0500
            a11c 301a 0609 2a864886f70d010108 300d 0609 608648016503040201 0500 a203 020120 a303 020101";
        let without_nulls = "303d 0609 2a864886f70d01010a 3030 a00d 300b 0609 608648016503040201
            a11a 3018 0609 2a864886f70d010108 300b 0609 608648016503040201 a203 020120";
        for der in [with_trailer, without_nulls] {
            assert_eq!(decode(&bytes(&der.replace('\n', ""))), Some(SignatureAlgorithm::RsaPssSha256));
        }
    }

    #[test]
    fn each_algorithm_is_read_back() {
        for algorithm in SignatureAlgorithm::ALL {
            assert_eq!(decode(&encode(algorithm)), Some(algorithm));
        }
    }

    #[test]
    fn weak_unknown_and_sloppy_identifiers_are_refused() {
        for der in [
            "300d 0609 2a864886f70d010105 0500",        // sha1WithRSAEncryption
            "3009 0607 2a8648ce3d0401",                 // ecdsa-with-SHA1
            "300d 0609 2a864886f70d01010a 3000",        // PSS with its defaults: SHA-1
            "300c 0608 2a8648ce3d040302 0500",          // ECDSA with parameters
            "300d 0609 2a864886f70d01010b 0500 00",     // trailing byte
            "3010 0609 2a864886f70d01010b 0500 020101", // trailing element
            "300d 0609 2a864886f70d01010b 0501",        // cut
            "",
        ] {
            assert_eq!(decode(&bytes(der)), None, "{der}");
        }
    }

    #[test]
    fn pss_with_a_short_salt_or_two_hashes_is_refused() {
        let good = encode(SignatureAlgorithm::RsaPssSha256);
        let mut short_salt = good.clone();
        *short_salt.last_mut().unwrap() = 20;
        assert_eq!(decode(&short_salt), None);
        let mut two_hashes = good;
        let position = two_hashes.windows(SHA256.len()).rposition(|window| window == SHA256).unwrap();
        two_hashes[position + SHA256.len() - 1] = 2;
        assert_eq!(decode(&two_hashes), None);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(der in proptest::collection::vec(proptest::num::u8::ANY, 0..80)) {
            let _ = decode(&der);
        }

        #[test]
        fn a_changed_byte_never_reads_as_another_algorithm_of_the_same_bytes(
            index in 0usize..10, position in 0usize..64, value in proptest::num::u8::ANY,
        ) {
            let algorithm = SignatureAlgorithm::ALL[index];
            let mut der = encode(algorithm);
            let position = position % der.len();
            let changed = der[position] != value;
            der[position] = value;
            if changed && let Some(other) = decode(&der) {
                assert_ne!(other, algorithm);
            }
        }
    }
}
