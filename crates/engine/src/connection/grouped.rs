//! Small INSERT statements of many clients -> one transaction for those into one table, a count for each.
//! Runs on: the threads of the statements, which wait; the transaction runs on the thread of the table's queue.
//! Never: lets one statement's error reach another; commits a statement that its client has given up.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::connection::Connection;
use crate::database::Database;
use crate::error::{Error, Kind, Result};
use crate::group_commit::{Answer, SmallInsert, taken_back};
use crate::sql::Class;

impl Database {
    /// Lets small INSERT statements of several clients be committed as a group from now on; they wait for others for
    /// `wait` at most.
    pub fn group_small_inserts(self: &Arc<Self>, wait: Duration) {
        let database = Arc::downgrade(self);
        self.small_inserts.switch_on(wait, move || {
            let database = Weak::clone(&database);
            Box::new(move |group| commit_group(&database, group))
        });
    }
}

impl Connection {
    /// Runs the statement `sql` in a transaction that it shares with small INSERTs of other clients, and returns the
    /// changed-row count after COMMIT; `None` when it is not one that shares. An interrupt takes it back, until COMMIT.
    pub fn execute_in_group(&self, class: Class, sql: &str) -> Option<Result<u64>> {
        // It runs on another connection: names must mean the same there.
        let is_plain = !self.in_transaction && self.path.is_none() && !self.may_hold_temporaries;
        if !is_plain || class != Class::Change {
            return None;
        }
        self.database.small_inserts.run(sql, || self.is_given_up())
    }
}

/// Runs statements together; when that fails, each by itself, so that every client hears its own error.
fn commit_group(database: &Weak<Database>, group: Vec<SmallInsert>) -> Vec<Answer> {
    let connection = || {
        let database = database.upgrade();
        database.ok_or_else(|| Error::new(Kind::Unavailable, "the database is closed"))?.connection()
    };
    if group.len() > 1
        && let Ok(counts) = connection().and_then(|connection| together(connection, &group))
    {
        return group.into_iter().zip(counts).map(|(insert, count)| insert.answer(Ok(count))).collect();
    }
    let by_itself = |insert: SmallInsert| {
        let counts = connection().and_then(|connection| together(connection, std::slice::from_ref(&insert)));
        insert.answer(counts.map(|counts| counts.into_iter().sum()))
    };
    group.into_iter().map(by_itself).collect()
}

fn together(mut connection: Connection, group: &[SmallInsert]) -> Result<Vec<u64>> {
    connection.begin()?;
    let run = |insert: &SmallInsert| {
        let _turn = connection.turn(Class::Change, &insert.sql)?;
        connection.execute(&insert.sql)
    };
    let counts = group.iter().map(run).collect::<Result<Vec<u64>>>()?;
    // As late as can be. Dropping the connection rolls back.
    if !group.iter().all(SmallInsert::begin_commit) {
        return Err(taken_back());
    }
    connection.commit().map(|()| counts)
}
