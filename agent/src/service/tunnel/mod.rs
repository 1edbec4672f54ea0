//! From a tunnel as somebody wrote it to one that an engine can run.
//!
//! | module | holds |
//! |---|---|
//! | [`configuration`] | what the engine and the network plan are told |
//! | `wireguard` | the same for a WireGuard tunnel |
//! | [`secrets`] | pre-shared keys, passwords and private keys |
//! | [`own_key`] | the own private key that a passphrase or a token locks |
//! | `tickets` | tickets by which lost tunnels come back |
//! | [`carriers`] | what carried a tunnel on which network |
//! | [`engine`] | the engine of production |

pub mod carriers;
pub mod configuration;
pub mod engine;
pub mod own_key;
pub mod secrets;
pub(super) mod tickets;
pub(super) mod wireguard;
