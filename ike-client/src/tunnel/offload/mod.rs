//! Segmentation offload at the TUN device: super-packets taken apart on the way out, packets of
//! one stream or flow joined on the way in.
//!
//! Linux hands over TCP and UDP in pieces of up to 64 KiB with a ten-octet header that says how
//! they are to be cut (`struct virtio_net_hdr`, include/uapi/linux/virtio_net.h), and takes them so.
//! Pure functions over bytes; the device is elsewhere.

pub mod checksum;
pub mod coalesce;
pub mod headers;
pub mod mss;
pub mod split;

pub use coalesce::{Coalescer, Joins};
pub use headers::VirtioHeader;
pub use split::{Segments, SplitError, split};

#[cfg(test)]
pub(super) mod tests;
