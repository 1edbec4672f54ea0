//! Systems without Linux's capabilities: the service manager decides.

use super::{Confinement, Measure};
use std::io;

pub(crate) fn confine_net() -> io::Result<Confinement> {
    Ok(nothing())
}

pub(crate) fn confine_look_up() -> io::Result<Confinement> {
    Ok(nothing())
}

pub(crate) fn confine_token() -> io::Result<Confinement> {
    Ok(nothing())
}

pub(crate) fn confine_scan() -> io::Result<Confinement> {
    Ok(nothing())
}

pub(crate) fn keep_for_main() -> io::Result<()> {
    Ok(())
}

/// There are no marks.
pub(crate) fn mark<S>(_socket: &S, _mark: u32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

fn nothing() -> Confinement {
    let detail = "Postern does not confine its processes on this operating system yet";
    Confinement { measures: vec![Measure::lacks("confinement", detail, "")] }
}
