//! Small INSERT statements of many sessions -> one transaction, one commit, a count for each.
//! Runs on: the threads of the statements themselves: the first that finds nobody at work does the work of all that
//! wait, and the others wait for their answer. Blocks.
//! Never: lets one statement's error reach another; each that was in a failed transaction runs alone.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::judge::Class;
use super::session::Session;
use crate::error::{Error, Result};

/// Longest text of a statement that shares a commit, in bytes: longer ones have rows enough to pay for their own.
const TEXT_BYTES_MAX: usize = 16 << 10;
/// Statements of one transaction at most.
const GROUP_MAX: usize = 256;

/// The statements that wait for a shared commit.
#[derive(Default)]
pub(super) struct Group {
    is_on: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    is_working: bool,
    waiting: VecDeque<Arc<Waiting>>,
}

struct Waiting {
    sql: String,
    outcome: Mutex<Option<Result<u64>>>,
}

impl Group {
    pub(super) fn switch_on(&self) {
        self.is_on.store(true, Ordering::Relaxed);
    }

    /// Whether `sql`, one statement that changes rows, may share a commit: an INSERT of a few rows of its own.
    pub(super) fn takes(&self, sql: &str) -> bool {
        if !self.is_on.load(Ordering::Relaxed) || sql.len() > TEXT_BYTES_MAX {
            return false;
        }
        let text = sql.trim_start().to_ascii_lowercase();
        // A SELECT may read for long, and a RETURNING has rows to give back.
        text.starts_with("insert") && ["select", "returning", "from"].iter().all(|word| !text.contains(word))
    }

    /// Runs `sql` with those of other sessions and gives its changed-row count, after COMMIT has returned.
    pub(super) fn run(&self, session: &mut Session, sql: &str) -> Result<u64> {
        let own = Arc::new(Waiting { sql: sql.to_owned(), outcome: Mutex::new(None) });
        let mut state = self.state();
        state.waiting.push_back(Arc::clone(&own));
        loop {
            if let Some(outcome) = own.take() {
                return outcome;
            }
            if state.is_working {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.is_working = true;
            let count = state.waiting.len().min(GROUP_MAX);
            let group: Vec<Arc<Waiting>> = state.waiting.drain(..count).collect();
            drop(state);
            let at_work = AtWork(self);
            work(session, &group);
            drop(at_work);
            state = self.state();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets the next statement do the work when this one's is over, however it ends.
struct AtWork<'a>(&'a Group);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.state().is_working = false;
        self.0.changed.notify_all();
    }
}

impl Waiting {
    fn answer(&self, outcome: Result<u64>) {
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
    }

    fn take(&self) -> Option<Result<u64>> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

fn work(session: &mut Session, group: &[Arc<Waiting>]) {
    // Whoever panics here leaves nobody without an answer.
    let _answered = Unanswered(group);
    if group.len() > 1
        && let Ok(counts) = together(session, group)
    {
        for (waiting, count) in group.iter().zip(counts) {
            waiting.answer(Ok(count));
        }
        return;
    }
    for waiting in group {
        let alone = together(session, std::slice::from_ref(waiting));
        waiting.answer(alone.map(|counts| counts.into_iter().sum()));
    }
}

fn together(session: &mut Session, group: &[Arc<Waiting>]) -> Result<Vec<u64>> {
    session.begin()?;
    let counts: Result<Vec<u64>> = {
        let run = |waiting: &Arc<Waiting>| {
            let _turn = session.turn(Class::Change, &waiting.sql);
            session.execute(&waiting.sql)
        };
        group.iter().map(run).collect()
    };
    match counts {
        Ok(counts) => session.commit().map(|()| counts),
        Err(error) => {
            if session.rollback().is_err() {
                session.spoil();
            }
            Err(error)
        }
    }
}

struct Unanswered<'a>(&'a [Arc<Waiting>]);

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        for waiting in self.0 {
            let mut outcome = waiting.outcome.lock().unwrap_or_else(PoisonError::into_inner);
            outcome.get_or_insert_with(|| Err(Error::internal("the shared transaction failed")));
        }
    }
}
