//! Where the service's log is: in systemd's journal, or in a file.

use jiff::Timestamp;
use postern_api::fault::{Fault, FaultName};
use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader, Split};
use tokio::process::{Child, ChildStdout, Command};

/// The service's unit.
const UNIT: &str = "posternd.service";
/// Where the service's output goes where there is no systemd.
const FILE: &str = "/var/log/posternd.log";
/// How much of the end of a log is read.
const MOST: usize = 16 << 20;
/// How often a file that is followed is looked at, by this command alone.
const LOOK: Duration = Duration::from_millis(250);

/// Where to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The journal.
    Journal,
    /// A file.
    File(PathBuf),
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Journal => write!(formatter, "the journal of {UNIT}"),
            Self::File(path) => path.display().fmt(formatter),
        }
    }
}

impl Source {
    /// The file that is named, else the journal where systemd runs, else the usual file.
    pub(super) fn of(file: Option<PathBuf>) -> Self {
        match file {
            Some(file) => Self::File(file),
            None if Path::new("/run/systemd/system").is_dir() => Self::Journal,
            None => Self::File(FILE.into()),
        }
    }

    /// What somebody who sees nothing may try.
    pub(super) fn advice(&self) -> &'static str {
        match self {
            Self::Journal => " (the journal is for root and the group systemd-journal)",
            Self::File(_) => "",
        }
    }

    /// Returns what was written so far, and what will be, where somebody follows it.
    ///
    /// # Errors
    /// `NotPermitted` or `UsageInvalid` where the log cannot be read.
    pub(super) async fn open(
        &self,
        since: Option<Timestamp>,
        most: usize,
        follow: bool,
    ) -> Result<(Reading, Vec<String>), Fault> {
        match self {
            Self::File(path) => {
                let mut tail = Tail::open(path).map_err(|error| self.unreadable(&error))?;
                let written = tail.more().map_err(|error| self.unreadable(&error))?;
                Ok((if follow { Reading::File(tail) } else { Reading::Over }, written))
            }
            Self::Journal => {
                let mut child = Command::new("journalctl");
                child.args(["--quiet", "--no-pager", "--output=cat"]).arg(format!("--unit={UNIT}"));
                if let Some(since) = since {
                    child.arg(format!("--since=@{}", since.as_second()));
                }
                child.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
                match (follow, most) {
                    (false, _) => &mut child,
                    (true, usize::MAX) => child.args(["--follow", "--no-tail"]),
                    (true, most) => child.arg("--follow").arg(format!("--lines={most}")),
                };
                let mut child = child.spawn().map_err(|error| self.unreadable(&error))?;
                let Some(output) = child.stdout.take() else {
                    return Err(self.unreadable(&io::ErrorKind::BrokenPipe.into()));
                };
                let output = BufReader::new(output);
                if follow {
                    let journal = Journal { _child: child, lines: output.split(b'\n') };
                    return Ok((Reading::Journal(Box::new(journal)), Vec::new()));
                }
                let written = last(output, MOST).await.map_err(|error| self.unreadable(&error))?;
                Ok((Reading::Over, written))
            }
        }
    }

    fn unreadable(&self, error: &io::Error) -> Fault {
        let (name, next) = match error.kind() {
            io::ErrorKind::PermissionDenied => (FaultName::NotPermitted, "run it as root"),
            _ => (FaultName::UsageInvalid, "name the log with --file"),
        };
        Fault::new(name, self.to_string(), format!("cannot be read: {error}"), next)
    }
}

/// Reads to the end and keeps the last lines that have `most` octets together: a journal may be larger than
/// the memory.
async fn last(text: impl AsyncBufRead + Unpin, most: usize) -> io::Result<Vec<String>> {
    let (mut lines, mut kept, mut octets) = (text.split(b'\n'), VecDeque::new(), 0);
    while let Some(line) = lines.next_segment().await? {
        let line = String::from_utf8_lossy(&line).into_owned();
        octets += line.len();
        kept.push_back(line);
        while octets > most {
            octets -= kept.pop_front().map_or(octets, |line| line.len());
        }
    }
    Ok(kept.into())
}

/// What goes on to be read.
pub(super) enum Reading {
    /// Nothing more.
    Over,
    /// A file that grows.
    File(Tail),
    /// What the journal tells.
    Journal(Box<Journal>),
}

