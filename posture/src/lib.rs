//! Postern.

pub mod ems;
