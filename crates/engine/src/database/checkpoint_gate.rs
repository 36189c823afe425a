//! Commits, changing statements and checkpoints take turns: any number of the former, or one checkpoint.
//! Runs on: the threads that commit, change or checkpoint; they block.
//! Never: is held between the calls of a client's transaction, or entered twice by one thread.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::memory::{Checkpoints, Commits};

/// Keeps commits and checkpoints apart.
///
/// Symptom: after kill -9 in the middle of a checkpoint, rows with columns read as 0, and later "Failed to delete all
/// rows from index" or "Failed to remove all rows while merging checkpoint deltas", which end the process.
/// Cause: DuckDB 2.0.0 lets inserts and deletes commit beside a checkpoint: into a second log
/// (`<file>.wal.checkpoint`), and into deltas of the indexes. Where rows of an indexed table were deleted, what the
/// next start makes of both logs is wrong, and the file gets it with the next checkpoint.
/// Official way: none in this version; `auto_checkpoint_skip_wal_threshold = 0` keeps commits away as well, but only
/// from checkpoints inside a commit, and those cost the committing client its time. Ours: a checkpoint waits for
/// commits, commits for a checkpoint, and the second log stays empty (tests/crash).
///
/// A statement that deletes holds a lock on its table that the checkpoint waits for, and a client may take its time
/// with the result of one. So a checkpoint begins only when none is under way, and commits never wait for a statement.
/// A checkpoint that waits goes before later commits, so that it gets its turn.
#[derive(Default)]
pub(crate) struct CheckpointGate {
    turns: Mutex<Turns>,
    changed: Condvar,
    /// Changes of the shape of tables: begun, and done. Where the two differ, one is being committed.
    begun: AtomicU64,
    done: AtomicU64,
}

#[derive(Default)]
struct Turns {
    statements: usize,
    commits: usize,
    /// A checkpoint waits for statements, and then for commits: later ones wait behind it.
    stops_statements: bool,
    stops_commits: bool,
    /// A commit that changes the shape of tables is under way, or waits for the others.
    reshapes: bool,
}

/// What a commit does to tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommitKind {
    /// It adds, changes or deletes rows.
    Rows,
    /// It changes the shape of tables, or what they are held to.
    Reshapes,
}

/// A commit's turn, until it is dropped.
pub(crate) struct CommitTurn<'gate> {
    gate: &'gate CheckpointGate,
    reshapes: bool,
    _memory: Commits,
}

/// A statement's turn, until it is dropped.
pub struct StatementTurn(Arc<CheckpointGate>);

/// A checkpoint's turn, until it is dropped.
pub(crate) struct CheckpointTurn<'gate> {
    gate: &'gate CheckpointGate,
    _memory: Checkpoints,
}

impl CheckpointGate {
    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'gate>(
        &'gate self,
        turns: MutexGuard<'gate, Turns>,
        while_: impl Fn(&Turns) -> bool,
    ) -> MutexGuard<'gate, Turns> {
        self.changed.wait_while(turns, |turns| while_(turns)).unwrap_or_else(PoisonError::into_inner)
    }

    /// Version counter of what tables look like and are held to; `None` while it changes.
    ///
    /// A caller that reads it, looks tables up, and finds the same number later (after its transaction has its
    /// snapshot, or while it holds a turn) has looked at tables as its transaction sees them.
    pub(crate) fn shape(&self) -> Option<u64> {
        let done = self.done.load(Ordering::SeqCst);
        (self.begun.load(Ordering::SeqCst) == done).then_some(done)
    }

    /// What tables are held to has changed.
    pub(crate) fn reshaped(&self) {
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.done.fetch_add(1, Ordering::SeqCst);
    }

    /// Waits until no checkpoint runs or is about to. A commit that changes the shape of tables waits for all others,
    /// and they for it: what was found out about a table holds while a commit has its turn.
    pub(crate) fn commit(&self, kind: CommitKind) -> CommitTurn<'_> {
        let reshapes = kind == CommitKind::Reshapes;
        let mut turns = self.wait(self.turns(), |turns| turns.stops_commits || turns.reshapes);
        if reshapes {
            turns.reshapes = true;
            // A checkpoint that came meanwhile goes first: it does not wait for what has not begun.
            turns = self.wait(turns, |turns| turns.commits > 0 || turns.stops_commits);
            self.begun.fetch_add(1, Ordering::SeqCst);
        }
        turns.commits += 1;
        CommitTurn { gate: self, reshapes, _memory: Commits::begin() }
    }

    /// Waits until no checkpoint runs or wants to, for a statement that deletes rows or changes the shape of tables.
    /// The statement's own commit comes after this turn.
    pub(crate) fn statement(self: &Arc<Self>) -> StatementTurn {
        self.wait(self.turns(), |turns| turns.stops_statements).statements += 1;
        StatementTurn(Arc::clone(self))
    }

    /// Waits until neither a commit nor another checkpoint runs; `None` when statements do not end within `patience`.
    /// New statements wait behind it meanwhile, commits do not.
    pub(crate) fn checkpoint(&self, patience: Duration) -> Option<CheckpointTurn<'_>> {
        let mut turns = self.wait(self.turns(), |turns| turns.stops_statements);
        turns.stops_statements = true;
        let turn = CheckpointTurn { gate: self, _memory: Checkpoints::begin() };
        let until = Instant::now() + patience;
        while turns.statements > 0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                drop(turns);
                drop(turn);
                return None;
            }
            turns = self.changed.wait_timeout(turns, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        turns.stops_commits = true;
        drop(self.wait(turns, |turns| turns.commits > 0));
        Some(turn)
    }
}

