//! How many use something now, and since when nobody does.
//! Runs on: any thread; a look into memory.
//! Never: takes what is in use for idle, however long the use takes.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::handle::locked;

/// The uses of one thing: a session or a transaction.
pub(super) struct Usage(Mutex<Uses>);

struct Uses {
    open: usize,
    // When the last one ended, or the thing was made.
    ended: Instant,
}

/// One use, for as long as this value lives: a call, or a stream that goes on after its call has been answered.
pub struct InUse(Arc<Usage>);

impl Usage {
    /// Something that nobody uses yet.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Uses { open: 0, ended: Instant::now() })))
    }

    /// Begins a use.
    pub(super) fn enter(self: &Arc<Self>) -> InUse {
        locked(&self.0).open += 1;
        InUse(Arc::clone(self))
    }

    /// How long nobody has used it; `None` while somebody does.
    pub(super) fn idle(&self) -> Option<Duration> {
        let uses = locked(&self.0);
        (uses.open == 0).then(|| uses.ended.elapsed())
    }

    /// Whether nobody has used it for longer than `limit`.
    pub(super) fn is_idle_for(&self, limit: Duration) -> bool {
        self.idle().is_some_and(|idle| idle > limit)
    }
}

impl Clone for InUse {
    fn clone(&self) -> Self {
        self.0.enter()
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let mut uses = locked(&self.0.0);
        uses.open -= 1;
        uses.ended = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_runs_from_the_end_of_the_last_use() {
        let usage = Usage::new();
        let one = usage.enter();
        let other = one.clone();
        std::thread::sleep(Duration::from_millis(20));
        assert!(!usage.is_idle_for(Duration::ZERO));
        drop(one);
        assert_eq!(usage.idle(), None, "the other one still uses it");
        drop(other);
        assert!(usage.idle().is_some_and(|idle| idle < Duration::from_millis(20)));
        std::thread::sleep(Duration::from_millis(2));
        assert!(usage.is_idle_for(Duration::from_millis(1)));
    }
}
