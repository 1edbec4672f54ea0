//! Making our own signature, where the private key lives.

use super::RsaPadding;
use super::{SignatureAlgorithm, SignatureHashes, SignatureScheme, algorithm_identifier, choose, rsa_sha1};
use crate::auth::private_key::{Material, PrivateKey};
use crate::auth::signature::KeyKind;
use crate::random::{Random, RandomUnavailable};
use p256::ecdsa::signature::hazmat::PrehashSigner;
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, RsaKeyPair};

/// What goes into the AUTH payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// How it was signed; [`SignatureScheme::method`] is the payload's method.
    pub scheme: SignatureScheme,
    /// The authentication data, for method 14 with its AlgorithmIdentifier.
    pub data: Vec<u8>,
}

/// No signature was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The gateway announced hashes, but none that may be used with this key.
    #[error("the gateway accepts no signature that this {0} key can make")]
    NoSharedHash(KeyKind),
    /// The scheme is not one for this key.
    #[error("this {0} key cannot make the signature that was asked for")]
    SchemeMismatch(KeyKind),
    /// The key's numbers do not fit each other.
    #[error("the private key cannot be used")]
    KeyUnusable,
    /// The fresh signature does not verify: a fault in memory or processor. It is not given away.
    #[error("the signature did not verify after it was made; it was discarded")]
    SelfCheckFailed,
    /// No randomness.
    #[error(transparent)]
    Random(RandomUnavailable),
}

/// Signs `octets` in the way that [`choose`] picks for a gateway that announced `announced` (empty when it
/// sent no such notify).
///
/// # Errors
/// See [`SignError`].
pub fn sign(
    key: &PrivateKey,
    announced: &SignatureHashes,
    octets: &[u8],
    random: &mut dyn Random,
) -> Result<Signed, SignError> {
    let scheme = choose(key.kind(), announced, RsaPadding::Pkcs1).ok_or(SignError::NoSharedHash(key.kind()))?;
    sign_with(key, scheme, octets, random)
}

/// Signs `octets` in a given way.
///
/// # Errors
/// See [`SignError`].
pub fn sign_with(
    key: &PrivateKey,
    scheme: SignatureScheme,
    octets: &[u8],
    random: &mut dyn Random,
) -> Result<Signed, SignError> {
    Signed::of(scheme, signature(key, scheme, octets, random)?)
}

impl Signed {
    /// Puts the AlgorithmIdentifier in front where the scheme wants it.
    pub(super) fn of(scheme: SignatureScheme, signature: Vec<u8>) -> Result<Self, SignError> {
        let data = match scheme {
            SignatureScheme::Rfc7427(algorithm) => {
                let identifier = algorithm_identifier::encode(algorithm);
                let length = u8::try_from(identifier.len()).map_err(|_| SignError::KeyUnusable)?;
                [&[length], identifier.as_slice(), &signature].concat()
            }
            _ => signature,
        };
        Ok(Self { scheme, data })
    }
}

/// Signs `octets` by `algorithm` and gives the bare signature, as TLS wants it: ECDSA's in DER.
///
/// # Errors
/// See [`SignError`].
pub fn sign_bare(
    key: &PrivateKey,
    algorithm: SignatureAlgorithm,
    octets: &[u8],
    random: &mut dyn Random,
) -> Result<Vec<u8>, SignError> {
    signature(key, SignatureScheme::Rfc7427(algorithm), octets, random)
}

fn signature(
    key: &PrivateKey,
    scheme: SignatureScheme,
    octets: &[u8],
    random: &mut dyn Random,
) -> Result<Vec<u8>, SignError> {
    match (key.material(), scheme) {
        (Material::Rsa(pkcs1), SignatureScheme::RsaSha1) => rsa_sha1::sign(pkcs1, octets, random),
        (Material::Rsa(pkcs1), SignatureScheme::Rfc7427(algorithm)) => {
            let padding = rsa_padding(algorithm).ok_or(SignError::SchemeMismatch(key.kind()))?;
            rsa(pkcs1, padding, octets)
        }
        (Material::Ecdsa { kind: KeyKind::EcdsaP521, scalar, .. }, scheme) => p521(scalar, scheme, octets),
        (Material::Ecdsa { kind, scalar, point }, scheme) => {
            let algorithm = ecdsa_algorithm(*kind, scheme).ok_or(SignError::SchemeMismatch(key.kind()))?;
            ecdsa(algorithm, scalar, point, octets)
        }
        (Material::Ed25519 { seed, public }, SignatureScheme::Rfc7427(SignatureAlgorithm::Ed25519)) => {
            let pair = Ed25519KeyPair::from_seed_and_public_key(seed.as_slice(), public);
            Ok(pair.map_err(|_| SignError::KeyUnusable)?.sign(octets).as_ref().to_vec())
        }
        _ => Err(SignError::SchemeMismatch(key.kind())),
    }
}

