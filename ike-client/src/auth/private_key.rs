//! The own private key, as read from PEM.
//!
//! PKCS#8 (also encrypted), PKCS#1 (RSA) and SEC1 (ECDSA) files are read; RSA of 2048 to 4096 bits, ECDSA on P-256, P-384 and P-521,
//! Ed25519.
//! The key lives where files may be read and signs there; it never crosses to the process that speaks
//! with the gateway. Our copies are wiped on drop; ring's, made for the length of one signature, are not.

use super::der::{Reader, element, oid, tag};
use super::encrypted::decrypt;
use super::signature::KeyKind;
use p256::elliptic_curve::sec1::ToSec1Point;
use p256::pkcs8::SecretDocument;
use ring::signature::{Ed25519KeyPair, KeyPair, RsaKeyPair};
use zeroize::Zeroizing;

/// A private key that signs AUTH payloads. It cannot be printed or copied.
pub struct PrivateKey {
    material: Material,
}

pub(super) enum Material {
    /// An `RSAPrivateKey` (PKCS#1) in DER.
    Rsa(Zeroizing<Vec<u8>>),
    /// A scalar and its uncompressed point.
    Ecdsa { kind: KeyKind, scalar: Zeroizing<Vec<u8>>, point: Vec<u8> },
    /// A seed and the public key that follows from it.
    Ed25519 { seed: Zeroizing<[u8; 32]>, public: Vec<u8> },
}

