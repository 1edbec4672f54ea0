//! A timer on the clock that goes on in suspend: what was due in the meantime fires at once after
//! waking up.

use super::clock;
use crate::Timestamp;
use std::io;

#[cfg(target_os = "linux")]
pub use linux::Alarm;
#[cfg(not(target_os = "linux"))]
pub use other::Alarm;

#[cfg(target_os = "linux")]
mod linux {
    use super::{Timestamp, clock, io};
    use nix::sys::time::TimeSpec;
    use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
    use std::os::fd::{AsFd, AsRawFd, RawFd};
    use std::time::Duration;
    use tokio::io::unix::AsyncFd;

    /// The timer.
    #[derive(Debug)]
    pub struct Alarm {
        timer: AsyncFd<Owned>,
    }

    #[derive(Debug)]
    struct Owned(TimerFd);

    impl AsRawFd for Owned {
        fn as_raw_fd(&self) -> RawFd {
            self.0.as_fd().as_raw_fd()
        }
    }

    impl Alarm {
        /// Makes a timer that is not set.
        ///
        /// # Errors
        /// The system's, when it is out of descriptors.
        pub fn new() -> io::Result<Self> {
            let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
            let timer = TimerFd::new(ClockId::CLOCK_BOOTTIME, flags)?;
            // SAFETY: `Owned` always gives the one descriptor of the timer that it owns, which stays
            // open until `Owned` is dropped together with the registration.
            Ok(Self { timer: unsafe { AsyncFd::register(Owned(timer)) }? })
        }

        /// Waits until `at`; for ever when there is none.
        ///
        /// # Errors
        /// The system's.
        pub async fn until(&self, at: Option<Timestamp>) -> io::Result<()> {
            let Some(at) = at else { return std::future::pending().await };
            // Zero would disarm the timer; a nanosecond fires at once.
            let left = at.saturating_since(clock::now()).max(Duration::from_nanos(1));
            let timer = &self.timer.get_ref().0;
            timer.set(Expiration::OneShot(TimeSpec::from_duration(left)), TimerSetTimeFlags::empty())?;
            let mut ready = self.timer.readable().await?;
            ready.clear_ready();
            Ok(())
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    use super::{Timestamp, clock, io};
    use std::time::Duration;

    /// Tokio's clock may stop in suspend: so long at most until the moment is looked at again.
    const GLANCE: Duration = Duration::from_secs(1);

    /// The timer.
    #[derive(Debug)]
    pub struct Alarm;

    impl Alarm {
        /// Makes a timer that is not set.
        ///
        /// # Errors
        /// None; the signature is Linux's.
        pub fn new() -> io::Result<Self> {
            Ok(Self)
        }

        /// Waits until `at`; for ever when there is none.
        ///
        /// # Errors
        /// None; the signature is Linux's.
        pub async fn until(&self, at: Option<Timestamp>) -> io::Result<()> {
            let Some(at) = at else { return std::future::pending().await };
            loop {
                let left = at.saturating_since(clock::now());
                if left.is_zero() {
                    return Ok(());
                }
                tokio::time::sleep(left.min(GLANCE)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn the_alarm_goes_off_when_it_is_due_and_at_once_when_it_was() {
        let alarm = Alarm::new().unwrap();
        let start = clock::now();
        alarm.until(Some(start + Duration::from_millis(30))).await.unwrap();
        assert!(clock::now().saturating_since(start) >= Duration::from_millis(30));
        alarm.until(Some(start)).await.unwrap();
        assert!(clock::now().saturating_since(start) < Duration::from_secs(5));
    }
}
