//! Why a session ended.
//!
//! One variant for each cause that a client can observe. [`CloseCause::notify`] maps a cause to
//! the notify that goes out on the wire, [`CloseCause::retry`] to what is worth trying next.

use super::redirect::RedirectTarget;
use crate::auth::eap::mschapv2::Decline;
use crate::crypto::prf::ExpansionTooLong;
use crate::crypto::protect::ProtectError;
use crate::exchange::SealError;
use crate::random::RandomUnavailable;
use crate::wire::{EncodeError, Notify, NotifyType};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Why the owner of a session closes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CloseReason {
    /// The posture of the endpoint no longer allows the tunnel.
    Compliance,
    /// The path changed and the tunnel is made anew.
    Reconnect,
    /// The service stops.
    Shutdown,
    /// A person or a script asked for it.
    User,
}

/// Why a session ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "cause", rename_all = "kebab-case")]
pub enum CloseCause {
    /// The gateway does not take the address that this client has moved to.
    #[error("the gateway does not take the change of address")]
    AddressChangeRefused,
    /// The gateway has no address to give (INTERNAL_ADDRESS_FAILURE or none in the reply).
    #[error("the gateway has no address to give")]
    AddressUnavailable,
    /// The gateway refused the credentials. It does not say why: the likely causes are named.
    #[error("the gateway refused the authentication")]
    AuthenticationFailed {
        /// What is worth checking, most likely first.
        likely: Vec<LikelyCause>,
    },
    /// The gateway deleted the IKE SA, or its only CHILD SA.
    #[error("the gateway closed the tunnel")]
    ClosedByPeer,
    /// The configuration cannot be used.
    #[error("the tunnel's configuration cannot be used: {what}")]
    ConfigurationUnusable {
        /// What is wrong with it.
        what: String,
    },
    /// The gateway showed, by the token that it gave for this (RFC 6290), that it has lost the SA.
    #[error("the gateway has restarted")]
    GatewayRestarted,
    /// An established SA's peer stopped answering.
    #[error("the gateway stopped answering")]
    GatewayLost,
    /// The gateway could not prove that it is the configured one.
    #[error("the gateway is not trusted: {why}")]
    GatewayNotTrusted {
        /// What its proof lacked.
        why: DistrustReason,
    },
    /// The gateway refused the login and said why.
    #[error("the gateway declined the login: {reason}")]
    LoginDeclined {
        /// Why.
        reason: Decline,
        /// What it says in words, to be shown as plain text; often empty.
        message: String,
    },
    /// A [`Request`](super::Request) was refused by whoever answers.
    #[error("no answer was given: {because}")]
    InputRefused {
        /// In words, as the answer gave it.
        because: String,
    },
    /// A [`Request`](super::Request) stayed unanswered until its deadline.
    #[error("nobody answered the question in time")]
    InputTimedOut,
    /// Nothing that could be used was ever answered.
    #[error("the gateway did not answer")]
    NoAnswer,
    /// The SA reached its age limit and could not be renewed.
    #[error("the security association expired and could not be renewed")]
    Expired,
    /// The peer wants something this client does not have.
    #[error("the gateway wants what this client does not support: {what}")]
    PeerIncompatible {
        /// What it wants.
        what: String,
    },
    /// The authenticated peer broke the protocol.
    #[error("the gateway broke the protocol: {what}")]
    PeerMisbehaved {
        /// How.
        what: String,
    },
    /// No common algorithms.
    #[error("the gateway accepts none of the offered proposals")]
    ProposalMismatch {
        /// Which SA it was about.
        sa: SaKind,
    },
    /// The gateway lacks what the profile makes a condition.
    #[error("the gateway lacks what the tunnel's profile demands: {what}")]
    ProtectionMissing {
        /// What it lacks.
        what: String,
    },
    /// The gateway sends this client to another one (RFC 5685).
    #[error("the gateway redirects to {to}")]
    Redirected {
        /// Where to.
        to: RedirectTarget,
    },
    /// The source of randomness failed.
    #[error("the operating system has no randomness")]
    RandomUnavailable,
    /// The gateway refused with an error notify that has no variant of its own.
    #[error("the gateway refused with notify {notify}")]
    RefusedByPeer {
        /// The notify's number.
        notify: u16,
    },
    /// The owner closed the session.
    #[error("closed on request")]
    Requested {
        /// Why.
        reason: CloseReason,
    },
    /// The gateway's own posture tag check refused.
    #[error("the gateway's posture tag check refused")]
    TagCheckRefused {
        /// What it says, to be shown as plain text; may be empty.
        text: String,
    },
    /// The gateway accepted none of the requested networks.
    #[error("the gateway accepted none of the requested networks")]
    TrafficSelectorsUnacceptable,
}

