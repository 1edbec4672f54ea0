//! IKE_AUTH: both sides prove who they are, and the first CHILD SA is made (RFC 7296 §1.2, §2.15).
//!
//! The gateway's proof is checked before anything else in its answer is used. Only what
//! `verification` returns for a good proof opens the way on: to the CHILD SA, or to EAP.
//!
//! | module | holds |
//! |---|---|
//! | `own` | the own proof |
//! | `request` | the first request |
//! | `response` | the gateway's answers |
//! | `verification` | who the gateway is |
//! | `revocation` | whether its certificate was revoked, where somebody must be asked |
//! | `second` | the second exchange of RFC 4739 |
//! | `establish` | what it assigned and chose |
//! | `resumed` | all of it for a resumed session |

mod establish;
mod own;
mod request;
mod response;
mod resumed;
mod revocation;
mod second;
mod verification;

pub(super) use own::{AwaitingPreSharedKey, AwaitingSignature, begin};
pub(super) use response::{AwaitingAuthResponse, AwaitingFinalAuth};
pub(super) use resumed::{AwaitingResumedAuth, resume};
pub(super) use revocation::AwaitingRevocation;
pub(super) use second::AwaitingSecondExchange;
