//! How much one half of a CHILD SA has carried, and may carry (RFC 4301 §4.4.2.1).
//!
//! At nine tenths a renewal is due; beyond the whole nothing passes any more, whatever became of
//! the renewal.

use super::control::VolumeLimits;
use std::sync::atomic::{AtomicU64, Ordering};

/// The sums of one half, and their limits.
#[derive(Debug, Default)]
pub struct Volume {
    limits: VolumeLimits,
    octets: AtomicU64,
    packets: AtomicU64,
}

impl Volume {
    /// Starts at nothing.
    pub const fn new(limits: VolumeLimits) -> Self {
        Self { limits, octets: AtomicU64::new(0), packets: AtomicU64::new(0) }
    }

    /// Counts a packet of so many octets; false: it is beyond a limit and must not pass, nor must
    /// any that follows.
    pub fn take(&self, octets: usize) -> bool {
        let octets = u64::try_from(octets).unwrap_or(u64::MAX);
        let carried = self.octets.fetch_add(octets, Ordering::Relaxed).saturating_add(octets);
        let packets = self.packets.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        within(carried, self.limits.bytes) && within(packets, self.limits.packets)
    }

    /// Tells whether a renewal is due.
    pub fn is_nearly_spent(&self) -> bool {
        let soft = |limit: Option<u64>| limit.map(|limit| limit - limit / 10);
        let reached = |sum: &AtomicU64, limit| soft(limit).is_some_and(|soft| sum.load(Ordering::Relaxed) >= soft);
        reached(&self.octets, self.limits.bytes) || reached(&self.packets, self.limits.packets)
    }
}

const fn within(sum: u64, limit: Option<u64>) -> bool {
    match limit {
        Some(limit) => sum <= limit,
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewal_is_due_at_nine_tenths_and_nothing_passes_beyond_the_whole() {
        let volume = Volume::new(VolumeLimits { bytes: Some(1000), packets: None });
        assert!((0..8).all(|_| volume.take(100)) && !volume.is_nearly_spent());
        assert!(volume.take(100) && volume.is_nearly_spent());
        assert!(volume.take(100));
        assert!(!volume.take(1));
        assert!(!volume.take(0), "what came too late does not make room for what follows");
    }

    #[test]
    fn packets_are_counted_as_octets_are() {
        let volume = Volume::new(VolumeLimits { bytes: None, packets: Some(10) });
        assert!((0..9).all(|_| volume.take(1)));
        assert!(volume.is_nearly_spent() && volume.take(1_000_000) && !volume.take(1));
    }

    #[test]
    fn without_limits_nothing_is_ever_due() {
        let volume = Volume::default();
        assert!((0..1000).all(|_| volume.take(usize::MAX / 4096)) && !volume.is_nearly_spent());
    }
}
