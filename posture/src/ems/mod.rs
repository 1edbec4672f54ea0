//! The endpoint's side of EMS, the endpoint management server.
//!
//! In: an invitation, the endpoint's facts, its events. Out: EMS's profile, tagging rules and tag
//! snapshot, each verified, and whether telemetry is up.
//!
//! | module | holds |
//! |---|---|
//! | [`protocol`] | every request, reply and push message, shared with the server |
//! | [`invitation`] | one text: where EMS is, the code, the pin of its key |
//! | [`signed`] | documents as raw bytes with a detached Ed25519 signature, and what they are bound to |
//!
//! The rules that hold everywhere here: no trust on first use; nothing is parsed before its
//! signature is verified; every reply is bounded in bytes and in time; whatever EMS does ends in a
//! typed error, never in a panic and never in a better verdict than was known before.

pub mod invitation;
pub mod protocol;
pub mod signed;

mod base64_bytes;