/// The journal's own program, and what it tells.
pub(super) struct Journal {
    /// Ended with this value.
    _child: Child,
    lines: Split<BufReader<ChildStdout>>,
}

impl Reading {
    /// Waits for the next line; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<String>, Fault> {
        let failed = |error: io::Error| Fault::new(FaultName::Internal, "logs", error.to_string(), "");
        match self {
            Self::Over => Ok(None),
            Self::Journal(journal) => {
                let line = journal.lines.next_segment().await.map_err(failed)?;
                Ok(line.map(|line| String::from_utf8_lossy(&line).into_owned()))
            }
            Self::File(tail) => loop {
                if let Some(line) = tail.waiting.pop_front() {
                    return Ok(Some(line));
                }
                let more = tail.more().map_err(failed)?;
                tail.waiting.extend(more);
                if tail.waiting.is_empty() {
                    tokio::time::sleep(LOOK).await;
                }
            },
        }
    }
}

/// A file that grows, and may be replaced by a new one.
#[derive(Debug)]
pub(super) struct Tail {
    path: PathBuf,
    file: File,
    /// A line that is not written to its end.
    begun: Vec<u8>,
    waiting: VecDeque<String>,
}

impl Tail {
    fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let skipped = file.metadata()?.len().saturating_sub(MOST as u64);
        if skipped > 0 {
            file.seek(SeekFrom::Start(skipped))?;
        }
        Ok(Self { path: path.to_owned(), file, begun: Vec::new(), waiting: Default::default() })
    }

    /// Reads what was written since, line by line.
    fn more(&mut self) -> io::Result<Vec<String>> {
        let position = self.file.stream_position()?;
        if self.file.metadata()?.len() < position {
            // Emptied in its place.
            self.file.seek(SeekFrom::Start(0))?;
            self.begun.clear();
        }
        self.read()?;
        if let Ok(other) = Self::open(&self.path)
            && !same(&self.file, &other.file)
        {
            // The old one was read to its end.
            self.file = other.file;
            self.read()?;
        }
        let Some(end) = self.begun.iter().rposition(|octet| *octet == b'\n') else { return Ok(Vec::new()) };
        let rest = self.begun.split_off(end + 1);
        let whole = std::mem::replace(&mut self.begun, rest);
        Ok(String::from_utf8_lossy(&whole).lines().map(str::to_owned).collect())
    }

    fn read(&mut self) -> io::Result<()> {
        if self.begun.len() >= MOST {
            // No line of a log is as long.
            self.begun.clear();
        }
        (&mut self.file).take(MOST as u64).read_to_end(&mut self.begun)?;
        Ok(())
    }
}

/// Tells whether two open files are one.
fn same(one: &File, other: &File) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let identity = |file: &File| file.metadata().map(|found| (found.dev(), found.ino())).ok();
        identity(one) == identity(other)
    }
    #[cfg(not(unix))]
    {
        let _ = (one, other);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_file_is_followed_line_by_line_over_a_rotation_and_an_emptying() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let append = |text: &str| {
            let mut file = File::options().create(true).append(true).open(&path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        };
        append("one\ntw");
        let mut tail = Tail::open(&path).unwrap();
        assert_eq!(tail.more().unwrap(), ["one"]);
        assert!(tail.more().unwrap().is_empty(), "a line that is not written to its end");
        append("o\n");
        assert_eq!(tail.more().unwrap(), ["two"]);
        append("three\n");
        std::fs::rename(&path, folder.path().join("log.1")).unwrap();
        append("four\n");
        assert_eq!(tail.more().unwrap(), ["three", "four"]);
        File::create(&path).unwrap();
        assert!(tail.more().unwrap().is_empty());
        append("five\n");
        assert_eq!(tail.more().unwrap(), ["five"]);
    }

    #[tokio::test]
    async fn of_a_journal_the_last_lines_are_kept() {
        let text = b"one\ntwo\nthr\xffe\nfour".as_slice();
        assert_eq!(last(text, 100).await.unwrap(), ["one", "two", "thr\u{fffd}e", "four"]);
        assert_eq!(last(text, 11).await.unwrap(), ["thr\u{fffd}e", "four"]);
        assert!(last(text, 3).await.unwrap().is_empty());
    }

    #[test]
    fn the_file_that_is_named_is_read_before_any_journal() {
        assert_eq!(Source::of(Some("/x".into())), Source::File("/x".into()));
        assert!(matches!(Source::of(None), Source::Journal | Source::File(_)));
    }
}
