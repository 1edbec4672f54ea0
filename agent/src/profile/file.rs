//! Files that a person or an EMS named, read as a regular file of bounded size or not at all; and
//! files of our own, written as a whole or not at all.
//!
//! A name can lead anywhere. A device without end would take the machine's memory, and a pipe
//! without a writer would hold whoever opens it, so neither is read.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

/// Opens a regular file for reading; never waits for another process.
///
/// # Errors
/// Where it cannot be opened, or is no regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, nix::fcntl::OFlag::O_NONBLOCK.bits());
    let file = options.open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "is not a regular file"))
    }
}

/// Reads a regular file of at most `maximum` bytes.
///
/// # Errors
/// As [`open_regular`], and where it is longer.
pub fn read_regular(path: &Path, maximum: u64) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    open_regular(path)?.take(maximum.saturating_add(1)).read_to_end(&mut octets)?;
    if u64::try_from(octets.len()).is_ok_and(|length| length <= maximum) {
        Ok(octets)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, format!("is longer than {maximum} bytes")))
    }
}

/// Writes a file as a whole or not at all: on a full disk what was there before stays.
///
/// # Errors
/// Where its directory cannot be written.
pub fn replace(path: &Path, octets: &[u8]) -> io::Result<()> {
    let directory = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(octets)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_is_not_read() {
        assert!(read_regular(Path::new("/dev/zero"), 10).unwrap_err().to_string().contains("regular"));
        assert!(read_regular(Path::new("/"), 10).unwrap_err().to_string().contains("regular"));
    }

    #[test]
    fn a_pipe_without_a_writer_does_not_hold_the_reader() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        assert!(read_regular(&pipe, 10).unwrap_err().to_string().contains("regular"));
    }

    #[test]
    fn what_cannot_be_written_whole_leaves_what_was_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        replace(&path, b"old").unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        let full = Path::new("/dev/full/file");
        assert!(replace(full, b"more").is_err());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "no half of a file stays");
    }

    #[test]
    fn the_bound_is_held() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "0123456789").unwrap();
        assert_eq!(read_regular(&path, 10).unwrap(), b"0123456789");
        assert!(read_regular(&path, 9).unwrap_err().to_string().contains("longer than 9"));
    }
}
