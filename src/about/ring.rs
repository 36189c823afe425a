//! The last entries of a kind, and how many there have been.
//! Runs on: any thread; a lock for a moment.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// The last `max` entries; older ones are forgotten first.
pub(super) struct Ring<T> {
    max: usize,
    kept: Mutex<VecDeque<Arc<T>>>,
}

impl<T> Ring<T> {
    pub(super) fn new(max: usize) -> Self {
        Self { max, kept: Mutex::default() }
    }

    pub(super) fn add(&self, entry: Arc<T>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= self.max {
            kept.pop_front();
        }
        if self.max > 0 {
            kept.push_back(entry);
        }
    }

    /// What is kept, the oldest first.
    pub(super) fn all(&self) -> Vec<Arc<T>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).iter().map(Arc::clone).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_make_room() {
        let ring = Ring::new(3);
        (0..5).for_each(|number| ring.add(Arc::new(number)));
        assert_eq!(ring.all().iter().map(|number| **number).collect::<Vec<_>>(), [2, 3, 4]);
        let none = Ring::new(0);
        none.add(Arc::new(1));
        assert!(none.all().is_empty());
    }
}