impl Drop for CommitTurn<'_> {
    fn drop(&mut self) {
        let mut turns = self.gate.turns();
        turns.commits -= 1;
        if self.reshapes {
            self.gate.done.fetch_add(1, Ordering::SeqCst);
            turns.reshapes = false;
        }
        if turns.commits == 0 && (turns.stops_commits || turns.reshapes || self.reshapes) {
            self.gate.changed.notify_all();
        }
    }
}

impl Drop for StatementTurn {
    fn drop(&mut self) {
        let mut turns = self.0.turns();
        turns.statements -= 1;
        if turns.statements == 0 && turns.stops_statements {
            self.0.changed.notify_all();
        }
    }
}

impl Drop for CheckpointTurn<'_> {
    fn drop(&mut self) {
        let mut turns = self.gate.turns();
        turns.stops_statements = false;
        turns.stops_commits = false;
        self.gate.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    use super::{CheckpointGate, CommitKind};

    #[test]
    fn a_checkpoint_gets_its_turn_and_is_alone() {
        let (gate, at_work) = (Arc::new(CheckpointGate::default()), AtomicUsize::new(0));
        let until = Instant::now() + Duration::from_millis(300);
        let work = || {
            at_work.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_micros(100));
            at_work.fetch_sub(1, Ordering::SeqCst);
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while Instant::now() < until {
                        let turn = gate.statement();
                        work();
                        drop(turn);
                        let _turn = gate.commit(CommitKind::Rows);
                        work();
                    }
                });
            }
            let mut turns = 0;
            while Instant::now() < until {
                let turn = gate.checkpoint(Duration::from_millis(20));
                assert!(turn.is_none() || at_work.load(Ordering::SeqCst) == 0);
                turns += usize::from(turn.is_some());
            }
            assert!(turns > 10, "{turns} checkpoints in 300 ms");
        });
    }

    #[test]
    fn a_long_statement_puts_a_checkpoint_off_and_no_commit_waits() {
        let gate = Arc::new(CheckpointGate::default());
        let _statement = gate.statement();
        assert!(gate.checkpoint(Duration::from_millis(20)).is_none());
        drop(gate.commit(CommitKind::Rows));
        drop(gate.statement());
    }

    #[test]
    fn a_commit_that_reshapes_is_alone_and_counted() {
        let (gate, at_work) = (Arc::new(CheckpointGate::default()), AtomicUsize::new(0));
        let until = Instant::now() + Duration::from_millis(300);
        let reshaped = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while Instant::now() < until {
                        let _turn = gate.commit(CommitKind::Rows);
                        let shape = gate.shape().expect("no shape changes beside a commit");
                        at_work.fetch_add(1, Ordering::SeqCst);
                        std::thread::sleep(Duration::from_micros(100));
                        at_work.fetch_sub(1, Ordering::SeqCst);
                        assert_eq!(gate.shape(), Some(shape));
                    }
                });
            }
            for _ in 0..2 {
                scope.spawn(|| {
                    while Instant::now() < until {
                        let turn = gate.commit(CommitKind::Reshapes);
                        assert_eq!((at_work.load(Ordering::SeqCst), gate.shape()), (0, None));
                        reshaped.fetch_add(1, Ordering::SeqCst);
                        drop(turn);
                        std::thread::sleep(Duration::from_micros(300));
                    }
                });
            }
            while Instant::now() < until {
                let turn = gate.checkpoint(Duration::from_millis(20));
                assert!(turn.is_none() || at_work.load(Ordering::SeqCst) == 0);
                drop(turn);
                std::thread::sleep(Duration::from_micros(300));
            }
        });
        assert_eq!(gate.shape(), Some(reshaped.load(Ordering::SeqCst) as u64));
        gate.reshaped();
        assert_eq!(gate.shape(), Some(reshaped.load(Ordering::SeqCst) as u64 + 1));
    }
}
