//! What the administrator calls: one path on a local socket that only the owner of EMS can open.

use super::Door;
use super::reply::{read, write};
use crate::ems::office::{Actor, Denial};
use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, State};
use axum::response::Response;
use axum::routing::post;
use axum::serve::IncomingStream;
use std::fs::Permissions;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tokio::net::UnixListener;

/// The path.
pub const PATH_ADMINISTER: &str = "/administer";

pub(super) fn routes(door: Door) -> Router {
    Router::new().route(PATH_ADMINISTER, post(administer)).with_state(door)
}

/// Who calls, as the kernel says.
#[derive(Clone)]
pub(super) struct Caller(Option<u32>);

impl Connected<IncomingStream<'_, UnixListener>> for Caller {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self(stream.io().peer_cred().ok().map(|caller| caller.uid()))
    }
}

async fn administer(State(door): State<Door>, ConnectInfo(caller): ConnectInfo<Caller>, body: Bytes) -> Response {
    let Some(uid) = caller.0 else { return write(Err::<(), _>(Denial::stranger())) };
    write(match read(&body) {
        Ok(request) => door.enter(move |office, now| office.administer(request, &Actor::User(uid), now)).await,
        Err(denial) => Err(denial),
    })
}

/// Binds under a name of its own, closes it to others, and then gives it its name: at no moment can
/// another user open it. What an EMS that was killed left behind is replaced.
pub(super) fn listen(socket: &Path) -> Result<UnixListener> {
    let pending = socket.with_extension("new");
    match std::fs::remove_file(&pending) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let listener = UnixListener::bind(&pending).with_context(|| pending.display().to_string())?;
    std::fs::set_permissions(&pending, Permissions::from_mode(0o600))?;
    std::fs::rename(&pending, socket)?;
    Ok(listener)
}
