//! A private key with its certificates in one file: PKCS#12 (RFC 7292), as OpenSSL 3 and today's systems write it.
//!
//! In: the file and its passphrase. Out: the key, and the certificates from its own upwards. The file must be DER,
//! protected by a passphrase; its parts by PBES2. The ways of old (RC2, triple DES) are told apart and refused: whoever
//! has such a file is told how to write it anew.

use super::certificate;
use super::der::{Reader, tag};
use super::encrypted::decrypt;
use super::private_key::{PrivateKey, PrivateKeyError};
use ring::{digest, hmac};
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

/// The most rounds of its key derivation, and the most certificates.
const MAX_ITERATIONS: usize = 10_000_000;
const MAX_CERTIFICATES: usize = 16;

const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
const ENCRYPTED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 6];
const KEY_BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 10, 1, 1];
const SHROUDED_KEY_BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 10, 1, 2];
const CERTIFICATE_BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 10, 1, 3];
const X509_CERTIFICATE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 22, 1];

/// Hashes of the integrity check: object identifier, hash, HMAC, and the length of the hash's block.
const HASHES: [(&[u8], &digest::Algorithm, hmac::Algorithm, usize); 4] = [
    (&[0x2b, 14, 3, 2, 26], &digest::SHA1_FOR_LEGACY_USE_ONLY, hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, 64),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1], &digest::SHA256, hmac::HMAC_SHA256, 64),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2], &digest::SHA384, hmac::HMAC_SHA384, 128),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3], &digest::SHA512, hmac::HMAC_SHA512, 128),
];

const MALFORMED: PrivateKeyError = PrivateKeyError::Malformed("not a PKCS#12 file in DER");

/// What was in a file.
#[derive(Debug)]
pub struct Contents {
    /// The key.
    pub key: PrivateKey,
    /// Its certificate, then those above it, DER.
    pub chain: Vec<Vec<u8>>,
}

/// Tells whether `octets` begin as a PKCS#12 file does; nothing needs a passphrase for that.
pub fn is_pkcs12(octets: &[u8]) -> bool {
    let read = || {
        let mut file = Reader::new(octets).enter(tag::SEQUENCE)?;
        file.unsigned().filter(|version| *version == [3])?;
        file.enter(tag::SEQUENCE)?.content(tag::OBJECT_IDENTIFIER).filter(|kind| *kind == DATA)
    };
    read().is_some()
}

/// Opens a file.
///
/// # Errors
/// [`PrivateKeyError::WrongPassphrase`], [`PrivateKeyError::EncryptionUnsupported`] for the ways of old, and what else
/// keeps the key in it from use.
pub fn open(der: &[u8], passphrase: &str) -> Result<Contents, PrivateKeyError> {
    let mut outer = Reader::new(der);
    let mut file = outer.enter(tag::SEQUENCE).ok_or(MALFORMED)?;
    outer.finish().ok_or(MALFORMED)?;
    file.unsigned().filter(|version| *version == [3]).ok_or(MALFORMED)?;
    let safe = content(&mut file.enter(tag::SEQUENCE).ok_or(MALFORMED)?).ok_or(MALFORMED)?;
    let mut mac = file.enter(tag::SEQUENCE).ok_or(PrivateKeyError::Malformed("a PKCS#12 file without passphrase"))?;
    check(&mut mac, safe, passphrase)?;

    let mut bags = Bags::default();
    let mut safes = Reader::new(safe).enter(tag::SEQUENCE).ok_or(MALFORMED)?;
    while !safes.is_empty() {
        let mut info = safes.enter(tag::SEQUENCE).ok_or(MALFORMED)?;
        let mut ahead = info;
        match ahead.content(tag::OBJECT_IDENTIFIER) {
            Some(ENCRYPTED_DATA) => bags.read(&encrypted(&mut info, passphrase)?, passphrase)?,
            _ => bags.read(content(&mut info).ok_or(MALFORMED)?, passphrase)?,
        }
    }
    let key = bags.key.ok_or(PrivateKeyError::Malformed("a PKCS#12 file without private key"))?;
    let chain = ordered(bags.certificates, &key)?;
    Ok(Contents { key, chain })
}

/// Takes a ContentInfo that is plain data.
fn content<'a>(info: &mut Reader<'a>) -> Option<&'a [u8]> {
    info.content(tag::OBJECT_IDENTIFIER).filter(|kind| *kind == DATA)?;
    info.enter(0xa0)?.content(tag::OCTET_STRING)
}

