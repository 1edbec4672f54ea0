//! Postern's agent: the service `posternd` and the command line `postern`.
//!
//! | module | holds |
//! |---|---|
//! | [`cli`] | the command line, one file a command |
//! | [`compliance`] | how posture stands towards each tunnel: pure |
//! | [`connection`] | the life of a connection: events in, effects out |
//! | [`control`] | the control socket, both ends |
//! | [`fault`] | causes to names, words, next steps |
//! | [`ipc`] | what crosses between the two processes of the service |
//! | [`network`] | the plan of addresses, routes, rules, firewall and resolver; its journal |
//! | [`platform`] | the operating system behind one door; the one room with unsafe code |
//! | [`profile`] | tunnels and settings as written |
//! | [`prompt`] | questions to people |
//! | [`service`] | the two processes, and the hub that carries effects out |
//! | [`sign_on`] | the listener that a browser brings a token to |
#![deny(unsafe_code)]

pub mod cli;
pub mod compliance;
pub mod connection;
pub mod control;
pub mod fault;
pub mod ipc;
pub mod network;
#[allow(unsafe_code)]
pub mod platform;
pub mod profile;
pub mod prompt;
pub mod service;
pub mod sign_on;
