//! One TLS channel to the login's server: octets in, octets out, no socket.
//!
//! The client's private key is in another process, and rustls signs at once or not at all. So a handshake that needs
//! a signature is given up, what is to be signed goes to the owner as [`Progress::Sign`], and
//! [`Channel::signed`] plays the handshake again: the same seed makes the same octets, the server's are at hand, and
//! the only difference is that there is a signature this time. What was sent before is compared with what the
//! second play makes, so that a difference is found and not sent.

use super::client::{ClientKey, Desk, Given, Wanted};
use super::provider::{self, Stream};
use super::server::{Refusal, ServerCheck};
use crate::auth::certificate::CertificateError;
use crate::auth::eap::profile::{TlsProfile, TlsVersion};
use crate::crypto::Secret;
use crate::random::{Random, RandomUnavailable};
use rustls::client::Resumption;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ClientConnection, ProtocolVersion};
use std::io::{Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The most octets that a server may send before the handshake is done.
const MAX_HANDSHAKE: usize = 128 * 1024;
/// The most octets that it may send inside, in answer to one packet.
const MAX_INSIDE: usize = 16 * 1024;

/// Why there is no channel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The server's certificate is not accepted.
    #[error("the login server's certificate is not accepted: {0}")]
    Certificate(CertificateError),
    /// The handshake failed, or a record is not what it should be.
    #[error("TLS with the login server failed: {0}")]
    Handshake(String),
    /// The server sends more than any login needs.
    #[error("the login server sends more than any login needs")]
    TooMuch,
    /// The tunnel's settings for TLS cannot be used.
    #[error("the tunnel's settings for the login's TLS cannot be used: {0}")]
    Unusable(&'static str),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomUnavailable),
}

/// What a step has brought.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::auth::eap) enum Progress {
    /// These octets go to the server; none when there is nothing to say.
    Send(Vec<u8>),
    /// The client's key must sign before anything can be sent.
    Sign(Wanted),
}

/// See the module's description.
pub(in crate::auth::eap) struct Channel {
    connection: ClientConnection,
    config: Arc<ClientConfig>,
    server: ServerName<'static>,
    stream: Stream,
    /// The stream as it was before the first octet was drawn.
    beginning: Stream,
    desk: Arc<Mutex<Desk>>,
    refusal: Refusal,
    heard: Vec<Vec<u8>>,
    said: Vec<Vec<u8>>,
    heard_octets: usize,
}

impl Channel {
    /// Begins a handshake; the first octets for the server come with it.
    pub(in crate::auth::eap) fn begin(
        profile: &TlsProfile,
        unix_now: u64,
        random: &mut dyn Random,
    ) -> Result<(Self, Vec<u8>), TlsError> {
        if profile.server_anchors.is_empty() && profile.server_pins.is_empty() {
            return Err(TlsError::Unusable("neither an authority nor a pin says whom to trust"));
        }
        let mut stream = Stream::seeded(random)?;
        let beginning = stream.clone();
        let (desk, refusal) = (Arc::new(Mutex::new(Desk::default())), Refusal::default());
        let config = Arc::new(configure(profile, unix_now, &desk, &refusal)?);
        let server = ServerName::try_from(profile.server_name.clone())
            .map_err(|_| TlsError::Unusable("the login server's name is no host name"))?;
        let mut connection = connect(&config, &server, &mut stream)?;
        let hello = output(&mut connection)?;
        let channel = Self {
            connection,
            config,
            server,
            stream,
            beginning,
            desk,
            refusal,
            heard: Vec::new(),
            said: vec![hello.clone()],
            heard_octets: 0,
        };
        Ok((channel, hello))
    }

    /// Takes octets of the server.
    pub(in crate::auth::eap) fn receive(&mut self, octets: &[u8]) -> Result<Progress, TlsError> {
        let shaking = self.connection.is_handshaking();
        if shaking {
            self.heard_octets = self.heard_octets.saturating_add(octets.len());
            if self.heard_octets > MAX_HANDSHAKE {
                return Err(TlsError::TooMuch);
            }
            self.heard.push(octets.to_vec());
        }
        match feed(&mut self.connection, &mut self.stream, octets) {
            Ok(out) => {
                if shaking {
                    self.said.push(out.clone());
                }
                if !self.connection.is_handshaking() {
                    self.heard.clear();
                    self.said.clear();
                }
                Ok(Progress::Send(out))
            }
            Err(error) => match self.desk.lock().unwrap_or_else(PoisonError::into_inner).wanted.take() {
                Some(wanted) => Ok(Progress::Sign(wanted)),
                None => Err(self.explain(error)),
            },
        }
    }

