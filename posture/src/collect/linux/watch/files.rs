//! Hearing of changed files at once: inotify on the folders in which they lie, and looking twice a second
//! where the kernel does not learn of changes (file systems of other machines, FUSE).
//!
//! A folder tells of files that come, go, are replaced or written and closed, each by its name. A file
//! that is not there is watched for at the nearest folder that is. What a mount hides or shows is found at
//! the next tick. A look at a path may never return (a dead mount): each has a thread, is waited for for a
//! moment, and is not begun again while it is under way.

use super::{QUIET, tell};
use crate::collect::watch::{LOOK, Looks, Notices, Noticing};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use nix::sys::statfs::{self, FsType};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// What is told about.
const ABOUT: &str = "files";
/// How long one path is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whatever makes a file of that name another one, or none.
const CHANGES: AddWatchFlags = AddWatchFlags::IN_CREATE
    .union(AddWatchFlags::IN_DELETE)
    .union(AddWatchFlags::IN_MOVED_FROM)
    .union(AddWatchFlags::IN_MOVED_TO)
    .union(AddWatchFlags::IN_CLOSE_WRITE)
    .union(AddWatchFlags::IN_ATTRIB)
    .union(AddWatchFlags::IN_DELETE_SELF)
    .union(AddWatchFlags::IN_MOVE_SELF)
    .union(AddWatchFlags::IN_ONLYDIR);
/// What happens to the folder itself, and what was lost.
const TO_ITSELF: AddWatchFlags = AddWatchFlags::IN_DELETE_SELF
    .union(AddWatchFlags::IN_MOVE_SELF)
    .union(AddWatchFlags::IN_UNMOUNT)
    .union(AddWatchFlags::IN_Q_OVERFLOW);

/// File systems whose files others change unseen: NFS, SMB, CIFS, SMB2, 9P, FUSE.
const UNSEEN: [i64; 6] = [0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42, 0x0102_1997, 0x6573_5546];

/// inotify's descriptor, which may be used from several threads.
#[derive(Clone, Debug)]
struct Watcher(Arc<Inotify>);

/// Waits until there is something to read. To tokio inotify looks like a pipe.
#[derive(Debug)]
struct Ready(Receiver);

impl Ready {
    fn of(watcher: &Watcher) -> io::Result<Self> {
        Ok(Self(Receiver::from_owned_fd_unchecked(watcher.0.as_fd().try_clone_to_owned()?)?))
    }

    async fn wait(&self) -> io::Result<()> {
        self.0.readable().await
    }

    /// Notes that everything was read, unless more has come meanwhile: an event does not fit into one octet.
    fn clear(&self) {
        let _ = self.0.try_read(&mut [0]);
    }
}

/// What matters about a folder: these names in it, or everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Interest {
    names: BTreeSet<OsString>,
    all: bool,
}

/// How one path is watched.
#[derive(Debug, Default)]
struct Armed {
    /// Watched folders, with the name that matters there, or none where all do.
    folders: Vec<(WatchDescriptor, Option<OsString>)>,
    /// Whether the kernel does not learn of all changes.
    unseen: bool,
}

impl Watcher {
    /// Watches the folders that tell of a path. Blocks.
    fn arm(&self, path: &Path) -> io::Result<Armed> {
        let mut armed = Armed::default();
        let real = path.canonicalize().ok().filter(|real| real != path);
        for path in std::iter::once(path.to_owned()).chain(real) {
            let mut name = path.file_name().map(ToOwned::to_owned);
            let mut folder = path.parent().unwrap_or(Path::new("/"));
            while !folder.is_dir() {
                let Some(above) = folder.parent() else { break };
                name = folder.file_name().map(ToOwned::to_owned);
                folder = above;
            }
            armed.folders.push((self.0.add_watch(folder, CHANGES)?, name));
            armed.unseen |= is_unseen(folder);
            if path.is_dir() {
                armed.folders.push((self.0.add_watch(&path, CHANGES)?, None));
                armed.unseen |= is_unseen(&path);
            }
        }
        Ok(armed)
    }
}

