//! The system's network as a value: what to change, what was changed, how to take it back.
//!
//! | module | holds |
//! |---|---|
//! | [`step`] | the single changes, as data that can be written down, sent and undone |
//! | [`plan`] | pure: from what the gateway granted and the tunnel's settings to an ordered plan |
//! | [`ruleset`] | pure: the nftables text of a plan |
//! | [`resolver`] | pure: what to tell the resolver, and the edit of `resolv.conf` |
//! | [`journal`] | the write-ahead undo log |
//! | [`system`] | carries a plan out and takes it back, through a [`System`] |
//!
//! Everything of ours lives in places of our own: two routing tables, rules at priorities of our
//! own that carry our protocol number, nftables tables of our own, marked lines. So undoing is
//! removing what is ours, never restoring a picture of the whole, and what others changed
//! meanwhile stays.
//!
//! **The order is the safety.** A plan first guards the tunnel's addresses (nothing with such a
//! source ever leaves by another way), then arms the block of what the tunnel protects, and
//! only then builds the tunnel *in front of* that block. Losing the tunnel, by command or by
//! `kill -9`, uncovers the block; there is no moment between.

pub mod journal;
pub mod plan;
pub mod resolver;
pub mod ruleset;
pub mod step;
pub mod system;

pub use journal::{Journal, JournalError};
pub use plan::{Block, Granted, Plan, PlanError, TunnelNetworkSettings};
pub use step::{Purpose, Step};
pub use system::{System, SystemError, settle};
