//! Hearing of changed files at once, where the system tells; the tick finds them otherwise.

use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::mpsc;

/// How often watched files are looked at where the system does not tell.
const POLL: Duration = Duration::from_millis(500);

/// What can be told apart by looking at a file from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sight {
    modified: Option<std::time::SystemTime>,
    length: u64,
}

fn look(path: &PathBuf) -> Option<Sight> {
    let metadata = std::fs::metadata(path).ok()?;
    Some(Sight { modified: metadata.modified().ok(), length: metadata.len() })
}

/// Watches the files that are named last, and sends whenever one of them changes, comes or goes.
/// Ends when nobody listens.
///
/// A `stat` of a few files twice a second costs less than a page of notification plumbing for
/// renames, missing parents and network file systems, and misses none of them.
pub async fn watch(mut files: mpsc::UnboundedReceiver<Vec<PathBuf>>, changed: mpsc::Sender<()>) {
    let mut watched: Vec<(PathBuf, Option<Sight>)> = Vec::new();
    let mut beat = tokio::time::interval(POLL);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            named = files.recv() => {
                let Some(named) = named else { return };
                let known = |path: &PathBuf| watched.iter().find(|(other, _)| other == path).map(|(_, sight)| *sight);
                watched = named.into_iter().map(|path| { let sight = known(&path).unwrap_or_else(|| look(&path)); (path, sight) }).collect();
            }
            _ = beat.tick() => {
                let mut any = false;
                for (path, sight) in &mut watched {
                    let now = look(path);
                    any |= now != *sight;
                    *sight = now;
                }
                if any && changed.send(()).await.is_err() {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_a_birth_and_a_removal_are_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("status");
        std::fs::write(&path, "1").unwrap();
        let (name, names) = mpsc::unbounded_channel();
        let (changed, mut heard) = mpsc::channel(4);
        tokio::spawn(watch(names, changed));
        name.send(vec![path.clone()]).unwrap();
        tokio::task::yield_now().await;
        let change: [fn(&PathBuf); 3] = [
            |path| std::fs::write(path, "22").unwrap(),
            |path| std::fs::remove_file(path).unwrap(),
            |path| std::fs::write(path, "1").unwrap(),
        ];
        for step in change {
            step(&path);
            tokio::time::timeout(Duration::from_secs(10), heard.recv()).await.unwrap().unwrap();
        }
    }
}