fn is_unseen(path: &Path) -> bool {
    let unseen = |kind: FsType| UNSEEN.iter().any(|magic| i128::from(kind.0) & 0xffff_ffff == i128::from(*magic));
    statfs::statfs(path).is_ok_and(|found| unseen(found.filesystem_type()))
}

/// Everything that is watched.
struct Watch {
    watcher: Watcher,
    interests: HashMap<WatchDescriptor, Interest>,
    /// Paths that are looked at.
    looked_at: Vec<PathBuf>,
    looks: Looks,
}

impl Watch {
    /// Watches these paths, and nothing else.
    async fn arm(&mut self, paths: &[PathBuf]) {
        let mut arming = JoinSet::new();
        for path in paths.iter().cloned() {
            let watcher = self.watcher.clone();
            let look = self.looks.begin(&path, move |path| watcher.arm(path));
            arming.spawn(async move { (path, tokio::time::timeout(PATIENCE, look).await) });
        }
        let (mut interests, mut looked_at) = (HashMap::<WatchDescriptor, Interest>::new(), Vec::new());
        while let Some(ended) = arming.join_next().await {
            let Ok((path, armed)) = ended else { continue };
            match armed {
                Ok(Some(Ok(armed))) => {
                    for (folder, name) in armed.folders {
                        let interest = interests.entry(folder).or_default();
                        match name {
                            Some(name) => drop(interest.names.insert(name)),
                            None => interest.all = true,
                        }
                    }
                    if armed.unseen {
                        looked_at.push(path);
                    }
                }
                // No more watches, a folder that may not be read, or a mount that is dead.
                Ok(Some(Err(_)) | None) | Err(_) => looked_at.push(path),
            }
        }
        let gone = self.interests.keys().filter(|folder| !interests.contains_key(*folder));
        for folder in gone {
            // It may have ended with its folder.
            let _ = self.watcher.0.rm_watch(*folder);
        }
        (self.interests, self.looked_at) = (interests, looked_at);
    }

    /// Reads what the kernel has told; returns whether any of it matters.
    fn read(&self) -> bool {
        let mut matters = false;
        while let Ok(events) = self.watcher.0.read_events() {
            matters |= events.iter().any(|event| {
                let interest = self.interests.get(&event.wd);
                let named =
                    |name: &OsString| interest.is_some_and(|interest| interest.all || interest.names.contains(name));
                event.mask.intersects(TO_ITSELF) || event.name.as_ref().is_some_and(named)
            });
        }
        matters
    }

    fn noticing(&self) -> Noticing {
        let how = match self.looked_at.as_slice() {
            [] => Ok("told by the kernel"),
            [path, ..] => {
                Err(format!("{} cannot be watched (it may lie on another machine, or not answer)", path.display()))
            }
        };
        Noticing { about: ABOUT, how }
    }
}