/// Which security association something is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SaKind {
    /// The CHILD SA, which carries packets.
    Child,
    /// The IKE SA, which negotiates.
    Ike,
}

/// What probably stands behind a vague AUTHENTICATION_FAILED.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LikelyCause {
    /// User name or password is wrong, or the account may not use the VPN.
    CredentialsWrong,
    /// The gateway does not accept this client's certificate.
    CertificateNotAccepted,
    /// The gateway does not know this client's identity (IDi) or expects another IDr.
    IdentityUnknown,
    /// The post-quantum pre-shared keys differ, or the gateway has none under that name.
    PostQuantumKeyWrong,
    /// The pre-shared keys differ.
    PreSharedKeyWrong,
}

/// What the gateway's proof of itself lacked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum DistrustReason {
    /// The AUTH value does not fit the certificate or the pre-shared key.
    #[error("its signature or key proof is wrong")]
    ProofWrong,
    /// The certificate was not accepted.
    #[error("its certificate is not accepted: {error}")]
    Certificate {
        /// Why, in words.
        error: String,
    },
    /// IDr is not the configured one.
    #[error("it calls itself {presented}")]
    IdentityMismatch {
        /// The IDr it sent.
        presented: String,
    },
    /// It proved itself by another kind of method than configured.
    #[error("it used authentication method {method}, which the configuration does not accept")]
    MethodNotAccepted {
        /// The method's number (RFC 7296 §3.8).
        method: u8,
    },
    /// It sent no proof at all where one is due.
    #[error("it sent no proof of its identity")]
    ProofMissing,
    /// It claimed that EAP had succeeded before the method was done.
    #[error("it claimed success before the login was done")]
    EarlySuccess,
    /// It ended EAP-TLS under TLS 1.3 without saying under its keys that nothing follows (RFC 9190 §2.5).
    #[error("it did not confirm within TLS 1.3 that the login has succeeded; anybody on the way may have said so")]
    SuccessUnconfirmed,
    /// Its last AUTH does not come from the key that the login made.
    #[error("its proof does not come from the login")]
    LoginKeyMissing,
    /// EAP succeeded without the proof that the other end knows the password.
    #[error("it did not prove that it knows the password")]
    EapProofMissing,
}

/// What is worth trying after a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "retry", rename_all = "kebab-case")]
pub enum Retry {
    /// Nothing, until a person changes something.
    Never,
    /// The same again, but only with credentials typed anew.
    WithNewCredentials,
    /// The same again, not before this time.
    After {
        /// The least waiting time.
        wait: Duration,
    },
}

impl CloseCause {
    /// Returns the notify that tells the peer why, when one is due (RFC 7296 §2.21).
    pub const fn notify(&self) -> Option<NotifyType> {
        match self {
            Self::GatewayNotTrusted { .. } => Some(NotifyType::AUTHENTICATION_FAILED),
            Self::AddressUnavailable => Some(NotifyType::INTERNAL_ADDRESS_FAILURE),
            Self::PeerMisbehaved { .. } => Some(NotifyType::INVALID_SYNTAX),
            Self::TrafficSelectorsUnacceptable => Some(NotifyType::TS_UNACCEPTABLE),
            _ => None,
        }
    }

