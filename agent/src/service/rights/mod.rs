//! Which capabilities each process keeps. Held per thread, so this runs before any other thread.

#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod system;
#[cfg(not(target_os = "linux"))]
#[path = "other.rs"]
mod system;

pub(crate) use system::{keep_for_main, keep_for_net};
