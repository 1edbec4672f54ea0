//! Sums that the threads of the data plane keep, read by the engine.

use super::control::Counters;
use std::sync::atomic::{AtomicU64, Ordering};

/// Declares the sums once, for the threads and for the owner.
macro_rules! tally {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// The sums; see [`Counters`] for what each of them means.
        #[derive(Debug, Default)]
        pub struct Tally {
            $($(#[$doc])* pub $name: AtomicU64,)*
        }

        impl Tally {
            /// Reads all sums.
            pub fn read(&self) -> Counters {
                Counters { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

tally! {
    /// See [`Counters::packets_sent`].
    packets_sent,
    /// See [`Counters::bytes_sent`].
    bytes_sent,
    /// See [`Counters::packets_received`].
    packets_received,
    /// See [`Counters::bytes_received`].
    bytes_received,
    /// See [`Counters::dropped_without_lease`].
    dropped_without_lease,
    /// See [`Counters::dropped_outbound`].
    dropped_outbound,
    /// See [`Counters::dropped_inbound`].
    dropped_inbound,
    /// See [`Counters::replayed`].
    replayed,
    /// See [`Counters::unauthenticated`].
    unauthenticated,
    /// See [`Counters::dummies`].
    dummies,
}

/// Adds to a sum.
pub fn add(sum: &AtomicU64, amount: usize) {
    sum.fetch_add(amount as u64, Ordering::Relaxed);
}
