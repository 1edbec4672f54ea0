//! The own private key that is locked: behind a passphrase in a file, or behind a PIN in a token.
//!
//! ```text
//! Start ──▶ locked? ──▶ a person is asked, or a file ──▶ opened ──▶ the engine starts
//!                           └── wrong thrice, declined, stopped ──▶ the attempt ends
//! ```
//! What was opened is kept in memory for as long as the tunnel is wanted, so that it can prove itself anew without a
//! person, and forgotten when it comes to rest. It stays in MAIN: the engine asks for each signature.
//!
//! | module | holds |
//! |---|---|
//! | [`token`] | PKCS#11, in a process of its own |

pub mod token;

use crate::profile::Tunnel;
use crate::profile::tunnel::Authentication;
use crate::service::hub::{Hub, Message};
use crate::service::tunnel::secrets;
use ike_client::auth::pkcs12;
use ike_client::auth::signature::{self, SignatureAlgorithm, SignatureHashes};
use ike_client::auth::{PrivateKey, PrivateKeyError};
use ike_client::crypto::Secret;
use ike_client::random::SystemRandom;
use ike_client::session::{Answer, CloseCause, CloseReason, RequestId};
use ike_client::tunnel::clock;
use postern_api::prompt::PromptKind;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use token::Token;

/// How often a person may be wrong within one attempt. A token that counts too locks itself not before.
const TRIES: u8 = 3;

/// What locks a key.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Lock {
    /// A passphrase, for this file.
    File(PathBuf),
    /// A PIN.
    Token(Token),
}

/// A key that can be used.
#[derive(Debug)]
pub enum Opened {
    /// It was in a file.
    File {
        /// The key.
        key: PrivateKey,
        /// Its certificates, where the file has them.
        chain: Vec<Vec<u8>>,
    },
    /// It is in a token, which this opens.
    Token {
        /// Where.
        token: Token,
        /// The PIN.
        pin: Secret,
        /// Its certificate, where the token has it.
        chain: Vec<Vec<u8>>,
    },
}

/// Why nothing was opened.
#[derive(Debug)]
pub enum Shut {
    /// Another passphrase or PIN may do.
    Wrong,
    /// None will.
    Unusable(String),
}

/// A key that is being opened.
#[derive(Debug)]
struct Waiting {
    tunnel: String,
    number: u64,
    lock: Lock,
    limit: Duration,
    tries: u8,
}

/// The keys of the service's tunnels: one is opened at a time, as there is one engine.
#[derive(Debug, Default)]
pub(in crate::service) struct OwnKeys {
    last: u64,
    waiting: Option<Waiting>,
    opened: BTreeMap<String, Arc<Opened>>,
}

impl OwnKeys {
    /// Returns a tunnel's opened key.
    pub(in crate::service) fn opened(&self, tunnel: &str) -> Option<Arc<Opened>> {
        self.opened.get(tunnel).cloned()
    }

    /// Forgets a tunnel's key.
    pub(in crate::service) fn forget(&mut self, tunnel: &str) {
        self.opened.remove(tunnel);
    }
}

impl Opened {
    /// Returns the certificates that came with the key.
    pub fn chain(&self) -> &[Vec<u8>] {
        match self {
            Self::File { chain, .. } | Self::Token { chain, .. } => chain,
        }
    }
}

impl Lock {
    fn question(&self) -> String {
        match self {
            Self::File(file) => format!("Passphrase of {}", file.display()),
            Self::Token(token) => format!("PIN of {}", token.uri),
        }
    }

    fn open(self, secret: Secret) -> Result<Opened, Shut> {
        match self {
            Self::File(file) => {
                let text = std::str::from_utf8(secret.expose()).map_err(|_| Shut::Wrong)?;
                let (key, chain) = open_file(&file, text).map_err(|error| match error {
                    Unopened::Key(PrivateKeyError::WrongPassphrase) => Shut::Wrong,
                    Unopened::Key(error) => Shut::Unusable(format!("{}: {error}", file.display())),
                    Unopened::File(problem) => Shut::Unusable(problem),
                })?;
                Ok(Opened::File { key, chain })
            }
            Self::Token(token) => {
                let chain = token.look(&secret)?;
                Ok(Opened::Token { token, pin: secret, chain })
            }
        }
    }
}

enum Unopened {
    Key(PrivateKeyError),
    File(String),
}