pub(in crate::collect) async fn file_changes(
    mut wanted: mpsc::UnboundedReceiver<Vec<PathBuf>>,
    changed: mpsc::Sender<()>,
    notices: Notices,
) {
    let watcher = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC);
    let opened = watcher.map_err(io::Error::from).and_then(|watcher| {
        let watcher = Watcher(Arc::new(watcher));
        Ok((Ready::of(&watcher)?, watcher))
    });
    let (ready, watcher) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            let how = Err(format!("inotify: {error}"));
            let _ = notices.send(Noticing { about: ABOUT, how });
            return crate::collect::watch::by_looking(wanted, changed).await;
        }
    };
    let looks = Looks::default();
    let mut watch = Watch { watcher, interests: HashMap::new(), looked_at: Vec::new(), looks: looks.clone() };
    let (mut paths, mut sights, mut told) = (Vec::new(), HashMap::new(), None);
    loop {
        let matters = tokio::select! {
            named = wanted.recv() => {
                let Some(named) = named else { return };
                paths = named;
                true
            }
            readable = ready.wait() => {
                if readable.is_err() {
                    return;
                }
                let matters = watch.read();
                ready.clear();
                matters
            }
            () = tokio::time::sleep(LOOK), if !watch.looked_at.is_empty() => looks.compare(&watch.looked_at, &mut sights).await,
            () = changed.closed() => return,
        };
        if !matters {
            continue;
        }
        tokio::time::sleep(QUIET).await;
        // Folders may have come or gone. What changed before they were watched is found by the look that
        // this telling causes.
        watch.arm(&paths).await;
        watch.read();
        let known: HashSet<&PathBuf> = watch.looked_at.iter().collect();
        sights.retain(|path, _| known.contains(path));
        looks.compare(&watch.looked_at, &mut sights).await;
        let noticing = watch.noticing();
        if told.as_ref() != Some(&noticing) {
            told = Some(noticing.clone());
            let _ = notices.send(noticing);
        }
        if !tell(&changed) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    struct Bench {
        names: mpsc::UnboundedSender<Vec<PathBuf>>,
        changes: mpsc::Receiver<()>,
        notices: mpsc::UnboundedReceiver<Noticing>,
    }

    /// Watches, and waits until the watching has begun.
    async fn bench(paths: &[PathBuf]) -> Bench {
        let (names, wanted) = mpsc::unbounded_channel();
        let (changed, changes) = mpsc::channel(1);
        let (told, notices) = mpsc::unbounded_channel();
        tokio::spawn(file_changes(wanted, changed, told));
        names.send(paths.to_vec()).unwrap();
        let mut bench = Bench { names, changes, notices };
        bench.heard("the beginning").await;
        bench
    }

    impl Bench {
        async fn heard(&mut self, what: &str) {
            let heard = tokio::time::timeout(LIMIT, self.changes.recv()).await;
            assert!(matches!(heard, Ok(Some(()))), "{what} is not told");
        }
    }

    #[tokio::test]
    async fn a_file_that_comes_is_written_replaced_or_goes_is_told_and_its_neighbours_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("status");
        let mut bench = bench(std::slice::from_ref(&path)).await;
        assert_eq!(bench.notices.recv().await.unwrap().how, Ok("told by the kernel"));
        let replaced = folder.path().join("status-new");
        let steps: [(&str, &dyn Fn()); 5] = [
            ("birth", &|| std::fs::write(&path, "1").unwrap()),
            ("writing", &|| std::fs::write(&path, "22").unwrap()),
            ("replacing", &|| {
                std::fs::write(&replaced, "3").unwrap();
                std::fs::rename(&replaced, &path).unwrap();
            }),
            ("removal", &|| std::fs::remove_file(&path).unwrap()),
            ("link", &|| std::os::unix::fs::symlink("/etc/hostname", &path).unwrap()),
        ];
        for (what, step) in steps {
            step();
            bench.heard(what).await;
        }
        std::fs::write(folder.path().join("neighbour"), "1").unwrap();
        let told = tokio::time::timeout(Duration::from_millis(400), bench.changes.recv()).await;
        assert!(told.is_err(), "a neighbour is nobody's business");
    }

    #[tokio::test]
    async fn a_file_is_told_of_in_folders_that_come_go_and_come_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/file");
        let above = folder.path().join("a");
        let mut bench = bench(std::slice::from_ref(&path)).await;
        for _ in 0..2 {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            bench.heard("the folder").await;
            std::fs::write(&path, "1").unwrap();
            bench.heard("the file").await;
            while tokio::time::timeout(QUIET * 4, bench.changes.recv()).await.is_ok() {}
            std::fs::remove_dir_all(&above).unwrap();
            bench.heard("the end of the folder").await;
            while tokio::time::timeout(QUIET * 4, bench.changes.recv()).await.is_ok() {}
        }
        // The file behind a link, in another folder.
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let (other, target) = (tempfile::tempdir().unwrap(), "target");
        std::fs::write(other.path().join(target), "1").unwrap();
        std::os::unix::fs::symlink(other.path().join(target), &path).unwrap();
        bench.names.send(vec![path]).unwrap();
        bench.heard("the link").await;
        while tokio::time::timeout(QUIET * 4, bench.changes.recv()).await.is_ok() {}
        std::fs::write(other.path().join(target), "22").unwrap();
        bench.heard("the target").await;
    }

    #[tokio::test]
    async fn everything_in_a_folder_that_is_named_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let mut bench = bench(&[folder.path().to_owned()]).await;
        std::fs::write(folder.path().join("any"), "1").unwrap();
        bench.heard("a file").await;
    }
}