/// A file does not hold a private key that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrivateKeyError {
    /// No `-----BEGIN ... PRIVATE KEY-----`.
    #[error("there is no private key in PEM form in it")]
    NotPem,
    /// The key is protected by a passphrase.
    #[error("the private key is encrypted, and no passphrase was given")]
    Encrypted,
    /// The passphrase is not the one.
    #[error("the passphrase is wrong")]
    WrongPassphrase,
    /// It is protected in a way that is not read: not PBES2, or with a cost out of all measure.
    #[error(
        "the private key is encrypted in a way that is not supported (PBES2 is); write it anew: for PEM by \
         `openssl pkcs8 -topk8`, for PKCS#12 by `openssl pkcs12 -legacy -nodes` and `openssl pkcs12 -export`"
    )]
    EncryptionUnsupported,
    /// The text between the lines is not what the first line says.
    #[error("the private key is malformed: {0}")]
    Malformed(&'static str),
    /// A kind of key that cannot be used.
    #[error("{0} keys are not supported; use RSA (2048 to 4096 bits), Ed25519, or ECDSA on P-256, P-384 or P-521")]
    Unsupported(&'static str),
    /// An RSA key of a size that is not accepted.
    #[error("an RSA key of {bits} bits; 2048 to 4096 are accepted")]
    RsaSize {
        /// The modulus's size.
        bits: usize,
    },
    /// The parts of the key do not fit each other.
    #[error("the private key is inconsistent: {0}")]
    Inconsistent(String),
}

impl PrivateKey {
    /// Reads the first private key in `pem`.
    ///
    /// # Errors
    /// See [`PrivateKeyError`]; no message contains any part of the key.
    pub fn from_pem(pem: &str) -> Result<Self, PrivateKeyError> {
        let block = private_key_block(pem)?;
        if block.contains("ENCRYPTED") {
            return Err(PrivateKeyError::Encrypted);
        }
        let (label, der) =
            SecretDocument::from_pem(block).map_err(|_| PrivateKeyError::Malformed("its text is not base64 of DER"))?;
        match label {
            "PRIVATE KEY" => Self::from_pkcs8(der.as_bytes()),
            "RSA PRIVATE KEY" => Self::from_pkcs1(der.as_bytes()),
            "EC PRIVATE KEY" => Self::from_sec1(der.as_bytes(), None),
            "DSA PRIVATE KEY" => Err(PrivateKeyError::Unsupported("DSA")),
            "OPENSSH PRIVATE KEY" => Err(PrivateKeyError::Unsupported("OpenSSH-format")),
            _ => Err(PrivateKeyError::Malformed("its first line names no known format")),
        }
    }

    /// Reads the first private key in `pem`, which may be encrypted (RFC 5958 §3, by PBES2).
    ///
    /// # Errors
    /// See [`PrivateKeyError`].
    pub fn from_encrypted_pem(pem: &str, passphrase: &str) -> Result<Self, PrivateKeyError> {
        let block = private_key_block(pem)?;
        if !block.contains("ENCRYPTED") {
            return Self::from_pem(block);
        }
        let (label, der) = SecretDocument::from_pem(block).map_err(|_| PrivateKeyError::EncryptionUnsupported)?;
        match label {
            "ENCRYPTED PRIVATE KEY" => Self::from_encrypted_pkcs8(der.as_bytes(), passphrase),
            // OpenSSL's own way of old, by a header of the PEM.
            _ => Err(PrivateKeyError::EncryptionUnsupported),
        }
    }

    /// Reads an EncryptedPrivateKeyInfo.
    pub(super) fn from_encrypted_pkcs8(der: &[u8], passphrase: &str) -> Result<Self, PrivateKeyError> {
        const MALFORMED: PrivateKeyError = PrivateKeyError::Malformed("not an EncryptedPrivateKeyInfo");
        let mut info = Reader::new(der).enter(tag::SEQUENCE).ok_or(MALFORMED)?;
        let algorithm = info.whole(tag::SEQUENCE).ok_or(MALFORMED)?;
        let ciphertext = info.content(tag::OCTET_STRING).ok_or(MALFORMED)?;
        info.finish().ok_or(MALFORMED)?;
        let plain = decrypt(algorithm, ciphertext, passphrase.as_bytes())?;
        // One passphrase in some hundreds leaves a padding that looks right.
        Self::from_pkcs8(&plain).map_err(|error| match error {
            PrivateKeyError::Malformed(_) => PrivateKeyError::WrongPassphrase,
            other => other,
        })
    }

    /// Returns what kind of key it is.
    pub fn kind(&self) -> KeyKind {
        match &self.material {
            Material::Rsa(_) => KeyKind::Rsa,
            Material::Ecdsa { kind, .. } => *kind,
            Material::Ed25519 { .. } => KeyKind::Ed25519,
        }
    }

    /// Returns the public half as a subjectPublicKeyInfo in DER, to be compared with a certificate's.
    pub fn public_key_info(&self) -> Vec<u8> {
        let (algorithm, key) = match &self.material {
            Material::Rsa(der) => {
                let mut algorithm = element(tag::OBJECT_IDENTIFIER, oid::RSA_ENCRYPTION);
                algorithm.extend(element(tag::NULL, &[]));
                (algorithm, rsa_public_key(der).unwrap_or_default())
            }
            Material::Ecdsa { kind, point, .. } => {
                let curve = match kind {
                    KeyKind::EcdsaP256 => oid::PRIME256V1,
                    KeyKind::EcdsaP384 => oid::SECP384R1,
                    _ => oid::SECP521R1,
                };
                let mut algorithm = element(tag::OBJECT_IDENTIFIER, oid::EC_PUBLIC_KEY);
                algorithm.extend(element(tag::OBJECT_IDENTIFIER, curve));
                (algorithm, point.clone())
            }
            Material::Ed25519 { public, .. } => (element(tag::OBJECT_IDENTIFIER, oid::ED25519), public.clone()),
        };
        let mut info = element(tag::SEQUENCE, &algorithm);
        info.extend(element(tag::BIT_STRING, &[&[0], key.as_slice()].concat()));
        element(tag::SEQUENCE, &info)
    }

    pub(super) const fn material(&self) -> &Material {
        &self.material
    }

    pub(super) fn from_pkcs8(der: &[u8]) -> Result<Self, PrivateKeyError> {
        const MALFORMED: PrivateKeyError = PrivateKeyError::Malformed("not a PKCS#8 PrivateKeyInfo");
        let mut outer = Reader::new(der);
        let mut info = outer.enter(tag::SEQUENCE).ok_or(MALFORMED)?;
        info.unsigned().ok_or(MALFORMED)?;
        let mut algorithm = info.enter(tag::SEQUENCE).ok_or(MALFORMED)?;
        let key = info.content(tag::OCTET_STRING).ok_or(MALFORMED)?;
        match algorithm.content(tag::OBJECT_IDENTIFIER).ok_or(MALFORMED)? {
            oid::RSA_ENCRYPTION => Self::from_pkcs1(key),
            oid::EC_PUBLIC_KEY => {
                let curve = algorithm.content(tag::OBJECT_IDENTIFIER).ok_or(MALFORMED)?;
                Self::from_sec1(key, Some(curve))
            }
            oid::RSASSA_PSS => Err(PrivateKeyError::Unsupported("RSA keys restricted to PSS")),
            oid::ED25519 => Self::from_ed25519(key),
            oid::ED448 => Err(PrivateKeyError::Unsupported("Ed448")),
            _ => Err(PrivateKeyError::Unsupported("these")),
        }
    }

    fn from_pkcs1(der: &[u8]) -> Result<Self, PrivateKeyError> {
        let key = RsaComponents::read(der).ok_or(PrivateKeyError::Malformed("not an RSAPrivateKey"))?;
        let bits = key.modulus_bits();
        if !(2048..=4096).contains(&bits) {
            return Err(PrivateKeyError::RsaSize { bits });
        }
        RsaKeyPair::from_der(der).map_err(|rejected| PrivateKeyError::Inconsistent(rejected.to_string()))?;
        Ok(Self { material: Material::Rsa(Zeroizing::new(der.to_vec())) })
    }

    /// Reads a CurvePrivateKey (RFC 8410 §7): a seed in an OCTET STRING of its own.
    fn from_ed25519(key: &[u8]) -> Result<Self, PrivateKeyError> {
        const MALFORMED: PrivateKeyError = PrivateKeyError::Malformed("not a CurvePrivateKey");
        let seed = Reader::new(key).content(tag::OCTET_STRING).ok_or(MALFORMED)?;
        let seed = Zeroizing::new(<[u8; 32]>::try_from(seed).map_err(|_| MALFORMED)?);
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_slice()).map_err(|_| MALFORMED)?;
        Ok(Self { material: Material::Ed25519 { public: pair.public_key().as_ref().to_vec(), seed } })
    }

    fn from_sec1(der: &[u8], curve: Option<&[u8]>) -> Result<Self, PrivateKeyError> {
        const MALFORMED: PrivateKeyError = PrivateKeyError::Malformed("not an ECPrivateKey");
        let mut outer = Reader::new(der);
        let mut key = outer.enter(tag::SEQUENCE).ok_or(MALFORMED)?;
        key.unsigned().filter(|version| *version == [1]).ok_or(MALFORMED)?;
        let scalar = Zeroizing::new(key.content(tag::OCTET_STRING).ok_or(MALFORMED)?.to_vec());
        let mut named = None;
        while let Some((found, content)) = key.element() {
            if found == 0xa0 {
                named = Reader::new(content).content(tag::OBJECT_IDENTIFIER);
            }
        }
        let out_of_range = |_| PrivateKeyError::Inconsistent("the scalar does not fit its curve".to_owned());
        let (kind, point) = match curve.or(named) {
            Some(oid::PRIME256V1) => {
                let secret = p256::SecretKey::from_slice(&scalar).map_err(out_of_range)?;
                (KeyKind::EcdsaP256, secret.public_key().to_sec1_point(false).as_bytes().to_vec())
            }
            Some(oid::SECP384R1) => {
                let secret = p384::SecretKey::from_slice(&scalar).map_err(out_of_range)?;
                (KeyKind::EcdsaP384, secret.public_key().to_sec1_point(false).as_bytes().to_vec())
            }
            Some(oid::SECP521R1) => {
                let secret = p521::SecretKey::from_slice(&scalar).map_err(out_of_range)?;
                (KeyKind::EcdsaP521, secret.public_key().to_sec1_point(false).as_bytes().to_vec())
            }
            Some(_) => return Err(PrivateKeyError::Unsupported("ECDSA on other curves")),
            None => return Err(PrivateKeyError::Malformed("the elliptic curve is not named")),
        };
        Ok(Self { material: Material::Ecdsa { kind, scalar, point } })
    }
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PrivateKey({})", self.kind())
    }
}

