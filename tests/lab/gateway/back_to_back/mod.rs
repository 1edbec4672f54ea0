//! The client's session and this gateway, wired back to back in virtual time.
//!
//! Above the steps stands what goes over the wire, in RFC 7296's notation.

mod authentication;
mod fortigate;
mod life;
mod posture;
mod resumption;
mod wiring;
