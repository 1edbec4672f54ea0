//! Hearing of change, where the system tells.

use super::platform;
use tokio::sync::mpsc;

/// Sends whenever an address, a link or a route of this endpoint changes; several changes in a row are one
/// while the listener is busy. Ends when nobody listens.
///
/// # Errors
/// Where this system does not tell, or the kernel refuses to: the caller looks again from time to time.
pub async fn network_changes(changed: mpsc::Sender<()>) -> Result<(), std::io::Error> {
    platform::network_changes(changed).await
}