/// Takes a ContentInfo that is encrypted data, and decrypts it.
fn encrypted(info: &mut Reader<'_>, passphrase: &str) -> Result<Zeroizing<Vec<u8>>, PrivateKeyError> {
    let mut read = || {
        info.content(tag::OBJECT_IDENTIFIER)?;
        let mut data = info.enter(0xa0)?.enter(tag::SEQUENCE)?;
        data.unsigned()?;
        let mut inner = data.enter(tag::SEQUENCE)?;
        inner.content(tag::OBJECT_IDENTIFIER).filter(|kind| *kind == DATA)?;
        Some((inner.whole(tag::SEQUENCE)?, inner.content(0x80)?))
    };
    let (algorithm, ciphertext) = read().ok_or(MALFORMED)?;
    decrypt(algorithm, ciphertext, passphrase.as_bytes())
}

/// What the bags hold.
#[derive(Default)]
struct Bags {
    key: Option<PrivateKey>,
    certificates: Vec<Vec<u8>>,
}

impl Bags {
    /// Reads SafeContents. The first key counts; bags of other kinds are passed over.
    fn read(&mut self, contents: &[u8], passphrase: &str) -> Result<(), PrivateKeyError> {
        let mut bags = Reader::new(contents).enter(tag::SEQUENCE).ok_or(MALFORMED)?;
        while !bags.is_empty() {
            let mut bag = bags.enter(tag::SEQUENCE).ok_or(MALFORMED)?;
            let kind = bag.content(tag::OBJECT_IDENTIFIER).ok_or(MALFORMED)?;
            let mut value = bag.enter(0xa0).ok_or(MALFORMED)?;
            match kind {
                KEY_BAG if self.key.is_none() => {
                    self.key = Some(PrivateKey::from_pkcs8(value.whole(tag::SEQUENCE).ok_or(MALFORMED)?)?);
                }
                SHROUDED_KEY_BAG if self.key.is_none() => {
                    let der = value.whole(tag::SEQUENCE).ok_or(MALFORMED)?;
                    self.key = Some(PrivateKey::from_encrypted_pkcs8(der, passphrase)?);
                }
                CERTIFICATE_BAG => self.certificate(value)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn certificate(&mut self, mut value: Reader<'_>) -> Result<(), PrivateKeyError> {
        let mut bag = value.enter(tag::SEQUENCE).ok_or(MALFORMED)?;
        if bag.content(tag::OBJECT_IDENTIFIER) == Some(X509_CERTIFICATE) {
            let der = bag.enter(0xa0).and_then(|mut inner| inner.content(tag::OCTET_STRING)).ok_or(MALFORMED)?;
            if self.certificates.len() == MAX_CERTIFICATES {
                return Err(PrivateKeyError::Malformed("a PKCS#12 file with too many certificates"));
            }
            self.certificates.push(der.to_vec());
        }
        Ok(())
    }
}

/// Returns the key's certificate and what is above it, in that order; a root, which the peer has, is left out.
fn ordered(mut certificates: Vec<Vec<u8>>, key: &PrivateKey) -> Result<Vec<Vec<u8>>, PrivateKeyError> {
    let info = key.public_key_info();
    let own = certificates.iter().position(|der| certificate::holds_key(der, &info).unwrap_or(false));
    let own = own.ok_or(PrivateKeyError::Malformed("a PKCS#12 file without the certificate of its key"))?;
    let mut chain = vec![certificates.swap_remove(own)];
    let names = |der: &[u8]| {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        Some((certificate.subject().as_raw().to_vec(), certificate.issuer().as_raw().to_vec()))
    };
    while let Some((_, issuer)) = chain.last().and_then(|der| names(der)) {
        let above = certificates
            .iter()
            .position(|der| names(der).is_some_and(|(subject, its_issuer)| subject == issuer && its_issuer != subject));
        match above {
            Some(index) => chain.push(certificates.swap_remove(index)),
            None => break,
        }
    }
    Ok(chain)
}

/// Checks the file's integrity, and with it the passphrase (RFC 7292 §5.1, appendix B).
fn check(mac: &mut Reader<'_>, safe: &[u8], passphrase: &str) -> Result<(), PrivateKeyError> {
    let mut read = || {
        let mut info = mac.enter(tag::SEQUENCE)?;
        let hash = info.enter(tag::SEQUENCE)?.content(tag::OBJECT_IDENTIFIER)?;
        let value = info.content(tag::OCTET_STRING)?;
        let salt = mac.content(tag::OCTET_STRING)?;
        let iterations = if mac.is_empty() { &[1][..] } else { mac.unsigned()? };
        let iterations = iterations.iter().try_fold(0_usize, |sum, octet| {
            sum.checked_mul(256).and_then(|sum| sum.checked_add(usize::from(*octet)))
        })?;
        Some((hash, value, salt, iterations))
    };
    let (hash, value, salt, iterations) = read().ok_or(MALFORMED)?;
    let known = HASHES.iter().find(|(identifier, ..)| *identifier == hash);
    let (_, hash, algorithm, block) = known.ok_or(PrivateKeyError::EncryptionUnsupported)?;
    if !(1..=MAX_ITERATIONS).contains(&iterations) {
        return Err(PrivateKeyError::EncryptionUnsupported);
    }
    let key = derive(hash, *block, passphrase, salt, iterations);
    hmac::verify(&hmac::Key::new(*algorithm, &key), safe, value).map_err(|_| PrivateKeyError::WrongPassphrase)
}

/// The derivation of appendix B.2 for the integrity check's key, which is as long as the hash: one block of it.
fn derive(
    hash: &'static digest::Algorithm,
    block: usize,
    passphrase: &str,
    salt: &[u8],
    iterations: usize,
) -> Zeroizing<Vec<u8>> {
    /// The diversifier of integrity keys (appendix B.3).
    const INTEGRITY: u8 = 3;
    let passphrase: Zeroizing<Vec<u8>> =
        Zeroizing::new(passphrase.encode_utf16().chain([0]).flat_map(u16::to_be_bytes).collect());
    let filled = |octets: &[u8]| -> Zeroizing<Vec<u8>> {
        let length = octets.len().div_ceil(block).saturating_mul(block);
        Zeroizing::new(octets.iter().copied().cycle().take(length).collect())
    };
    let mut context = digest::Context::new(hash);
    context.update(&vec![INTEGRITY; block]);
    context.update(&filled(salt));
    context.update(&filled(&passphrase));
    let mut key = Zeroizing::new(context.finish().as_ref().to_vec());
    for _ in 1..iterations {
        *key = digest::digest(hash, &key).as_ref().to_vec();
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::signature::KeyKind;

    fn data(name: &str) -> Vec<u8> {
        std::fs::read(format!("{}/tests-data/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    #[test]
    fn what_openssl_3_exports_is_opened_by_its_passphrase_alone() {
        let file = data("p256.p12");
        assert!(is_pkcs12(&file));
        let contents = open(&file, "correct hörse").unwrap();
        assert_eq!(contents.key.kind(), KeyKind::EcdsaP256);
        assert_eq!(contents.chain, [data("revocation-gateway.der")], "without the root");
        for wrong in ["", "correct horse", "correct hörse "] {
            assert_eq!(open(&file, wrong).unwrap_err(), PrivateKeyError::WrongPassphrase, "{wrong}");
        }
    }

    #[test]
    fn a_file_of_old_says_how_to_write_it_anew() {
        let error = open(&data("p256-legacy.p12"), "correct").unwrap_err();
        assert_eq!(error, PrivateKeyError::EncryptionUnsupported);
        assert!(error.to_string().contains("openssl pkcs12 -legacy"), "{error}");
        assert_eq!(open(&data("p256-legacy.p12"), "wrong").unwrap_err(), PrivateKeyError::WrongPassphrase);
    }

    #[test]
    fn no_changed_octet_gives_another_key_and_none_can_be_cut_off() {
        let file = data("p256.p12");
        assert!(!is_pkcs12(b"-----BEGIN PRIVATE KEY-----"));
        for index in (0..file.len()).step_by(13) {
            let mut changed = file.clone();
            changed[index] ^= 0x40;
            if let Ok(contents) = open(&changed, "correct hörse") {
                // Parameters of the hash that nobody reads.
                assert_eq!(contents.chain, [data("revocation-gateway.der")], "{index}");
            }
            assert!(open(&file[..index], "correct hörse").is_err(), "{index}");
        }
    }
}
