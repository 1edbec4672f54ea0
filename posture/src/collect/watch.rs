//! Hearing of change, where the system tells; looking from time to time where it does not.

use super::platform;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, oneshot};

/// How often is looked where nobody tells.
pub(super) const LOOK: Duration = Duration::from_millis(500);

/// How changes are noticed, for a person who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noticing {
    /// Changes of what.
    pub about: &'static str,
    /// How they are told, or why nobody tells, so that we look from time to time.
    pub how: Result<&'static str, String>,
}

/// Takes how changes are noticed, at the beginning and when that changes.
pub type Notices = mpsc::UnboundedSender<Noticing>;

/// Sends whenever an address, a link or a route of this endpoint changes; several changes in a row are one
/// while the listener is busy. Ends when nobody listens.
///
/// # Errors
/// Where this system does not tell, or the kernel refuses to: the caller looks again from time to time.
pub async fn network_changes(changed: mpsc::Sender<()>) -> Result<(), std::io::Error> {
    platform::network_changes(changed).await
}

/// Who hears of changes of this endpoint's packet filter. To begin to listen takes a right that going on
/// does not, so a service that gives its rights up begins before.
#[derive(Debug)]
pub struct FirewallListener(platform::FirewallListener);

impl FirewallListener {
    /// Begins to listen.
    ///
    /// # Errors
    /// As [`network_changes`].
    pub fn open() -> Result<Self, std::io::Error> {
        platform::FirewallListener::open().map(Self)
    }

    /// Sends whenever the packet filter has changed. Ends when nobody listens.
    ///
    /// # Errors
    /// As [`network_changes`].
    pub async fn changes(self, changed: mpsc::Sender<()>) -> Result<(), std::io::Error> {
        self.0.changes(changed).await
    }
}

/// Sends whenever a service of this system tells of a change: who is logged on, the firewall, the network,
/// resolvers. Ends when nobody listens, or at once where there are no such services.
pub async fn service_changes(changed: mpsc::Sender<()>, notices: Notices) {
    platform::bus_changes(changed, notices).await;
}

/// Watches the paths that were named last, and sends whenever one of them changes, comes or goes, or
/// something in it does; and once after paths were named, since they may have changed before they were
/// watched. Ends when nobody listens.
pub async fn file_changes(wanted: mpsc::UnboundedReceiver<Vec<PathBuf>>, changed: mpsc::Sender<()>, notices: Notices) {
    platform::file_changes(wanted, changed, notices).await;
}

/// Sends whenever one of the programs that were named last (by the names of their files) starts or ends.
/// Ends when nobody listens.
pub async fn process_changes(
    wanted: mpsc::UnboundedReceiver<BTreeSet<String>>,
    changed: mpsc::Sender<()>,
    notices: Notices,
) {
    platform::process_changes(wanted, changed, notices).await;
}

/// Looks at the paths again and again.
pub(super) async fn by_looking(mut wanted: mpsc::UnboundedReceiver<Vec<PathBuf>>, changed: mpsc::Sender<()>) {
    let (looks, mut paths, mut sights) = (Looks::default(), Vec::new(), HashMap::new());
    loop {
        tokio::select! {
            named = wanted.recv() => match named {
                Some(named) => paths = named,
                None => return,
            },
            () = tokio::time::sleep(LOOK), if !paths.is_empty() => {}
        }
        if looks.compare(&paths, &mut sights).await
            && matches!(changed.try_send(()), Err(mpsc::error::TrySendError::Closed(())))
        {
            return;
        }
    }
}

/// What can be told apart by looking at a file from outside; none where it is not there.
type Sight = Option<(Option<SystemTime>, u64)>;

/// Looks that may never come back (a dead mount): each in a thread of its own, and none at a path at which
/// one is under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Looks {
    under_way: Arc<Mutex<HashSet<PathBuf>>>,
}

impl Looks {
    /// Begins a look, unless one is under way; the answer is none then, or when the look failed.
    pub(super) fn begin<T: Send + 'static, F: FnOnce(&Path) -> T + Send + 'static>(
        &self,
        path: &Path,
        look: F,
    ) -> impl Future<Output = Option<T>> + use<T, F> {
        let (sender, receiver) = oneshot::channel();
        let under_way = Arc::clone(&self.under_way);
        let path = path.to_owned();
        if under_way.lock().unwrap_or_else(PoisonError::into_inner).insert(path.clone()) {
            tokio::task::spawn_blocking(move || {
                let seen = look(&path);
                under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&path);
                // Nobody waits any more for one that came too late.
                let _ = sender.send(seen);
            });
        }
        async { receiver.await.ok() }
    }

    /// Looks at the paths; returns whether any of them is another than it was. One that does not come back
    /// in time is as it was.
    pub(super) async fn compare(&self, paths: &[PathBuf], sights: &mut HashMap<PathBuf, Sight>) -> bool {
        let mut other = false;
        let end = tokio::time::Instant::now() + LOOK;
        let begun: Vec<_> = paths.iter().map(|path| (path, self.begin(path, sight))).collect();
        for (path, look) in begun {
            if let Ok(Some(seen)) = tokio::time::timeout_at(end, look).await {
                let before = sights.insert(path.clone(), seen);
                other |= before.is_some_and(|before| before != seen);
            }
        }
        other
    }
}

fn sight(path: &Path) -> Sight {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok(), metadata.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_change_a_birth_and_a_removal_are_found_by_looking() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("status");
        std::fs::write(&path, "1").unwrap();
        let (name, names) = mpsc::unbounded_channel();
        let (changed, mut heard) = mpsc::channel(4);
        let looking = tokio::spawn(by_looking(names, changed));
        name.send(vec![path.clone()]).unwrap();
        tokio::time::sleep(LOOK).await;
        let change: [fn(&PathBuf); 3] = [
            |path| std::fs::write(path, "22").unwrap(),
            |path| std::fs::remove_file(path).unwrap(),
            |path| std::fs::write(path, "1").unwrap(),
        ];
        for step in change {
            step(&path);
            tokio::time::timeout(LIMIT, heard.recv()).await.unwrap().unwrap();
        }
        drop(name);
        looking.await.unwrap();
    }

    #[tokio::test]
    async fn a_path_that_never_answers_holds_up_no_other_and_is_asked_once() {
        let looks = Looks::default();
        let (release, held) = std::sync::mpsc::channel::<()>();
        let dead = Path::new("/dead");
        let hanging = looks.begin(dead, move |_| held.recv().is_ok());
        assert_eq!(looks.begin(dead, |_| true).await, None, "it is not asked again");
        let directory = tempfile::tempdir().unwrap();
        let living = directory.path().join("living");
        let mut sights = HashMap::new();
        let paths = [dead.to_owned(), living.clone()];
        assert!(!looks.compare(&paths, &mut sights).await);
        std::fs::write(&living, "1").unwrap();
        assert!(looks.compare(&paths, &mut sights).await);
        release.send(()).unwrap();
        assert_eq!(hanging.await, Some(true));
        assert_eq!(looks.begin(dead, |_| true).await, Some(true), "once it has answered it is");
    }
}
