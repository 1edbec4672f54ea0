//! The service `posternd`: two processes from one binary.
//!
//! | module | holds |
//! |---|---|
//! | [`start`] | how each process begins: rights, paths, settings, logs |
//! | [`hub`] | MAIN's heart: one task that owns every state and carries out every effect |
//! | `told` | what the hub is told by the network process, and of the machine's sleep |
//! | `waiting` | callers that wait for a tunnel |
//! | `watching` | hearing of changes of this system |
//! | `admission` | letting a connection begin |
//! | `block_note` | what is remembered of a block over restarts |
//! | [`call`] | the methods of the control socket, answered by the hub |
//! | `health` | what `postern doctor` is told |
//! | `enrolment` | joining an EMS, and leaving it |
//! | [`unattended`] | joining it without a person |
//! | `decree` | quarantine, break-glass codes, deregistration |
//! | [`judge`] | the hub's side of posture: facts, EMS, verdicts, the lease |
//! | [`keeper`] | the task that owns the journal and settles the network |
//! | [`net_link`] | MAIN's handle of NET: starts it, speaks with it |
//! | [`net`] | NET: hosts the engine and changes links, addresses, routes and rules |
//! | `own` | tunnels that users have of their own |
//! | [`hands`] | which of the two processes carries out which change of the network |
//! | [`look_up`] | finding a gateway's addresses, in a process of its own |
//! | [`inquiry`] | asking whether a gateway's certificate was revoked, in a process of its own |
//! | [`own_key`] | the own private key that a passphrase or a token locks |
//! | [`ems_dial`] | how EMS is reached under a tunnel and a block |
//! | [`scan`] | the vulnerability scan in a process of its own |
//! | [`engine`] | the engine of production |
//! | `settling` | patience with rules that are new and tags that flap |
//! | [`secrets`] | pre-shared keys, passwords and private keys |
//! | [`configuration`] | from a tunnel as written to what the engine is told |
//! | `wireguard` | the same for a WireGuard tunnel |
//! | [`rights`] | what each process may do |
//! | [`probe`] | tries what the network process must not be able to do |

mod admission;
mod block_note;
pub mod call;
pub mod carriers;
pub mod configuration;
mod decree;
pub mod ems_dial;
pub mod engine;
mod enrolment;
pub mod hands;
mod health;
pub mod hub;
pub mod inquiry;
pub mod judge;
pub mod keeper;
pub mod look_up;
pub mod net;
pub mod net_link;
mod own;
pub mod own_key;
pub mod probe;
pub mod rights;
pub mod scan;
pub mod secrets;
mod settling;
mod sign_on;
pub mod start;
mod tell;
mod tickets;
mod told;
pub mod unattended;
mod waiting;
mod watching;
mod whereabouts;
mod wireguard;
