//! Why EMS says no.

use crate::ems::store::StoreError;
use posture::ems::protocol::{ErrorReply, RefusalCode};

/// A refusal.
#[derive(Debug, thiserror::Error)]
#[error("{code:?}: {detail}")]
pub struct Denial {
    /// Why, for programs.
    pub code: RefusalCode,
    /// Why, for people.
    pub detail: String,
}

impl Denial {
    /// Makes a refusal.
    pub fn new(code: RefusalCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }

    /// Makes the refusal of a request that cannot be understood or breaks a bound.
    pub fn invalid(detail: impl ToString) -> Self {
        Self::new(RefusalCode::RequestInvalid, detail.to_string())
    }

    /// Makes the refusal of what names something that is not there.
    pub fn missing(detail: impl ToString) -> Self {
        Self::new(RefusalCode::NotFound, detail.to_string())
    }

    /// Makes the refusal of one who is not who he would have to be.
    pub fn stranger() -> Self {
        Self::new(RefusalCode::NotEnrolled, "no certificate that this EMS issued and has not revoked")
    }

    /// Returns the HTTP status.
    pub const fn status(&self) -> u16 {
        match self.code {
            RefusalCode::InvitationUnknown
            | RefusalCode::InvitationUsed
            | RefusalCode::InvitationExpired
            | RefusalCode::NotAllowed => 403,
            RefusalCode::RateLimited => 429,
            RefusalCode::NotEnrolled => 401,
            RefusalCode::RequestInvalid | RefusalCode::Unrecognised => 400,
            RefusalCode::NotFound => 404,
            RefusalCode::FullReportNeeded => 409,
            RefusalCode::ServerFailed => 500,
        }
    }

    /// Returns the body.
    pub fn reply(&self) -> ErrorReply {
        ErrorReply { code: self.code, detail: self.detail.clone() }
    }
}

impl From<StoreError> for Denial {
    /// What is wrong with the database is for EMS's own log, not for whoever asked.
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "store");
        Self::new(RefusalCode::ServerFailed, "EMS could not read or write its store")
    }
}
