//! Exchanges: one request, one response, whatever the network does in between.
//!
//! In: messages of one IKE SA and the time. Out: datagrams to send, messages that are whole,
//! authentic and new. It knows message ids, windows, repetition and fragments, and nothing of
//! what a message means. It never changes an SA and never waits.
//!
//! | module | holds |
//! |---|---|
//! | [`retransmission`] | when a request is repeated, and when it is given up |
//! | [`window`] | message ids: which response is awaited, which request is new, old or cached |
//! | [`protection`] | SK payloads: seal and open, whole or in fragments |
//! | [`intermediate`] | what binds IKE_INTERMEDIATE into AUTH |
//! | [`reassembly`] | fragments that came until their message is whole (RFC 7383), bounded |

pub mod intermediate;
pub mod protection;
pub mod reassembly;
pub mod retransmission;
pub mod window;

pub use intermediate::IntermediateTranscript;
pub use protection::{OpenError, Protection, SealError};
pub use reassembly::Reassembly;
pub use retransmission::{RetransmissionPolicy, Retransmitter};
pub use window::{Incoming, IncomingWindow, OutgoingWindow};
