//! The service `posternd`: two processes from one binary.
//!
//! | module | holds |
//! |---|---|
//! | [`start`] | how each process begins: rights, paths, settings, logs |
//! | [`hub`] | MAIN's heart: one task that owns every state and carries out every effect |
//! | [`call`] | the methods of the control socket, answered by the hub |
//! | [`judge`] | the hub's side of posture: facts, EMS, verdicts, the lease |
//! | [`keeper`] | the task that owns the journal and settles the network |
//! | [`net_link`] | MAIN's handle of NET: starts it, speaks with it |
//! | [`net`] | NET: hosts the engine and carries out changes of the network |
//! | [`ems_dial`] | how EMS is reached under a tunnel and a block |
//! | [`scan`] | the vulnerability scan in a process of its own |
//! | [`engine`] | the engine of production |
//! | [`secrets`] | pre-shared keys, passwords and private keys |
//! | [`configuration`] | from a tunnel as written to what the engine is told |
//! | `rights` | which capabilities each process keeps |

pub mod call;
pub mod configuration;
pub mod ems_dial;
pub mod engine;
pub mod hub;
pub mod judge;
pub mod keeper;
pub mod net;
pub mod net_link;
mod rights;
pub mod scan;
pub mod secrets;
pub mod start;
mod tell;
