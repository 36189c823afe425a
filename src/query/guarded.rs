//! The transaction that a statement runs in when its client has none open: read-only for queries, its own for changes.
//! Runs on: the reader's thread.
//! Never: keeps half of a change.

use crate::engine::{self, Class, Cursor};
use crate::error::{Error, Kind, Result};
use crate::query::returned::Returned;
use crate::session::Open;

/// Runs a query where the engine refuses every change, unless nothing in its text can make one, or it belongs to a
/// transaction of the client.
pub(super) fn reading<T>(
    connection: &mut Open,
    is_proven: bool,
    work: impl FnOnce(&mut Open) -> Result<T>,
) -> Result<T> {
    if is_proven || connection.joins_transaction() {
        return work(connection);
    }
    connection.begin_read_only()?;
    let done = work(connection);
    // A connection that cannot roll back is closed.
    let _ = connection.rollback();
    done.map_err(|error| match engine::is_read_only_refusal(&error) {
        false => error,
        true => Error::new(
            Kind::Aborted,
            "the statement changes something, through a view or a macro that was made after it was looked at; nothing was \
             changed; send it again",
        ),
    })
}

/// Runs a change in a transaction of its own, unless it belongs to one of the client.
pub(super) fn changing<T>(
    connection: &mut Open,
    class: Class,
    sql: &str,
    work: impl FnOnce(&mut Open) -> Result<T>,
) -> Result<T> {
    // A statement that commits itself does so at a moment nobody can choose: commits wait for checkpoints, and small puts
    // for changes of tables.
    let own = !connection.joins_transaction() && !engine::runs_alone(sql);
    let _replacing = if own { Some(connection.begin_for(&[sql])?) } else { None };
    let done = connection.turn(class, sql).and_then(|_turn| work(connection));
    match done {
        Ok(done) if own => connection.commit().map(|()| done),
        Err(error) if own => {
            // The first error is the one to report; a connection that cannot roll back is closed.
            let _ = connection.rollback();
            Err(error)
        }
        done => done,
    }
}

/// Runs a change to its end and keeps the rows that it gives back.
pub(super) fn keep_returned(
    connection: &Open,
    cursor: &mut Cursor<'_>,
    returned: &mut Returned,
) -> Result<()> {
    let directory = connection.database().temp_directory();
    while let Some(array) = cursor.next_batch()? {
        if array.num_rows() > 0 {
            returned.take(&directory, array)?;
        }
    }
    Ok(())
}
