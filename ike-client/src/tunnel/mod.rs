//! The engine: sockets, network device, timers and threads around the sans-IO core.
//!
//! | module | holds |
//! |---|---|
//! | [`control`] | what the owner says and hears: commands, events, the tunnel's configuration |
//! | [`clock`] | the clock that goes on in suspend |
//! | [`engine`] | the loop that drives a session and obeys its owner |
//! | [`lookup`] | from the gateway's name to its addresses |
//! | `plane`, `link`, `device` | the threads that move packets, and the two ends they move them between |
//! | `gate`, [`lease`] | the lease: whether packets may pass at this moment; its end in shared memory |
//! | `encapsulation`, `esp`, `wireguard` | what packets travel in |
//! | [`early`] | what came before its key |
//! | `batch`, [`offload`], `ecn` | packets by the dozen, super-packets, congestion marks |
//! | `crossing` | what was sealed and has not left yet |
//! | `pace` | when a thread lets more packets come |
//! | `overhead` | what lies around a sealed packet |
//! | `path_mtu`, `senders` | the search for the largest packet that the path takes, and who must be told of it |
//! | [`remembered`] | what one tunnel leaves for the next |
//! | `tally`, `volume`, `published` | sums and values shared between threads |
//!
//! The owner holds the lease: packets pass in either direction only while one is granted, and the
//! clock is looked at for every batch, so that nothing that was queued before a suspend or a stop
//! leaves after it. This is the only place of the crate where unsafe code is allowed.

mod alarm;
pub mod batch;
pub mod clock;
pub mod control;
mod crossing;
pub mod device;
pub mod early;
mod ecn;
pub mod encapsulation;
pub mod engine;
pub mod esp;
mod established;
pub mod gate;
pub mod lease;
pub mod link;
pub mod lookup;
pub mod offload;
mod outbox;
mod overhead;
mod pace;
mod path_mtu;
pub mod plane;
mod published;
pub mod remembered;
mod senders;
pub mod socket;
pub mod tally;
mod volume;
pub mod wake;
pub mod wireguard;
