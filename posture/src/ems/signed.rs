//! Documents of EMS: raw bytes with a detached Ed25519 signature, verified before parsing.
//!
//! What is signed is `CONTEXT || body`; the body is JSON of a [`Binding`] and the content. A
//! document is believed only when the signature is of a key that holds (the pinned one, or one that was
//! announced under it: [`KeyRing`]), the binding names this
//! endpoint's certificate, this EMS and the expected kind, nothing about it goes backwards (counter,
//! policy version, clock), and it has not expired. Each failure is a [`Refusal`] of its own.

mod fingerprint;
mod floor;
mod keys;

pub use fingerprint::Fingerprint;
pub use floor::Floor;
pub use keys::{KeyAnnouncement, KeyRing, MOST_ANNOUNCEMENTS};

use super::base64_bytes;
use super::protocol::{DocumentKind, EmsId, Profile, RuleDocument, TagSnapshot};
use crate::policy::Flaw;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Keeps a signature over a document from meaning anything elsewhere.
pub const CONTEXT: &[u8] = b"postern-ems-document-v1\0";
/// The largest body that is looked at, in bytes.
pub const MAXIMUM_BODY: usize = 4 << 20;
/// How far the clocks of EMS and endpoint may disagree, in seconds.
pub const CLOCK_TOLERANCE_SECONDS: u64 = 300;

/// Raw bytes and their detached signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// The signed bytes, without the context.
    #[serde(with = "base64_bytes")]
    pub body: Vec<u8>,
    /// Ed25519, 64 bytes.
    #[serde(with = "base64_bytes")]
    pub signature: Vec<u8>,
}

impl Signed {
    /// Returns the bytes over which a signature of `body` goes.
    pub fn message(body: &[u8]) -> Vec<u8> {
        [CONTEXT, body].concat()
    }
}

/// What a document is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// Which document it is.
    pub kind: DocumentKind,
    /// The EMS that says it.
    pub ems: EmsId,
    /// The certificate of the endpoint for which it holds.
    pub endpoint: Fingerprint,
    /// The version of profile and rules at EMS under which it was made; never falls.
    pub policy_version: u64,
    /// Grows with every document that EMS makes for this endpoint; never falls.
    pub counter: u64,
    /// When it was made, seconds since 1970.
    pub issued_unix: u64,
    /// From when on it no longer holds, seconds since 1970.
    pub expires_unix: u64,
}

/// The signed bytes, parsed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Document<T> {
    /// What it is bound to.
    pub binding: Binding,
    /// What it says.
    pub content: T,
}

/// A content that travels signed.
pub trait Content: DeserializeOwned + Serialize {
    /// Its kind.
    const KIND: DocumentKind;
}

impl Content for Profile {
    const KIND: DocumentKind = DocumentKind::Profile;
}

impl Content for RuleDocument {
    const KIND: DocumentKind = DocumentKind::Rules;
}

impl Content for TagSnapshot {
    const KIND: DocumentKind = DocumentKind::Tags;
}

/// A document that was verified. Only a [`Verifier`] makes one.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified<T> {
    document: Document<T>,
}

impl<T> Verified<T> {
    /// Returns what it is bound to.
    pub const fn binding(&self) -> &Binding {
        &self.document.binding
    }

    /// Returns what it says.
    pub const fn content(&self) -> &T {
        &self.document.content
    }

    /// Tells whether it still holds at a moment (seconds since 1970).
    pub const fn holds_at(&self, now_unix: u64) -> bool {
        now_unix < self.document.binding.expires_unix
    }
}

/// Why a document is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The signature is not of the key that was learned at enrolment.
    #[error("the signature is not of the EMS of the enrolment")]
    SignatureInvalid,
    /// It is signed, but it is not what was agreed on.
    #[error("the document does not parse: {0}")]
    Malformed(String),
    /// It is larger than any document.
    #[error("the document is larger than {MAXIMUM_BODY} bytes")]
    TooLarge,
    /// It is a document of another kind.
    #[error("a {found} document where a {expected} document belongs")]
    WrongKind {
        /// The kind that belongs there.
        expected: &'static str,
        /// The kind that came.
        found: &'static str,
    },
    /// It is for another endpoint, or for an earlier certificate of this one.
    #[error("the document is for another endpoint ({found})")]
    ForeignEndpoint {
        /// The certificate it is for.
        found: Fingerprint,
    },
    /// It is of another EMS.
    #[error("the document is of another EMS ({found})")]
    ForeignEms {
        /// The EMS it names.
        found: EmsId,
    },
    /// A newer document was seen before.
    #[error("the document is older than one seen before (counter {found}, floor {floor})")]
    RolledBack {
        /// Its counter.
        found: u64,
        /// The least that is believed.
        floor: u64,
    },
    /// It was made under an older policy than one seen before.
    #[error("the document was made under policy {found}, but policy {floor} was seen before")]
    PolicyRolledBack {
        /// Its policy version.
        found: u64,
        /// The least that is believed.
        floor: u64,
    },
    /// It no longer holds.
    #[error("the document expired {seconds} s ago")]
    Expired {
        /// How long ago.
        seconds: u64,
    },
    /// The endpoint's clock stands before a moment that is known to have passed.
    #[error("the clock was turned back: it is {seconds} s before a moment that has passed")]
    ClockTurnedBack {
        /// By how much.
        seconds: u64,
    },
}

