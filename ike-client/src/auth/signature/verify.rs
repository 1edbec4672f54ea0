//! Checking the gateway's signature.

use super::{SignatureAlgorithm, SignatureHashes, SignatureScheme, algorithm_identifier, method};
use crate::auth::der::{Reader, oid, tag};
use crate::auth::signature::KeyKind;
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use ring::{digest, signature};

/// The public key of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    kind: KeyKind,
    /// `RSAPublicKey` in DER, or an uncompressed point.
    octets: Vec<u8>,
}

/// A certificate's key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublicKeyError {
    /// Not a subjectPublicKeyInfo of a known kind.
    #[error("neither RSA nor Ed25519 nor ECDSA on P-256, P-384 or P-521")]
    Unsupported,
    /// RSA with a public exponent of 1, an even one, or one of more than 32 bits.
    #[error("RSA with a public exponent that is not accepted")]
    RsaExponent,
    /// RSA that is too short or too long.
    #[error("RSA of {bits} bits; 2048 to 8192 are accepted")]
    RsaSize {
        /// The modulus's size.
        bits: usize,
    },
}

/// What this side asks of the gateway's signature.
#[derive(Clone, Copy, Debug)]
pub struct SignaturePolicy<'a> {
    /// The hashes that we announced; method 14 must use one of them.
    pub announced_by_us: &'a SignatureHashes,
    /// The hashes that the gateway announced; a gateway that knows method 14 may not fall back to SHA-1.
    pub announced_by_gateway: &'a SignatureHashes,
    /// Whether method 1, which means SHA-1, is accepted at all.
    pub allow_rsa_sha1: bool,
}

/// The gateway's signature is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// An AUTH method that is no signature, or not one of ours.
    #[error("AUTH method {0} is not accepted")]
    MethodNotAccepted(u8),
    /// Method 14 with data that does not start with a known AlgorithmIdentifier.
    #[error("the signature's algorithm is malformed or not accepted")]
    AlgorithmNotAccepted,
    /// Method 14 with a hash that we did not announce.
    #[error("the signature uses a hash that was not announced")]
    HashNotAnnounced,
    /// SHA-1 where something better is known or demanded.
    #[error("the gateway signed with SHA-1, which is not accepted here")]
    Sha1NotAccepted,
    /// The algorithm is not one for the certificate's key.
    #[error("the signature's algorithm does not fit the certificate's key ({0})")]
    KeyMismatch(KeyKind),
    /// The signature is wrong.
    #[error("the signature is wrong")]
    Wrong,
}

impl PublicKey {
    /// Reads a subjectPublicKeyInfo.
    ///
    /// # Errors
    /// See [`PublicKeyError`].
    pub fn from_info(der: &[u8]) -> Result<Self, PublicKeyError> {
        let Info { algorithm, parameters, key } = split_info(der).ok_or(PublicKeyError::Unsupported)?;
        let kind = match (algorithm, parameters) {
            (oid::RSA_ENCRYPTION, _) => KeyKind::Rsa,
            (oid::EC_PUBLIC_KEY, Some(oid::PRIME256V1)) => KeyKind::EcdsaP256,
            (oid::EC_PUBLIC_KEY, Some(oid::SECP384R1)) => KeyKind::EcdsaP384,
            (oid::EC_PUBLIC_KEY, Some(oid::SECP521R1)) => KeyKind::EcdsaP521,
            (oid::ED25519, None) => KeyKind::Ed25519,
            _ => return Err(PublicKeyError::Unsupported),
        };
        if kind == KeyKind::Rsa {
            let (bits, exponent) = rsa_numbers(key).ok_or(PublicKeyError::Unsupported)?;
            if !(2048..=8192).contains(&bits) {
                return Err(PublicKeyError::RsaSize { bits });
            }
            // With 1 every message is its own signature; even ones are no exponents at all.
            let odd = exponent.last().is_some_and(|last| last % 2 == 1);
            if !odd || exponent.len() > 4 || exponent == [1] {
                return Err(PublicKeyError::RsaExponent);
            }
        }
        Ok(Self { kind, octets: key.to_vec() })
    }

    /// Takes a point on P-521 as SEC1 has it; whether it is one shows when it is used.
    pub(in crate::auth) fn from_p521_point(point: &[u8]) -> Self {
        Self { kind: KeyKind::EcdsaP521, octets: point.to_vec() }
    }

