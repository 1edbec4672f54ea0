//! A value that one thread replaces now and then and others read for every batch.
//!
//! The lock is held only to copy or to replace a pointer, never while the value is used.

use std::sync::{Arc, Mutex, PoisonError};

/// The value.
#[derive(Debug, Default)]
pub struct Published<T> {
    value: Mutex<Arc<T>>,
}

impl<T> Published<T> {
    /// Returns the current value, which stays whole while it is held.
    pub fn see(&self) -> Arc<T> {
        Arc::clone(&self.value.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the value by one made from it.
    pub fn update(&self, change: impl FnOnce(&T) -> T) {
        let mut value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        *value = Arc::new(change(&value));
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
        assert_eq!((*held, *published.see()), (0, 10));
    }
}
