//! The icon in the panel. Linux: a StatusNotifierItem over D-Bus. Elsewhere there is no icon yet,
//! only notifications; [`Tray::show`] says so once.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod unsupported;

#[cfg(target_os = "linux")]
pub use linux::Tray;
#[cfg(not(target_os = "linux"))]
pub use unsupported::Tray;
