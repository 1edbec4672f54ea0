//! The lab gateway: an IKEv2 responder in the manner of a FortiGate dial-up server.
//!
//! It stands in for what no free gateway shows: a gateway that proves itself by a pre-shared key
//! while the user brings EAP, and a match of posture tags before the tunnel. Where strongSwan can
//! show a thing too, strongSwan is the proof. The state machine is its own, written apart from the
//! client's; codec, cryptography and ESP are the client's.
//!
//! [`Responder`] is the core: datagrams and the time go in, datagrams and events come out. The
//! daemon around it owns sockets, the TUN device and files. It is a lab instrument: it checks what
//! the client must be able to rely on, and is no product.
//!
//! | module | holds |
//! |---|---|
//! | [`settings`] | the configuration file |
//! | [`responder`] | the core: finds the SA of a datagram, opens new ones |
//! | `init`, `sa`, `authentication`, `child`, `informational` | the exchanges of one IKE SA |
//! | `resumption` | tickets, and sessions that come back by them |
//! | `additional` | key exchanges beside the first, which withstand a quantum computer |
//! | [`continuity`] | moving clients, lengths of authentications, crash tokens, redirects |
//! | `proposal`, `proof`, `eap`, `mschapv2` | choosing suites, proving and verifying who is who |
//! | [`pool`] | addresses for clients |
//! | [`fortigate`] | the second factor, the sign-on and more that only a FortiGate does |
//! | [`tags`], [`tag_refusal`], `fabric` | the posture tag match, its refusal on the wire, the lists from EMS |
//! | [`event`], [`log`], [`diagnose`] | what happened, as FortiOS's log lines; what FortiOS's commands print |
//! | [`daemon`], `plane`, `device`, [`console`] | sockets, ESP forwarding, the TUN device, the command socket |
//! | `running` | the program on a host of the lab |

mod additional;
mod authentication;
#[cfg(test)]
mod back_to_back;
mod child;
pub mod console;
pub mod continuity;
pub mod daemon;
mod device;
pub mod diagnose;
mod eap;
pub mod event;
mod fabric;
pub mod fortigate;
mod informational;
mod init;
pub mod log;
mod mschapv2;
pub(crate) mod plane;
pub mod pool;
mod proof;
mod proposal;
pub mod responder;
mod resumption;
mod running;
mod sa;
pub mod settings;
pub mod tag_refusal;
pub mod tags;

pub use event::Event;
pub use responder::{Path, Responder, Transmit};
pub use running::RunningGateway;
pub use settings::Settings;
