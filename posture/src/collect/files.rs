//! The files that rules ask for.

use super::look::Seen;
use super::{Context, Look};
use crate::facts::{FileState, Observation};
use std::collections::{BTreeSet, HashSet, VecDeque};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long one file may hold up the others.
const PATIENCE: Duration = Duration::from_millis(500);

/// Looks at files. One whose file system does not answer is unknown, holds up the others for a moment and
/// is not asked again before it has answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Files {
    silent: Arc<Mutex<HashSet<String>>>,
}

impl Files {
    pub(super) fn look(&self, context: &Arc<Context>, asked: BTreeSet<String>) -> Look<Seen<String, FileState>> {
        let context = Arc::clone(context);
        let end = Instant::now() + context.settings.limit.mul_f64(0.9);
        let seen = self.each(asked, end, move |path| file(&context, path));
        Look::known(seen, "file system")
    }

    /// Asks of each path in turn, in a thread that is left behind where it hangs.
    fn each<T: Send + 'static>(
        &self,
        asked: BTreeSet<String>,
        end: Instant,
        look: impl Fn(&str) -> Observation<T> + Clone + Send + 'static,
    ) -> Seen<String, T> {
        let unknown = || Observation::Unknown("its file system does not answer".to_owned());
        let silent = || self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seen = Seen::new();
        let mut waiting: VecDeque<String> = asked.iter().filter(|path| !silent().contains(*path)).cloned().collect();
        while !waiting.is_empty() && Instant::now() < end {
            let (sender, answers) = channel();
            let (paths, look, known) = (waiting.clone(), look.clone(), Arc::clone(&self.silent));
            let spawned = thread::Builder::new().name("look-file".to_owned()).spawn(move || {
                for path in paths {
                    let observation = look(&path);
                    known.lock().unwrap_or_else(PoisonError::into_inner).remove(&path);
                    // Whoever asked has gone on without this thread.
                    if sender.send((path, observation)).is_err() {
                        return;
                    }
                }
            });
            if let Err(error) = spawned {
                let reason = format!("no thread to look with: {error}");
                seen.extend(waiting.drain(..).map(|path| (path, Observation::Unknown(reason.clone()))));
                break;
            }
            while let Some(next) = waiting.front().cloned() {
                // Marked before it is waited for: the answer takes the mark away.
                silent().insert(next.clone());
                match answers.recv_timeout(PATIENCE.min(end.saturating_duration_since(Instant::now()))) {
                    Ok((path, observation)) => {
                        silent().remove(&path);
                        seen.insert(path, observation);
                        waiting.pop_front();
                    }
                    Err(RecvTimeoutError::Timeout) => {
                        waiting.pop_front();
                        break;
                    }
                    Err(RecvTimeoutError::Disconnected) => {
                        silent().remove(&next);
                        waiting.pop_front();
                        break;
                    }
                }
            }
        }
        for path in asked {
            seen.entry(path).or_insert_with(unknown);
        }
        seen
    }
}

fn file(context: &Context, path: &str) -> Observation<FileState> {
    let asked = Path::new(path);
    if !asked.is_absolute() {
        return Observation::Unknown(format!("{path} is not an absolute path"));
    }
    if context.settings.hidden_folders.iter().any(|folder| asked.starts_with(folder)) {
        return Observation::Denied(format!("{path}: the service's sandbox hides it"));
    }
    match std::fs::metadata(context.path(asked)) {
        Ok(_) => Observation::Known(FileState::Present),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Observation::Known(FileState::Missing)
        }
        Err(error) => Observation::from_error(path, &error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_that_never_answers_costs_its_own_files_only() {
        let files = Files::default();
        let gate = Arc::new(Mutex::new(()));
        let held = gate.lock().unwrap();
        let asked: BTreeSet<String> = ["/a", "/dead/1", "/dead/2", "/z"].map(str::to_owned).into();
        let counted = Arc::new(Mutex::new(0));
        let look = {
            let (gate, counted) = (Arc::clone(&gate), Arc::clone(&counted));
            move |path: &str| {
                if path.starts_with("/dead") {
                    *counted.lock().unwrap() += 1;
                    drop(gate.lock());
                }
                Observation::Known(path.len())
            }
        };
        let limit = || Instant::now() + Duration::from_secs(30);
        for _ in 0..2 {
            let seen = files.each(asked.clone(), limit(), look.clone());
            assert_eq!((seen["/a"].known(), seen["/z"].known()), (Some(&2), Some(&2)));
            assert_eq!(seen["/dead/1"].reason(), Some("its file system does not answer"));
            assert_eq!(seen["/dead/2"].reason(), Some("its file system does not answer"));
            assert_eq!(*counted.lock().unwrap(), 2, "each is asked once");
        }
        drop(held);
        while !files.silent.lock().unwrap().is_empty() {
            thread::yield_now();
        }
        let seen = files.each(asked, limit(), look);
        assert!(seen.values().all(|observation| observation.known().is_some()), "{seen:?}");
    }
}
