//! IKEv2 initiator, ESP and the tunnel engine: a sans-IO core with a thin I/O shell.
//!
//! | module | holds |
//! |---|---|
//! | [`auth`] | proof of identity: pre-shared key, certificates, EAP |
//! | [`time`], [`random`] | the clock and the randomness that are handed in |

pub mod auth;
pub mod random;
pub mod time;

pub use random::{Random, SystemRandom};
pub use time::Timestamp;