/// Cuts out the first private key with its BEGIN and END lines; "EC PARAMETERS" and certificates in front
/// of it are passed over.
fn private_key_block(pem: &str) -> Result<&str, PrivateKeyError> {
    const CUT: PrivateKeyError = PrivateKeyError::Malformed("its END line is missing");
    let mut rest = pem;
    loop {
        let begin = rest.find("-----BEGIN ").ok_or(PrivateKeyError::NotPem)?;
        let block = rest.get(begin..).ok_or(CUT)?;
        let end_line = block.find("-----END ").ok_or(CUT)?;
        let after = block.get(end_line..).ok_or(CUT)?;
        let end = after.get(9..).and_then(|tail| tail.find("-----")).ok_or(CUT)? + end_line + 9 + 5;
        let (block, tail) = block.split_at_checked(end).ok_or(CUT)?;
        if block.lines().next().is_some_and(|line| line.contains("PRIVATE KEY-----")) {
            return Ok(block);
        }
        rest = tail;
    }
}

/// The numbers of an RSA key that the private operation needs, big-endian without leading zeros.
pub(super) struct RsaComponents<'a> {
    pub modulus: &'a [u8],
    pub public_exponent: &'a [u8],
    pub private_exponent: &'a [u8],
}

impl<'a> RsaComponents<'a> {
    pub(super) fn read(pkcs1: &'a [u8]) -> Option<Self> {
        let mut outer = Reader::new(pkcs1);
        let mut key = outer.enter(tag::SEQUENCE)?;
        outer.finish()?;
        key.unsigned().filter(|version| version.is_empty())?;
        Some(Self { modulus: key.unsigned()?, public_exponent: key.unsigned()?, private_exponent: key.unsigned()? })
    }

