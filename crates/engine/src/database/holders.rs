//! Open transactions that keep checkpoints off: who they are, since when, and the one that has to end.
//! Runs on: any thread; a lock for a moment.
//! Never: lets a transaction hold checkpoints off without end: the log would grow until the disk is full.
//!
//! A transaction that has deleted, replaced or updated rows, or changed tables, holds a lock of the engine until it
//! ends, and the engine does not checkpoint meanwhile (`DuckTransactionManager::Checkpoint`).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::interrupt::Interrupt;

/// The transactions that keep checkpoints off, by age.
#[derive(Default)]
pub(crate) struct Holders(Mutex<OpenHolds>);

#[derive(Default)]
struct OpenHolds {
    next: u64,
    open: BTreeMap<u64, Open>,
}

struct Open {
    what: String,
    since: Instant,
    has_to_end: Arc<AtomicBool>,
    interrupt: Interrupt,
}

/// One of them, until it is dropped.
pub(crate) struct Hold {
    holders: Arc<Holders>,
    number: u64,
    has_to_end: Arc<AtomicBool>,
}

/// What keeps checkpoints off, as a status shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointHold {
    /// A put and its table, or the first word of a statement.
    pub what: String,
    /// For how long.
    pub age: Duration,
}

impl Holders {
    fn holds(&self) -> MutexGuard<'_, OpenHolds> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A transaction begins to keep checkpoints off. `interrupt` stops what it runs.
    pub(crate) fn enter(self: &Arc<Self>, what: String, interrupt: Interrupt) -> Hold {
        let has_to_end = Arc::new(AtomicBool::new(false));
        let mut holds = self.holds();
        holds.next += 1;
        let number = holds.next;
        let open = Open { what, since: Instant::now(), has_to_end: Arc::clone(&has_to_end), interrupt };
        holds.open.insert(number, open);
        Hold { holders: Arc::clone(self), number, has_to_end }
    }

    /// All of them, the oldest first.
    pub(crate) fn list(&self) -> Vec<CheckpointHold> {
        let hold = |open: &Open| CheckpointHold { what: open.what.clone(), age: open.since.elapsed() };
        self.holds().open.values().map(hold).collect()
    }

    /// Stops those older than `limit`: what they run is interrupted, and they can only be rolled back.
    pub(crate) fn end_older_than(&self, limit: Duration) {
        for open in self.holds().open.values().filter(|open| open.since.elapsed() > limit) {
            if !open.has_to_end.swap(true, Ordering::SeqCst) {
                tracing::warn!(what = %open.what, "a transaction has kept checkpoints off for too long and is ended");
                open.interrupt.interrupt();
            }
        }
    }
}

impl Hold {
    pub(crate) fn has_to_end(&self) -> bool {
        self.has_to_end.load(Ordering::SeqCst)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.holders.holds().open.remove(&self.number);
    }
}
