//! What puts hold of tables while they are under way: how many there are, and whose turn it is to replace one, or to
//! look what files it holds and store others.
//! Runs on: the threads that append; whoever wants a turn waits for the one before.
//! Never: stands in for the engine's own conflicts, which see what other clients do by SQL.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::catalog::TableName;
use crate::error::{Error, Result};

/// How long whoever wants a table's turn waits for another one to end.
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
    taken: HashSet<TableName>,
}

/// One put that works on a table, until it is dropped.
pub(super) struct User {
    tables: Arc<Tables>,
    table: TableName,
}

/// A table's turn, until it is dropped: to replace its rows, for the length of the put; to store pieces of files that are
/// not stored yet, from the look at those that are until COMMIT; or to forget them.
///
/// Symptom without it: two puts that replace the rows of an empty table leave the rows of both. Cause: each deletes what
/// its snapshot sees, and in the engine a DELETE of nothing conflicts with nothing. In the same way two loads of one file would both
/// find that it is not stored; and a file stored while its table is made anew would be remembered without its rows.
pub(super) struct TableTurn {
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

    /// Waits until nobody else has the turn of `table`.
    ///
    /// Errors: `Aborted` when the other one does not end in time.
    pub(super) fn turn(self: &Arc<Self>, table: &TableName, shown: &TableName) -> Result<TableTurn> {
        let table = key(table);
        let taken = |state: &mut State| state.taken.contains(&table);
        let waited = self.changed.wait_timeout_while(self.state(), WAIT_FOR_TURN, taken);
        let (mut state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return Err(Error::collided(format!(
                "table {shown} is being replaced by another put, or takes files of another load; send it again later"
            )));
        }
        state.taken.insert(table.clone());
        Ok(TableTurn { tables: Arc::clone(self), table })
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

impl Drop for TableTurn {
    fn drop(&mut self) {
        self.tables.state().taken.remove(&self.table);
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
    fn one_put_has_a_tables_turn_at_a_time() {
        let tables = Arc::new(Tables::default());
        let inside = Mutex::new(());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _turn = tables.turn(&table("t"), &table("t")).unwrap();
                        assert!(inside.try_lock().is_ok());
                    }
                });
            }
        });
    }
}
