//! Reading a file that a person or an EMS named: a regular file of bounded size, or an error.
//!
//! A name can lead anywhere. A device without end would take the machine's memory, and a pipe
//! without a writer would hold whoever opens it, so neither is read.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
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
    fn the_bound_is_held() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "0123456789").unwrap();
        assert_eq!(read_regular(&path, 10).unwrap(), b"0123456789");
        assert!(read_regular(&path, 9).unwrap_err().to_string().contains("longer than 9"));
    }
}
