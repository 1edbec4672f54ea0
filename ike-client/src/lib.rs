//! IKEv2 initiator, ESP and the tunnel engine: a sans-IO core with a thin I/O shell.
//!
//! | module | holds |
//! |---|---|
//! | [`auth`] | proof of identity: pre-shared key, certificates, EAP |
//! | [`crypto`] | transforms by name, key exchange, key derivation, protection of payloads |
//! | [`esp`] | sealing and opening packets, anti-replay, selectors |
//! | [`exchange`] | message ids, repetition, protection and fragments of IKE messages |
//! | [`fortigate`] | what a FortiGate dial-up gateway wants beyond IKEv2 |
//! | [`session`] | the IKE SA and CHILD SA machines: what a driver talks to |
//! | [`time`], [`random`] | the clock and the randomness that are handed in |
//! | [`wire`] | IKE messages: bytes to typed values and back |
//! | [`tunnel`] | the engine: sockets, network device, timers, and the owner's commands and events |
//! | [`transport`] | UDP 4500 and TCP framing as pure codecs |

pub mod auth;
pub mod crypto;
pub mod esp;
pub mod exchange;
pub mod fortigate;
mod octet_strings;
pub mod random;
pub mod session;
pub mod time;
pub mod transport;
pub mod tunnel;
pub mod wire;

pub use random::{Random, SystemRandom};
pub use time::Timestamp;
