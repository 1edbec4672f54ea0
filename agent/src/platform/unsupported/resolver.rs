//! The resolver: not supported here yet.

use crate::network::resolver::{ResolverBackend, ResolverChange};
use crate::network::system::{SystemError, Undone};
use crate::platform::ResolverRoom;
use std::path::Path;

/// The resolver that cannot be changed.
pub(in crate::platform) struct Resolver;

impl ResolverRoom for Resolver {
    async fn backend(_file: &Path) -> Result<ResolverBackend, SystemError> {
        Err(unsupported())
    }

    async fn apply(_backend: &ResolverBackend, _change: &ResolverChange) -> Result<(), SystemError> {
        Err(unsupported())
    }

    async fn undo(_backend: &ResolverBackend, _change: &ResolverChange) -> Result<Undone, SystemError> {
        Err(unsupported())
    }
}

fn unsupported() -> SystemError {
    SystemError::Unsupported { operation: "changing the resolver".to_owned() }
}
