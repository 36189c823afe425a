//! What puts hold of tables while they are under way: how many there are, and whose turn it is to replace one.
//! Runs on: the threads that append; a replacing put waits for the one before it.
//! Never: stands in for the engine's own conflicts, which see what other clients do by SQL.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::catalog::TableName;
use crate::error::{Error, Kind, Result};

/// How long a put that replaces a table waits for another one to end.
const WAIT_FOR_TURN: Duration = Duration::from_secs(20);

/// The tables that puts work on.
#[derive(Default)]
pub(super) struct Tables {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    users: HashMap<TableName, usize>,
    replaced: HashSet<TableName>,
}

/// One put that works on a table, until it is dropped.
pub(super) struct User {
    tables: Arc<Tables>,
    table: TableName,
}

/// The turn to replace a table's rows, until it is dropped.
///
/// Symptom without it: two puts that replace the rows of an empty table leave the rows of both. Cause: each deletes what
/// its snapshot sees, and in the engine a DELETE of nothing conflicts with nothing.
pub(super) struct ReplaceTurn {
    tables: Arc<Tables>,
    table: TableName,
}

/// Names are compared without case.
fn key(table: &TableName) -> TableName {
    let lower = |part: &Option<String>| part.as_ref().map(|part| part.to_lowercase());
    TableName {
        catalog: lower(&table.catalog),
        schema: lower(&table.schema),
        table: table.table.to_lowercase(),
    }
}

impl Tables {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a put on `table`.
    pub(super) fn enter(self: &Arc<Self>, table: &TableName) -> User {
        let table = key(table);
        *self.state().users.entry(table.clone()).or_default() += 1;
        User { tables: Arc::clone(self), table }
    }

    /// Waits until no other put replaces `table`.
    ///
    /// Errors: `Aborted` when the other one does not end in time.
    pub(super) fn replace(self: &Arc<Self>, table: &TableName, shown: &TableName) -> Result<ReplaceTurn> {
        let table = key(table);
        let taken = |state: &mut State| state.replaced.contains(&table);
        let waited = self.changed.wait_timeout_while(self.state(), WAIT_FOR_TURN, taken);
        let (mut state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return Err(Error::new(
                Kind::Aborted,
                format!("table {shown} is being replaced by another put; send it again later"),
            ));
        }
        state.replaced.insert(table.clone());
        Ok(ReplaceTurn { tables: Arc::clone(self), table })
    }
}

impl User {
    /// Whether no other put works on the table.
    pub(super) fn is_alone(&self) -> bool {
        self.tables.state().users.get(&self.table) == Some(&1)
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let mut state = self.tables.state();
        if let Some(users) = state.users.get_mut(&self.table) {
            *users -= 1;
            if *users == 0 {
                state.users.remove(&self.table);
            }
        }
    }
}

impl Drop for ReplaceTurn {
    fn drop(&mut self) {
        self.tables.state().replaced.remove(&self.table);
        self.tables.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str) -> TableName {
        TableName { catalog: None, schema: Some("main".into()), table: name.into() }
    }

    #[test]
    fn users_are_counted_without_case() {
        let tables = Arc::new(Tables::default());
        let one = tables.enter(&table("T"));
        assert!(one.is_alone());
        let other = tables.enter(&table("t"));
        assert!(!one.is_alone() && !other.is_alone());
        drop(other);
        assert!(one.is_alone());
        drop(one);
        assert!(tables.state().users.is_empty());
    }

    #[test]
    fn one_put_replaces_a_table_at_a_time() {
        let tables = Arc::new(Tables::default());
        let inside = Mutex::new(());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _turn = tables.replace(&table("t"), &table("t")).unwrap();
                        assert!(inside.try_lock().is_ok());
                    }
                });
            }
        });
    }
}
