//! Addresses, links, routes and rules: not supported here yet.

use crate::network::step::{Before, Step};
use crate::network::system::{SystemError, Undone};
use crate::platform::RoutesRoom;
use std::io;
use std::net::IpAddr;

/// The routes that cannot be changed.
pub(in crate::platform) struct Routes;

impl RoutesRoom for Routes {
    fn living_on(_address: &IpAddr) -> io::Result<usize> {
        Ok(0)
    }

    fn open() -> Result<Self, SystemError> {
        Ok(Self)
    }

    async fn look(&mut self, step: &Step) -> Result<Before, SystemError> {
        Err(unsupported(step))
    }

    async fn apply(&mut self, step: &Step) -> Result<(), SystemError> {
        Err(unsupported(step))
    }

    async fn undo(&mut self, step: &Step) -> Result<Undone, SystemError> {
        Err(unsupported(step))
    }
}

fn unsupported(step: &Step) -> SystemError {
    SystemError::Unsupported { operation: step.to_string() }
}
