//! A key in a token (PKCS#11), reached in a process of its own.
//!
//! A module is somebody else's code. It is loaded neither by MAIN nor by NET, but by a child that lives for one question
//! and holds no capability; when it crashes, hangs or leaks, the service does not. Which module that is an
//! administrator says in `postern.toml`, never a tunnel: it could be any file.

pub mod child;

use super::Shut;
use crate::profile::key_uri::KeyUri;
use ike_client::auth::certificate;
use ike_client::auth::signature::{self, KeyKind, PublicKey, SignError, SignatureAlgorithm, SignatureScheme, Signed};
use ike_client::crypto::Secret;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use zeroize::{Zeroize, Zeroizing};

/// How long a token may take, a person who touches it included.
const LIMIT: Duration = Duration::from_secs(30);
/// What is read of an answer.
const MOST_OCTETS: u64 = 1 << 20;

/// A token's key, and the module that speaks with the token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// The module's file.
    pub module: PathBuf,
    /// The key's place.
    pub uri: KeyUri,
}

/// What the child is asked.
#[derive(Serialize, Deserialize)]
struct Question {
    token: Token,
    pin: Vec<u8>,
    work: Work,
}

impl Drop for Question {
    fn drop(&mut self) {
        self.pin.zeroize();
    }
}

#[derive(Serialize, Deserialize)]
enum Work {
    /// Whether the key is there, and its certificate.
    Look,
    /// A signature, ECDSA's as r and s side by side.
    Sign { kind: KeyKind, scheme: SignatureScheme, octets: Vec<u8> },
}

/// What the child says.
#[derive(Serialize, Deserialize)]
enum Said {
    Found { certificates: Vec<Vec<u8>> },
    Signed { octets: Vec<u8> },
    WrongPin,
    Failed { because: String },
}

impl Token {
    /// Opens the token, finds the key, and returns its certificate where the token has it.
    pub(super) fn look(&self, pin: &Secret) -> Result<Vec<Vec<u8>>, Shut> {
        match self.ask(pin, Work::Look) {
            Ok(Said::Found { certificates }) => Ok(certificates),
            Ok(Said::WrongPin) => Err(Shut::Wrong),
            Ok(Said::Failed { because }) => Err(Shut::Unusable(format!("{}: {because}", self.uri))),
            Ok(Said::Signed { .. }) => Err(Shut::Unusable("the token's process gave another answer".to_owned())),
            Err(error) => Err(Shut::Unusable(format!("the token's process: {error}"))),
        }
    }

    /// Signs for AUTH. What comes is checked with the certificate's key: the token may have another one.
    pub(super) fn sign(
        &self,
        pin: &Secret,
        certificate: &[u8],
        choose: impl Fn(KeyKind) -> Option<SignatureScheme>,
        octets: &[u8],
    ) -> Result<Signed, String> {
        let key = certificate::public_key(certificate).map_err(|error| error.to_string())?;
        let scheme = choose(key.kind()).ok_or_else(|| SignError::NoSharedHash(key.kind()).to_string())?;
        let raw = self.raw(pin, &key, scheme, octets)?;
        signature::of_token(&key, scheme, raw, octets).map_err(|error| error.to_string())
    }

    /// Signs within TLS.
    pub(super) fn sign_bare(
        &self,
        pin: &Secret,
        certificate: &[u8],
        algorithm: SignatureAlgorithm,
        octets: &[u8],
    ) -> Result<Vec<u8>, String> {
        let key = certificate::public_key(certificate).map_err(|error| error.to_string())?;
        let raw = self.raw(pin, &key, SignatureScheme::Rfc7427(algorithm), octets)?;
        signature::bare_of_token(&key, algorithm, raw, octets).map_err(|error| error.to_string())
    }

    fn raw(&self, pin: &Secret, key: &PublicKey, scheme: SignatureScheme, octets: &[u8]) -> Result<Vec<u8>, String> {
        let work = Work::Sign { kind: key.kind(), scheme, octets: octets.to_vec() };
        match self.ask(pin, work) {
            Ok(Said::Signed { octets }) => Ok(octets),
            Ok(Said::WrongPin) => Err("the token's PIN has changed".to_owned()),
            Ok(Said::Failed { because }) => Err(format!("{}: {because}", self.uri)),
            Ok(Said::Found { .. }) => Err("the token's process gave another answer".to_owned()),
            Err(error) => Err(format!("the token's process: {error}")),
        }
    }

    /// Asks the child; blocks, so it is called where that does no harm.
    fn ask(&self, pin: &Secret, work: Work) -> io::Result<Said> {
        let question = Question { token: self.clone(), pin: pin.expose().to_vec(), work };
        let question = Zeroizing::new(serde_json::to_vec(&question)?);
        tokio::runtime::Handle::current().block_on(async {
            let run = tokio::time::timeout(LIMIT, run(&question)).await;
            run.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "it does not answer")))
        })
    }
}

async fn run(question: &[u8]) -> io::Result<Said> {
    let mut child = Command::new(crate::platform::own_program()?)
        .arg("token")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(question).await?;
    }
    let mut written = Vec::new();
    if let Some(output) = child.stdout.take() {
        output.take(MOST_OCTETS).read_to_end(&mut written).await?;
    }
    let status = child.wait().await?;
    if !status.success() {
        return Err(io::Error::other(format!("it ended: {status}")));
    }
    serde_json::from_slice(&written).map_err(io::Error::other)
}
