//! Batches that are sealed and have not left yet.
//!
//! When a CHILD SA was renewed the gateway is told to delete the old one, and may drop what comes on it from then on
//! (RFC 7296 §2.8). A batch that a thread has sealed with the old keys, and is about to send, would be overtaken by
//! that word. So whoever has put other keys into use, and is about to say so, waits until each batch that was begun
//! before has left.

use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::{Duration, Instant};

/// How long a batch is waited for: it takes microseconds, and longer only where the socket takes nothing, which holds
/// IKE messages up as well.
const LIMIT: Duration = Duration::from_millis(10);
/// How long a look at it takes the next one to come.
const PAUSE: Duration = Duration::from_micros(20);

/// The batches of one thread.
#[derive(Debug, Default)]
pub struct Crossing {
    begun: AtomicU64,
    over: AtomicU64,
}

/// A batch on its way; over when it is dropped.
#[derive(Debug)]
pub struct UnderWay<'a>(&'a Crossing);

impl Crossing {
    /// Notes that a batch is about to be sealed.
    pub fn begin(&self) -> UnderWay<'_> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        // The keys are looked up after this, and by `settle` this is looked at after they were replaced: one of both
        // sees what the other did.
        fence(Ordering::SeqCst);
        UnderWay(self)
    }

    /// Waits until the batches that may have been sealed with keys that were replaced before this call have left;
    /// returns whether they have.
    pub fn settle(&self) -> bool {
        fence(Ordering::SeqCst);
        let begun = self.begun.load(Ordering::Relaxed);
        let until = Instant::now() + LIMIT;
        while self.over.load(Ordering::Acquire) < begun {
            if Instant::now() >= until {
                return false;
            }
            std::thread::sleep(PAUSE);
        }
        true
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.over.fetch_add(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::control::VolumeLimits;
    use crate::tunnel::esp::EspEncapsulation;
    use crate::tunnel::esp::tests::{child, seal};
    use crate::tunnel::tally::Tally;
    use std::sync::Mutex;
    use std::sync::atomic::AtomicBool;

    /// What leaves, in its order.
    #[derive(Debug, PartialEq, Eq)]
    enum Left {
        Packet(u32),
        Delete(u32),
    }

    #[test]
    fn no_packet_under_the_old_keys_leaves_after_the_word_that_deletes_them() {
        let (esp, crossing) = (EspEncapsulation::new(VolumeLimits::default()), Crossing::default());
        let (wire, tally, done) = (Mutex::new(Vec::new()), Tally::default(), AtomicBool::new(false));
        let renew = |spi: u32| {
            let (outbound, inbound) = child(spi);
            esp.install(outbound, inbound, false);
        };
        renew(0x1000);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let _under_way = crossing.begin();
                    let sealed = seal(&esp, &tally).unwrap();
                    // The moment at which a busy machine lets somebody else run.
                    std::thread::yield_now();
                    let spi = u32::from_be_bytes(*sealed.first_chunk().unwrap());
                    wire.lock().unwrap().push(Left::Packet(spi));
                }
            });
            for spi in 0x1001..0x1101 {
                renew(spi);
                while !crossing.settle() {}
                wire.lock().unwrap().push(Left::Delete(spi - 1));
                let packets = || wire.lock().unwrap().iter().filter(|left| **left == Left::Packet(spi)).count();
                while packets() == 0 {
                    std::thread::yield_now();
                }
            }
            done.store(true, Ordering::Relaxed);
        });
        let wire = wire.into_inner().unwrap();
        let mut deleted = 0;
        for left in &wire {
            match left {
                Left::Delete(spi) => deleted = *spi,
                Left::Packet(spi) => assert!(*spi > deleted, "a packet under {spi:#x} after it was deleted"),
            }
        }
        assert_eq!(deleted, 0x10ff);
    }

    #[test]
    fn a_batch_that_does_not_leave_is_not_waited_for_without_end() {
        let crossing = Crossing::default();
        assert!(crossing.settle());
        let stuck = crossing.begin();
        assert!(!crossing.settle());
        drop(stuck);
        assert!(crossing.settle());
    }
}
