//! The control socket as a Unix socket, mode 0660, peers known by SO_PEERCRED.

use super::{Peer, Transport};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Group, Uid, User, chown};
use postern_api::method::Role;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tokio::net::{UnixListener, UnixStream};

pub(crate) type Stream = UnixStream;

/// The listening socket.
pub struct Listener {
    socket: UnixListener,
    group: String,
}

impl Transport for Listener {
    type Stream = UnixStream;

    fn open(path: &Path, group: &str) -> io::Result<Self> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // Nobody may slip in between bind and the final mode.
        let before = umask(Mode::from_bits_truncate(0o177));
        let bound = UnixListener::bind(path);
        umask(before);
        let socket = bound?;
        match Group::from_name(group).ok().flatten() {
            Some(found) => match chown(path, None, Some(found.gid)) {
                Ok(()) => fs::set_permissions(path, Permissions::from_mode(0o660))?,
                Err(error) => {
                    tracing::warn!(group, %error, "control socket stays root's: the group cannot be given it")
                }
            },
            None => tracing::warn!(group, "control socket stays root's: there is no such group"),
        }
        Ok(Self { socket, group: group.to_owned() })
    }

    async fn accept(&mut self) -> io::Result<(UnixStream, Peer)> {
        let (stream, _) = self.socket.accept().await?;
        let credentials = stream.peer_cred()?;
        let uid = Uid::from_raw(credentials.uid());
        let role = role_of(uid, Uid::effective(), || is_member(uid, Gid::from_raw(credentials.gid()), &self.group));
        Ok((stream, Peer { uid: Some(credentials.uid()), role }))
    }

    async fn dial(path: &Path) -> io::Result<UnixStream> {
        UnixStream::connect(path).await
    }
}

/// root and the service's own user administer; members of the group use; others look.
fn role_of(caller: Uid, service: Uid, is_member: impl FnOnce() -> bool) -> Role {
    if caller.is_root() || caller == service {
        Role::Administrator
    } else if is_member() {
        Role::User
    } else {
        Role::Observer
    }
}

fn is_member(uid: Uid, primary: Gid, group: &str) -> bool {
    let Some(group) = Group::from_name(group).ok().flatten() else { return false };
    if primary == group.gid {
        return true;
    }
    let user = User::from_uid(uid).ok().flatten();
    user.is_some_and(|user| user.gid == group.gid || group.mem.contains(&user.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_follow_user_and_group() {
        let service = Uid::from_raw(990);
        assert_eq!(role_of(Uid::from_raw(0), service, || false), Role::Administrator);
        assert_eq!(role_of(service, service, || false), Role::Administrator);
        assert_eq!(role_of(Uid::from_raw(1000), service, || true), Role::User);
        assert_eq!(role_of(Uid::from_raw(1000), service, || false), Role::Observer);
    }

    #[tokio::test]
    async fn without_the_group_the_socket_is_its_owners_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        let _listener = Listener::open(&path, "no-such-group-here").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
