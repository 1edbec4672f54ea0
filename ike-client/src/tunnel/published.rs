//! A value that one thread replaces now and then and others read for every batch, without a lock.

use arc_swap::{ArcSwap, Guard};
use std::sync::Arc;

/// The value.
#[derive(Debug, Default)]
pub struct Published<T> {
    value: ArcSwap<T>,
}

impl<T> Published<T> {
    /// Returns the current value, which stays whole while it is held. Never waits for a writer.
    pub fn see(&self) -> Guard<Arc<T>> {
        self.value.load()
    }

    /// Replaces the value by one made from it; `change` is called again when another writer came
    /// in between.
    pub fn update(&self, mut change: impl FnMut(&T) -> T) {
        self.value.rcu(|value| change(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_sees_what_was_published_last_and_keeps_what_it_holds() {
        let published = Published::<i32>::default();
        let held = published.see();
        published.update(|value| value + 1);
        published.update(|value| value * 10);
        assert_eq!((**held, **published.see()), (0, 10));
    }

    #[test]
    fn no_change_is_lost_among_writers() {
        let published = Published::<u32>::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| published.update(|value| value + 1)));
            }
        });
        assert_eq!(**published.see(), 4000);
    }
}
