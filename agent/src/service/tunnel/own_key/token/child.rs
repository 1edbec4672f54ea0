//! The child: loads the module, opens the token, and does one thing with one key.

use super::{Question, Said, Token, Work};
use crate::profile::key_uri::KeyUri;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::TokenInfo;
use cryptoki::types::AuthPin;
use ike_client::auth::signature::{KeyKind, SignatureAlgorithm, SignatureScheme};
use ring::digest;
use std::io::{self, Read, Write};
use zeroize::Zeroizing;

/// The longest question that is read.
const MOST_OCTETS: u64 = 1 << 20;

/// Reads the question from standard input and prints the answer.
///
/// # Errors
/// When it is no question, or nobody takes the answer.
pub fn main() -> io::Result<()> {
    let mut question = Zeroizing::new(Vec::new());
    io::stdin().lock().take(MOST_OCTETS).read_to_end(&mut question)?;
    let question: Question = serde_json::from_slice(&question)?;
    let said = work(&question).unwrap_or_else(|failed| match failed {
        Failed::Module(Error::Pkcs11(RvError::PinIncorrect, _)) => Said::WrongPin,
        Failed::Module(error) => Said::Failed { because: error.to_string() },
        Failed::Here(because) => Said::Failed { because: because.to_owned() },
    });
    io::stdout().lock().write_all(&serde_json::to_vec(&said)?)
}

enum Failed {
    Module(Error),
    Here(&'static str),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Module(error)
    }
}

fn work(question: &Question) -> Result<Said, Failed> {
    let Question { token: Token { module, uri }, pin, work } = question;
    let pkcs11 = Pkcs11::new(module)?;
    pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))?;
    let mut slots = Vec::new();
    for slot in pkcs11.get_slots_with_initialized_token()? {
        if fits(uri, &pkcs11.get_token_info(slot)?) {
            slots.push(slot);
        }
    }
    let slot = match slots.as_slice() {
        [slot] => *slot,
        [] => return Err(Failed::Here("no such token is there")),
        _ => return Err(Failed::Here("several tokens fit; name one by `serial`")),
    };
    let session = pkcs11.open_ro_session(slot)?;
    let pin = std::str::from_utf8(pin).map_err(|_| Failed::Here("the PIN is no text"))?;
    session.login(UserType::User, Some(&AuthPin::from(pin.to_owned())))?;
    let key = key(&session, uri)?;
    match work {
        Work::Look => Ok(Said::Found { certificates: certificates(&session, key)? }),
        Work::Sign { kind, scheme, octets } => {
            let (mechanism, data) = mechanism(*kind, *scheme, octets).ok_or(Failed::Here("no such signature"))?;
            Ok(Said::Signed { octets: session.sign(&mechanism, key, &data)? })
        }
    }
}

fn fits(uri: &KeyUri, token: &TokenInfo) -> bool {
    let same = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
    same(&uri.token, token.label())
        && same(&uri.serial, token.serial_number())
        && same(&uri.manufacturer, token.manufacturer_id())
        && same(&uri.model, token.model())
}

fn key(session: &Session, uri: &KeyUri) -> Result<ObjectHandle, Failed> {
    let mut template = vec![Attribute::Class(ObjectClass::PRIVATE_KEY)];
    template.extend(uri.object.as_ref().map(|label| Attribute::Label(label.as_bytes().to_vec())));
    template.extend(uri.id.clone().map(Attribute::Id));
    match session.find_objects(&template)?.as_slice() {
        [key] => Ok(*key),
        [] => Err(Failed::Here("no such private key is in the token")),
        _ => Err(Failed::Here("several private keys fit; name one by `id`")),
    }
}

/// Returns the certificates with the key's id.
fn certificates(session: &Session, key: ObjectHandle) -> Result<Vec<Vec<u8>>, Failed> {
    let id = session.get_attributes(key, &[AttributeType::Id])?;
    let id = id.into_iter().filter(|attribute| matches!(attribute, Attribute::Id(id) if !id.is_empty()));
    let template: Vec<Attribute> = id.chain([Attribute::Class(ObjectClass::CERTIFICATE)]).collect();
    if template.len() < 2 {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for certificate in session.find_objects(&template)? {
        for attribute in session.get_attributes(certificate, &[AttributeType::Value])? {
            if let Attribute::Value(der) = attribute {
                found.push(der);
            }
        }
    }
    Ok(found)
}

/// Returns the token's way for a scheme, and what goes in: RSA hashes there, for ECDSA the hash is made here, as not
/// every token has both in one.
fn mechanism(kind: KeyKind, scheme: SignatureScheme, octets: &[u8]) -> Option<(Mechanism<'static>, Vec<u8>)> {
    use SignatureAlgorithm as A;
    let hashed = |hash| Some((Mechanism::Ecdsa, digest::digest(hash, octets).as_ref().to_vec()));
    let algorithm = match (scheme, kind) {
        (SignatureScheme::RsaSha1, KeyKind::Rsa) => return Some((Mechanism::Sha1RsaPkcs, octets.to_vec())),
        (SignatureScheme::EcdsaP256, KeyKind::EcdsaP256) => return hashed(&digest::SHA256),
        (SignatureScheme::EcdsaP384, KeyKind::EcdsaP384) => return hashed(&digest::SHA384),
        (SignatureScheme::EcdsaP521, KeyKind::EcdsaP521) => return hashed(&digest::SHA512),
        (SignatureScheme::Rfc7427(algorithm), kind) if algorithm.fits(kind) => algorithm,
        _ => return None,
    };
    let pss =
        |hash_alg, mgf, length: u8| PkcsPssParams { hash_alg, mgf, s_len: std::ffi::c_ulong::from(length).into() };
    let mechanism = match algorithm {
        A::RsaPkcs1Sha256 => Mechanism::Sha256RsaPkcs,
        A::RsaPkcs1Sha384 => Mechanism::Sha384RsaPkcs,
        A::RsaPkcs1Sha512 => Mechanism::Sha512RsaPkcs,
        A::RsaPssSha256 => Mechanism::Sha256RsaPkcsPss(pss(MechanismType::SHA256, PkcsMgfType::MGF1_SHA256, 32)),
        A::RsaPssSha384 => Mechanism::Sha384RsaPkcsPss(pss(MechanismType::SHA384, PkcsMgfType::MGF1_SHA384, 48)),
        A::RsaPssSha512 => Mechanism::Sha512RsaPkcsPss(pss(MechanismType::SHA512, PkcsMgfType::MGF1_SHA512, 64)),
        A::EcdsaSha256 => return hashed(&digest::SHA256),
        A::EcdsaSha384 => return hashed(&digest::SHA384),
        A::EcdsaSha512 => return hashed(&digest::SHA512),
        A::Ed25519 => return None,
    };
    Some((mechanism, octets.to_vec()))
}