    /// Returns what is worth trying next.
    pub const fn retry(&self) -> Retry {
        match self {
            Self::AuthenticationFailed { .. }
            | Self::LoginDeclined {
                reason:
                    Decline::WrongCredentials | Decline::PasswordExpired | Decline::PasswordChange | Decline::Unstated,
                ..
            } => Retry::WithNewCredentials,
            Self::AddressChangeRefused | Self::GatewayRestarted | Self::Redirected { .. } => {
                Retry::After { wait: Duration::ZERO }
            }
            Self::ClosedByPeer | Self::Expired | Self::GatewayLost => Retry::After { wait: Duration::from_secs(2) },
            Self::AddressUnavailable | Self::NoAnswer | Self::RandomUnavailable => {
                Retry::After { wait: Duration::from_secs(10) }
            }
            Self::PeerMisbehaved { .. } | Self::RefusedByPeer { .. } => Retry::After { wait: Duration::from_secs(30) },
            Self::ConfigurationUnusable { .. }
            | Self::GatewayNotTrusted { .. }
            | Self::InputRefused { .. }
            | Self::InputTimedOut
            | Self::LoginDeclined { .. }
            | Self::PeerIncompatible { .. }
            | Self::ProposalMismatch { .. }
            | Self::ProtectionMissing { .. }
            | Self::Requested { .. }
            | Self::TagCheckRefused { .. }
            | Self::TrafficSelectorsUnacceptable => Retry::Never,
        }
    }
}

impl CloseCause {
    /// Returns what an error notify of the peer means. `authentication` says what to suspect behind
    /// an AUTHENTICATION_FAILED.
    pub(super) fn of_refusal(notify: &Notify, sa: SaKind, authentication: &[LikelyCause]) -> Self {
        match notify.notify_type {
            NotifyType::AUTHENTICATION_FAILED => Self::AuthenticationFailed { likely: authentication.to_vec() },
            NotifyType::FAILED_CP_REQUIRED => {
                Self::PeerIncompatible { what: "a request for an address (FAILED_CP_REQUIRED)".to_owned() }
            }
            NotifyType::INTERNAL_ADDRESS_FAILURE => Self::AddressUnavailable,
            NotifyType::LAB_TAG_CHECK_FAILED => {
                Self::TagCheckRefused { text: String::from_utf8_lossy(&notify.data).into_owned() }
            }
            NotifyType::NO_PROPOSAL_CHOSEN => Self::ProposalMismatch { sa },
            NotifyType::SINGLE_PAIR_REQUIRED | NotifyType::TS_UNACCEPTABLE => Self::TrafficSelectorsUnacceptable,
            other => Self::RefusedByPeer { notify: other.0 },
        }
    }

    /// Makes the cause of a peer that broke the protocol.
    pub(super) fn misbehaved(what: impl Into<String>) -> Self {
        Self::PeerMisbehaved { what: what.into() }
    }

    /// Makes the cause of a configuration that cannot be used.
    pub(super) fn unusable(what: impl Into<String>) -> Self {
        Self::ConfigurationUnusable { what: what.into() }
    }
}

impl From<RandomUnavailable> for CloseCause {
    fn from(_: RandomUnavailable) -> Self {
        Self::RandomUnavailable
    }
}

impl From<ProtectError> for CloseCause {
    fn from(error: ProtectError) -> Self {
        match error {
            ProtectError::Random(_) => Self::RandomUnavailable,
            other => Self::unusable(other.to_string()),
        }
    }
}

impl From<SealError> for CloseCause {
    fn from(error: SealError) -> Self {
        match error {
            SealError::Protect(error) => error.into(),
            other => Self::unusable(other.to_string()),
        }
    }
}

impl From<EncodeError> for CloseCause {
    fn from(error: EncodeError) -> Self {
        Self::unusable(error.to_string())
    }
}

impl From<ExpansionTooLong> for CloseCause {
    fn from(error: ExpansionTooLong) -> Self {
        Self::unusable(error.to_string())
    }
}
