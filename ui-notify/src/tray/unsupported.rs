//! No icon on this system.

use crate::session::Input;
use crate::view::View;
use tokio::sync::mpsc::UnboundedSender;

/// An icon that is not there.
#[derive(Debug)]
pub struct Tray;

impl Tray {
    /// No icon was asked for.
    pub fn none() -> Self {
        Self
    }

    /// Says that there is no icon on this system.
    pub async fn show(_inputs: UnboundedSender<Input>) -> Self {
        tracing::info!("no tray icon on this system yet: notifications only");
        Self
    }

    /// Draws nothing.
    pub async fn draw(&mut self, _view: View) {}
}