fn open_file(file: &Path, passphrase: &str) -> Result<(PrivateKey, Vec<Vec<u8>>), Unopened> {
    let octets = secrets::read_octets(file).map_err(|error| Unopened::File(error.to_string()))?;
    if pkcs12::is_pkcs12(&octets) {
        let contents = pkcs12::open(&octets, passphrase).map_err(Unopened::Key)?;
        return Ok((contents.key, contents.chain));
    }
    let pem = std::str::from_utf8(&octets).map_err(|_| Unopened::File(format!("{} is not PEM", file.display())))?;
    let key = PrivateKey::from_encrypted_pem(pem, passphrase).map_err(Unopened::Key)?;
    Ok((key, Vec::new()))
}

/// Returns what locks a tunnel's key; none where nothing does.
fn lock(auth: &Authentication, module: Option<&Path>) -> Result<Option<Lock>, String> {
    if let Some(uri) = &auth.key_uri {
        let uri = uri.parse().map_err(|error| format!("auth.key_uri: {error}"))?;
        let module = module.ok_or(
            "auth.key_uri: no module speaks with tokens; an administrator names it in postern.toml, [tokens] module",
        )?;
        return Ok(Some(Lock::Token(Token { module: module.to_owned(), uri })));
    }
    let Some(file) = &auth.key_file else { return Ok(None) };
    let octets = secrets::read_octets(file).map_err(|error| error.to_string())?;
    let locked = pkcs12::is_pkcs12(&octets)
        || std::str::from_utf8(&octets)
            .is_ok_and(|pem| PrivateKey::from_pem(pem).is_err_and(|error| error == PrivateKeyError::Encrypted));
    Ok(locked.then(|| Lock::File(file.clone())))
}

/// Signs for AUTH with a tunnel's key.
///
/// # Errors
/// In words.
pub(in crate::service) fn sign(
    opened: Option<&Opened>,
    auth: &Authentication,
    octets: &[u8],
    announced: &SignatureHashes,
) -> Result<Answer, String> {
    let padding = auth.rsa_signature;
    let by_key = |key: &PrivateKey| {
        let scheme = signature::choose(key.kind(), announced, padding)
            .ok_or_else(|| signature::SignError::NoSharedHash(key.kind()).to_string())?;
        signature::sign_with(key, scheme, octets, &mut SystemRandom).map_err(|error| error.to_string())
    };
    let signed = match opened {
        Some(Opened::File { key, .. }) => by_key(key),
        Some(Opened::Token { token, pin, chain }) => {
            token.sign(pin, &own_certificate(auth, chain)?, |kind| signature::choose(kind, announced, padding), octets)
        }
        None => by_key(&unlocked(auth)?),
    };
    let signed = signed.map_err(|error| format!("the own key: {error}"))?;
    Ok(Answer::Signature { method: signed.scheme.method(), data: signed.data })
}

/// Signs within TLS with a tunnel's key.
///
/// # Errors
/// In words.
pub(in crate::service) fn sign_tls(
    opened: Option<&Opened>,
    auth: &Authentication,
    octets: &[u8],
    algorithm: SignatureAlgorithm,
) -> Result<Answer, String> {
    let by_key = |key: &PrivateKey| {
        signature::sign_bare(key, algorithm, octets, &mut SystemRandom).map_err(|error| error.to_string())
    };
    let signed = match opened {
        Some(Opened::File { key, .. }) => by_key(key),
        Some(Opened::Token { token, pin, chain }) => {
            token.sign_bare(pin, &own_certificate(auth, chain)?, algorithm, octets)
        }
        None => by_key(&unlocked(auth)?),
    };
    Ok(Answer::Octets { octets: signed.map_err(|error| format!("the own key: {error}"))? })
}

fn unlocked(auth: &Authentication) -> Result<PrivateKey, String> {
    let file = auth.key_file.as_deref().ok_or("auth.key_file is missing")?;
    let octets = secrets::read_octets(file).map_err(|error| error.to_string())?;
    let pem = std::str::from_utf8(&octets).map_err(|_| format!("{} is not PEM", file.display()))?;
    PrivateKey::from_pem(pem).map_err(|error| format!("{}: {error}", file.display()))
}

/// Returns the certificate that goes with the key: the profile's, else the token's.
fn own_certificate(auth: &Authentication, chain: &[Vec<u8>]) -> Result<Vec<u8>, String> {
    let named = match &auth.certificate_file {
        Some(file) => crate::service::tunnel::configuration::certificates(file)?,
        None => chain.to_vec(),
    };
    named.into_iter().next().ok_or_else(|| "there is no certificate for the key".to_owned())
}