impl Refusal {
    /// Tells whether it is the clock of this machine, or that of EMS, that keeps a document of EMS from being
    /// believed.
    pub const fn is_of_the_clock(&self) -> bool {
        matches!(self, Self::Expired { .. } | Self::ClockTurnedBack { .. })
    }

    /// Returns the flaw that it gives to tag knowledge.
    pub const fn flaw(&self) -> Flaw {
        match self {
            Self::SignatureInvalid | Self::Malformed(_) | Self::TooLarge | Self::WrongKind { .. } => Flaw::Forged,
            Self::ForeignEndpoint { .. } | Self::ForeignEms { .. } => Flaw::Foreign,
            Self::RolledBack { .. } | Self::PolicyRolledBack { .. } => Flaw::RolledBack,
            Self::Expired { .. } => Flaw::Expired,
            Self::ClockTurnedBack { .. } => Flaw::ClockTurnedBack,
        }
    }
}

/// Verifies documents for one endpoint of one EMS.
#[derive(Clone, Debug)]
pub struct Verifier {
    ems: EmsId,
    endpoint: Fingerprint,
    /// The certificate that the endpoint had before: what was said to it still holds.
    previous: Option<Fingerprint>,
    keys: KeyRing,
}

impl Verifier {
    /// Makes a verifier for the EMS and the key of the enrolment, and the endpoint's certificate.
    pub const fn new(ems: EmsId, key: [u8; 32], endpoint: Fingerprint) -> Self {
        Self::with_keys(ems, KeyRing::pinned(key), endpoint, None)
    }

    /// Makes a verifier that knows more keys, and an earlier certificate of the endpoint.
    pub const fn with_keys(ems: EmsId, keys: KeyRing, endpoint: Fingerprint, previous: Option<Fingerprint>) -> Self {
        Self { ems, endpoint, previous, keys }
    }

    /// Returns the EMS whose documents are believed.
    pub const fn ems(&self) -> &EmsId {
        &self.ems
    }

    /// Returns the keys by which they are believed.
    pub const fn keys(&self) -> &KeyRing {
        &self.keys
    }

    /// Takes the announcement of a new key; `false` where it is known already.
    ///
    /// # Errors
    /// When it is not believed.
    pub fn follow(&mut self, announcement: &Signed) -> Result<bool, Refusal> {
        self.keys.follow(&self.ems, announcement)
    }

    /// Tells whether a signature over a message is of a key that holds at a moment.
    pub fn is_signed(&self, message: &[u8], signature: &[u8], now_unix: u64) -> bool {
        self.keys.is_signed(message, signature, now_unix)
    }

    /// Verifies, then parses. The floor is not raised: the caller does that once it has stored the
    /// document.
    pub fn verify<T: Content>(&self, signed: &Signed, floor: &Floor, now_unix: u64) -> Result<Verified<T>, Refusal> {
        let document = self.authentic(signed, floor, now_unix)?;
        Self::check_time(&document.binding, floor, now_unix)?;
        Ok(Verified { document })
    }

    /// Reads a document that need not hold any more: for what stands until EMS says otherwise.
    pub fn verify_lapsed<T: Content>(
        &self,
        signed: &Signed,
        floor: &Floor,
        now_unix: u64,
    ) -> Result<Document<T>, Refusal> {
        self.authentic(signed, floor, now_unix)
    }

    fn authentic<T: Content>(&self, signed: &Signed, floor: &Floor, now_unix: u64) -> Result<Document<T>, Refusal> {
        if signed.body.len() > MAXIMUM_BODY {
            return Err(Refusal::TooLarge);
        }
        if !self.is_signed(&Signed::message(&signed.body), &signed.signature, now_unix) {
            return Err(Refusal::SignatureInvalid);
        }
        // The binding first: a content of another kind need not parse to be refused by name.
        let outline: Document<serde::de::IgnoredAny> = parse(&signed.body)?;
        self.check(&outline.binding, T::KIND, floor)?;
        parse(&signed.body)
    }

    fn check(&self, binding: &Binding, kind: DocumentKind, floor: &Floor) -> Result<(), Refusal> {
        if binding.kind != kind {
            return Err(Refusal::WrongKind { expected: kind.as_str(), found: binding.kind.as_str() });
        }
        if binding.ems != self.ems {
            return Err(Refusal::ForeignEms { found: binding.ems.clone() });
        }
        if binding.endpoint != self.endpoint && Some(binding.endpoint) != self.previous {
            return Err(Refusal::ForeignEndpoint { found: binding.endpoint });
        }
        let least = floor.counters.counter(kind);
        if binding.counter < least {
            return Err(Refusal::RolledBack { found: binding.counter, floor: least });
        }
        if binding.policy_version < floor.policy_version && kind == DocumentKind::Tags {
            return Err(Refusal::PolicyRolledBack { found: binding.policy_version, floor: floor.policy_version });
        }
        Ok(())
    }

    fn check_time(binding: &Binding, floor: &Floor, now_unix: u64) -> Result<(), Refusal> {
        if binding.counter == floor.counters.counter(binding.kind) {
            floor.check_clock(now_unix)?;
        }
        if now_unix.saturating_add(CLOCK_TOLERANCE_SECONDS) < binding.issued_unix {
            return Err(Refusal::ClockTurnedBack { seconds: binding.issued_unix - now_unix });
        }
        if now_unix >= binding.expires_unix {
            return Err(Refusal::Expired { seconds: now_unix - binding.expires_unix });
        }
        Ok(())
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::Malformed(error.to_string()))
}

#[cfg(test)]
mod tests;
