//! Postern's agent: the service `posternd` and the command line `postern`.
//!
//! | module | holds |
//! |---|---|
//! | [`profile`] | tunnels and settings as written |
#![deny(unsafe_code)]

pub mod profile;
