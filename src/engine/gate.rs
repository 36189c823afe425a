//! Statements that delete, commits and checkpoints take turns where DuckDB cannot keep them apart itself.
//! Runs on: the threads that commit, change or checkpoint; they block.
//! Never: is held between the calls of a client's transaction, or entered twice by one thread.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Keeps deletes, and what commits after them, apart from checkpoints.
///
/// Symptom: after kill -9 in the middle of a checkpoint, rows with columns read as 0, and later "Failed to delete all
/// rows from index" or "Failed to remove all rows while merging checkpoint deltas", which end the process.
/// Cause: DuckDB 2.0.0 lets transactions commit beside a checkpoint: into a second log (`<file>.wal.checkpoint`), and
/// into deltas of the indexes. Where rows of an indexed table were deleted, what the next start makes of both logs is
/// wrong, and the file gets it with the next checkpoint. Where rows were only added, it is right (tests/crash.rs).
/// Official way: none in this version; `auto_checkpoint_skip_wal_threshold = 0` keeps commits away as well, but only
/// from checkpoints inside a commit, and those cost the committing client its time. Ours:
///
/// - As long as nothing has been deleted, commits go on beside a checkpoint; statements that delete, and commits that
///   change the shape of tables, wait for it.
/// - Once something has been deleted, all commits wait for a checkpoint and it for them, so that the second log stays
///   empty. That ends with a checkpoint that finds nobody who could still see what was deleted: until then deleted
///   rows are yet to be taken out of the indexes.
///
/// A statement that deletes holds a lock on its table that the checkpoint waits for, and a client may take its time
/// with the result of one. So a checkpoint begins only when none is under way, and commits never wait for a statement.
/// A checkpoint that waits goes before later commits, so that it gets its turn.
#[derive(Default)]
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
    /// Counts what changed the shape of tables.
    shape: AtomicU64,
}

#[derive(Default)]
struct State {
    statements: usize,
    commits: usize,
    reshaping: usize,
    /// A checkpoint waits for statements, and then maybe for commits: later ones wait behind it.
    stops_statements: bool,
    stops_commits: bool,
    /// Rows were deleted, and may not be out of the indexes yet.
    has_deletes: bool,
    /// Sessions in use, those of them that have deleted, and the next one's number. Who came before `saw_deleted` may
    /// still see what others have deleted.
    live: BTreeSet<u64>,
    deleters: BTreeSet<u64>,
    next: u64,
    saw_deleted: u64,
}

/// A session's place in the order of sessions, until it is dropped.
pub(super) struct Visit {
    gate: Arc<Gate>,
    number: u64,
}

/// A commit's turn, until it is dropped.
pub(super) struct CommitTurn<'gate> {
    gate: &'gate Gate,
    reshapes: bool,
}

/// A statement's turn, until it is dropped.
pub struct StatementTurn {
    gate: Arc<Gate>,
    reshapes: bool,
}

/// A checkpoint's turn, until it is dropped.
pub(super) struct CheckpointTurn<'gate> {
    gate: &'gate Gate,
    /// Whether commits wait for it.
    pub(super) is_alone: bool,
}

impl Gate {
    /// A gate for a database that is being opened; `has_log`: what its log holds may be deletes.
    pub(super) fn new(has_log: bool) -> Self {
        Self { state: Mutex::new(State { has_deletes: has_log, ..State::default() }), ..Self::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'gate>(
        &'gate self,
        state: MutexGuard<'gate, State>,
        while_: impl Fn(&State) -> bool,
    ) -> MutexGuard<'gate, State> {
        self.changed.wait_while(state, |state| while_(state)).unwrap_or_else(PoisonError::into_inner)
    }

    /// A number that is another one after the shape of a table has changed.
    pub(super) fn shape(&self) -> u64 {
        self.shape.load(Ordering::Acquire)
    }

