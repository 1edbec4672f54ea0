//! Waking a thread of the data plane out of its wait, to end.

#[cfg(not(unix))]
pub use other::Wake;
#[cfg(unix)]
pub use unix::Wake;

#[cfg(unix)]
mod unix {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::io::{self, Write};
    use std::os::fd::{AsFd, BorrowedFd};
    use std::os::unix::net::UnixStream;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// A switch that is set once and wakes every waiter.
    #[derive(Debug)]
    pub struct Wake {
        set: AtomicBool,
        receiver: UnixStream,
        sender: UnixStream,
    }

    impl Wake {
        /// Makes a switch that is not set.
        ///
        /// # Errors
        /// The system's, when it is out of descriptors.
        pub fn new() -> io::Result<Self> {
            let (sender, receiver) = UnixStream::pair()?;
            Ok(Self { set: AtomicBool::new(false), receiver, sender })
        }

        /// Sets the switch.
        pub fn set(&self) {
            self.set.store(true, Ordering::Release);
            // One octet that nobody takes away keeps the other end readable for all.
            let _ = (&self.sender).write(&[1]);
        }

        /// Returns whether the switch is set.
        pub fn is_set(&self) -> bool {
            self.set.load(Ordering::Acquire)
        }

        /// Waits until `fd` can be read. Returns false when the switch was set.
        ///
        /// # Errors
        /// The system's.
        pub fn wait_readable(&self, fd: BorrowedFd<'_>) -> io::Result<bool> {
            self.wait(fd, PollFlags::POLLIN)
        }

        /// Waits until `fd` can be written. Returns false when the switch was set.
        ///
        /// # Errors
        /// The system's.
        pub fn wait_writable(&self, fd: BorrowedFd<'_>) -> io::Result<bool> {
            self.wait(fd, PollFlags::POLLOUT)
        }

        fn wait(&self, fd: BorrowedFd<'_>, events: PollFlags) -> io::Result<bool> {
            let mut fds = [PollFd::new(fd, events), PollFd::new(self.receiver.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(!self.is_set()),
                Err(error) => Err(error.into()),
            }
        }
    }
}

#[cfg(not(unix))]
mod other {
    use std::io;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// A switch that is set once; waiters look at it between short waits.
    #[derive(Debug, Default)]
    pub struct Wake {
        set: AtomicBool,
    }

    impl Wake {
        /// Makes a switch that is not set.
        ///
        /// # Errors
        /// None; the signature is that of the other platforms.
        pub fn new() -> io::Result<Self> {
            Ok(Self::default())
        }

        /// Sets the switch.
        pub fn set(&self) {
            self.set.store(true, Ordering::Release);
        }

        /// Returns whether the switch is set.
        pub fn is_set(&self) -> bool {
            self.set.load(Ordering::Acquire)
        }
    }
}
