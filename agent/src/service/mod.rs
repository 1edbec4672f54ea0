//! The service `posternd`: two processes from one binary.
//!
//! | module | holds |
//! |---|---|
//! | [`start`] | how each process begins: rights, paths, settings, logs |
//! | [`repair`] | taking back what a service that died left, without one |
//! | [`hub`] | MAIN's heart: one task that owns every state and carries out every effect |
//! | [`posture`] | the posture of this endpoint: looked at, judged, decreed |
//! | [`ems`] | joining EMS, and reaching it |
//! | [`tunnel`] | from a tunnel as written to what an engine can run |
//! | [`network`] | the network of this system, and NET, the process that may change it |
//! | [`child`] | work in processes of their own |
//! | [`rights`] | what each process may do |

pub mod child;
pub mod ems;
pub mod hub;
pub mod network;
pub mod posture;
pub mod repair;
pub mod rights;
pub mod start;
pub mod tunnel;
