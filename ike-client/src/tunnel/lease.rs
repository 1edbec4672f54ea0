//! The end of the lease, in memory that the owner writes and the engine reads.
//!
//! A lease that is renewed by command wakes the engine's process each time, which has nothing else to do
//! while nobody sends. So an owner in another process may share a word with it: it writes the end of the
//! lease there, whoever moves packets reads it for every batch, and nobody wakes. That a lease begins and
//! that it is revoked stay commands, for the engine has to act on them; the word of a revoked lease is
//! zero at once, before the command has arrived. The engine cannot write: the memory is sealed against
//! everybody but the mapping that the owner has of it.
//!
//! Only Linux has such memory; elsewhere there is none to be had, and renewals stay commands.

use crate::Timestamp;
use std::io;
use std::time::Duration;

#[cfg(target_os = "linux")]
use linux::Word;
#[cfg(not(target_os = "linux"))]
use others::Word;

#[cfg(unix)]
use std::os::fd::{AsFd, OwnedFd};

/// The owner's end.
#[derive(Debug)]
pub struct LeaseWriter(Word);

/// The engine's end.
#[derive(Debug)]
pub struct LeaseReader(Word);

impl LeaseWriter {
    /// Makes the memory, with no lease in it, and the file by which the engine's process finds it.
    ///
    /// # Errors
    /// The system's, also where it cannot seal such memory.
    #[cfg(unix)]
    pub fn share() -> io::Result<(Self, OwnedFd)> {
        Word::make().map(|(word, file)| (Self(word), file))
    }

    /// Lets the lease run until a moment, and no longer.
    pub fn grant(&self, until: Timestamp) {
        // What lies beyond the centuries that the word holds is no lease.
        self.0.write(u64::try_from(until.since_start().as_nanos()).unwrap_or(0));
    }

    /// Ends the lease.
    pub fn revoke(&self) {
        self.0.write(0);
    }
}

impl LeaseReader {
    /// Finds the memory that the owner has shared.
    ///
    /// # Errors
    /// When this is no such file, or one that could be made shorter or be written by others than its owner.
    #[cfg(unix)]
    pub fn find(file: impl AsFd) -> io::Result<Self> {
        Word::find(file.as_fd()).map(Self)
    }

    /// Returns when the lease ends; a moment long past where there is none.
    pub fn end(&self) -> Timestamp {
        Timestamp::from_start(Duration::from_nanos(self.0.read()))
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use super::io;
    use nix::fcntl::{FcntlArg, SealFlag, fcntl};
    use nix::sys::memfd::{MFdFlags, memfd_create};
    use std::fs::File;
    use std::num::NonZeroUsize;
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
    use std::ptr::NonNull;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// The length of the file; the kernel maps a page at least.
    const LENGTH: usize = size_of::<AtomicU64>();

    /// One word in a mapping of its own.
    #[derive(Debug)]
    pub struct Word(NonNull<AtomicU64>);

    // SAFETY: what it leads to is an atomic that stays mapped as long as the word lives, and is used by
    // shared reference only.
    unsafe impl Send for Word {}
    // SAFETY: as above.
    unsafe impl Sync for Word {}

    impl Word {
        pub fn make() -> io::Result<(Self, OwnedFd)> {
            let file = File::from(memfd_create(c"lease", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?);
            file.set_len(u64::try_from(LENGTH).map_err(io::Error::other)?)?;
            let word = Self::map(file.as_fd(), libc::PROT_READ | libc::PROT_WRITE)?;
            // After this one nobody gets a mapping that can be written.
            fcntl(&file, FcntlArg::F_ADD_SEALS(sealed() | SealFlag::F_SEAL_SEAL))?;
            Ok((word, file.into()))
        }

        pub fn find(file: BorrowedFd<'_>) -> io::Result<Self> {
            let seals = SealFlag::from_bits_retain(fcntl(file, FcntlArg::F_GET_SEALS)?);
            let length = File::from(file.try_clone_to_owned()?).metadata()?.len();
            if !seals.contains(sealed()) || length < u64::try_from(LENGTH).map_err(io::Error::other)? {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "this is no shared lease"));
            }
            Self::map(file, libc::PROT_READ)
        }

        fn map(file: BorrowedFd<'_>, protection: libc::c_int) -> io::Result<Self> {
            let length = NonZeroUsize::new(LENGTH).ok_or(io::ErrorKind::InvalidInput)?.get();
            // SAFETY: a mapping at a place of the kernel's choice touches nothing that is there. The file is
            // as long as the mapping, and sealed before anybody else has it: it gets no shorter.
            let place =
                unsafe { libc::mmap(std::ptr::null_mut(), length, protection, libc::MAP_SHARED, file.as_raw_fd(), 0) };
            if place == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
            NonNull::new(place.cast()).map(Self).ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
        }

        fn word(&self) -> &AtomicU64 {
            // SAFETY: the mapping is aligned to a page, holds a word (any value is one), and lives as long
            // as `self`. Other processes change it as the atomic that it is.
            unsafe { self.0.as_ref() }
        }

        /// Only for a word that was made here: one that was found is mapped for reading.
        pub fn write(&self, value: u64) {
            self.word().store(value, Ordering::Release);
        }

        pub fn read(&self) -> u64 {
            self.word().load(Ordering::Acquire)
        }
    }

    impl Drop for Word {
        fn drop(&mut self) {
            // SAFETY: the mapping was made with this length, and nobody has a reference into it any more.
            unsafe { libc::munmap(self.0.as_ptr().cast(), LENGTH) };
        }
    }

    /// What must hold for a file to be read from: nobody makes it shorter, nobody writes it but who has it mapped.
    fn sealed() -> SealFlag {
        SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_FUTURE_WRITE
    }
}

#[cfg(not(target_os = "linux"))]
mod others {
    /// There is none.
    #[derive(Debug)]
    pub enum Word {}

    impl Word {
        #[cfg(unix)]
        pub fn make() -> super::io::Result<(Self, super::OwnedFd)> {
            Err(super::io::ErrorKind::Unsupported.into())
        }

        #[cfg(unix)]
        pub fn find(_file: std::os::fd::BorrowedFd<'_>) -> super::io::Result<Self> {
            Err(super::io::ErrorKind::Unsupported.into())
        }

        pub fn write(&self, _value: u64) {
            match *self {}
        }

        pub fn read(&self) -> u64 {
            match *self {}
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Write;

    #[test]
    fn what_the_owner_writes_is_read_and_nobody_else_can_write() {
        let (owner, file) = LeaseWriter::share().unwrap();
        let reader = LeaseReader::find(&file).unwrap();
        assert_eq!(reader.end(), Timestamp::ZERO);
        let until = Timestamp::from_start(Duration::from_millis(12_345));
        owner.grant(until);
        assert_eq!(reader.end(), until);
        owner.revoke();
        assert_eq!(reader.end(), Timestamp::ZERO);
        owner.grant(Timestamp::from_start(Duration::MAX));
        assert_eq!(reader.end(), Timestamp::ZERO, "for ever is not for the word to hold");
        let mut file = File::from(file);
        assert!(file.write_all(&[0xff; 8]).is_err() && file.set_len(0).is_err() && file.set_len(4096).is_err());
        assert_eq!(reader.end(), Timestamp::ZERO);
    }

    #[test]
    fn a_file_that_others_could_write_or_shorten_is_no_lease() {
        assert!(LeaseReader::find(File::open("Cargo.toml").unwrap()).is_err());
        assert!(LeaseReader::find(File::open("/dev/null").unwrap()).is_err());
    }
}