impl Hub {
    /// Begins to open a tunnel's key that is locked; returns false when none is, or it is open.
    pub(in crate::service) fn unlock_first(&mut self, name: &str, tunnel: &Tunnel, limit: Duration) -> bool {
        if !tunnel.auth.shows_certificate() || self.own_keys.opened.contains_key(name) {
            return false;
        }
        let lock = match lock(&tunnel.auth, self.settings.tokens.module.as_deref()) {
            Ok(None) => return false,
            Ok(Some(lock)) => lock,
            Err(because) => {
                self.end_unstarted(CloseCause::InputRefused { because });
                return true;
            }
        };
        self.timers.insert(name.to_owned(), clock::now() + limit + crate::service::hub::FAREWELL);
        self.own_keys.last = self.own_keys.last.saturating_add(1);
        let number = self.own_keys.last;
        let question = lock.question();
        let waiting = Waiting { tunnel: name.to_owned(), number, lock, limit, tries: TRIES };
        match &tunnel.auth.key_passphrase_file {
            Some(file) => match secrets::read_private(file) {
                // There is no other one to try.
                Ok(secret) => self.open_key(Waiting { tries: 1, ..waiting }, secret),
                Err(error) => self.end_unstarted(CloseCause::InputRefused { because: error.to_string() }),
            },
            None => {
                self.own_keys.waiting = Some(waiting);
                self.ask_passphrase(name, question, limit);
            }
        }
        true
    }

    fn ask_passphrase(&mut self, name: &str, question: String, limit: Duration) {
        let because = format!("{question}: nobody is there to answer");
        if !self.put_question(name, RequestId(0), PromptKind::KeyPassphrase, question, limit) {
            self.own_keys.waiting = None;
            self.end_unstarted(CloseCause::InputRefused { because });
        }
    }

    /// Takes a person's passphrase or PIN; none declines.
    pub(in crate::service) fn passphrase_given(&mut self, name: &str, answer: Option<String>) {
        let Some(waiting) = self.own_keys.waiting.take_if(|waiting| waiting.tunnel == name) else { return };
        match answer {
            Some(text) => self.open_key(waiting, Secret::new(text.into_bytes())),
            None => self.end_unstarted(CloseCause::InputRefused { because: "the question was not answered".into() }),
        }
    }

    fn open_key(&mut self, waiting: Waiting, secret: Secret) {
        let (inbox, number, lock) = (self.inbox.clone(), waiting.number, waiting.lock.clone());
        self.own_keys.waiting = Some(waiting);
        // A derivation takes its time, on purpose.
        tokio::task::spawn_blocking(move || {
            let _ = inbox.send(Message::KeyOpened { number, outcome: lock.open(secret) });
        });
    }

    /// Hears what came of opening a key.
    pub(in crate::service) fn key_opened(&mut self, number: u64, outcome: Result<Opened, Shut>) {
        let Some(mut waiting) = self.own_keys.waiting.take_if(|waiting| waiting.number == number) else { return };
        let name = waiting.tunnel.clone();
        match outcome {
            Ok(opened) => {
                tracing::info!(tunnel = name, "the own key is open");
                self.own_keys.opened.insert(name.clone(), Arc::new(opened));
                self.start_engine(&name);
            }
            Err(Shut::Wrong) if waiting.tries > 1 => {
                waiting.tries -= 1;
                let question = format!("Wrong. {}", waiting.lock.question());
                let limit = waiting.limit;
                self.own_keys.waiting = Some(waiting);
                self.ask_passphrase(&name, question, limit);
            }
            Err(Shut::Wrong) => {
                let because = format!("{} is wrong", waiting.lock.question());
                self.end_unstarted(CloseCause::InputRefused { because });
            }
            Err(Shut::Unusable(because)) => self.end_unstarted(CloseCause::InputRefused { because }),
        }
    }

    /// Ends an attempt that still waits for its key; returns false when the engine has started.
    pub(in crate::service) fn stop_unlocking(&mut self, name: &str, reason: CloseReason) -> bool {
        let waited = self.own_keys.waiting.take_if(|waiting| waiting.tunnel == name).is_some();
        if waited {
            self.end_unstarted(CloseCause::Requested { reason });
        }
        waited
    }
}
