//! Signatures that were made elsewhere, by a token (PKCS#11): checked, and brought into the form that is sent.

use super::sign::{SignError, Signed};
use super::{PublicKey, SignatureAlgorithm, SignatureScheme};
use crate::auth::der::{element, tag};

/// Makes what goes into AUTH of a token's `signature` by `scheme` over `octets`; ECDSA's is r and s side by side
/// (PKCS #11 v2.40, section 2.3.1). `key` is the certificate's.
///
/// # Errors
/// [`SignError::SelfCheckFailed`] when it does not verify: the token's key is another one than the certificate's.
pub fn of_token(
    key: &PublicKey,
    scheme: SignatureScheme,
    signature: Vec<u8>,
    octets: &[u8],
) -> Result<Signed, SignError> {
    Signed::of(scheme, checked(key, scheme, signature, octets)?)
}

/// Makes what TLS wants of a token's `signature`: ECDSA's in DER.
///
/// # Errors
/// As [`of_token`].
pub fn bare_of_token(
    key: &PublicKey,
    algorithm: SignatureAlgorithm,
    signature: Vec<u8>,
    octets: &[u8],
) -> Result<Vec<u8>, SignError> {
    checked(key, SignatureScheme::Rfc7427(algorithm), signature, octets)
}

fn checked(key: &PublicKey, scheme: SignatureScheme, signature: Vec<u8>, octets: &[u8]) -> Result<Vec<u8>, SignError> {
    use SignatureAlgorithm::{EcdsaSha256, EcdsaSha384, EcdsaSha512};
    let signature = match scheme {
        SignatureScheme::Rfc7427(EcdsaSha256 | EcdsaSha384 | EcdsaSha512) => in_der(&signature),
        _ => signature,
    };
    if key.check(scheme, octets, &signature) { Ok(signature) } else { Err(SignError::SelfCheckFailed) }
}

/// Writes r and s as ECDSA-Sig-Value (RFC 3279 §2.2.3).
fn in_der(signature: &[u8]) -> Vec<u8> {
    let (r, s) = signature.split_at(signature.len() / 2);
    let numbers = [r, s].map(|number| {
        let significant: Vec<u8> = number.iter().copied().skip_while(|octet| *octet == 0).collect();
        let sign: &[u8] = if significant.first().is_none_or(|octet| *octet >= 0x80) { &[0] } else { &[] };
        element(tag::INTEGER, &[sign, &significant].concat())
    });
    element(tag::SEQUENCE, &numbers.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::PrivateKey;
    use crate::auth::signature::sign_with;
    use crate::random::SeededRandom;

    #[test]
    fn a_tokens_signature_is_sent_only_where_the_certificates_key_verifies_it() {
        let pem = |name: &str| {
            let file = format!("{}/tests-data/{name}", env!("CARGO_MANIFEST_DIR"));
            PrivateKey::from_pem(&std::fs::read_to_string(file).unwrap()).unwrap()
        };
        let (key, other) = (pem("p256.pkcs8.pem"), pem("p256-of-gateway.pem"));
        let public = PublicKey::from_info(&key.public_key_info()).unwrap();
        let scheme = SignatureScheme::Rfc7427(SignatureAlgorithm::EcdsaSha256);
        // Method 9 has r and s side by side, as a token gives them. Every few one begins with a zero.
        for number in 0..40_u8 {
            let octets = [number; 7];
            let raw =
                |key| sign_with(key, SignatureScheme::EcdsaP256, &octets, &mut SeededRandom::new(1)).unwrap().data;
            let signed = of_token(&public, scheme, raw(&key), &octets).unwrap();
            assert_eq!(signed.scheme, scheme);
            assert_eq!(of_token(&public, scheme, raw(&other), &octets).unwrap_err(), SignError::SelfCheckFailed);
            let classic = of_token(&public, SignatureScheme::EcdsaP256, raw(&key), &octets);
            assert!(classic.is_ok(), "method 9 has no DER");
        }
        assert_eq!(of_token(&public, scheme, Vec::new(), b"").unwrap_err(), SignError::SelfCheckFailed);
    }
}
