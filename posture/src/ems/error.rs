//! What can go wrong between endpoint and EMS.

use super::cache::CacheError;
use super::invitation::InvitationError;
use super::protocol::RefusalCode;
use super::signed::Refusal;
use std::error::Error as _;

/// The longest text of EMS that is kept in an error, in characters.
const MAXIMUM_DETAIL: usize = 300;

/// Why a conversation with EMS failed.
#[derive(Debug, thiserror::Error)]
pub enum EmsError {
    /// No connection: no address, no route, refused, reset.
    #[error("EMS cannot be reached: {0}")]
    Unreachable(String),
    /// Connected or not, it took longer than allowed.
    #[error("EMS did not answer in time")]
    TimedOut,
    /// The server is not the EMS of the invitation or of the enrolment.
    #[error("this is not the EMS of the {expected}: {detail}")]
    NotTrusted {
        /// `invitation` (pin) or `enrolment` (authority).
        expected: &'static str,
        /// What was wrong with its certificate.
        detail: String,
    },
    /// EMS understood and said no.
    #[error("EMS refused: {detail}")]
    Refused {
        /// Why, for programs.
        code: RefusalCode,
        /// Why, for people. Text from outside.
        detail: String,
    },
    /// What came is not what the protocol says.
    #[error("EMS answered what cannot be understood: {0}")]
    Nonsense(String),
    /// What came has no end.
    #[error("EMS answered more than {limit} bytes")]
    TooLarge {
        /// The bound.
        limit: usize,
    },
    /// The invitation cannot be read.
    #[error(transparent)]
    Invitation(#[from] InvitationError),
    /// A document is not believed.
    #[error(transparent)]
    Document(#[from] Refusal),
    /// Identity or cache cannot be read or written.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// This end failed: no random numbers, no TLS, no socket for the dialler.
    #[error("the connection to EMS cannot be prepared: {0}")]
    Local(String),
}

impl EmsError {
    /// Tells whether this endpoint is no longer known to EMS, so that trying again is of no use.
    pub const fn is_removal(&self) -> bool {
        matches!(self, Self::Refused { code: RefusalCode::NotEnrolled, .. })
    }

    /// Judges what the HTTP client met. `expected` says what the server had to prove.
    pub(super) fn of_http(error: &reqwest::Error, expected: &'static str) -> Self {
        if let Some(tls) = tls_error(error) {
            let judged = Self::of_tls(tls, expected);
            // Before the handshake is over an alert is anybody's word: nothing has been proven. What EMS itself
            // thinks of this endpoint's certificate comes after it, and encrypted (RFC 8446 §4.4.2.4, §6).
            return match judged.is_removal() && error.is_connect() {
                true => Self::Unreachable(format!("the handshake was broken off: {tls}")),
                false => judged,
            };
        }
        if error.is_timeout() {
            return Self::TimedOut;
        }
        let detail = innermost(error);
        if error.is_connect() {
            return Self::Unreachable(detail);
        }
        if error.is_decode() {
            return Self::Nonsense(detail);
        }
        // A request that fails after the connection stood: reset, closed early, or no HTTP.
        if is_io(error) { Self::Unreachable(detail) } else { Self::Nonsense(detail) }
    }

    fn of_tls(error: &rustls::Error, expected: &'static str) -> Self {
        use rustls::{AlertDescription as Alert, Error};
        match error {
            Error::InvalidCertificate(reason) => Self::NotTrusted { expected, detail: format!("{reason:?}") },
            Error::NoCertificatesPresented => {
                Self::NotTrusted { expected, detail: "it presented no certificate".into() }
            }
            Error::General(detail) => Self::NotTrusted { expected, detail: detail.clone() },
            Error::AlertReceived(
                Alert::CertificateRequired
                | Alert::CertificateUnknown
                | Alert::CertificateExpired
                | Alert::CertificateRevoked
                | Alert::BadCertificate
                | Alert::UnknownCA
                | Alert::AccessDenied
                | Alert::DecryptError,
            ) => Self::Refused {
                code: RefusalCode::NotEnrolled,
                detail: "it does not accept the certificate of this endpoint".into(),
            },
            other => Self::Nonsense(format!("TLS: {other}")),
        }
    }
}

/// Cuts and keeps the text of a server.
pub(super) fn detail_of(text: &str) -> String {
    text.chars().take(MAXIMUM_DETAIL).collect()
}

fn tls_error(error: &reqwest::Error) -> Option<&rustls::Error> {
    let mut cause = error.source();
    while let Some(current) = cause {
        if let Some(tls) = current.downcast_ref::<rustls::Error>() {
            return Some(tls);
        }
        // An io::Error passes over its own content when asked for its source.
        let inner = current.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(tls) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Some(tls);
        }
        cause = match inner {
            Some(inner) => Some(inner as &(dyn std::error::Error + 'static)),
            None => current.source(),
        };
    }
    None
}

fn is_io(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(current) = cause {
        if current.is::<std::io::Error>() {
            return true;
        }
        // A connection that ends in the middle of a message has no io::Error behind it.
        if current.to_string().contains("connection closed before message completed") {
            return true;
        }
        cause = current.source();
    }
    false
}

fn innermost(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(current) = cause {
        text = current.to_string();
        cause = current.source();
    }
    detail_of(&text)
}
