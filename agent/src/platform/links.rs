//! Links, addresses, routes and policy rules: what one socket to the kernel can change, and no
//! file has to be read for.

use super::{RoutesRoom, here};
use crate::network::step::{Before, Step};
use crate::network::system::{System, SystemError, Undone};

/// The part of the network that the process with the tunnel's sockets changes.
pub struct Links {
    routes: here::routes::Routes,
}

impl Links {
    /// Opens it for changes. Needs a tokio runtime.
    pub fn open() -> Result<Self, SystemError> {
        Ok(Self { routes: here::routes::Routes::open()? })
    }
}

/// A step for [`super::HostSettings`] is refused here, whoever sends it.
fn ours(step: &Step) -> Result<(), SystemError> {
    if step.is_of_links() {
        return Ok(());
    }
    Err(SystemError::NotPermitted { operation: step.to_string(), detail: "not by this process".to_owned() })
}

impl System for Links {
    async fn look(&mut self, step: &Step) -> Result<Before, SystemError> {
        ours(step)?;
        self.routes.look(step).await
    }

    async fn apply(&mut self, step: &Step, before: &Before) -> Result<(), SystemError> {
        ours(step)?;
        if *before == Before::Present { Ok(()) } else { self.routes.apply(step).await }
    }

    async fn undo(&mut self, step: &Step, before: &Before) -> Result<Undone, SystemError> {
        ours(step)?;
        if *before == Before::Present { Ok(Undone::LeftToOthers) } else { self.routes.undo(step).await }
    }

    async fn restore(&mut self, step: &Step, _before: &Before) -> Result<bool, SystemError> {
        ours(step)?;
        self.routes.restore(step).await
    }
}