    /// What tables look like, or are held to, has changed.
    pub(super) fn reshaped(&self) {
        self.shape.fetch_add(1, Ordering::AcqRel);
    }

    /// Takes note of a session that begins.
    pub(super) fn visit(self: &Arc<Self>) -> Visit {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        state.live.insert(number);
        Visit { gate: Arc::clone(self), number }
    }

    /// Waits until no checkpoint runs beside which it must not commit, or is about to.
    pub(super) fn commit(&self, reshapes: bool) -> CommitTurn<'_> {
        let mut state =
            self.wait(self.state(), |state| state.stops_commits || (reshapes && state.stops_statements));
        state.commits += 1;
        state.reshaping += usize::from(reshapes);
        CommitTurn { gate: self, reshapes }
    }

    /// Waits until neither a commit it must not run beside nor another checkpoint runs; `None` when statements do not
    /// end within `patience`. New statements wait behind it meanwhile, commits do not.
    pub(super) fn checkpoint(&self, patience: Duration) -> Option<CheckpointTurn<'_>> {
        let mut state = self.wait(self.state(), |state| state.stops_statements);
        state.stops_statements = true;
        let mut turn = CheckpointTurn { gate: self, is_alone: false };
        let until = Instant::now() + patience;
        while state.statements > 0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                drop(state);
                drop(turn);
                return None;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        turn.is_alone = state.has_deletes;
        state.stops_commits = turn.is_alone;
        let alone = turn.is_alone;
        drop(self.wait(state, |state| state.reshaping > 0 || (alone && state.commits > 0)));
        Some(turn)
    }
}

impl Visit {
    /// Waits until no checkpoint runs or wants to, for a statement that deletes rows or changes the shape of tables.
    /// The statement's own commit comes after this turn.
    pub(super) fn statement(&self, deletes: bool, reshapes: bool) -> StatementTurn {
        let mut state = self.gate.wait(self.gate.state(), |state| state.stops_statements);
        state.statements += 1;
        if deletes {
            state.has_deletes = true;
            state.deleters.insert(self.number);
        }
        StatementTurn { gate: Arc::clone(&self.gate), reshapes }
    }
}

impl CheckpointTurn<'_> {
    /// The checkpoint is done: deletes may be over with.
    pub(super) fn done(self) {
        let mut state = self.gate.state();
        let all_came_after = state.live.first().is_none_or(|first| *first >= state.saw_deleted);
        if self.is_alone && state.deleters.is_empty() && all_came_after {
            state.has_deletes = false;
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut state = self.gate.state();
        state.live.remove(&self.number);
        if state.deleters.remove(&self.number) {
            state.saw_deleted = state.next;
        }
    }
}

impl Drop for CommitTurn<'_> {
    fn drop(&mut self) {
        if self.reshapes {
            self.gate.reshaped();
        }
        let mut state = self.gate.state();
        state.commits -= 1;
        state.reshaping -= usize::from(self.reshapes);
        if state.stops_statements {
            self.gate.changed.notify_all();
        }
    }
}

impl Drop for StatementTurn {
    fn drop(&mut self) {
        if self.reshapes {
            self.gate.reshaped();
        }
        let mut state = self.gate.state();
        state.statements -= 1;
        if state.statements == 0 && state.stops_statements {
            self.gate.changed.notify_all();
        }
    }
}

