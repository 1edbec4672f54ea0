//! Two hosts and a wire between them.

use crate::net::{Host, shell, wire};
use anyhow::Result;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// The client's address on the wire.
pub const CLIENT: &str = "10.99.0.1";
/// The gateway's address on the wire.
pub const GATEWAY: &str = "10.99.0.2";
/// The gateway's address inside the tunnel.
pub const INSIDE: &str = "10.98.0.1";

/// The hosts; they go when this value goes.
#[derive(Debug)]
pub struct Pair {
    /// Where the tunnel begins.
    pub client: Host,
    /// Where it ends.
    pub gateway: Host,
    /// A folder of this pair's own.
    pub folder: PathBuf,
}

impl Pair {
    /// Makes hosts, wire and folder.
    ///
    /// # Errors
    /// When the system refuses a namespace or a wire.
    pub fn new() -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let (client, gateway) = (Host::new(&format!("bc{number}"))?, Host::new(&format!("bg{number}"))?);
        wire((&client, "wan0", &format!("{CLIENT}/24")), (&gateway, "wan0", &format!("{GATEWAY}/24")))?;
        let folder = PathBuf::from(format!("/run/bench{number}"));
        std::fs::create_dir_all(&folder)?;
        Ok(Self { client, gateway, folder })
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        // They would go with the run anyway; a long run should not gather hundreds of them.
        for host in [&self.client, &self.gateway] {
            let _ = shell(&format!("ip netns delete {}", host.name()));
        }
    }
}
