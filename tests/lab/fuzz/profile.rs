//! Fuzz targets of profiles: exports of FortiClient.

use postern_agent::profile::import::{self, Additions, Outcome};
use postern_agent::profile::{Tunnel, catalogue, document};
use std::path::Path;

/// Reads an export. What reads must make tunnels that read again under names that can be files'.
///
/// # Panics
/// When it does not.
pub fn import(bytes: &[u8]) {
    let file = Path::new("export.xml");
    let import = match import::read(file, bytes, &Additions::default()) {
        Ok(import) => import,
        Err(error) => return assert!(!error.pointed().is_empty()),
    };
    serde_json::to_string(&import).expect("an account is JSON");
    for connection in &import.connections {
        if let Outcome::Tunnel { tunnel, toml, .. } = &connection.outcome {
            assert!(catalogue::is_name(tunnel), "{tunnel:?}");
            document::parse::<Tunnel>(file, toml).expect("what is written is read");
        }
    }
}