impl Drop for CheckpointTurn<'_> {
    fn drop(&mut self) {
        let mut state = self.gate.state();
        state.stops_statements = false;
        state.stops_commits = false;
        self.gate.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    use super::Gate;

    const SOON: Duration = Duration::from_millis(20);

    #[test]
    fn a_checkpoint_gets_its_turn_and_is_alone_after_deletes() {
        let (gate, at_work) = (Arc::new(Gate::default()), AtomicUsize::new(0));
        let until = Instant::now() + Duration::from_millis(300);
        let work = || {
            at_work.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_micros(100));
            at_work.fetch_sub(1, Ordering::SeqCst);
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let visit = gate.visit();
                    while Instant::now() < until {
                        let turn = visit.statement(true, false);
                        work();
                        drop(turn);
                        let _turn = gate.commit(false);
                        work();
                    }
                });
            }
            let mut turns = 0;
            while Instant::now() < until {
                let turn = gate.checkpoint(SOON);
                if let Some(turn) = turn
                    && turn.is_alone
                {
                    assert_eq!(at_work.load(Ordering::SeqCst), 0);
                    turns += 1;
                    turn.done();
                }
            }
            assert!(turns > 10, "{turns} checkpoints in 300 ms");
        });
    }

    /// Whether `work` on another thread has to wait for `turn`, and goes on after it.
    fn waits<T>(turn: T, work: impl FnOnce() + Send) -> bool {
        std::thread::scope(|scope| {
            let other = scope.spawn(work);
            std::thread::sleep(SOON);
            let waits = !other.is_finished();
            drop(turn);
            other.join().expect("the other thread is well");
            waits
        })
    }

    #[test]
    fn rows_are_added_beside_a_checkpoint_and_nothing_else_is_done() {
        let gate = Arc::new(Gate::default());
        let visit = gate.visit();
        let checkpoint = || gate.checkpoint(SOON).expect("nobody is in the way");
        assert!(!checkpoint().is_alone);
        assert!(!waits(checkpoint(), || drop(gate.commit(false))));
        assert!(waits(checkpoint(), || drop(gate.commit(true))));
        assert!(waits(checkpoint(), || drop(visit.statement(false, true))));
        assert!(!checkpoint().is_alone);
        assert!(waits(checkpoint(), || drop(visit.statement(true, false))));
        assert!(checkpoint().is_alone);
        assert!(waits(checkpoint(), || drop(gate.commit(false))));
    }

    #[test]
    fn a_checkpoint_waits_for_a_commit_that_reshapes() {
        let gate = Arc::new(Gate::default());
        assert!(waits(gate.commit(true), || drop(gate.checkpoint(SOON))));
        assert!(!waits(gate.commit(false), || drop(gate.checkpoint(SOON))));
    }

    #[test]
    fn deletes_are_over_when_nobody_can_see_their_rows() {
        let gate = Arc::new(Gate::default());
        let is_alone = || {
            let turn = gate.checkpoint(SOON).expect("no statement runs");
            let is_alone = turn.is_alone;
            turn.done();
            is_alone
        };
        let (reader, deleter) = (gate.visit(), gate.visit());
        drop(deleter.statement(true, false));
        assert!(is_alone() && is_alone(), "the transaction that deletes may still be open");
        drop(deleter);
        let later = gate.visit();
        assert!(is_alone() && is_alone(), "the reader was there before");
        drop(reader);
        assert!(is_alone() && !is_alone());
        drop(later);
        let after_a_crash = Arc::new(Gate::new(true));
        for expected in [true, false] {
            let turn = after_a_crash.checkpoint(SOON).expect("no statement runs");
            assert_eq!(turn.is_alone, expected);
            turn.done();
        }
    }

    #[test]
    fn what_changes_shapes_is_counted() {
        let gate = Arc::new(Gate::default());
        let visit = gate.visit();
        drop(visit.statement(true, false));
        drop(gate.commit(false));
        assert_eq!(gate.shape(), 0);
        drop(visit.statement(false, true));
        drop(gate.commit(true));
        assert_eq!(gate.shape(), 2);
    }

    #[test]
    fn a_long_statement_puts_a_checkpoint_off_and_no_commit_waits() {
        let gate = Arc::new(Gate::default());
        let visit = gate.visit();
        let _statement = visit.statement(true, false);
        assert!(gate.checkpoint(SOON).is_none());
        drop(gate.commit(false));
        drop(visit.statement(true, false));
    }
}