    pub(super) fn modulus_bits(&self) -> usize {
        let unused = self.modulus.first().map_or(0, |byte| byte.leading_zeros());
        (self.modulus.len() * 8).saturating_sub(usize::try_from(unused).unwrap_or(0))
    }
}

/// Writes the `RSAPublicKey` that belongs to an `RSAPrivateKey`.
pub(super) fn rsa_public_key(pkcs1: &[u8]) -> Option<Vec<u8>> {
    let key = RsaComponents::read(pkcs1)?;
    let mut numbers = Vec::new();
    for number in [key.modulus, key.public_exponent] {
        let sign: &[u8] = if number.first().is_some_and(|byte| *byte >= 0x80) { &[0] } else { &[] };
        numbers.extend(element(tag::INTEGER, &[sign, number].concat()));
    }
    Some(element(tag::SEQUENCE, &numbers))
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! pem {
        ($name:literal) => {
            include_str!(concat!("../../tests-data/", $name))
        };
    }

    fn read(pem: &str) -> Result<PrivateKey, PrivateKeyError> {
        PrivateKey::from_pem(pem)
    }

    #[test]
    fn one_key_is_the_same_key_in_every_format() {
        for (pkcs8, other, kind) in [
            (pem!("rsa2048.pkcs8.pem"), pem!("rsa2048.pkcs1.pem"), KeyKind::Rsa),
            (pem!("p256.pkcs8.pem"), pem!("p256.sec1.pem"), KeyKind::EcdsaP256),
            (pem!("p384.pkcs8.pem"), pem!("p384.sec1.pem"), KeyKind::EcdsaP384),
        ] {
            let (pkcs8, other) = (read(pkcs8).unwrap(), read(other).unwrap());
            assert_eq!((pkcs8.kind(), other.kind()), (kind, kind));
            assert_eq!(pkcs8.public_key_info(), other.public_key_info());
        }
    }

    #[test]
    fn the_curves_beyond_ring_are_read_too() {
        assert_eq!(read(pem!("p521.sec1.pem")).unwrap().kind(), KeyKind::EcdsaP521);
        assert_eq!(read(pem!("ed25519.pem")).unwrap().kind(), KeyKind::Ed25519);
    }

    #[test]
    fn windows_line_ends_and_text_around_the_key_do_no_harm() {
        let pem = format!("Bag Attributes\r\n{}\r\ntrailing\r\n", pem!("p256.pkcs8.pem").replace('\n', "\r\n"));
        assert_eq!(read(&pem).unwrap().kind(), KeyKind::EcdsaP256);
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_its_name() {
        use PrivateKeyError as E;
        let error = |pem: &str| read(pem).unwrap_err();
        assert_eq!(error(""), E::NotPem);
        assert_eq!(error("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), E::NotPem);
        assert_eq!(error(pem!("rsa-encrypted.pkcs8.pem")), E::Encrypted);
        assert_eq!(error(pem!("rsa-encrypted.pkcs1.pem")), E::Encrypted);
        assert_eq!(error(pem!("rsa1024.pem")), E::RsaSize { bits: 1024 });
        let cut: String = pem!("rsa2048.pkcs8.pem").lines().take(5).collect::<Vec<_>>().join("\n");
        assert_eq!(error(&cut), E::Malformed("its END line is missing"));
        let not_base64 = "-----BEGIN PRIVATE KEY-----\n!!!!\n-----END PRIVATE KEY-----\n";
        assert!(matches!(error(not_base64), E::Malformed(_)));
    }

    #[test]
    fn encrypted_keys_are_opened_by_their_passphrase_alone() {
        use PrivateKeyError as E;
        let plain = PrivateKey::from_encrypted_pem(pem!("p256.pkcs8.pem"), "").unwrap();
        assert_eq!(plain.kind(), KeyKind::EcdsaP256, "a key that needs none");
        let keys: Vec<Vec<u8>> = [pem!("p256-pbkdf2.pem"), pem!("p256-scrypt.pem")]
            .iter()
            .map(|pem| {
                for wrong in ["", "Correct"] {
                    assert_eq!(PrivateKey::from_encrypted_pem(pem, wrong).unwrap_err(), E::WrongPassphrase);
                }
                PrivateKey::from_encrypted_pem(pem, "correct").unwrap().public_key_info()
            })
            .collect();
        assert_eq!(keys[0], keys[1], "one key behind both ways");
        let of_old = PrivateKey::from_encrypted_pem(pem!("rsa-encrypted.pkcs1.pem"), "correct").unwrap_err();
        assert_eq!(of_old, E::EncryptionUnsupported);
    }

    #[test]
    fn a_damaged_rsa_key_is_found_out_when_it_is_read() {
        let good = pem!("rsa2048.pkcs8.pem");
        let line = good.lines().nth(3).unwrap();
        let swapped: String = line.chars().rev().collect();
        assert!(matches!(read(&good.replace(line, &swapped)), Err(PrivateKeyError::Inconsistent(_))));
    }

    #[test]
    fn a_key_is_never_printed() {
        let key = read(pem!("p256.pkcs8.pem")).unwrap();
        assert_eq!(format!("{key:?}"), "PrivateKey(ECDSA P-256)");
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "(-----BEGIN |-----END |PRIVATE KEY|-----|[A-Z\n=]){0,12}") {
            let _ = read(&text);
        }
    }
}
