//! The control socket as a Unix socket, mode 0660, peers known by SO_PEERCRED.

use super::{Arrival, Peer, Transport};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Group, Uid, User, chown};
use postern_api::method::Role;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

pub(crate) type Stream = UnixStream;

/// How long the system may take to say whose member a user is: behind its names may be a directory in the
/// network.
const MEMBERSHIP_LIMIT: Duration = Duration::from_secs(5);
/// How many users are asked about at a time. A question that hangs cannot be taken back, and holds a thread.
const MOST_QUESTIONS: usize = 8;

/// The listening socket.
pub struct Listener {
    socket: UnixListener,
    doorman: Doorman,
}

/// Settles the roles of callers: asks the system's names for those who are not known by their number.
#[derive(Clone)]
pub(crate) struct Doorman {
    administrators: Vec<Uid>,
    is_member: Arc<dyn Fn(Uid, Gid) -> bool + Send + Sync>,
    limit: Duration,
    questions: Arc<Semaphore>,
}

impl Doorman {
    fn new(
        administrators: Vec<Uid>,
        is_member: impl Fn(Uid, Gid) -> bool + Send + Sync + 'static,
        limit: Duration,
    ) -> Self {
        let questions = Arc::new(Semaphore::new(MOST_QUESTIONS));
        Self { administrators, is_member: Arc::new(is_member), limit, questions }
    }

    fn administers(&self, caller: Uid) -> bool {
        self.administrators.contains(&caller)
    }

    /// Returns who calls and what that user may do: root and the service's own user administer; members of the
    /// group use; others look.
    ///
    /// # Errors
    /// `TimedOut` when the system does not say in time; others when the kernel does not know the caller.
    pub(crate) async fn settle(&self, arrival: Arrival, stream: &UnixStream) -> io::Result<Peer> {
        if arrival.administrator {
            return Ok(Peer { uid: arrival.uid, role: Role::Administrator });
        }
        let credentials = stream.peer_cred()?;
        let is_member = self.asks(Uid::from_raw(credentials.uid()), Gid::from_raw(credentials.gid()));
        let role = match tokio::time::timeout(self.limit, is_member).await?? {
            true => Role::User,
            false => Role::Observer,
        };
        Ok(Peer { uid: arrival.uid, role })
    }

    async fn asks(&self, uid: Uid, primary: Gid) -> io::Result<bool> {
        let turn = Arc::clone(&self.questions).acquire_owned().await.map_err(io::Error::other)?;
        let is_member = Arc::clone(&self.is_member);
        let asked = tokio::task::spawn_blocking(move || {
            let is_member = is_member(uid, primary);
            // Not before: whoever gives up waiting does not end the question.
            drop(turn);
            is_member
        });
        asked.await.map_err(io::Error::other)
    }
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
        let group = group.to_owned();
        let is_member = move |uid, primary| is_member(uid, primary, &group);
        let administrators = vec![Uid::from_raw(0), Uid::effective()];
        Ok(Self { socket, doorman: Doorman::new(administrators, is_member, MEMBERSHIP_LIMIT) })
    }

    async fn accept(&mut self) -> io::Result<(UnixStream, Arrival)> {
        let (stream, _) = self.socket.accept().await?;
        let uid = stream.peer_cred()?.uid();
        Ok((stream, Arrival { uid: Some(uid), administrator: self.doorman.administers(Uid::from_raw(uid)) }))
    }

    fn doorman(&self) -> Doorman {
        self.doorman.clone()
    }

    async fn dial(path: &Path) -> io::Result<UnixStream> {
        UnixStream::connect(path).await
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
impl Listener {
    /// Takes nobody for an administrator, and asks `is_member` instead of the system.
    pub(crate) fn asking(mut self, is_member: impl Fn() -> bool + Send + Sync + 'static, limit: Duration) -> Self {
        self.doorman = Doorman::new(Vec::new(), move |_, _| is_member(), limit);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn roles_follow_user_and_group() {
        let (stream, _far) = UnixStream::pair().unwrap();
        let own = stream.peer_cred().unwrap();
        let other = Uid::from_raw(own.uid().wrapping_add(1));
        let role = async |service: Uid, member: bool| {
            let is_member = move |uid: Uid, _| uid.as_raw() == own.uid() && member;
            let doorman = Doorman::new(vec![service], is_member, MEMBERSHIP_LIMIT);
            let administrator = doorman.administers(Uid::from_raw(own.uid()));
            let arrival = Arrival { uid: Some(own.uid()), administrator };
            doorman.settle(arrival, &stream).await.unwrap().role
        };
        assert_eq!(role(Uid::from_raw(own.uid()), false).await, Role::Administrator);
        assert_eq!(role(other, true).await, Role::User);
        assert_eq!(role(other, false).await, Role::Observer);
    }

    #[tokio::test]
    async fn without_the_group_the_socket_is_its_owners_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        let _listener = Listener::open(&path, "no-such-group-here").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
