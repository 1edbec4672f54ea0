//! The IKE SA and its CHILD SAs: from the first message to the last.
//!
//! A [`Session`] is one connection to one gateway. It holds no socket, clock, file or random
//! source: they are handed in. The driver
//!
//! 1. feeds it: [`Session::handle_datagram`], [`Session::handle_timeout`],
//!    [`Session::handle_response`], and the commands ([`Session::close`], ...);
//! 2. then empties it: [`Session::poll_transmit`], [`Session::poll_event`],
//!    [`Session::poll_request`], each until it gives nothing;
//! 3. then sleeps until [`Session::poll_timeout`] or the next input.
//!
//! What must never happen here: an EAP answer before the gateway has proven itself; an algorithm
//! that was not offered; an established SA changed by a message that is not protected by it.
//!
//! | module | holds |
//! |---|---|
//! | [`configuration`] | what a session is told beforehand |
//! | [`request`] | what it asks for, and the answers |
//! | [`event`], [`cause`] | what it tells |
//! | [`output`] | datagrams, sockets, timers, counters |

pub mod cause;
pub mod configuration;
pub mod event;
pub mod output;
pub mod request;

pub use cause::{CloseCause, CloseReason, DistrustReason, LikelyCause, Retry, SaKind};
pub use configuration::{
    ClientAuthentication, Configuration, Extensions, GatewayAuthentication, Lifetime, VirtualAddresses,
};
pub use event::{ChildInstalled, Established, Event, Nat, OutboundFrom, Warning};
pub use output::{Counters, LocalSocket, TimerName, Transmit};
pub use request::{Answer, Request, RequestId};
