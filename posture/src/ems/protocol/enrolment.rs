//! Enrolment, identifiers and refusals.

use crate::ems::base64_bytes;
use crate::ems::signed::Signed;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Declares an identifier that EMS chose.
macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

identifier! {
    /// Identifies one EMS: the SHA-256 of its signing key, in hexadecimal.
    EmsId
}
identifier! {
    /// Identifies one endpoint at its EMS; the common name of the certificate that EMS issued.
    EndpointId
}

/// Asks for a certificate, with an invitation's code.
#[derive(Clone, Serialize, Deserialize)]
pub struct EnrolRequest {
    /// The invitation's code.
    pub code: String,
    /// A PKCS#10 request, DER. Its subject is ignored: EMS chooses the identifier.
    #[serde(with = "base64_bytes")]
    pub certificate_request: Vec<u8>,
    /// The endpoint's host name, for people.
    pub host_name: String,
    /// Operating system, for people.
    #[serde(default)]
    pub system: String,
    /// The agent's version.
    #[serde(default)]
    pub agent_version: String,
}

impl fmt::Debug for EnrolRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("EnrolRequest").field("host_name", &self.host_name).finish_non_exhaustive()
    }
}

/// The identity that EMS gives to an endpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EnrolReply {
    /// This EMS.
    pub ems: EmsId,
    /// Its name, for people.
    pub ems_name: String,
    /// The identifier of the endpoint.
    pub endpoint: EndpointId,
    /// The endpoint's certificate, DER.
    #[serde(with = "base64_bytes")]
    pub certificate: Vec<u8>,
    /// EMS's certificate authority, DER; it signs endpoints and EMS's own TLS certificate.
    #[serde(with = "base64_bytes")]
    pub authority: Vec<u8>,
    /// EMS's first Ed25519 public key for documents, 32 bytes: learned here, pinned from here on.
    #[serde(with = "base64_bytes")]
    pub signing_key: Vec<u8>,
    /// Announcements of the keys that followed it, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<Signed>,
    /// When the certificate is to be renewed, seconds since 1970; 0: never.
    #[serde(default)]
    pub renew_after_unix: u64,
}

/// Asks for a new certificate, under the one that still holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RenewRequest {
    /// A PKCS#10 request for a new key, DER. Its subject is ignored.
    #[serde(with = "base64_bytes")]
    pub certificate_request: Vec<u8>,
}

/// The new certificate. The one before it holds until this one is shown for the first time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RenewReply {
    /// The endpoint's certificate, DER.
    #[serde(with = "base64_bytes")]
    pub certificate: Vec<u8>,
    /// When it is to be renewed in its turn, seconds since 1970; 0: never.
    #[serde(default)]
    pub renew_after_unix: u64,
}

/// Why EMS refused a request, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalCode {
    /// No such invitation.
    InvitationUnknown,
    /// The invitation was used before.
    InvitationUsed,
    /// The invitation's time is over.
    InvitationExpired,
    /// Too many attempts; ask later.
    RateLimited,
    /// No client certificate, or one that this EMS did not issue or has revoked.
    NotEnrolled,
    /// The request does not parse or breaks a bound.
    RequestInvalid,
    /// EMS lost the facts on which the changes build: send them in full.
    FullReportNeeded,
    /// EMS does not allow this, such as leaving.
    NotAllowed,
    /// What was named is not there.
    NotFound,
    /// EMS failed inside.
    ServerFailed,
    /// A code this version does not know.
    #[serde(other)]
    Unrecognised,
}

/// The body of every refusal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ErrorReply {
    /// Why, for programs.
    pub code: RefusalCode,
    /// Why, for people. Text from outside: shown, never obeyed.
    pub detail: String,
}