    /// Returns what kind of key it is.
    pub const fn kind(&self) -> KeyKind {
        self.kind
    }

    /// Checks `data` of an AUTH payload of `method` over `octets` and returns how they were signed.
    ///
    /// # Errors
    /// See [`SignatureError`].
    pub fn verify(
        &self,
        method: u8,
        data: &[u8],
        octets: &[u8],
        policy: &SignaturePolicy<'_>,
    ) -> Result<SignatureScheme, SignatureError> {
        let (scheme, signed) = match method {
            method::RSA => (SignatureScheme::RsaSha1, data),
            method::ECDSA_256 => (SignatureScheme::EcdsaP256, data),
            method::ECDSA_384 => (SignatureScheme::EcdsaP384, data),
            method::ECDSA_521 => (SignatureScheme::EcdsaP521, data),
            method::DIGITAL_SIGNATURE => split_algorithm(data)
                .map(|(algorithm, signed)| (SignatureScheme::Rfc7427(algorithm), signed))
                .ok_or(SignatureError::AlgorithmNotAccepted)?,
            other => return Err(SignatureError::MethodNotAccepted(other)),
        };
        self.permits(scheme, policy)?;
        if self.check(scheme, octets, signed) { Ok(scheme) } else { Err(SignatureError::Wrong) }
    }

    fn permits(&self, scheme: SignatureScheme, policy: &SignaturePolicy<'_>) -> Result<(), SignatureError> {
        let fits = match scheme {
            SignatureScheme::RsaSha1 => self.kind == KeyKind::Rsa,
            SignatureScheme::EcdsaP256 => self.kind == KeyKind::EcdsaP256,
            SignatureScheme::EcdsaP384 => self.kind == KeyKind::EcdsaP384,
            SignatureScheme::EcdsaP521 => self.kind == KeyKind::EcdsaP521,
            SignatureScheme::Rfc7427(algorithm) => algorithm.fits(self.kind),
        };
        if !fits {
            return Err(SignatureError::KeyMismatch(self.kind));
        }
        match scheme {
            SignatureScheme::RsaSha1 if !policy.allow_rsa_sha1 || !policy.announced_by_gateway.is_empty() => {
                Err(SignatureError::Sha1NotAccepted)
            }
            SignatureScheme::Rfc7427(algorithm) if !policy.announced_by_us.contains(algorithm.hash()) => {
                Err(SignatureError::HashNotAnnounced)
            }
            _ => Ok(()),
        }
    }

