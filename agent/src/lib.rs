//! Postern's agent: the service `posternd` and the command line `postern`.
//!
//! | module | holds |
//! |---|---|
//! | [`cli`] | the command line, one file a command
//! | [`control`] | the control socket, both ends |
//! | [`profile`] | tunnels and settings as written |
//! | [`network`] | the plan of addresses, routes, rules, firewall and resolver; its journal |
//! | [`platform`] | the operating system behind one door; the one room with unsafe code |
#![deny(unsafe_code)]

pub mod network;
#[allow(unsafe_code)]
pub mod platform;
pub mod cli;
pub mod control;
pub mod profile;
