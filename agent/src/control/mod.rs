//! The control socket: how a person, a script and the tray talk to the service.
//!
//! JSON-RPC 2.0, one object a line ([`postern_api::rpc`]). The [`server`] checks who calls
//! ([`Caller`]), holds each method against its role and hands the rest to a [`Handler`]; the
//! [`client`] is what `postern`, the tray and the tests use. Whatever a caller sends is bounded:
//! length of a line, requests under way, connections. Nothing here knows what a method does.

pub mod client;
pub(crate) mod line;
mod places;
pub mod server;
mod transport;

pub use client::Client;
pub use server::{Caller, Handler, serve};
pub use transport::{Listener, listen};
