//! Linux: users, capabilities, Landlock and seccomp.
//!
//! The order matters: another user can only be taken while the capability for it is held, and
//! what shuts system calls comes last, so that it cannot shut out the measures before it.

mod capabilities;
mod files;
mod system_calls;
mod user;

use super::Confinement;
use nix::sys::prctl;
use std::io;
use std::path::Path;
use system_calls::Sockets;

pub(crate) use capabilities::{keep_for_main, mark};

/// The device from which tunnels are made.
const TUNNEL_DEVICE: &str = "/dev/net/tun";

/// NET gives up for good everything that moving packets and setting routes does not need.
pub(crate) fn confine_net() -> io::Result<Confinement> {
    let user = user::leave_root(Some(Path::new(TUNNEL_DEVICE)))?;
    let capabilities = capabilities::keep_for_net()?;
    seal()?;
    let files = files::only_the_tunnel_device(Path::new(TUNNEL_DEVICE));
    let calls = system_calls::restrict(Sockets::Network);
    Ok(Confinement { measures: vec![user, capabilities, files, calls] })
}

/// The child that looks a name up keeps nothing but reading what the resolver reads.
pub(crate) fn confine_look_up() -> io::Result<Confinement> {
    let user = user::leave_root(None)?;
    let capabilities = capabilities::keep_nothing()?;
    seal()?;
    let files = files::only_what_the_resolver_reads();
    let calls = system_calls::restrict(Sockets::NetworkAndLocal);
    Ok(Confinement { measures: vec![user, capabilities, files, calls] })
}

/// The child that loads a token's module keeps the user, to whom the token belongs, and what that user may read: a
/// module reads files and speaks with services that nobody can list here.
pub(crate) fn confine_token() -> io::Result<Confinement> {
    let capabilities = capabilities::keep_nothing()?;
    seal()?;
    Ok(Confinement { measures: vec![capabilities] })
}

/// The scan reads records that come from outside, large ones, and the files of the system: it reaches neither a
/// network nor another process, and goes first where memory is short.
pub(crate) fn confine_scan() -> io::Result<Confinement> {
    let capabilities = capabilities::keep_for_scan()?;
    seal()?;
    // Where /proc is not there to be written nothing is lost but the order.
    let _ = std::fs::write("/proc/self/oom_score_adj", "500");
    let calls = system_calls::restrict(Sockets::Nothing);
    Ok(Confinement { measures: vec![capabilities, calls] })
}

/// No program that is run adds rights, no other process of the user looks into this one, and its
/// keys are in no core dump.
fn seal() -> io::Result<()> {
    prctl::set_no_new_privs()?;
    prctl::set_dumpable(false)?;
    Ok(())
}