    pub(super) fn check(&self, scheme: SignatureScheme, octets: &[u8], signed: &[u8]) -> bool {
        use SignatureAlgorithm as A;
        if self.kind == KeyKind::EcdsaP521 {
            return self.check_p521(scheme, octets, signed);
        }
        let p256 = self.kind == KeyKind::EcdsaP256;
        let algorithm: &'static dyn signature::VerificationAlgorithm = match scheme {
            SignatureScheme::RsaSha1 => &signature::RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
            SignatureScheme::EcdsaP256 => &signature::ECDSA_P256_SHA256_FIXED,
            SignatureScheme::EcdsaP384 => &signature::ECDSA_P384_SHA384_FIXED,
            SignatureScheme::Rfc7427(algorithm) => match algorithm {
                A::RsaPkcs1Sha256 => &signature::RSA_PKCS1_2048_8192_SHA256,
                A::RsaPkcs1Sha384 => &signature::RSA_PKCS1_2048_8192_SHA384,
                A::RsaPkcs1Sha512 => &signature::RSA_PKCS1_2048_8192_SHA512,
                A::RsaPssSha256 => &signature::RSA_PSS_2048_8192_SHA256,
                A::RsaPssSha384 => &signature::RSA_PSS_2048_8192_SHA384,
                A::RsaPssSha512 => &signature::RSA_PSS_2048_8192_SHA512,
                A::EcdsaSha256 if p256 => &signature::ECDSA_P256_SHA256_ASN1,
                A::EcdsaSha256 => &signature::ECDSA_P384_SHA256_ASN1,
                A::EcdsaSha384 if p256 => &signature::ECDSA_P256_SHA384_ASN1,
                A::EcdsaSha384 => &signature::ECDSA_P384_SHA384_ASN1,
                A::EcdsaSha512 => return self.check_ecdsa_sha512(octets, signed),
                A::Ed25519 => &signature::ED25519,
            },
            SignatureScheme::EcdsaP521 => return false,
        };
        signature::UnparsedPublicKey::new(algorithm, &self.octets).verify(octets, signed).is_ok()
    }

    /// Checks a bare signature by `algorithm`, as TLS and certificates have it.
    pub fn verify_bare(&self, algorithm: SignatureAlgorithm, octets: &[u8], signed: &[u8]) -> bool {
        algorithm.fits(self.kind) && self.check(SignatureScheme::Rfc7427(algorithm), octets, signed)
    }

    /// ring has no P-521.
    fn check_p521(&self, scheme: SignatureScheme, octets: &[u8], signed: &[u8]) -> bool {
        use SignatureAlgorithm as A;
        let (hash, signed) = match scheme {
            SignatureScheme::EcdsaP521 => (&digest::SHA512, p521::ecdsa::Signature::from_slice(signed)),
            SignatureScheme::Rfc7427(A::EcdsaSha256) => (&digest::SHA256, p521::ecdsa::Signature::from_der(signed)),
            SignatureScheme::Rfc7427(A::EcdsaSha384) => (&digest::SHA384, p521::ecdsa::Signature::from_der(signed)),
            SignatureScheme::Rfc7427(A::EcdsaSha512) => (&digest::SHA512, p521::ecdsa::Signature::from_der(signed)),
            _ => return false,
        };
        let digest = digest::digest(hash, octets);
        let verified = p521::ecdsa::VerifyingKey::from_sec1_bytes(&self.octets)
            .and_then(|key| key.verify_prehash(digest.as_ref(), &signed?));
        verified.is_ok()
    }

    /// ring has no ECDSA with SHA-512.
    fn check_ecdsa_sha512(&self, octets: &[u8], signed: &[u8]) -> bool {
        let digest = digest::digest(&digest::SHA512, octets);
        let verified = if self.kind == KeyKind::EcdsaP256 {
            p256::ecdsa::VerifyingKey::from_sec1_bytes(&self.octets)
                .and_then(|key| key.verify_prehash(digest.as_ref(), &p256::ecdsa::Signature::from_der(signed)?))
        } else {
            p384::ecdsa::VerifyingKey::from_sec1_bytes(&self.octets)
                .and_then(|key| key.verify_prehash(digest.as_ref(), &p384::ecdsa::Signature::from_der(signed)?))
        };
        verified.is_ok()
    }
}

/// Splits method 14's data: one byte length, AlgorithmIdentifier, signature.
fn split_algorithm(data: &[u8]) -> Option<(SignatureAlgorithm, &[u8])> {
    let (length, rest) = data.split_first()?;
    let (identifier, signed) = rest.split_at_checked(usize::from(*length))?;
    Some((algorithm_identifier::decode(identifier)?, signed))
}

/// The parts of a subjectPublicKeyInfo; the parameters only if they are an object identifier.
struct Info<'a> {
    algorithm: &'a [u8],
    parameters: Option<&'a [u8]>,
    key: &'a [u8],
}

fn split_info(der: &[u8]) -> Option<Info<'_>> {
    let mut outer = Reader::new(der);
    let mut info = outer.enter(tag::SEQUENCE)?;
    outer.finish()?;
    let mut algorithm = info.enter(tag::SEQUENCE)?;
    let key = info.content(tag::BIT_STRING)?.strip_prefix(&[0])?;
    info.finish()?;
    Some(Info {
        algorithm: algorithm.content(tag::OBJECT_IDENTIFIER)?,
        parameters: algorithm.content(tag::OBJECT_IDENTIFIER),
        key,
    })
}

/// Returns the modulus's size in bits and the public exponent's octets.
fn rsa_numbers(key: &[u8]) -> Option<(usize, &[u8])> {
    let mut outer = Reader::new(key);
    let mut numbers = outer.enter(tag::SEQUENCE)?;
    let (modulus, exponent) = (numbers.unsigned()?, numbers.unsigned()?);
    let unused = usize::try_from(modulus.first()?.leading_zeros()).ok()?;
    Some(((modulus.len() * 8).checked_sub(unused)?, exponent))
}
