//! The client's certificate, whose key is not here: what is to be signed is noted down, what was signed is used.

use crate::auth::certificate;
use crate::auth::signature::{KeyKind, SignatureAlgorithm};
use rustls::client::ResolvesClientCert;
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{Error, SignatureScheme};
use std::sync::{Arc, Mutex, PoisonError};

/// A signature that the handshake needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::auth::eap) struct Wanted {
    /// By which algorithm; the signature is bare, in the form that TLS has.
    pub algorithm: SignatureAlgorithm,
    /// What is to be signed, before any hash.
    pub octets: Vec<u8>,
}

/// A signature that was made.
#[derive(Clone)]
pub(super) struct Given {
    pub wanted: Wanted,
    pub signature: Vec<u8>,
}

/// What passes between the handshake and the one who signs.
#[derive(Default)]
pub(super) struct Desk {
    pub wanted: Option<Wanted>,
    pub given: Option<Given>,
}

/// The certificate and the desk.
pub(super) struct ClientKey {
    kind: KeyKind,
    chain: Vec<Vec<u8>>,
    desk: Arc<Mutex<Desk>>,
}

impl ClientKey {
    /// Takes the own chain (DER, own certificate first); none when its key is of no usable kind.
    pub(super) fn new(chain: &[Vec<u8>], desk: Arc<Mutex<Desk>>) -> Option<Self> {
        let kind = certificate::key_kind(chain.first()?).ok()?;
        Some(Self { kind, chain: chain.to_vec(), desk })
    }
}

impl ResolvesClientCert for ClientKey {
    fn resolve(&self, _authorities: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let chain = self.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
        let key = Absent { kind: self.kind, desk: Arc::clone(&self.desk) };
        Some(Arc::new(CertifiedKey::new(chain, Arc::new(key))))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl std::fmt::Debug for ClientKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "ClientKey({})", self.kind)
    }
}

/// A key that lives elsewhere.
struct Absent {
    kind: KeyKind,
    desk: Arc<Mutex<Desk>>,
}

/// What each kind of key signs, best first: PSS goes before PKCS#1, which TLS 1.3 has no more.
const SCHEMES: [(SignatureScheme, SignatureAlgorithm); 8] = [
    (SignatureScheme::ECDSA_NISTP256_SHA256, SignatureAlgorithm::EcdsaSha256),
    (SignatureScheme::ECDSA_NISTP384_SHA384, SignatureAlgorithm::EcdsaSha384),
    (SignatureScheme::RSA_PSS_SHA256, SignatureAlgorithm::RsaPssSha256),
    (SignatureScheme::RSA_PSS_SHA384, SignatureAlgorithm::RsaPssSha384),
    (SignatureScheme::RSA_PSS_SHA512, SignatureAlgorithm::RsaPssSha512),
    (SignatureScheme::RSA_PKCS1_SHA256, SignatureAlgorithm::RsaPkcs1Sha256),
    (SignatureScheme::RSA_PKCS1_SHA384, SignatureAlgorithm::RsaPkcs1Sha384),
    (SignatureScheme::RSA_PKCS1_SHA512, SignatureAlgorithm::RsaPkcs1Sha512),
];

/// Tells whether that scheme, which names a curve, is one for the key.
fn fits(scheme: SignatureScheme, algorithm: SignatureAlgorithm, kind: KeyKind) -> bool {
    match scheme {
        SignatureScheme::ECDSA_NISTP256_SHA256 => kind == KeyKind::EcdsaP256,
        SignatureScheme::ECDSA_NISTP384_SHA384 => kind == KeyKind::EcdsaP384,
        _ => algorithm.fits(kind),
    }
}

impl SigningKey for Absent {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let mut usable = SCHEMES.iter().filter(|(scheme, algorithm)| fits(*scheme, *algorithm, self.kind));
        let (scheme, algorithm) = *usable.find(|(scheme, _)| offered.contains(scheme))?;
        Some(Box::new(Absentee { scheme, algorithm, desk: Arc::clone(&self.desk) }))
    }

    fn algorithm(&self) -> rustls::SignatureAlgorithm {
        match self.kind {
            KeyKind::Rsa => rustls::SignatureAlgorithm::RSA,
            _ => rustls::SignatureAlgorithm::ECDSA,
        }
    }
}

impl std::fmt::Debug for Absent {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Absent({})", self.kind)
    }
}

struct Absentee {
    scheme: SignatureScheme,
    algorithm: SignatureAlgorithm,
    desk: Arc<Mutex<Desk>>,
}

impl Signer for Absentee {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let mut desk = self.desk.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = Wanted { algorithm: self.algorithm, octets: message.to_vec() };
        match &desk.given {
            Some(given) if given.wanted == wanted => Ok(given.signature.clone()),
            _ => {
                desk.wanted = Some(wanted);
                Err(Error::General("the signature is asked for".to_owned()))
            }
        }
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

impl std::fmt::Debug for Absentee {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Absentee({:?})", self.scheme)
    }
}
