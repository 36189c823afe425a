//! Into which tables rows were committed, and since when: so that no table is dropped over rows that were acknowledged.
//! Runs on: the threads that commit; whoever adds rows to a table being replaced waits.
//! Never: forgets a commit that an open transaction may not have seen.
//!
//! Symptom without it: a put is acknowledged, and its rows are gone after `CREATE OR REPLACE TABLE t AS FROM t` of another
//! client. Cause: in DuckDB 2.0.0 a DROP conflicts with changes that are not committed, and not with rows that were
//! committed after its own transaction had taken its snapshot. Ours: such a transaction is refused at COMMIT, and a
//! statement that replaces a table by itself keeps others from committing rows into it while it runs.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::{Error, Result};

/// Tables that are told apart; beyond that a commit counts for all.
const TABLES_MAX: usize = 4096;
/// How long rows wait for a table that is being replaced.
const WAIT_FOR_REPLACEMENT: Duration = Duration::from_secs(10);

/// The tables that a transaction adds rows to or changes rows of, by the last part of their names, without case.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    pub(crate) tables: BTreeSet<String>,
    /// Or any others.
    pub(crate) anywhere: bool,
}

impl Touched {
    pub(crate) fn is_empty(&self) -> bool {
        self.tables.is_empty() && !self.anywhere
    }
}

/// When rows were last committed into each table, counted in commits.
#[derive(Default)]
pub(crate) struct RowCommits {
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Default)]
struct State {
    made: u64,
    last: HashMap<String, u64>,
    anywhere: u64,
    replaced: HashMap<String, usize>,
}

/// Tables that one statement replaces by itself, until it is dropped.
pub struct Replacing {
    commits: Arc<RowCommits>,
    tables: Vec<String>,
}

impl RowCommits {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there have been.
    pub(crate) fn made(&self) -> u64 {
        self.state().made
    }

    /// Rows were committed. To be called in the commit's turn.
    pub(crate) fn note(&self, touched: &Touched) {
        if touched.is_empty() {
            return;
        }
        let mut state = self.state();
        state.made += 1;
        let made = state.made;
        if touched.anywhere || state.last.len() + touched.tables.len() > TABLES_MAX {
            state.anywhere = made;
            state.last.clear();
            return;
        }
        for table in &touched.tables {
            match state.last.get_mut(table) {
                Some(last) => *last = made,
                None => drop(state.last.insert(table.clone(), made)),
            }
        }
    }

    /// The first of `tables` that rows were, or may have been, committed into after the commit of number `seen`.
    pub(crate) fn since<'tables>(&self, seen: u64, tables: &'tables [String]) -> Option<&'tables String> {
        let state = self.state();
        tables.iter().find(|table| state.anywhere.max(state.last.get(*table).copied().unwrap_or(0)) > seen)
    }

    /// Keeps commits of rows away from `tables`.
    pub(crate) fn replacing(self: &Arc<Self>, tables: Vec<String>) -> Replacing {
        let mut state = self.state();
        for table in &tables {
            *state.replaced.entry(table.clone()).or_default() += 1;
        }
        drop(state);
        Replacing { commits: Arc::clone(self), tables }
    }

    /// Waits until none of the tables is being replaced. What `touched` holds without a name does not wait: the
    /// replacement is refused then.
    ///
    /// Errors: `Aborted` when it takes too long.
    pub(crate) fn wait(&self, touched: &Touched) -> Result<()> {
        let replaced =
            |state: &State| touched.tables.iter().find(|table| state.replaced.contains_key(*table)).cloned();
        let (state, _) = self
            .freed
            .wait_timeout_while(self.state(), WAIT_FOR_REPLACEMENT, |state| replaced(state).is_some())
            .unwrap_or_else(PoisonError::into_inner);
        match replaced(&state) {
            None => Ok(()),
            Some(table) => Err(Error::collided(format!(
                "table {table} is being replaced by another statement; nothing was stored; send it again later"
            ))),
        }
    }
}

impl Drop for Replacing {
    fn drop(&mut self) {
        let mut state = self.commits.state();
        for table in &self.tables {
            if let Some(count) = state.replaced.get_mut(table) {
                *count -= 1;
                if *count == 0 {
                    state.replaced.remove(table);
                }
            }
        }
        drop(state);
        self.commits.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn into(tables: &[&str]) -> Touched {
        Touched { tables: tables.iter().map(|table| (*table).to_owned()).collect(), anywhere: false }
    }

    #[test]
    fn rows_are_known_by_table_and_commit() {
        let commits = RowCommits::default();
        commits.note(&into(&["t"]));
        let seen = commits.made();
        commits.note(&Touched::default());
        assert_eq!(commits.since(seen, &["t".into(), "u".into()]), None);
        commits.note(&into(&["u"]));
        assert_eq!(commits.since(seen, &["t".into(), "u".into()]), Some(&"u".to_owned()));
        assert_eq!(commits.since(commits.made(), &["u".into()]), None);
        commits.note(&Touched { anywhere: true, ..Touched::default() });
        assert_eq!(commits.since(seen, &["t".into()]), Some(&"t".to_owned()));
        let seen = commits.made();
        for table in 0..=TABLES_MAX {
            commits.note(&into(&[&format!("t{table}")]));
        }
        assert!(commits.state().last.len() <= TABLES_MAX);
        assert!(commits.since(seen, &["t0".into()]).is_some(), "what is forgotten counts for all");
    }

    #[test]
    fn rows_wait_for_a_replacement() {
        let commits = Arc::new(RowCommits::default());
        let replacing = commits.replacing(vec!["t".into()]);
        let again = commits.replacing(vec!["t".into()]);
        commits.wait(&into(&["u"])).unwrap();
        drop(replacing);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| commits.wait(&into(&["t"])));
            assert!(!waits.is_finished());
            drop(again);
            waits.join().unwrap().unwrap();
        });
    }
}
