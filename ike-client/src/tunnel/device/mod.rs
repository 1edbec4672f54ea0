//! The network device that applications see. One interface, two ways behind it: Linux with
//! super-packets, the others packet by packet.

#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod imp;
#[cfg(not(target_os = "linux"))]
#[path = "plain.rs"]
mod imp;
#[cfg(target_os = "linux")]
mod joiner;

pub use imp::{Device, Reader, Writer};
