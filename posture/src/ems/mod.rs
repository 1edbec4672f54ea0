//! The endpoint's side of EMS, the endpoint management server.
//!
//! In: an invitation, the endpoint's facts, its events. Out: EMS's profile, tagging rules and tag
//! snapshot, each verified, and whether telemetry is up.
//!
//! | module | holds |
//! |---|---|
//! | [`protocol`] | every request, reply and push message, shared with the server |
//! | [`invitation`] | one text: where EMS is, the code, the pin of its key |
//! | [`identity`] | key, certificate and what was pinned at enrolment |
//! | [`signed`] | documents as raw bytes with a detached Ed25519 signature, and what they are bound to |
//! | [`break_glass`] | codes that override the host check of one endpoint for a time |
//! | [`cache`] | identity, documents and the floor below which nothing is believed, on disk |
//! | [`network`] | how the packets reach EMS: the agent's own dialler, bounds |
//! | `trust` | which TLS server is EMS, and how this endpoint proves itself |
//! | [`client`] | one request, one reply: enrol, report, fetch, upload, un-enrol |
//! | [`push`] | server-sent events as a pure parser, and the stream that reads them |
//! | [`session`] | the task that keeps telemetry: report, subscribe, resume, poll, deliver |
//! | [`error`] | what can go wrong |
//!
//! The rules that hold everywhere here: no trust on first use; nothing is parsed before its
//! signature is verified; every reply is bounded in bytes and in time; whatever EMS does ends in a
//! typed error, never in a panic and never in a better verdict than was known before.

pub mod break_glass;
pub mod cache;
pub mod client;
pub mod error;
pub mod identity;
pub mod invitation;
pub mod network;
pub mod protocol;
pub mod push;
pub mod session;
pub mod signed;

mod base64_bytes;
mod trust;

pub use break_glass::{BreakGlass, BreakGlassError, BreakGlassUse};
pub use cache::{Cache, Knowledge};
pub use client::{EmsClient, Introduction, enrol};
pub use error::EmsError;
pub use identity::Identity;
pub use invitation::Invitation;
pub use network::{Dial, Dialling, Limits, Network};
pub use session::{Delivery, SessionSettings, Telemetry, TelemetryState};
