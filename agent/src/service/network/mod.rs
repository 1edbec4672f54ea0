//! The network of this system, and the process that may change it.
//!
//! | module | holds |
//! |---|---|
//! | [`keeper`] | the task that owns the journal and settles the network |
//! | [`hands`] | which of the two processes carries out which change |
//! | [`link`] | MAIN's handle of NET: starts it, speaks with it |
//! | [`process`] | NET itself: hosts the engine and changes links, addresses, routes and rules |

pub mod hands;
pub mod keeper;
pub mod link;
pub mod process;