/// ring has no P-521. The nonce follows from key and message (RFC 6979), so no randomness can spoil it.
fn p521(scalar: &[u8], scheme: SignatureScheme, octets: &[u8]) -> Result<Vec<u8>, SignError> {
    let key = p521::ecdsa::SigningKey::from_slice(scalar).map_err(|_| SignError::KeyUnusable)?;
    let digest = ring::digest::digest(&ring::digest::SHA512, octets);
    let signed: p521::ecdsa::Signature = key.sign_prehash(digest.as_ref()).map_err(|_| SignError::KeyUnusable)?;
    match scheme {
        SignatureScheme::EcdsaP521 => Ok(signed.to_bytes().to_vec()),
        SignatureScheme::Rfc7427(SignatureAlgorithm::EcdsaSha512) => Ok(signed.to_der().as_bytes().to_vec()),
        _ => Err(SignError::SchemeMismatch(KeyKind::EcdsaP521)),
    }
}

fn rsa_padding(algorithm: SignatureAlgorithm) -> Option<&'static dyn signature::RsaEncoding> {
    use SignatureAlgorithm as A;
    Some(match algorithm {
        A::RsaPkcs1Sha256 => &signature::RSA_PKCS1_SHA256,
        A::RsaPkcs1Sha384 => &signature::RSA_PKCS1_SHA384,
        A::RsaPkcs1Sha512 => &signature::RSA_PKCS1_SHA512,
        A::RsaPssSha256 => &signature::RSA_PSS_SHA256,
        A::RsaPssSha384 => &signature::RSA_PSS_SHA384,
        A::RsaPssSha512 => &signature::RSA_PSS_SHA512,
        _ => return None,
    })
}

fn rsa(pkcs1: &[u8], padding: &'static dyn signature::RsaEncoding, octets: &[u8]) -> Result<Vec<u8>, SignError> {
    let pair = RsaKeyPair::from_der(pkcs1).map_err(|_| SignError::KeyUnusable)?;
    let mut signed = vec![0; pair.public().modulus_len()];
    pair.sign(padding, &SystemRandom::new(), octets, &mut signed).map_err(|_| SignError::KeyUnusable)?;
    Ok(signed)
}

/// Each curve signs with the hash of its own strength, as RFC 4754 has it.
fn ecdsa_algorithm(kind: KeyKind, scheme: SignatureScheme) -> Option<&'static EcdsaSigningAlgorithm> {
    use SignatureAlgorithm::{EcdsaSha256, EcdsaSha384};
    Some(match (kind, scheme) {
        (KeyKind::EcdsaP256, SignatureScheme::EcdsaP256) => &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
        (KeyKind::EcdsaP384, SignatureScheme::EcdsaP384) => &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
        (KeyKind::EcdsaP256, SignatureScheme::Rfc7427(EcdsaSha256)) => &signature::ECDSA_P256_SHA256_ASN1_SIGNING,
        (KeyKind::EcdsaP384, SignatureScheme::Rfc7427(EcdsaSha384)) => &signature::ECDSA_P384_SHA384_ASN1_SIGNING,
        _ => return None,
    })
}

fn ecdsa(
    algorithm: &'static EcdsaSigningAlgorithm,
    scalar: &[u8],
    point: &[u8],
    octets: &[u8],
) -> Result<Vec<u8>, SignError> {
    let random = SystemRandom::new();
    let pair = EcdsaKeyPair::from_private_key_and_public_key(algorithm, scalar, point, &random)
        .map_err(|_| SignError::KeyUnusable)?;
    let signed = pair.sign(&random, octets).map_err(|_| SignError::Random(RandomUnavailable))?;
    Ok(signed.as_ref().to_vec())
}