    /// Plays the handshake again with the signature that was asked for; returns what goes to the server.
    pub(in crate::auth::eap) fn signed(&mut self, wanted: Wanted, signature: Vec<u8>) -> Result<Vec<u8>, TlsError> {
        let differs = || TlsError::Handshake("the handshake could not be continued".to_owned());
        self.desk.lock().unwrap_or_else(PoisonError::into_inner).given = Some(Given { wanted, signature });
        self.stream = self.beginning.clone();
        let mut connection = connect(&self.config, &self.server, &mut self.stream)?;
        let mut last = output(&mut connection)?;
        let mut said = self.said.iter();
        for octets in &self.heard {
            if said.next() != Some(&last) {
                return Err(differs());
            }
            last = feed(&mut connection, &mut self.stream, octets).map_err(|error| match error {
                // A second question would be another one than was answered.
                TlsError::Handshake(_) => differs(),
                other => other,
            })?;
        }
        self.connection = connection;
        if !self.connection.is_handshaking() {
            self.heard.clear();
            self.said.clear();
        } else {
            self.said.push(last.clone());
        }
        Ok(last)
    }

    /// Tells whether both sides have finished the handshake.
    pub(in crate::auth::eap) fn is_up(&self) -> bool {
        !self.connection.is_handshaking()
    }

    /// Tells whether it is TLS 1.3.
    pub(in crate::auth::eap) fn is_tls13(&self) -> bool {
        self.connection.protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }

    /// Puts `inside` into the channel and returns the octets for the server.
    pub(in crate::auth::eap) fn seal(&mut self, inside: &[u8]) -> Result<Vec<u8>, TlsError> {
        self.connection.writer().write_all(inside).map_err(|error| TlsError::Handshake(error.to_string()))?;
        output(&mut self.connection)
    }

    /// Takes what the server has sent inside.
    pub(in crate::auth::eap) fn open(&mut self) -> Result<Vec<u8>, TlsError> {
        let mut inside = vec![0; MAX_INSIDE];
        let mut filled = 0;
        loop {
            let Some(room) = inside.get_mut(filled..).filter(|room| !room.is_empty()) else {
                return Err(TlsError::TooMuch);
            };
            match self.connection.reader().read(room) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(TlsError::Handshake(error.to_string())),
            }
        }
        inside.truncate(filled);
        Ok(inside)
    }

    /// Exports `length` octets of key (RFC 5705, RFC 8446 §7.5).
    pub(in crate::auth::eap) fn export(
        &self,
        length: usize,
        label: &[u8],
        context: Option<&[u8]>,
    ) -> Result<Secret, TlsError> {
        let octets = self
            .connection
            .export_keying_material(vec![0; length], label, context)
            .map_err(|error| TlsError::Handshake(error.to_string()))?;
        Ok(Secret::new(octets))
    }

    fn explain(&self, error: TlsError) -> TlsError {
        match self.refusal.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(refused) => TlsError::Certificate(refused),
            None => error,
        }
    }
}

fn configure(
    profile: &TlsProfile,
    unix_now: u64,
    desk: &Arc<Mutex<Desk>>,
    refusal: &Refusal,
) -> Result<ClientConfig, TlsError> {
    let provider = provider::provider();
    let check = ServerCheck::new(profile, provider.signature_verification_algorithms, Arc::clone(refusal));
    let versions: &[&rustls::SupportedProtocolVersion] = match profile.minimum_version {
        TlsVersion::Tls12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
        TlsVersion::Tls13 => &[&rustls::version::TLS13],
    };
    let clock = Arc::new(Moment(unix_now));
    let builder = ClientConfig::builder_with_details(Arc::new(provider), clock)
        .with_protocol_versions(versions)
        .map_err(|error| TlsError::Handshake(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(check));
    let mut config = if profile.client_chain.is_empty() {
        builder.with_no_client_auth()
    } else {
        let key = ClientKey::new(&profile.client_chain, Arc::clone(desk));
        builder.with_client_cert_resolver(Arc::new(
            key.ok_or(TlsError::Unusable("the client's certificate has a key of no usable kind"))?,
        ))
    };
    // A ticket would let a server be taken for one whose certificate was checked long ago.
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn connect(
    config: &Arc<ClientConfig>,
    server: &ServerName<'static>,
    stream: &mut Stream,
) -> Result<ClientConnection, TlsError> {
    provider::drawing(stream, || ClientConnection::new(Arc::clone(config), server.clone()))
        .map_err(|error| TlsError::Handshake(error.to_string()))
}

fn feed(connection: &mut ClientConnection, stream: &mut Stream, octets: &[u8]) -> Result<Vec<u8>, TlsError> {
    let mut rest = octets;
    provider::drawing(stream, || {
        while !rest.is_empty() {
            // After its close_notify nothing is read any more, whatever is there.
            if connection.read_tls(&mut rest).map_err(|error| TlsError::Handshake(error.to_string()))? == 0 {
                return Err(TlsError::Handshake("the server has closed the channel".to_owned()));
            }
            connection.process_new_packets().map_err(|error| TlsError::Handshake(error.to_string()))?;
        }
        Ok::<(), TlsError>(())
    })?;
    output(connection)
}

fn output(connection: &mut ClientConnection) -> Result<Vec<u8>, TlsError> {
    let mut out = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut out).map_err(|error| TlsError::Handshake(error.to_string()))?;
    }
    Ok(out)
}

/// The time that the session has.
#[derive(Debug)]
struct Moment(u64);

impl TimeProvider for Moment {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0)))
    }
}
