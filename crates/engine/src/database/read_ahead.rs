//! How far results may be ahead of their readers: a budget that the running ones share.
//! Runs on: any thread.
//! Never: gives a result less than its least.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Results that each may be as far ahead as one alone.
const UNSHARED: u64 = 4;

/// The budget, in bytes.
pub(crate) struct ReadAhead {
    running: AtomicU64,
    least: u64,
    most: u64,
}

impl ReadAhead {
    /// A result may be `most` ahead, and many at the same time each at least `least`.
    pub(crate) fn new(least: u64, most: u64) -> Self {
        Self { running: AtomicU64::new(0), least, most: most.max(least) }
    }

    /// A result begins: how far it may be ahead, and its place until it ends.
    pub(crate) fn begin(self: &Arc<Self>) -> (u64, Running) {
        let running = self.running.fetch_add(1, Ordering::Relaxed) + 1;
        (self.share(running), Running(Arc::clone(self)))
    }

    /// In halves, so that a connection is set anew seldom.
    fn share(&self, running: u64) -> u64 {
        let mut bytes = self.most;
        while bytes > self.least && bytes.saturating_mul(running) > self.most.saturating_mul(UNSHARED) {
            bytes /= 2;
        }
        bytes.max(self.least)
    }
}

/// A running result.
pub(crate) struct Running(Arc<ReadAhead>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_results_share_what_few_have() {
        let ahead = Arc::new(ReadAhead::new(8, 32));
        let begun: Vec<(u64, Running)> = (0..20).map(|_| ahead.begin()).collect();
        let shares: Vec<u64> = begun.iter().map(|(bytes, _)| *bytes).collect();
        assert_eq!(shares[..9], [32, 32, 32, 32, 16, 16, 16, 16, 8]);
        assert!(shares[9..].iter().all(|bytes| *bytes == 8));
        drop(begun);
        assert_eq!(ahead.begin().0, 32);
        assert_eq!(Arc::new(ReadAhead::new(64, 32)).begin().0, 64, "a result has its least");
    }
}
